ns; G=$NS.example.io; cleanup "kubectl delete crd pools.$G"
q kubectl apply -f - <<X
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: pools.$G}, spec: {group: $G, scope: Namespaced, names: {plural: pools, singular: pool, kind: Pool, shortNames: [kdpl]}, versions: [{name: v1, served: true, storage: true, subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}}, additionalPrinterColumns: [{name: Replicas, type: integer, jsonPath: .spec.replicas}, {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}, {name: Note, type: string, jsonPath: .spec.note, priority: 1}, {name: Live, type: boolean, jsonPath: .spec.live}, {name: When, type: date, jsonPath: .spec.when}], schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {replicas: {type: integer}, note: {type: string}, live: {type: boolean}, when: {type: string, format: date-time}}}, status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}]}}
X
settle 20 "kubectl -n $NS get pools"
k create -f - <<X
{apiVersion: $G/v1, kind: Pool, metadata: {name: p}, spec: {replicas: 2, note: hello, live: true, when: "2020-01-02T03:04:05Z"}, status: {replicas: 7}}
X
kj '[.status,.metadata.generation]' get pool p
k patch pool p --subresource=status --type=merge -p '{"spec":{"replicas":9},"status":{"replicas":2,"selector":"a=b","conditions":[{"type":"Ready","status":"True"}]}}'
kj '[.spec.replicas,.status,.metadata.generation]' get pool p
k get pool p
k get kdpl -o wide
k patch pool p --type=merge -p '{"status":{"replicas":5}}'
kj '[.status.replicas,.metadata.generation]' get pool p
k scale pool p --replicas=3
k scale pool/p --replicas=4 --current-replicas=3
k scale pool p --replicas=1 --current-replicas=9
api -j '{kind,apiVersion,spec,status}' GET /apis/$G/v1/namespaces/$NS/pools/p/scale
kj '[.spec.replicas,.metadata.generation]' get pool p
k wait --for=condition=Ready pool/p --timeout=5s
k wait --for=jsonpath='{.status.replicas}'=2 pool/p --timeout=5s
k label pool p a=b
kj '.metadata.generation' get pool p
kc api-resources --api-group=$G
api -j '[.resources[]|[.name,.kind,.group,.version,.verbs]]' GET /apis/$G/v1
k describe pool p | grep -v -e 'UID' -e 'Time' -e 'Resource Version'
k get pool p --subresource=scale
k delete pool --all

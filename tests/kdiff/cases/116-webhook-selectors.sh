ns; cleanup "kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration -l kd=$NS"
qk label ns $NS kd=$NS
q kubectl create -f - <<X
{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: $NS-m, labels: {kd: $NS}}, webhooks: [{name: m.kd.example.io, failurePolicy: Fail, timeoutSeconds: 1, admissionReviewVersions: [v1], sideEffects: None, clientConfig: {service: {name: nobody, namespace: $NS}}, rules: [{apiGroups: ["", apps], apiVersions: ["*"], operations: [CREATE, DELETE], resources: [secrets, deployments, pods/eviction], scope: Namespaced}], namespaceSelector: {matchExpressions: [{key: kd, operator: In, values: [$NS]}]}, objectSelector: {matchExpressions: [{key: skip, operator: DoesNotExist}]}}]}
X
settle 20 "! kubectl -n $NS create secret generic probe --dry-run=server"
k create secret generic s
k create -f - <<X
{apiVersion: v1, kind: Secret, metadata: {name: s, labels: {skip: "1"}}}
X
k create cm c
k label secret s x=y
k delete secret s
deploy web 0 | k create -f -
deploy web 0 | jq '.metadata.labels.skip="1"' | k create -f -
k label secret s skip-
k delete secret s
q kubectl delete mutatingwebhookconfiguration $NS-m
settle 20 "kubectl -n $NS create secret generic probe"
k delete secret s
kc create -f - <<X
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: $NS-bad, labels: {kd: $NS}}, webhooks: [{name: v.kd.example.io, admissionReviewVersions: [], sideEffects: None, clientConfig: {url: "http://plain.example", service: {name: x, namespace: y}}, rules: [{apiGroups: [""], apiVersions: [v1], operations: [TWIST], resources: []}]}]}
X
kc get validatingwebhookconfiguration,mutatingwebhookconfiguration -l kd=$NS

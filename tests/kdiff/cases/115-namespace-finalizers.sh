kc create ns $NS
settle 10 "kubectl -n $NS get sa default"
api -j '[.spec,.status.phase]' GET /api/v1/namespaces/$NS
api -j '[.code,.message]' -b "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"$NS\"},\"spec\":{\"finalizers\":[\"unqualified\"]}}" PUT /api/v1/namespaces/$NS/finalize
api -j '.spec' -b "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"$NS\"},\"spec\":{\"finalizers\":[\"kubernetes\",\"kd.example/hold\"]}}" PUT /api/v1/namespaces/$NS/finalize
kc patch ns $NS --type=merge -p '{"metadata":{"finalizers":["kd.example/meta"]}}'
cleanup "kubectl patch ns $NS --type=merge -p '{\"metadata\":{\"finalizers\":null}}'; kubectl get ns $NS -o json | jq '.spec.finalizers=[]' | kubectl replace --raw /api/v1/namespaces/$NS/finalize -f -"
kc delete ns $NS --wait=false
settle 20 "kubectl get ns $NS -o json | jq -e '.spec.finalizers==[\"kd.example/hold\"]'"
kj '[.status.phase,.spec.finalizers,.metadata.finalizers,([.status.conditions[]?|[.type,.status,.reason]]|sort)]' get ns $NS
kc get ns $NS
kc delete ns $NS --timeout=1s
k create deploy x --image=i
k run x --image=i
kc apply -f - <<X
{apiVersion: v1, kind: Namespace, metadata: {name: $NS, labels: {x: y}}}
X
api -j '[.kind,.spec.finalizers]' -b "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"$NS\"},\"spec\":{\"finalizers\":[]}}" PUT /api/v1/namespaces/$NS/finalize
kj '[.status.phase,.spec.finalizers,.metadata.finalizers]' get ns $NS
kc patch ns $NS --type=json -p '[{"op":"remove","path":"/metadata/finalizers"}]'
kc wait --for=delete ns/$NS --timeout=20s
kc get ns $NS
kc create -f - <<X
{apiVersion: v1, kind: Namespace, metadata: {name: $NS, labels: {kubernetes.io/metadata.name: liar}}}
X
kj '.metadata.labels' get ns $NS

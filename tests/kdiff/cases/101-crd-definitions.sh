ns; G=$NS.example.io; cleanup "kubectl delete crd things.$G"
D() { jq -nc --arg g "$G" --argjson s "$1" '{apiVersion:"apiextensions.k8s.io/v1",kind:"CustomResourceDefinition",metadata:{name:("things."+$g)},spec:({group:$g,scope:"Namespaced",names:{plural:"things",kind:"Thing"},versions:[{name:"v1",served:true,storage:true,schema:{openAPIV3Schema:{type:"object","x-kubernetes-preserve-unknown-fields":true}}}]}*$s)}'; }
D '{"names":{"plural":"others"}}' | kc create -f -
D '{"scope":"Galaxy"}' | kc create -f -
D '{"versions":[{"name":"v1","served":true,"storage":true}]}' | kc create -f -
D '{"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"string"}}}]}' | kc create -f -
D '{"group":""}' | kc create -f -
D '{}' | kc create -f -
kc wait --for=condition=Established crd/things.$G --timeout=20s
kj '.spec|[.names,.conversion,.preserveUnknownFields,.versions[0].schema]' get crd things.$G
kj '[.status.conditions[]|[.type,.status,.reason,.message]]|sort' get crd things.$G
kc get crd things.$G
settle 20 "kubectl -n $NS get things"
k create -f - <<X
{apiVersion: $G/v1, kind: Thing, metadata: {name: a}, any: {thing: [1, two]}}
X
k get thing a -o jsonpath='{.any}'
D '{"versions":[{"name":"v1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}},{"name":"v2","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}' | kc apply -f -
settle 20 "kubectl -n $NS get things.v2.$G a"
k get things.v1.$G a -o jsonpath='{.apiVersion}'
k get things.v2.$G a -o jsonpath='{.apiVersion}'
kj '.status.storedVersions' get crd things.$G
kc patch crd things.$G --type=json -p '[{"op":"replace","path":"/spec/scope","value":"Cluster"}]'
kc patch crd things.$G --type=json -p '[{"op":"replace","path":"/spec/names/kind","value":"Thingy"}]' 2>&1 | cut -c1-100
kc delete crd things.$G --timeout=60s
settle 20 "! kubectl -n $NS get things"
k get things

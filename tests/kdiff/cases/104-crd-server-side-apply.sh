ns; G=$NS.example.io; cleanup "kubectl delete crd boxes.$G"
q kubectl apply -f - <<X
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: boxes.$G}, spec: {group: $G, scope: Namespaced, names: {plural: boxes, singular: box, kind: Box}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {set: {type: array, x-kubernetes-list-type: set, items: {type: string}}, keyed: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {type: object, required: [k], properties: {k: {type: string}, v: {type: string}}}}, whole: {type: array, items: {type: string}}, atom: {type: object, x-kubernetes-map-type: atomic, properties: {a: {type: string}, b: {type: string}}}}}}}}}]}}
X
settle 20 "kubectl -n $NS get boxes"
S() { local m=$1; jq -nc --arg a "$G/v1" --argjson s "$2" '{apiVersion:$a,kind:"Box",metadata:{name:"b"},spec:$s}' >$T/f; k apply --server-side --field-manager=$m ${3-} -f $T/f; }
S alice '{"set":["a","b"],"keyed":[{"k":"x","v":"1"}],"whole":["w"],"atom":{"a":"1"}}'
S bob '{"set":["b","c"],"keyed":[{"k":"y","v":"2"}]}'
kj .spec get box b
S bob '{"keyed":[{"k":"x","v":"2"}]}'
S bob '{"whole":["v"]}'
S bob '{"atom":{"b":"2"}}'
S bob '{"atom":{"b":"2"}}' --force-conflicts
kj .spec get box b
S alice '{"set":["a"]}'
kj .spec get box b
S bob '{}'
kj .spec get box b
kj '[.metadata.managedFields[]|[.manager,.operation,.fieldsV1]]' get box b --show-managed-fields
S alice '{"keyed":[{"k":"z"},{"k":"z"}]}'
S alice '{"keyed":[{"v":"z"}]}'
S alice '{"set":["a","a"]}'

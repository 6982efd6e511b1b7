ns; G=$NS.example.io; cleanup "kubectl delete crd gadgets.$G"
cat >$T/crd <<X
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: gadgets.$G}, spec: {group: $G, scope: Namespaced, names: {plural: gadgets, singular: gadget, kind: Gadget}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, required: [spec], properties: {spec: {type: object, required: [size], properties: {size: {type: integer, minimum: 1, maximum: 9}, mode: {type: string, enum: [a, b], default: a}, name: {type: string, pattern: '^[a-z]+\$', maxLength: 5}, list: {type: array, maxItems: 2, items: {type: string}}, port: {x-kubernetes-int-or-string: true}, free: {type: object, x-kubernetes-preserve-unknown-fields: true}, map: {type: object, additionalProperties: {type: integer}}, nul: {type: string, nullable: true}}}}}}}]}}
X
q kubectl apply -f $T/crd; settle 20 "kubectl -n $NS get gadgets"
M() { jq -nc --arg a "$G/v1" --argjson s "$1" '{apiVersion:$a,kind:"Gadget",metadata:{name:"g"}}+$s' | k create -f - | sort; }
P=/apis/$G/v1/namespaces/$NS/gadgets
M '{}'
M '{"spec":{}}'
M '{"spec":{"size":10}}'
M '{"spec":{"size":"x"}}'
M '{"spec":{"size":1,"mode":"c"}}'
M '{"spec":{"size":1,"name":"ABC"}}'
M '{"spec":{"size":1,"name":"abcdefgh","list":["a","b","c"]}}'
M '{"spec":{"size":1,"map":{"x":"y"}}}'
M '{"spec":{"size":1,"wat":true}}'
api -j '[.code,.message]' -b "{\"apiVersion\":\"$G/v1\",\"kind\":\"Gadget\",\"metadata\":{\"name\":\"g\"},\"spec\":{\"size\":1.5}}" POST $P
api -j '[.code,.message]' -b "{\"apiVersion\":\"$G/v1\",\"kind\":\"Gadget\",\"metadata\":{\"name\":\"g\"},\"spec\":{\"size\":1,\"list\":\"x\"}}" POST $P
api -j '.spec' -b "{\"apiVersion\":\"$G/v1\",\"kind\":\"Gadget\",\"metadata\":{\"name\":\"g\"},\"spec\":{\"size\":1,\"wat\":1,\"port\":\"http\",\"free\":{\"any\":[1]},\"nul\":null}}" POST $P
k patch gadget g --type=merge -p '{"spec":{"size":0}}'
k patch gadget g --type=merge -p '{"spec":{"size":2,"mode":null}}'
kj .spec get gadget g
k patch gadget g --type=json -p '[{"op":"remove","path":"/spec/size"}]'
api -j '[.code,.message]' -b "{\"apiVersion\":\"$G/v2\",\"kind\":\"Gadget\",\"metadata\":{\"name\":\"h\"},\"spec\":{\"size\":1}}" POST $P?fieldValidation=Ignore
api -j '[.code,.message]' -b "{\"apiVersion\":\"$G/v1\",\"kind\":\"Other\",\"metadata\":{\"name\":\"h\"},\"spec\":{\"size\":1}}" POST $P
k explain gadget.spec.size
k get gadgets

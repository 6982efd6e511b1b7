ns; P=/api/v1/namespaces/$NS/events
E() { jq -nc --arg ns $NS --argjson x "$1" '{apiVersion:"v1",kind:"Event",metadata:{generateName:"e."},involvedObject:{kind:"ConfigMap",namespace:$ns,name:"a"},reason:"Said",message:"hello",type:"Normal",source:{component:"kd"},firstTimestamp:"2024-01-02T03:04:05Z",lastTimestamp:"2024-01-02T03:04:05Z",count:1}*$x'; }
api -j '[.kind,(.metadata.name|startswith("e.")),.type,.reason]' -b "$(E '{}')" POST $P
api -j '[.code,.message]' -b "$(E '{"type":"Odd"}')" POST $P
api -j '[.type,.reason,.involvedObject]' -b "$(E '{"type":"Warning","reason":"Bad","message":"two\nlines","involvedObject":{"name":"b"},"metadata":{"name":"fixed"}}')" POST $P
t bash -c "kubectl -n $NS get events -o custom-columns=T:.type,R:.reason,O:.involvedObject.name | sort"
k get events --field-selector type=Warning -o name
k get events --field-selector involvedObject.name=a,reason=Said -o jsonpath='{.items[*].message}'
k get events --field-selector involvedObject.uid=x
k get events --field-selector nonsense=x
k events --types=Warning --no-headers
k events --for cm/a --no-headers | sort
k get events --no-headers | sort
api -j '[.count,.message]' -H 'Content-Type: application/merge-patch+json' -b '{"count":2}' PATCH $P/fixed
k delete event fixed
k delete events --all -o name | sed 's/e\.[a-z0-9]*/e.X/' | sort
k get events
kc get events -n default --field-selector metadata.namespace=none

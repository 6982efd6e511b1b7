ns; deploy web 2 | jq '.spec.template.spec.containers[0].ports=[{name:"http",containerPort:8080}]' | qk create -f -; qk expose deploy web --port=80 --target-port=http; qk rollout status deploy/web --timeout=60s
settle 20 "kubectl -n $NS get endpointslices -l kubernetes.io/service-name=web -o json | jq -e '[.items[].endpoints[]|select(.conditions.ready)]|length==2'"
kj '[.items[]|{l:(.metadata.labels|keys),o:.metadata.ownerReferences[0].kind,a:.addressType,ports,e:[.endpoints[]|[.conditions,(.addresses|length),(.nodeName!=null),.targetRef.kind]]}]' get endpointslices -l kubernetes.io/service-name=web
kj '[.metadata.labels,(.subsets[]|[(.addresses|length),.notReadyAddresses,.ports])]' get endpoints web
k get svc web -o jsonpath='{.spec.ports}'
k describe svc web | grep -E '^(Name|Type|Port|TargetPort|Selector|Session)'
qk scale deploy web --replicas=0
settle 20 "kubectl -n $NS get endpointslices -l kubernetes.io/service-name=web -o json | jq -e '[.items[].endpoints[]?]|length==0'"
kj '[.items[].endpoints|length]' get endpointslices -l kubernetes.io/service-name=web
kj '.subsets' get endpoints web
k get endpointslices -l kubernetes.io/service-name=web --no-headers | sed 's/web-[a-z0-9]*/web-X/'
k delete svc web
settle 20 "[ -z \"\$(kubectl -n $NS get endpointslices,endpoints -o name)\" ]"
k get endpointslices
k create service clusterip manual --tcp=80; qk patch svc manual -p '{"spec":{"selector":null}}'
k get svc manual -o wide

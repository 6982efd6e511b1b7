ns; jq -n '{apiVersion:"v1",kind:"Pod",metadata:{name:"two"},spec:{terminationGracePeriodSeconds:0,initContainers:[{name:"i",image:"i:1"}],containers:[{name:"a",image:"i:1"},{name:"b",image:"i:1"}]}}' | qk create -f -; qk wait --for=condition=Ready pod/two --timeout=60s
P=/api/v1/namespaces/$NS/pods
k logs two -c nope
api GET $P/two/log
api GET "$P/two/log?container=nope"
api GET "$P/none/log"
api -j '[.code,.message]' GET "$P/two/log?container=a&tailLines=-1"
api -j '[.code,.message]' GET "$P/two/log?container=a&sinceSeconds=0"
api -j '[.code,.message]' POST "$P/none/exec?command=true"
api -j '[.code,.message]' GET "$P/two/exec?command=true&container=nope&stdout=1"
api -j '[.code,.message]' POST "$P/none/portforward?ports=80"
api -j '[.code,.message]' GET "$P/two/nope"
k exec two -c nope -- true
k exec none -- true
k exec deploy/none -- true
k port-forward none 1:1
k port-forward svc/none 1:1
k logs deploy/none
k logs -l app=none
k attach none
k cp none:/a b
k top pods
k logs
k exec two
jq -n '{apiVersion:"v1",kind:"Pod",metadata:{name:"pending"},spec:{nodeSelector:{no:"node"},containers:[{name:"a",image:"i:1"}]}}' | qk create -f -
k logs pending
k exec pending -- true
k port-forward pending 1:1

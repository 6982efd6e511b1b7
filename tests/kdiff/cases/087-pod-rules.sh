ns
P() { jq -nc --argjson s "$1" '{apiVersion:"v1",kind:"Pod",metadata:{name:"p"},spec:({containers:[{name:"c",image:"i:1"}]}+$s)}' | k create -f -; }
P '{"restartPolicy":"Nope"}'
P '{"dnsPolicy":"Nope","terminationGracePeriodSeconds":-1}'
P '{"containers":[{"name":"c","image":"i"},{"name":"c","image":"j"}]}'
P '{"containers":[{"name":"c","image":"i","ports":[{"containerPort":70000}],"volumeMounts":[{"name":"none","mountPath":"/x"}],"env":[{"name":"","value":"x"}],"imagePullPolicy":"Rarely"}]}'
P '{"volumes":[{"name":"v","emptyDir":{}},{"name":"v","emptyDir":{}}]}'
P '{"volumes":[{"name":"v","emptyDir":{},"secret":{"secretName":"s"}}]}'
P '{"nodeSelector":{"bad key":"x"}}'
P '{"serviceAccountName":"nobody"}'
P '{"priorityClassName":"none"}'
P '{"initContainers":[{"name":"c","image":"i"}]}'
P '{"containers":[{"name":"c","image":" i"}]}'
P '{"activeDeadlineSeconds":0}'
P '{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"1"},"requests":{"cpu":"2"}}}]}'
P '{"initContainers":[{"name":"a","image":"i"},{"name":"b","image":"i","restartPolicy":"Always"}],"hostAliases":[{"ip":"10.0.0.1","hostnames":["h"]}]}'
k wait --for=condition=Ready pod/p --timeout=60s
k get pod p
kj '[.status.initContainerStatuses[]|[.name,.ready,(.state|keys)]]' get pod p
k patch pod p -p '{"spec":{"activeDeadlineSeconds":100}}'
k patch pod p -p '{"spec":{"activeDeadlineSeconds":200}}'
k patch pod p -p '{"spec":{"terminationGracePeriodSeconds":1}}' 2>&1 | head -1 | cut -c1-120
k patch pod p -p '{"spec":{"tolerations":[{"key":"x","operator":"Exists"}]}}' 2>&1 | cut -c1-120
k patch pod p --type=json -p '[{"op":"remove","path":"/spec/containers/0"}]' 2>&1 | cut -c1-120
k patch pod p --type=json -p '[{"op":"add","path":"/spec/tolerations/-","value":{"key":"x","operator":"Exists"}}]'
kj '[.metadata.generation,.status.qosClass]' get pod p
k delete pod p --now

ns
qk run loose --image=registry.example/app:1 --labels=app=web; qk wait --for=condition=Ready pod/loose --timeout=60s
k create -f - <<X
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web}, spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: 'registry.example/app:1'}]}}}}
X
settle 20 "[ \"\$(kubectl -n $NS get rs web -o jsonpath='{.status.readyReplicas}')\" = 2 ]"
kj '[.items[]|[(.metadata.name=="loose"),(.metadata.ownerReferences[]|[.kind,.name,.controller])]]|sort' get pods
k get rs web
kj '.status' get rs web
k label pod loose app=other --overwrite
settle 20 "[ \$(kubectl -n $NS get pods -l app=web -o name | wc -l) = 2 ]"
kj '.metadata.ownerReferences' get pod loose
k scale rs web --replicas=1
settle 20 "[ \$(kubectl -n $NS get pods -l app=web -o name | wc -l) = 1 ]"
k patch rs web -p '{"spec":{"selector":{"matchLabels":{"app":"x"}}}}' 2>&1 | cut -c1-120
k delete rs web --cascade=orphan
kj '[.items[].metadata.ownerReferences]' get pods -l app=web
k delete pods --all --now --wait=true | sed 's/web-[a-z0-9]*/web-X/' | sort
k get pods

ns; deploy web 1 | qk create -f -; qk create service clusterip web --tcp=80:80; qk create cm a; qk rollout status deploy/web --timeout=60s
k get all -o name
k get all --no-headers
k get deploy,svc
k get deploy web svc/web
k get all -l app=none
# Whether the ReplicaSet is still there when its turn comes is the garbage collector's chance.
delete_all() { kubectl -n "$NS" delete all --all --wait=false | grep -v '^replicaset'; }
t delete_all
k get cm a -o name
kc api-resources --categories=all -o name
kc api-resources --categories=nothing
kc api-resources --namespaced=true --api-group=rbac.authorization.k8s.io
kc api-resources --verbs=deletecollection --api-group=policy -o wide

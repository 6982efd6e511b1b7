ns; deploy web 0 | qk apply --server-side --field-manager=owner -f -
D() { jq -nc --argjson s "$1" '{apiVersion:"apps/v1",kind:"Deployment",metadata:{name:"web"}}*$s'; }
F='[.metadata.managedFields[]|select(.manager|IN("owner","scaler","stat","patcher"))|[.manager,.operation,.subresource,.fieldsV1["f:spec"]["f:replicas"]]]|sort'
P=/apis/apps/v1/namespaces/$NS/deployments/web
A='Content-Type: application/apply-patch+yaml'
api -j '[.code,.message]' -H "$A" -b "$(D '{"status":{"replicas":0}}')" PATCH "$P/status?fieldManager=stat"
kj "$F" get deploy web --show-managed-fields
k scale deploy web --replicas=1
D '{"spec":{"replicas":0}}' >$T/f; k apply --server-side --field-manager=owner -f $T/f
D '{"spec":{"replicas":0}}' >$T/f; k apply --server-side --field-manager=owner --force-conflicts -f $T/f
D '{"metadata":{"labels":{"l":"1"},"annotations":{"a":"1"}}}' >$T/f; k apply --server-side --field-manager=meta -f $T/f
kj '[.metadata.labels,.metadata.annotations.a]' get deploy web
D '{"metadata":{"labels":{"l":"2"}}}' >$T/f; k apply --server-side --field-manager=meta -f $T/f
kj '[.metadata.labels,.metadata.annotations.a]' get deploy web

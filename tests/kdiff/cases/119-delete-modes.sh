ns; deploy web 2 | qk create -f -; qk rollout status deploy/web --timeout=60s
k delete deploy web --dry-run=client
k delete deploy web --dry-run=server
k delete deploy web --cascade=background --wait=true --timeout=30s
settle 30 "[ -z \"\$(kubectl -n $NS get rs,pods -o name)\" ]"
qk create cm a; k delete cm/a cm/b
k delete cm a b --ignore-not-found -o name
qk create cm a; k delete cm a -o name
k delete pods --all
k delete cm a --grace-period=0
k delete cm a --grace-period=0 --force
k delete cm a --now --force
k delete deploy --all --selector=x=y
k delete -f - <<X
{apiVersion: v1, kind: ConfigMap, metadata: {name: none}}
X
k delete cm none secret/none
k delete nopes a
k delete cm,nopes a
qk create cm x; api -j '[.kind,.status,.details.name]' -b '{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}' DELETE /api/v1/namespaces/$NS/configmaps/x
qk create cm x; api -j '[.code,.message]' -b '{"kind":"Wrong","apiVersion":"v1"}' DELETE /api/v1/namespaces/$NS/configmaps/x
api -j '[.code,.message]' -b '{"kind":"DeleteOptions","apiVersion":"v1","wat":1}' DELETE /api/v1/namespaces/$NS/configmaps/x
qk create cm y; api -j '[.code,.message]' -b '{garbage' DELETE /api/v1/namespaces/$NS/configmaps/y
api -j '[.code,.message]' DELETE "/api/v1/namespaces/$NS/configmaps/y?gracePeriodSeconds=abc"
api -j '[.kind,.status]' DELETE "/api/v1/namespaces/$NS/configmaps/kube-root-ca.crt?propagationPolicy=Background"

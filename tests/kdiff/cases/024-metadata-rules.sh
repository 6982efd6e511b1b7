ns; qk create cm a --from-literal=n=1
P=/api/v1/namespaces/$NS/configmaps
M() { g cm a -o json | jq -c "$1"; }
api -j '[.code,.reason,.message]' -b "$(M '.metadata.uid="00000000-0000-0000-0000-000000000000"')" PUT $P/a
api -j '[.code,.message]' -b "$(M '.metadata.namespace="elsewhere"')" PUT $P/a
api -j '.metadata.creationTimestamp|startswith("2001")' -b "$(M '.metadata.creationTimestamp="2001-01-01T00:00:00Z"')" PUT $P/a
api -j '.metadata|[.generation,.selfLink,.deletionTimestamp]' -b "$(M '.metadata.generation=7|.metadata.selfLink="/x"|.metadata.deletionTimestamp="2001-01-01T00:00:00Z"')" PUT $P/a
api -j '[.code,.message]' -b "$(M '.metadata.ownerReferences=[{apiVersion:"v1",kind:"ConfigMap",name:"x"}]')" PUT $P/a
api -j '[.code,.message]' -b "$(M '.metadata.ownerReferences=[{apiVersion:"v1",kind:"ConfigMap",name:"x",uid:"1",controller:true},{apiVersion:"v1",kind:"ConfigMap",name:"y",uid:"2",controller:true}]')" PUT $P/a
api -j '[.code,.message]' -b "$(M '.metadata.finalizers=["bad_one!"]')" PUT $P/a
api -j '.metadata.managedFields' -b "$(M '.metadata.managedFields=[{}]')" PUT $P/a
api -j '[.code,.message]' -b "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"z\",\"resourceVersion\":\"5\"}}" POST $P
api -j '.metadata|[.uid=="abc",.generation]' -b "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"z\",\"uid\":\"abc\",\"generation\":9}}" POST $P
jq -nc '{apiVersion:"v1",kind:"ConfigMap",metadata:{name:"big",annotations:{x:("a"*262145)}}}' >$T/big
k create -f $T/big
k annotate cm a 'bad key=x'
k label cm a 'app.kubernetes.io/name=ok' 'a/b/c=x'
k create cm "$(printf 'a%.0s' $(seq 254))"

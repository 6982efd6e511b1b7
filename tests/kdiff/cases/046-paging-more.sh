ns; for i in 1 2 3 4 5; do qk create sa s$i; done; qk label sa --all p=q
P=/api/v1/namespaces/$NS/serviceaccounts
"${CURL[@]}" "$SERVER$P?limit=2&labelSelector=p%3Dq" >$T/p; c=$(jq -r .metadata.continue $T/p)
qk create sa s0; qk label sa s0 p=q; qk delete sa s3
note 'a page of the snapshot: what came or went meanwhile is not seen'
api -j '[.items[].metadata.name]' GET "$P?limit=9&continue=$c"
note 'the token is for one path'
api -j '[.code,.reason,.message]' GET "/api/v1/namespaces/$NS/configmaps?limit=2&continue=$c"
api -j '[.code,.reason,.message]' GET "$P?limit=2&resourceVersion=1&resourceVersionMatch=Exact&continue=$c"
api -j '[.code,.reason,.message]' GET "$P?limit=2&resourceVersionMatch=NotOlderThan&continue=$c"
api -j '[.code,.reason,.message]' GET "$P?limit=-1"
api -j '[(.items|length),.metadata.continue,.metadata.remainingItemCount]' GET "$P?limit=500"
api -j '[.kind,(.items|length)]' GET "$P?resourceVersion=0"
k get sa --chunk-size=1 -o name
k get sa --chunk-size=-1
api -j '[.kind,(.rows|length),(.metadata.continue!=null)]' -H 'Accept: application/json;as=Table;v=v1;g=meta.k8s.io' GET "$P?limit=2"

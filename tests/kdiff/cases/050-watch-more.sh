ns; qk create cm a; qk label cm a w=w
P=/api/v1/namespaces/$NS/configmaps; S='labelSelector=w%3Dw&timeoutSeconds=1'
r=$("${CURL[@]}" "$SERVER$P" | jq -r .metadata.resourceVersion)
note 'initial events, then a bookmark that says so'
"${CURL[@]}" "$SERVER$P?watch=1&$S&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan" | jq -c '[.type,.object.kind,.object.metadata.name,.object.metadata.annotations]' | head -2
api GET "$P?watch=1&$S&sendInitialEvents=true"
api GET "$P?watch=1&$S&sendInitialEvents=true&resourceVersionMatch=Exact&allowWatchBookmarks=true"
api GET "$P?watch=1&$S&resourceVersionMatch=NotOlderThan"
note 'from an old version: what happened since'
qk label cm a x=1; qk label cm a w-
"${CURL[@]}" "$SERVER$P?watch=1&$S&resourceVersion=$r" | jq -c '[.type,.object.metadata.name,.object.metadata.labels]'
note 'from 0: what there is now'
qk label cm a w=w
"${CURL[@]}" "$SERVER$P?watch=1&$S&resourceVersion=0" | jq -c '[.type,.object.metadata.name,.object.metadata.labels]'
note 'a version that is gone'
"${CURL[@]}" "$SERVER$P?watch=1&$S&resourceVersion=1" | jq -c '[.type,.object.code,.object.reason]'
note 'a watch as a table'
"${CURL[@]}" -H 'Accept: application/json;as=Table;v=v1;g=meta.k8s.io' "$SERVER$P?watch=1&$S" | jq -c '[.type,.object.kind,(.object.columnDefinitions|length),.object.rows[0].cells[:2]]'
api -j '[.code,.message]' GET "$P?watch=1&labelSelector=a%20b"
api -j '[.code,.message]' GET "$P?watch=1&fieldSelector=no.such%3Da"
api -j '[.code,.message]' GET "/api/v1/watch/namespaces/$NS/nopes"
api -j '[.code,.message]' POST "$P?watch=1"
note 'one object'
"${CURL[@]}" "$SERVER$P/a?watch=1&timeoutSeconds=1" | jq -c '[.type,.object.metadata.name]'
"${CURL[@]}" "$SERVER$P/none?watch=1&timeoutSeconds=1" | jq -c '[.type,.object.metadata.name]'

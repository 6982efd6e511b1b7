ns; qk create cm a --from-literal=k=v
P=/api/v1/namespaces/$NS/configmaps
api -H 'Content-Type: application/yaml' -j '[.metadata.name,.data]' -b '{apiVersion: v1, kind: ConfigMap, metadata: {name: y}, data: {k: v}}' POST $P
api -H 'Content-Type: text/plain' -b '{}' POST $P
api -H 'Content-Type: application/xml' -b '<a/>' POST $P
api -H 'Content-Type: application/json; charset=utf-8' -j .metadata.name -b '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}' POST $P
api -H 'Content-Type: application/vnd.kubernetes.protobuf' -j '[.code,.reason]' -b 'garbage' POST $P
api -H 'Content-Type: text/plain' -b '{}' PATCH $P/a
api -H 'Content-Type: application/json' -b '{}' PATCH $P/a
api -H 'Accept: application/xml' GET $P/a
api -H 'Accept: text/html,*/*;q=0.1' -j .kind GET $P/a
api -H 'Accept: application/json;as=Nonsense;g=meta.k8s.io;v=v1' GET $P/a
api -H 'Accept: application/json;as=Table;g=meta.k8s.io;v=v9, application/json' -j .kind GET $P/a
api -H 'Accept: application/json;as=Table;g=meta.k8s.io;v=v9' GET $P/a
"${CURL[@]}" -H 'Accept: application/yaml' "$SERVER$P/a" | grep -v -e Timestamp -e uid -e resourceVersion -e time: | sed '/managedFields/,/operation/d;/f:/d'
api -H 'Content-Type: application/merge-patch+json' -j .data -b '{"data":{"z":"1"}}' PATCH $P/a
api -H 'Content-Type: application/merge-patch+json' -b '' -j '[.code,.message]' PATCH $P/a
api -j '[.apiVersion,.kind]' GET "$P/a?pretty=true"

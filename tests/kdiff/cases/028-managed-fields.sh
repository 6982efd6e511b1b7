ns
F='[.metadata.managedFields[]|[.manager,.operation,.apiVersion,.subresource,.fieldsType,.fieldsV1]]'
k create cm a --from-literal=x=1
kj "$F" get cm a --show-managed-fields
qk patch cm a -p '{"data":{"y":"2"}}' --field-manager=patcher
qk label cm a l=1
kj "$F|sort" get cm a --show-managed-fields
qk patch cm a -p '{"data":{"y":null}}'
kj "$F|sort" get cm a --show-managed-fields
api -j '.metadata.managedFields|length' -b '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","managedFields":[]},"data":{"z":"9"}}' PUT "/api/v1/namespaces/$NS/configmaps/a?fieldManager=putter"
kj '.metadata|has("managedFields")' get cm a
deploy web 0 | qk create -f - --field-manager=me
kj '[.metadata.managedFields[]|select(.manager=="me")|.fieldsV1]' get deploy web --show-managed-fields
api -j '[.code,.message]' -H 'Content-Type: application/merge-patch+json' -b '{}' PATCH "/api/v1/namespaces/$NS/configmaps/a?fieldManager=$(printf 'a%.0s' $(seq 129))"

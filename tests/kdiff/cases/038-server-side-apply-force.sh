ns
S() { local m=$1 d=$2; shift 2; printf '%s' "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},\"data\":$d}" >$T/f; k apply --server-side --field-manager=$m "$@" -f $T/f; }
F='[.metadata.managedFields[]|[.manager,.operation,.fieldsV1["f:data"]]]|sort'
S alice '{"x":"1","y":"1","z":"1"}'
S bob '{"x":"2","y":"2"}'
S bob '{"x":"2","y":"2"}' --force-conflicts --dry-run=server
S bob '{"x":"2","y":"2"}' --force-conflicts
kj "$F" get cm a --show-managed-fields
S alice '{"z":"1"}'
S bob '{}'
kj "[.data,($F)]" get cm a --show-managed-fields
qk patch cm a -p '{"data":{"z":"theirs"}}' --field-manager=carol
S alice '{"z":"mine"}'
S carol '{"z":"theirs"}'
kj "$F" get cm a --show-managed-fields
note 'from client-side to server-side apply'
printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"1","l":"1"}}' >$T/c; k apply -f $T/c
printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"2"}}' >$T/c; k apply --server-side -f $T/c
kj "[.data,($F)]" get cm c --show-managed-fields
P=/api/v1/namespaces/$NS/configmaps/n
A='Content-Type: application/apply-patch+yaml'
api -H "$A" -b '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n"}}' PATCH $P
api -H "$A" -j '[.code,.message]' -b '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n","managedFields":[{"manager":"x"}]}}' PATCH "$P?fieldManager=m"
api -H "$A" -j '[.code,.message]' -b '{"kind":"ConfigMap","metadata":{"name":"n"}}' PATCH "$P?fieldManager=m"
api -H "$A" -j '[.code,.message]' -b '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}}' PATCH "$P?fieldManager=m"
api -H "$A" -j '[.code,.message]' -b '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n"},"wat":1}' PATCH "$P?fieldManager=m"
api -H "$A" -j '[.code,.message]' -b '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"n","resourceVersion":"1"}}' PATCH "$P?fieldManager=m"
api -H "$A" -j '[.kind,.metadata.name]' -b 'apiVersion: v1
kind: ConfigMap
metadata: {name: "n"}' PATCH "$P?fieldManager=m&force=true"

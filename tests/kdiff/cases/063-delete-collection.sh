ns; for i in 1 2 3 4; do qk create secret generic c$i; done; qk label secret c1 c2 d=y
P=/api/v1/namespaces/$NS/secrets
api -j '[.kind,.apiVersion,[.items[].metadata.name]]' DELETE "$P?labelSelector=d%3Dy&dryRun=All"
k get secret -o name
api -j '[.kind,.apiVersion,[.items[].metadata.name]]' DELETE "$P?labelSelector=d%3Dy"
k get secret -o name
api -j '[.kind,[.items[].metadata.name]]' DELETE "$P?fieldSelector=metadata.name%3Dc3"
api -j '[.code,.message]' DELETE "$P?labelSelector=a%20b"
api -j '[.code,.message]' -b '{"apiVersion":"v1","kind":"DeleteOptions","propagationPolicy":"No"}' DELETE "$P"
api -j '[.kind,[.items[].metadata.name]]' DELETE "$P"
api -j '[.kind,[.items[].metadata.name]]' DELETE "$P"
api -j '[.code,.reason,.message]' DELETE "/api/v1/secrets"
api -j '[.code,.reason,.message]' DELETE "/api/v1/namespaces/$NS/services?labelSelector=none"
k delete secret
k delete secret --all
k delete secret x --all
k delete cm -l a=b --all
k delete cm,secret --field-selector metadata.name=none

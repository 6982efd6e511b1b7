# PROCEDURE phase 3, in miniature: the old root goes, the old revision is removed
ns
qk create secret generic cacerts --from-literal=root-cert.pem=R; qk create secret generic istio-ca-secret --from-literal=ca-cert.pem=C
qk create cm istio-ca-root-cert-x --from-literal=root-cert.pem=R
deploy istiod 1 | qk create -f -; qk rollout status deploy/istiod --timeout=60s
k get secret cacerts istio-ca-secret -o name
k get secret -o custom-columns=N:.metadata.name,T:.type
k get secret istio-ca-secret -o jsonpath='{.data.ca-cert\.pem}'
k get secret cacerts -o yaml | sed '/creationTimestamp/d;/uid/d;/resourceVersion/d' >$T/backup.yaml
k delete secret cacerts istio-ca-secret
k get secret cacerts istio-ca-secret
k rollout restart deploy istiod
k rollout status deploy istiod --timeout=60s
k apply -f $T/backup.yaml
k get secret cacerts -o jsonpath='{.data}'
k patch cm istio-ca-root-cert-x --type=merge -p '{"data":{"root-cert.pem":"S"}}'
k get cm istio-ca-root-cert-x -o go-template='{{index .data "root-cert.pem"}}'
k create cm istio-ca-root-cert-x --from-literal=root-cert.pem=T --dry-run=client -o yaml | kubectl -n $NS apply -f - 2>&1 | cut -c1-60
k replace -f $T/backup.yaml
k delete -f $T/backup.yaml
k delete -f $T/backup.yaml
k delete -f $T/backup.yaml --ignore-not-found

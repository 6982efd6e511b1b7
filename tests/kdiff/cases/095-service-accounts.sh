ns
kj 'del(.metadata.uid,.metadata.resourceVersion,.metadata.creationTimestamp)' get sa default
k create sa robot
k get sa robot
k describe sa robot | grep -v Events
k delete sa default
settle 15 "kubectl -n $NS get sa default"
k get sa default -o name
api -j '[.code,.message]' -b '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":10}}' POST /api/v1/namespaces/$NS/serviceaccounts/none/token
k create token none
k patch sa robot -p '{"imagePullSecrets":[{"name":"pull"}],"automountServiceAccountToken":false}'
k run p --image=i:1 --overrides='{"spec":{"serviceAccountName":"robot","terminationGracePeriodSeconds":0}}'
kj '.spec|[.imagePullSecrets,.volumes,.serviceAccountName,.automountServiceAccountToken]' get pod p
k delete pod p
k create -f - <<X
{apiVersion: v1, kind: Secret, metadata: {name: t, annotations: {kubernetes.io/service-account.name: robot}}, type: kubernetes.io/service-account-token}
X
k create sa Bad_Name
k get cm kube-root-ca.crt -o jsonpath='{.metadata.annotations}'
k delete cm kube-root-ca.crt
settle 15 "kubectl -n $NS get cm kube-root-ca.crt"
k get cm kube-root-ca.crt -o name

ns; qk create cm parent; u=$(g cm parent -o jsonpath='{.metadata.uid}')
C() { qk create -f - <<X
{apiVersion: v1, kind: ConfigMap, metadata: {name: $1, ownerReferences: [$2]}}
X
}
C one "{apiVersion: v1, kind: ConfigMap, name: parent, uid: $u}"
C two "{apiVersion: v1, kind: ConfigMap, name: parent, uid: $u}, {apiVersion: v1, kind: Namespace, name: $NS, uid: $(kubectl get ns $NS -o jsonpath='{.metadata.uid}')}"
C orphan "{apiVersion: v1, kind: ConfigMap, name: never, uid: 00000000-0000-0000-0000-000000000001}"
settle 30 "! kubectl -n $NS get cm orphan"
k delete cm parent
settle 30 "! kubectl -n $NS get cm one"
k get cm one two orphan -o name
settle 30 "[ \$(kubectl -n $NS get cm two -o json | jq '.metadata.ownerReferences|length') = 1 ]"
kj '[.metadata.ownerReferences[]|[.kind,.name]]' get cm two
qk create cm p2; u=$(g cm p2 -o jsonpath='{.metadata.uid}'); C c2 "{apiVersion: v1, kind: ConfigMap, name: p2, uid: $u, controller: true, blockOwnerDeletion: true}"
api -j '[.metadata.finalizers,(.metadata.deletionTimestamp!=null)]' DELETE "/api/v1/namespaces/$NS/configmaps/p2?propagationPolicy=Orphan"
settle 20 "! kubectl -n $NS get cm p2"
kj '.metadata.ownerReferences' get cm c2
qk create cm p3; u=$(g cm p3 -o jsonpath='{.metadata.uid}'); C c3 "{apiVersion: v1, kind: ConfigMap, name: p3, uid: $u, controller: true, blockOwnerDeletion: false}"
k delete cm p3 --cascade=foreground --timeout=30s
settle 20 "! kubectl -n $NS get cm c3"
k get cm c3
k delete cm c2 --cascade=nonsense

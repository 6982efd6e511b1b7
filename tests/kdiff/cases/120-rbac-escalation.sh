ns; qk create sa robot; AS=system:serviceaccount:$NS:robot
qk create role r --verb=get,list --resource=pods; qk create rolebinding r --role=r --serviceaccount=$NS:robot
q kubectl -n $NS create -f - <<X
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: maker}, rules: [{apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: [create, get, update, patch]}]}
X
qk create rolebinding maker --role=maker --serviceaccount=$NS:robot
settle 10 "kubectl -n $NS auth can-i create roles --as=$AS"
k create role more --verb=delete --resource=pods --as=$AS
k create role less --verb=get --resource=pods --as=$AS
k create rolebinding b --clusterrole=view --user=x --as=$AS 2>&1 | head -1 | cut -c1-200
k create rolebinding c --role=r --user=x --as=$AS

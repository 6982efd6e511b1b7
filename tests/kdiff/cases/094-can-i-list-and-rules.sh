ns; qk create sa robot; AS=system:serviceaccount:$NS:robot
qk create role r --verb=get,list --resource=pods; qk create rolebinding r --role=r --serviceaccount=$NS:robot
settle 10 "kubectl -n $NS get pods --as=$AS"
t bash -c "kubectl -n $NS auth can-i --list --as=$AS | grep -v -e '/api' -e openapi -e healthz -e livez -e readyz -e version | sed 's/  */ /g' | sort"
k auth can-i get pods --subresource=log --as=$AS
k auth can-i list pods --as=$AS
k auth can-i watch pods/x --as=$AS
kc auth can-i get pods --as=$AS
kc auth can-i get pods -A --as=$AS
kc auth can-i get /healthz --as=$AS
kc auth can-i get /logs --as=$AS
kc auth can-i get nodes --as=$AS
k create rolebinding lost --role=none --serviceaccount=$NS:robot
k create role x --verb=get --resource=pods --as=$AS
qk delete rolebinding lost
k auth reconcile -f - <<X
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: rec, namespace: $NS}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}
X
k create role bad --verb=get
k create -f - <<X
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: bad}, rules: [{apiGroups: [""], resources: [pods]}, {nonResourceURLs: ["/x"], verbs: [get]}]}
X
k create -f - <<X
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: bad}, subjects: [{kind: Robot, name: x}], roleRef: {kind: Role, name: r, apiGroup: rbac.authorization.k8s.io}}
X
k patch rolebinding r --type=merge -p '{"roleRef":{"name":"other"}}' 2>&1 | cut -c1-160
k describe role r
k describe rolebinding r
k get role,rolebinding

ns; cleanup "kubectl delete clusterrole,clusterrolebinding -l kd=$NS"
for r in view edit admin; do kc get clusterrole $r -o jsonpath='{.metadata.labels}{.aggregationRule}'; done
kc get clusterrole cluster-admin -o jsonpath='{.rules}'
kc get clusterrolebinding cluster-admin -o jsonpath='{.subjects}{.roleRef}'
k create -f - <<X
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: $NS-part, labels: {kd: $NS, agg: $NS}}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}
X
k create -f - <<X
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: $NS-whole, labels: {kd: $NS}}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {agg: $NS}}]}, rules: []}
X
settle 15 "kubectl get clusterrole $NS-whole -o json | jq -e '.rules|length==1'"
kj .rules get clusterrole $NS-whole
k create rolebinding v --clusterrole=view --user=jane
settle 10 "kubectl -n $NS get pods --as=jane"
for v in 'get pods' 'get secrets' 'list deployments.apps' 'delete pods' 'get cm' 'create pods/eviction' 'get events' 'get namespaces'; do k auth can-i $v --as=jane; done
k create rolebinding e --clusterrole=edit --user=joe
settle 10 "kubectl -n $NS auth can-i delete pods --as=joe"
for v in 'get secrets' 'delete deployments.apps' 'create rolebindings' 'create pods/exec' 'patch namespaces' 'create pods/eviction' 'update resourcequotas'; do k auth can-i $v --as=joe; done
k create cm mine --as=joe
k label ns $NS x=y --as=joe
k create rolebinding m --clusterrole=view --user=z --as=joe

ns; A='Accept: application/json;as=Table;v=v1;g=meta.k8s.io'
for p in api/v1/nodes api/v1/namespaces/$NS/configmaps api/v1/namespaces/$NS/secrets api/v1/namespaces/$NS/services api/v1/namespaces/$NS/serviceaccounts api/v1/namespaces/$NS/events api/v1/namespaces/$NS/endpoints apis/apps/v1/namespaces/$NS/replicasets apis/apps/v1/namespaces/$NS/statefulsets apis/apps/v1/namespaces/$NS/daemonsets apis/apps/v1/namespaces/$NS/controllerrevisions apis/batch/v1/namespaces/$NS/jobs apis/batch/v1/namespaces/$NS/cronjobs apis/autoscaling/v2/namespaces/$NS/horizontalpodautoscalers apis/coordination.k8s.io/v1/namespaces/$NS/leases apis/rbac.authorization.k8s.io/v1/clusterroles apis/rbac.authorization.k8s.io/v1/namespaces/$NS/rolebindings apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations apis/apiextensions.k8s.io/v1/customresourcedefinitions apis/discovery.k8s.io/v1/namespaces/$NS/endpointslices apis/networking.k8s.io/v1/namespaces/$NS/networkpolicies apis/networking.k8s.io/v1/namespaces/$NS/ingresses; do
  api -j '[.columnDefinitions[]|[.name,.type,.format,.priority]]' -H "$A" GET "/$p?limit=1"
done
deploy web 1 | qk create -f -; qk rollout status deploy/web --timeout=60s
k get deploy,rs,pods -o wide
k get pods -o wide --no-headers
k get nodes
kc get nodes --no-headers -o custom-columns=N:.metadata.name,R:'.status.conditions[?(@.type=="Ready")].status'
qk create rolebinding rb --clusterrole=view --user=u; k get rolebinding -o wide

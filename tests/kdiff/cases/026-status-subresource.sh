ns; deploy web 0 | qk create -f -
settle 15 "[ \"\$(kubectl -n $NS get deploy web -o jsonpath='{.status.observedGeneration}')\" = 1 ]"
P=/apis/apps/v1/namespaces/$NS/deployments/web
api -j '[.kind,.spec.replicas]' GET $P/status
api -j '[.spec.replicas,.metadata.labels,.metadata.generation,(.status.conditions|map(select(.type=="Mine"))|length)]' -H 'Content-Type: application/merge-patch+json' -b '{"metadata":{"labels":{"x":"y"}},"spec":{"replicas":5},"status":{"conditions":[{"type":"Mine","status":"True"}]}}' PATCH $P/status
api -j '[.spec.replicas,.status.replicas,.metadata.generation]' -b "$(g deploy web -o json | jq -c '.status.replicas=9|.metadata.resourceVersion=""')" PUT $P
k patch deploy web --subresource=status --type=merge -p '{"status":{"replicas":-1}}'
k patch deploy web --subresource=nope --type=merge -p '{}'
k patch cm kube-root-ca.crt --subresource=status --type=merge -p '{}'
k get deploy web --subresource=status -o name
api -j '[.code,.message]' -b '{}' POST $P/status
api -j '[.code,.message]' DELETE $P/status
qk create cm a
api -j '[.code,.message]' GET /api/v1/namespaces/$NS/configmaps/a/status
api -j '.status' -H 'Content-Type: application/merge-patch+json' -b '{"status":{"phase":"Nonsense"}}' PATCH /api/v1/namespaces/$NS/status

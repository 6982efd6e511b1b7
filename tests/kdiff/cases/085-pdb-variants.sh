ns; deploy web 4 | qk create -f -; qk rollout status deploy/web --timeout=60s
ok() { settle 20 "kubectl -n $NS get pdb $1 -o json | jq -e '.status.observedGeneration==.metadata.generation and .status.expectedPods!=null and .status.disruptionsAllowed==$2'"; }
k create pdb half --selector=app=web --max-unavailable=50%; ok half 2
kj '.status|[.currentHealthy,.desiredHealthy,.expectedPods,.disruptionsAllowed]' get pdb half
k get pdb half
p=$(g pods -o jsonpath='{.items[0].metadata.name}')
E() { api -j '[.code,.reason,.message,(.details.causes[]?|[.reason,.message])]' -b "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"$p\",\"namespace\":\"$NS\"}${1-}}" POST "/api/v1/namespaces/$NS/pods/$p/eviction${2-}"; }
k create pdb second --selector=app=web --min-available=1; ok second 3
E ''
E ',"deleteOptions":{"dryRun":["All"]}'
k delete pdb second
E ',"deleteOptions":{"dryRun":["All"]}'
E '' '?dryRun=All'
k get pod $p -o name
E ',"deleteOptions":{"preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}'
api -j '[.code,.message]' -b '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"other"}}' POST /api/v1/namespaces/$NS/pods/$p/eviction
api -j '[.code,.message]' -b '{"apiVersion":"v1","kind":"Pod"}' POST /api/v1/namespaces/$NS/pods/$p/eviction
note 'a budget of nothing'
k patch pdb half --type=merge -p '{"spec":{"maxUnavailable":0}}'; ok half 0
E ''
k create pdb bad --selector=app=web
k create -f - <<X
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: bad}, spec: {minAvailable: 1, maxUnavailable: 1, selector: {matchLabels: {app: web}}}}
X
k create -f - <<X
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: bad}, spec: {minAvailable: "120%", selector: {matchLabels: {app: web}}}}
X
k patch pdb half --type=merge -p '{"spec":{"maxUnavailable":null,"minAvailable":"75%","unhealthyPodEvictionPolicy":"AlwaysAllow"}}'; ok half 0
k get pdb half
k create pdb nothing --selector=app=none --min-available=1; settle 10 "kubectl -n $NS get pdb nothing -o json | jq -e .status.conditions"
kj '[.status.expectedPods,.status.disruptionsAllowed,([.status.conditions[]|[.type,.status,.reason]])]' get pdb nothing
k describe pdb half | grep -E '^(Name|Min|Selector|Allowed|Current|Desired|Total|Status)'
kc drain no-such-node

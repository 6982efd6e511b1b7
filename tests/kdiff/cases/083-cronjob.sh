ns
k create cronjob c --image=registry.example/app:1 --schedule='0 0 1 1 *' -- true
k get cj c
k create job now --from=cronjob/c
k wait --for=condition=complete job/now --timeout=60s
kj '[.metadata.annotations,(.metadata.ownerReferences[]|[.kind,.name,.controller])]' get job now
k patch cj c -p '{"spec":{"suspend":true}}'
k get cj c
k patch cj c -p '{"spec":{"schedule":"never"}}'
k patch cj c -p '{"spec":{"concurrencyPolicy":"Sometimes"}}'
k describe cj c | grep -E '^(Name|Schedule|Concurrency|Suspend|Starting)'
k delete cj c
settle 20 "! kubectl -n $NS get job now"
k get cj,job

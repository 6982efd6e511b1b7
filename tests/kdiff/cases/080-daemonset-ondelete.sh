ns
qk create -f - <<X
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: ds}, spec: {updateStrategy: {type: OnDelete}, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: 'i:1'}]}}}}
X
settle 30 "kubectl -n $NS get ds ds -o json | jq -e '.status.numberReady==1'"
k rollout status ds/ds --timeout=5s
k set image ds/ds c=i:2
settle 20 "kubectl -n $NS get ds ds -o json | jq -e '.status.observedGeneration==2 and (.status.updatedNumberScheduled//0)==0'"
kj '.status' get ds ds
k get pods -o custom-columns=I:.spec.containers[0].image
qk delete pod -l a=b
settle 30 "kubectl -n $NS get ds ds -o json | jq -e '.status.updatedNumberScheduled==1 and .status.numberReady==1'"
k get pods -o custom-columns=I:.spec.containers[0].image
k get ds ds
k rollout history ds/ds
k rollout undo ds/ds
kj '[.spec.template.spec.containers[0].image,.metadata.generation,.metadata.annotations]' get ds ds
k rollout undo ds/ds --to-revision=7
kj '[.items[]|[.revision,.metadata.ownerReferences[0].kind]]|sort' get controllerrevisions
k patch ds ds -p '{"spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"0","maxSurge":0}}}}'
k patch ds ds -p '{"spec":{"selector":{"matchLabels":{"a":"c"}}}}' 2>&1 | cut -c1-120
k rollout pause ds/ds
k describe ds ds | grep -E '^(Name|Selector|Desired|Current|Number|Pods Status)' 
k delete ds ds
settle 20 "[ -z \"\$(kubectl -n $NS get pods,controllerrevisions -o name)\" ]"

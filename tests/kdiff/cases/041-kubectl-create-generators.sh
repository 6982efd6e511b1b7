ns
k create deployment d --image=i:1 --replicas=0 --port=80 --dry-run=client -o yaml
k create deployment d --image=i:1 --replicas=0
kj '[.spec.template.spec.containers,.metadata.labels]' get deploy d
k create role r --verb=get --resource=pods
kj .rules get role r
k create rolebinding r --role=r --user=u --group=g --serviceaccount=$NS:default
kj '[.roleRef,.subjects]' get rolebinding r
k create sa s
k create quota q --hard=pods=2
k create pdb p --selector=a=b --max-unavailable=1
k create configmap f --from-literal=a=1 --dry-run=client -o jsonpath='{.data}'
k create job j --image=i --dry-run=client -o name
k create cronjob c --image=i --schedule='* * * * *' --dry-run=server -o name
k create ingress i --rule=a.example/x=svc:80
k create token default --duration=1s
k create priorityclass none --value=1 --dry-run=server
k get role,rolebinding,sa
k run p --image=i --dry-run=server -o jsonpath='{.spec.containers[0]}'
k autoscale deploy d --max=2 --min=1 --cpu=50%
kj '.spec|[.minReplicas,.maxReplicas,.metrics,.scaleTargetRef]' get hpa d
k get hpa d

ns; qk create secret generic s --from-literal=a=b; qk create sa robot
jq -n '{apiVersion:"v1",kind:"Pod",metadata:{name:"p",labels:{a:"b"}},spec:{terminationGracePeriodSeconds:0,containers:[{name:"c",image:"i:1",env:[{name:"X",value:"y"}],ports:[{containerPort:80}]}]}}' | qk create -f -; qk wait --for=condition=Ready pod/p --timeout=60s
k describe secret s
k describe pod p | grep -E '^(Name|Namespace|Priority|Service Account|Labels|Status|Containers|QoS|Node-Selectors|Tolerations)|Image:|Port:|State:|Ready|Restart|Environment'
t bash -c "kubectl -n $NS describe pod none; kubectl -n $NS describe pod -l x=none"
k describe pdb none
k describe svc none
export KUBE_EDITOR="sed -i s/app=b/app=c/"
KUBE_EDITOR="sed -i -e s/a:[[:space:]]b/a:\ c/" k edit pod p
k get pod p --show-labels
KUBE_EDITOR=true k edit pod p
KUBE_EDITOR="sed -i -e s/restartPolicy:.*/restartPolicy:\ Never/" k edit pod p 2>&1 | grep -v -e '/tmp' -e '^$' | cut -c1-100
k edit pod none
qk create quota q --hard=count/configmaps=3
settle 10 "kubectl -n $NS get quota q -o json | jq -e '.status.hard'"
k describe ns $NS | head -8
k describe role,cm nope

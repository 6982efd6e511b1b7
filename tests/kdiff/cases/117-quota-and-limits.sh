ns; qk create quota q --hard=pods=1,count/configmaps=3,secrets=1
settle 20 "kubectl -n $NS get quota q -o json | jq -e '.status.used.pods==\"0\"'"
kj .status get quota q
k get quota q
k create secret generic a
settle 10 "[ \"\$(kubectl -n $NS get quota q -o json | jq -r .status.used.secrets)\" = 1 ]"
k create secret generic b
deploy web 2 | qk create -f -
settle 20 "kubectl -n $NS get deploy web -o json | jq -e '[.status.conditions[]?|select(.type==\"ReplicaFailure\")]|length==1'"
kj '[.status.conditions[]|select(.type=="ReplicaFailure")|[.status,.reason]]' get deploy web
k run one --image=i
k describe quota q
k delete quota q

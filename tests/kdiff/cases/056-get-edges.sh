ns; qk create cm a; qk create cm b
k get
k get cm a b --ignore-not-found
k get cm none --ignore-not-found
k get cm a none
k get cm/a secret/none
k get cm a -l x=y
k get cm a --all-namespaces
k get cm --field-selector metadata.name=none
kc get --raw /api/v1/namespaces/$NS/configmaps/none
kc get --raw /nope
kc get --raw /healthz
k get -f - <<X
{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
X
k get cm a -o jsonpath='{.metadata.name'
k get cm a -o custom-columns=X
k get cm -o jsonpath='{.items[0].metadata.name}'
k get cm a -o jsonpath-as-json='{.metadata.name}'
k get cm a -o template='{{.metadata.name}}{{"\n"}}'
k get cm a b -o wide --label-columns=x
k get cm --sort-by=.metadata.nope -o name
k get cm,nopes
k get cm a --server-print=false
kc -n no-such-namespace get cm
kc get ns no-such-namespace default -o name
k get cm a -w=false -o name
k get events
k get pods,cm/a

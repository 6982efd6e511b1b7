ns; for n in a b c; do qk create cm $n; done
k label cm a b team=x
k label cm a b c --list
k label cm a team-
k label cm a b tier=y --dry-run=client
k label cm a tier=y --dry-run=client -o jsonpath='{.metadata.labels}'
k label cm -l team=x tier=z --resource-version=1
k label cm a
k label cm a =x
k label cm a team=not/ok
k label cm x=y
k label cm a b team=q --overwrite=false
k label --local -f - x=y -o name <<X
{apiVersion: v1, kind: ConfigMap, metadata: {name: loc}}
X
k annotate cm a kubernetes.io/change-cause='why not' x/y=
kj .metadata.annotations get cm a
k annotate cm --all seen=1 --field-selector metadata.name=b
t bash -c "kubectl -n $NS annotate cm a --list | sort"
k patch cm a --type=json -p '[{"op":"add","path":"/metadata/labels","value":{"only":"1"}}]'
k patch cm a --type=merge -p '{"metadata":{"labels":null,"annotations":{"seen":null}}}'
kj '.metadata|{labels,annotations}' get cm a
k get cm -L team,tier --show-labels -l '!none,team'

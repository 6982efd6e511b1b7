ns
C() { printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s","labels":{"set":"s"}},"data":{"k":"%s"}}\n' $1 $2; }
(C a 1; C b 1) | k apply -f -
C a 2 | k apply --prune -l set=s --prune-allowlist=core/v1/ConfigMap -f -
k get cm -l set=s -o name
C a 2 | k diff -f -
C a 3 | kubectl -n $NS diff -f - >$T/d; note "diff ends with $?"; grep '^[-+] ' $T/d
C new 3 | kubectl -n $NS diff -f - >$T/d; note "diff ends with $?"; grep -c '^+' $T/d
C a 4 | k replace -f -
C a 4 | k apply -f -
C a 5 | k apply set-last-applied -f -
k apply view-last-applied cm/a
qk create cm plain; k apply view-last-applied cm/plain
C plain 1 | k apply set-last-applied -f -
C plain 1 | k apply set-last-applied --create-annotation -f -
C a 6 | k apply -f - -o jsonpath='{.data}'
C a 6 | k apply -f - --dry-run=client
C z 6 | k apply -f - --dry-run=server
C a 7 | k replace --force -f -
C none 7 | k replace -f -
(C a 8; C a2 8) | k delete -f -
k apply -f - <<X
{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: l1}}, {apiVersion: v1, kind: ConfigMap, metadata: {name: l2}}]}
X
k apply -f - </dev/null

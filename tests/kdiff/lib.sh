# The words of the cases; sourced before each.
#
# In scope: KUBECONFIG; NS, the case's own namespace (`ns` makes it); T, a scratch directory, which is the
# current one; SERVER; CURL, an array: curl with the kubeconfig's credentials.
#
#   t CMD…            records a command: its line, stdout, stderr and exit code
#   k ARGS…           t kubectl -n $NS ARGS
#   kc ARGS…          t kubectl ARGS (cluster scoped, or with a -n of its own)
#   kj JQ ARGS…       records kubectl -n $NS ARGS -o json, through jq
#   q CMD…            runs a command that is recorded only if it fails
#   qk ARGS…          q kubectl -n $NS ARGS
#   g ARGS…           kubectl -n $NS get ARGS, unrecorded
#   api [-j JQ] [-H HEADER]… [-b BODY] METHOD PATH
#                     records an HTTP exchange: code, some headers, body
#   settle S COND     waits until COND holds; recorded only if it does not within S seconds
#   cleanup CMD       runs CMD when the case ends
#   note TEXT         a remark
#   deploy NAME REPLICAS [SPEC]
#                     prints a plain Deployment, with SPEC (JSON) merged into its spec
set -u
CLEAN=()

note() { printf '\n# %s\n' "$*"; }

_show() {
  _ended_with_newline "$T/o" cat
  _ended_with_newline "$T/e" sed 's/^/2> /'
  printf '[exit %s]\n' "$1"
}

_ended_with_newline() {
  local file=$1
  shift
  [ -s "$file" ] || return 0
  "$@" "$file"
  [ -z "$(tail -c1 "$file")" ] || echo
}

_line() {
  local word
  printf '\n$'
  for word in "$@"; do
    case $word in
      *[[:space:]\'\"\{\}\$\&\;\(\)\|\<\>]*) printf " '%s'" "$word" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
  echo
}

t() {
  local rc
  _line "$@"
  "$@" >"$T/o" 2>"$T/e"
  rc=$?
  _show $rc
  return $rc
}

k() { t kubectl -n "$NS" "$@"; }

kc() { t kubectl "$@"; }

kj() {
  local filter=$1 rc
  shift
  _line kubectl -n "$NS" "$@" -o json '| jq' "$filter"
  kubectl -n "$NS" "$@" -o json >"$T/j" 2>"$T/e"
  rc=$?
  jq -S "$filter" <"$T/j" >"$T/o" 2>>"$T/e"
  _show $rc
  return $rc
}

q() {
  local rc
  "$@" >"$T/o" 2>"$T/e"
  rc=$?
  [ $rc = 0 ] || {
    _line "$@"
    _show $rc
  }
  return $rc
}

qk() { q kubectl -n "$NS" "$@"; }

g() { kubectl -n "$NS" get "$@" 2>/dev/null; }

api() {
  local filter=. headers=() data=() body='' method path rc
  while :; do
    case $1 in
      -j) filter=$2 ;;
      -H) headers+=(-H "$2") ;;
      -b) body=$2 ;;
      *) break ;;
    esac
    shift 2
  done
  method=$1 path=$2
  printf '\n> %s %s\n' "$method" "$path"
  if [ -n "$body" ]; then
    data=(--data-binary "$body")
    case "${headers[*]-}" in
      *ontent-[tT]ype*) ;;
      *) headers+=(-H 'Content-Type: application/json') ;;
    esac
  fi
  "${CURL[@]}" -X "$method" "${headers[@]}" "${data[@]}" -D "$T/h" -o "$T/b" "$SERVER$path"
  rc=$?
  if [ $rc != 0 ]; then
    echo "curl exit $rc"
    # 28: its time was up, as a watch's may be.
    [ $rc = 28 ] || return
  fi
  tr -d '\r' <"$T/h" | sed -n '
    1s/^HTTP[^ ]* \([0-9]*\).*/HTTP \1/p
    s/^[Cc]ontent-[Tt]ype: */content-type: /p
    s/^[Ww]arning: */warning: /p
    s/^[Rr]etry-[Aa]fter: */retry-after: /p
    s/^[Aa]llow: */allow: /p'
  if jq -S "$filter" <"$T/b" >"$T/o" 2>"$T/e"; then
    cat "$T/o"
  else
    cat "$T/b"
    echo
  fi
}

settle() {
  local limit=$1 condition=$2 end=$((SECONDS + $1))
  until eval "$condition" >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      printf '\n(did not hold within %ss: %s)\n' "$limit" "$condition"
      return 1
    fi
    sleep 0.1
  done
}

cleanup() { CLEAN+=("$*"); }

ns() {
  q kubectl create namespace "$NS"
  settle 10 "kubectl -n $NS get sa/default cm/kube-root-ca.crt"
}

_end() {
  local command
  for command in "${CLEAN[@]-}"; do
    [ -z "$command" ] || eval "$command" >/dev/null 2>&1
  done
  kubectl delete namespace "$NS" --ignore-not-found --wait=false >/dev/null 2>&1
}
trap _end EXIT

deploy() {
  jq -n --arg name "$1" --argjson replicas "$2" --argjson spec "${3:-{\}}" '{
    apiVersion: "apps/v1", kind: "Deployment", metadata: {name: $name, labels: {app: $name}},
    spec: ({
      replicas: $replicas, selector: {matchLabels: {app: $name}},
      template: {
        metadata: {labels: {app: $name}},
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [{name: "main", image: "registry.example/app:1"}]
        }
      }
    } * $spec)
  }'
}

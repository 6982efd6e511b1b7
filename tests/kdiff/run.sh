#!/usr/bin/env bash
# Asks all the cases of one API server.
#
# usage: run.sh KUBECONFIG OUT [GLOB]
#
# Runs each case of cases/ whose name matches GLOB, JOBS (2) at a time, each for at most CASE_LIMIT (90)
# seconds, and writes OUT/NAME.out, normalised; OUT/.raw/NAME.raw is what it said. KUBECTL names the
# kubectl to use. Needs jq, curl and python3 too.
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
export HERE KUBECONFIG OUT WORK SERVER PATH
KUBECONFIG=$(realpath "$1")
mkdir -p "$2"
OUT=$(realpath "$2")
GLOB=${3:-*}
WORK=$OUT/.work
mkdir -p "$OUT/.raw" "$WORK/bin"

# The cases say `kubectl`; that is the one which was named.
ln -sf "$(command -v "${KUBECTL:-kubectl}")" "$WORK/bin/kubectl"
PATH="$WORK/bin:$PATH"

# curl with the credentials of the kubeconfig: one argument a line, for the cases to read.
umask 077
config=$(kubectl config view --raw --minify --flatten -o json) || exit 2
field() { jq -r "$1 // empty" <<<"$config"; }
pem() { field "$1" | base64 -d >"$2"; [ -s "$2" ]; }
SERVER=$(field '.clusters[0].cluster.server' | sed 's#/$##')
{
  printf '%s\n' -sS -N --noproxy '*' --max-time 60
  if pem '.clusters[0].cluster."certificate-authority-data"' "$WORK/ca"; then
    printf '%s\n' --cacert "$WORK/ca"
  else
    echo -k
  fi
  if pem '.users[0].user."client-certificate-data"' "$WORK/crt"; then
    pem '.users[0].user."client-key-data"' "$WORK/key"
    printf '%s\n' --cert "$WORK/crt" --key "$WORK/key"
  fi
  token=$(field '.users[0].user.token')
  [ -z "$token" ] || printf '%s\n' -H "Authorization: Bearer $token"
} >"$WORK/curl"
kubectl get nodes -o name | sed 's#^node/##' >"$WORK/nodes"

# Runs one case in a namespace and a directory of its own.
one() {
  local case=$1 name start rc
  name=$(basename "$case" .sh)
  export NS T="$WORK/$name" KUBECACHEDIR="$WORK/cache/$name"
  NS=kd-${name%%-*}-$(tr -dc 'bcdfg' </dev/urandom | head -c6)
  start=${EPOCHREALTIME/./}
  mkdir -p "$T"
  (
    cd "$T" || exit
    timeout -k 5 "${CASE_LIMIT:-90}" bash -c '
      mapfile -t words <"$WORK/curl"
      CURL=(curl "${words[@]}")
      . "$HERE/lib.sh"
      . "$1"' _ "$case" </dev/null
    # 1 is the exit code of a last command that was meant to fail.
    rc=$?
    [ $rc -le 1 ] || echo "(case ended with $rc)"
  ) >"$OUT/.raw/$name.raw" 2>&1
  "$HERE/normalize.py" "$NS" "$SERVER" "$WORK/nodes" <"$OUT/.raw/$name.raw" >"$OUT/$name.out"
  echo "$(((${EPOCHREALTIME/./} - start) / 1000)) ms $name" >>"$WORK/times"
  rm -rf "$T" "$KUBECACHEDIR"
}
export -f one

: >"$WORK/times"
SECONDS=0
# The slow ones first, so that none is left alone at the end.
ls "$HERE"/cases/$GLOB.sh | xargs grep -c -E 'rollout status|wait |sleep|settle' /dev/null | grep -v '^/dev/null' |
  sort -t: -k2,2nr -k1,1 | cut -d: -f1 | xargs -P "${JOBS:-2}" -I{} bash -c 'one {}'
rm -f "$WORK/key" "$WORK/curl"
echo "$(ls "$OUT"/*.out | wc -l) cases in $SECONDS s; the slowest:"
sort -nr "$WORK/times" | head -5

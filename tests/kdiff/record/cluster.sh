#!/usr/bin/env bash
# Starts and stops the API server whose answers are recorded: etcd, kube-apiserver, its controllers and its
# scheduler from one program (the lab's `controlplane`), and a node without containers (kubelet.py).
#
# usage: cluster.sh up | down | in COMMAND…
#
# All of it lives in a network namespace of its own, so it needs root; `in` runs a command there, with
# KUBECONFIG. CONTROLPLANE names the program, RUN a directory for its data (/tmp/kdiff-cluster).
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
CONTROLPLANE=${CONTROLPLANE:-$HERE/../../../target/lab/bin/controlplane}
RUN=${RUN:-/tmp/kdiff-cluster}
NETNS=kdiff
ADDRESS=10.88.0.1
SERVER=https://$ADDRESS:6443
export KUBECONFIG=$RUN/kubeconfig

inside() { nsenter --net=/run/netns/$NETNS -- "$@"; }

start() {
  local name=$1
  shift
  setsid nsenter --net=/run/netns/$NETNS -- "$@" >"$RUN/$name.log" 2>&1 </dev/null &
  echo $! >"$RUN/$name.pid"
}

until_so() {
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  echo "not so after 30 s: $*" >&2
  exit 1
}

ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.crt" -days 3650 -subj "$2"; }

leaf() { # NAME SUBJECT EXTENSION
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$1.crt" -extfile <(echo "$3")
}

keys() {
  openssl genrsa -out sa.key 2048
  openssl rsa -in sa.key -pubout -out sa.pub
  ca ca /CN=kdiff
  leaf apiserver /CN=kube-apiserver "subjectAltName=DNS:kubernetes.default.svc,IP:$ADDRESS,IP:10.97.0.1"
  leaf admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
}

up() {
  [ ! -e /run/netns/$NETNS ] || { echo "up already" >&2; exit 1; }
  rm -rf "$RUN"
  mkdir -p "$RUN"
  cd "$RUN"
  keys 2>openssl.log
  cat >kubeconfig <<K
apiVersion: v1
kind: Config
clusters: [{name: kdiff, cluster: {server: "$SERVER", certificate-authority: $RUN/ca.crt}}]
users: [{name: admin, user: {client-certificate: $RUN/admin.crt, client-key: $RUN/admin.key}}]
contexts: [{name: kdiff, context: {cluster: kdiff, user: admin}}]
current-context: kdiff
K
  ip netns add $NETNS
  inside ip -batch - <<N
link set lo up
link add br0 type bridge
addr add $ADDRESS/16 dev br0
link set br0 up
route add 10.97.0.0/16 dev br0
N
  start etcd "$CONTROLPLANE" etcd --data-dir etcd
  start apiserver "$CONTROLPLANE" kube-apiserver --etcd-servers=http://127.0.0.1:12379 \
    --secure-port=6443 --bind-address=$ADDRESS --advertise-address=$ADDRESS \
    --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --client-ca-file=ca.crt \
    --service-account-key-file=sa.pub --service-account-signing-key-file=sa.key \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-cluster-ip-range=10.97.0.0/16 --authorization-mode=Node,RBAC --allow-privileged \
    --enable-aggregator-routing=true --disable-admission-plugins=TaintNodesByCondition
  until_so inside curl -sf --cacert ca.crt --cert admin.crt --key admin.key $SERVER/readyz
  local client="--kubeconfig=kubeconfig --leader-elect=false --secure-port=0 --kube-api-qps=500 --kube-api-burst=1000"
  # shellcheck disable=SC2086 # one word each
  start controllers "$CONTROLPLANE" kube-controller-manager $client \
    --service-account-private-key-file=sa.key --root-ca-file=ca.crt --use-service-account-credentials \
    --controllers='*,-node-lifecycle-controller,-cloud-node-lifecycle-controller,-node-ipam-controller,-node-route-controller'
  # shellcheck disable=SC2086
  start scheduler "$CONTROLPLANE" kube-scheduler $client
  start kubelet "$HERE/kubelet.py" kdiff-node $SERVER ca.crt admin.crt admin.key
  until_so grep -q ready kubelet.log
  until_so inside "${KUBECTL:-kubectl}" --namespace default get serviceaccount default
}

down() {
  local name
  for name in kubelet scheduler controllers apiserver etcd; do
    if [ -f "$RUN/$name.pid" ]; then
      kill -9 "$(cat "$RUN/$name.pid")" || true
    fi
  done
  ip netns del $NETNS
  rm -rf "$RUN"
}

case ${1:-} in
  up | down) "$1" ;;
  in) shift && inside "$@" ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac

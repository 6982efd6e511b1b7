#!/usr/bin/env bash
# init.sh NAME [NODE] : the first process of a lab. Runs with new network, mount and PID namespaces
# (`lab up` makes them), so that everything it starts, mounts or configures ends with it.
set -euo pipefail
# shellcheck disable=SC2034 # lib.sh reads it
LAB_NAME=$1
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$LAB_RUN"
NODE_NET=$(node_network "$LAB_NAME") SERVICE_NET=$(service_network "$LAB_NAME")
NODE_IP=$NODE_NET.0.1
API_HOST=$SERVICE_NET.0.1 # of Service default/kubernetes
export XTABLES_LOCKFILE=$LAB_RUN/xtables.lock

# Pods are named network namespaces: their names live in a /run of the lab's own.
mount -t tmpfs tmpfs /run
mkdir /run/netns

network() {
  ip -batch - <<N
link set lo up
link add br0 type bridge
addr add $NODE_IP/16 dev br0
link set br0 up
route add $SERVICE_NET.0.0/16 dev br0
N
  echo 1 >/proc/sys/net/ipv4/ip_forward
  # Pods route through the node: it must not tell them a shorter way.
  local device
  for device in all default br0; do echo 0 >"/proc/sys/net/ipv4/conf/$device/send_redirects"; done
}

key() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" "${@:2}" 2>>../log/openssl.log; }
ca() { key "$1" -x509 -out "$1.crt" -days 3650 -subj "$2"; }
leaf() { # NAME SUBJECT CA EXTENSION…
  key "$1" -out "$1.csr" -subj "$2"
  openssl x509 -req -in "$1.csr" -CA "$3.crt" -CAkey "$3.key" -CAcreateserial -days 365 -out "$1.crt" \
    -extfile <(printf '%s\n' "${@:4}") 2>>../log/openssl.log
}

keys() {
  cd pki
  openssl genrsa -out sa.key 2048 2>>../log/openssl.log
  openssl rsa -in sa.key -pubout -out sa.pub 2>>../log/openssl.log
  ca ca /CN=lab-kubernetes-ca
  leaf apiserver /CN=kube-apiserver ca \
    "subjectAltName=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:$NODE_IP,IP:$API_HOST"
  leaf admin /O=system:masters/CN=admin ca "extendedKeyUsage=clientAuth"
  cd ..
  cat >kubeconfig <<K
apiVersion: v1
kind: Config
clusters:
- {name: $LAB_CONTEXT, cluster: {server: "https://$NODE_IP:6443", certificate-authority: $LAB_RUN/pki/ca.crt}}
users:
- {name: admin-$LAB_NAME, user: {client-certificate: $LAB_RUN/pki/admin.crt, client-key: $LAB_RUN/pki/admin.key}}
contexts:
- {name: $LAB_CONTEXT, context: {cluster: $LAB_CONTEXT, user: admin-$LAB_NAME}}
current-context: $LAB_CONTEXT
K
}

# The second CA's root (key and name like the real one's), and the CA of its TLS server certificate,
# which stands for the public CAs of the TLS world. Made while the control plane starts.
mesh_keys() {
  cd pki
  # A second cluster has that of the first.
  [ -e meshroot.key ] || openssl req -x509 -newkey rsa:4096 -nodes -keyout meshroot.key -out meshroot.crt -days 3650 \
    -subj "/O=Lab Mesh CA/CN=istio_v1_cloud_workload_root-signer-lab" 2>>../log/openssl.log
  ca web "/CN=lab web CA"
  leaf meshtls /CN=meshca web "subjectAltName=DNS:meshca.meshca.svc"
  cp web.crt ../certs/ca-certificates.crt
}

start() { # NAME COMMAND…
  local name=$1
  shift
  "$@" >"log/$name.log" 2>&1 </dev/null &
  echo $! >"pids/$name"
}

ready() { curl -sk "https://$NODE_IP:6443/readyz" --cert pki/admin.crt --key pki/admin.key | grep -q '^ok'; }

network
keys
controlplane=$LAB_BIN/controlplane
auth=(--kubeconfig=kubeconfig --authentication-kubeconfig=kubeconfig --authorization-kubeconfig=kubeconfig)
auth+=(--leader-elect=false --secure-port=0)
start etcd "$controlplane" etcd --data-dir etcd
start apiserver "$controlplane" kube-apiserver --etcd-servers=http://127.0.0.1:12379 \
  --secure-port=6443 --bind-address="$NODE_IP" --advertise-address="$NODE_IP" \
  --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
  --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-cluster-ip-range="$SERVICE_NET.0.0/16" \
  --authorization-mode=Node,RBAC --allow-privileged --enable-aggregator-routing=true \
  --disable-admission-plugins=TaintNodesByCondition --kubelet-preferred-address-types=InternalIP \
  --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key
mesh_keys &
mesh_keys=$!
until_ok 60 ready
# Their client-side limits are for a cluster of thousands of nodes, and cost seconds at the start.
start controller-manager "$controlplane" kube-controller-manager "${auth[@]}" \
  --service-account-private-key-file=pki/sa.key --root-ca-file=pki/ca.crt --use-service-account-credentials \
  --kube-api-qps=500 --kube-api-burst=1000 \
  --controllers='*,-node-lifecycle-controller,-cloud-node-lifecycle-controller,-node-ipam-controller,-node-route-controller'
start scheduler "$controlplane" kube-scheduler "${auth[@]}" --kube-api-qps=500 --kube-api-burst=1000
# The limits of connection tracking belong to the whole machine: 0 leaves them alone.
start kube-proxy "$controlplane" kube-proxy --kubeconfig=kubeconfig --hostname-override=lab-node --proxy-mode=iptables \
  --cluster-cidr="$NODE_NET.0.0/16" --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0s \
  --conntrack-tcp-timeout-close-wait=0s --healthz-bind-address= --metrics-bind-address=127.0.0.1:10249
wait "$mesh_keys"
if [ $# = 1 ]; then
  start node "$LAB_BIN/node" run --kubeconfig=kubeconfig --client-ca=pki/ca.crt --run="$LAB_RUN" --bin="$LAB_BIN" \
    --share="$LAB_SHARE" --certs="$LAB_RUN/certs" --node-ip="$NODE_IP" --api-host="$API_HOST"
else
  start node "$2" lab-node "https://$NODE_IP:6443" pki/ca.crt pki/admin.crt pki/admin.key
fi
until_ok 30 grep -q ' ready$' log/node.log
touch ready

# Stays for as long as the lab does; what ends by itself is said, and nothing takes its place.
while true; do
  if wait -n -p ended; then code=0; else code=$?; fi
  [ -n "${ended:-}" ] || sleep infinity
  echo "process $ended ($(grep -lx "$ended" pids/* | xargs -r basename -a)) ended with $code"
done

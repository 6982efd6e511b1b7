#!/usr/bin/env bash
# fixtures.sh DIR : takes the config dumps that the tests judge (tests/fixtures/lab), at each stage of a
# migration made by hand, with kubectl and asmcli alone. Starts labs of its own (LAB_NAME) and ends them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export LAB_NAME=${LAB_NAME:-fixtures}
# shellcheck source=lib.sh
. "$here/lib.sh"
directory=$(realpath -m "$1")
trap '"$here/lab" down' EXIT

inside() { "$here/lab" exec "$@"; }
capture() { inside "$here/capture.py" "$1" "$directory/$ca" "${@:2}"; }

install() { # CA REVISION [OPTION]
  inside asmcli install --kubeconfig "$LAB_RUN/kubeconfig" --context "$LAB_CONTEXT" --enable_all --ca "$1" \
    --revision_name "$2" ${3:+--option "$3"} --output_dir "$LAB_RUN/asmcli-$2" <<<y >"$LAB_RUN/log/asmcli-$2.log" 2>&1
}

restarted() { # NAMESPACE
  local object
  for object in $(inside kubectl get deployments,statefulsets,daemonsets -n "$1" -o name | grep -v /istiod); do
    inside kubectl rollout restart -n "$1" "$object" >/dev/null
    inside kubectl rollout status -n "$1" "$object" --timeout=90s >/dev/null
  done
}

move() { # NAMESPACE REVISION
  inside kubectl label namespace "$1" istio-injection- "istio.io/rev=$2" --overwrite >/dev/null
  restarted "$1"
}

move_gateway() { # REVISION
  local patch="{\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"istio.io/rev\":\"$1\"}}}}}"
  inside kubectl patch -n istio-system deployment istio-ingressgateway -p "$patch" >/dev/null
  inside kubectl rollout status -n istio-system deployment/istio-ingressgateway --timeout=90s >/dev/null
}

gateway=istio-system/istio-ingressgateway
for ca in self-signed plug-in; do
  rm -rf "${directory:?}/$ca"
  "$here/lab" up
  "$here/lab" mesh --apps managed --ca "$ca"
  capture start shop/web "$gateway"
  install mesh_ca meshca-only
  move pay meshca-only
  capture straight pay/api
  install citadel both ca-migration-citadel
  for namespace in shop pay; do move "$namespace" both; done
  move_gateway both
  capture distribute shop/web pay/ledger "$gateway"
  install mesh_ca meshca ca-migration-meshca
  for namespace in shop pay; do move "$namespace" meshca; done
  move_gateway meshca
  capture sign shop/web pay/ledger "$gateway"
  # Without its secrets istiod makes a new root when it starts.
  inside kubectl delete secret -n istio-system cacerts istio-ca-secret --ignore-not-found >/dev/null
  for object in $(inside kubectl get deployments -n istio-system -o name | grep /istiod); do
    inside kubectl rollout restart -n istio-system "$object" >/dev/null
    inside kubectl rollout status -n istio-system "$object" --timeout=90s >/dev/null
  done
  for namespace in shop istio-system; do restarted "$namespace"; done
  capture retired shop/web "$gateway"
  "$here/lab" down
done

#!/usr/bin/env bash
# Makes anew what no rollout restarts: Job `batch-N` and Pod `lone-N`, as an engineer would by hand. The
# new ones come first, so that their Services always have an endpoint.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"

inside() { "$here/lab" exec "$@"; }
names() { inside kubectl get "$1" -n "$2" -o name | grep "/$3-"; }

old=$(names jobs shop batch)
make=$((${old##*-} + 1))
"$here/apps.py" --make "$make" >"$LAB_RUN/manifests/make-$make.json"
old_pod=$(names pods pay lone)
inside kubectl apply -f "$LAB_RUN/manifests/make-$make.json"
inside kubectl wait -n pay "pod/lone-$make" --for=condition=Ready --timeout=60s >/dev/null
inside kubectl wait -n shop pods -l "batch.kubernetes.io/job-name=batch-$make" --for=condition=Ready --timeout=60s >/dev/null
inside kubectl delete -n pay "$old_pod"
# The pod goes before its Job, so that nothing of it is left afterwards.
inside kubectl delete -n shop "$old" --cascade=foreground

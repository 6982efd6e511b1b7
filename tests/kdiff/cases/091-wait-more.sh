ns; deploy a 1 | qk create -f -; deploy b 1 | qk create -f -
k wait --for=condition=Available deploy --all --timeout=60s
k wait --for=condition=available=true deploy/a deploy/b --timeout=5s
k wait --for=jsonpath='{.spec.replicas}'=1 deploy --all --timeout=5s
k wait --for=jsonpath='{.status.nope}' deploy/a --timeout=1s
k wait --for=jsonpath='{.metadata.name}' deploy/a --timeout=1s
k wait --for=nonsense deploy/a --timeout=1s
k wait --for=condition=Ready pods --all --timeout=30s | sed 's/\([ab]\)-[a-z0-9]*-[a-z0-9]*/\1-X/' | sort
k wait deploy/a
k wait --for=delete cm -l none=x --timeout=1s
k wait --for=condition=Ready pod/none --timeout=0
k wait --for=create cm/none --timeout=1s
k wait --for=condition=Available deploy/a --timeout=0
qk create cm x; (sleep 0.5; kubectl -n $NS delete cm x) >/dev/null 2>&1 &
k delete cm none --wait --timeout=1s
wait
k rollout status deploy/a --watch=false
k rollout status deploy -l app=b --timeout=5s
k rollout status deploy/none --timeout=2s
k rollout status deploy -l app=none --timeout=2s
k rollout status deploy/a --revision=7 --timeout=2s

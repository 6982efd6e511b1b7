ns; deploy web 4 '{"revisionHistoryLimit":1,"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":"50%","maxUnavailable":0}}}' | qk create -f -; qk rollout status deploy/web --timeout=60s
for i in 2 3 4; do qk set image deploy/web main=registry.example/app:$i; qk rollout status deploy/web --timeout=60s; done
settle 20 "[ \$(kubectl -n $NS get rs -o name | wc -l) = 2 ]"
kj '[.items[]|[.metadata.annotations["deployment.kubernetes.io/revision","deployment.kubernetes.io/desired-replicas","deployment.kubernetes.io/max-replicas"],.spec.replicas]]|sort' get rs
k rollout history deploy/web
kj '.spec.strategy' get deploy web
k patch deploy web -p '{"spec":{"strategy":{"rollingUpdate":{"maxSurge":"150%","maxUnavailable":"120%"}}}}'
k patch deploy web -p '{"spec":{"strategy":{"rollingUpdate":{"maxSurge":"abc"}}}}'
k patch deploy web -p '{"spec":{"revisionHistoryLimit":-1,"minReadySeconds":-1,"progressDeadlineSeconds":0}}'
k patch deploy web -p '{"spec":{"minReadySeconds":900}}'
k patch deploy web -p '{"spec":{"strategy":{"type":"Recreate"}}}'
k describe deploy web | grep -E '^(Strategy|Rolling|MinReady|Replicas|NewRep|OldRep)' | sed 's/web-[a-z0-9]*/web-X/'
qk scale deploy web --replicas=6; qk rollout status deploy/web --timeout=60s
k get deploy web
kj '[.items[]|.metadata.annotations["deployment.kubernetes.io/desired-replicas","deployment.kubernetes.io/max-replicas"]]|sort' get rs

ns; deploy web 1 | qk create -f -; qk rollout status deploy/web --timeout=60s
k rollout pause deploy/web
k rollout pause deploy/web
k set image deploy/web main=registry.example/app:2
settle 15 "kubectl -n $NS get deploy web -o json | jq -e '.status.observedGeneration==.metadata.generation and ([.status.conditions[]|select(.reason==\"DeploymentPaused\")]|length)==1'"
kj '[.spec.paused,(.status|[.replicas,.updatedReplicas]),([.status.conditions[]|[.type,.status,.reason,.message]]|sort)]' get deploy web
k rollout status deploy/web --timeout=1s
k rollout undo deploy/web
k rollout restart deploy/web
k get rs -o custom-columns=R:.spec.replicas
k rollout resume deploy/web
k rollout status deploy/web --timeout=60s
k rollout resume deploy/web
kj '[.spec.paused,([.status.conditions[]|[.type,.status,.reason]]|sort)]' get deploy web
k rollout history deploy/web
k rollout pause sts/none
k rollout pause ds
k rollout status cm/kube-root-ca.crt
k rollout nonsense deploy/web

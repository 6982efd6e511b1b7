# PROCEDURE phase 2, in miniature: a second control plane, the namespace moves on, and the way back
ns
rev() { deploy istiod-$1 1 | jq --arg r $1 '.metadata.labels={app:"istiod","istio.io/rev":$r}|.spec.template.metadata.labels+={"istio.io/rev":$r}' | qk create -f -; qk create service clusterip istiod-$1 --tcp=15012:15012; qk create pdb istiod-$1 --selector=app=istiod-$1 --min-available=1; }
rev r1; rev r2; deploy web 2 | qk create -f -; deploy db 1 | qk create -f -
for d in istiod-r1 istiod-r2 web db; do qk rollout status deploy/$d --timeout=60s; done
qk label ns $NS istio.io/rev=r1
k get pods -l istio.io/rev=r2 --no-headers | sed 's/istiod-r2-[a-z0-9]*-[a-z0-9]*/istiod-r2-X/'
kc label namespace $NS istio.io/rev=r2 --overwrite
k rollout restart deployment/web deployment/db
for d in web db; do k rollout status deploy/$d --timeout=60s; done
kj '[.items[]|select(.metadata.labels.app|IN("web","db"))|[.metadata.labels.app,(.spec.template.metadata.annotations//{}|keys),.metadata.annotations["deployment.kubernetes.io/revision"],.status.replicas]]|sort' get rs
kc get ns -l istio.io/rev=r2 -o jsonpath="{range .items[?(@.metadata.name==\"$NS\")]}{.metadata.name}{\"\\n\"}{end}"
note 'the way back'
kc label namespace $NS istio.io/rev=r1 --overwrite
sleep 1.1
k rollout restart deployment -l app=web
k rollout status deploy/web --timeout=60s
k delete deploy,svc,pdb istiod-r2 --ignore-not-found
k delete deploy,svc,pdb,hpa -l istio.io/rev=r2
k get deploy,svc,pdb -o name
k scale deploy istiod-r1 --replicas=2
k rollout status deploy/istiod-r1 --timeout=60s
k get pdb istiod-r1
k get deploy -L istio.io/rev

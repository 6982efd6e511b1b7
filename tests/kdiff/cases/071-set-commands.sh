ns; deploy web 0 | qk create -f -
T1='.spec.template.spec.containers[0]'
k set image deploy/web main=app:2 nope=app:3
k set image deploy/web '*=app:4'
k set env deploy/web A=1 B=2
k set env deploy/web A-
k set env deploy/web --list
kj "$T1|{image,env}" get deploy web
k set resources deploy/web --limits=cpu=200m,memory=512Mi --requests=cpu=100m
kj "$T1.resources" get deploy web
k set serviceaccount deploy/web robot
kj '.spec.template.spec|[.serviceAccountName,.serviceAccount]' get deploy web
k set resources deploy/web --limits=cpu=1,memory=1Gi --requests=cpu=2
k set image deploy/none main=x
k set env deploy/web 1BAD=x
k set image deploy -l app=web main=app:5
k set selector deploy/web x=y
kj '[.metadata.generation,.spec.template.metadata]' get deploy web

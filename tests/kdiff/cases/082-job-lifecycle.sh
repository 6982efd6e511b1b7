ns
J() { jq -nc --arg n $1 --argjson s "$2" '{apiVersion:"batch/v1",kind:"Job",metadata:{name:$n},spec:({template:{spec:{restartPolicy:"Never",terminationGracePeriodSeconds:0,containers:[{name:"c",image:"i:1"}]}}}*$s)}'; }
J many '{"completions":3,"parallelism":2}' | k create -f -
k wait --for=condition=complete job/many --timeout=60s
k get job many
kj '.status|[.succeeded,.ready,.terminating,.uncountedTerminatedPods,(.completionTime!=null),([.conditions[]|[.type,.status,.reason,.message]]|sort)]' get job many
k get pods -l job-name=many --no-headers | sed 's/many-[a-z0-9]*/many-X/'
J held '{"suspend":true}' | k create -f -
settle 10 "kubectl -n $NS get job held -o json | jq -e '.status.conditions[]|select(.type==\"Suspended\")'"
kj '.status|[.active,.ready,([.conditions[]|[.type,.status,.reason,.message]]|sort)]' get job held
k get job held
k patch job held -p '{"spec":{"suspend":false}}'
k wait --for=condition=complete job/held --timeout=60s
kj '[.status.conditions[]|[.type,.status,.reason]]|sort' get job held
J late '{"activeDeadlineSeconds":1,"template":{"spec":{"nodeSelector":{"no.such/node":"x"}}}}' | k create -f -
k wait --for=condition=failed job/late --timeout=30s
kj '.status|[.failed,.active,([.conditions[]|[.type,.status,.reason,.message]]|sort)]' get job late
k get job late
J gone '{"ttlSecondsAfterFinished":0}' | k create -f -
settle 30 "! kubectl -n $NS get job gone"
J bad '{"backoffLimit":-1,"parallelism":-1,"completions":-2}' | k create -f -
J bad '{"selector":{"matchLabels":{"a":"b"}}}' | k create -f - 2>&1 | sed 's/Invalid value: .*: /Invalid value: … /'
k create job from --from=cronjob/none
k patch job many -p '{"spec":{"parallelism":5}}'
k patch job many -p '{"spec":{"completions":9}}'
k delete job --all

ns
k create -f - <<X
{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}}
X
kj .spec get cj c
k create -f - <<X
{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}
X
kj '.spec|del(.selector)|.template.metadata.labels|=keys' get job j
k create -f - <<X
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: p}, spec: {maxUnavailable: 25%, selector: {matchLabels: {a: b}}}}
X
kj .spec get pdb p
k create -f - <<X
{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: h}, spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: none}}}
X
kj .spec get hpa h
kj .spec get hpa.v1.autoscaling h
k create -f - <<X
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n}, spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}}
X
kj .spec get netpol n
k create -f - <<X
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: {rules: [{host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}}]}}
X
kj .spec get ing i
k create -f - <<X
{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {selector: {a: b}, ports: [{port: 80}]}}
X
kj '.spec|del(.clusterIP,.clusterIPs)' get svc s
k create -f - <<X
{apiVersion: v1, kind: ServiceAccount, metadata: {name: sa}}
X
kj 'del(.metadata)' get sa sa
k create quota q --hard=pods=1
kj '[.spec,.status]|.[0]' get quota q
k get cj,hpa,pdb,netpol,ing,quota

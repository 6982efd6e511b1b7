ns
k create -f - <<X
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s}, spec: {replicas: 0, selector: {matchLabels: {a: s}}, template: {metadata: {labels: {a: s}}, spec: {containers: [{name: c, image: 'i:1'}]}}, volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]}}
X
kj .spec get sts s
k create -f - <<X
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d}, spec: {selector: {matchLabels: {a: d}}, template: {metadata: {labels: {a: d}}, spec: {nodeSelector: {no: where}, containers: [{name: c, image: i, ports: [{containerPort: 80}], livenessProbe: {httpGet: {port: 80}}, env: [{name: X, valueFrom: {fieldRef: {fieldPath: metadata.name}}}], resources: {limits: {cpu: 1000m, memory: 1024Mi}}}], volumes: [{name: v, secret: {secretName: s}}, {name: e}, {name: h, hostPath: {path: /x}}, {name: p, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}}}}
X
kj .spec get ds d
k create -f - <<X
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: r}, spec: {replicas: 0, selector: {matchLabels: {a: r}}, template: {metadata: {labels: {a: r}}, spec: {containers: [{name: c, image: 'i@sha256:0123456789012345678901234567890123456789012345678901234567890123', lifecycle: {preStop: {httpGet: {port: 1}}}}], initContainers: [{name: n, image: 'x:latest'}]}}}}
X
kj .spec get rs r

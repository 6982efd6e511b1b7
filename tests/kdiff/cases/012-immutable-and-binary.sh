ns
k create -f - <<X
{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}, binaryData: {b: AAEC}, immutable: true}
X
k get cm a
k patch cm a -p '{"data":{"k":"w"}}'
k patch cm a -p '{"immutable":false}'
k label cm a x=y
k create -f - <<X
{apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {k: v}, binaryData: {k: AAEC}}
X
k create -f - <<X
{apiVersion: v1, kind: ConfigMap, metadata: {name: b}, data: {"bad key": v}}
X
k create -f - <<X
{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {k: "not base64!"}}
X
k create -f - <<X
{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {k: dg==}, stringData: {k: w, l: x}, immutable: true}
X
kj '{data,immutable,type}' get secret s
k patch secret s -p '{"stringData":{"k":"other"}}'
k patch secret s -p '{"type":"other"}'
k create secret tls t --cert=/dev/null --key=/dev/null
k create -f - <<X
{apiVersion: v1, kind: Secret, metadata: {name: t}, type: kubernetes.io/tls, data: {tls.crt: dg==}}
X
k create -f - <<X
{apiVersion: v1, kind: Secret, metadata: {name: t}, type: kubernetes.io/service-account-token}
X
k create secret docker-registry d --docker-server=r.example --docker-username=u --docker-password=p
k get secret d -o jsonpath='{.type} {.data.\.dockerconfigjson}'
k describe cm a

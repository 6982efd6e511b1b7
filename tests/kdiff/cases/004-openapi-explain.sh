api -j '[.paths|keys[]|select(IN("api/v1","apis/apps/v1","apis/policy/v1"))]' GET /openapi/v3
api -j '[.openapi,(.components.schemas|has("io.k8s.api.apps.v1.Deployment")),(.paths|has("/apis/apps/v1/namespaces/{namespace}/deployments/{name}"))]' GET /openapi/v3/apis/apps/v1
api -j '.components.schemas["io.k8s.api.policy.v1.PodDisruptionBudget"]|[.type,."x-kubernetes-group-version-kind",(.properties|keys)]' GET /openapi/v3/apis/policy/v1
api GET /openapi/v3/apis/nope.example/v1
t bash -c 'kubectl explain deployment.spec.replicas | head -4'
t bash -c 'kubectl explain pods.spec.containers.name | head -3'
kc explain deployment.spec.nope
kc explain nopes
t bash -c 'kubectl explain poddisruptionbudget --recursive | sed "/^DESC/,/^FIELDS/d" | grep -v fieldsV1 | head -30'

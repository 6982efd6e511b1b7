for p in /api/v1 /apis/apps/v1 /apis/policy/v1 /apis/autoscaling/v1 /apis/batch/v1 /apis/coordination.k8s.io/v1; do
  api -j '[.kind,.groupVersion,([.resources[]|select(.name|test("^(configmaps|secrets|namespaces|namespaces/.*|pods|pods/(status|log|exec|eviction|binding)|services|serviceaccounts|serviceaccounts/token|deployments.*|statefulsets.*|daemonsets.*|replicasets|poddisruptionbudgets.*|horizontal.*|jobs.*|leases)$"))|del(.storageVersionHash)]|sort_by(.name))]' GET $p
done
api -j '.' GET /apis/nope.example
api -j '.' GET /apis/apps
api -j '[.kind,.apiVersion,(.items[]|select(.metadata.name=="policy")|.versions[]|[.version,.freshness,(.resources|length>0),(.resources[]|select(.resource=="poddisruptionbudgets"))])]' -H 'Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' GET /apis

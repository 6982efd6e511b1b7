//! Values for what is left open, as `SetDefaults_…` of `k8s.io/kubernetes/pkg/apis` fill them in: type
//! by type, wherever a type occurs.

use serde_json::{Map, Value, json};

use super::super::schema::{Kind, Struct};

/// Fills in the defaults of an object of a type, and of all that is in it.
pub fn fill(value: &mut Value, of: &'static Struct) {
    let Value::Object(map) = value else { return };
    own(of.name, map);
    for (name, value) in map.iter_mut() {
        if let Some(field) = of.field(name) {
            fill_kind(value, &field.kind);
        }
    }
}

fn fill_kind(value: &mut Value, kind: &Kind) {
    match (kind, value) {
        (Kind::List(of), Value::Array(items)) => items.iter_mut().for_each(|i| fill_kind(i, of)),
        (Kind::Map(of), Value::Object(map)) => map.values_mut().for_each(|i| fill_kind(i, of)),
        (kind, value) => {
            if let Some(of) = kind.fields() {
                fill(value, of);
            }
        }
    }
}

type Fields = Map<String, Value>;

/// Sets a field that is absent, null, or an empty text.
fn set(of: &mut Fields, name: &str, value: impl Into<Value>) {
    let open = match of.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    };
    if open {
        of.insert(name.to_owned(), value.into());
    }
}

fn is_open(of: &Fields, name: &str) -> bool {
    of.get(name).is_none_or(Value::is_null)
}

fn text<'a>(of: &'a Fields, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A field that is an object, made if it is not there.
fn inner<'a>(of: &'a mut Fields, name: &str) -> Option<&'a mut Fields> {
    if is_open(of, name) {
        of.insert(name.to_owned(), json!({}));
    }
    of.get_mut(name).and_then(Value::as_object_mut)
}

/// The defaults of one type.
fn own(name: &str, of: &mut Fields) {
    match name {
        "core.v1.Container" | "core.v1.EphemeralContainer" => container(of),
        "core.v1.ContainerPort" | "core.v1.EndpointPort" | "discovery.v1.EndpointPort" => {
            set(of, "protocol", "TCP");
        }
        "core.v1.HTTPGetAction" => {
            set(of, "path", "/");
            set(of, "scheme", "HTTP");
        }
        "core.v1.GRPCAction" => set(of, "service", ""),
        "core.v1.ObjectFieldSelector" => set(of, "apiVersion", "v1"),
        "core.v1.Pod" => pod(of),
        "core.v1.PodSpec" => pod_spec(of),
        "core.v1.Probe" => {
            for (name, value) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                if of.get(name).and_then(Value::as_i64).unwrap_or(0) == 0 {
                    of.insert(name.to_owned(), value.into());
                }
            }
        }
        "core.v1.Volume" if of.len() <= 1 => set(of, "emptyDir", json!({})),
        "core.v1.SecretVolumeSource"
        | "core.v1.ConfigMapVolumeSource"
        | "core.v1.DownwardAPIVolumeSource"
        | "core.v1.ProjectedVolumeSource" => set(of, "defaultMode", 0o644),
        "core.v1.ServiceAccountTokenProjection" => set(of, "expirationSeconds", 3600),
        "core.v1.HostPathVolumeSource" if is_open(of, "type") => {
            of.insert("type".to_owned(), "".into());
        }
        "core.v1.PersistentVolumeClaimSpec" => set(of, "volumeMode", "Filesystem"),
        "core.v1.PersistentVolumeClaimStatus" => set(of, "phase", "Pending"),
        "core.v1.Namespace" => namespace(of),
        "core.v1.NamespaceStatus" => set(of, "phase", "Active"),
        "core.v1.Secret" => set(of, "type", "Opaque"),
        "core.v1.ServiceSpec" => service(of),
        "apps.v1.DeploymentSpec" => deployment(of),
        "apps.v1.ReplicaSetSpec" => set(of, "replicas", 1),
        "apps.v1.StatefulSetSpec" => stateful_set(of),
        "apps.v1.DaemonSetSpec" => daemon_set(of),
        "apps.v1.ReplicaSet" => labels_of_template(of),
        // Not of its spec alone: a CronJob's template is filled in when a Job is made of it.
        "batch.v1.Job" => {
            labels_of_template(of);
            if let Some(spec) = inner(of, "spec") {
                job(spec);
            }
        }
        "batch.v1.CronJobSpec" => {
            set(of, "concurrencyPolicy", "Allow");
            set(of, "suspend", false);
            set(of, "successfulJobsHistoryLimit", 3);
            set(of, "failedJobsHistoryLimit", 1);
        }
        "autoscaling.v2.HorizontalPodAutoscalerSpec" => autoscaler(of),
        "autoscaling.v1.HorizontalPodAutoscalerSpec" => set(of, "minReplicas", 1),
        "admissionregistration.v1.MutatingWebhook" => {
            webhook(of);
            set(of, "reinvocationPolicy", "Never");
        }
        "admissionregistration.v1.ValidatingWebhook" => webhook(of),
        "admissionregistration.v1.RuleWithOperations" => set(of, "scope", "*"),
        "admissionregistration.v1.ServiceReference" => set(of, "port", 443),
        "apiextensions.v1.CustomResourceDefinitionSpec" => custom_resource_definition(of),
        "rbac.v1.RoleRef" => set(of, "apiGroup", "rbac.authorization.k8s.io"),
        "rbac.v1.Subject" => {
            if matches!(text(of, "kind"), "User" | "Group") {
                set(of, "apiGroup", "rbac.authorization.k8s.io");
            }
        }
        "networking.v1.NetworkPolicySpec" => {
            let egress = !is_open(of, "egress");
            let types = if egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
            set(of, "policyTypes", types);
        }
        "networking.v1.NetworkPolicyPort" => set(of, "protocol", "TCP"),
        "scheduling.v1.PriorityClass" => set(of, "preemptionPolicy", "PreemptLowerPriority"),
        _ => {}
    }
}

fn container(of: &mut Fields) {
    let image = text(of, "image");
    let name = image.rsplit('/').next().unwrap_or(image);
    let digest = image.contains('@');
    let latest = !digest && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    set(
        of,
        "imagePullPolicy",
        if latest { "Always" } else { "IfNotPresent" },
    );
    set(of, "terminationMessagePath", "/dev/termination-log");
    set(of, "terminationMessagePolicy", "File");
}

fn pod(of: &mut Fields) {
    let Some(spec) = inner(of, "spec") else {
        return;
    };
    if is_open(spec, "enableServiceLinks") {
        spec.insert("enableServiceLinks".to_owned(), true.into());
    }
    let host = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        let all = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in all.into_iter().flatten() {
            let limits = container["resources"]["limits"].as_object().cloned();
            for (name, limit) in limits.into_iter().flatten() {
                if container["resources"]["requests"][&name].is_null() {
                    container["resources"]["requests"][&name] = limit;
                }
            }
            let ports = container.get_mut("ports").and_then(Value::as_array_mut);
            for port in ports.into_iter().flatten() {
                if host && port["hostPort"].as_i64().unwrap_or(0) == 0 {
                    port["hostPort"] = port["containerPort"].clone();
                }
            }
        }
    }
}

fn pod_spec(of: &mut Fields) {
    set(of, "dnsPolicy", "ClusterFirst");
    set(of, "restartPolicy", "Always");
    set(of, "securityContext", json!({}));
    set(of, "terminationGracePeriodSeconds", 30);
    set(of, "schedulerName", "default-scheduler");
    // The old name of the field is written beside the new one.
    let (new, old) = (
        text(of, "serviceAccountName").to_owned(),
        text(of, "serviceAccount").to_owned(),
    );
    match (new.is_empty(), old.is_empty()) {
        (false, _) => {
            of.insert("serviceAccount".to_owned(), new.into());
        }
        (true, false) => {
            of.insert("serviceAccountName".to_owned(), old.into());
        }
        (true, true) => {}
    }
}

fn namespace(of: &mut Fields) {
    let Some(name) = of.get("metadata").map(|m| m["name"].clone()) else {
        return;
    };
    if name.as_str().is_some_and(|n| !n.is_empty())
        && let Some(meta) = inner(of, "metadata")
        && let Some(labels) = inner(meta, "labels")
    {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
    }
}

fn service(of: &mut Fields) {
    set(of, "sessionAffinity", "None");
    if text(of, "sessionAffinity") == "ClientIP" && is_open(of, "sessionAffinityConfig") {
        let config = json!({"clientIP": {"timeoutSeconds": 10_800}});
        of.insert("sessionAffinityConfig".to_owned(), config);
    }
    set(of, "type", "ClusterIP");
    for port in of
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if port["protocol"].as_str().unwrap_or_default().is_empty() {
            port["protocol"] = "TCP".into();
        }
        let target = &port["targetPort"];
        if target.is_null() || target == 0 || target == "" {
            port["targetPort"] = port["port"].clone();
        }
    }
    let kind = text(of, "type").to_owned();
    if kind == "NodePort" || kind == "LoadBalancer" {
        set(of, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        set(of, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(of, "allocateLoadBalancerNodePorts", true);
    }
}

fn deployment(of: &mut Fields) {
    set(of, "replicas", 1);
    if let Some(strategy) = inner(of, "strategy") {
        set(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = inner(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", "25%");
            set(rolling, "maxSurge", "25%");
        }
    }
    set(of, "revisionHistoryLimit", 10);
    set(of, "progressDeadlineSeconds", 600);
}

fn stateful_set(of: &mut Fields) {
    set(of, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = inner(of, "updateStrategy") {
        if text(strategy, "type").is_empty() {
            set(strategy, "type", "RollingUpdate");
            inner(strategy, "rollingUpdate");
        }
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = strategy
                .get_mut("rollingUpdate")
                .and_then(Value::as_object_mut)
        {
            set(rolling, "partition", 0);
        }
    }
    if let Some(policy) = inner(of, "persistentVolumeClaimRetentionPolicy") {
        set(policy, "whenDeleted", "Retain");
        set(policy, "whenScaled", "Retain");
    }
    set(of, "replicas", 1);
    set(of, "revisionHistoryLimit", 10);
    let claims = of
        .get_mut("volumeClaimTemplates")
        .and_then(Value::as_array_mut);
    for claim in claims
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
    }
}

fn daemon_set(of: &mut Fields) {
    if let Some(strategy) = inner(of, "updateStrategy") {
        set(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = inner(strategy, "rollingUpdate")
        {
            set(rolling, "maxUnavailable", 1);
            set(rolling, "maxSurge", 0);
        }
    }
    set(of, "revisionHistoryLimit", 10);
}

/// An object without labels takes those of its pods.
fn labels_of_template(of: &mut Fields) {
    let labels = of
        .get("spec")
        .map(|s| s["template"]["metadata"]["labels"].clone());
    let Some(labels) = labels.filter(|l| l.as_object().is_some_and(|m| !m.is_empty())) else {
        return;
    };
    if let Some(meta) = inner(of, "metadata")
        && meta
            .get("labels")
            .and_then(Value::as_object)
            .is_none_or(Map::is_empty)
    {
        meta.insert("labels".to_owned(), labels);
    }
}

fn job(of: &mut Fields) {
    if is_open(of, "completions") && is_open(of, "parallelism") {
        set(of, "completions", 1);
    }
    set(of, "parallelism", 1);
    set(of, "backoffLimit", 6);
    set(of, "completionMode", "NonIndexed");
    set(of, "suspend", false);
    let failed = !is_open(of, "podFailurePolicy");
    set(
        of,
        "podReplacementPolicy",
        if failed {
            "Failed"
        } else {
            "TerminatingOrFailed"
        },
    );
    set(of, "manualSelector", false);
}

fn autoscaler(of: &mut Fields) {
    set(of, "minReplicas", 1);
    if of
        .get("metrics")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        of.insert("metrics".to_owned(), json!([metric]));
    }
}

fn webhook(of: &mut Fields) {
    set(of, "failurePolicy", "Fail");
    set(of, "matchPolicy", "Equivalent");
    set(of, "namespaceSelector", json!({}));
    set(of, "objectSelector", json!({}));
    set(of, "timeoutSeconds", 10);
}

fn custom_resource_definition(of: &mut Fields) {
    set(of, "scope", "Namespaced");
    if let Some(names) = inner(of, "names") {
        let kind = text(names, "kind").to_owned();
        set(names, "singular", kind.to_lowercase());
        set(names, "listKind", format!("{kind}List"));
    }
    if let Some(conversion) = inner(of, "conversion") {
        set(conversion, "strategy", "None");
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::schema::TYPES;
    use super::*;

    #[test]
    fn a_deployment_gets_the_defaults_of_its_containers() {
        let mut web = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "a", "image": "host:5000/app:1"},
            {"name": "b", "image": "app", "readinessProbe": {"httpGet": {"port": 80}}},
        ]}}}});
        fill(&mut web, TYPES.get("apps.v1.Deployment").unwrap());
        let containers = &web["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers[0]["imagePullPolicy"], "IfNotPresent");
        assert_eq!(containers[1]["imagePullPolicy"], "Always");
        assert_eq!(containers[1]["readinessProbe"]["httpGet"]["path"], "/");
        assert_eq!(web["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
        assert!(web["spec"]["template"]["spec"]["enableServiceLinks"].is_null());
    }
}

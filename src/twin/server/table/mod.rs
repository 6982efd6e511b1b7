//! Tables: objects as rows for people, as `kubectl get` prints them.
//!
//! Columns and cells are those of `k8s.io/kubernetes/pkg/printers/internalversion`; kinds that it does
//! not know, and custom resources without columns, have a name and an age.

mod cells;
mod custom;
mod pod;
mod time;
mod workloads;

use serde_json::{Value, json};

use super::super::kube::Status;
use super::convert::View;
use super::reply::partial;

/// A column: name, type, priority (1 is for `-o wide`).
type Column = (&'static str, &'static str, u8);

/// Objects as a table. `include` is the parameter `includeObject`.
///
/// # Errors
/// 400: `include` is not known.
pub fn of(view: &View, objects: &[&Value], meta: &Value, include: &str) -> Result<Value, Status> {
    let object_of = |object: &Value| match include {
        "" | "Metadata" => Ok(partial(object)),
        "Object" => Ok(with_kind(view, object)),
        "None" => Ok(Value::Null),
        other => Err(Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be \
             'Metadata', 'Object', 'None', or empty"
        ))),
    };
    let custom = view
        .resource
        .version(&view.version)
        .and_then(|v| v.custom.clone());
    let kind = &view.resource.kind;
    let columns: Vec<Value> = match &custom {
        Some(custom) => custom::columns(custom),
        None => columns_of(kind).iter().map(column).collect(),
    };
    let cells = objects.iter().map(|object| match &custom {
        Some(custom) => custom::cells(custom, object),
        None => cells::of(kind, object),
    });
    let mut rows = Vec::with_capacity(objects.len());
    for (object, cells) in objects.iter().zip(cells) {
        let mut row = json!({"cells": cells, "object": object_of(object)?});
        if let Some(conditions) = pod::row_conditions(&view.resource.kind, object) {
            row["conditions"] = conditions;
        }
        rows.push(row);
    }
    // An empty table says what is wrong with its parameter, too.
    object_of(&Value::Null)?;
    Ok(json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
        "columnDefinitions": columns, "rows": rows,
    }))
}

/// The Scale of an object as a table.
pub fn of_scale(scale: &Value) -> Value {
    let number = |v: &Value| v.as_i64().unwrap_or(0);
    let columns = [
        NAME,
        ("Desired", "integer", 0),
        ("Available", "integer", 0),
        AGE,
    ];
    let columns: Vec<Value> = columns.iter().map(column).collect();
    let cells = json!([
        scale["metadata"]["name"],
        number(&scale["spec"]["replicas"]),
        number(&scale["status"]["replicas"]),
        time::since(&scale["metadata"]["creationTimestamp"]),
    ]);
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": scale["metadata"]["resourceVersion"]},
        "columnDefinitions": columns, "rows": [{"cells": cells, "object": partial(scale)}],
    })
}

fn with_kind(view: &View, object: &Value) -> Value {
    let mut whole = object.clone();
    whole["kind"] = view.resource.kind.clone().into();
    whole["apiVersion"] = view.api_version().into();
    whole
}

fn column((name, kind, priority): &Column) -> Value {
    let format = if *name == "Name" { "name" } else { "" };
    json!({
        "name": name, "type": kind, "format": format, "priority": priority,
        "description": describe(name),
    })
}

fn describe(name: &str) -> String {
    match name {
        "Age" | "Created At" => "When the object was created.".to_owned(),
        "Name" => "Name of the object, unique among its kind in a namespace.".to_owned(),
        other => format!("{other} of the object."),
    }
}

const NAME: Column = ("Name", "string", 0);
const AGE: Column = ("Age", "string", 0);
const CONTAINERS: Column = ("Containers", "string", 1);
const IMAGES: Column = ("Images", "string", 1);
const SELECTOR: Column = ("Selector", "string", 1);

fn columns_of(kind: &str) -> Vec<Column> {
    let text = |name| (name, "string", 0);
    let number = |name| (name, "integer", 0);
    let wide = |name| (name, "string", 1);
    match kind {
        "APIService" => vec![NAME, text("Service"), text("Available"), AGE],
        "ClusterRoleBinding" | "RoleBinding" => vec![
            NAME,
            text("Role"),
            AGE,
            wide("Users"),
            wide("Groups"),
            wide("ServiceAccounts"),
        ],
        "ConfigMap" => vec![NAME, text("Data"), AGE],
        "ControllerRevision" => vec![NAME, text("Controller"), text("Revision"), AGE],
        "CronJob" => vec![
            NAME,
            text("Schedule"),
            text("Timezone"),
            ("Suspend", "boolean", 0),
            number("Active"),
            text("Last Schedule"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        "DaemonSet" => vec![
            NAME,
            number("Desired"),
            number("Current"),
            number("Ready"),
            number("Up-to-date"),
            number("Available"),
            text("Node Selector"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        "Deployment" => vec![
            NAME,
            text("Ready"),
            text("Up-to-date"),
            text("Available"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        "EndpointSlice" => vec![
            NAME,
            text("AddressType"),
            text("Ports"),
            text("Endpoints"),
            AGE,
        ],
        "Endpoints" => vec![NAME, text("Endpoints"), AGE],
        "Event" => vec![
            text("Last Seen"),
            text("Type"),
            text("Reason"),
            text("Object"),
            wide("Subobject"),
            wide("Source"),
            text("Message"),
            wide("First Seen"),
            wide("Count"),
            ("Name", "string", 1),
        ],
        "HorizontalPodAutoscaler" => vec![
            NAME,
            text("Reference"),
            text("Targets"),
            text("MinPods"),
            text("MaxPods"),
            text("Replicas"),
            AGE,
        ],
        "Ingress" => vec![
            NAME,
            text("Class"),
            text("Hosts"),
            text("Address"),
            text("Ports"),
            AGE,
        ],
        "Job" => vec![
            NAME,
            text("Status"),
            text("Completions"),
            text("Duration"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        "Lease" => vec![NAME, text("Holder"), AGE],
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            vec![NAME, number("Webhooks"), AGE]
        }
        "Namespace" => vec![NAME, text("Status"), AGE],
        "NetworkPolicy" => vec![NAME, text("Pod-Selector"), AGE],
        "Node" => vec![
            NAME,
            text("Status"),
            text("Roles"),
            AGE,
            text("Version"),
            wide("Internal-IP"),
            wide("External-IP"),
            wide("OS-Image"),
            wide("Kernel-Version"),
            wide("Container-Runtime"),
        ],
        "PersistentVolumeClaim" => vec![
            NAME,
            text("Status"),
            text("Volume"),
            text("Capacity"),
            text("Access Modes"),
            text("StorageClass"),
            text("VolumeAttributesClass"),
            AGE,
            wide("VolumeMode"),
        ],
        "Pod" => vec![
            NAME,
            text("Ready"),
            text("Status"),
            text("Restarts"),
            AGE,
            wide("IP"),
            wide("Node"),
            wide("Nominated Node"),
            wide("Readiness Gates"),
        ],
        "PodDisruptionBudget" => vec![
            NAME,
            text("Min Available"),
            text("Max Unavailable"),
            number("Allowed Disruptions"),
            AGE,
        ],
        "PriorityClass" => vec![
            NAME,
            number("Value"),
            ("Global-Default", "boolean", 0),
            AGE,
            text("PreemptionPolicy"),
        ],
        "ReplicaSet" | "ReplicationController" => vec![
            NAME,
            number("Desired"),
            number("Current"),
            number("Ready"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        "ResourceQuota" => vec![NAME, text("Request"), text("Limit"), AGE],
        "Secret" => vec![NAME, text("Type"), text("Data"), AGE],
        "Service" => vec![
            NAME,
            text("Type"),
            text("Cluster-IP"),
            text("External-IP"),
            text("Port(s)"),
            AGE,
            SELECTOR,
        ],
        "ServiceAccount" => vec![NAME, text("Secrets"), AGE],
        "StatefulSet" => vec![NAME, text("Ready"), AGE, CONTAINERS, IMAGES],
        _ => vec![NAME, ("Created At", "date", 0)],
    }
}

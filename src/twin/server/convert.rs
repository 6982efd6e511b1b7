//! The same object in another version of its resource, and small readings of requests.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::kube::{Cause, Resource, Status};

/// A resource in the version that a request speaks.
#[derive(Clone, Debug)]
pub struct View {
    /// The resource.
    pub resource: Arc<Resource>,
    /// The version of the request.
    pub version: String,
}

impl View {
    /// `apps/v1`.
    pub fn api_version(&self) -> String {
        self.resource.api_version(&self.version)
    }

    fn stored(&self) -> bool {
        self.resource
            .versions
            .first()
            .is_none_or(|v| v.name == self.version)
    }

    /// A stored object in this version.
    pub fn show<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        if self.resource.is_second_view() {
            return Cow::Owned(event_from_core(object, &self.api_version()));
        }
        // An object is stored in the version that was the stored one when it was written.
        if self.stored() && object["apiVersion"] == self.api_version() {
            return Cow::Borrowed(object);
        }
        let mut shown = object.clone();
        shown["apiVersion"] = self.api_version().into();
        if self.resource.kind == "HorizontalPodAutoscaler" {
            autoscaler_to_v1(&mut shown);
        }
        Cow::Owned(shown)
    }

    /// An object of this version as it is stored.
    pub fn read(&self, mut object: Value) -> Value {
        if !self.stored() {
            object["apiVersion"] = self.resource.storage_api_version().into();
            if self.resource.kind == "HorizontalPodAutoscaler" {
                autoscaler_from_v1(&mut object);
            }
        }
        object
    }
}

/// Fields of `events.k8s.io/v1` and of the core group.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("deprecatedCount", "count"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedSource", "source"),
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
];

/// The name that a field of an event has in the core group.
pub fn core_field(field: &str) -> String {
    let (first, rest) = field.split_once('.').unwrap_or((field, ""));
    let core = EVENT_FIELDS.iter().find(|(new, _)| *new == first);
    match (core, rest) {
        (None, _) => field.to_owned(),
        (Some((_, core)), "") => (*core).to_owned(),
        (Some((_, core)), rest) => format!("{core}.{rest}"),
    }
}

fn event_from_core(event: &Value, api_version: &str) -> Value {
    let fields = event.as_object().into_iter().flatten();
    let mut shown: serde_json::Map<String, Value> = fields
        .map(|(name, value)| {
            let new = EVENT_FIELDS.iter().find(|(_, core)| core == name);
            (
                new.map_or(name.as_str(), |(new, _)| new).to_owned(),
                value.clone(),
            )
        })
        .collect();
    shown.insert("apiVersion".to_owned(), api_version.into());
    shown.entry("eventTime").or_insert(Value::Null);
    Value::Object(shown)
}

fn autoscaler_to_v1(object: &mut Value) {
    let cpu = object["spec"]["metrics"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|m| m["resource"]["name"] == "cpu")
        .map(|m| m["resource"]["target"]["averageUtilization"].clone());
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("metrics");
        spec.remove("behavior");
        if let Some(percent) = cpu {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), percent);
        }
    }
    if let Some(status) = object["status"].as_object_mut() {
        status.remove("conditions");
        status.remove("currentMetrics");
    }
}

fn autoscaler_from_v1(object: &mut Value) {
    let Some(spec) = object["spec"].as_object_mut() else {
        return;
    };
    if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".to_owned(), json!([metric]));
    }
}

/// A resource version of a request as a number.
///
/// # Errors
/// 500, as an API server answers.
pub fn version_number(text: &str) -> Result<u64, Status> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        Status::internal(format!(
            "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ))
    })
}

/// 422 about the options of a request.
pub fn invalid_options(kind: &str, field: &str, reason: &'static str, message: &str) -> Status {
    let cause = Cause {
        field: field.to_owned(),
        reason,
        message: message.to_owned(),
    };
    Status::invalid("meta.k8s.io", kind, "", &[cause])
}

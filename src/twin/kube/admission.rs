//! What must agree before an object is written: its namespace, the rules of its kind, webhooks.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Kube;
use super::ops::{Target, WriteOptions};
use super::quota;
use super::registry::Resource;
use super::rules;
use super::schema;
use super::selector::LabelSelector;
use super::status::Status;
use super::validate;
use super::webhook::ServiceRef;

/// An object can only be made in a namespace that is there and stays.
///
/// # Errors
/// It is absent (404) or being terminated (403).
pub fn namespace_allows(kube: &Kube, target: Target<'_>) -> Result<(), Status> {
    if !target.resource.namespaced {
        return Ok(());
    }
    let namespaces = kube.resource("namespaces")?;
    let Some(namespace) = kube.get("namespaces", "", target.namespace) else {
        return Err(Status::not_found(&namespaces, target.namespace));
    };
    if namespace["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {} because it is being terminated",
        target.namespace
    );
    let mut status = Status::forbidden(target.resource, target.name, &why);
    if let Some(details) = &mut status.details {
        details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {} is being terminated", target.namespace),
            "field": "metadata.namespace",
        }]);
    }
    Err(status)
}

/// Takes a new object through admission and validation.
///
/// # Errors
/// Something does not agree.
pub async fn admit_create(
    kube: &Kube,
    target: Target<'_>,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let resource = target.resource;
    require_modelled(resource, &object)?;
    rules::settle(kube, target, &object).await;
    rules::admit(kube, target, &mut object)?;
    let call = Call {
        kube,
        target,
        operation: "CREATE",
        old: None,
        options,
    };
    call.mutate(&mut object).await?;
    rules::prepare_create(resource, &mut object);
    let causes = validate::create(resource, &object);
    if !causes.is_empty() {
        return Err(Status::invalid(
            &resource.group,
            &resource.kind,
            target.name,
            &causes,
        ));
    }
    call.validate(&object).await?;
    quota::admit(kube, target)?;
    Ok(object)
}

/// Refuses what would be kept but not obeyed.
fn require_modelled(resource: &Resource, object: &Value) -> Result<(), Status> {
    quota::require_modelled(resource, object)?;
    let conditions = |hook: &Value| hook["matchConditions"].as_array().map_or(0, Vec::len);
    if hooks(object).iter().any(|hook| conditions(hook) > 0) && resource.built_in {
        return Err(Status::not_modelled("match conditions of webhooks"));
    }
    Ok(())
}

/// Takes the new state of an object through mutating webhooks.
///
/// # Errors
/// A webhook does not agree or does not answer.
pub async fn admit_update(
    kube: &Kube,
    target: Target<'_>,
    before: &Arc<Value>,
    mut after: Value,
    options: &WriteOptions,
) -> Result<Value, Status> {
    require_modelled(target.resource, &after)?;
    let old = Some(&**before);
    let call = Call {
        kube,
        target,
        operation: "UPDATE",
        old,
        options,
    };
    call.mutate(&mut after).await?;
    Ok(after)
}

/// Takes the new state of an object through validating webhooks.
///
/// # Errors
/// A webhook does not agree or does not answer.
pub async fn validate_update(
    kube: &Kube,
    target: Target<'_>,
    before: &Arc<Value>,
    after: &Value,
    options: &WriteOptions,
) -> Result<(), Status> {
    let old = Some(&**before);
    let call = Call {
        kube,
        target,
        operation: "UPDATE",
        old,
        options,
    };
    call.validate(after).await
}

struct Call<'a> {
    kube: &'a Kube,
    target: Target<'a>,
    operation: &'a str,
    old: Option<&'a Value>,
    options: &'a WriteOptions,
}

/// The outcome of one webhook: the whole object that it wants, if it wants another one.
type Wanted = Option<Value>;

impl Call<'_> {
    async fn mutate(&self, object: &mut Value) -> Result<(), Status> {
        const KIND: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
        for configuration in self.configurations(KIND) {
            for hook in hooks(&configuration) {
                if !self.matches(hook, object) {
                    continue;
                }
                if let Some(wanted) = self.ask(hook, object).await? {
                    *object = wanted;
                    let of = schema::TYPES.of(
                        &self.target.resource.group,
                        self.target.version,
                        &self.target.resource.kind,
                    );
                    if let Some(of) = of {
                        schema::normalise(object, of);
                    }
                    rules::default(self.target.resource, object);
                }
            }
        }
        Ok(())
    }

    async fn validate(&self, object: &Value) -> Result<(), Status> {
        const KIND: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";
        for configuration in self.configurations(KIND) {
            for hook in hooks(&configuration) {
                if self.matches(hook, object) {
                    self.ask(hook, object).await?;
                }
            }
        }
        Ok(())
    }

    /// Webhooks do not watch over the objects that configure them.
    fn configurations(&self, kind: &str) -> Vec<Arc<Value>> {
        let name = self.target.resource.name();
        if name.ends_with("webhookconfigurations.admissionregistration.k8s.io") {
            return Vec::new();
        }
        self.kube.list(kind, None)
    }

    fn matches(&self, hook: &Value, object: &Value) -> bool {
        let rules = hook["rules"].as_array();
        rules.is_some_and(|all| all.iter().any(|rule| self.rule_matches(rule)))
            && self.namespace_matches(hook, object)
            && (selects(&hook["objectSelector"], &object["metadata"]["labels"])
                || self.old.is_some_and(|old| {
                    selects(&hook["objectSelector"], &old["metadata"]["labels"])
                }))
    }

    fn rule_matches(&self, rule: &Value) -> bool {
        let resource = self.target.resource;
        let has = |field: &str, is: &str| {
            rule[field]
                .as_array()
                .is_some_and(|l| l.iter().any(|v| v == is || v == "*" || v == "*/*"))
        };
        let scope = match rule["scope"].as_str() {
            Some("Namespaced") => resource.namespaced,
            Some("Cluster") => !resource.namespaced,
            _ => true,
        };
        scope
            && has("apiGroups", &resource.group)
            && has("apiVersions", self.target.version)
            && has("operations", self.operation)
            && has("resources", &resource.plural)
    }

    fn namespace_matches(&self, hook: &Value, object: &Value) -> bool {
        let selector = &hook["namespaceSelector"];
        if self.target.resource.name() == "namespaces" {
            return selects(selector, &object["metadata"]["labels"]);
        }
        if !self.target.resource.namespaced {
            return true;
        }
        let namespace = self.kube.get("namespaces", "", self.target.namespace);
        namespace.is_some_and(|ns| selects(selector, &ns["metadata"]["labels"]))
    }

    async fn ask(&self, hook: &Value, object: &Value) -> Result<Wanted, Status> {
        let name = hook["name"].as_str().unwrap_or_default();
        match self.call(hook, object).await {
            Ok(answer) if answer.allowed => Ok(answer.patch),
            Ok(answer) => {
                let why = if answer.message.is_empty() {
                    " without explanation".to_owned()
                } else {
                    format!(": {}", answer.message)
                };
                let mut status = Status::internal(format!(
                    "admission webhook \"{name}\" denied the request{why}"
                ));
                status.code = 400;
                Err(status)
            }
            Err(_) if hook["failurePolicy"] == "Ignore" => Ok(None),
            Err(why) => Err(Status::internal_error(format!(
                "failed calling webhook \"{name}\": failed to call webhook: {why}"
            ))),
        }
    }

    async fn call(&self, hook: &Value, object: &Value) -> Result<super::AdmissionAnswer, String> {
        let config = &hook["clientConfig"];
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        if config["service"].is_null() {
            return Err(format!(
                "Post \"{}\": the twin calls webhooks by service only",
                text(&config["url"])
            ));
        }
        let service = ServiceRef {
            namespace: text(&config["service"]["namespace"]),
            name: text(&config["service"]["name"]),
            path: text(&config["service"]["path"]),
            port: config["service"]["port"]
                .as_u64()
                .and_then(|p| u16::try_from(p).ok())
                .unwrap_or(443),
        };
        let url = format!(
            "Post \"https://{}.{}.svc:{}/{}?timeout={}s\"",
            service.name,
            service.namespace,
            service.port,
            service.path.trim_start_matches('/'),
            hook["timeoutSeconds"].as_i64().unwrap_or(10)
        );
        if self
            .kube
            .get("services", &service.namespace, &service.name)
            .is_none()
        {
            return Err(format!("{url}: service \"{}\" not found", service.name));
        }
        let Some(backend) = self.kube.webhooks() else {
            return Err(format!("{url}: connect: connection refused"));
        };
        let review = self.review(object);
        let called = backend.call(&service, &review).await;
        called.map_err(|why| format!("{url}: {why}"))
    }

    fn review(&self, object: &Value) -> Value {
        let (resource, version) = (self.target.resource, self.target.version);
        let kind = json!({"group": resource.group, "version": version, "kind": resource.kind});
        let plural =
            json!({"group": resource.group, "version": version, "resource": resource.plural});
        let actor = &self.options.actor;
        json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": self.kube.random().uid(),
                "kind": kind, "requestKind": kind,
                "resource": plural, "requestResource": plural,
                "name": object["metadata"]["name"],
                "namespace": self.target.namespace,
                "operation": self.operation,
                "userInfo": {"username": actor.user, "groups": actor.groups},
                "object": object,
                "oldObject": self.old,
                "dryRun": self.options.dry_run,
            },
        })
    }
}

fn hooks(configuration: &Value) -> &[Value] {
    configuration["webhooks"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

/// Whether a selector of a webhook selects labels; an empty one selects all, a broken one none.
fn selects(selector: &Value, labels: &Value) -> bool {
    LabelSelector::from_value(selector).is_some_and(|s| s.matches(labels))
}

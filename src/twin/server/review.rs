//! Questions about access: reviews are created, answered and not kept.

use serde_json::{Value, json};

use super::super::kube::schema::Strictness;
use super::super::kube::{Actor, Cause, Status};
use super::body;
use super::objects::Ask;
use super::rbac::{self, Attributes};
use super::reply::{Notation, Reply, document};

/// Answers a review.
///
/// # Errors
/// The review is not complete, or is of a kind that the twin does not answer.
pub fn answer(ask: &Ask<'_>) -> Result<Reply, Status> {
    if ask.method != http::Method::POST || !ask.path.name.is_empty() {
        return Err(Status::method_not_allowed());
    }
    let mut review = body::object(&ask.view, ask.headers, ask.body, Strictness::Warn)?.object;
    review["kind"] = ask.view.resource.kind.clone().into();
    review["apiVersion"] = ask.view.api_version().into();
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    let status = match ask.view.resource.kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": user_info(ask.actor)}),
        "SelfSubjectAccessReview" => access(ask, &review, ask.actor.clone())?,
        "SubjectAccessReview" => access(ask, &review, subject(&review))?,
        "LocalSubjectAccessReview" => {
            let namespace = &review["spec"]["resourceAttributes"]["namespace"];
            if *namespace != ask.path.namespace.as_str() {
                let cause = Cause::invalid(
                    "spec.resourceAttributes.namespace",
                    namespace,
                    "must match metadata.namespace",
                );
                return Err(Status::invalid("authorization.k8s.io", "", "", &[cause]));
            }
            access(ask, &review, subject(&review))?
        }
        "SelfSubjectRulesReview" => rules(ask, &review),
        kind => return Err(Status::not_modelled(&format!("{kind}s"))),
    };
    review["status"] = status;
    Ok(document(201, Notation::Json, &review))
}

fn user_info(actor: &Actor) -> Value {
    let mut info = json!({"username": actor.user, "groups": actor.groups});
    if !actor.uid.is_empty() {
        info["uid"] = actor.uid.clone().into();
    }
    info
}

fn subject(review: &Value) -> Actor {
    let groups = review["spec"]["groups"].as_array().into_iter().flatten();
    Actor {
        user: review["spec"]["user"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        uid: String::new(),
        groups: groups
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        extra: Vec::new(),
    }
}

fn access(ask: &Ask<'_>, review: &Value, actor: Actor) -> Result<Value, Status> {
    let spec = &review["spec"];
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_null() == path.is_null() {
        let cause = Cause::invalid(
            "spec.resourceAttributes",
            resource,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        );
        return Err(Status::invalid("authorization.k8s.io", "", "", &[cause]));
    }
    let of = if path.is_null() { resource } else { path };
    let wish = Attributes {
        verb: text(of, "verb"),
        group: text(of, "group"),
        resource: text(of, "resource"),
        subresource: text(of, "subresource"),
        namespace: text(of, "namespace"),
        name: text(of, "name"),
        path: text(of, "path"),
    };
    let allowed = rbac::allowed(ask.kube, &actor, &wish);
    Ok(json!({"allowed": allowed}))
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_default()
}

fn rules(ask: &Ask<'_>, review: &Value) -> Value {
    let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
    let mut all = rbac::rules_of(ask.kube, ask.actor, namespace);
    if ask.actor.groups.iter().any(|g| g == super::user::MASTERS) {
        all.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        all.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    let (paths, resources): (Vec<Value>, Vec<Value>) = all
        .into_iter()
        .partition(|r| !r["nonResourceURLs"].is_null());
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}

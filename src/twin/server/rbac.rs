//! Who may do what: Roles, ClusterRoles and their bindings, evaluated on each request.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::kube::{Actor, Kube, Status};
use super::user::MASTERS;

const GROUP: &str = "rbac.authorization.k8s.io";

/// What someone wants to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    /// Verb of the API, or of HTTP for other paths.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Resource.
    pub resource: &'a str,
    /// Subresource; empty for none.
    pub subresource: &'a str,
    /// Namespace; empty for the cluster.
    pub namespace: &'a str,
    /// Name; empty for all.
    pub name: &'a str,
    /// Path, when it is not about objects.
    pub path: &'a str,
}

impl Attributes<'_> {
    fn whole_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// Refuses what is not allowed.
///
/// # Errors
/// 403, worded as an API server words it.
pub fn require(kube: &Kube, actor: &Actor, wish: &Attributes<'_>) -> Result<(), Status> {
    if allowed(kube, actor, wish) {
        return Ok(());
    }
    if !wish.path.is_empty() {
        let message = format!(
            "forbidden: User \"{}\" cannot {} path \"{}\"",
            actor.user, wish.verb, wish.path
        );
        let mut status = Status::new(403, "Forbidden", message);
        status.details = Some(json!({}));
        return Err(status);
    }
    let resource = if wish.group.is_empty() {
        wish.resource.to_owned()
    } else {
        format!("{}.{}", wish.resource, wish.group)
    };
    let object = if wish.name.is_empty() {
        resource
    } else {
        format!("{resource} \"{}\"", wish.name)
    };
    let place = if wish.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", wish.namespace)
    };
    let mut status = Status::new(
        403,
        "Forbidden",
        format!(
            "{object} is forbidden: User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}{}",
            actor.user,
            wish.verb,
            wish.whole_resource(),
            wish.group,
            lost_roles(kube, actor, wish.namespace)
        ),
    );
    let mut details = serde_json::Map::new();
    for (key, text) in [
        ("name", wish.name),
        ("group", wish.group),
        ("kind", wish.resource),
    ] {
        if !text.is_empty() {
            details.insert(key.to_owned(), text.into());
        }
    }
    status.details = Some(Value::Object(details));
    Err(status)
}

/// Whether it is allowed.
pub fn allowed(kube: &Kube, actor: &Actor, wish: &Attributes<'_>) -> bool {
    actor.groups.iter().any(|g| g == MASTERS)
        || rules_of(kube, actor, wish.namespace)
            .iter()
            .any(|rule| permits(rule, wish))
}

/// All rules that hold for someone, in a namespace or (empty) in the cluster.
pub fn rules_of(kube: &Kube, actor: &Actor, namespace: &str) -> Vec<Value> {
    roles_of(kube, actor, namespace)
        .into_iter()
        .flatten()
        .flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default())
        .collect()
}

/// The roles that someone is bound to; of one that is not there, what is said of it.
fn roles_of(kube: &Kube, actor: &Actor, namespace: &str) -> Vec<Result<Arc<Value>, String>> {
    let mut roles = Vec::new();
    for binding in kube.list(&format!("clusterrolebindings.{GROUP}"), None) {
        if binds(&binding, actor, "") {
            roles.push(role(kube, &binding["roleRef"], ""));
        }
    }
    if !namespace.is_empty() {
        for binding in kube.list(&format!("rolebindings.{GROUP}"), Some(namespace)) {
            if binds(&binding, actor, namespace) {
                roles.push(role(kube, &binding["roleRef"], namespace));
            }
        }
    }
    roles
}

fn role(kube: &Kube, reference: &Value, namespace: &str) -> Result<Arc<Value>, String> {
    let name = reference["name"].as_str().unwrap_or_default();
    let (kind, found) = match reference["kind"].as_str() {
        Some("ClusterRole") => (
            "clusterrole",
            kube.get(&format!("clusterroles.{GROUP}"), "", name),
        ),
        _ => ("role", kube.get(&format!("roles.{GROUP}"), namespace, name)),
    };
    found.ok_or_else(|| format!("{kind}.{GROUP} \"{name}\" not found"))
}

/// A refusal names the roles that are bound and not there.
fn lost_roles(kube: &Kube, actor: &Actor, namespace: &str) -> String {
    let roles = roles_of(kube, actor, namespace);
    let lost: Vec<String> = roles.into_iter().filter_map(Result::err).collect();
    match lost.as_slice() {
        [] => String::new(),
        [one] => format!(": RBAC: {one}"),
        many => format!(": RBAC: [{}]", many.join(", ")),
    }
}

fn binds(binding: &Value, actor: &Actor, namespace: &str) -> bool {
    let subjects = binding["subjects"].as_array();
    subjects.is_some_and(|all| {
        all.iter().any(|subject| {
            let name = subject["name"].as_str().unwrap_or_default();
            match subject["kind"].as_str() {
                Some("User") => name == actor.user,
                Some("Group") => actor.groups.iter().any(|g| g == name),
                Some("ServiceAccount") => {
                    let of = subject["namespace"].as_str().unwrap_or(namespace);
                    actor.user == format!("system:serviceaccount:{of}:{name}")
                }
                _ => false,
            }
        })
    })
}

fn permits(rule: &Value, wish: &Attributes<'_>) -> bool {
    let has = |field: &str, is: &str| {
        let list = rule[field].as_array();
        list.is_some_and(|l| l.iter().any(|v| v == is || v == "*"))
    };
    if !has("verbs", wish.verb) {
        return false;
    }
    if !wish.path.is_empty() {
        let urls = rule["nonResourceURLs"].as_array();
        return urls.is_some_and(|all| {
            all.iter().filter_map(Value::as_str).any(|url| {
                url == wish.path
                    || url
                        .strip_suffix('*')
                        .is_some_and(|start| wish.path.starts_with(start))
            })
        });
    }
    let names = rule["resourceNames"].as_array().filter(|n| !n.is_empty());
    let any_resource = format!("*/{}", wish.subresource);
    has("apiGroups", wish.group)
        && (has("resources", &wish.whole_resource())
            || (!wish.subresource.is_empty() && has("resources", &any_resource)))
        && names.is_none_or(|n| n.iter().any(|v| v == wish.name))
}

//! What the API server lets us do (`kubectl auth can-i`).
//!
//! It answers yes to whatever an administrator asks, misspelt or not; so what does not exist is told
//! here: verbs, kinds and subresources are looked up before they are asked for.

use serde_json::{Value, json};

use super::call::Call;
use super::error::{Subject, nearest};
use super::{Cluster, ClusterError};

/// The verbs of Kubernetes (kubectl's list, with those that single resources add).
const VERBS: [&str; 16] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "impersonate",
    "approve",
    "sign",
    "escalate",
    "attest",
    "*",
];

/// The verbs for paths of the API server.
const PATH_VERBS: [&str; 8] = [
    "get", "head", "post", "put", "delete", "patch", "options", "*",
];

/// Something that somebody wants to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// `get`, `list`, `create`, `patch`, …
    pub verb: String,
    /// A kind as kubectl takes it, perhaps with a subresource (`pods/log`), or a path (`/metrics`).
    pub on: String,
    /// Where; none: in the whole cluster.
    pub namespace: Option<String>,
    /// With which object; none: with all.
    pub name: Option<String>,
}

/// The answer to a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The server's reason, such as the binding that allows it; may be empty.
    pub reason: String,
    /// What the server could not find out; if it is not empty, a no may be wrong.
    pub unsure: String,
}

/// All that is allowed in a namespace, as rules of RBAC.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// `{verbs, apiGroups, resources, resourceNames}`, each.
    pub resources: Vec<Value>,
    /// `{verbs, nonResourceURLs}`, each.
    pub paths: Vec<Value>,
    /// What the server could not find out; the rules may then not be all.
    pub incomplete: Option<String>,
}

impl Cluster {
    /// Whether the API server lets us do something.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`] for a verb or a subresource that does not exist,
    /// [`ClusterError::UnknownKind`]; or the server cannot be asked.
    pub async fn access(&self, wish: &Wish) -> Result<Access, ClusterError> {
        let namespace = wish.namespace.as_deref();
        let name = wish.name.as_deref();
        let (spec, subject) = if wish.on.starts_with('/') {
            known("verb for a path", &wish.verb, &PATH_VERBS)?;
            if namespace.or(name).is_some() {
                return Err(ClusterError::BadRequest {
                    message: format!("path `{}` is in no namespace and has no name", wish.on),
                });
            }
            let attributes = json!({"verb": wish.verb, "path": wish.on});
            let subject = Subject::new(wish.on.as_str(), None, None);
            (json!({ "nonResourceAttributes": attributes }), subject)
        } else if wish.on == "*" {
            if wish.verb != "*" {
                known("verb", &wish.verb, &VERBS)?;
            }
            let attributes = json!({
                "verb": wish.verb,
                "resource": "*",
                "group": "*",
                "namespace": namespace.unwrap_or(""),
                "name": name.unwrap_or(""),
            });
            let subject = Subject::new("everything", namespace, name);
            (json!({ "resourceAttributes": attributes }), subject)
        } else {
            if wish.verb != "*" {
                known("verb", &wish.verb, &VERBS)?;
            }
            let (main, sub) = self.resource(&wish.on).await?;
            if let Some(ns) = namespace
                && !main.is_namespaced()
            {
                return Err(ClusterError::Namespace {
                    message: format!(
                        "`{}` are cluster-wide, but namespace `{ns}` was given",
                        main.resource()
                    ),
                });
            }
            let attributes = json!({
                "verb": wish.verb,
                "resource": main.plural(),
                "group": main.group(),
                "subresource": sub.unwrap_or(""),
                "namespace": namespace.unwrap_or(""),
                "name": name.unwrap_or(""),
            });
            let subject = main.subject(namespace, name);
            (json!({ "resourceAttributes": attributes }), subject)
        };
        let answer = self.review(
            "selfsubjectaccessreviews",
            "SelfSubjectAccessReview",
            subject,
            spec,
        );
        let answer = answer.await?;
        let text = |pointer: &str| {
            let text = answer.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or("").to_owned()
        };
        Ok(Access {
            allowed: answer.pointer("/status/allowed").and_then(Value::as_bool) == Some(true),
            reason: text("/status/reason"),
            unsure: text("/status/evaluationError"),
        })
    }

    /// Whether the API server lets us do this: a verb on a resource with its group
    /// (`deployments.apps`, `pods/portforward`), in a namespace or the whole cluster.
    ///
    /// # Errors
    /// As for [`Self::access`].
    pub async fn can(
        &self,
        verb: &str,
        resource: &str,
        namespace: Option<&str>,
    ) -> Result<bool, ClusterError> {
        let wish = Wish {
            verb: verb.to_owned(),
            on: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: None,
        };
        Ok(self.access(&wish).await?.allowed)
    }

    /// All that the API server lets us do in a namespace (`kubectl auth can-i --list`).
    ///
    /// # Errors
    /// The server cannot be asked.
    pub async fn rules(&self, namespace: &str) -> Result<Rules, ClusterError> {
        let subject = Subject::new("access rules", Some(namespace), None);
        let spec = json!({ "namespace": namespace });
        let answer = self.review(
            "selfsubjectrulesreviews",
            "SelfSubjectRulesReview",
            subject,
            spec,
        );
        let answer = answer.await?;
        let list = |key: &str| {
            let list = answer["status"][key].as_array();
            list.cloned().unwrap_or_default()
        };
        let incomplete = answer["status"]["incomplete"].as_bool() == Some(true);
        let error = answer["status"]["evaluationError"].as_str().unwrap_or("");
        Ok(Rules {
            resources: list("resourceRules"),
            paths: list("nonResourceRules"),
            incomplete: incomplete.then(|| error.to_owned()),
        })
    }

    /// A kind, and the subresource behind the slash, if there is one.
    async fn resource<'a>(
        &self,
        name: &'a str,
    ) -> Result<(super::Kind, Option<&'a str>), ClusterError> {
        let (main, sub) = match name.split_once('/') {
            // `apps/v1/Deployment` is a kind.
            Some((main, sub)) if !sub.contains('/') => (main, Some(sub)),
            _ => (name, None),
        };
        let kind = match (self.kind(main).await, sub) {
            (Ok(kind), _) => kind,
            // `v1/Pod` is a kind too.
            (Err(ClusterError::UnknownKind { .. }), Some(_)) => {
                return Ok((self.kind(name).await?, None));
            }
            (Err(error), _) => return Err(error),
        };
        if let Some(sub) = sub {
            let all = kind.subresources();
            if !all.is_empty() && !all.iter().any(|s| s == sub) {
                let near = nearest(sub, all).map(|n| format!("; did you mean `{n}`?"));
                return Err(ClusterError::BadRequest {
                    message: format!(
                        "`{}` have no subresource `{sub}`{}",
                        kind.resource(),
                        near.unwrap_or_default()
                    ),
                });
            }
        }
        Ok((kind, sub))
    }

    /// A POST that creates nothing: it may be repeated like a read.
    async fn review(
        &self,
        resource: &str,
        kind: &str,
        subject: Subject,
        spec: Value,
    ) -> Result<Value, ClusterError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": kind,
            "spec": spec,
        });
        let path = format!("/apis/authorization.k8s.io/v1/{resource}");
        let call = Call::send("access review", subject, http::Method::POST, path, &review);
        self.read(&call).await
    }
}

fn known(what: &str, verb: &str, all: &[&str]) -> Result<(), ClusterError> {
    if all.contains(&verb) {
        return Ok(());
    }
    let names: Vec<String> = all.iter().map(|v| (*v).to_owned()).collect();
    let near = nearest(verb, &names).map(|n| format!("; did you mean `{n}`?"));
    Err(ClusterError::BadRequest {
        message: format!("`{verb}` is no {what}{}", near.unwrap_or_default()),
    })
}

//! Kinds of objects and the names by which people call them.
//!
//! The names are kubectl's: `deploy`, `deployment`, `deployments`, `Deployment`,
//! `deployments.apps`, `deployments.v1.apps`, and, as manifests write it, `apps/v1/Deployment`.
//! What a server serves comes from [`super::discovery`]; this file only looks names up.

use std::fmt;
use std::sync::Arc;

use super::error::{Subject, nearest};
use super::{ClusterError, Object};

/// A kind of object that a server serves, in one version. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Kind(Arc<KindParts>);

#[derive(PartialEq, Eq, Hash)]
pub(super) struct KindParts {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) singular: String,
    pub(super) short_names: Vec<String>,
    pub(super) namespaced: bool,
    /// What may be done with it: `get`, `list`, …
    pub(super) verbs: Vec<String>,
    /// Groups of kinds that kubectl knows by one word, such as `all`.
    pub(super) categories: Vec<String>,
    /// `status`, `scale`, `log`, …
    pub(super) subresources: Vec<String>,
}

impl From<KindParts> for Kind {
    fn from(parts: KindParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Kind {
    /// API group; empty for the core group.
    pub fn group(&self) -> &str {
        &self.0.group
    }

    /// Version within the group: `v1`.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// As in a manifest: `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.0.group.is_empty() {
            self.0.version.clone()
        } else {
            format!("{}/{}", self.0.group, self.0.version)
        }
    }

    /// As in a manifest: `Deployment`.
    pub fn kind(&self) -> &str {
        &self.0.kind
    }

    /// As in a path: `deployments`.
    pub fn plural(&self) -> &str {
        &self.0.plural
    }

    /// With its group, as RBAC and errors name it: `deployments.apps`, `pods`.
    pub fn resource(&self) -> String {
        dotted(&self.0.plural, &self.0.group)
    }

    /// With its group, as kubectl prints objects of it: `deployment.apps`, `pod`.
    pub fn printed(&self) -> String {
        dotted(&self.0.kind.to_lowercase(), &self.0.group)
    }

    /// Whether its objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.0.namespaced
    }

    /// As in `kubectl get po`: `po`, `deploy`.
    pub fn short_names(&self) -> &[String] {
        &self.0.short_names
    }

    /// What may be done with its objects: `get`, `list`, `watch`, `create`, …
    pub fn verbs(&self) -> &[String] {
        &self.0.verbs
    }

    /// Words that mean several kinds, this one among them: `all`.
    pub fn categories(&self) -> &[String] {
        &self.0.categories
    }

    /// What its objects have besides themselves: `status`, `scale`, `log`, …
    pub fn subresources(&self) -> &[String] {
        &self.0.subresources
    }

    /// Whether the server offers a verb for it; a server that names none is believed to offer all.
    pub(super) fn can(&self, verb: &str) -> bool {
        self.0.verbs.is_empty() || self.0.verbs.iter().any(|v| v == verb)
    }

    /// An object of it, or the kind itself, for an error.
    pub fn subject(&self, namespace: Option<&str>, name: Option<&str>) -> Subject {
        let resource = if name.is_some() {
            self.printed()
        } else {
            self.resource()
        };
        Subject::new(resource, namespace, name)
    }

    /// The path of its collection, or of one object: `/apis/apps/v1/namespaces/shop/deployments/web`.
    ///
    /// # Errors
    /// A namespace that is missing or too much, or a name that cannot be a part of a path.
    pub(super) fn path(
        &self,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<String, ClusterError> {
        let mut path = if self.0.group.is_empty() {
            format!("/api/{}", self.0.version)
        } else {
            format!("/apis/{}/{}", self.0.group, self.0.version)
        };
        if let Some(ns) = namespace {
            if !self.0.namespaced {
                return Err(ClusterError::Namespace {
                    message: format!(
                        "`{}` are cluster-wide, but namespace `{ns}` was given",
                        self.resource()
                    ),
                });
            }
            path.push_str("/namespaces/");
            path.push_str(segment("namespace", ns)?);
        } else if self.0.namespaced && name.is_some() {
            return Err(ClusterError::Namespace {
                message: format!(
                    "`{}` live in namespaces, but none was given",
                    self.resource()
                ),
            });
        }
        path.push('/');
        path.push_str(&self.0.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(segment("name", name)?);
        }
        Ok(path)
    }

    /// The handle of an object of it, with `apiVersion` and `kind` filled in, which the items of
    /// a list of a built-in kind lack.
    pub(super) fn object(&self, mut value: serde_json::Value) -> Object {
        if let Some(map) = value.as_object_mut() {
            map.entry("apiVersion")
                .or_insert_with(|| self.api_version().into());
            map.entry("kind")
                .or_insert_with(|| self.0.kind.as_str().into());
        }
        Object::new(value)
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        [&self.0.plural, &self.0.singular, &self.0.kind]
            .into_iter()
            .chain(&self.0.short_names)
    }
}

impl fmt::Display for Kind {
    /// As kubectl prints objects of it: `deployment.apps`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.printed())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api_version(), self.0.kind)
    }
}

/// All kinds of a server, the core group first, then in the server's order; within a group the
/// preferred version first.
#[derive(Debug, Default, Clone)]
pub(super) struct Catalog {
    pub(super) kinds: Vec<Kind>,
    /// Group versions that the server lists but could not describe just now.
    pub(super) unread: Vec<String>,
}

impl Catalog {
    /// The kind that somebody means by `name`; the first in the server's order.
    pub(super) fn find(&self, name: &str) -> Option<&Kind> {
        let name = name.trim();
        if let Some((api_version, kind)) = name.rsplit_once('/') {
            return self.kinds.iter().find(|k| {
                k.api_version() == api_version && k.names().any(|n| n.eq_ignore_ascii_case(kind))
            });
        }
        let called = |k: &&Kind, word: &str| k.names().any(|n| n.eq_ignore_ascii_case(word));
        if let Some(kind) = self.kinds.iter().find(|k| called(k, name)) {
            return Some(kind);
        }
        let (word, rest) = name.split_once('.')?;
        self.kinds.iter().filter(|k| called(k, word)).find(|k| {
            k.group().eq_ignore_ascii_case(rest)
                || rest.split_once('.').is_some_and(|(version, group)| {
                    k.version() == version && k.group().eq_ignore_ascii_case(group)
                })
        })
    }

    /// The error for a name that [`Self::find`] did not find.
    pub(super) fn unknown(&self, name: &str) -> ClusterError {
        let in_category = |k: &&Kind| k.0.categories.iter().any(|c| c == name.trim());
        let kinds: Vec<String> = self
            .kinds
            .iter()
            .filter(in_category)
            .map(Kind::resource)
            .collect();
        if !kinds.is_empty() {
            return ClusterError::Category {
                name: name.to_owned(),
                kinds,
            };
        }
        let (wanted, dotted_group) = match name.rsplit_once('/') {
            Some((_, kind)) => (kind, false),
            None => (name, name.contains('.')),
        };
        let suggestion = if dotted_group {
            let all: Vec<String> = self.kinds.iter().map(Kind::resource).collect();
            nearest(wanted, &all).cloned()
        } else {
            nearest(wanted, self.kinds.iter().flat_map(Kind::names)).cloned()
        };
        ClusterError::UnknownKind {
            name: name.to_owned(),
            suggestion,
            unread: self.unread.clone(),
        }
    }
}

fn dotted(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

/// Checks one segment of a path, with the rule of the API server
/// (apimachinery `IsValidPathSegmentName`), and what an HTTP path cannot hold unescaped.
fn segment<'a>(what: &str, text: &'a str) -> Result<&'a str, ClusterError> {
    let wrong = text.is_empty()
        || text == "."
        || text == ".."
        || text.chars().any(|c| {
            !c.is_ascii_graphic() || matches!(c, '/' | '%' | '?' | '#' | '"' | '<' | '>' | '\\')
        });
    if wrong {
        return Err(ClusterError::BadRequest {
            message: format!("`{text}` cannot be a {what}"),
        });
    }
    Ok(text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn kind(
        group: &str,
        version: &str,
        kind: &str,
        plural: &str,
        short: &[&str],
        namespaced: bool,
    ) -> Kind {
        KindParts {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            short_names: short.iter().map(|s| (*s).to_owned()).collect(),
            namespaced,
            verbs: Vec::new(),
            categories: Vec::new(),
            subresources: Vec::new(),
        }
        .into()
    }

    pub(in super::super) fn catalog() -> Catalog {
        Catalog {
            kinds: vec![
                kind("", "v1", "Pod", "pods", &["po"], true),
                kind("", "v1", "Event", "events", &["ev"], true),
                kind("", "v1", "Namespace", "namespaces", &["ns"], false),
                kind("apps", "v1", "Deployment", "deployments", &["deploy"], true),
                kind("events.k8s.io", "v1", "Event", "events", &["ev"], true),
                kind("example.com", "v2", "Widget", "widgets", &[], true),
                kind("example.com", "v1", "Widget", "widgets", &[], true),
            ],
            unread: Vec::new(),
        }
    }

    #[test]
    fn kinds_are_found_by_every_name_that_kubectl_takes() {
        let catalog = catalog();
        for name in [
            "deploy",
            "deployment",
            "deployments",
            "Deployment",
            "DEPLOY",
            "deployments.apps",
            "deployment.apps",
            "deployments.v1.apps",
            "apps/v1/Deployment",
            "apps/v1/deployments",
        ] {
            let found = catalog.find(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(format!("{found:?}"), "apps/v1/Deployment", "{name}");
        }
        for (name, found) in [
            ("ev", "v1/Event"),
            ("events.events.k8s.io", "events.k8s.io/v1/Event"),
            ("v1/Pod", "v1/Pod"),
            ("widget", "example.com/v2/Widget"),
            ("widgets.v1.example.com", "example.com/v1/Widget"),
            ("example.com/v1/Widget", "example.com/v1/Widget"),
        ] {
            assert_eq!(format!("{:?}", catalog.find(name).unwrap()), found);
        }
        for name in [
            "deploys",
            "deployments.extensions",
            "apps/v2/Deployment",
            "",
            "pods/log",
        ] {
            assert!(catalog.find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_nearest() {
        let error = catalog().unknown("deploymnt");
        assert_eq!(
            error.to_string(),
            "the API server knows no kind `deploymnt`"
        );
        assert_eq!(error.hint().as_deref(), Some("did you mean `deployment`?"));
        let error = catalog().unknown("deployments.extensions");
        assert_eq!(
            error.hint().as_deref(),
            Some("did you mean `deployments.apps`?")
        );
        assert_eq!(catalog().unknown("zzzz").hint(), None);
        let mut partly = catalog();
        partly.unread.push("metrics.k8s.io/v1beta1".into());
        assert_eq!(
            partly.unknown("zzzz").hint().as_deref(),
            Some("it may be in `metrics.k8s.io/v1beta1`, which could not be read")
        );
    }

    #[test]
    fn paths_need_the_namespace_that_the_kind_has() {
        let catalog = catalog();
        let deploy = catalog.find("deploy").unwrap();
        assert_eq!(
            deploy.path(Some("shop"), Some("web")).unwrap(),
            "/apis/apps/v1/namespaces/shop/deployments/web"
        );
        assert_eq!(
            deploy.path(None, None).unwrap(),
            "/apis/apps/v1/deployments"
        );
        assert_eq!(
            deploy.path(None, Some("web")).unwrap_err().to_string(),
            "`deployments.apps` live in namespaces, but none was given"
        );
        let ns = catalog.find("ns").unwrap();
        assert_eq!(
            ns.path(None, Some("shop")).unwrap(),
            "/api/v1/namespaces/shop"
        );
        assert_eq!(
            ns.path(Some("x"), Some("shop")).unwrap_err().to_string(),
            "`namespaces` are cluster-wide, but namespace `x` was given"
        );
        for bad in ["", "..", "a/b", "a b", "a%2f", "a?x", "é"] {
            assert!(ns.path(None, Some(bad)).is_err(), "{bad}");
        }
    }
}

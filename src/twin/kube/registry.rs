//! The kinds that the twin serves: the built-in ones of this table, and those that CRDs add.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use super::builtin;

/// One kind of object under one resource name.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// `deployments`.
    pub plural: String,
    /// `deployment`.
    pub singular: String,
    /// `Deployment`.
    pub kind: String,
    /// `DeploymentList`.
    pub list_kind: String,
    /// `deploy`.
    pub short: Vec<String>,
    /// `all`.
    pub categories: Vec<String>,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// The versions that are served, the preferred one first.
    pub versions: Vec<Version>,
    /// Whether it is part of Kubernetes; otherwise a CRD made it.
    pub built_in: bool,
    /// What can be done with it; discovery says so.
    pub verbs: Vec<&'static str>,
}

/// A served version of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// `v1`.
    pub name: String,
    /// `status`, `scale`, …
    pub subresources: Vec<String>,
    /// What a CRD says of this version, for custom resources.
    pub custom: Option<Arc<CustomVersion>>,
}

/// One entry of `spec.versions` of a CRD.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomVersion {
    /// `schema.openAPIV3Schema`.
    pub schema: serde_json::Value,
    /// `additionalPrinterColumns`.
    pub columns: Vec<serde_json::Value>,
    /// `subresources.scale`.
    pub scale: Option<serde_json::Value>,
    /// JSON paths of `selectableFields`, `.spec.action`.
    pub selectable: Vec<String>,
}

/// Every verb of a plain resource, in the order of discovery.
pub const ALL_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The same in the order in which they are told of a custom resource.
pub const CUSTOM_VERBS: &[&str] = &[
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

impl Resource {
    /// The name under which it is spoken of, and mostly stored: `pods`, `deployments.apps`.
    pub fn name(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The name under which its objects are stored: events are known under two groups, and stored once.
    pub fn storage_name(&self) -> String {
        if self.is_second_view() {
            self.plural.clone()
        } else {
            self.name()
        }
    }

    /// Whether it shows objects of another resource, and only that.
    pub fn is_second_view(&self) -> bool {
        self.built_in && self.group == "events.k8s.io"
    }

    /// `v1`, `apps/v1` for a version of it.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }

    /// The `apiVersion` in which it is stored.
    pub fn storage_api_version(&self) -> String {
        self.api_version(self.versions.first().map_or("v1", |v| &v.name))
    }

    /// A version by name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.name == name)
    }

    /// Whether it can be stored at all; reviews cannot.
    pub fn stored(&self) -> bool {
        self.verbs.contains(&"get")
    }
}

/// All resources by name.
#[derive(Debug)]
pub struct Registry(RwLock<BTreeMap<String, Arc<Resource>>>);

impl Registry {
    /// The built-in resources.
    pub fn new() -> Registry {
        let all = builtin::resources();
        Registry(RwLock::new(
            all.into_iter().map(|r| (r.name(), Arc::new(r))).collect(),
        ))
    }

    /// A resource by its stored name.
    pub fn get(&self, name: &str) -> Option<Arc<Resource>> {
        self.read().get(name).cloned()
    }

    /// A served resource by the parts of a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let name = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        self.get(&name).filter(|r| r.version(version).is_some())
    }

    /// A resource by group and kind.
    pub fn by_kind(&self, group: &str, kind: &str) -> Option<Arc<Resource>> {
        self.read()
            .values()
            .find(|r| r.group == group && r.kind == kind)
            .cloned()
    }

    /// All, ordered by name.
    pub fn all(&self) -> Vec<Arc<Resource>> {
        self.read().values().cloned().collect()
    }

    /// Adds or replaces a custom resource.
    pub fn set(&self, resource: Resource) {
        self.write().insert(resource.name(), Arc::new(resource));
    }

    /// Takes a custom resource away.
    pub fn unset(&self, name: &str) {
        let mut all = self.write();
        if all.get(name).is_some_and(|r| !r.built_in) {
            all.remove(name);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Resource>>> {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Arc<Resource>>> {
        self.0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

//! Which groups, versions and resources there are, in both documents that clients ask for.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{ACCEPT, HeaderMap};
use serde_json::{Value, json};

use super::super::kube::{Kube, Resource, Version};

/// The version of Kubernetes that the twin speaks for.
pub const GIT_VERSION: &str = "v1.34.4";

/// The `/version` document.
pub fn version() -> Value {
    json!({
        "major": "1", "minor": "34", "emulationMajor": "1", "emulationMinor": "34",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "33",
        "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "",
        "platform": "linux/amd64",
    })
}

/// Groups in the order in which an API server prefers them, the core group first.
const ORDER: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
];

/// A group with its versions, the preferred one first.
pub struct Group {
    /// Its name; empty for the core group.
    pub name: String,
    /// Its versions with the resources of each.
    pub versions: Vec<Served>,
}

/// A version and its resources.
pub type Served = (String, Vec<Arc<Resource>>);

/// All groups.
pub fn groups(kube: &Kube) -> Vec<Group> {
    let mut by_name: BTreeMap<String, Vec<Served>> = BTreeMap::new();
    for resource in kube.registry().all() {
        let versions = by_name.entry(resource.group.clone()).or_default();
        for version in &resource.versions {
            match versions.iter_mut().find(|(name, _)| *name == version.name) {
                Some((_, resources)) => resources.push(Arc::clone(&resource)),
                None => versions.push((version.name.clone(), vec![Arc::clone(&resource)])),
            }
        }
    }
    let mut all: Vec<Group> = by_name
        .into_iter()
        .map(|(name, versions)| Group { name, versions })
        .collect();
    let rank = |group: &Group| ORDER.iter().position(|o| *o == group.name);
    all.sort_by_key(|group| (rank(group).unwrap_or(ORDER.len()), group.name.clone()));
    all
}

/// Whether the asker wants everything in one document.
pub fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(ACCEPT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    accept.split(',').any(|range| {
        range.contains("as=APIGroupDiscoveryList")
            && range.contains("v=v2")
            && !range.contains("v2beta1")
    })
}

/// The content type of the aggregated document.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Everything in one document: the core group for `/api`, the others for `/apis`.
pub fn aggregated(kube: &Kube, core: bool) -> Value {
    let items: Vec<Value> = groups(kube)
        .iter()
        .filter(|g| g.name.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|(version, resources)| {
                    let resources: Vec<Value> = resources
                        .iter()
                        .map(|r| aggregated_resource(r, version))
                        .collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let meta = if core {
                json!({})
            } else {
                json!({"name": group.name})
            };
            json!({"metadata": meta, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {}, "items": items,
    })
}

fn aggregated_resource(resource: &Resource, version: &str) -> Value {
    // Those of the group that is listed are left empty, except for custom resources.
    let (group, of) = if resource.built_in {
        ("", "")
    } else {
        (resource.group.as_str(), version)
    };
    let kind = json!({"group": group, "version": of, "kind": resource.kind});
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short.is_empty() {
        entry["shortNames"] = json!(resource.short);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    let subresources: Vec<Value> = subresources(resource, version)
        .map(|name| {
            let (group, version, kind) = kind_of(resource, version, name);
            let own = resource.built_in && group == resource.group;
            let (group, version) = if own { ("", "") } else { (group, version) };
            json!({
                "subresource": name,
                "responseKind": {"group": group, "version": version, "kind": kind},
                "verbs": verbs_of(name),
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

/// The `/apis` document.
pub fn group_list(kube: &Kube) -> Value {
    let all: Vec<Value> = groups(kube)
        .iter()
        .filter(|g| !g.name.is_empty())
        .map(group_entry)
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all})
}

/// The `/apis/GROUP` document.
pub fn group(kube: &Kube, name: &str) -> Option<Value> {
    let all = groups(kube);
    let group = all.iter().find(|g| g.name == name && !name.is_empty())?;
    let mut document = group_entry(group);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document)
}

fn group_entry(group: &Group) -> Value {
    let entry = |version: &str| json!({"groupVersion": format!("{}/{version}", group.name), "version": version});
    let versions: Vec<Value> = group.versions.iter().map(|(v, _)| entry(v)).collect();
    json!({"name": group.name, "versions": versions, "preferredVersion": versions[0]})
}

/// The `/api/v1` and `/apis/GROUP/VERSION` documents.
pub fn resource_list(kube: &Kube, group: &str, version: &str) -> Option<Value> {
    let all = groups(kube);
    let of = all.iter().find(|g| g.name == group)?;
    let (_, resources) = of.versions.iter().find(|(v, _)| v == version)?;
    let mut entries = Vec::new();
    for resource in resources {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular,
            "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.verbs,
        });
        if !resource.short.is_empty() {
            entry["shortNames"] = json!(resource.short);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        entries.push(entry);
        for name in subresources(resource, version) {
            let (sub_group, sub_version, kind) = kind_of(resource, version, name);
            let mut entry = json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "",
                "namespaced": resource.namespaced, "kind": kind, "verbs": verbs_of(name),
            });
            if sub_group != resource.group {
                entry["group"] = sub_group.into();
                entry["version"] = sub_version.into();
            }
            entries.push(entry);
        }
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version, "resources": entries,
    }))
}

fn subresources<'a>(resource: &'a Resource, version: &str) -> impl Iterator<Item = &'a str> {
    let version: Option<&Version> = resource.version(version);
    version
        .into_iter()
        .flat_map(|v| v.subresources.iter().map(String::as_str))
}

fn kind_of<'a>(
    resource: &'a Resource,
    version: &'a str,
    subresource: &str,
) -> (&'a str, &'a str, &'a str) {
    let own = |kind| (resource.group.as_str(), version, kind);
    match subresource {
        "attach" => own("PodAttachOptions"),
        "binding" => own("Binding"),
        "eviction" => ("policy", "v1", "Eviction"),
        "exec" => own("PodExecOptions"),
        "portforward" => own("PodPortForwardOptions"),
        "proxy" => own(match resource.kind.as_str() {
            "Node" => "NodeProxyOptions",
            "Service" => "ServiceProxyOptions",
            _ => "PodProxyOptions",
        }),
        "scale" => ("autoscaling", "v1", "Scale"),
        "token" => ("authentication.k8s.io", "v1", "TokenRequest"),
        _ => own(&resource.kind),
    }
}

fn verbs_of(subresource: &str) -> &'static [&'static str] {
    match subresource {
        "attach" | "exec" | "portforward" => &["create", "get"],
        "binding" | "eviction" | "token" => &["create"],
        "finalize" => &["update"],
        "log" => &["get"],
        "proxy" => &["create", "delete", "get", "patch", "update"],
        _ => &["get", "patch", "update"],
    }
}

//! What kinds a server serves: asked once per connection, and again when a name is not found.
//!
//! The aggregated form (two requests) is asked for first; a server that does not speak it answers
//! in the old form, which takes one request for each group version. It resolves no names:
//! [`super::kind`] does.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use serde_json::Value;

use super::call::Call;
use super::error::Subject;
use super::kind::{Catalog, Kind, KindParts};
use super::{Cluster, ClusterError};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

impl Cluster {
    /// The kind that is meant by a name, as kubectl understands it: `deploy`, `deployments.apps`,
    /// `Deployment`, or as manifests write it, `apps/v1/Deployment`. Kinds that were installed
    /// since the connection was made are found.
    ///
    /// # Errors
    /// [`ClusterError::UnknownKind`] with a suggestion; or the server cannot be asked.
    pub async fn kind(&self, name: &str) -> Result<Kind, ClusterError> {
        let mut known = self.shared.catalog.lock().await;
        if let Some(kind) = known.as_ref().and_then(|c| c.find(name)) {
            return Ok(kind.clone());
        }
        let catalog = Arc::new(self.discover().await?);
        *known = Some(Arc::clone(&catalog));
        catalog
            .find(name)
            .cloned()
            .ok_or_else(|| catalog.unknown(name))
    }

    /// Whether the server serves a kind.
    ///
    /// # Errors
    /// [`ClusterError::KindsUnread`]: it may be one of those that could not be read; and those of
    /// [`Self::kind`].
    pub async fn has_kind(&self, name: &str) -> Result<bool, ClusterError> {
        match self.kind(name).await {
            Ok(_) => Ok(true),
            Err(ClusterError::UnknownKind { mut unread, .. }) => {
                unread.retain(|group_version| may_serve(group_version, name));
                if unread.is_empty() {
                    return Ok(false);
                }
                Err(ClusterError::KindsUnread { unread })
            }
            Err(error) => Err(error),
        }
    }

    /// All kinds that the server serves, each in each of its versions, in the server's order.
    ///
    /// # Errors
    /// The server cannot be asked; [`ClusterError::KindsUnread`]: some could not be read.
    pub async fn kinds(&self) -> Result<Vec<Kind>, ClusterError> {
        let catalog = Arc::new(self.discover().await?);
        *self.shared.catalog.lock().await = Some(Arc::clone(&catalog));
        if !catalog.unread.is_empty() {
            let unread = catalog.unread.clone();
            return Err(ClusterError::KindsUnread { unread });
        }
        Ok(catalog.kinds.clone())
    }

    async fn discover(&self) -> Result<Catalog, ClusterError> {
        let mut catalog = Catalog::default();
        for path in ["/api", "/apis"] {
            let answer = self.read(&discovery_call(path)).await?;
            if answer.get("kind").and_then(Value::as_str) == Some("APIGroupDiscoveryList") {
                read_aggregated(&answer, &mut catalog);
            } else {
                self.read_each(path, &answer, &mut catalog).await;
            }
        }
        Ok(catalog)
    }

    /// The old form: a list of groups (`/apis`) or versions (`/api`), then one request for each.
    async fn read_each(&self, path: &str, answer: &Value, catalog: &mut Catalog) {
        let versions: Vec<String> = if path == "/api" {
            array(answer, "versions")
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        } else {
            array(answer, "groups").flat_map(preferred_first).collect()
        };
        let answers = stream::iter(versions)
            .map(|version| async move {
                let call = discovery_call(&format!("{path}/{version}"));
                let result = self.read(&call).await;
                (version, result)
            })
            .buffered(8)
            .collect::<Vec<_>>()
            .await;
        for (version, result) in answers {
            match result {
                Ok(list) => read_resource_list(&version, &list, catalog),
                // A group served by an aggregated API server that is down must not hide the rest.
                Err(_) => catalog.unread.push(version),
            }
        }
    }
}

/// Whether a kind of that name could be one of a group and version.
fn may_serve(group_version: &str, name: &str) -> bool {
    let (group, version) = group_version
        .rsplit_once('/')
        .unwrap_or(("", group_version));
    let name = name.trim().to_lowercase();
    if let Some((api_version, _)) = name.rsplit_once('/') {
        return api_version == group_version;
    }
    let Some((_, rest)) = name.split_once('.') else {
        return true;
    };
    rest == group || rest == format!("{version}.{group}")
}

fn discovery_call(path: &str) -> Call {
    let subject = Subject::new("API resources", None, None);
    Call {
        accept: AGGREGATED,
        ..Call::get("discovery", subject, path.to_owned())
    }
}

fn preferred_first(group: &Value) -> Vec<String> {
    let preferred = group
        .pointer("/preferredVersion/groupVersion")
        .and_then(Value::as_str)
        .unwrap_or("");
    let mut versions: Vec<String> = array(group, "versions")
        .filter_map(|v| v.get("groupVersion")?.as_str().map(str::to_owned))
        .collect();
    versions.sort_by_key(|v| v != preferred);
    versions
}

fn read_aggregated(answer: &Value, catalog: &mut Catalog) {
    for group in array(answer, "items") {
        let name = text(group, "/metadata/name");
        for version in array(group, "versions") {
            let version_name = text(version, "/version");
            if text(version, "/freshness") == "Stale" {
                catalog.unread.push(join(name, version_name));
            }
            for resource in array(version, "resources") {
                let kind = text(resource, "/responseKind/kind");
                if kind.is_empty() {
                    continue;
                }
                catalog.kinds.push(
                    KindParts {
                        // A resource may answer with a kind of another group (scale does).
                        group: name.to_owned(),
                        version: version_name.to_owned(),
                        kind: kind.to_owned(),
                        plural: text(resource, "/resource").to_owned(),
                        singular: text(resource, "/singularResource").to_owned(),
                        short_names: strings(resource, "shortNames"),
                        namespaced: text(resource, "/scope") == "Namespaced",
                        verbs: strings(resource, "verbs"),
                        categories: strings(resource, "categories"),
                        subresources: array(resource, "subresources")
                            .map(|s| text(s, "/subresource").to_owned())
                            .collect(),
                    }
                    .into(),
                );
            }
        }
    }
}

fn read_resource_list(group_version: &str, list: &Value, catalog: &mut Catalog) {
    let (group, version) = group_version
        .rsplit_once('/')
        .unwrap_or(("", group_version));
    let below = |plural: &str| {
        array(list, "resources")
            .filter_map(|r| text(r, "/name").strip_prefix(plural)?.strip_prefix('/'))
            .map(str::to_owned)
            .collect()
    };
    for resource in array(list, "resources") {
        let plural = text(resource, "/name");
        if plural.contains('/') {
            continue; // A subresource.
        }
        let kind = text(resource, "/kind");
        let singular = match text(resource, "/singularName") {
            "" => kind.to_lowercase(),
            singular => singular.to_owned(),
        };
        catalog.kinds.push(
            KindParts {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
                singular,
                short_names: strings(resource, "shortNames"),
                namespaced: resource.get("namespaced").and_then(Value::as_bool) == Some(true),
                verbs: strings(resource, "verbs"),
                categories: strings(resource, "categories"),
                subresources: below(plural),
            }
            .into(),
        );
    }
}

fn array<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn strings(value: &Value, key: &str) -> Vec<String> {
    array(value, key)
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

#[cfg(test)]
mod tests {
    use super::may_serve;

    #[test]
    fn a_kind_may_be_in_a_group_that_could_not_be_read() {
        for (name, may) in [
            ("nodemetrics", true),
            ("pods.metrics.k8s.io", true),
            ("PODS.v1beta1.metrics.k8s.io", true),
            ("metrics.k8s.io/v1beta1/PodMetrics", true),
            ("metrics.k8s.io/v1/PodMetrics", false),
            ("rockets.example.com", false),
        ] {
            assert_eq!(may_serve("metrics.k8s.io/v1beta1", name), may, "{name}");
        }
    }
}

//! The number of replicas, by the subresource `scale`: the same for Deployments, StatefulSets and custom
//! resources that have one.

use serde_json::{Value, json};

use super::call::{Call, Failure};
use super::door::{Mutation, Outcome, Verb, Written};
use super::write::text;
use super::{Cluster, ClusterError, Kind, Object};

impl Cluster {
    /// Sets the number of replicas (`kubectl scale`). With `current`, only if it is that now.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`] for a negative number and for a kind that has no scale;
    /// [`ClusterError::Conflict`] if there are not `current` replicas; [`ClusterError::NotFound`],
    /// [`ClusterError::Refused`], and those of the server.
    pub async fn scale(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        replicas: i64,
        current: Option<i64>,
    ) -> Result<Written, ClusterError> {
        if !(0..=i64::from(i32::MAX)).contains(&replicas) {
            return Err(ClusterError::BadRequest {
                message: format!("`{replicas}` is no number of replicas"),
            });
        }
        self.anew_while_stale(async || {
            let before = self.get_existing(kind, namespace, name).await?;
            let scale = self.read_scale(kind, &before).await?;
            // The server leaves out a 0.
            let now = scale["spec"]["replicas"].as_i64().unwrap_or(0);
            let mut change = Mutation {
                body: Some(json!({"spec": {"replicas": replicas}})),
                ..self.mutation(Verb::Scale, kind, namespace, name)
            };
            if let Some(current) = current.filter(|current| *current != now) {
                // Not a conflict that reading again could end.
                return Err(ClusterError::Precondition {
                    operation: "scale",
                    subject: change.subject(),
                    message: format!("{current} replicas were expected, and it has {now}"),
                });
            }
            if now == replicas {
                change.before = Some(before.clone());
                let written = change.written(Outcome::Unchanged, Some(before));
                return Ok(self.skip(&change, written));
            }
            if current.is_some() {
                let version = text(&scale, "/metadata/resourceVersion");
                change.body = Some(json!({
                    "metadata": {"resourceVersion": version},
                    "spec": {"replicas": replicas},
                }));
            }
            let path = self.replicas_path(kind).await;
            change.foreseen = Some(with_replicas(&before, &path, replicas));
            change.before = Some(before);
            let written = self.mutate(change).await?;
            Ok(self.as_it_is(kind, namespace, name, written).await)
        })
        .await
    }

    async fn read_scale(&self, kind: &Kind, object: &Object) -> Result<Value, ClusterError> {
        let (namespace, name) = (object.namespace(), object.name());
        let subject = kind.subject(namespace, Some(name));
        let path = format!("{}/scale", kind.path(namespace, Some(name))?);
        let call = Call::get("get the scale", subject.clone(), path);
        match self.try_read(&call).await {
            Ok(scale) => Ok(scale),
            Err(Failure::Status(s)) if s.code == 404 && !s.is_missing_object() => {
                Err(ClusterError::BadRequest {
                    message: format!("`{}` cannot be scaled: they have no scale", kind.resource()),
                })
            }
            Err(failure) => Err(self.error(&call, failure)),
        }
    }

    /// Where in its objects a kind keeps the number of replicas, as a JSON pointer. A custom kind says
    /// it in its definition; if that may not be read, where all built-in kinds do.
    async fn replicas_path(&self, kind: &Kind) -> String {
        const USUAL: &str = "/spec/replicas";
        if !kind.group().contains('.') || kind.group().ends_with(".k8s.io") {
            return USUAL.to_owned();
        }
        let Ok(definitions) = self
            .kind("customresourcedefinitions.apiextensions.k8s.io")
            .await
        else {
            return USUAL.to_owned();
        };
        let definition = self.get(&definitions, None, &kind.resource()).await;
        let Ok(Some(definition)) = definition else {
            return USUAL.to_owned();
        };
        definition
            .items("/spec/versions")
            .iter()
            .find(|v| v["name"] == kind.version())
            .and_then(|v| {
                let path = v
                    .pointer("/subresources/scale/specReplicasPath")?
                    .as_str()?;
                Some(path.replace('.', "/"))
            })
            .unwrap_or_else(|| USUAL.to_owned())
    }

    /// The object that a scaling left: read again, because the answer to it is a Scale.
    async fn as_it_is(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        written: Written,
    ) -> Written {
        if self.is_dry_run() {
            return written;
        }
        match self.get(kind, namespace, name).await {
            Ok(Some(object)) => Written {
                object: Some(object),
                ..written
            },
            _ => written,
        }
    }
}

fn with_replicas(object: &Object, pointer: &str, replicas: i64) -> Value {
    let mut after = object.to_value();
    let mut place = &mut after;
    for key in pointer.trim_start_matches('/').split('/') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[key];
    }
    *place = replicas.into();
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replicas_are_set_where_the_kind_keeps_them() {
        let object = Object::new(json!({"spec": {"replicas": 1, "x": 2}}));
        let after = with_replicas(&object, "/spec/replicas", 3);
        assert_eq!(after, json!({"spec": {"replicas": 3, "x": 2}}));
        let after = with_replicas(&object, "/spec/size/wanted", 3);
        assert_eq!(after["spec"]["size"]["wanted"], 3);
    }
}

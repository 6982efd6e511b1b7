//! The API server without HTTP: objects, the rules for writing them, and what happened to them.
//!
//! It is apart from [`super::server`] so that the twin's own controllers and its mesh act on the
//! same objects under the same rules without a connection. Who may do what is not decided here: that
//! is the server's, which knows who asks.

mod admission;
mod builtin;
mod crd;
pub mod custom;
mod deletion;
mod fields;
pub mod managed;
pub mod ops;
pub mod patch;
mod quantity;
pub mod quota;
mod random;
mod registry;
mod rules;
pub mod schema;
pub mod selector;
mod status;
mod store;
mod validate;
mod webhook;

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use tokio::sync::watch;

pub use deletion::{Deleted, Deletion, Propagation, delete};
pub use ops::{Actor, Part, Target, WriteOptions};
pub use random::Random;
pub use registry::{CustomVersion, Registry, Resource, Version};
pub use status::{Cause, Status};
pub use store::{Change, Expired, Key, Listing, Store};
pub use webhook::{AdmissionAnswer, ServiceRef, WebhookBackend};

/// The cluster's objects and their rules. A cheap handle: clones share the cluster.
///
/// Resources are named as errors of kubectl name them: `pods`, `deployments.apps`,
/// `widgets.example.com`. The namespace of a cluster-scoped object is `""`.
#[derive(Clone)]
pub struct Kube(Arc<Inner>);

struct Inner {
    store: Store,
    registry: Registry,
    random: Random,
    webhooks: OnceLock<Arc<dyn WebhookBackend>>,
}

impl Kube {
    /// An empty cluster whose made-up names follow from a seed.
    pub fn new(seed: u64) -> Kube {
        Kube(Arc::new(Inner {
            store: Store::new(),
            registry: Registry::new(),
            random: Random::new(seed),
            webhooks: OnceLock::new(),
        }))
    }

    /// Sets what answers admission webhooks. The first call counts; without one, each call is refused
    /// as a connection.
    pub fn set_webhooks(&self, backend: Arc<dyn WebhookBackend>) {
        let _ = self.0.webhooks.set(backend);
    }

    /// One object.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.store.get(resource, namespace, name)
    }

    /// The objects of a resource in one namespace, or in all, ordered by namespace and name.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let (_, listing) = self.0.store.list(resource, namespace);
        listing.into_iter().map(|(_, object)| object).collect()
    }

    /// Creates an object with all that a request over HTTP would meet: defaults, validation,
    /// admission and its webhooks.
    ///
    /// # Errors
    /// As the API server answers.
    pub async fn create(
        &self,
        resource: &str,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        let resource = self.resource(resource)?;
        let target = target(&resource, namespace, "");
        ops::create(self, target, object, &WriteOptions::controller()).await
    }

    /// Changes an object as a controller does: read, modify, write, again if another write came
    /// between. Status is left alone where it is a subresource; a change of `spec` bumps the
    /// generation; a change of nothing keeps the resource version; an object that is being deleted
    /// and has lost its last finalizer is gone afterwards. Field validation and webhooks are not run.
    ///
    /// # Errors
    /// There is no such object.
    pub fn update(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        change: impl FnMut(&mut Value),
    ) -> Result<Arc<Value>, Status> {
        let resource = self.resource(resource)?;
        ops::update(self, target(&resource, namespace, name), Part::Main, change)
    }

    /// Changes the status of an object, and nothing else of it.
    ///
    /// # Errors
    /// There is no such object.
    pub fn update_status(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        change: impl FnMut(&mut Value),
    ) -> Result<Arc<Value>, Status> {
        let resource = self.resource(resource)?;
        ops::update(
            self,
            target(&resource, namespace, name),
            Part::Status,
            change,
        )
    }

    /// Deletes an object as a client does: finalizers and a pod's grace period hold it.
    ///
    /// # Errors
    /// There is no such object.
    pub fn delete(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        propagation: Propagation,
    ) -> Result<(), Status> {
        let resource = self.resource(resource)?;
        let wish = Deletion {
            propagation: Some(propagation),
            ..Deletion::default()
        };
        delete(self, target(&resource, namespace, name), &wish).map(|_| ())
    }

    /// Deletes an object without grace, as the kubelet does when the containers of a pod are gone.
    /// Finalizers still hold it.
    ///
    /// # Errors
    /// There is no such object.
    pub fn remove(&self, resource: &str, namespace: &str, name: &str) -> Result<(), Status> {
        let resource = self.resource(resource)?;
        let wish = Deletion {
            grace: Some(0),
            propagation: Some(Propagation::Background),
            ..Deletion::default()
        };
        delete(self, target(&resource, namespace, name), &wish).map(|_| ())
    }

    /// Wakes up on each write; the value is its resource version.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.store.changes()
    }

    /// Wakes up on each write to one resource only.
    pub fn changes_of(&self, resource: &str) -> watch::Receiver<u64> {
        self.0.store.changes_of(resource)
    }

    /// The objects and their history.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The kinds that are served.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The source of made-up names.
    pub fn random(&self) -> &Random {
        &self.0.random
    }

    fn resource(&self, name: &str) -> Result<Arc<Resource>, Status> {
        self.0.registry.get(name).ok_or_else(Status::no_resource)
    }

    fn webhooks(&self) -> Option<&Arc<dyn WebhookBackend>> {
        self.0.webhooks.get()
    }
}

/// An object in the version in which its resource is stored.
fn target<'a>(resource: &'a Resource, namespace: &'a str, name: &'a str) -> Target<'a> {
    Target {
        resource,
        version: resource.versions.first().map_or("v1", |v| v.name.as_str()),
        namespace,
        name,
    }
}

#[cfg(test)]
mod tests;

//! Calls of the API server to istiod's webhooks.

use std::sync::{Arc, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use serde_json::Value;

use super::world::World;
use super::{Inner, Mesh, newest};
use crate::pki::{Cert, certs_from_pem};
use crate::twin::kube::{AdmissionAnswer, ServiceRef, WebhookBackend};

/// The mesh as the cluster knows it: the cluster must not keep it alive.
struct Istiods(Weak<Inner>);

impl WebhookBackend for Istiods {
    fn call<'a>(
        &'a self,
        service: &'a ServiceRef,
        review: &'a Value,
    ) -> BoxFuture<'a, Result<AdmissionAnswer, String>> {
        Box::pin(async move {
            let mesh = self.0.upgrade().ok_or("connect: connection refused")?;
            Mesh(mesh).answer(service, &review["request"])
        })
    }
}

impl Mesh {
    /// What answers the cluster's admission webhooks.
    pub(in crate::twin) fn webhooks(&self) -> Arc<dyn WebhookBackend> {
        Arc::new(Istiods(Arc::downgrade(&self.0)))
    }

    fn answer(&self, service: &ServiceRef, request: &Value) -> Result<AdmissionAnswer, String> {
        let world = World::look(&self.0.kube);
        let key = (service.namespace.clone(), service.name.clone());
        let trusted = self.trusted_by_api_server(service);
        let injector = {
            let state = self.state();
            let istiod = newest(&state.istiods, &world, &key)?;
            istiod.connect(&trusted)?;
            istiod.injector(&self.0.kube)
        };
        if service.path.starts_with("/validate") {
            return Ok(validated(&request["object"]));
        }
        if !service.path.starts_with("/inject") {
            return Err(format!(
                "the twin's istiod does not answer {}",
                service.path
            ));
        }
        let namespace = request["namespace"].as_str().unwrap_or_default();
        let allowed = |patch| AdmissionAnswer {
            allowed: true,
            patch,
            message: String::new(),
        };
        Ok(match injector.inject(namespace, &request["object"]) {
            Ok(patch) => allowed(patch),
            Err(message) => AdmissionAnswer {
                allowed: false,
                patch: None,
                message,
            },
        })
    }

    /// The CA bundle of the webhook configurations that call this Service. The API server uses the one
    /// of the webhook that it calls; they are of one revision here.
    fn trusted_by_api_server(&self, service: &ServiceRef) -> Vec<Cert> {
        let of = |kind: &str| {
            let resource = format!("{kind}webhookconfigurations.admissionregistration.k8s.io");
            self.0.kube.list(&resource, None)
        };
        let configurations = [of("mutating"), of("validating")].concat();
        let hooks = configurations
            .iter()
            .filter_map(|c| c["webhooks"].as_array())
            .flatten();
        hooks
            .map(|hook| &hook["clientConfig"])
            .filter(|client| {
                client["service"]["name"] == service.name.as_str()
                    && client["service"]["namespace"] == service.namespace.as_str()
            })
            .filter_map(|client| STANDARD.decode(client["caBundle"].as_str()?).ok())
            .flat_map(|bytes| certs_from_pem(&String::from_utf8_lossy(&bytes)).0)
            .collect()
    }
}

/// What istiod says to one of Istio's resources. The twin's knows one rule, that of a VirtualService whose host is `*`, and
/// takes all else.
fn validated(object: &Value) -> AdmissionAnswer {
    let spec = &object["spec"];
    let lists = |field: &str, value: &str| {
        let all = spec[field].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).any(|v| v == value)
    };
    let of_mesh = spec["gateways"].is_null() || lists("gateways", "mesh");
    let wrong = object["kind"] == "VirtualService" && lists("hosts", "*") && of_mesh;
    AdmissionAnswer {
        allowed: !wrong,
        patch: None,
        message: if wrong {
            "configuration is invalid: wildcard host * is not allowed for virtual services bound to the mesh gateway".to_owned()
        } else {
            String::new()
        },
    }
}

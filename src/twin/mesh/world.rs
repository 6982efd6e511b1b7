//! The cluster as the mesh sees it at one moment: Services, pods, and who is behind a Service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::config::{meta, selects};
use super::envoy::ServiceKey;
use crate::twin::controllers::in_ready_set;
use crate::twin::kube::Kube;

/// One look at the cluster: each list by namespace and name, as the store has it.
pub(super) struct World {
    pub(super) services: Vec<Arc<Value>>,
    pub(super) pods: Vec<Arc<Value>>,
}

/// Service accounts behind each Service. A Service whose pods are all gone for a moment keeps what
/// it had, as istiod does.
pub(super) type Accounts = BTreeMap<ServiceKey, BTreeSet<(String, String)>>;

/// Ports of each Service.
pub(super) type Ports = BTreeMap<ServiceKey, Vec<u16>>;

impl World {
    pub(super) fn look(kube: &Kube) -> World {
        World {
            services: kube.list("services", None),
            pods: kube.list("pods", None),
        }
    }

    /// UIDs of the pods that receive traffic of a Service.
    ///
    /// # Errors
    /// There is no such Service: as the API server's resolver words it.
    pub(super) fn endpoints(&self, namespace: &str, name: &str) -> Result<BTreeSet<&str>, String> {
        let service = self
            .services
            .iter()
            .find(|s| meta(s, "namespace") == namespace && meta(s, "name") == name)
            .ok_or_else(|| format!("service \"{name}\" not found"))?;
        Ok(self
            .selected(service)
            .filter(|pod| in_ready_set(pod))
            .map(|pod| meta(pod, "uid"))
            .collect())
    }

    /// The Services that select a pod.
    pub(super) fn services_of(&self, pod: &Value) -> Vec<ServiceKey> {
        of_namespace(&self.services, meta(pod, "namespace"))
            .iter()
            .filter(|s| selects(&s["spec"]["selector"], &pod["metadata"]["labels"]))
            .map(|s| key(s))
            .collect()
    }

    /// Ports by Service.
    pub(super) fn ports(&self) -> Ports {
        let ports = |service: &Value| {
            let all = service["spec"]["ports"].as_array().into_iter().flatten();
            all.filter_map(|p| p["port"].as_u64().and_then(|p| u16::try_from(p).ok()))
                .collect()
        };
        self.services
            .iter()
            .map(|service| (key(service), ports(service)))
            .collect()
    }

    /// Brings the service accounts up to date.
    pub(super) fn note_accounts(&self, accounts: &mut Accounts) {
        let known: BTreeSet<ServiceKey> = self.services.iter().map(|s| key(s)).collect();
        accounts.retain(|service, _| known.contains(service));
        for service in &self.services {
            let now: BTreeSet<(String, String)> = self
                .selected(service)
                .filter(|pod| {
                    !matches!(
                        pod["status"]["phase"].as_str(),
                        Some("Succeeded" | "Failed")
                    )
                })
                .map(|pod| (meta(pod, "namespace").to_owned(), account(pod)))
                .collect();
            let entry = accounts.entry(key(service)).or_default();
            if !now.is_empty() {
                *entry = now;
            }
        }
    }

    fn selected<'a>(&'a self, service: &'a Value) -> impl Iterator<Item = &'a Value> {
        of_namespace(&self.pods, meta(service, "namespace"))
            .iter()
            .map(Arc::as_ref)
            .filter(|pod| selects(&service["spec"]["selector"], &pod["metadata"]["labels"]))
    }
}

/// Those of one namespace in a list by namespace.
fn of_namespace<'a>(list: &'a [Arc<Value>], namespace: &str) -> &'a [Arc<Value>] {
    let from = list.partition_point(|object| meta(object, "namespace") < namespace);
    let rest = &list[from..];
    &rest[..rest.partition_point(|object| meta(object, "namespace") == namespace)]
}

/// The service account that a pod runs as.
pub(super) fn account(pod: &Value) -> String {
    pod["spec"]["serviceAccountName"]
        .as_str()
        .filter(|name| !name.is_empty())
        .unwrap_or("default")
        .to_owned()
}

/// Splits `NAME.NAMESPACE.svc:PORT`, as addresses of istiod are written.
pub(super) fn service_of_address(address: &str) -> Option<ServiceKey> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let mut parts = host.split('.');
    let (name, namespace, svc) = (parts.next()?, parts.next()?, parts.next()?);
    (svc == "svc").then(|| (namespace.to_owned(), name.to_owned()))
}

fn key(service: &Value) -> ServiceKey {
    (
        meta(service, "namespace").to_owned(),
        meta(service, "name").to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn world(ready: &str) -> World {
        World {
            services: vec![Arc::new(
                json!({"metadata": {"namespace": "a", "name": "s"}, "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}}),
            )],
            pods: vec![Arc::new(json!({
                "metadata": {"namespace": "a", "name": "p", "uid": "u", "labels": {"app": "x"}},
                "spec": {"serviceAccountName": "sa"},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }))],
        }
    }

    #[test]
    fn only_ready_pods_are_behind_a_service() {
        assert_eq!(
            world("True").endpoints("a", "s").unwrap(),
            BTreeSet::from(["u"])
        );
        assert!(world("False").endpoints("a", "s").unwrap().is_empty());
        assert_eq!(
            world("True").endpoints("a", "t").unwrap_err(),
            "service \"t\" not found"
        );
    }

    #[test]
    fn a_service_keeps_its_accounts_while_its_pods_are_replaced() {
        let mut accounts = Accounts::new();
        let mut world = world("True");
        world.note_accounts(&mut accounts);
        world.pods.clear();
        world.note_accounts(&mut accounts);
        let key = ("a".to_owned(), "s".to_owned());
        assert_eq!(
            accounts[&key],
            BTreeSet::from([("a".to_owned(), "sa".to_owned())])
        );
        world.services.clear();
        world.note_accounts(&mut accounts);
        assert!(accounts.is_empty());
    }

    #[test]
    fn addresses_of_services_are_told_from_others() {
        let key = |ns: &str, name: &str| Some((ns.to_owned(), name.to_owned()));
        assert_eq!(
            service_of_address("istiod-r.istio-system.svc:15012"),
            key("istio-system", "istiod-r")
        );
        assert_eq!(service_of_address("meshca.googleapis.com:443"), None);
    }
}

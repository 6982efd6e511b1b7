//! The mesh on a cluster without controllers: pods are put there by hand, so that each rule is seen
//! by itself. The whole, with kubelet and HTTP, is tested in `tests/integration/twin.rs`.

mod orders;
mod rules;

use serde_json::{Value, json};

use super::*;
use crate::twin::asmcli::package::{self, PackageParams, Request};
use crate::twin::controllers::PodLifecycle;
use crate::twin::kube::ServiceRef;
use manifests::{KindInfo, RevisionSpec, shared_objects, suffixed};

const FLEET: &str = "f";

/// A cluster with a mesh, driven by hand.
struct Lab {
    kube: Kube,
    mesh: Mesh,
    params: PackageParams,
    pods: std::cell::Cell<u32>,
}

impl Lab {
    async fn new() -> Lab {
        Lab::with(PackageParams {
            native_sidecars: false,
            aliases: true,
            ca_server: true,
            replicas: 1,
        })
        .await
    }

    /// Speed 1000: the kubelet's lag takes 30 to 90 ms.
    async fn with(params: PackageParams) -> Lab {
        Lab::at(1000.0, params).await
    }

    async fn at(speed: f64, params: PackageParams) -> Lab {
        let kube = Kube::new(1);
        let mesh = Mesh::new(kube.clone(), SimClock::new(speed), 1, Vec::new()).unwrap();
        let lab = Lab {
            kube,
            mesh,
            params,
            pods: std::cell::Cell::new(0),
        };
        for namespace in ["istio-system", "shop", "pay"] {
            lab.create(
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            )
            .await;
        }
        for object in shared_objects("default") {
            lab.create(object).await;
        }
        for (namespace, name) in [("shop", "web"), ("shop", "cart"), ("pay", "api")] {
            lab.create(json!({"apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": namespace}}))
                .await;
        }
        for (namespace, name) in [("shop", "web"), ("pay", "api")] {
            lab.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                "spec": {"selector": {"app": name}, "ports": [{"port": 8080}]}})).await;
        }
        lab
    }

    async fn create(&self, object: Value) {
        let info = KindInfo::of(&object).unwrap();
        let namespace = if info.namespaced {
            meta(&object, "namespace").to_owned()
        } else {
            String::new()
        };
        self.kube
            .create(&info.resource(), &namespace, object.clone())
            .await
            .unwrap_or_else(|e| panic!("{object}: {e:?}"));
    }

    /// Installs a revision and starts its istiod; the pod's name.
    async fn install(&self, revision: &str, ca: &str, options: &[&str]) -> String {
        let request = Request {
            revision: revision.to_owned(),
            ca: ca.to_owned(),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            fleet: FLEET.to_owned(),
            project: FLEET.to_owned(),
            mesh_ca_root: self.mesh.mesh_ca_root(),
            ..Request::default()
        };
        let operator = package::operator(&self.params, &request).unwrap();
        let spec: RevisionSpec = package::revision(revision, &self.params, &operator);
        for object in spec
            .objects()
            .into_iter()
            .filter(|o| o["kind"] != "IstioOperator")
        {
            self.create(object).await;
        }
        self.start_istiod(revision).await
    }

    async fn start_istiod(&self, revision: &str) -> String {
        let deployment = self
            .kube
            .get(
                "deployments.apps",
                "istio-system",
                &suffixed("istiod", revision),
            )
            .unwrap();
        self.run(
            "istio-system",
            &suffixed("istiod", revision),
            deployment["spec"]["template"].clone(),
        )
        .await
        .unwrap()
    }

    /// Asks the revision's webhook for a pod of `app` and runs what comes back.
    async fn inject(&self, revision: &str, namespace: &str, app: &str) -> Result<String, String> {
        let pod = json!({
            "metadata": {"labels": {"app": app}, "ownerReferences": [{"kind": "ReplicaSet", "name": format!("{app}-1"), "controller": true}]},
            "spec": {"serviceAccountName": app, "containers": [{"name": "app", "image": "app"}]},
        });
        let service = ServiceRef {
            namespace: "istio-system".to_owned(),
            name: suffixed("istiod", revision),
            path: "/inject".to_owned(),
            port: 443,
        };
        let review = json!({"request": {"namespace": namespace, "object": pod}});
        let injected = self
            .mesh
            .webhooks()
            .call(&service, &review)
            .await?
            .patch
            .expect("injected");
        self.run(
            namespace,
            app,
            json!({"metadata": injected["metadata"], "spec": injected["spec"]}),
        )
        .await
    }

    /// What scheduler and kubelet do.
    async fn run(&self, namespace: &str, name: &str, template: Value) -> Result<String, String> {
        self.pods.set(self.pods.get() + 1);
        let name = format!("{name}-{}", self.pods.get());
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
        pod["metadata"]["name"] = json!(name);
        pod["metadata"]["namespace"] = json!(namespace);
        if let Some(meta) = pod["metadata"].as_object_mut() {
            meta.remove("ownerReferences");
        }
        let pod = self
            .kube
            .create("pods", namespace, pod)
            .await
            .map_err(|e| format!("{e:?}"))?;
        self.mesh.started(&pod).await;
        self.mesh
            .ready(&pod)
            .await
            .map_err(|reason| format!("{name}: {reason}"))?;
        self.kube
            .update_status("pods", namespace, &name, |pod| {
                pod["status"] = json!({"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]});
            })
            .map_err(|e| format!("{e:?}"))?;
        self.mesh.live_set_changed().await;
        Ok(name)
    }

    async fn stop(&self, namespace: &str, name: &str) {
        let pod = self.kube.get("pods", namespace, name).unwrap();
        self.kube.remove("pods", namespace, name).unwrap();
        self.mesh.stopped(&pod).await;
        self.mesh.live_set_changed().await;
    }

    fn proxy<T>(&self, namespace: &str, name: &str, read: impl Fn(&Proxy) -> T) -> T {
        let pod = self.kube.get("pods", namespace, name).unwrap();
        read(&self.mesh.state().proxies[meta(&pod, "uid")])
    }

    /// `SIGNER trusts ROOTS`, by the names that roots get in order of appearance.
    fn standing(&self, namespace: &str, name: &str) -> String {
        let roots = super::held(&self.mesh.0.common.roots).clone();
        self.proxy(namespace, name, |proxy| class(&roots, proxy))
            .split(", accepts")
            .next()
            .unwrap()
            .to_owned()
    }

    /// Failures of each ordered pair of workloads since the last call.
    async fn failures(&self) -> Vec<String> {
        let figures = self.mesh.prober().checkpoint("").await;
        assert!(figures.made > 0);
        let failed = figures.pairs.iter().filter(|pair| pair.count.failed > 0);
        failed
            .map(|pair| format!("{}>{}", pair.client, pair.server))
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.mesh.stop();
    }
}

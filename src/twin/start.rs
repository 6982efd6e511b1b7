//! From a scenario to a mesh where all is Ready: the cluster without its HTTP side.
//!
//! Everything is created through the API's own rules (defaults, validation, admission), in the order in
//! which an operator would: control plane, further revisions, applications, gateways.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::TwinError;
use super::asmcli::package::{self, PackageParams, Request};
use super::clock::SimClock;
use super::controllers::{Controllers, Options, in_ready_set};
use super::kube::Kube;
use super::mesh::manifests::{DEFAULT_REVISION, ISTIO_SYSTEM, RevisionSpec, shared_objects};
use super::mesh::{Mesh, operators_cacerts};
use super::process::Containers;
use super::scenario::{InstalledRevision, Scenario, application_objects, gateway_objects};
use crate::pki::mint::Authority;

/// Real time in which one more pod has to become Ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Real time between two looks at what is Ready.
const PAUSE: Duration = Duration::from_millis(10);
/// How many of those that are not are named.
const SHOWN: usize = 5;
/// Where the twin's clusters are said to be: project and location.
const PLACE: (&str, &str) = ("twin-project", "us-central1-a");

/// Name of a cluster's context, as gcloud makes it.
pub(super) fn context_of(cluster: &str) -> String {
    let (project, location) = PLACE;
    format!("gke_{project}_{location}_{cluster}")
}

/// A cluster with its controllers and its mesh.
pub(super) struct Core {
    /// Its name.
    name: String,
    pub(super) kube: Kube,
    pub(super) mesh: Mesh,
    /// What runs in the pods.
    pub(super) containers: Containers,
    controllers: Option<Controllers>,
    clock: SimClock,
    seed: u64,
}

impl Core {
    /// A cluster with nothing in it and nothing running; one more of the mesh of `first`, if that is given.
    pub(super) fn new(
        name: &str,
        scenario: &Scenario,
        first: Option<&Mesh>,
    ) -> Result<Core, TwinError> {
        let kube = Kube::new(scenario.seed);
        let clock = SimClock::new(scenario.speed);
        let (seed, faults) = (scenario.seed, scenario.faults.admin.clone());
        let mesh = match first {
            Some(first) => first.join(kube.clone(), clock, seed, &context_of(name)),
            None => Mesh::new(kube.clone(), clock, seed, faults)
                .map_err(|e| failed("mint the new CA", e))?,
        };
        kube.set_webhooks(mesh.webhooks());
        let containers = Containers::new(kube.clone(), clock);
        containers.set_network(Arc::new(mesh.clone()));
        Ok(Core {
            name: name.to_owned(),
            containers,
            kube,
            mesh,
            controllers: None,
            clock,
            seed: scenario.seed,
        })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Lets controllers and mesh run. `cluster_ca` is the API server's CA as PEM.
    pub(super) fn run(&mut self, cluster_ca: String) {
        let options = Options {
            seed: self.seed,
            cluster_ca,
            containers: Some(self.containers.clone()),
            ..Options::default()
        };
        let mesh = Arc::new(self.mesh.clone());
        self.controllers = Some(Controllers::start(
            self.kube.clone(),
            self.clock,
            mesh,
            &options,
        ));
        self.mesh.start();
    }

    /// Creates what the scenario has and waits until it is Ready. `root` is that of an old CA that is plugged in; `remotes` are
    /// the Secrets that tell istiod of other clusters.
    pub(super) async fn populate(
        &self,
        scenario: &Scenario,
        root: Option<&Authority>,
        remotes: Vec<Value>,
    ) -> Result<(), TwinError> {
        self.create(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ISTIO_SYSTEM}}),
        )
        .await?;
        if let Some(root) = root {
            let cacerts = operators_cacerts(root, &self.name, Timestamp::now())
                .map_err(|e| failed("mint the old CA", e))?;
            self.create(cacerts).await?;
        }
        self.create_all(remotes).await?;
        let first = first_revision(scenario);
        let last = scenario.revisions.last().map(|revision| &revision.name);
        let mut objects = shared_objects(last.unwrap_or(&first.revision));
        objects.extend(first.objects());
        for revision in &scenario.revisions {
            let spec = self
                .revision(scenario, revision)
                .map_err(|e| failed("install a revision", e))?;
            objects.extend(spec.objects());
            objects.extend(revision.tags.iter().map(|tag| spec.revision_tag(tag)));
        }
        self.create_all(objects).await?;
        self.wait_until_ready().await?;
        let mut objects = Vec::new();
        for (name, namespace) in &scenario.namespaces {
            objects.extend(application_objects(name, namespace));
        }
        objects.extend(scenario.gateways.iter().flat_map(gateway_objects));
        objects.extend(scenario.objects.iter().cloned());
        self.create_all(objects).await?;
        self.wait_until_ready().await
    }

    /// Ends controllers and mesh.
    pub(super) async fn stop(&mut self) {
        if let Some(controllers) = self.controllers.take() {
            // A panic of a controller has been logged where it happened.
            let _ = controllers.stop().await;
        }
        self.mesh.stop();
        self.containers.end();
    }

    fn revision(
        &self,
        scenario: &Scenario,
        revision: &InstalledRevision,
    ) -> Result<RevisionSpec, String> {
        let (project, location) = PLACE;
        let request = Request {
            revision: revision.name.clone(),
            ca: revision.ca.clone(),
            options: revision.options.clone(),
            overlays: Vec::new(),
            project: project.to_owned(),
            location: location.to_owned(),
            cluster: self.name.clone(),
            fleet: scenario.fleet_id.clone(),
            mesh_ca_root: self.mesh.mesh_ca_root(),
        };
        let params = PackageParams::from(scenario);
        let operator = package::operator(&params, &request)?;
        Ok(package::revision(&revision.name, &params, &operator))
    }

    async fn create_all(&self, objects: Vec<Value>) -> Result<(), TwinError> {
        for object in objects {
            self.create(object).await?;
        }
        Ok(())
    }

    async fn create(&self, object: Value) -> Result<(), TwinError> {
        let name = format!(
            "{} `{}`",
            object["kind"].as_str().unwrap_or_default(),
            object["metadata"]["name"].as_str().unwrap_or_default()
        );
        let step = format!("create {name}");
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(g, _)| g);
        let resource = self
            .kube
            .registry()
            .by_kind(group, text("kind"))
            .ok_or_else(|| failed(&step, "it is of an unknown kind"))?;
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.kube
            .create(&resource.name(), &namespace, object)
            .await
            .map_err(|status| failed(&step, status.message))?;
        Ok(())
    }

    /// Waits until every workload has all its pods of its newest template Ready.
    async fn wait_until_ready(&self) -> Result<(), TwinError> {
        let mut changes = self.kube.changes();
        let (mut most, mut since) = (0, Instant::now());
        loop {
            let workloads = self.unready_workloads();
            if workloads.is_empty() {
                return Ok(());
            }
            let pods = self.kube.list("pods", None);
            let (ready, unready): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| in_ready_set(pod));
            if ready.len() > most {
                (most, since) = (ready.len(), Instant::now());
            }
            if since.elapsed() >= PATIENCE {
                let pods = unready
                    .iter()
                    .map(|pod| format!("pod {}: {}", full_name(pod), trouble(pod)));
                let reason = format!(
                    "nothing became Ready for {} s: {}; {}",
                    PATIENCE.as_secs(),
                    some_of(workloads),
                    some_of(pods.collect())
                );
                return Err(failed("become Ready", reason));
            }
            // Hundreds of pods change thousands of times on their way.
            tokio::time::sleep(PAUSE).await;
            let _ = tokio::time::timeout(PATIENCE, changes.changed()).await;
        }
    }

    /// Workloads that are not there yet.
    fn unready_workloads(&self) -> Vec<String> {
        let mut unready = Vec::new();
        for resource in ["daemonsets.apps", "deployments.apps", "statefulsets.apps"] {
            let all = self.kube.list(resource, None);
            let names = all.iter().filter(|object| !rolled_out(object));
            unready.extend(names.map(|object| format!("{resource} {}", full_name(object))));
        }
        unready
    }
}

/// The first few of many names.
fn some_of(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

impl Drop for Core {
    fn drop(&mut self) {
        self.mesh.stop();
        self.containers.end();
    }
}

/// The control plane that is there before the migration: Istio's own, without a revision label, its
/// CA server on.
fn first_revision(scenario: &Scenario) -> RevisionSpec {
    let native = scenario.sidecars == super::scenario::Sidecars::Native;
    let env = if native {
        json!({"ENABLE_NATIVE_SIDECARS": true})
    } else {
        json!({})
    };
    RevisionSpec {
        revision: DEFAULT_REVISION.to_owned(),
        tag: "1.23.3".to_owned(),
        hub: "registry.example/istio".to_owned(),
        replicas: scenario.istiod_replicas,
        mesh_config: json!({
            "defaultConfig": {"discoveryAddress": "istiod.istio-system.svc:15012"},
            "enablePrometheusMerge": true,
            "rootNamespace": ISTIO_SYSTEM,
            "trustDomain": scenario.trust_domain,
        }),
        values: json!({
            "global": {"caAddress": "", "meshID": scenario.trust_domain, "pilotCertProvider": "istiod"},
            "pilot": {"env": env},
        }),
    }
}

/// All pods are of the newest template and Ready.
fn rolled_out(object: &Value) -> bool {
    let status = |field: &str| object["status"][field].as_u64().unwrap_or(0);
    let observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let counts = if let Some(wanted) = object["spec"]["replicas"].as_u64() {
        ["updatedReplicas", "replicas", "readyReplicas"].map(|field| status(field) == wanted)
    } else {
        let wanted = status("desiredNumberScheduled");
        ["updatedNumberScheduled", "numberReady", "numberAvailable"]
            .map(|field| wanted > 0 && status(field) == wanted)
    };
    observed && counts.iter().all(|fits| *fits)
}

fn full_name(object: &Value) -> String {
    let name = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", name("namespace"), name("name"))
}

/// The first condition of a pod that does not hold, as the kubelet words it.
fn trouble(pod: &Value) -> String {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|c| c["status"] != "True")
        .find_map(|c| c["message"].as_str().or(c["reason"].as_str()))
        .map_or_else(|| "nothing is known of it".to_owned(), str::to_owned)
}

pub(super) fn failed(step: &str, reason: impl std::fmt::Display) -> TwinError {
    TwinError::Start {
        step: step.to_owned(),
        reason: reason.to_string(),
    }
}

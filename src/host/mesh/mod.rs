//! `mesh::…`: what runs in the mesh, what its proxies hold, and the gates between the phases.
//!
//! `mesh::connect()` gives a handle; each question reads the mesh anew, because a verdict has an
//! age, except of a snapshot, which has a short life. Questions answer with plain maps; checks answer nothing when they pass and throw a refusal
//! with its evidence when they do not.

mod back;
mod identity;
mod inventory;
mod keep;
mod root_users;
mod secrets;
mod shape;
mod snapshot;
mod tags;
mod tls;
mod traffic;
mod trust_domains;
mod why;

use std::sync::Arc;

use jiff::Timestamp;
use rhai::plugin::{NativeCallContext, export_module};
use rhai::{Array, Dynamic, ImmutableString, Map};
use serde::Deserialize;

use self::snapshot::Snapshot;
use super::time::reasonable;
use super::world::World;
use crate::cluster::{Cluster, Refusal};
use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, FailureKind};
use crate::mesh::ca_secrets::CaSecrets;
use crate::mesh::effect::Effect;
use crate::mesh::gate::{self, Finding, Gate, View};
use crate::mesh::injection::{Injector, Labels};
use crate::mesh::matrix::Matrix;
use crate::mesh::read::Ask;
use crate::mesh::survey::SurveyOptions;
use crate::mesh::{MeshError, ca, names, record};
use crate::pki::Bundle;

/// A mesh as scripts hold it: one cluster, read anew by each question.
#[derive(Clone)]
pub struct Mesh {
    cluster: Cluster,
    world: World,
    options: SurveyOptions,
    snapshot: Option<Snapshot>,
}

impl Mesh {
    /// All of it, with whom the proxies accept.
    fn view(&self) -> Reply<Arc<View>> {
        self.look(Ask::Everything)
    }

    /// With no more asked of the proxies than what is needed; a snapshot answers from what it holds.
    fn look(&self, ask: Ask) -> Reply<Arc<View>> {
        match &self.snapshot {
            Some(snapshot) => snapshot.answer(&self.world, ask),
            None => self.read(ask).map(Arc::new),
        }
    }

    fn read(&self, ask: Ask) -> Reply<View> {
        let mut options = self.options.clone();
        options.read.ask = ask;
        let (clusters, cas) = (self.world.clusters(), self.world.cas());
        self.wait(View::take(&self.cluster, clusters, cas, &options))
    }

    fn wait<T>(&self, call: impl Future<Output = Result<T, MeshError>>) -> Reply<T> {
        let answer = self.world.wait(async { call.await.map_err(failure) });
        self.world.gatekeeper().tell(&self.options.dumps);
        answer
    }

    fn ask(&self, gate: Gate, view: &View, findings: &[Finding]) -> Reply<()> {
        let rests_on = view.survey.rests_on_dumps();
        self.world
            .gatekeeper()
            .ask(gate, findings, rests_on.into_iter().collect())
            .map_err(|refusal| kit::fail(refused(&refusal)))
    }
}

/// A mesh error as scripts see it.
pub(super) fn failure(error: MeshError) -> Failure {
    let hint = error.hint();
    match error {
        MeshError::Cluster(error) => error.into(),
        other => {
            let mut failure = Failure::new(FailureKind::Cluster, other.to_string());
            failure.hint = hint;
            failure
        }
    }
}

fn refused(refusal: &Refusal) -> Failure {
    let mut failure = Failure::refused(refusal.code.clone(), negated(&refusal.title));
    failure.evidence.clone_from(&refusal.evidence);
    failure.hint = Some(refusal.hint.clone());
    failure
}

/// A gate's title says what must hold; a refusal says that it is not proved.
fn negated(title: &str) -> String {
    format!("not proved that {title}")
}

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_type_with_name::<Mesh>("Mesh");
    engine.register_type_with_name::<tls::TlsWatch>("TlsWatch");
    let mut module = rhai::exported_module!(words);
    back::add_to(&mut module);
    identity::add_to(&mut module);
    inventory::add_to(&mut module);
    keep::add_to(&mut module);
    root_users::add_to(&mut module);
    secrets::add_to(&mut module);
    snapshot::add_to(&mut module);
    tags::add_to(&mut module);
    tls::add_to(&mut module);
    traffic::add_to(&mut module);
    trust_domains::add_to(&mut module);
    why::add_to(&mut module);
    engine.register_static_module("mesh", module.into());
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConnectOptions {
    read_timeout: Option<f64>,
    settle: Option<f64>,
    concurrency: Option<usize>,
}

/// The mesh, its proxies and its gates.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// The mesh of the cluster that the run was told.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// assert(m.proxies().len() > 0, "there are proxies");
    /// ```
    #[rhai_fn(return_raw, name = "connect", volatile)]
    pub fn connect_plain(ctx: NativeCallContext) -> Reply<Mesh> {
        connect(ctx, Map::new())
    }

    /// The mesh of the cluster that the run was told, with other bounds for reading it.
    ///
    /// - `options`: `read_timeout`: seconds for one proxy (default 30); `settle`: seconds to wait for
    ///   pods that start or go away (default 30); `concurrency`: proxies read at once (default 16).
    ///
    /// Throws `script` for an unknown option.
    ///
    /// ```rhai
    /// let m = mesh::connect(#{ read_timeout: 5, settle: 10 });
    /// assert(m.namespaces().len() >= 2, "namespaces with proxies");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn connect(ctx: NativeCallContext, options: Map) -> Reply<Mesh> {
        let given: ConnectOptions = kit::options(
            "mesh::connect",
            options,
            &["read_timeout", "settle", "concurrency"],
        )?;
        let world = World::of(&ctx)?;
        let mut options = SurveyOptions {
            dumps: world.dumps().clone(),
            ..SurveyOptions::default()
        };
        if let Some(seconds) = given.read_timeout {
            options.read.limits.total = reasonable("`read_timeout`", seconds)?;
        }
        if let Some(seconds) = given.settle {
            options.settle = reasonable("`settle`", seconds)?;
        }
        if let Some(concurrency) = given.concurrency {
            options.read.concurrency = concurrency.max(1);
        }
        Ok(Mesh {
            cluster: world.cluster()?,
            world,
            options,
            snapshot: None,
        })
    }

    /// Every proxy that is in a pod, by namespace and name, with what it holds and what that means.
    ///
    /// Answers maps of `namespace`, `pod`, `workload` (`#{kind, namespace, name}`), `kind`,
    /// `revision`, `ready`, `trusts` (names of the CAs it trusts), `other_roots` (fingerprints
    /// without a name), `signer`, `trust_domain`, `started` (when its container did), `issued` (since when its certificate is
    /// valid), `expires`, `expiry`, `dump`: from what dump it is judged, as
    /// `from a dump, at most 3 h old`, or `()` for one that was asked itself, and `unknown`: the reason why its trust
    /// cannot be told, or `()`.
    ///
    /// ```rhai
    /// for p in mesh::connect().proxies() { assert(p.trusts.contains("CITADEL"), p.pod); }
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn proxies(mesh: &mut Mesh) -> Reply<Array> {
        let view = mesh.look(Ask::Certificates)?;
        Ok(view
            .survey
            .proxies
            .iter()
            .map(|p| shape::proxy(p, &view.cas, view.survey.taken_at).into())
            .collect())
    }

    /// Pods that belong to the mesh and could not be judged: `#{namespace, pod, reason}` each.
    ///
    /// ```rhai
    /// assert(mesh::connect().unjudged().is_empty(), "all is known");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn unjudged(mesh: &mut Mesh) -> Reply<Array> {
        Ok(mesh
            .look(Ask::Certificates)?
            .survey
            .unjudged
            .iter()
            .map(|u| shape::unjudged(u).into())
            .collect())
    }

    /// Namespaces that have proxies or ask for them: `#{name, revision, revisions}` each, where
    /// `revision` is what would inject new pods (or `()`) and `revisions` are those of its proxies.
    ///
    /// ```rhai
    /// let names = mesh::connect().namespaces().map(|n| n.name);
    /// assert(names.contains("shop"), names.to_string());
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn namespaces(mesh: &mut Mesh) -> Reply<Array> {
        let view = mesh.look(Ask::Nothing)?;
        let none = Labels::new();
        Ok(view
            .survey
            .meshed_namespaces()
            .into_iter()
            .map(|name| {
                let labels = view.survey.namespaces.get(&name).unwrap_or(&none);
                let injector = match view.survey.injection.injector(&name, labels, &none) {
                    Injector::Revision(revision) => Dynamic::from(revision),
                    Injector::Nobody | Injector::Several(_) => Dynamic::UNIT,
                };
                shape::namespace(&name, injector, view.survey.in_namespace(&name)).into()
            })
            .collect())
    }

    /// The installed revisions of the control plane: `#{name, ready, trust_domain, aliases, signer,
    /// distributes, ca_server, root}` each.
    ///
    /// ```rhai
    /// let all = mesh::connect().revisions();
    /// assert(all[0].name == "default" && all[0].ready, all.to_string());
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn revisions(mesh: &mut Mesh) -> Reply<Array> {
        let view = mesh.look(Ask::Nothing)?;
        Ok(view
            .revisions
            .iter()
            .map(|r| shape::revision(r, &view.cas).into())
            .collect())
    }

    /// Revisions of which anything is left: an istiod, an injector, an `IstioOperator`.
    ///
    /// ```rhai
    /// assert(mesh::connect().traces() == ["default"], "one revision");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn traces(mesh: &mut Mesh) -> Reply<Array> {
        let view = mesh.look(Ask::Nothing)?;
        let mut all: Vec<String> = view.revisions.iter().map(|r| r.name.clone()).collect();
        all.extend(view.survey.injection.revisions());
        all.sort();
        all.dedup();
        Ok(all.into_iter().map(Dynamic::from).collect())
    }

    /// The workloads of a namespace whose live proxies are not of one of these revisions, or that
    /// lack a proxy they should have: `#{kind, namespace, name, pods}` each.
    ///
    /// - `namespace`: its name.
    /// - `revisions`: names of revisions that are good enough.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// assert(m.behind("shop", ["default"]).is_empty(), "all are of the default revision");
    /// assert(!m.behind("shop", ["other"]).is_empty(), "none is of another");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn behind(mesh: &mut Mesh, namespace: &str, revisions: Array) -> Reply<Array> {
        let wanted = super::texts("revisions", &revisions)?;
        let view = mesh.look(Ask::Nothing)?;
        Ok(shape::behind(&view.survey, namespace, &wanted))
    }

    /// The trust matrix as it is: `#{classes, failing, pairs}`.
    ///
    /// `classes` is a table `#{columns, rows}`: what each class of proxies shows, trusts and accepts,
    /// who is in it, and whether it can call each class (`yes`, `no`, `unknown`, or `-` for what is
    /// no server); `failing` names each pair of workloads that cannot talk, with the side that
    /// refuses and why; `pairs` is how many ordered pairs were judged.
    ///
    /// ```rhai
    /// let matrix = mesh::connect().matrix();
    /// assert(matrix.failing.is_empty() && matrix.pairs > 0, matrix.to_string());
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn matrix(mesh: &mut Mesh) -> Reply<Map> {
        let view = mesh.view()?;
        Ok(shape::matrix(&Matrix::now(
            &view.survey,
            &view.cas,
            Timestamp::now(),
        )))
    }

    /// The fingerprints of a named CA's roots, as hexadecimal SHA-256.
    ///
    /// - `name`: `CITADEL`, `MESHCA`, or one given with `--ca`.
    ///
    /// Throws `script` if no CA has the name.
    ///
    /// ```rhai
    /// assert(mesh::connect().roots("CITADEL")[0].len() == 64, "one SHA-256");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn roots(mesh: &mut Mesh, name: &str) -> Reply<Array> {
        Ok(super::named(mesh, name)?
            .certs()
            .map(|c| c.sha256().to_string().into())
            .collect())
    }

    /// A named CA's roots, as PEM: what `caCertificates` of a mesh's configuration takes.
    ///
    /// - `name`: as for `roots`.
    ///
    /// Throws `script` if no CA has the name.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// assert(cert::certs(m.roots_pem("MESHCA")).map(|c| c.sha256) == m.roots("MESHCA"), "the same");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn roots_pem(mesh: &mut Mesh, name: &str) -> Reply<String> {
        Ok(super::named(mesh, name)?.pem())
    }

    /// Whether a named CA is the one that the CA secret holds now (`cacerts`, or `istio-ca-secret`).
    ///
    /// - `name`: `CITADEL`, `MESHCA`, or one given with `--ca`.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// assert(m.holds_secret("CITADEL") && !m.holds_secret("MESHCA"), "the running CA");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn holds_secret(mesh: &mut Mesh, name: &str) -> Reply<bool> {
        let roots = super::named(mesh, name)?;
        let secrets = mesh.wait(CaSecrets::read(&mesh.cluster))?;
        let held = match secrets.load(Timestamp::now()) {
            Ok(load) => load.map(|load| load.roots).unwrap_or_default(),
            Err(found) => secrets.certs(&found.secret),
        };
        Ok(!held.intersection(&roots).is_empty())
    }

    /// The CA secrets that must go for a CA to be gone, in the order in which to delete them: those that hold a
    /// certificate of it, and those that no running istiod has loaded, which the next one would load in its place.
    ///
    /// - `name`: `CITADEL`, `MESHCA`, or one given with `--ca`.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// assert(m.ca_secrets("CITADEL") == ["istio-ca-secret"], "the running CA is in it");
    /// assert(m.ca_secrets("MESHCA").is_empty(), "and istiod has loaded it");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn ca_secrets(mesh: &mut Mesh, name: &str) -> Reply<Array> {
        let roots = super::named(mesh, name)?;
        let secrets = mesh.wait(CaSecrets::read(&mesh.cluster))?;
        let view = mesh.look(Ask::Nothing)?;
        let must_go = |secret: &&str| {
            let certs = secrets.certs(secret);
            let mut running = view.revisions.iter().filter_map(|r| r.root.as_ref().ok());
            certs.shares_key(&roots) || !running.any(|root| root.shares_key(&certs))
        };
        let names = secrets.names().filter(must_go);
        Ok(names.map(|name| name.to_owned().into()).collect())
    }

    /// Records on the cluster which roots the control plane signs with and which revisions are in
    /// use; a record that is there already stays as it is.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// m.record_start();
    /// assert(cluster::get("configmap", "istio-system", "rootshift") != (), "kept beside istiod");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn record_start(mesh: &mut Mesh) -> Reply<()> {
        let view = mesh.look(Ask::Nothing)?;
        let start = record::Start {
            roots: super::named(mesh, names::CITADEL)?,
            revisions: view.survey.revisions_in_use(),
        };
        mesh.wait(record::record(&mesh.cluster, &start))?;
        Ok(())
    }

    /// The revisions that were in use when the migration started, as recorded then; those in use now
    /// where nothing was recorded.
    ///
    /// ```rhai
    /// assert(mesh::connect().revisions_at_start() == ["default"], "of a mesh that was not touched");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn revisions_at_start(mesh: &mut Mesh) -> Reply<Array> {
        let recorded = mesh.wait(record::start(&mesh.cluster))?;
        let revisions = match recorded {
            Some(start) => start.revisions,
            None => mesh.look(Ask::Nothing)?.survey.revisions_in_use(),
        };
        Ok(revisions.into_iter().map(Dynamic::from).collect())
    }

    /// The API server, context and kubeconfig of the mesh's cluster: `#{context, server, kubeconfig}`,
    /// where `kubeconfig` is `()` inside a cluster.
    ///
    /// ```rhai
    /// assert(mesh::connect().target().context.starts_with("gke_"), "as asmcli wants it");
    /// ```
    #[rhai_fn(global, pure, volatile)]
    pub fn target(mesh: &mut Mesh) -> Map {
        let kubeconfig = mesh
            .cluster
            .kubeconfig_path()
            .map(|p| p.display().to_string());
        let mut map = Map::new();
        map.insert("context".into(), mesh.cluster.context().to_owned().into());
        map.insert("server".into(), mesh.cluster.server().to_owned().into());
        map.insert(
            "kubeconfig".into(),
            kubeconfig.map_or(Dynamic::UNIT, Dynamic::from),
        );
        map
    }

    /// Check RS305: every proxy is judged, valid, and can talk to every other; no namespace has both
    /// injection labels.
    ///
    /// Throws `refused` with the evidence.
    ///
    /// ```rhai
    /// mesh::connect().check_healthy();
    /// assert(true, "it is");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn check_healthy(mesh: &mut Mesh) -> Reply<()> {
        let view = mesh.view()?;
        mesh.ask(gate::HEALTHY, &view, &gate::healthy(&view))
    }

    /// Check RS304: a revision is installed and ready, its proxies will be signed for by `signer` and
    /// will trust all of `trusts`.
    ///
    /// - `revision`: its name.
    /// - `signer`: name of the CA that must sign.
    /// - `trusts`: names of the CAs that must be trusted.
    ///
    /// Throws `refused` with the evidence.
    ///
    /// ```rhai
    /// mesh::connect().check_revision("default", "CITADEL", ["CITADEL"]);
    /// assert(true, "it signs with its own CA");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn check_revision(
        mesh: &mut Mesh,
        revision: &str,
        signer: &str,
        trusts: Array,
    ) -> Reply<()> {
        let trusts = super::texts("trusts", &trusts)?;
        let view = mesh.wait(async {
            let (cluster, world) = (&mesh.cluster, &mesh.world);
            let mut view =
                View::take(cluster, world.clusters(), world.cas(), &mesh.options).await?;
            view.ask_injectors(&mesh.cluster).await;
            Ok(view)
        })?;
        let findings = gate::revision_ready(&view, revision, signer, &trusts);
        mesh.ask(gate::REVISION, &view, &findings)
    }

    /// Check RS301: every proxy of the mesh trusts all of these CAs; unknown is no, and so is a mesh
    /// without a proxy.
    ///
    /// - `cas`: names of CAs.
    ///
    /// Throws `refused` with a line for each proxy that lacks one.
    ///
    /// ```rhai
    /// mesh::connect().check_trusts(["CITADEL"]);
    /// let refusal = ();
    /// try { mesh::connect().check_trusts(["CITADEL", "MESHCA"]); } catch (e) { refusal = e; }
    /// assert(refusal.code == "RS301", "nobody trusts Mesh CA yet");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn check_trusts(mesh: &mut Mesh, cas: Array) -> Reply<()> {
        let wanted = super::texts("cas", &cas)?;
        for name in &wanted {
            super::named(mesh, name)?;
        }
        let view = mesh.look(Ask::Certificates)?;
        let findings = gate::every_proxy_trusts(&view, &wanted);
        mesh.ask(gate::TRUSTS, &view, &findings)
    }

    /// Check RS302: every workload certificate of the mesh is signed by this CA.
    ///
    /// - `ca`: its name.
    ///
    /// Throws `refused` with a line for each that is not.
    ///
    /// ```rhai
    /// mesh::connect().check_signed_by("CITADEL");
    /// assert(true, "all of them are");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn check_signed_by(mesh: &mut Mesh, ca: &str) -> Reply<()> {
        super::named(mesh, ca)?;
        let view = mesh.look(Ask::Certificates)?;
        let findings = gate::every_certificate_signed_by(&view, ca);
        mesh.ask(gate::SIGNED_BY, &view, &findings)
    }

    /// Check RS303: no proxy trusts a root of this CA any more, by fingerprint.
    ///
    /// - `ca`: its name.
    ///
    /// Throws `refused` with a line for each proxy that does.
    ///
    /// ```rhai
    /// mesh::connect().check_root_gone("MESHCA");
    /// assert(true, "it is not there yet");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn check_root_gone(mesh: &mut Mesh, ca: &str) -> Reply<()> {
        let roots = super::named(mesh, ca)?;
        let view = mesh.look(Ask::Certificates)?;
        let findings = gate::root_is_gone(&view, &roots);
        mesh.ask(gate::ROOT_GONE, &view, &findings)
    }

    /// Check RS306: an invalid VirtualService is refused by an istiod, tried by a dry run, wherever a webhook is said to
    /// validate Istio's resources.
    ///
    /// Throws `refused` with the webhooks that do not answer, or let it pass.
    ///
    /// ```rhai
    /// mesh::connect().check_validation();
    /// assert(true, "nobody validates here, or istiod does");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn check_validation(mesh: &mut Mesh) -> Reply<()> {
        let findings = mesh.world.wait(gate::validation_answers(&mesh.cluster))?;
        let keeper = mesh.world.gatekeeper();
        let settled = keeper.ask(gate::VALIDATION, &findings, Vec::new());
        settled.map_err(|refusal| kit::fail(super::refused(&refusal)))
    }

    /// Check RS307: NetworkPolicies leave what is not of this revision yet a way to its istiod and to its CA.
    ///
    /// - `revision`: its name.
    ///
    /// Throws `refused` with a line for each workload that has none, or of which that is not known.
    ///
    /// ```rhai
    /// mesh::connect().check_network("default");
    /// let refusal = ();
    /// try { mesh::connect().check_network("none"); } catch (e) { refusal = e; }
    /// assert(refusal.code == "RS307", "of a revision that is not there nothing is known");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn check_network(mesh: &mut Mesh, revision: &str) -> Reply<()> {
        let view = mesh.view()?;
        let findings = mesh.wait(gate::network_is_open(&mesh.cluster, &view, revision))?;
        mesh.ask(gate::NETWORK, &view, &findings)
    }

    /// Asks, before anything is deleted, the gates that guard the deletion of a secret of
    /// `istio-system`: whether certificates depend on it (RS201), and whether istiod would make a new
    /// root without it (RS202).
    ///
    /// - `name`: `cacerts` or `istio-ca-secret`.
    ///
    /// Throws `refused` with the evidence.
    ///
    /// ```rhai
    /// let refusal = ();
    /// try { mesh::connect().foresee_deletion("istio-ca-secret"); } catch (e) { refusal = e; }
    /// assert(refusal.code == "RS201", "the certificates in use are signed with it");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn foresee_deletion(mesh: &mut Mesh, name: &str) -> Reply<()> {
        super::foresee(mesh, vec![name.to_owned()])
    }

    /// As `foresee_deletion(name)`, for secrets that will be deleted one after the other: whether istiod makes a new
    /// root is asked of what is left in the end.
    ///
    /// - `names`: `cacerts`, `istio-ca-secret`, or both.
    ///
    /// Throws `refused` with the evidence.
    ///
    /// ```rhai
    /// let refusal = ();
    /// try { mesh::connect().foresee_deletion(["cacerts", "istio-ca-secret"]); } catch (e) { refusal = e; }
    /// assert(refusal.code == "RS201", "the certificates in use are signed with it");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile, name = "foresee_deletion")]
    pub fn foresee_deletions(mesh: &mut Mesh, names: Array) -> Reply<()> {
        let names = super::texts("foresee_deletion", &names)?;
        super::foresee(mesh, names)
    }

    /// Lets gate RS202 pass: istiod may make a new root of its own when it starts next.
    ///
    /// - `reason`: who decided so, recorded with the gate.
    ///
    /// ```rhai
    /// mesh::connect().accept_new_root("example");
    /// assert(true, "recorded when the gate is asked");
    /// ```
    #[rhai_fn(global, pure, volatile)]
    pub fn accept_new_root(mesh: &mut Mesh, reason: &str) {
        mesh.world.gatekeeper().accept(gate::NEW_ROOT, reason);
    }
}

fn foresee(mesh: &Mesh, names: Vec<String>) -> Reply<()> {
    let effect = Effect::CaSecretRemoval { names };
    let findings = mesh.wait(gate::review(
        &mesh.cluster,
        mesh.world.clusters(),
        mesh.world.cas(),
        &effect,
        &mesh.options,
    ))?;
    let settled = mesh.world.gatekeeper().settle(&findings);
    settled.map_err(|refusal| kit::fail(refused(&refusal)))
}

fn texts(what: &str, values: &Array) -> Reply<Vec<String>> {
    values
        .iter()
        .map(|v| {
            v.clone()
                .try_cast::<ImmutableString>()
                .map(|s| s.to_string())
                .ok_or_else(|| {
                    kit::fail(Failure::script(format!(
                        "`{what}` is an array of names, but holds a {}",
                        v.type_name()
                    )))
                })
        })
        .collect()
}

fn named(mesh: &Mesh, name: &str) -> Reply<Bundle> {
    let cas = mesh.wait(ca::find(&mesh.cluster, mesh.world.cas()))?;
    cas.iter()
        .find(|ca| ca.name == name)
        .map(|ca| ca.roots.clone())
        .ok_or_else(|| {
            let known: Vec<_> = cas.iter().map(|ca| format!("`{}`", ca.name)).collect();
            kit::fail(
                Failure::script(format!("no CA is named `{name}`")).hint(format!(
                    "named are {}; name another with --ca {name}=FILE",
                    known.join(", ")
                )),
            )
        })
}

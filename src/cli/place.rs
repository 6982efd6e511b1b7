//! Where a session runs: real clusters, or a twin; and the CAs that were named.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::BoxFuture;
use serde_json::Value;
use tempfile::TempDir;

use super::{args::SessionArgs, installers, twin};
use crate::{
    cluster::{Cluster, Target},
    effect::files,
    engine::Failure,
    journal::{Mode, PairFigures, TargetRecord, TrafficFigures, TwinRecord},
    mesh::dumps::Dumps,
    pki::{Bundle, NamedCa},
    run::TrafficSource,
    twin::{Figures, Prober, Twin, TwinOptions},
};

/// A place that is ready to be used.
pub(super) struct Place {
    pub(super) clusters: Vec<Cluster>,
    /// Why there is no cluster, where none was asked for and none was found.
    pub(super) no_cluster: Option<Failure>,
    pub(super) targets: Vec<TargetRecord>,
    pub(super) cas: Vec<NamedCa>,
    pub(super) dumps: Arc<Dumps>,
    pub(super) twin: Option<TwinPlace>,
}

/// What comes with a twin.
pub(super) struct TwinPlace {
    pub(super) twin: Twin,
    /// The directory with the stand-in for asmcli.
    pub(super) programs: TempDir,
}

impl Place {
    /// Connects, or starts the twin. `needed`: a cluster that cannot be had is an error, also where
    /// none was named.
    ///
    /// `run` is the id of the run: it is in the user agent of each request, and so in the audit log.
    pub(super) async fn open(args: &SessionArgs, needed: bool, run: &str) -> Result<Self, Failure> {
        let user_agent = format!("rootshift/{} (run {run})", env!("CARGO_PKG_VERSION"));
        let mut place = Self {
            clusters: Vec::new(),
            no_cluster: None,
            targets: Vec::new(),
            cas: Vec::new(),
            dumps: dumps(&args.dump)?,
            twin: None,
        };
        for (name, file) in &args.ca {
            place.cas.push(named_ca(name, Path::new(file))?);
        }
        match &args.twin {
            Some(scenario) => place.start_twin(scenario, args, &user_agent).await?,
            None => place.connect(args, needed, &user_agent).await?,
        }
        Ok(place)
    }

    /// Who makes handshakes here.
    pub(super) fn traffic(&self) -> Option<Arc<dyn TrafficSource>> {
        let place = self.twin.as_ref()?;
        Some(Arc::new(TwinTraffic(place.twin.traffic())))
    }

    /// What the scenario gives to scripts.
    pub(super) fn params(&self) -> Option<Value> {
        let place = self.twin.as_ref()?;
        Some(Value::Object(place.twin.scenario_params()))
    }

    /// Ends what was started.
    pub(super) async fn close(self) {
        if let Some(place) = self.twin {
            place.twin.stop().await;
        }
    }

    async fn connect(
        &mut self,
        args: &SessionArgs,
        needed: bool,
        user_agent: &str,
    ) -> Result<(), Failure> {
        let contexts: Vec<Option<String>> = if args.context.is_empty() {
            vec![None]
        } else {
            args.context.iter().cloned().map(Some).collect()
        };
        for context in contexts {
            let target = Target {
                kubeconfig: args.kubeconfig.clone(),
                context,
                user_agent: user_agent.to_owned(),
                ..as_whom(args)
            };
            match Cluster::connect(&target).await {
                Ok(cluster) => self.add(cluster, None),
                Err(error) if needed || args.kubeconfig.is_some() => return Err(error.into()),
                Err(error) => self.no_cluster = Some(error.into()),
            }
        }
        Ok(())
    }

    async fn start_twin(
        &mut self,
        scenario: &str,
        args: &SessionArgs,
        user_agent: &str,
    ) -> Result<(), Failure> {
        let programs = installers::directory().map_err(|e| Failure::environment(e.to_string()))?;
        let options = TwinOptions {
            seed: args.seed,
            ..TwinOptions::default()
        };
        let (twin, _) = twin::start(scenario, options).await?;
        for (name, pem) in twin.named_cas() {
            // A name given on the command line is meant.
            if !self.cas.iter().any(|ca| ca.name == name) {
                let (roots, _) = Bundle::from_pem(&pem);
                self.cas.push(NamedCa { name, roots });
            }
        }
        for context in twin.contexts() {
            let target = Target {
                kubeconfig: Some(twin.kubeconfig_path().to_owned()),
                context: Some(context.to_owned()),
                user_agent: user_agent.to_owned(),
                ..as_whom(args)
            };
            let record = TwinRecord {
                scenario: scenario.to_owned(),
                seed: twin.seed(),
            };
            self.add(Cluster::connect(&target).await?, Some(record));
        }
        self.twin = Some(TwinPlace { twin, programs });
        Ok(())
    }

    fn add(&mut self, cluster: Cluster, twin: Option<TwinRecord>) {
        tracing::debug!(
            context = cluster.context(),
            server = cluster.server(),
            "connected"
        );
        self.targets.push(TargetRecord {
            context: cluster.context().to_owned(),
            server: cluster.server().to_owned(),
            twin,
        });
        self.clusters.push(cluster);
    }
}

/// As whom everything is asked.
fn as_whom(args: &SessionArgs) -> Target {
    Target {
        impersonate: args.act_as.clone(),
        impersonate_groups: args.as_group.clone(),
        ..Target::default()
    }
}

/// Whether code without a header may change anything: on a twin, or when it was told where and
/// confirmed beforehand.
pub(super) fn told(args: &SessionArgs) -> Mode {
    if args.dry_run {
        Mode::DryRun
    } else if args.twin.is_some() || (args.yes && !args.context.is_empty()) {
        Mode::Mutating
    } else {
        Mode::ReadOnly
    }
}

/// Looks at `--dump DIR`.
fn dumps(directories: &[PathBuf]) -> Result<Arc<Dumps>, Failure> {
    let opened = Dumps::open(directories.to_vec());
    Ok(Arc::new(
        opened.map_err(|e| Failure::usage(format!("`--dump`: {e}")))?,
    ))
}

/// Reads `--ca NAME=FILE`.
fn named_ca(name: &str, file: &Path) -> Result<NamedCa, Failure> {
    let text =
        files::read_text(file).map_err(|e| Failure::usage(format!("`--ca {name}=…`: {e}")))?;
    let (roots, issues) = Bundle::from_pem(&text);
    let wrong = match issues.first() {
        Some(issue) if issues.len() + roots.len() > 1 => {
            format!("certificate {}: {}", issue.index + 1, issue.reason)
        }
        Some(issue) => issue.reason.clone(),
        None if roots.is_empty() => "holds no certificate".to_owned(),
        None => String::new(),
    };
    if !wrong.is_empty() {
        let failure = Failure::usage(format!("`--ca {name}=…`: {}: {wrong}", file.display()));
        return Err(
            failure.hint("a root certificate in PEM begins with `-----BEGIN CERTIFICATE-----`")
        );
    }
    Ok(NamedCa {
        name: name.to_owned(),
        roots,
    })
}

/// The twin's prober as a run knows it.
struct TwinTraffic(Arc<Prober>);

impl TrafficSource for TwinTraffic {
    fn checkpoint<'a>(&'a self, label: &'a str) -> BoxFuture<'a, TrafficFigures> {
        Box::pin(async move {
            self.0.checkpoint(label).await;
            self.total()
        })
    }

    fn total(&self) -> TrafficFigures {
        figures(self.0.total())
    }
}

fn figures(of: Figures) -> TrafficFigures {
    let list = |pairs: Vec<crate::twin::mesh::PairFigures>| {
        let pair = |p: crate::twin::mesh::PairFigures| PairFigures {
            client: p.client,
            server: p.server,
            live: p.alive,
            made: p.count.made,
            failed: p.count.failed,
            unreachable: p.count.unreachable,
            reasons: p.count.reasons,
        };
        pairs.into_iter().map(pair).collect()
    };
    TrafficFigures::of(list(of.pairs), list(of.classes))
}

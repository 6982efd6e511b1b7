//! The gates' door: what a finding does to a run.
//!
//! A gate that finds nothing passes; one that finds something refuses, unless its code was waived
//! on the command line or, for what a parameter may accept, by the script. Each answer is an event.
//! [`MeshGuard`] puts the mesh's gates before every mutation of a cluster, whichever word sends it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::world::RunPort;
use crate::cluster::{Cluster, ClusterError, Mutation, Policy, PolicyError, Refusal, Written};
use crate::journal::{Event, GateVerdict, Level};
use crate::mesh::dumps::Dumps;
use crate::mesh::effect;
use crate::mesh::gate::{self, Finding, Gate};
use crate::mesh::survey::SurveyOptions;
use crate::pki::NamedCa;

/// Decides what findings do, and says so.
pub struct Gatekeeper {
    port: Arc<dyn RunPort>,
    accepted: Mutex<BTreeMap<String, String>>,
}

impl Gatekeeper {
    /// For one run.
    pub fn new(port: Arc<dyn RunPort>) -> Self {
        Self {
            port,
            accepted: Mutex::default(),
        }
    }

    /// Lets one gate pass from now on, because a parameter of the script says so.
    pub fn accept(&self, gate: Gate, reason: &str) {
        self.accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(gate.code.to_owned(), reason.to_owned());
    }

    /// Answers for a gate that a script asked: passes, is waived, or refuses. `rests_on`: what somebody should know who
    /// relies on it.
    ///
    /// # Errors
    /// The refusal, with every finding as evidence.
    pub fn ask(
        &self,
        gate: Gate,
        findings: &[Finding],
        rests_on: Vec<String>,
    ) -> Result<(), Refusal> {
        if findings.is_empty() {
            self.emit(gate, GateVerdict::Passed, rests_on, None, None);
            return Ok(());
        }
        self.settle(findings)
    }

    /// Answers for findings of any gates: all must be waived for a yes.
    ///
    /// # Errors
    /// The first refusal; its hint names every code that stands in the way.
    pub fn settle(&self, findings: &[Finding]) -> Result<(), Refusal> {
        let mut refused: Vec<&Finding> = Vec::new();
        for finding in findings {
            match self.permission(finding) {
                Some(reason) => {
                    self.emit(
                        finding.gate,
                        GateVerdict::Waived,
                        finding.lines(),
                        None,
                        Some(reason),
                    );
                }
                None => refused.push(finding),
            }
        }
        let Some(first) = refused.first() else {
            return Ok(());
        };
        let waivers: Vec<String> = refused
            .iter()
            .map(|f| format!("--waive {}=REASON", f.gate.code))
            .collect();
        let hint = format!(
            "{}; to let it pass all the same: {}, or --waive CODE:NAME=REASON for what is named so only",
            first.next,
            waivers.join(" ")
        );
        for finding in &refused {
            self.emit(
                finding.gate,
                GateVerdict::Refused,
                finding.lines(),
                Some(finding.next.clone()),
                None,
            );
        }
        Err(Refusal {
            code: first.gate.code.to_owned(),
            title: first.gate.title.to_owned(),
            evidence: refused
                .iter()
                .flat_map(|f| {
                    let other = f.gate != first.gate;
                    other
                        .then(|| format!("also {}: {}", f.gate.code, f.gate.title))
                        .into_iter()
                        .chain(f.lines())
                })
                .collect(),
            hint,
        })
    }

    fn permission(&self, finding: &Finding) -> Option<String> {
        let accepted = self
            .accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(finding.gate.code)
            .cloned();
        accepted.or_else(|| self.port.waived(finding.gate.code, &finding.evidence))
    }

    /// Says what is new about dumps.
    pub(super) fn tell(&self, dumps: &Dumps) {
        for text in dumps.news() {
            let level = Level::Warn;
            self.port.emit(Event::Note { level, text });
        }
    }

    fn emit(
        &self,
        gate: Gate,
        verdict: GateVerdict,
        evidence: Vec<String>,
        hint: Option<String>,
        reason: Option<String>,
    ) {
        self.port.emit(Event::Gate {
            code: gate.code.to_owned(),
            title: gate.title.to_owned(),
            verdict,
            evidence,
            hint,
            reason: reason.filter(|r| !r.is_empty()),
        });
    }
}

/// Guards a cluster's mutations by their effect on the mesh.
pub struct MeshGuard {
    gatekeeper: Arc<Gatekeeper>,
    clusters: Vec<Cluster>,
    given: Vec<NamedCa>,
    options: SurveyOptions,
}

impl MeshGuard {
    /// `clusters`: those of the mesh, of which mutations change one or the other; `given`: the CAs that were named on
    /// the command line, or by the twin.
    pub fn new(
        gatekeeper: Arc<Gatekeeper>,
        clusters: Vec<Cluster>,
        given: Vec<NamedCa>,
        options: SurveyOptions,
    ) -> Self {
        Self {
            gatekeeper,
            clusters,
            given,
            options,
        }
    }

    async fn judge(&self, cluster: &Cluster, mutation: &Mutation) -> Result<(), PolicyError> {
        let Some(effect) = effect::of(mutation) else {
            return Ok(());
        };
        let reviewed = gate::review(cluster, &self.clusters, &self.given, &effect, &self.options);
        let reviewed = reviewed.await;
        self.gatekeeper.tell(&self.options.dumps);
        let findings = match reviewed {
            Ok(findings) => findings,
            Err(crate::mesh::MeshError::Cluster(error)) => return Err(PolicyError::Failed(error)),
            // What cannot be judged is not let through: the reason becomes the finding.
            Err(error) => vec![Finding {
                gate: gate::JUDGED,
                head: None,
                evidence: vec![error.to_string()],
                next: error
                    .hint()
                    .unwrap_or_else(|| "make the mesh readable first".into()),
            }],
        };
        self.gatekeeper
            .settle(&findings)
            .map_err(PolicyError::Refused)
    }
}

impl Policy for MeshGuard {
    fn review<'a>(
        &'a self,
        cluster: &'a Cluster,
        mutation: &'a Mutation,
    ) -> BoxFuture<'a, Result<(), PolicyError>> {
        self.judge(cluster, mutation).boxed()
    }

    fn done(&self, _: &Cluster, _: &Mutation, _: &Result<Written, ClusterError>) {}
}

//! May this step be taken? Each gate has a stable code, evidence, and what to do next.
//!
//! Two kinds. A *guard* looks at an effect ([`Effect`](super::effect::Effect)) before the mutation that causes it is sent,
//! with a survey taken for it. A *check* is asked by a script between the phases. Both answer with
//! findings; no finding is a yes, and what is not known is a finding.

mod checks;
mod guards;
mod made;
mod settings;

pub use checks::{
    every_certificate_signed_by, every_proxy_accepts, every_proxy_trusts, healthy, network_is_open,
    revision_ready, root_is_gone, validation_answers,
};
pub use guards::review;
pub use made::rehearsed;

use super::read::Ask;
use super::revision::Revision;
use super::survey::{Survey, SurveyOptions};
use super::{MeshError, abroad, admission, ca, revision};
use crate::cluster::Cluster;
use crate::pki::NamedCa;

/// A gate: its code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// `RS` and three digits.
    pub code: &'static str,
    /// What must hold.
    pub title: &'static str,
}

macro_rules! gates {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $title:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: Gate = Gate { code: $code, title: $title };)+
        /// Every gate, by code.
        pub const ALL: &[Gate] = &[$($name),+];
    };
}

gates! {
    /// The trust matrix of the next state has no failing pair.
    HANDSHAKES = "RS101", "every pair of workloads can handshake during and after this step";
    /// The pods that the step makes come up with a proxy.
    INJECTION = "RS102", "new pods come up with a proxy of an installed revision";
    /// Nothing in the mesh is unknown, and there is a mesh.
    JUDGED = "RS103", "every proxy of the mesh can be judged";
    /// Everything that belongs to the mesh is looked at.
    SEEN = "RS104", "every cluster and workload of the mesh is looked at";
    /// What people wrote about identities holds under another trust domain.
    IDENTITY = "RS105", "policies and rules match peers that get another trust domain";
    /// The CA secrets have no users.
    CA_SECRET = "RS201", "no certificate in use or to come depends on the CA secret";
    /// istiod would not make a root of its own.
    NEW_ROOT = "RS202", "istiod will not make a new root when it starts next";
    /// A restarted istiod loads the CA that it has now.
    ISTIOD_RESTART = "RS203", "a restarted istiod signs with the root that proxies trust";
    /// A revision has no users.
    ISTIOD_REMOVAL = "RS204", "no proxy and no namespace uses the revision";
    /// Nothing on the cluster depends on the old root but proxies.
    ROOT_USERS = "RS205", "nothing but proxies uses the old root";
    /// Every proxy trusts the given CAs.
    TRUSTS = "RS301", "every proxy trusts the roots";
    /// Every workload certificate is signed by the given CA.
    SIGNED_BY = "RS302", "every workload certificate is signed by the CA";
    /// The given root is in no proxy.
    ROOT_GONE = "RS303", "the root is in no proxy";
    /// The revision is installed as it must be.
    REVISION = "RS304", "the revision is installed, ready, and set up for the step";
    /// The mesh is healthy before anything is begun.
    HEALTHY = "RS305", "the mesh is healthy";
    /// Istio's own resources are validated.
    VALIDATION = "RS306", "istiod validates Istio's resources";
    /// NetworkPolicies leave the ways that new proxies need.
    NETWORK = "RS307", "new pods reach their istiod and their CA";
    /// Every proxy accepts the given trust domains.
    TRUST_DOMAINS = "RS308", "every proxy accepts the trust domains";
}

/// Why a gate does not pass.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which gate.
    pub gate: Gate,
    /// What the evidence has in common, where it needs saying.
    pub head: Option<String>,
    /// What was seen, a line for each thing that it is about.
    pub evidence: Vec<String>,
    /// The next step for the operator.
    pub next: String,
}

impl Finding {
    fn new(gate: Gate, evidence: Vec<String>, next: &str) -> Self {
        Self {
            gate,
            head: None,
            evidence,
            next: next.to_owned(),
        }
    }

    fn headed(self, head: impl Into<String>) -> Self {
        let head = Some(head.into());
        Self { head, ..self }
    }

    /// All of it, as people read it.
    pub fn lines(&self) -> Vec<String> {
        self.head.iter().chain(&self.evidence).cloned().collect()
    }
}

/// Everything that a gate looks at.
#[derive(Debug)]
pub struct View {
    /// The proxies.
    pub survey: Survey,
    /// The revisions.
    pub revisions: Vec<Revision>,
    /// The CAs by name.
    pub cas: Vec<NamedCa>,
}

impl View {
    /// Reads the mesh as it is now.
    ///
    /// `others` are further clusters of the same mesh.
    pub async fn take(
        cluster: &Cluster,
        others: &[Cluster],
        given: &[NamedCa],
        options: &SurveyOptions,
    ) -> Result<Self, MeshError> {
        let cas = ca::find(cluster, given).await?;
        let mut survey = Survey::take(cluster, &cas, options).await?;
        abroad::add(&mut survey, cluster, others, &cas, options).await?;
        if options.read.ask != Ask::Nothing {
            options.dumps.tell_fates(&survey);
        }
        let revisions = revision::read_all(cluster, &survey.injection).await?;
        Ok(Self {
            survey,
            revisions,
            cas,
        })
    }

    /// Asks the injector of every revision for a proxy, by a dry run. Separate from reading the mesh, since it
    /// takes the right to create pods, and only what makes new ones rests on it.
    pub async fn ask_injectors(&mut self, cluster: &Cluster) {
        let Self {
            survey, revisions, ..
        } = self;
        let asked = revisions.iter().map(|revision| {
            admission::dry_run(
                cluster,
                &survey.injection,
                &survey.namespaces,
                &revision.name,
            )
        });
        let answers = futures::future::join_all(asked).await;
        for (revision, answer) in revisions.iter_mut().zip(answers) {
            revision.injects = answer;
        }
    }

    /// The revision of that name.
    pub fn revision(&self, name: &str) -> Option<&Revision> {
        self.revisions.iter().find(|r| r.name == name)
    }
}

/// A mesh in which something is unknown, or in which there is nothing, or of which there is more than was looked at.
pub fn judged(survey: &Survey, needs_some: bool) -> Vec<Finding> {
    known(survey, needs_some)
        .into_iter()
        .chain(seen(survey))
        .collect()
}

fn known(survey: &Survey, needs_some: bool) -> Option<Finding> {
    let mut evidence = survey.unknowns();
    if needs_some && survey.proxies.is_empty() {
        evidence.push("no proxy was found in any namespace".into());
    }
    (!evidence.is_empty()).then(|| {
        Finding::new(
            JUDGED,
            evidence,
            "make these pods readable, give their dumps with --dump, or remove them; then run this again",
        )
    })
}

fn seen(survey: &Survey) -> Option<Finding> {
    (!survey.unseen.is_empty()).then(|| {
        Finding::new(
            SEEN,
            survey.unseen.clone(),
            "give every cluster of the mesh, each with --context, the one to change first; of what has no pod give the dump, with --dump",
        )
    })
}

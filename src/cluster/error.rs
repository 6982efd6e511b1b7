//! What can go wrong with a cluster: one variant per situation that a person would act on
//! differently.
//!
//! Each says the operation, the object, both sides of a comparison and, where a mutation is
//! involved, what is known about the state of the cluster now. The way out is a field
//! ([`ClusterError::hint`]), not part of the text.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::connect::Obstacle;
use super::container::ContainerError;
use super::door::Refusal;
use super::exec::ExecError;
use super::forward::ForwardError;
use super::rollout::Blocked;

/// What an operation is about: a kind, and perhaps one object of it. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl Subject {
    /// `resource` as kubectl prints it: `deployment.apps`, `pod`.
    pub fn new(resource: impl Into<String>, namespace: Option<&str>, name: Option<&str>) -> Self {
        Self(Arc::new(Parts {
            resource: resource.into(),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
        }))
    }

    /// `deployment.apps`, `pod`.
    pub fn resource(&self) -> &str {
        &self.0.resource
    }

    /// The namespace, if there is one.
    pub fn namespace(&self) -> Option<&str> {
        self.0.namespace.as_deref()
    }

    /// The object, if it is about one.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// `deployment.apps/shop/web`, `namespace/shop`: one word for programs.
    pub fn key(&self) -> String {
        let mut key = self.0.resource.clone();
        for part in [self.namespace(), self.name()].into_iter().flatten() {
            key.push('/');
            key.push_str(part);
        }
        key
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "`{}/{name}`", self.0.resource)?,
            None => write!(f, "`{}`", self.0.resource)?,
        }
        match self.namespace() {
            Some(ns) => write!(f, " in namespace `{ns}`"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// Which people, which verb, on what: the content of a 403 of RBAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// The user as the API server knows it.
    pub user: String,
    /// API verb: `get`, `list`, `patch`, …
    pub verb: String,
    /// Resource with group: `deployments.apps`, `pods/portforward`; or a path.
    pub resource: String,
    /// The namespace; none means the whole cluster.
    pub namespace: Option<String>,
    /// The object, if the request named one.
    pub name: Option<String>,
}

/// Who owns a field that an apply would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The field manager: `argocd-controller`.
    pub manager: String,
    /// The field, as the server writes it: `.spec.replicas`.
    pub field: String,
}

/// What is known of a mutation that was given up while its request was on its way.
pub(super) const IN_DOUBT: &str = "it may or may not have been done";
/// What is known of a call that was given up between two attempts.
pub(super) const NOT_DONE: &str = "no attempt of it was carried out";

/// A failure of an operation on a cluster.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// An object of that name is there already.
    #[error("{subject} exists already")]
    AlreadyExists {
        /// The object.
        subject: Subject,
    },
    /// A server-side apply would take fields that others own; nothing was changed.
    #[error("apply of {subject} conflicts with {}", owned_by(.owners))]
    ApplyConflict {
        /// The object.
        subject: Subject,
        /// Who owns what, in the server's order.
        owners: Vec<Owner>,
    },
    /// A name that cannot be one, or a body that is no object: the caller's mistake.
    #[error("{message}")]
    BadRequest {
        /// What is wrong with what.
        message: String,
    },
    /// A word that means several kinds, where one is wanted.
    #[error("`{name}` is not a kind but a category of kinds: {}", names(.kinds))]
    Category {
        /// The category.
        name: String,
        /// The kinds in it.
        kinds: Vec<String>,
    },
    /// Kinds could not be read, because the API server that serves them does not answer: what is there
    /// cannot be told whole.
    #[error("the kinds of {} cannot be read just now", names(.unread))]
    KindsUnread {
        /// Their groups and versions.
        unread: Vec<String>,
    },
    /// Somebody else changed the object in between, or replaced it by another of the same name.
    #[error("{operation} of {subject} conflicts with another change: {message}")]
    Conflict {
        /// What was to be done.
        operation: &'static str,
        /// The object.
        subject: Subject,
        /// The server's words.
        message: String,
    },
    /// A container of a pod that cannot be asked, or is not named where there are several.
    #[error("pod `{pod}` in namespace `{namespace}`: {cause}")]
    Container {
        /// The pod.
        pod: String,
        /// Its namespace.
        namespace: String,
        /// What is wrong with it.
        cause: ContainerError,
    },
    /// The credentials of the context cannot be had.
    #[error("no credentials for context `{context}`: {reason}")]
    Credentials {
        /// The context.
        context: String,
        /// Why.
        reason: String,
        /// The way out, if there is another than to log in again.
        hint: Option<String>,
    },
    /// The server's answer is not what its API promises.
    #[error("{operation} of {subject}: the API server's answer cannot be read: {reason}")]
    Decode {
        /// What was asked.
        operation: &'static str,
        /// About what.
        subject: Subject,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Admission (a quota, a policy, a webhook, a terminating namespace) turned a change down;
    /// nothing was changed.
    #[error("{operation} of {subject} was not admitted: {message}")]
    Denied {
        /// What was to be done.
        operation: &'static str,
        /// The object.
        subject: Subject,
        /// The server's words.
        message: String,
    },
    /// A command in a container was not executed, or its end is not known.
    #[error("exec in container `{container}` of pod `{pod}` in namespace `{namespace}`: {cause}")]
    Exec {
        /// The pod.
        pod: String,
        /// Its namespace.
        namespace: String,
        /// The container.
        container: String,
        /// Which of the ways to fail it was.
        cause: ExecError,
    },
    /// A disruption budget does not allow an eviction now; the pod stays.
    #[error("{subject} is not evicted: {}", budgeted(.budget.as_deref(), *.allowed, .message))]
    EvictionBlocked {
        /// The pod.
        subject: Subject,
        /// The budget's name, if the server said which.
        budget: Option<String>,
        /// How many disruptions it allows now, if it could be read.
        allowed: Option<i64>,
        /// The server's words.
        message: String,
    },
    /// The object is not as the change was to find it; nothing was changed.
    #[error("{operation} of {subject}: {message}")]
    Precondition {
        /// What was to be done.
        operation: &'static str,
        /// The object.
        subject: Subject,
        /// What was expected and what is.
        message: String,
    },
    /// A watch begins, or goes on, after a version that the server does not remember, and what was
    /// there at that version is not known.
    #[error("watch of {subject}: the API server has forgotten what came after version `{version}`")]
    Forgotten {
        /// The kind.
        subject: Subject,
        /// The resource version.
        version: String,
    },
    /// RBAC does not allow it.
    #[error("{}", forbidden(.0))]
    Forbidden(Box<Forbidden>),
    /// A port of a pod could not be asked.
    #[error("pod `{pod}` in namespace `{namespace}`, port {port}: {cause}")]
    Forward {
        /// The pod.
        pod: String,
        /// Its namespace.
        namespace: String,
        /// The port inside of the pod.
        port: u16,
        /// Which of the ways to fail it was.
        cause: ForwardError,
    },
    /// A call was given up because the program is stopping.
    #[error("{operation} of {subject} was interrupted; {known}")]
    Interrupted {
        /// What was to be done.
        operation: &'static str,
        /// The object.
        subject: Subject,
        /// What is known about it: whether it may have been done.
        known: &'static str,
    },
    /// The server finds the object wrong; nothing was changed.
    #[error("{operation} of {subject} is invalid: {message}")]
    Invalid {
        /// What was to be done.
        operation: &'static str,
        /// The object.
        subject: Subject,
        /// The server's words.
        message: String,
    },
    /// The kubeconfig cannot be read or is wrong.
    #[error("kubeconfig `{path}` cannot be used: {reason}")]
    Kubeconfig {
        /// The file, or the files separated by `:`.
        path: String,
        /// Why.
        reason: String,
    },
    /// A log has more bytes than were to be read.
    #[error("the log of pod `{pod}` in namespace `{namespace}` has more than {limit} bytes")]
    LogTooLong {
        /// The pod.
        pod: String,
        /// Its namespace.
        namespace: String,
        /// Bytes that were to be read at most.
        limit: usize,
    },
    /// A namespaced kind was asked for without a namespace, or the other way round.
    #[error("{message}")]
    Namespace {
        /// Which.
        message: String,
    },
    /// The connection to the server does not come about.
    #[error("the API server of context `{context}` cannot be reached at {server}: {obstacle}")]
    NoConnection {
        /// The context.
        context: String,
        /// The API server's address.
        server: String,
        /// What stands in the way.
        obstacle: Box<Obstacle>,
    },
    /// The kubeconfig has no context of that name.
    #[error("kubeconfig `{path}` has no context `{context}`; it has {}", names(.known))]
    NoContext {
        /// The file.
        path: String,
        /// The one asked for.
        context: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// No context was given and the kubeconfig does not name a current one.
    #[error("kubeconfig `{path}` has no current context; it has {}", names(.known))]
    NoCurrentContext {
        /// The file.
        path: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// There is no kubeconfig, and this is not inside a cluster either.
    #[error("there is no kubeconfig at `{path}`, and this is not inside a cluster")]
    NoKubeconfig {
        /// Where it was looked for.
        path: String,
    },
    /// The object does not exist.
    #[error("{subject} does not exist")]
    NotFound {
        /// The object, or the namespace that it should be in.
        subject: Subject,
    },
    /// The answer to a mutation was lost, and reading back did not tell either.
    #[error("{operation} of {subject}: {reason}; {known}")]
    OutcomeUnknown {
        /// What was to be done.
        operation: &'static str,
        /// The object.
        subject: Subject,
        /// How the answer was lost.
        reason: String,
        /// What is known about the state of the object.
        known: String,
    },
    /// A gate turned the mutation down; nothing was sent.
    #[error("refused by gate `{}`: {}", .0.code, .0.title)]
    Refused(Box<Refusal>),
    /// A rollout will not finish by waiting.
    #[error("rollout of {subject} is blocked: {blocked}")]
    RolloutBlocked {
        /// The workload.
        subject: Subject,
        /// How far it came, in kubectl's words.
        message: String,
        /// What stands in the way.
        blocked: Box<Blocked>,
    },
    /// A rollout did not finish in time.
    #[error("rollout of {subject} is not done after {after:?}: {message}{}", because(.blocked.as_deref()))]
    RolloutTimeout {
        /// The workload.
        subject: Subject,
        /// How long was waited.
        after: Duration,
        /// How far it came, in kubectl's words.
        message: String,
        /// What stands in the way, if something was found.
        blocked: Option<Box<Blocked>>,
    },
    /// The server answered with an error that has no variant of its own.
    #[error("{operation} of {subject} failed: {message} (HTTP {code})")]
    Server {
        /// What was asked.
        operation: &'static str,
        /// About what.
        subject: Subject,
        /// HTTP status code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// A deleted object is still there.
    #[error("{subject} is still there {after:?} after its deletion{}", held_by(.finalizers))]
    StillThere {
        /// The object.
        subject: Subject,
        /// How long was waited.
        after: Duration,
        /// Who holds it.
        finalizers: Vec<String>,
    },
    /// A label or an annotation has another value already, and was not to be overwritten.
    #[error("{subject}: {field} `{key}` is `{value}` already, and `overwrite` is false")]
    Taken {
        /// The object.
        subject: Subject,
        /// `label` or `annotation`.
        field: &'static str,
        /// Its key.
        key: String,
        /// The value that it has.
        value: String,
    },
    /// The server did not answer in time.
    #[error("{operation} of {subject}: no answer within {after:?}")]
    Timeout {
        /// What was asked.
        operation: &'static str,
        /// About what.
        subject: Subject,
        /// The limit.
        after: Duration,
    },
    /// The server does not accept the credentials.
    #[error(
        "the API server of context `{context}` does not accept the credentials (401): {server}"
    )]
    Unauthorized {
        /// The context.
        context: String,
        /// The API server's address.
        server: String,
    },
    /// The server serves no such kind.
    #[error("the API server knows no kind `{name}`")]
    UnknownKind {
        /// What was asked for.
        name: String,
        /// The nearest that there is.
        suggestion: Option<String>,
        /// API groups whose kinds could not be read just now.
        unread: Vec<String>,
    },
    /// No connection to the server.
    #[error("the API server of context `{context}` cannot be reached at {server}: {reason}")]
    Unreachable {
        /// The context.
        context: String,
        /// The API server's address.
        server: String,
        /// Why: refused, no such host, a certificate, …
        reason: String,
    },
    /// What is waited for cannot come any more.
    #[error("waiting for `{wanted}` of {subject} is in vain: {reason}")]
    WaitInVain {
        /// The object, or the kind.
        subject: Subject,
        /// What was waited for.
        wanted: String,
        /// Why it cannot come.
        reason: String,
    },
    /// What is waited for did not come in time.
    #[error("{subject}: `{wanted}` did not come about within {after:?}: {last}{}", because(.blocked.as_deref()))]
    WaitTimeout {
        /// The object, or the kind.
        subject: Subject,
        /// What was waited for.
        wanted: String,
        /// How long was waited.
        after: Duration,
        /// How things were at last.
        last: String,
        /// What stands in the way, if something was found.
        blocked: Option<Box<Blocked>>,
    },
}

impl ClusterError {
    /// Whose the fault is, as the script language names it: `cluster`, `environment`, `refused`,
    /// `script`, `usage` or `interrupted`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadRequest { .. }
            | Self::Category { .. }
            | Self::Namespace { .. }
            | Self::UnknownKind { .. } => "script",
            Self::NoContext { .. } | Self::NoCurrentContext { .. } => "usage",
            Self::Credentials { .. }
            | Self::Kubeconfig { .. }
            | Self::NoConnection { .. }
            | Self::NoKubeconfig { .. }
            | Self::Unreachable { .. } => "environment",
            Self::Interrupted { .. } => "interrupted",
            Self::Refused(_) => "refused",
            _ => "cluster",
        }
    }

    /// The next step for whoever reads it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Category { .. } => Some("name one kind at a time".into()),
            Self::ApplyConflict { .. } => Some(
                "leave the fields to their owners, or take them with `force: true`; an owner that \
                 reconciles (Argo CD, Flux, an operator) will set them back"
                    .into(),
            ),
            Self::Conflict { .. } => Some("read the object again and repeat the change".into()),
            Self::Credentials {
                hint: Some(hint), ..
            } => Some(hint.clone()),
            Self::Credentials { .. } | Self::Unauthorized { .. } => {
                Some("log in again, or give another context with --context".into())
            }
            Self::Denied { .. } => {
                Some("nothing was changed; remove what forbids it and run again".into())
            }
            Self::EvictionBlocked { .. } => Some(
                "make the other pods of the budget ready, or let it wait for them with `timeout`"
                    .into(),
            ),
            Self::Forbidden(f) => Some(format!(
                "grant the verb `{}` on `{}` {}",
                f.verb,
                f.resource,
                scope(f.namespace.as_deref())
            )),
            Self::Invalid { message, .. }
                if message.contains("unknown field")
                    || message.contains("not declared in schema") =>
            {
                Some("`kubectl explain` lists the fields of a kind; nothing was changed".into())
            }
            Self::KindsUnread { .. } => Some(
                "the API server behind them is down: `kubectl get apiservices` tells which one"
                    .into(),
            ),
            Self::Forgotten { .. } => {
                Some("watch without a version to begin with: what is there comes first".into())
            }
            Self::Container { cause, .. } => cause.hint(),
            Self::Exec { cause, .. } => cause.hint(),
            Self::Forward { cause, .. } => cause.hint(),
            Self::LogTooLong { .. } => Some("ask for less: `tail: LINES`, `since: SECONDS`".into()),
            Self::Interrupted { .. } | Self::OutcomeUnknown { .. } => {
                Some("run again: what is done already is not repeated".into())
            }
            Self::Kubeconfig { .. } => {
                Some("correct it, or give another file with --kubeconfig".into())
            }
            Self::NoConnection {
                server, obstacle, ..
            } => Some(obstacle.hint(server)),
            Self::NoContext { context, known, .. } => nearest(context, known)
                .map(|n| format!("did you mean `{n}`?"))
                .or_else(|| Some("give one of them with --context".into())),
            Self::NoCurrentContext { .. } => Some("give one of them with --context".into()),
            Self::NoKubeconfig { .. } => {
                Some("give a file with --kubeconfig, or try it on the twin with --twin".into())
            }
            Self::Refused(refusal) => Some(refusal.hint.clone()).filter(|h| !h.is_empty()),
            Self::RolloutBlocked { blocked, .. } => blocked.hint(),
            Self::RolloutTimeout { blocked, .. } | Self::WaitTimeout { blocked, .. } => {
                match blocked {
                    Some(blocked) => blocked.hint(),
                    None => Some("it may be slow: run again to go on waiting".into()),
                }
            }
            Self::StillThere { finalizers, .. } if !finalizers.is_empty() => {
                Some("whoever set the finalizers must remove them".into())
            }
            Self::Taken { .. } => Some("leave out `overwrite: false` to replace it".into()),
            Self::UnknownKind {
                suggestion: Some(s),
                ..
            } => Some(format!("did you mean `{s}`?")),
            Self::UnknownKind { unread, .. } if !unread.is_empty() => Some(format!(
                "it may be in {}, which could not be read",
                names(unread)
            )),
            Self::Unreachable { server, .. } => {
                Some(format!("is {server} the right address, and up?"))
            }
            _ => None,
        }
    }

    /// Whether doing the same again later may succeed without anybody changing anything.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Conflict { .. }
            | Self::EvictionBlocked { .. }
            | Self::KindsUnread { .. }
            | Self::OutcomeUnknown { .. }
            | Self::RolloutTimeout { .. }
            | Self::StillThere { .. }
            | Self::Timeout { .. }
            | Self::Unreachable { .. }
            | Self::WaitTimeout { .. } => true,
            Self::Server { code, .. } => *code == 429 || *code >= 500,
            Self::Forward { cause, .. } => cause.retryable(),
            Self::NoConnection { obstacle, .. } => obstacle.retryable(),
            _ => false,
        }
    }

    /// The object or kind that it is about, as one word: `deployment.apps/shop/web`.
    pub fn resource(&self) -> Option<String> {
        match self {
            Self::AlreadyExists { subject }
            | Self::ApplyConflict { subject, .. }
            | Self::EvictionBlocked { subject, .. }
            | Self::Precondition { subject, .. }
            | Self::Taken { subject, .. }
            | Self::Conflict { subject, .. }
            | Self::Decode { subject, .. }
            | Self::Denied { subject, .. }
            | Self::Forgotten { subject, .. }
            | Self::Interrupted { subject, .. }
            | Self::Invalid { subject, .. }
            | Self::NotFound { subject }
            | Self::OutcomeUnknown { subject, .. }
            | Self::RolloutBlocked { subject, .. }
            | Self::RolloutTimeout { subject, .. }
            | Self::Server { subject, .. }
            | Self::StillThere { subject, .. }
            | Self::Timeout { subject, .. }
            | Self::WaitInVain { subject, .. }
            | Self::WaitTimeout { subject, .. } => Some(subject.key()),
            Self::Forbidden(f) => {
                let parts = [Some(&f.resource), f.namespace.as_ref(), f.name.as_ref()];
                let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
                Some(parts.join("/"))
            }
            Self::Container { pod, namespace, .. }
            | Self::Exec { pod, namespace, .. }
            | Self::Forward { pod, namespace, .. }
            | Self::LogTooLong { pod, namespace, .. } => Some(format!("pod/{namespace}/{pod}")),
            _ => None,
        }
    }

    /// The gate's code, for a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            _ => None,
        }
    }

    /// What a refusal or a blocked rollout rests on, one finding a line.
    pub fn evidence(&self) -> Vec<String> {
        match self {
            Self::Refused(refusal) => refusal.evidence.clone(),
            Self::RolloutBlocked { message, .. } => vec![message.clone()],
            Self::ApplyConflict { owners, .. } => owners
                .iter()
                .map(|o| format!("{} is owned by `{}`", o.field, o.manager))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the object, or the namespace that it should be in, does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// The name nearest to a mistyped one, if any is near.
pub(super) fn nearest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a String>,
) -> Option<&'a String> {
    let wanted = wanted.to_lowercase();
    let mut best: Option<(f64, &String)> = None;
    for name in known {
        let score = strsim::jaro_winkler(&wanted, &name.to_lowercase());
        if score >= 0.8 && best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, name));
        }
    }
    best.map(|(_, name)| name)
}

fn forbidden(f: &Forbidden) -> String {
    let name = f.name.as_deref().map(|n| format!(" `{n}`"));
    format!(
        "user `{}` may not {} `{}`{} {}",
        f.user,
        f.verb,
        f.resource,
        name.unwrap_or_default(),
        scope(f.namespace.as_deref())
    )
}

fn scope(namespace: Option<&str>) -> String {
    namespace.map_or_else(
        || "in the whole cluster".to_owned(),
        |ns| format!("in namespace `{ns}`"),
    )
}

fn names(known: &[String]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    let quoted: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
    quoted.join(", ")
}

fn because(blocked: Option<&Blocked>) -> String {
    blocked.map(|b| format!("; {b}")).unwrap_or_default()
}

/// `manager `argocd` over .spec.replicas, .spec.paused and manager `helm` over .data.x`.
fn owned_by(owners: &[Owner]) -> String {
    let mut by: Vec<(&str, Vec<&str>)> = Vec::new();
    for owner in owners {
        match by.iter_mut().find(|(manager, _)| *manager == owner.manager) {
            Some((_, fields)) => fields.push(&owner.field),
            None => by.push((&owner.manager, vec![&owner.field])),
        }
    }
    let said: Vec<String> = by
        .into_iter()
        .map(|(manager, fields)| format!("manager `{manager}` over {}", fields.join(", ")))
        .collect();
    said.join(" and ")
}

fn budgeted(budget: Option<&str>, allowed: Option<i64>, message: &str) -> String {
    match (budget, allowed) {
        (Some(budget), Some(allowed)) => {
            format!("disruption budget `{budget}` allows {allowed} disruptions now; {message}")
        }
        (Some(budget), None) => {
            format!("disruption budget `{budget}` does not allow it now; {message}")
        }
        (None, _) => message.to_owned(),
    }
}

fn held_by(finalizers: &[String]) -> String {
    if finalizers.is_empty() {
        String::new()
    } else {
        format!(", held by finalizers {}", names(finalizers))
    }
}

//! Kubernetes through `kube`: connections, objects of any kind, changes, rollouts, port-forwards.
//!
//! One [`Cluster`] is one connection. Everything that mutates goes through one door
//! (`door`), where a [`Policy`] is asked and told. The room knows kinds of Kubernetes where
//! Kubernetes itself treats them specially (rollouts, pods); it knows nothing of meshes.
//!
//! | file | what |
//! |---|---|
//! | `connect` | kubeconfig, context, credentials, proxy, HTTP client |
//! | `call` | one request, and which may be repeated |
//! | `discovery`, `kind` | what the server serves, and by which names |
//! | `object`, `merge` | objects as shared handles; merge patches |
//! | `read` | get, a path, version |
//! | `access` | what the server lets us do |
//! | `events` | what was said about an object |
//! | `door`, `send`, `limit` | who may mutate; mutations whose answer is lost; how fast is asked |
//! | `write`, `patch`, `scale`, `evict`, `diff` | the verbs, and what they changed |
//! | `list`, `filter`, `path`, `pluck` | lists of any size, and what is kept of them |
//! | `rollout`, `blocked`, `wait` | how far a rollout is, what blocks it, waiting for it |
//! | `watch` | changes, without gaps |
//! | `condition`, `until` | waiting until objects are as they should be |
//! | `workload` | restarting many, undoing, what would go wrong |
//! | `ownership` | who owns an object, and who would put a change back |
//! | `forward`, `listen` | HTTP to a port of a pod; a local port that leads there |
//! | `container`, `exec`, `logs` | which container is meant; commands in it; what it wrote |
//! | `error` | what can go wrong |

mod access;
mod blocked;
mod call;
mod compare;
mod condition;
mod connect;
mod container;
mod diff;
mod discovery;
mod door;
mod error;
mod events;
mod evict;
mod exec;
mod filter;
mod forward;
mod kind;
mod limit;
mod list;
mod listen;
mod logs;
mod merge;
mod object;
pub mod ownership;
mod patch;
mod path;
mod pluck;
mod post;
mod read;
mod rollout;
mod scale;
mod send;
mod until;
mod wait;
mod watch;
pub mod workload;
mod write;

// The tests' server speaks WebSocket, as the twin does.
#[cfg(test)]
#[cfg(feature = "twin")]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock};

pub use access::{Access, Rules, Wish};
pub use compare::{Difference, FieldChange, compare};
pub use condition::Condition;
pub use connect::{Obstacle, Target};
pub use container::ContainerError;
pub use door::{Mutation, Outcome, PatchForm, Policy, PolicyError, Refusal, Verb, Written};
pub use error::{ClusterError, Forbidden, Owner, Subject};
pub use events::Happening;
pub use evict::EvictOptions;
pub use exec::{ExecError, ExecOptions, ExecOutput};
pub use filter::Filter;
pub use forward::{Forward, ForwardError, HttpAnswer, Limits};
pub use kind::Kind;
pub use limit::Stop;
pub use list::Query;
pub use listen::LocalPort;
pub use logs::{LogOptions, LogStream};
pub use merge::{changes_nothing, difference, merge};
pub use object::{Object, redacted};
pub use patch::{ApplyOptions, FIELD_MANAGER};
pub use path::{FieldPath, PathError};
pub use post::Post;
pub use read::{Selector, Version};
pub use rollout::{Blocked, Rollout};
pub use watch::{Change, Event, Since, Watch};
pub use write::{DeleteOptions, Propagation};

/// A connection to one cluster, as one user. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    client: kube::Client,
    context: String,
    server: String,
    namespace: String,
    kubeconfig: Option<PathBuf>,
    user_agent: String,
    /// What its user should know of the connection.
    cautions: Vec<String>,
    /// What the server serves, once it was asked.
    catalog: tokio::sync::Mutex<Option<Arc<kind::Catalog>>>,
    policy: RwLock<Option<Arc<dyn Policy>>>,
    /// Mutations are only rehearsed.
    dry_run: AtomicBool,
    /// The objects of which a change was rehearsed, by [`Subject::key`].
    rehearsed: Mutex<BTreeSet<String>>,
    /// Mutations that were let through.
    acts: AtomicU64,
    /// What the server has warned of.
    warned: Mutex<BTreeSet<String>>,
    limiter: limit::Limiter,
    stop: RwLock<Option<Arc<dyn Stop>>>,
}

impl Cluster {
    fn assemble(
        client: kube::Client,
        context: String,
        server: String,
        namespace: String,
        kubeconfig: Option<PathBuf>,
        user_agent: String,
        cautions: Vec<String>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                client,
                context,
                server,
                namespace,
                kubeconfig,
                user_agent,
                cautions,
                catalog: tokio::sync::Mutex::default(),
                policy: RwLock::default(),
                dry_run: AtomicBool::default(),
                rehearsed: Mutex::default(),
                acts: AtomicU64::default(),
                warned: Mutex::default(),
                limiter: limit::Limiter::default(),
                stop: RwLock::default(),
            }),
        }
    }

    /// What its user should know of the connection, one sentence each: that the server's certificate
    /// is not checked.
    pub fn cautions(&self) -> &[String] {
        &self.shared.cautions
    }

    /// The name of its context; `in-cluster` if there is no kubeconfig.
    pub fn context(&self) -> &str {
        &self.shared.context
    }

    /// The API server's address: `https://10.0.0.1:6443`.
    pub fn server(&self) -> &str {
        &self.shared.server
    }

    /// The namespace that the context names; `default` if it names none.
    pub fn default_namespace(&self) -> &str {
        &self.shared.namespace
    }

    /// The kubeconfig that it was made from: for programs that are to use the same cluster. None
    /// inside of a cluster, or if `$KUBECONFIG` listed several.
    pub fn kubeconfig_path(&self) -> Option<&Path> {
        self.shared.kubeconfig.as_deref()
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Cluster({} at {})",
            self.shared.context, self.shared.server
        )
    }
}

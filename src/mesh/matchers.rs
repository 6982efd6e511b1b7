//! Which peers a proxy accepts by name: the SAN matchers of its listeners and clusters.
//!
//! Trust in a root is not enough. Istio's inbound listener matches the client's SPIFFE id by
//! prefixes (`spiffe://TRUST-DOMAIN/`, for the mesh's trust domain and its aliases), and each
//! outbound cluster matches the server's by exact names (`spiffe://TRUST-DOMAIN/ns/NS/sa/SA`). A
//! new trust domain that one side does not list is an outage with every root in place.
//! Sources: istio/istio `pilot/pkg/networking/plugin/authn/util.go`,
//! `pilot/pkg/networking/core/cluster_tls.go`; Envoy reads `match_subject_alt_names` and
//! `match_typed_subject_alt_names`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::dump::{Reading, field};
use crate::pki::SpiffeId;

/// One matcher of a peer's SAN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum San {
    /// The whole URI.
    Exact(String),
    /// The start of the URI.
    Prefix(String),
    /// A kind that is not judged here, as its text.
    Other(String),
}

impl San {
    /// Whether a peer with this URI passes; `None`: not known.
    fn accepts(&self, uri: &str) -> Option<bool> {
        match self {
            Self::Exact(text) => Some(text == uri),
            Self::Prefix(text) => Some(uri.starts_with(text.as_str())),
            Self::Other(_) => None,
        }
    }
}

impl std::fmt::Display for San {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "{text}"),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Other(text) => write!(f, "{text}"),
        }
    }
}

/// What the inbound side demands of a client's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inbound {
    /// TLS without any matcher: every name passes (`PILOT_SKIP_VALIDATE_TRUST_DOMAIN`).
    AnyName,
    /// No inbound listener with the mesh's mutual TLS: nobody in the mesh is a client of this proxy. Ingress gateways are
    /// such; an egress gateway that serves `ISTIO_MUTUAL` is not.
    NotAServer,
    /// A client passes when one of these does.
    Names(BTreeSet<San>),
}

/// What the outbound side demands of a server's name, by the server's namespace and service account.
///
/// A service account that no cluster names is not addressed through a name matcher at all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Outbound {
    /// (namespace, service account) → trust domains accepted by every cluster that names it.
    pub accounts: BTreeMap<(String, String), BTreeSet<String>>,
    /// Trust domains accepted of every account: what a revision's configuration will say, known
    /// before there is a proxy to read it from. Wins over `accounts`.
    pub everyone: Option<BTreeSet<String>>,
    /// Clusters whose matchers cannot be judged here, by name.
    pub opaque: BTreeSet<String>,
}

/// Both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matchers {
    /// For clients of this proxy.
    pub inbound: Inbound,
    /// For servers that it calls.
    pub outbound: Outbound,
}

/// Whether a name is accepted, with the reason when not or not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepts {
    /// It passes.
    Yes,
    /// It is refused: what would have passed.
    No(String),
    /// It cannot be told.
    Unknown(String),
}

impl Inbound {
    /// Whether a client of this name passes.
    pub fn accepts(&self, client: &SpiffeId) -> Accepts {
        let Self::Names(sans) = self else {
            return Accepts::Yes;
        };
        let uri = client.to_string();
        let verdicts: Vec<_> = sans.iter().map(|san| san.accepts(&uri)).collect();
        if verdicts.contains(&Some(true)) {
            Accepts::Yes
        } else if verdicts.contains(&None) {
            Accepts::Unknown("its inbound matchers are of a kind that is not judged".into())
        } else {
            Accepts::No(join(sans.iter()))
        }
    }
}

impl Outbound {
    /// Whether a server of this name passes.
    pub fn accepts(&self, server: &SpiffeId) -> Accepts {
        let account = (server.namespace.clone(), server.service_account.clone());
        match self
            .everyone
            .as_ref()
            .or_else(|| self.accounts.get(&account))
        {
            None if !self.opaque.is_empty() => Accepts::Unknown(format!(
                "its cluster `{}` matches names in a way that is not judged",
                self.opaque.iter().next().map_or("", String::as_str)
            )),
            None => Accepts::Yes,
            Some(domains) if domains.contains(&server.trust_domain) => Accepts::Yes,
            Some(domains) => Accepts::No(join(
                domains
                    .iter()
                    .map(|d| format!("spiffe://{d}/ns/{}/sa/{}", account.0, account.1)),
            )),
        }
    }

    /// The trust domains accepted of every account, when they are the same for all: two proxies
    /// that differ only in which services they see then belong to one class.
    pub fn uniform(&self) -> Option<&BTreeSet<String>> {
        if self.everyone.is_some() {
            return self.everyone.as_ref();
        }
        let mut domains = self.accounts.values();
        let first = domains.next()?;
        domains.all(|d| d == first).then_some(first)
    }
}

/// Reads the matchers out of config dumps that together show listeners and clusters.
///
/// # Errors
/// A reason when a section is missing: without it "nothing is demanded" would be a guess.
pub fn matchers(dumps: &[&Value]) -> Reading<Matchers> {
    let sections = |suffix: &str| -> Vec<&Value> {
        dumps
            .iter()
            .filter_map(|dump| dump.get("configs").and_then(Value::as_array))
            .flatten()
            .filter(|c| c["@type"].as_str().is_some_and(|t| t.ends_with(suffix)))
            .collect()
    };
    let (listeners, clusters) = (
        sections(".ListenersConfigDump"),
        sections(".ClustersConfigDump"),
    );
    if listeners.is_empty() {
        return Err("the dump shows no listeners".into());
    }
    if clusters.is_empty() {
        return Err("the dump shows no clusters".into());
    }
    Ok(Matchers {
        inbound: inbound(&listeners),
        outbound: outbound(&clusters),
    })
}

/// Every TLS context for clients that asks for their certificate and judges it by the mesh's roots.
/// A client meets one filter chain; all of them must let it in, so the weakest common set counts.
fn inbound(sections: &[&Value]) -> Inbound {
    let mut chains: Vec<Inbound> = Vec::new();
    for section in sections {
        each_tls_context(section, "DownstreamTlsContext", &mut |context| {
            if field(
                context,
                "require_client_certificate",
                "requireClientCertificate",
            )
            .as_bool()
                != Some(true)
                || !uses_mesh_roots(context)
            {
                return;
            }
            let sans = sans_of(context);
            chains.push(if sans.is_empty() {
                Inbound::AnyName
            } else {
                Inbound::Names(sans)
            });
        });
    }
    let mut out: Option<Inbound> = None;
    for chain in chains {
        out = Some(match (out, chain) {
            (None, chain) => chain,
            (Some(Inbound::AnyName), other) | (Some(other), Inbound::AnyName) => other,
            (Some(Inbound::Names(a)), Inbound::Names(b)) if a == b => Inbound::Names(a),
            (Some(Inbound::Names(a)), Inbound::Names(b)) => {
                Inbound::Names(a.intersection(&b).cloned().collect())
            }
            (Some(other), Inbound::NotAServer) => other,
            (Some(Inbound::NotAServer), other) => other,
        });
    }
    out.unwrap_or(Inbound::NotAServer)
}

fn outbound(sections: &[&Value]) -> Outbound {
    let mut out = Outbound::default();
    for section in sections {
        let clusters = field(section, "dynamic_active_clusters", "dynamicActiveClusters");
        for entry in clusters.as_array().into_iter().flatten() {
            let cluster = &entry["cluster"];
            let name = cluster["name"].as_str().unwrap_or_default();
            let mut named: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
            each_tls_context(cluster, "UpstreamTlsContext", &mut |context| {
                if !uses_mesh_roots(context) {
                    return;
                }
                for san in sans_of(context) {
                    match &san {
                        San::Exact(uri) => {
                            if let Ok(id) = uri.parse::<SpiffeId>() {
                                named
                                    .entry((id.namespace, id.service_account))
                                    .or_default()
                                    .insert(id.trust_domain);
                            }
                        }
                        San::Prefix(_) | San::Other(_) => {
                            out.opaque.insert(name.to_owned());
                        }
                    }
                }
            });
            for (account, domains) in named {
                out.accounts
                    .entry(account)
                    .and_modify(|known| known.retain(|d| domains.contains(d)))
                    .or_insert(domains);
            }
        }
    }
    out
}

/// Calls `found` with every TLS context of the wanted kind below `value`.
fn each_tls_context(value: &Value, kind: &str, found: &mut dyn FnMut(&Value)) {
    match value {
        Value::Object(map) => {
            if map
                .get("@type")
                .and_then(Value::as_str)
                .is_some_and(|t| t.ends_with(kind))
            {
                found(value);
                return;
            }
            map.values().for_each(|v| each_tls_context(v, kind, found));
        }
        Value::Array(list) => list.iter().for_each(|v| each_tls_context(v, kind, found)),
        _ => {}
    }
}

fn uses_mesh_roots(context: &Value) -> bool {
    let combined = combined_context(context);
    let config = field(
        combined,
        "validation_context_sds_secret_config",
        "validationContextSdsSecretConfig",
    );
    config["name"] == super::names::SDS_ROOT
}

fn combined_context(context: &Value) -> &Value {
    let common = field(context, "common_tls_context", "commonTlsContext");
    field(
        common,
        "combined_validation_context",
        "combinedValidationContext",
    )
}

fn sans_of(context: &Value) -> BTreeSet<San> {
    let default = field(
        combined_context(context),
        "default_validation_context",
        "defaultValidationContext",
    );
    let plain = field(default, "match_subject_alt_names", "matchSubjectAltNames");
    let typed = field(
        default,
        "match_typed_subject_alt_names",
        "matchTypedSubjectAltNames",
    );
    let lists = [plain, typed];
    let plain = plain.as_array().into_iter().flatten();
    let typed = typed
        .as_array()
        .into_iter()
        .flatten()
        .filter(|m| field(m, "san_type", "sanType") == "URI")
        .map(|m| &m["matcher"]);
    let mut sans: BTreeSet<San> = plain.chain(typed).map(san).collect();
    // Matchers of other kinds of names, or something that is no list: no URI may pass them, but whoever
    // wrote them demands a name.
    let demands = |list: &&Value| list.as_array().map_or(!list.is_null(), |l| !l.is_empty());
    if sans.is_empty() {
        let demanded = lists.into_iter().filter(demands);
        sans.extend(demanded.map(|list| San::Other(list.to_string())));
    }
    sans
}

fn san(matcher: &Value) -> San {
    let plain = !field(matcher, "ignore_case", "ignoreCase")
        .as_bool()
        .unwrap_or(false);
    match (matcher["exact"].as_str(), matcher["prefix"].as_str()) {
        (Some(text), _) if plain => San::Exact(text.to_owned()),
        (_, Some(text)) if plain => San::Prefix(text.to_owned()),
        _ => San::Other(matcher.to_string()),
    }
}

fn join<T: ToString>(items: impl Iterator<Item = T>) -> String {
    let items: Vec<_> = items.map(|i| i.to_string()).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn inbound_of(validation: &Value) -> Inbound {
        let context = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": {"combined_validation_context": {
                "default_validation_context": validation,
                "validation_context_sds_secret_config": {"name": "ROOTCA"}
            }}
        });
        inbound(&[&json!({"dynamic_listeners": [context]})])
    }

    #[test]
    fn matchers_that_no_uri_can_pass_do_not_let_every_name_pass() {
        assert_eq!(inbound_of(&json!({})), Inbound::AnyName);
        assert_eq!(
            inbound_of(&json!({"match_typed_subject_alt_names": []})),
            Inbound::AnyName
        );
        let client = SpiffeId::new("cluster.local", "shop", "front");
        for demanding in [
            json!({"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "a"}}]}),
            json!({"matchTypedSubjectAltNames": [{}]}),
            json!({"match_subject_alt_names": "spiffe://cluster.local/"}),
        ] {
            let accepts = inbound_of(&demanding).accepts(&client);
            assert!(matches!(accepts, Accepts::Unknown(_)), "{demanding}");
        }
    }
}

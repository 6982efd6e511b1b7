//! What a revision's ConfigMaps and environment say, as its istiod and its injector read them.

use serde_json::{Map, Value, json};

use crate::pki::Cert;

/// The parts of `meshConfig` that decide over certificates and their checking.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct MeshConfig {
    /// Trust domain of the identities that this revision's Citadel gives out.
    pub(super) trust_domain: String,
    /// Trust domains that count as the own one.
    pub(super) aliases: Vec<String>,
    /// Roots from `caCertificates[].pem`, each trimmed. Empty when one of them is refused: one bad
    /// entry rejects the whole source (Istio, `pilot/pkg/trustbundle`).
    pub(super) ca_certificates: Vec<String>,
    /// `caCertificates[].trustDomains`, accepted inbound beside the own ones.
    pub(super) ca_trust_domains: Vec<String>,
    /// `defaultConfig`: what every proxy of the revision is configured with at injection.
    pub(super) default_config: Map<String, Value>,
}

impl MeshConfig {
    /// Reads the text of the ConfigMap's key `mesh`.
    ///
    /// # Errors
    /// Text that is not YAML with a mapping at its top: istiod keeps the configuration it had.
    pub(super) fn parse(text: &str) -> Result<MeshConfig, String> {
        let config: Value = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
        if !config.is_object() {
            return Err("the mesh configuration is not a mapping".to_owned());
        }
        let certificates = config["caCertificates"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        Ok(MeshConfig {
            trust_domain: config["trustDomain"]
                .as_str()
                .unwrap_or("cluster.local")
                .to_owned(),
            aliases: strings(&config["trustDomainAliases"]),
            ca_certificates: anchors(&certificates).unwrap_or_default(),
            ca_trust_domains: certificates
                .iter()
                .flat_map(|c| strings(&c["trustDomains"]))
                .collect(),
            default_config: config["defaultConfig"]
                .as_object()
                .cloned()
                .unwrap_or_default(),
        })
    }

    /// Trust domains that an inbound listener of this revision accepts, without repetition.
    pub(super) fn accepted_domains(&self) -> Vec<String> {
        let mut domains = vec![self.trust_domain.clone()];
        for domain in self.aliases.iter().chain(&self.ca_trust_domains) {
            if !domains.contains(domain) {
                domains.push(domain.clone());
            }
        }
        domains
    }

    /// Trust domains under which an outbound cluster of this revision expects a server.
    pub(super) fn expected_domains(&self) -> Vec<String> {
        let mut domains = vec![self.trust_domain.clone()];
        domains.extend(
            self.aliases
                .iter()
                .filter(|a| **a != self.trust_domain)
                .cloned(),
        );
        domains
    }

    /// The proxy configuration of a pod: `defaultConfig` below the pod's own annotation
    /// `proxy.istio.io/config`.
    pub(super) fn proxy_config(
        &self,
        annotation: Option<&str>,
    ) -> Result<Map<String, Value>, String> {
        let mut merged = Value::Object(self.default_config.clone());
        if let Some(text) = annotation {
            let own: Value = serde_saphyr::from_str(text)
                .map_err(|e| format!("annotation `proxy.istio.io/config`: {e}"))?;
            merge(&mut merged, &own);
        }
        Ok(merged.as_object().cloned().unwrap_or_default())
    }
}

impl Default for MeshConfig {
    fn default() -> MeshConfig {
        MeshConfig {
            trust_domain: "cluster.local".to_owned(),
            aliases: Vec::new(),
            ca_certificates: Vec::new(),
            ca_trust_domains: Vec::new(),
            default_config: Map::new(),
        }
    }
}

/// Merges mappings key by key; everything else is replaced, lists too (as IstioOperator overlays).
pub(in crate::twin) fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// The variables of a container as text; those taken from fields are left out.
pub(super) fn environment(container: &Value) -> impl Iterator<Item = (&str, &str)> {
    container["env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| Some((entry["name"].as_str()?, entry["value"].as_str()?)))
}

/// The container of that name among a pod's containers and init containers.
pub(super) fn container<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    ["containers", "initContainers"]
        .into_iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten()
        .find(|container| container["name"] == name)
}

/// `metadata` of an object as text, empty when absent.
pub(super) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// A mapping of text, as labels and annotations are.
pub(super) fn text_at<'a>(object: &'a Value, map: &str, key: &str) -> Option<&'a str> {
    object["metadata"][map].get(key)?.as_str()
}

/// Whether a selector of equal labels selects an object's labels. An empty selector selects nothing.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(wanted) = selector.as_object().filter(|s| !s.is_empty()) else {
        return false;
    };
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// An empty map where a map is wanted.
pub(super) fn ensure_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// Only the first block of an entry is looked at, and it must be a CA.
fn anchors(certificates: &[Value]) -> Option<Vec<String>> {
    certificates
        .iter()
        .filter_map(|c| c["pem"].as_str())
        .map(|pem| {
            let end = "-----END CERTIFICATE-----";
            let first = &pem[..pem.find(end)? + end.len()];
            let cert = Cert::from_pem(first).ok()?;
            cert.is_ca().then(|| pem.trim().to_owned())
        })
        .collect()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_accepted_and_expected_without_repetition() {
        let config = MeshConfig::parse(
            "trustDomain: a\ntrustDomainAliases: [b, a]\ncaCertificates: [{trustDomains: [c]}]\n",
        )
        .unwrap();
        assert_eq!(config.accepted_domains(), ["a", "b", "c"]);
        assert_eq!(config.expected_domains(), ["a", "b"]);
    }

    #[test]
    fn one_bad_certificate_rejects_the_whole_source() {
        let good = include_str!("../../pki/meshca-root.pem");
        let indent = |pem: &str| {
            pem.lines()
                .map(|l| format!("    {l}"))
                .collect::<Vec<_>>()
                .join("\n")
                + "\n"
        };
        let one = format!("caCertificates:\n- pem: |\n{}", indent(good));
        assert_eq!(MeshConfig::parse(&one).unwrap().ca_certificates.len(), 1);
        let two = format!("{one}- pem: nonsense\n");
        assert!(MeshConfig::parse(&two).unwrap().ca_certificates.is_empty());
    }

    #[test]
    fn a_pods_own_configuration_is_merged_over_the_default() {
        let config = MeshConfig::parse("defaultConfig: {proxyMetadata: {A: x, B: x}}\n").unwrap();
        let merged = config.proxy_config(Some("proxyMetadata: {B: z}")).unwrap();
        assert_eq!(
            Value::Object(merged),
            json!({"proxyMetadata": {"A": "x", "B": "z"}})
        );
    }

    #[test]
    fn an_empty_selector_selects_nothing() {
        assert!(!selects(&json!({}), &json!({"a": "b"})));
        assert!(selects(&json!({"a": "b"}), &json!({"a": "b", "c": "d"})));
    }
}

//! Who signs: istiod's Citadel, with its key from where Istio looks for it, and the new CA.
//!
//! Rules of `pilot/pkg/bootstrap/istio_ca.go` and `security/pkg/pki/ca` up to Istio 1.26: a complete
//! `cacerts` wins; without its key istiod falls back to `istio-ca-secret`; without that it makes one.
//! What is read at the start stays in memory until the next start. Not modelled: reloading of
//! `cacerts`, the rotation of a self-signed root near its end, replicas that reload a foreign
//! `istio-ca-secret` after an hour.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::manifests::ISTIO_SYSTEM;
use crate::pki::mint::{Authority, CaSpec, LeafSpec, MintError};
use crate::pki::{Bundle, Cert, PrivateKey, SpiffeId, certs_from_pem, paths};
use crate::twin::kube::Kube;

/// The answer to a certificate signing request.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    /// Leaf, intermediates, all roots: the whole of secret `default`.
    pub(super) chain: Vec<Cert>,
    pub(super) key: PrivateKey,
    /// The last element of the answer, which the agent takes for the CA's roots.
    pub(super) roots: Vec<Cert>,
}

/// istiod's own CA, as it is in memory.
#[derive(Clone, Debug)]
pub(super) struct Citadel {
    authority: Authority,
    /// `cert-chain.pem`: between the leaf and the roots.
    between: Vec<Cert>,
    /// `root-cert.pem`, whole.
    roots: Vec<Cert>,
}

/// The new CA: a throw-away root shaped as Mesh CA's, and an intermediate that signs.
#[derive(Clone, Debug)]
pub(super) struct MeshCa {
    issuing: Authority,
}

impl Citadel {
    /// What a starting istiod loads, making `istio-ca-secret` when there is nothing to load.
    ///
    /// # Errors
    /// Keys that are there and cannot be used: istiod does not start.
    pub(super) async fn load(kube: &Kube, trust_domain: &str) -> Result<Citadel, String> {
        if let Some(secret) = kube.get("secrets", ISTIO_SYSTEM, "cacerts")
            && let Some(plugged) = Citadel::plugged(&secret)?
        {
            return Ok(plugged);
        }
        // Of two replicas that start together the loser's create fails, and it loads the winner's.
        for _ in 0..2 {
            if let Some(secret) = kube.get("secrets", ISTIO_SYSTEM, "istio-ca-secret") {
                return Citadel::from_texts(
                    &data(&secret, "ca-cert.pem"),
                    &data(&secret, "ca-key.pem"),
                    "",
                    &data(&secret, "ca-cert.pem"),
                )
                .map_err(|e| format!("istio-ca-secret: {e}"));
            }
            let root = Authority::self_signed(&CaSpec::istio(trust_domain, Timestamp::now()))
                .map_err(|e| e.to_string())?;
            let secret = istio_ca_secret(&root);
            if kube.create("secrets", ISTIO_SYSTEM, secret).await.is_ok() {
                let roots = vec![root.cert().clone()];
                return Ok(Citadel {
                    authority: root,
                    between: Vec::new(),
                    roots,
                });
            }
        }
        Err("istio-ca-secret can neither be read nor created".to_owned())
    }

    /// The roots that istiod advertises.
    pub(super) fn roots(&self) -> &[Cert] {
        &self.roots
    }

    /// Signs for a workload.
    pub(super) fn issue(&self, id: &SpiffeId) -> Result<Issued, String> {
        issue(&self.authority, &self.between, &self.roots, id)
    }

    /// `cacerts`, in istiod's own form or in that of a TLS secret. Nothing when there is no key in it
    /// (up to Istio 1.26) or when istiod itself has made it.
    fn plugged(secret: &Value) -> Result<Option<Citadel>, String> {
        let has = |key: &str| secret["data"].get(key).is_some();
        if has("istio-generated") {
            return Ok(None);
        }
        let [cert, key, chain, root] = if has("tls.crt") {
            [
                data(secret, "tls.crt"),
                data(secret, "tls.key"),
                data(secret, "ca.crt"),
                data(secret, "ca.crt"),
            ]
        } else if has("ca-key.pem") {
            [
                "ca-cert.pem",
                "ca-key.pem",
                "cert-chain.pem",
                "root-cert.pem",
            ]
            .map(|key| data(secret, key))
        } else {
            return Ok(None);
        };
        Citadel::from_texts(&cert, &key, &chain, &root)
            .map(Some)
            .map_err(|e| format!("cacerts: {e}"))
    }

    fn from_texts(cert: &str, key: &str, chain: &str, root: &str) -> Result<Citadel, String> {
        let (roots, _) = certs_from_pem(root);
        let Some(top) = roots.first() else {
            return Err("there is no root certificate".to_owned());
        };
        let (between, _) = certs_from_pem(chain);
        let between: Vec<Cert> = between.into_iter().filter(|c| !roots.contains(c)).collect();
        let mut up = cert.to_owned();
        for above in between
            .iter()
            .chain([top])
            .filter(|c| !cert.contains(c.pem().trim()))
        {
            up.push('\n');
            up.push_str(&above.pem());
        }
        let authority = Authority::from_pem(&up, key).map_err(|e| e.to_string())?;
        let anchors = Bundle::from_certs(roots.iter().cloned());
        anchored(&authority, &between, &anchors)?;
        Ok(Citadel {
            authority,
            between,
            roots,
        })
    }
}

impl MeshCa {
    /// A new one.
    ///
    /// # Errors
    /// No randomness.
    pub(super) fn new() -> Result<MeshCa, MintError> {
        let now = Timestamp::now();
        let root = Authority::self_signed(&CaSpec::mesh_ca(now))?;
        let spec = CaSpec::new(
            [
                ("O", "Google LLC"),
                ("CN", "istio_v1_cloud_workload_twin_issuing"),
            ],
            now,
        );
        Ok(MeshCa {
            issuing: root.intermediate(&spec.path_len(0))?,
        })
    }

    pub(super) fn root(&self) -> &Cert {
        self.issuing.root()
    }

    /// Signs for a workload: leaf, intermediate, root.
    pub(super) fn issue(&self, id: &SpiffeId) -> Result<Issued, String> {
        issue(
            &self.issuing,
            &self.issuing.chain(),
            std::slice::from_ref(self.root()),
            id,
        )
    }
}

/// An operator's root, for scenarios whose old CA is plugged in.
///
/// # Errors
/// No randomness.
pub(in crate::twin) fn operators_root(now: Timestamp) -> Result<Authority, MintError> {
    Authority::self_signed(&CaSpec::new(
        [("O", "Example"), ("CN", "Example Root CA")],
        now,
    ))
}

/// A `cacerts` as an operator makes it below a root, for one cluster.
///
/// # Errors
/// No randomness.
pub(in crate::twin) fn operators_cacerts(
    root: &Authority,
    cluster: &str,
    now: Timestamp,
) -> Result<Value, MintError> {
    let issuing = root.intermediate(&CaSpec::new(
        [("O", "Example"), ("CN", "Example Mesh CA"), ("L", cluster)],
        now,
    ))?;
    let encode = |text: &str| json!(STANDARD.encode(text));
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "cacerts", "namespace": ISTIO_SYSTEM},
        "data": {
            "ca-cert.pem": encode(&issuing.cert().pem()),
            "ca-key.pem": encode(issuing.key_pem().expose_secret()),
            "cert-chain.pem": encode(&issuing.cert().pem()),
            "root-cert.pem": encode(&root.cert().pem()),
        },
    }))
}

/// Whether what a CA signs leads to the anchors, tried with a certificate that nobody gets.
///
/// # Errors
/// Why there is no path.
pub(in crate::twin) fn anchored(
    authority: &Authority,
    pool: &[Cert],
    anchors: &Bundle,
) -> Result<(), String> {
    let now = Timestamp::now();
    let probe = LeafSpec::uris(["spiffe://probe/ns/probe/sa/probe"], now);
    let (leaf, _) = authority.issue(&probe).map_err(|e| e.to_string())?;
    let pool: Vec<Cert> = pool.iter().chain([authority.cert()]).cloned().collect();
    paths(&leaf, &pool, anchors, now)
        .map(drop)
        .map_err(|e| format!("cannot verify the certificate with the root: {e}"))
}

fn issue(
    by: &Authority,
    between: &[Cert],
    roots: &[Cert],
    id: &SpiffeId,
) -> Result<Issued, String> {
    let (leaf, key) = by
        .issue(&LeafSpec::workload(id, Timestamp::now()))
        .map_err(|e| e.to_string())?;
    let chain = std::iter::once(&leaf)
        .chain(between)
        .chain(roots)
        .cloned()
        .collect();
    Ok(Issued {
        chain,
        key,
        roots: roots.to_vec(),
    })
}

/// PEM texts one after the other, each with its line end.
pub(super) fn pem(certs: &[Cert]) -> String {
    certs
        .iter()
        .fold(String::new(), |text, cert| text + cert.pem().trim() + "\n")
}

/// As istiod writes it: `root-cert.pem` is the certificate, the last two keys are empty.
fn istio_ca_secret(root: &Authority) -> Value {
    let cert = json!(STANDARD.encode(root.cert().pem()));
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "istio.io/ca-root",
        "metadata": {"name": "istio-ca-secret", "namespace": ISTIO_SYSTEM},
        "data": {
            "ca-cert.pem": cert,
            "ca-key.pem": STANDARD.encode(root.key_pem().expose_secret()),
            "cert-chain.pem": "",
            "key.pem": "",
            "root-cert.pem": cert,
        },
    })
}

fn data(secret: &Value, key: &str) -> String {
    secret["data"][key]
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> SpiffeId {
        "spiffe://cluster.local/ns/shop/sa/web".parse().unwrap()
    }

    fn cacerts() -> Value {
        let now = Timestamp::now();
        operators_cacerts(&operators_root(now).unwrap(), "twin", now).unwrap()
    }

    async fn cluster() -> Kube {
        let kube = Kube::new(1);
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ISTIO_SYSTEM}});
        kube.create("namespaces", "", namespace).await.unwrap();
        kube
    }

    #[tokio::test]
    async fn a_secret_is_made_once_and_loaded_by_the_next_start() {
        let kube = cluster().await;
        let first = Citadel::load(&kube, "cluster.local").await.unwrap();
        let second = Citadel::load(&kube, "cluster.local").await.unwrap();
        assert_eq!(first.roots(), second.roots());
        assert_eq!(first.roots()[0].subject(), "O=cluster.local");
        let secret = kube
            .get("secrets", ISTIO_SYSTEM, "istio-ca-secret")
            .unwrap();
        assert_eq!(secret["type"], "istio.io/ca-root");
    }

    #[tokio::test]
    async fn without_its_secret_the_next_start_makes_another_root_of_the_same_name() {
        let kube = cluster().await;
        let first = Citadel::load(&kube, "cluster.local").await.unwrap();
        kube.remove("secrets", ISTIO_SYSTEM, "istio-ca-secret")
            .unwrap();
        let second = Citadel::load(&kube, "cluster.local").await.unwrap();
        assert_eq!(first.roots()[0].subject(), second.roots()[0].subject());
        assert_ne!(first.roots()[0].sha256(), second.roots()[0].sha256());
    }

    #[tokio::test]
    async fn a_plugged_ca_wins_and_its_leaves_present_the_intermediate_and_the_root() {
        let kube = cluster().await;
        Citadel::load(&kube, "cluster.local").await.unwrap();
        let secret = cacerts();
        kube.create("secrets", ISTIO_SYSTEM, secret).await.unwrap();
        let plugged = Citadel::load(&kube, "cluster.local").await.unwrap();
        assert_eq!(plugged.roots()[0].subject(), "CN=Example Root CA,O=Example");
        let issued = plugged.issue(&id()).unwrap();
        assert_eq!(issued.chain.len(), 3, "leaf, intermediate, root");
        assert_eq!(issued.chain[2], plugged.roots()[0]);
    }

    #[tokio::test]
    async fn cacerts_without_a_key_falls_back_and_with_a_foreign_key_is_an_error() {
        let kube = cluster().await;
        let mut secret = cacerts();
        let other = cacerts();
        secret["data"]["ca-key.pem"] = other["data"]["ca-key.pem"].clone();
        kube.create("secrets", ISTIO_SYSTEM, secret).await.unwrap();
        let error = Citadel::load(&kube, "cluster.local").await.unwrap_err();
        assert!(error.starts_with("cacerts: "), "{error}");
        kube.update("secrets", ISTIO_SYSTEM, "cacerts", |s| {
            s["data"].as_object_mut().unwrap().remove("ca-key.pem");
        })
        .unwrap();
        let citadel = Citadel::load(&kube, "cluster.local").await.unwrap();
        assert_eq!(citadel.roots()[0].subject(), "O=cluster.local");
    }

    #[test]
    fn mesh_ca_answers_with_leaf_intermediate_and_root() {
        let mesh_ca = MeshCa::new().unwrap();
        let issued = mesh_ca.issue(&id()).unwrap();
        assert_eq!(issued.chain.len(), 3);
        assert_eq!(issued.roots, [mesh_ca.root().clone()]);
        assert!(
            mesh_ca
                .root()
                .subject()
                .contains("istio_v1_cloud_workload_root-signer")
        );
    }
}

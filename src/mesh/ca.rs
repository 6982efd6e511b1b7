//! The CAs of a mesh by name: CITADEL from the running control plane, MESHCA built in, others given.
//!
//! A name stands for certificates, never for a subject: two CAs may both be called
//! `O=cluster.local`, and the one that istiod makes after its secret was deleted is such a one.

use base64::Engine as _;

use super::{MeshError, names, record};
use crate::cluster::{Cluster, ClusterError, Object};
use crate::pki::{Bundle, NamedCa, certs_from_pem, meshca};

/// The named CAs of one mesh.
///
/// CITADEL is, in this order: the one given; the one recorded when the migration started
/// ([`record`]); the one that the CA secret and the published root agree about.
///
/// # Errors
/// When no place tells CITADEL's root, or two places tell different ones.
pub async fn find(cluster: &Cluster, given: &[NamedCa]) -> Result<Vec<NamedCa>, MeshError> {
    let mut all: Vec<NamedCa> = given.to_vec();
    if !all.iter().any(|ca| ca.name == names::MESHCA) {
        let roots = Bundle::from_certs(certs_from_pem(meshca::ROOT_PEM).0);
        all.push(NamedCa {
            name: names::MESHCA.into(),
            roots,
        });
    }
    if !all.iter().any(|ca| ca.name == names::CITADEL) {
        let roots = match record::start(cluster).await? {
            Some(start) => start.roots,
            None => running_root(cluster).await?,
        };
        all.insert(
            0,
            NamedCa {
                name: names::CITADEL.into(),
                roots,
            },
        );
    }
    Ok(all)
}

/// The root with which the running control plane signs.
pub async fn running_root(cluster: &Cluster) -> Result<Bundle, MeshError> {
    let secret = match secret_root(cluster).await {
        // Who only looks need not be able to read secrets: the ConfigMap says the same in public.
        Err(MeshError::Cluster(ClusterError::Forbidden(_))) => None,
        secret => secret?,
    };
    let published = published_root(cluster).await?;
    match (secret, published) {
        (Some((place, from_secret)), Some(from_map)) => {
            // A self-signed CA is re-issued with the same key (rotator): one key, two certificates.
            let same_key = from_secret
                .certs()
                .any(|c| from_map.certs().any(|m| m.spki_sha256() == c.spki_sha256()));
            if same_key {
                return Ok(from_secret.union(&from_map));
            }
            Err(MeshError::CaDisagrees(format!(
                "secret {}/{place} has {}, ConfigMap {}/{} has {}",
                names::ISTIO_SYSTEM,
                list(&from_secret),
                names::ISTIO_SYSTEM,
                names::ROOT_CONFIG_MAP,
                list(&from_map)
            )))
        }
        (Some((_, roots)), None) | (None, Some(roots)) => Ok(roots),
        (None, None) => Err(MeshError::NoCa(format!(
            "secrets {0}/{1} and {0}/{2}, ConfigMap {0}/{3}",
            names::ISTIO_SYSTEM,
            names::CACERTS,
            names::CA_SECRET,
            names::ROOT_CONFIG_MAP
        ))),
    }
}

/// The root in the CA secret that istiod would load now: `cacerts` when complete, else
/// `istio-ca-secret`. None when there is none.
///
/// # Errors
/// [`ClusterError::Forbidden`] when a secret may not be read: then it is not known which one there is.
pub async fn secret_root(cluster: &Cluster) -> Result<Option<(String, Bundle)>, MeshError> {
    let kind = cluster.kind("secrets").await?;
    for (name, keys) in [
        (names::CACERTS, ["root-cert.pem", "ca.crt"].as_slice()),
        (names::CA_SECRET, ["ca-cert.pem"].as_slice()),
    ] {
        let secret = cluster.get(&kind, Some(names::ISTIO_SYSTEM), name).await?;
        let Some(secret) = secret else { continue };
        for key in keys {
            if let Some(text) = secret_text(&secret, key) {
                let (certs, _) = certs_from_pem(&text);
                if !certs.is_empty() {
                    return Ok(Some((name.to_owned(), Bundle::from_certs(certs))));
                }
            }
        }
    }
    Ok(None)
}

async fn published_root(cluster: &Cluster) -> Result<Option<Bundle>, MeshError> {
    let kind = cluster.kind("configmaps").await?;
    let map = cluster
        .get(&kind, Some(names::ISTIO_SYSTEM), names::ROOT_CONFIG_MAP)
        .await?;
    Ok(map.and_then(|m| {
        let certs = certs_from_pem(m.value()["data"]["root-cert.pem"].as_str()?).0;
        (!certs.is_empty()).then(|| Bundle::from_certs(certs))
    }))
}

fn secret_text(secret: &Object, key: &str) -> Option<String> {
    let encoded = secret.value()["data"][key].as_str()?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .ok()?;
    String::from_utf8(bytes)
        .ok()
        .filter(|t| !t.trim().is_empty())
}

/// The name by which a root goes, or its fingerprint when it has none.
pub fn name_of(root: &crate::pki::Cert, cas: &[NamedCa]) -> String {
    cas.iter().find(|ca| ca.roots.contains(root)).map_or_else(
        || format!("{} ({})", root.sha256().short(), root.subject()),
        |ca| ca.name.clone(),
    )
}

fn list(bundle: &Bundle) -> String {
    let all: Vec<_> = bundle.certs().map(|c| c.sha256().short()).collect();
    all.join(", ")
}

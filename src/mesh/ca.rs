//! The CAs of a mesh by name: CITADEL from the running control plane, MESHCA built in, others given.
//!
//! A name stands for certificates, never for a subject: two CAs may both be called
//! `O=cluster.local`, and the one that istiod makes after its secret was deleted is such a one.

use jiff::Timestamp;

use super::ca_secrets::CaSecrets;
use super::{MeshError, names, record};
use crate::cluster::{Cluster, ClusterError};
use crate::pki::{Bundle, NamedCa, certs_from_pem, meshca};

/// The named CAs of one mesh.
///
/// CITADEL is, in this order: the one given; the one recorded when the migration started
/// ([`record`]); the one that the CA secret and the published root agree about. One that is given
/// must share a key with what the cluster tells, if it tells anything.
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
    if let Some(ca) = all.iter().find(|ca| ca.name == names::CITADEL) {
        confirm(cluster, &ca.roots).await?;
    } else {
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

/// Whether the cluster has another CITADEL than the one that was given.
async fn confirm(cluster: &Cluster, given: &Bundle) -> Result<(), MeshError> {
    let told = match record::start(cluster).await {
        Ok(Some(start)) => Ok(vec![(
            format!(
                "the record of the start (ConfigMap {}/{})",
                names::ISTIO_SYSTEM,
                record::CONFIG_MAP
            ),
            start.roots,
        )]),
        Ok(None) => sources(cluster).await,
        Err(error) => Err(error),
    };
    let told = match told {
        // Who may read none of it has only the given one.
        Err(MeshError::Cluster(ClusterError::Forbidden(_))) => return Ok(()),
        told => told?,
    };
    if told.is_empty() || told.iter().any(|(_, roots)| roots.shares_key(given)) {
        return Ok(());
    }
    let told: Vec<String> = told.iter().map(says).collect();
    Err(MeshError::CaDisagrees(format!(
        "--ca {} has {}, {}",
        names::CITADEL,
        list(given),
        told.join(", ")
    )))
}

/// The root with which the running control plane signs.
pub async fn running_root(cluster: &Cluster) -> Result<Bundle, MeshError> {
    let told = sources(cluster).await?;
    let Some((_, first)) = told.first() else {
        return Err(MeshError::NoCa(format!(
            "secrets {0}/{1} and {0}/{2}, ConfigMap {0}/{3}",
            names::ISTIO_SYSTEM,
            names::CACERTS,
            names::CA_SECRET,
            names::ROOT_CONFIG_MAP
        )));
    };
    // A self-signed CA is re-issued with the same key (rotator): one key, two certificates.
    if told.iter().all(|(_, roots)| roots.shares_key(first)) {
        return Ok(told
            .iter()
            .fold(Bundle::default(), |all, (_, roots)| all.union(roots)));
    }
    let told: Vec<String> = told.iter().map(says).collect();
    Err(MeshError::CaDisagrees(told.join(", ")))
}

/// The places that tell the root of the running control plane, and what they tell.
async fn sources(cluster: &Cluster) -> Result<Vec<(String, Bundle)>, MeshError> {
    let (secrets, published) = futures::join!(CaSecrets::read(cluster), published_root(cluster));
    let secret = match secrets {
        // Who only looks need not be able to read secrets: the ConfigMap says the same in public.
        Err(MeshError::Cluster(ClusterError::Forbidden(_))) => None,
        // What cannot be loaded was not loaded: the running istiod has another one in memory.
        secrets => secrets?.load(Timestamp::now()).ok().flatten(),
    };
    let secret = secret.map(|load| {
        let place = format!("secret {}/{}", names::ISTIO_SYSTEM, load.secret);
        (place, load.roots)
    });
    let published = published?.map(|roots| {
        let place = format!(
            "ConfigMap {}/{}",
            names::ISTIO_SYSTEM,
            names::ROOT_CONFIG_MAP
        );
        (place, roots)
    });
    Ok(secret.into_iter().chain(published).collect())
}

fn says((place, roots): &(String, Bundle)) -> String {
    format!("{place} has {}", list(roots))
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

//! Which kubeconfig, context, cluster and user; and what is wrong with them.
//!
//! `kube` reads the files. What it lets pass is checked here, because it would fail later and elsewhere: a
//! user that is not there, which would make an anonymous request of each; files and data of certificates.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use kube::Config;
use kube::config::{
    AuthInfo, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError,
};

use super::super::ClusterError;
use super::super::call::root_cause;
use super::Target;
use crate::effect::{environment, files};

/// A configuration that was chosen, and where it comes from.
pub(super) struct Chosen {
    pub(super) config: Config,
    pub(super) context: String,
    /// The kubeconfig file; none inside of a cluster, or if several files were merged.
    pub(super) path: Option<PathBuf>,
    /// Where it was read, for messages.
    pub(super) shown: String,
    /// The proxy that the kubeconfig itself names for this cluster.
    pub(super) own_proxy: Option<String>,
}

pub(super) async fn choose(target: &Target) -> Result<Chosen, ClusterError> {
    let (kubeconfig, path, shown) = match &target.kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path);
            let read = read.map_err(|e| unreadable(path, &e))?;
            (read, Some(path.clone()), path.display().to_string())
        }
        None => match read_all()? {
            Ok(read) => read,
            Err(looked_at) => return inside(target, &looked_at),
        },
    };
    let known: Vec<String> = kubeconfig.contexts.iter().map(|c| c.name.clone()).collect();
    let current = kubeconfig.current_context.clone().filter(|c| !c.is_empty());
    let Some(context) = target.context.clone().or(current) else {
        return Err(ClusterError::NoCurrentContext { path: shown, known });
    };
    if !known.contains(&context) {
        return Err(ClusterError::NoContext {
            path: shown,
            context,
            known,
        });
    }
    let wrong = |reason: String| ClusterError::Kubeconfig {
        path: shown.clone(),
        reason: format!("context `{context}`: {reason}"),
    };
    let own_proxy = references(&kubeconfig, &context).map_err(wrong)?;
    let options = KubeConfigOptions {
        context: Some(context.clone()),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|e| wrong(told(&e)))?;
    if config.cluster_url.host().is_none() || config.cluster_url.scheme().is_none() {
        let reason = format!(
            "`{}` is no address of a server: it begins with `https://`",
            config.cluster_url
        );
        return Err(wrong(reason));
    }
    material(&config.auth_info).map_err(wrong)?;
    Ok(Chosen {
        config,
        context,
        path,
        shown,
        own_proxy,
    })
}

type Read = (Kubeconfig, Option<PathBuf>, String);

/// The files that the environment names, merged; where there are none, where they were looked for. As
/// for kubectl, one of several may be missing.
fn read_all() -> Result<Result<Read, PathBuf>, ClusterError> {
    let paths = environment::kubeconfigs();
    let there: Vec<&PathBuf> = paths.iter().filter(|p| p.exists()).collect();
    if there.is_empty() {
        let first = paths.first().cloned();
        return Ok(Err(first.unwrap_or_else(|| PathBuf::from("~/.kube/config"))));
    }
    let mut merged = Kubeconfig::default();
    for path in &there {
        let read = Kubeconfig::read_from(path).and_then(|next| merged.merge(next));
        merged = read.map_err(|e| unreadable(path, &e))?;
    }
    let names: Vec<String> = there.iter().map(|p| p.display().to_string()).collect();
    let only = match (paths.as_slice(), there.as_slice()) {
        ([_], [path]) => Some((*path).clone()),
        _ => None,
    };
    Ok(Ok((merged, only, names.join(":"))))
}

/// No kubeconfig: the cluster that this runs in, if it runs in one.
fn inside(target: &Target, looked_at: &Path) -> Result<Chosen, ClusterError> {
    let missing = || ClusterError::NoKubeconfig {
        path: looked_at.display().to_string(),
    };
    if target.context.is_some() || !environment::in_cluster() {
        return Err(missing());
    }
    let config = Config::incluster().map_err(|error| ClusterError::Credentials {
        context: IN_CLUSTER.to_owned(),
        reason: match &error {
            InClusterError::ReadCertificateBundle(e) | InClusterError::ReadDefaultNamespace(e) => {
                format!("{ACCOUNT}: {}", files::reason(e))
            }
            other => root_cause(other),
        },
        hint: Some("the pod needs a service account (`automountServiceAccountToken: true`)".into()),
    })?;
    Ok(Chosen {
        config,
        context: IN_CLUSTER.to_owned(),
        path: None,
        shown: ACCOUNT.to_owned(),
        own_proxy: None,
    })
}

/// What the context of a cluster without a kubeconfig is called.
const IN_CLUSTER: &str = "in-cluster";
/// Where a pod finds what it needs to reach its cluster.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn unreadable(path: &Path, error: &KubeconfigError) -> ClusterError {
    match error {
        KubeconfigError::ReadConfig(e, path) if e.kind() == std::io::ErrorKind::NotFound => {
            ClusterError::NoKubeconfig {
                path: path.display().to_string(),
            }
        }
        _ => ClusterError::Kubeconfig {
            path: path.display().to_string(),
            reason: told(error),
        },
    }
}

/// What `kube` says, in our words where it is the file's fault.
fn told(error: &KubeconfigError) -> String {
    let load = |what: &str, e: &LoadDataError| match e {
        LoadDataError::ReadFile(e, path) => {
            format!("`{what}`: {}: {}", path.display(), files::reason(e))
        }
        LoadDataError::DecodeBase64(e) => format!("`{what}-data` is no base64: {e}"),
        other @ LoadDataError::NoBase64DataOrFile => root_cause(other),
    };
    match error {
        KubeconfigError::ReadConfig(e, _) => files::reason(e),
        KubeconfigError::Parse(e) => {
            // Without the part of the file that it shows: it may be a key.
            let text = e.to_string();
            let reason = text.lines().next().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            match e.location() {
                Some(at) if !reason.contains("line ") => format!("line {}: {reason}", at.line()),
                _ => reason.to_owned(),
            }
        }
        KubeconfigError::LoadCertificateAuthority(e) => load("certificate-authority", e),
        KubeconfigError::LoadClientCertificate(e) => load("client-certificate", e),
        KubeconfigError::LoadClientKey(e) => load("client-key", e),
        KubeconfigError::ParseCertificates(e) => {
            format!("`certificate-authority` holds no certificate in PEM: {e}")
        }
        KubeconfigError::MissingClusterUrl => "its cluster has no `server`".to_owned(),
        other => root_cause(other),
    }
}

/// Checks that a context's cluster and user are there, and gives the proxy of the cluster.
fn references(kubeconfig: &Kubeconfig, context: &str) -> Result<Option<String>, String> {
    let found = kubeconfig.contexts.iter().find(|c| c.name == context);
    let Some(found) = found.and_then(|c| c.context.as_ref()) else {
        return Err("it is empty".to_owned());
    };
    let list = |names: Vec<&String>| match names.as_slice() {
        [] => "the file has none".to_owned(),
        names => {
            let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
            format!("the file has {}", names.join(", "))
        }
    };
    let cluster = kubeconfig.clusters.iter().find(|c| c.name == found.cluster);
    let Some(cluster) = cluster.and_then(|c| c.cluster.as_ref()) else {
        let known = kubeconfig.clusters.iter().map(|c| &c.name).collect();
        return Err(format!(
            "there is no cluster `{}`; {}",
            found.cluster,
            list(known)
        ));
    };
    let user = found.user.as_deref().filter(|u| !u.is_empty());
    if let Some(user) = user
        && !kubeconfig.auth_infos.iter().any(|u| u.name == user)
    {
        let known = kubeconfig.auth_infos.iter().map(|u| &u.name).collect();
        return Err(format!("there is no user `{user}`; {}", list(known)));
    }
    Ok(cluster.proxy_url.clone())
}

/// Checks the files and the data of a user, which `kube` reads only when it makes the client.
fn material(user: &AuthInfo) -> Result<(), String> {
    let data = [
        (
            "client-certificate",
            user.client_certificate.as_ref(),
            user.client_certificate_data.clone(),
        ),
        (
            "client-key",
            user.client_key.as_ref(),
            user.client_key_data
                .as_ref()
                .map(|k| secrecy::ExposeSecret::expose_secret(k).to_owned()),
        ),
    ];
    for (name, path, data) in &data {
        match (path, data) {
            (_, Some(data)) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(data.trim());
                decoded.map_err(|e| format!("`{name}-data` is no base64: {e}"))?;
            }
            (Some(path), None) => {
                files::read_text(Path::new(path)).map_err(|e| format!("`{name}`: {e}"))?;
            }
            (None, None) => {}
        }
    }
    let there = |at: usize| data[at].1.is_some() || data[at].2.is_some();
    match (there(0), there(1)) {
        (true, false) => Err("its user has a client certificate, but no key".to_owned()),
        (false, true) => Err("its user has a client key, but no certificate".to_owned()),
        _ => {
            if let Some(path) = &user.token_file {
                files::read_text(Path::new(path)).map_err(|e| format!("`tokenFile`: {e}"))?;
            }
            Ok(())
        }
    }
}

/// A user's certificate, PEM.
pub(super) fn certificate(user: &AuthInfo) -> Option<Vec<u8>> {
    match (&user.client_certificate_data, &user.client_certificate) {
        (Some(data), _) => base64::engine::general_purpose::STANDARD
            .decode(data.trim())
            .ok(),
        (None, Some(path)) => files::read_text(Path::new(path))
            .ok()
            .map(String::into_bytes),
        (None, None) => None,
    }
}

/// `notAfter` of the first certificate of a PEM text; none if it cannot be read.
///
/// Only to explain a refusal: this room knows no X.509, so it walks the DER of RFC 5280, section 4.1, to
/// this one field.
pub(super) fn end_of_validity(pem: &[u8]) -> Option<jiff::Timestamp> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let body: String = body.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(body)
        .ok()?;
    let (_, certificate, _) = element(&der)?;
    let (_, mut rest, _) = element(certificate)?;
    // version [0], if it is there; serialNumber, signature, issuer
    if rest.first() == Some(&0xA0) {
        rest = element(rest)?.2;
    }
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, after) = element(validity)?;
    let (tag, time, _) = element(after)?;
    let time = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    // UTCTime has two digits of the year, 50 to 49 (RFC 5280, section 4.1.2.5.1).
    let whole = match tag {
        0x17 if time.get(..2)? >= "50" => format!("19{time}"),
        0x17 => format!("20{time}"),
        0x18 => time.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| whole.get(from..to);
    format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?,
    )
    .parse()
    .ok()
}

/// The first DER element: its tag, its content, and what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, first) = (*der.first()?, usize::from(*der.get(1)?));
    let (length, head) = if first < 0x80 {
        (first, 2)
    } else {
        let count = first - 0x80;
        let bytes = der.get(2..2 + count)?;
        let length = bytes.iter().try_fold(0_usize, |sum, b| {
            sum.checked_mul(256)?.checked_add(usize::from(*b))
        })?;
        (length, 2 + count)
    };
    let end = head.checked_add(length)?;
    Some((tag, der.get(head..end)?, der.get(end..)?))
}

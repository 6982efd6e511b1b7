//! The one context of a kubeconfig that `asmcli` acts on.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::effect::files::read_text;

/// Where the API server is and how to speak to it.
#[derive(Clone)]
pub(super) struct Access {
    /// Name of the context.
    pub(super) context: String,
    /// `https://HOST:PORT`.
    pub(super) server: String,
    /// PEM of the CA that signed the server's certificate.
    pub(super) ca: String,
    /// Bearer token.
    pub(super) token: String,
    /// Project, location and name, as the cluster's name `gke_PROJECT_LOCATION_NAME` tells them.
    pub(super) cluster: ClusterName,
}

/// What a cluster is called on Google Cloud.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct ClusterName {
    pub(super) project: String,
    pub(super) location: String,
    pub(super) name: String,
}

impl ClusterName {
    /// Splits at underscores, as the real tool does: the name may hold more of them.
    pub(super) fn of_context(context: &str) -> Option<ClusterName> {
        let rest = context.strip_prefix("gke_")?;
        let mut parts = rest.splitn(3, '_').filter(|p| !p.is_empty());
        Some(ClusterName {
            project: parts.next()?.to_owned(),
            location: parts.next()?.to_owned(),
            name: parts.next()?.to_owned(),
        })
    }
}

/// Reads the kubeconfig and picks `context`, or the current one.
///
/// # Errors
/// What is missing, in the words in which it is logged.
pub(super) fn read(path: &Path, context: Option<&str>) -> Result<Access, String> {
    let text = read_text(path).map_err(|e| e.to_string())?;
    let config: Value =
        serde_saphyr::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    let current = config["current-context"].as_str().filter(|c| !c.is_empty());
    let context = context.or(current).ok_or("Missing current-context in the KUBECONFIG. Please provide context with --context flag or set a current-context in the KUBECONFIG")?;
    let entry = named(&config, "contexts", "context", context)
        .ok_or_else(|| format!("no context exists with the name: \"{context}\""))?;
    let name_of = |key: &str| entry[key].as_str().unwrap_or_default();
    let cluster_name = name_of("cluster");
    let cluster = named(&config, "clusters", "cluster", cluster_name)
        .ok_or_else(|| format!("context {context}: no cluster {cluster_name}"))?;
    let user = named(&config, "users", "user", name_of("user"))
        .ok_or_else(|| format!("context {context}: no user {}", name_of("user")))?;
    let ca = match (
        cluster["certificate-authority-data"].as_str(),
        cluster["certificate-authority"].as_str(),
    ) {
        (Some(data), _) => STANDARD
            .decode(data)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or("certificate-authority-data is not base64 of a PEM text")?,
        (None, Some(file)) => read_text(Path::new(file)).map_err(|e| e.to_string())?,
        (None, None) => {
            return Err(format!(
                "cluster {cluster_name}: no certificate-authority-data"
            ));
        }
    };
    Ok(Access {
        context: context.to_owned(),
        server: cluster["server"]
            .as_str()
            .unwrap_or_default()
            .trim_end_matches('/')
            .to_owned(),
        ca,
        token: user["token"].as_str().unwrap_or_default().to_owned(),
        cluster: ClusterName::of_context(cluster_name)
            .or_else(|| ClusterName::of_context(context))
            .unwrap_or_default(),
    })
}

fn named<'a>(config: &'a Value, list: &str, field: &str, name: &str) -> Option<&'a Value> {
    config[list]
        .as_array()?
        .iter()
        .find(|e| e["name"] == name)
        .map(|e| &e[field])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clusters_name_is_split_into_three() {
        let name = ClusterName::of_context("gke_twin-project_us-central1-a_twin_2").unwrap();
        assert_eq!(
            (
                name.project.as_str(),
                name.location.as_str(),
                name.name.as_str()
            ),
            ("twin-project", "us-central1-a", "twin_2")
        );
        assert_eq!(ClusterName::of_context("kind-kind"), None);
        assert_eq!(ClusterName::of_context("gke_p_l"), None);
    }

    #[test]
    fn a_context_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        crate::effect::files::write_private(&path, "current-context: a\ncontexts: []\n").unwrap();
        assert_eq!(
            read(&path, None).err().unwrap(),
            "no context exists with the name: \"a\""
        );
        assert_eq!(
            read(&path, Some("b")).err().unwrap(),
            "no context exists with the name: \"b\""
        );
    }
}

//! What is kept for the way back: how a namespace was injected, copies of secrets.

use std::path::Path;

use crate::cluster::{Cluster, ClusterError};
use crate::effect::files;
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use crate::mesh::{names, record};

/// Notes on a namespace how it is injected, once.
pub(super) async fn remember(cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
    let kind = cluster.kind("namespaces").await?;
    let Some(found) = cluster.get(&kind, None, namespace).await? else {
        return Ok(());
    };
    if found.annotations().contains_key(record::PREVIOUS_INJECTION) {
        return Ok(());
    }
    let was: Vec<String> = [names::INJECTION, names::REV]
        .iter()
        .filter_map(|key| {
            found
                .labels()
                .get(*key)
                .map(|value| format!("{key}={value}"))
        })
        .collect();
    let note = [(record::PREVIOUS_INJECTION.to_owned(), Some(was.join(",")))].into();
    cluster.annotate(&kind, None, namespace, &note).await?;
    Ok(())
}

/// Writes a secret as YAML, 0600, beside copies that are there, and compares what was written.
pub(super) fn back_up(secret: &serde_json::Value, directory: &Path, name: &str) -> Reply<String> {
    let broken = |reason: String| {
        kit::fail(Failure::environment(format!(
            "backup of secret `{name}`: {reason}"
        )))
    };
    let text = serde_saphyr::to_string(secret).map_err(|e| broken(e.to_string()))?;
    files::create_dir(directory).map_err(|e| broken(e.to_string()))?;
    let mut path = directory.join(format!("{name}.yaml"));
    let mut copy = 1;
    while path.exists() {
        if std::fs::read_to_string(&path).is_ok_and(|held| held == text) {
            return Ok(path.display().to_string());
        }
        copy += 1;
        path = directory.join(format!("{name}-{copy}.yaml"));
    }
    files::write_private(&path, &text).map_err(|e| broken(e.to_string()))?;
    let held = files::read_text(&path).map_err(|e| broken(e.to_string()))?;
    let same =
        serde_saphyr::from_str::<serde_json::Value>(&held).is_ok_and(|value| value == *secret);
    if same {
        Ok(path.display().to_string())
    } else {
        Err(broken(format!(
            "`{}` does not read back as it was",
            path.display()
        )))
    }
}

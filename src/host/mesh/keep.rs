//! What is kept for the way back: how a namespace was injected, copies of secrets.

use std::path::Path;
use std::time::Duration;

use rhai::Map;
use rhai::plugin::*;
use serde::Deserialize;
use serde_json::Value;

use super::Mesh;
use crate::cluster::{Cluster, ClusterError};
use crate::effect::files;
use crate::effect::process::Command;
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use crate::mesh::{names, record};

/// How long a filter may take: it may ask a key server, and a person may have to touch a key.
const FILTER_LIMIT: Duration = Duration::from_secs(120);

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "keep", words);
}

/// Records and copies.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// Records on a namespace how it was injected before it was moved; a record stays as it is.
    ///
    /// - `namespace`: its name.
    ///
    /// ```rhai
    /// mesh::connect().remember_injection("shop");
    /// let notes = cluster::get("namespace", "shop").metadata.annotations;
    /// assert(notes["rootshift.dev/previous-injection"] == "istio-injection=enabled", "as it was");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn remember_injection(mesh: &mut Mesh, namespace: &str) -> Reply<()> {
        let cluster = mesh.cluster.clone();
        mesh.world.wait(async {
            super::remember(&cluster, namespace)
                .await
                .map_err(Failure::from)
        })
    }

    /// Copies a secret of `istio-system` into a file that only its owner may read, and reads it back.
    ///
    /// - `name`: the secret.
    /// - `directory`: where; it is made, for its owner only, if it is not there.
    ///
    /// Answers the path, or `()` if there is no such secret. Throws `environment` if the file cannot
    /// be written. An existing copy is not overwritten; another name is taken.
    ///
    /// ```rhai
    /// let path = mesh::connect().back_up_secret("istio-ca-secret", fs::temp_dir());
    /// assert(fs::exists(path), path);
    /// ```
    #[rhai_fn(name = "back_up_secret", global, return_raw, pure, volatile)]
    pub fn back_up_secret(mesh: &mut Mesh, name: &str, directory: &str) -> Reply<Dynamic> {
        super::copy(mesh, name, Path::new(directory), "")
    }

    /// As `back_up_secret(name, directory)`, with what may not be written as it is.
    ///
    /// - `name`: the secret.
    /// - `directory`: where.
    /// - `options`: `filter`, a command for `sh -c` that reads the secret and writes what is kept in its place, as text,
    ///   such as `age -a -r age1…` or `gpg -ea -r sre@shop.example` (none).
    ///
    /// Answers as it does; the file's name ends in `.filtered` then. Throws `environment` also if the command fails, or
    /// if what it writes is nothing, no text, or still has a part of the secret in it. In a dry run it is not run, and
    /// nothing is written.
    ///
    /// ```rhai
    /// let path = mesh::connect().back_up_secret("istio-ca-secret", fs::temp_dir(), #{ filter: "sha256sum" });
    /// assert(path.ends_with("istio-ca-secret.yaml.filtered") && fs::read(path).len() == 68, path);
    /// ```
    #[rhai_fn(name = "back_up_secret", global, return_raw, pure, volatile)]
    pub fn back_up_secret_with(
        mesh: &mut Mesh,
        name: &str,
        directory: &str,
        options: Map,
    ) -> Reply<Dynamic> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Options {
            filter: String,
        }
        let options: Options = kit::options("back_up_secret", options, &["filter"])?;
        super::copy(mesh, name, Path::new(directory), &options.filter)
    }
}

/// Notes on a namespace how it is injected, once.
async fn remember(cluster: &Cluster, namespace: &str) -> Result<(), ClusterError> {
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

fn copy(mesh: &Mesh, name: &str, directory: &Path, filter: &str) -> Reply<Dynamic> {
    let secret = mesh.world.wait(async {
        let kind = mesh.cluster.kind("secrets").await?;
        mesh.cluster
            .get(&kind, Some(names::ISTIO_SYSTEM), name)
            .await
    })?;
    let Some(secret) = secret else {
        return Ok(Dynamic::UNIT);
    };
    let secret = secret.value();
    let broken = |reason: &str| {
        kit::fail(Failure::environment(format!(
            "backup of secret `{name}`: {reason}"
        )))
    };
    let text = serde_saphyr::to_string(secret).map_err(|e| broken(&e.to_string()))?;
    let path = if filter.is_empty() {
        let path = write(directory, &format!("{name}.yaml"), &text);
        let path = path.map_err(|e| broken(&e))?;
        let held = files::read_text(Path::new(&path)).map_err(|e| broken(&e.to_string()))?;
        if serde_saphyr::from_str::<Value>(&held).ok().as_ref() != Some(secret) {
            return Err(broken(&format!("`{path}` does not read back as it was")));
        }
        path
    } else {
        let file = format!("{name}.yaml.filtered");
        if mesh.world.port().is_dry_run() {
            return Ok(directory.join(file).display().to_string().into());
        }
        let filtered = filtered(mesh, filter, text)?;
        unlike(secret, &filtered).map_err(|e| broken(&format!("`{filter}` {e}")))?;
        write(directory, &file, &filtered).map_err(|e| broken(&e))?
    };
    Ok(path.into())
}

/// What the site's command makes of a text. Its lines are nobody's business but the file's.
fn filtered(mesh: &Mesh, filter: &str, text: String) -> Reply<String> {
    let command = Command {
        argv: ["sh", "-c", filter].map(str::to_owned).into(),
        path_prefix: mesh.world.path_prefix().map(ToOwned::to_owned),
        stdin: Some(text),
        timeout: Some(FILTER_LIMIT),
        ..Command::default()
    };
    let ended = mesh
        .world
        .wait(async { command.run(|_, _| {}).await.map_err(Failure::from) })?;
    if ended.code == 0 {
        return Ok(ended.stdout);
    }
    let said = ended.stderr.lines().last().unwrap_or("it says nothing");
    Err(kit::fail(
        Failure::environment(format!(
            "`{filter}`, through which the copies of secrets go, ended with {}: {said}",
            ended.code
        ))
        .hint("nothing was written; try it by hand: it reads a text and writes another"),
    ))
}

/// Refuses what cannot be what somebody wanted of a filter.
fn unlike(secret: &Value, filtered: &str) -> Result<(), &'static str> {
    if filtered.trim().is_empty() {
        return Err("wrote nothing");
    }
    // What is no UTF-8 was replaced on the way.
    if filtered.contains('\u{fffd}') {
        return Err(
            "wrote something that is no text: have it write armour (age -a, gpg -a) or base64",
        );
    }
    // A few letters may be anywhere.
    let values = secret["data"].as_object().into_iter().flatten();
    if values
        .filter_map(|(_, value)| value.as_str())
        .any(|value| value.len() > 8 && filtered.contains(value))
    {
        return Err("left the secret in what it wrote");
    }
    Ok(())
}

/// Writes a file, 0600, beside those that are there, unless one of them has this text; which.
fn write(directory: &Path, name: &str, text: &str) -> Result<String, String> {
    files::create_dir(directory).map_err(|e| e.to_string())?;
    let (stem, end) = name.split_once('.').unwrap_or((name, ""));
    let mut path = directory.join(name);
    let mut copy = 1;
    while path.exists() {
        if std::fs::read_to_string(&path).is_ok_and(|held| held == text) {
            return Ok(path.display().to_string());
        }
        copy += 1;
        path = directory.join(format!("{stem}-{copy}.{end}"));
    }
    files::write_private(&path, text).map_err(|e| e.to_string())?;
    let held = files::read_text(&path).map_err(|e| e.to_string())?;
    if held != text {
        return Err(format!("`{}` does not read back as it was", path.display()));
    }
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_has_to_hide_the_secret_and_to_write_text() {
        let secret = json!({"data": {"ca-key.pem": "LS0tLS1CRUdJTiBSU0E=", "root-cert.pem": "LS0tLS1DRVJU", "empty": "", "short": "YQ=="}});
        assert!(unlike(&secret, "-----BEGIN AGE ENCRYPTED FILE-----\n…").is_ok());
        for (wrote, fault) in [
            (" \n", "nothing"),
            ("age\u{fffd}", "no text"),
            (
                "data:\n  ca-key.pem: LS0tLS1CRUdJTiBSU0E=\n",
                "left the secret",
            ),
            ("x LS0tLS1DRVJU", "left the secret"),
        ] {
            let said = unlike(&secret, wrote).unwrap_err();
            assert!(said.contains(fault), "{said}");
        }
    }

    #[test]
    fn a_copy_is_written_once_and_another_one_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| write(dir.path(), "cacerts.yaml.filtered", text).unwrap();
        let first = write("a");
        assert!(first.ends_with("cacerts.yaml.filtered"), "{first}");
        assert_eq!(write("a"), first);
        let second = write("b");
        assert!(second.ends_with("cacerts-2.yaml.filtered"), "{second}");
        assert_eq!(std::fs::read_to_string(first).unwrap(), "a");
    }
}

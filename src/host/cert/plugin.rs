//! `cert::check_plugin_ca`: the four files of a plug-in CA.

use std::path::Path;

use jiff::SignedDuration;
use rhai::{Array, Dynamic, Map, NativeCallContext};

use super::arguments::{At, bundle_of, failed, read_key, script};
use super::types::map;
use crate::effect::files;
use crate::engine::Failure;
use crate::engine::did_you_mean;
use crate::engine::kit::{self, Reply};
use crate::pki::{
    self, HORIZON, KeyError, PluginCa, PluginFile, PluginFinding, PluginInput, PrivateKey, Severity,
};

const WORD: &str = "cert::check_plugin_ca";
const KNOWN: [&str; 7] = [
    "at",
    "ca_cert",
    "ca_key",
    "cert_chain",
    "horizon",
    "root_cert",
    "root_in_use",
];

pub(super) fn check(ctx: &NativeCallContext, mut given: Map) -> Reply<Map> {
    if let Some(unknown) = given.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        let mut failure = Failure::script(format!("`{WORD}` knows no `{unknown}`"));
        failure.hint = did_you_mean(unknown, KNOWN);
        return Err(kit::fail(failure));
    }
    let horizon = match given.remove("horizon").filter(|value| !value.is_unit()) {
        None => HORIZON,
        Some(seconds) => {
            let seconds = super::super::time::duration("`horizon`", &seconds)?;
            SignedDuration::try_from(seconds).map_err(script)?
        }
    };
    let in_use = match given.remove("root_in_use").filter(|value| !value.is_unit()) {
        None => None,
        Some(roots) => Some(bundle_of(WORD, &roots)?),
    };
    let (ca_key, ca_key_file) = key(&part(&given, "ca_key")?)?;
    let ca = PluginCa {
        ca_cert: input(&part(&given, "ca_cert")?)?,
        ca_key,
        ca_key_file,
        root_cert: input(&part(&given, "root_cert")?)?,
        cert_chain: input(&part(&given, "cert_chain")?)?,
        in_use,
        horizon,
    };
    given.retain(|key, _| key == "at");
    let At { at } = At::of(ctx, WORD, given, &["at"])?;
    let findings = pki::check_plugin_ca(&ca, at);
    let ok = findings
        .iter()
        .all(|finding| finding.severity == Severity::Warning);
    let findings: Array = findings.iter().map(shape).collect();
    Ok(map([("findings", findings.into()), ("ok", ok.into())]))
}

fn part(given: &Map, name: &str) -> Reply<String> {
    let value = given.get(name).cloned().unwrap_or(Dynamic::UNIT);
    value.into_string().map_err(|kind| {
        let message = match kind {
            "()" => format!("`{WORD}` lacks `{name}`"),
            kind => format!("`{name}` of `{WORD}` is {kind}"),
        };
        kit::fail(Failure::script(message).hint("the path of a file, or PEM text"))
    })
}

/// PEM text, or what the file of that path holds.
fn input(given: &str) -> Reply<PluginInput> {
    if given.is_empty() || given.contains("-----BEGIN") {
        return Ok(PluginInput::read(given.as_bytes(), None));
    }
    let path = Path::new(given);
    let bytes = files::read_bytes(path, pki::MAX_INPUT).map_err(failed)?;
    Ok(PluginInput::read(&bytes, Some(file(path)?)))
}

type ReadKey = (Result<PrivateKey, KeyError>, Option<PluginFile>);

fn key(given: &str) -> Reply<ReadKey> {
    if given.is_empty() || given.contains("-----BEGIN") {
        return Ok((read_key(given), None));
    }
    let path = Path::new(given);
    let text = files::read_text(path).map_err(failed)?;
    Ok((read_key(&text), Some(file(path)?)))
}

fn file(path: &Path) -> Reply<PluginFile> {
    let name = path.file_name().unwrap_or_default();
    Ok(PluginFile {
        name: name.to_string_lossy().into_owned(),
        mode: files::mode(path).map_err(failed)?,
    })
}

fn shape(finding: &PluginFinding) -> Dynamic {
    map([
        ("code", finding.code.into()),
        ("hint", finding.hint.into()),
        ("message", finding.message.clone().into()),
        ("part", finding.part.into()),
        ("severity", finding.severity.as_str().into()),
    ])
    .into()
}

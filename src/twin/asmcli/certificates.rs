//! The four certificate flags: what `asmcli` checks of them, and the secret it makes.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::args::Args;
use super::log::{Fatal, Log};
use crate::effect::files::read_text;
use crate::pki::mint::Authority;
use crate::pki::{Bundle, Cert, PrivateKey, certs_from_pem, paths};
use crate::twin::mesh::anchored;

/// Four files that passed the checks.
pub(super) struct CustomCa {
    /// In the order of `kubectl create secret --from-file`: certificate, key, root, chain.
    files: Vec<(PathBuf, String)>,
}

impl CustomCa {
    /// The secret `cacerts`. Base names become keys, whatever they are: nothing checks that istiod
    /// will find the names it looks for.
    pub(super) fn secret(&self) -> Value {
        let data: Map<String, Value> = self
            .files
            .iter()
            .map(|(path, text)| {
                let key = path
                    .file_name()
                    .map(|n| n.to_string_lossy().into_owned())
                    .unwrap_or_default();
                (key, json!(STANDARD.encode(text)))
            })
            .collect();
        json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "cacerts", "namespace": "istio-system"}, "data": data})
    }
}

/// Checks the flags as `validate_custom_ca` does; nothing when none of the four was given.
///
/// An EC key is refused, as by `openssl rsa -check`. Not checked, as there: whether the certificate
/// is a CA, how long it is valid, and whether the root is the one that the mesh trusts.
pub(super) fn check(
    args: &Args,
    ca: &str,
    directory: &Path,
    log: &mut Log<'_>,
) -> Result<Option<CustomCa>, Fatal> {
    if !args.custom_ca() {
        return Ok(None);
    }
    if ca != "citadel" {
        return Err(
            log.fatal("You must select Citadel as the CA in order to use custom certificates.")
        );
    }
    let (Some(cert), Some(key), Some(root), Some(chain)) = (
        &args.ca_cert,
        &args.ca_key,
        &args.root_cert,
        &args.cert_chain,
    ) else {
        return Err(log.fatal("All four certificate options must be present to use a custom cert."));
    };
    for file in [cert, root, key, chain] {
        if !directory.join(file).is_file() {
            return Err(log.fatal(&format!("Couldn't find file {}.", file.display())));
        }
    }
    let mut files = Vec::new();
    for file in [cert, key, root, chain] {
        let path = directory.join(file);
        let text = read_text(&path).map_err(|e| log.fatal(&e.to_string()))?;
        files.push((path, text));
    }
    log.info("Checking certificate files for consistency...");
    let inconsistent =
        |path: &Path| format!("{} failed an openssl consistency check.", path.display());
    let [
        (cert_path, cert),
        (key_path, key),
        (root_path, root),
        (chain_path, chain),
    ] = files.as_slice()
    else {
        return Err(log.fatal("All four certificate options must be present to use a custom cert."));
    };
    let key = PrivateKey::from_pem(key)
        .ok()
        .filter(PrivateKey::is_rsa)
        .ok_or_else(|| log.fatal(&inconsistent(key_path)))?;
    let cert = first(cert).ok_or_else(|| log.fatal(&inconsistent(cert_path)))?;
    first(chain).ok_or_else(|| log.fatal(&inconsistent(chain_path)))?;
    let anchor = first(root).ok_or_else(|| log.fatal(&inconsistent(root_path)))?;
    log.info("Checking key matches certificate...");
    if !key.matches(&cert).unwrap_or(false) {
        return Err(log.fatal("Keyfile does not match the given certificate."));
    }
    log.info("Verifying certificate chain of trust...");
    let (pool, _) = certs_from_pem(chain);
    let trusted = Bundle::from_certs([anchor]);
    let verified = match Authority::from_pem(&cert.pem(), key.pem().expose_secret()) {
        Ok(authority) => anchored(&authority, &pool, &trusted).is_ok(),
        // Not a CA, which the real tool accepts, and istiod then does not start.
        Err(_) => paths(&cert, &pool, &trusted, jiff::Timestamp::now()).is_ok(),
    };
    if !verified {
        return Err(log.fatal("Unable to verify chain of trust."));
    }
    Ok(Some(CustomCa { files }))
}

/// Like `openssl x509`: the first block, whatever follows.
fn first(text: &str) -> Option<Cert> {
    certs_from_pem(text).0.into_iter().next()
}

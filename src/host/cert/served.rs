//! `cert::served`: what a TLS server presents.

use std::time::Duration;

use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::time;
use super::super::world::World;
use super::arguments::{bundle_of, certs_of, key_of, script};
use super::types::map;
use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, FailureKind};
use crate::pki::{self, Presented, Probe, Usage};

const WORD: &str = "cert::served";
const KNOWN: [&str; 6] = ["alpn", "bundle", "chain", "key", "server_name", "timeout"];

/// How long a server that wants another certificate has for saying so: in TLS 1.3 that comes after its
/// part of the handshake.
const LAST_WORD: Duration = Duration::from_millis(500);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    alpn: Vec<String>,
    server_name: Option<String>,
    timeout: Option<f64>,
}

pub(super) fn ask(ctx: &NativeCallContext, address: &str, mut options: Map) -> Reply<Map> {
    let world = World::of(ctx)?;
    let mut take = |name: &str| options.remove(name).filter(|value| !value.is_unit());
    let bundle = take("bundle")
        .map(|given| bundle_of(WORD, &given))
        .transpose()?;
    let chain = take("chain")
        .map(|given| certs_of(WORD, &given))
        .transpose()?;
    let key = take("key").map(|given| key_of(WORD, &given)).transpose()?;
    let options: Options = kit::options(WORD, options, &KNOWN)?;
    let identity = match (&chain, &key) {
        (None, None) => None,
        (Some(chain), Some(key)) => Some((&chain[..], key)),
        _ => return Err(script(format!("`{WORD}` takes `chain` and `key` together"))),
    };
    let Some((host, _)) = address
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())
    else {
        let message = format!("`{WORD}`: `{address}` is not HOST:PORT");
        return Err(kit::fail(
            Failure::script(message).hint("like `istiod.istio-system.svc:15012`"),
        ));
    };
    let host = host.trim_matches(['[', ']']);
    let name = options.server_name.as_deref().unwrap_or(host);
    let probe = Probe::new(name, &options.alpn, identity)
        .map_err(|reason| script(format!("`{WORD}`: {reason}")))?;
    let timeout = time::duration("`timeout`", &options.timeout.unwrap_or(10.0).into())?;
    let (presented, refused) = world.wait(look(address, probe, timeout))?;
    let accepted = match &bundle {
        None => Dynamic::UNIT,
        Some(bundle) => {
            let verdict = pki::accepts(bundle, &presented.chain, Usage::Server, world.now());
            map([
                ("ok", verdict.is_ok().into()),
                ("reason", super::reason(verdict.err())),
            ])
            .into()
        }
    };
    let issues: Array = presented.issues.into_iter().map(Dynamic::from).collect();
    Ok(map([
        ("accepted", accepted),
        ("chain", super::array(presented.chain)),
        ("issues", issues.into()),
        ("protocol", presented.protocol.into()),
        ("refused", super::reason(refused)),
    ]))
}

/// The server's certificates, and its alert if it refused.
async fn look(
    address: &str,
    probe: Probe,
    timeout: Duration,
) -> Result<(Presented, Option<String>), Failure> {
    let failed = |what: String| {
        let mut failure = Failure::new(FailureKind::Environment, format!("{address}: {what}"));
        failure.retryable = true;
        failure
    };
    tokio::time::timeout(timeout, converse(address, probe))
        .await
        .map_err(|_| failed(format!("no answer within {} s", timeout.as_secs_f64())))?
        .map_err(failed)
}

async fn converse(address: &str, mut probe: Probe) -> Result<(Presented, Option<String>), String> {
    let words = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).await.map_err(words)?;
    let mut buffer = vec![0; 16 << 10];
    let mut refused = None;
    while probe.is_handshaking() && refused.is_none() {
        stream.write_all(&probe.output()).await.map_err(words)?;
        let count = stream.read(&mut buffer).await.map_err(words)?;
        if count == 0 {
            refused = Some("the server closed the connection".to_owned());
        } else if let Err(reason) = probe.input(&buffer[..count]) {
            refused = Some(reason);
        }
    }
    // The rest of our part; then the server may still refuse our certificate.
    let sent = stream.write_all(&probe.output()).await;
    if refused.is_none() && sent.is_ok() {
        while let Ok(Ok(count @ 1..)) =
            tokio::time::timeout(LAST_WORD, stream.read(&mut buffer)).await
        {
            if let Err(reason) = probe.input(&buffer[..count]) {
                refused = Some(reason);
                break;
            }
        }
    }
    let presented = probe.presented();
    match refused {
        Some(reason) if presented.chain.is_empty() && presented.issues.is_empty() => Err(reason),
        refused => Ok((presented, refused)),
    }
}

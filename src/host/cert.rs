//! `cert::…`: certificates, bundles, and what they prove.
//!
//! Wherever a word takes certificates, it takes PEM text, a certificate as `cert::parse` gives it,
//! or an array of either. A text with a damaged or foreign block is refused, because a proxy may
//! refuse it too; `cert::read` is for looking into such a text. Names of CAs are the script's own:
//! certificates are compared by their bytes and verified by signature.

use super::time;
use super::world::World;
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use crate::pki::{
    self, Bundle, Cert, NamedCa, PemIssue, PrivateKey, Signer, SpiffeId, Trust, Usage,
};
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, Map};

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_static_module("cert", rhai::exported_module!(words).into());
}

/// Certificates are PEM text, maps from `cert::parse`, or arrays of either.
#[export_module]
mod words {
    /// Whether a proxy that trusts `bundle` accepts a peer that presents `chain`, as Envoy judges
    /// it now: `#{ ok, reason, path }`, the path as names from the workload up.
    ///
    /// - `bundle`: what the proxy trusts; every certificate of it ends a path.
    /// - `chain`: what the peer presents, its own certificate first.
    ///
    /// The peer's name is not judged. Throws `script` if one of the two is not certificates.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// let answer = cert::accepts(root, root);
    /// assert(!answer.ok && answer.reason.contains("is a CA"), answer.reason);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn accepts(ctx: NativeCallContext, bundle: Dynamic, chain: Dynamic) -> Reply<Map> {
        let now = World::of(&ctx)?.now();
        let bundle = super::bundle_of("cert::accepts", &bundle)?;
        let chain = super::certs_of("cert::accepts", &chain)?;
        let verdict = pki::accepts(&bundle, &chain, Usage::Workload, now);
        let path = verdict
            .as_ref()
            .map(|path| path.certs().to_vec())
            .unwrap_or_default();
        let mut map = Map::new();
        map.insert("ok".into(), verdict.is_ok().into());
        map.insert("reason".into(), super::reason(verdict.err()));
        map.insert(
            "path".into(),
            super::texts(path.iter().map(Cert::display_name)),
        );
        Ok(map)
    }

    /// Certificates as one bundle, as Istio writes it: each once, PEM texts in order.
    ///
    /// - `certs`: certificates, in any order, repeated or not.
    ///
    /// Throws `script` if something in it is not a certificate.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// assert(cert::bundle([root, root, cert::parse(root)]) == root, "once");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn bundle(certs: Dynamic) -> Reply<String> {
        Ok(super::bundle_of("cert::bundle", &certs)?.pem())
    }

    /// The CAs that this run knows by name, as `#{ NAME: PEM }`: from `--ca`, or the twin's own.
    ///
    /// ```rhai
    /// assert(type_of(cert::cas()) == "map", "names and roots");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn cas(ctx: NativeCallContext) -> Reply<Map> {
        let world = World::of(&ctx)?;
        let entry = |ca: &NamedCa| (ca.name.as_str().into(), ca.roots.pem().into());
        Ok(world.cas().iter().map(entry).collect())
    }

    /// Whether a bundle has every one of these certificates, by their bytes.
    ///
    /// - `bundle`: certificates.
    /// - `certs`: one or more.
    ///
    /// Throws `script` if one of the two is not certificates.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// assert(cert::contains(root, root) && !cert::contains([], root), "by bytes");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn contains(bundle: Dynamic, certs: Dynamic) -> Reply<bool> {
        let bundle = super::bundle_of("cert::contains", &bundle)?;
        let wanted = super::bundle_of("cert::contains", &certs)?;
        if wanted.is_empty() {
            return Err(super::script(
                "`cert::contains` was asked for no certificate",
            ));
        }
        Ok(wanted.difference(&bundle).is_empty())
    }

    /// The seconds until a certificate expires; negative if it has.
    ///
    /// - `cert`: one certificate.
    ///
    /// Throws `script` if it is not exactly one certificate.
    ///
    /// ```rhai
    /// assert(cert::expires_in(cert::mesh_ca_root()) > 80.0 * 365 * 86400, "in 2118");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn expires_in(ctx: NativeCallContext, cert: Dynamic) -> Reply<f64> {
        let cert = super::cert_of("cert::expires_in", &cert)?;
        let left = cert.not_after().duration_since(World::of(&ctx)?.now());
        Ok(left.as_secs_f64())
    }

    /// Whether a private key is the one of a certificate.
    ///
    /// - `key`: PEM text, PKCS#1, PKCS#8 or SEC1; it is never shown.
    /// - `cert`: one certificate.
    ///
    /// Throws `script` if the key cannot be read or is of a kind that is not supported.
    ///
    /// ```rhai
    /// let message = "";
    /// try { cert::key_matches("", cert::mesh_ca_root()) } catch (e) { message = e.message; }
    /// assert(message == "`cert::key_matches`: the text holds 0 private keys, expected exactly one", message);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn key_matches(key: &str, cert: Dynamic) -> Reply<bool> {
        let cert = super::cert_of("cert::key_matches", &cert)?;
        PrivateKey::from_pem(key)
            .and_then(|key| key.matches(&cert))
            .map_err(|error| super::script(format!("`cert::key_matches`: {error}")))
    }

    /// The public root of Mesh CA, as PEM.
    ///
    /// ```rhai
    /// let root = cert::parse(cert::mesh_ca_root());
    /// assert(root.sha256.starts_with("614849a4aa1a7ce5"), root.sha256);
    /// ```
    pub fn mesh_ca_root() -> String {
        pki::meshca::ROOT_PEM.to_owned()
    }

    /// What one certificate says: `subject` and `issuer` (RFC 4514), `serial`, `sha256`,
    /// `spki_sha256`, `not_before`, `not_after`, `is_ca`, `path_len` or `()`, `uris`, `dns_names`,
    /// `spiffe_id` or `()`, `key` (`RSA 2048`), `pem`.
    ///
    /// - `cert`: exactly one certificate.
    ///
    /// Throws `script` if it is none, or more than one.
    ///
    /// ```rhai
    /// let root = cert::parse(cert::mesh_ca_root());
    /// assert(root.is_ca && root.key == "RSA 4096", root.key);
    /// assert(root.not_after == "2118-04-25T22:11:33.000Z", root.not_after);
    /// assert(root.subject == root.issuer && root.subject.ends_with(",ST=California,C=US"), root.subject);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse(cert: Dynamic) -> Reply<Map> {
        Ok(super::shape(&super::cert_of("cert::parse", &cert)?))
    }

    /// Everything that a text has of certificates, whatever else is in it:
    /// `#{ certs, issues }`, each issue `#{ index, reason }` with the number of its block from 0.
    ///
    /// - `text`: PEM, as found.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// let cut = root.sub_string(0, 800);
    /// let found = cert::read(cut + "\n" + root + "some words");
    /// assert(found.certs.len == 1 && found.certs[0].is_ca, "the whole one");
    /// assert(found.issues[0].index == 0, "the first is cut");
    /// assert(found.issues[0].reason == "`BEGIN CERTIFICATE` has no END line: cut short", found.issues[0].reason);
    /// ```
    pub fn read(text: &str) -> Map {
        let (certs, issues) = pki::certs_from_pem(text);
        let certs: Array = certs.iter().map(|cert| super::shape(cert).into()).collect();
        let issues: Array = issues.iter().map(super::issue).collect();
        Map::from([
            ("certs".into(), certs.into()),
            ("issues".into(), issues.into()),
        ])
    }

    /// Whether two bundles hold the same certificates, whatever their order.
    ///
    /// - `a`, `b`: certificates.
    ///
    /// Throws `script` if one of the two is not certificates.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// assert(cert::same([root, root], root) && !cert::same(root, []), "sets");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn same(a: Dynamic, b: Dynamic) -> Reply<bool> {
        Ok(super::bundle_of("cert::same", &a)? == super::bundle_of("cert::same", &b)?)
    }

    /// The SHA-256 fingerprint of a certificate, 64 lower-case hex digits.
    ///
    /// - `cert`: one certificate.
    ///
    /// Throws `script` if it is not exactly one certificate.
    ///
    /// ```rhai
    /// assert(cert::sha256(cert::mesh_ca_root()).len == 64, "hex");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sha256(cert: Dynamic) -> Reply<String> {
        Ok(super::cert_of("cert::sha256", &cert)?.sha256().to_string())
    }

    /// Who signed a workload's certificate, proved by signatures: `#{ ca, verdict, reason }`.
    /// `verdict` is `by` (then `ca` is the name), `foreign`, `broken`, `ambiguous` or `unknown`
    /// (then `ca` is `()`).
    ///
    /// - `chain`: what the workload presents, its own certificate first.
    /// - `cas`: `#{ NAME: roots }`.
    ///
    /// Throws `script` if something in it is not certificates.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// let signer = cert::signer(root, #{ MESHCA: root });
    /// assert(signer.ca == () && signer.verdict == "unknown", signer.verdict);
    /// assert(signer.reason.starts_with("unknown: chain order"), signer.reason);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn signer(ctx: NativeCallContext, chain: Dynamic, cas: Map) -> Reply<Map> {
        let now = World::of(&ctx)?.now();
        let chain = super::certs_of("cert::signer", &chain)?;
        let mut named = Vec::new();
        for (name, roots) in &cas {
            named.push(NamedCa::new(
                name.as_str(),
                super::bundle_of("cert::signer", roots)?,
            ));
        }
        let signer = pki::signer(&chain, &named, &Bundle::default(), now);
        let (verdict, ca) = match &signer {
            Signer::Ambiguous { .. } => ("ambiguous", Dynamic::UNIT),
            Signer::Broken { .. } => ("broken", Dynamic::UNIT),
            Signer::By { ca, .. } => ("by", ca.clone().into()),
            Signer::Foreign { .. } => ("foreign", Dynamic::UNIT),
            Signer::Unknown { .. } => ("unknown", Dynamic::UNIT),
        };
        Ok(Map::from([
            ("ca".into(), ca),
            ("verdict".into(), verdict.into()),
            ("reason".into(), signer.to_string().into()),
        ]))
    }

    /// The parts of a workload's SPIFFE identity: `#{ trust_domain, namespace, service_account }`.
    ///
    /// - `uri`: `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`.
    ///
    /// Throws `script` if it has another form.
    ///
    /// ```rhai
    /// let id = cert::spiffe_id("spiffe://cluster.local/ns/shop/sa/front");
    /// assert(id.namespace == "shop" && id.service_account == "front", id.trust_domain);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn spiffe_id(uri: &str) -> Reply<Map> {
        let id: SpiffeId = uri.parse().map_err(super::script)?;
        Ok(Map::from([
            ("trust_domain".into(), id.trust_domain.into()),
            ("namespace".into(), id.namespace.into()),
            ("service_account".into(), id.service_account.into()),
        ]))
    }

    /// Whether a bundle trusts a CA now: `#{ trusted, verdict, reason }`. `verdict` is `yes`,
    /// `yes_by_key` (a re-issued root), `partial` (only an intermediate), `no` or `unknown`; only
    /// the first two are `trusted`.
    ///
    /// - `bundle`: what a proxy trusts.
    /// - `roots`: the CA's; one usable one in the bundle suffices.
    ///
    /// Throws `script` if one of the two is not certificates.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// assert(cert::trusts(root, root).trusted, "by its own root");
    /// let answer = cert::trusts([], root);
    /// assert(!answer.trusted && answer.reason == "no: the bundle is empty", answer.reason);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn trusts(ctx: NativeCallContext, bundle: Dynamic, roots: Dynamic) -> Reply<Map> {
        let now = World::of(&ctx)?.now();
        let bundle = super::bundle_of("cert::trusts", &bundle)?;
        let ca = NamedCa::new("the CA", super::bundle_of("cert::trusts", &roots)?);
        let trust = pki::trusts(&bundle, &ca, now);
        let verdict = match &trust {
            Trust::No { .. } => "no",
            Trust::Partial { .. } => "partial",
            Trust::Unknown { .. } => "unknown",
            Trust::Yes => "yes",
            Trust::YesByKey { .. } => "yes_by_key",
        };
        Ok(Map::from([
            ("trusted".into(), trust.is_yes().into()),
            ("verdict".into(), verdict.into()),
            ("reason".into(), trust.to_string().into()),
        ]))
    }
}

fn script(message: impl ToString) -> Box<rhai::EvalAltResult> {
    kit::fail(Failure::script(message.to_string()))
}

/// All certificates of an argument in their order.
fn certs_of(word: &str, value: &Dynamic) -> Reply<Vec<Cert>> {
    if let Some(array) = value.read_lock::<Array>() {
        let mut certs = Vec::new();
        for value in array.iter() {
            certs.extend(certs_of(word, value)?);
        }
        return Ok(certs);
    }
    let text = match value.read_lock::<Map>() {
        Some(map) => map
            .get("pem")
            .and_then(|pem| pem.clone().into_string().ok()),
        None => value.clone().into_string().ok(),
    };
    let Some(text) = text else {
        let message = format!("`{word}` takes certificates, not {}", kind(value));
        let hint = "PEM text, what `cert::parse` gives, or an array of these";
        return Err(kit::fail(Failure::script(message).hint(hint)));
    };
    let (certs, issues) = pki::certs_from_pem(&text);
    match issues.first() {
        Some(issue) => {
            let failure = Failure::script(format!("`{word}`: {issue}"));
            Err(kit::fail(
                failure.hint("`cert::read` shows what can be read of such a text"),
            ))
        }
        None => Ok(certs),
    }
}

fn kind(value: &Dynamic) -> &'static str {
    if value.is_map() {
        "a map without `pem`"
    } else {
        value.type_name()
    }
}

fn bundle_of(word: &str, value: &Dynamic) -> Reply<Bundle> {
    Ok(Bundle::from_certs(certs_of(word, value)?))
}

fn cert_of(word: &str, value: &Dynamic) -> Reply<Cert> {
    let certs = certs_of(word, value)?;
    match &certs[..] {
        [cert] => Ok(cert.clone()),
        _ => Err(script(format!(
            "`{word}` takes one certificate, not {}",
            certs.len()
        ))),
    }
}

/// A certificate as scripts see it. Every key is always there.
fn shape(cert: &Cert) -> Map {
    let path_len = cert
        .path_len()
        .map_or(Dynamic::UNIT, |limit| i64::from(limit).into());
    let spiffe_id = cert
        .spiffe_id()
        .map_or(Dynamic::UNIT, |id| id.to_string().into());
    Map::from([
        ("subject".into(), cert.subject().into()),
        ("issuer".into(), cert.issuer().into()),
        ("serial".into(), cert.serial().into()),
        ("sha256".into(), cert.sha256().to_string().into()),
        ("spki_sha256".into(), cert.spki_sha256().to_string().into()),
        ("not_before".into(), time::text(cert.not_before()).into()),
        ("not_after".into(), time::text(cert.not_after()).into()),
        ("is_ca".into(), cert.is_ca().into()),
        ("path_len".into(), path_len),
        ("uris".into(), texts(cert.uris())),
        ("dns_names".into(), texts(cert.dns_names())),
        ("spiffe_id".into(), spiffe_id),
        ("key".into(), cert.key_kind().to_string().into()),
        ("pem".into(), cert.pem().into()),
    ])
}

fn issue(issue: &PemIssue) -> Dynamic {
    let index = i64::try_from(issue.index).unwrap_or(i64::MAX);
    Map::from([
        ("index".into(), index.into()),
        ("reason".into(), issue.reason.clone().into()),
    ])
    .into()
}

fn texts(texts: impl IntoIterator<Item = impl ToString>) -> Dynamic {
    texts
        .into_iter()
        .map(|text| Dynamic::from(text.to_string()))
        .collect::<Array>()
        .into()
}

fn reason(error: Option<pki::PathError>) -> Dynamic {
    error.map_or(Dynamic::UNIT, |error| error.to_string().into())
}

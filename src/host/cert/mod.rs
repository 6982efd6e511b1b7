//! `cert::…`: certificates, bundles, keys, and what they prove.
//!
//! Wherever a word takes certificates, it takes what is at hand: PEM text, DER (a blob), base64 of
//! either as Secrets hold it, a `Cert`, a `Bundle`, or an array of these. A text with a damaged or
//! foreign block is refused, because a proxy may refuse it too; `cert::read` is for looking into
//! such a text. Names of CAs are the script's own: certificates are compared by their bytes and
//! verified by signature.
//!
//! Every verdict holds for one time: now, or the option `at`.

mod arguments;
mod handshake;
mod plugin;
#[cfg(feature = "twin")]
mod sample;
mod served;
#[cfg(all(test, feature = "twin"))]
mod tests;
mod types;

pub(super) use types::json_form;

use std::path::Path;

use rhai::plugin::*;
use rhai::{Array, Blob, Map};

use super::world::World;
use crate::effect::files;
use crate::engine::kit::{self, Reply};
use crate::pki::{self, Bundle, Cert, NamedCa, PrivateKey, Signer, SpiffeId, Trust};
use arguments::{At, Judging, bundle_of, cert_of, certs_of, failed, key_of, named_cas, script};
use types::map;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    types::register(engine);
    let module = rhai::exported_module!(words);
    #[cfg(feature = "twin")]
    let module = sample::added_to(module);
    engine.register_static_module("cert", module.into());
}

/// Certificates are PEM, DER, base64, `Cert`, `Bundle`, or arrays of these.
#[export_module]
mod words {
    /// Whether a proxy that trusts `bundle` accepts a peer that presents `chain`, as Envoy judges
    /// it now: `#{ ok, reason, path }`, the path as certificates from the workload up.
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
    #[rhai_fn(name = "accepts", return_raw, volatile)]
    pub fn accepts(ctx: NativeCallContext, bundle: Dynamic, chain: Dynamic) -> Reply<Map> {
        accepts_with(ctx, bundle, chain, Map::new())
    }

    /// As `accepts(bundle, chain)`, with options.
    ///
    /// - `bundle`: what the proxy trusts.
    /// - `chain`: what the peer presents, its own certificate first.
    /// - `options`: `at`, the time (now); `usage`, what the peer is: `client`, `server`, or
    ///   `workload`, which is both (`workload`).
    ///
    /// Throws as `accepts(bundle, chain)`.
    ///
    /// ```rhai
    /// let a = cert::sample();
    /// assert(cert::accepts(a.bundle, a.chain, #{ usage: "client" }).ok, "now");
    /// let later = cert::accepts(a.bundle, a.chain, #{ at: "2200-01-01T00:00:00Z" });
    /// assert(later.reason.contains("expired"), later.reason);
    /// ```
    #[rhai_fn(name = "accepts", return_raw, volatile)]
    pub fn accepts_with(
        ctx: NativeCallContext,
        bundle: Dynamic,
        chain: Dynamic,
        options: Map,
    ) -> Reply<Map> {
        const WORD: &str = "cert::accepts";
        let judging = Judging::of(&ctx, WORD, options)?;
        let bundle = bundle_of(WORD, &bundle)?;
        let chain = certs_of(WORD, &chain)?;
        let verdict = pki::accepts(&bundle, &chain, judging.usage, judging.at);
        let path = verdict.as_ref().map(|path| path.certs().to_vec());
        Ok(map([
            ("ok", verdict.is_ok().into()),
            ("path", super::array(path.unwrap_or_default())),
            ("reason", super::reason(verdict.err())),
        ]))
    }

    /// Certificates as a set: order and repetition do not matter.
    ///
    /// A `Bundle` has `len`, `certs` and `pem` in the order in which Istio writes them, `sha256` of the
    /// set, `not_after` of the certificate that expires first (or `()`). `a + b`, `a - b` and `a & b` are
    /// union, difference and intersection; `a == b`; `cert in bundle`. Printed, it is a line for
    /// each certificate.
    ///
    /// - `certs`: certificates, in any order, repeated or not.
    ///
    /// Throws `script` if something in it is not a certificate.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// let bundle = cert::bundle([root, root.pem, root]);
    /// assert(bundle.len == 1 && root in bundle && bundle.pem == root.pem, bundle);
    /// assert((bundle - bundle).is_empty() && bundle + bundle == bundle, "a set");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn bundle(certs: Dynamic) -> Reply<Bundle> {
        bundle_of("cert::bundle", &certs)
    }

    /// The CAs that this run knows by name, as `#{ NAME: Bundle }`: from `--ca`, or the twin's own.
    ///
    /// ```rhai
    /// assert(type_of(cert::cas()) == "map", "names and roots");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn cas(ctx: NativeCallContext) -> Reply<Map> {
        let world = World::of(&ctx)?;
        let entry = |ca: &NamedCa| (ca.name.as_str().into(), Dynamic::from(ca.roots.clone()));
        Ok(world.cas().iter().map(entry).collect())
    }

    /// All certificates of a text or an array, in their order, repetitions included.
    ///
    /// - `certs`: certificates.
    ///
    /// Throws `script` if something in it is not a certificate; `cert::read` takes what is there.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// assert(cert::certs(root.pem + root.pem) == [root, root], "in order");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn certs(certs: Dynamic) -> Reply<Array> {
        let certs = certs_of("cert::certs", &certs)?;
        Ok(certs.into_iter().map(Dynamic::from).collect())
    }

    /// What speaks against giving istiod a plug-in CA, before `asmcli --ca citadel` is run with it:
    /// `#{ ok, findings }`, each finding `#{ severity, code, part, message, hint }`, the worst first.
    /// `ok` only if there is neither an `error` nor an `unknown`.
    ///
    /// Looked at is what asmcli does not look at: CA flag, path length, key usages, all blocks, the
    /// chain's order and end, whether the key belongs to the certificate, strength, validity, names
    /// and mode of the files, and whether the root is the one in use.
    ///
    /// - `ca`: `ca_cert`, `ca_key`, `root_cert`, `cert_chain`: each the path of a file, or PEM;
    ///   `root_in_use`: the roots that the mesh has now, `[]` for a new mesh; `horizon`: seconds that
    ///   everything has to be valid at least (30 days); `at`: the time (now).
    ///
    /// Throws `script` for another key, `environment` if a file cannot be read.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// let found = cert::check_plugin_ca(#{
    ///     ca_cert: root.pem, ca_key: "", root_cert: root.pem, cert_chain: root.pem, root_in_use: [],
    /// });
    /// let codes = found.findings.map(|f| f.code);
    /// assert(!found.ok && "mesh_ca_root" in codes && "key_unreadable" in codes, codes);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn check_plugin_ca(ctx: NativeCallContext, ca: Map) -> Reply<Map> {
        super::plugin::check(&ctx, ca)
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
        let bundle = bundle_of("cert::contains", &bundle)?;
        let wanted = bundle_of("cert::contains", &certs)?;
        if wanted.is_empty() {
            return Err(script("`cert::contains` was asked for no certificate"));
        }
        Ok(wanted.is_subset(&bundle))
    }

    /// How two bundles differ: `#{ removed, added, kept }`, three bundles.
    ///
    /// - `a`: certificates: before.
    /// - `b`: certificates: after.
    ///
    /// Throws `script` if one of the two is not certificates.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// let change = cert::diff([], root);
    /// assert(change.added.len == 1 && change.removed.is_empty() && change.kept.is_empty(), change);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn diff(a: Dynamic, b: Dynamic) -> Reply<Map> {
        let diff = bundle_of("cert::diff", &a)?.diff(&bundle_of("cert::diff", &b)?);
        Ok(map([
            ("added", Dynamic::from(diff.added)),
            ("kept", Dynamic::from(diff.kept)),
            ("removed", Dynamic::from(diff.removed)),
        ]))
    }

    /// The seconds until the first of these certificates expires; negative if it has.
    ///
    /// - `certs`: one certificate or more.
    ///
    /// Throws `script` if it is none.
    ///
    /// ```rhai
    /// assert(cert::expires_in(cert::mesh_ca_root()) > 80.0 * 365 * 86400, "in 2118");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn expires_in(ctx: NativeCallContext, certs: Dynamic) -> Reply<f64> {
        let bundle = bundle_of("cert::expires_in", &certs)?;
        let Some(first) = bundle.first_expiry() else {
            return Err(script("`cert::expires_in` was asked for no certificate"));
        };
        Ok(first.duration_since(World::of(&ctx)?.now()).as_secs_f64())
    }

    /// Makes a real mutual TLS handshake between two identities, in memory:
    /// `#{ ok, side, cause, reason }`. `side` is who refused (`client`, `server`, or `()`), `cause` a
    /// stable word (`unknown_issuer`, `san_mismatch`, `expired`, …), `reason` says it with names.
    ///
    /// - `client`: who connects: `chain` (its own certificate first; or `leaf` and `chain`), `key`,
    ///   `bundle` (what it trusts), `accepts` (names that the peer may have: URIs, `*` at the end for a
    ///   prefix; any name if left out).
    /// - `server`: who is connected to, likewise.
    ///
    /// Throws `script` for another key, or if something in it is not what it should be.
    ///
    /// ```rhai
    /// let a = cert::sample();
    /// let b = cert::sample();
    /// let answer = cert::handshake(a, b);
    /// assert(!answer.ok && answer.side == "client" && answer.cause == "unknown_issuer", answer);
    /// a.bundle = b.trusted;
    /// b.bundle = a.trusted;
    /// assert(cert::handshake(a, b).ok, "each trusts the other's root");
    /// a.accepts = "spiffe://other/*";
    /// assert(cert::handshake(a, b).cause == "san_mismatch", cert::handshake(a, b).reason);
    /// ```
    #[rhai_fn(name = "handshake", return_raw, volatile)]
    pub fn handshake(ctx: NativeCallContext, client: Map, server: Map) -> Reply<Map> {
        super::handshake::shake(&ctx, client, server, Map::new())
    }

    /// As `handshake(client, server)`, at another time.
    ///
    /// - `client`: who connects.
    /// - `server`: who is connected to.
    /// - `options`: `at`, the time (now).
    ///
    /// Throws as `handshake(client, server)`.
    ///
    /// ```rhai
    /// let a = cert::sample();
    /// let answer = cert::handshake(a, a, #{ at: "2200-01-01T00:00:00Z" });
    /// assert(answer.cause == "expired", answer.reason);
    /// ```
    #[rhai_fn(name = "handshake", return_raw, volatile)]
    pub fn handshake_with(
        ctx: NativeCallContext,
        client: Map,
        server: Map,
        options: Map,
    ) -> Reply<Map> {
        super::handshake::shake(&ctx, client, server, options)
    }

    /// The one private key of a text, as a value that is never shown: printed, in errors and in
    /// the journal it reads `‹redacted›`.
    ///
    /// - `text`: PEM, PKCS#1, PKCS#8 or SEC1; or base64 of it, as a Secret has it.
    ///
    /// Throws `script` if there is not exactly one, or of a kind that is not supported.
    ///
    /// ```rhai
    /// let key = cert::sample().key;
    /// assert(key.kind == "ECDSA" && `${key}` == "‹redacted›", "not shown");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn key(text: Dynamic) -> Reply<PrivateKey> {
        key_of("cert::key", &text)
    }

    /// Whether a private key is the one of a certificate.
    ///
    /// - `key`: a key, or the PEM text of one: RSA, ECDSA or Ed25519; it is never shown.
    /// - `cert`: one certificate.
    ///
    /// Throws `script` if the key cannot be read or is of a kind that is not supported.
    ///
    /// ```rhai
    /// let a = cert::sample();
    /// let b = cert::sample();
    /// assert(cert::key_matches(a.key, a.chain[0]), "its own");
    /// assert(!cert::key_matches(a.key, b.chain[0]), "another's");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn key_matches(key: Dynamic, cert: Dynamic) -> Reply<bool> {
        let cert = cert_of("cert::key_matches", &cert)?;
        key_of("cert::key_matches", &key)?
            .matches(&cert)
            .map_err(|error| script(format!("`cert::key_matches`: {error}")))
    }

    /// The public root of Mesh CA.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// assert(root.sha256.starts_with("614849a4aa1a7ce5"), root);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn mesh_ca_root() -> Reply<Cert> {
        cert_of("cert::mesh_ca_root", &pki::meshca::ROOT_PEM.into())
    }

    /// One certificate, to be asked and printed.
    ///
    /// A `Cert` has `subject` and `issuer` (RFC 4514), `subject_parts` and `issuer_parts`
    /// (`[#{ kind, value }]`), `serial` (hex, as Istio prints it since 1.29), `serial_decimal`,
    /// `not_before`, `not_after`, `expires_in` (seconds), `is_ca`, `path_len` or `()`, `key_usages` and
    /// `extended_key_usages` (RFC 5280's names, `()` if not stated), `uris`, `dns_names`,
    /// `ip_addresses`, `email_addresses`, `other_names`, `spiffe_id` or `()`, `key` (`RSA 2048`),
    /// `signature_algorithm`, `ski`, `aki`, `self_issued` (one name), `self_signed` (one key; `()` if
    /// that cannot be told), `sha256` of the certificate, `spki_sha256` of its public key, `pem`.
    /// `to_map()` has them all. Printed, it is some lines for people.
    ///
    /// - `cert`: exactly one certificate.
    ///
    /// Throws `script` if it is none, or more than one.
    ///
    /// ```rhai
    /// let root = cert::parse(cert::mesh_ca_root().pem);
    /// assert(root.is_ca && root.key == "RSA 4096" && root.self_signed, root);
    /// assert(root.not_after == "2118-04-25T22:11:33.000Z", root.not_after);
    /// assert(root.subject == root.issuer && root.subject.ends_with(",ST=California,C=US"), root.subject);
    /// assert(root.subject_parts[0] == #{ kind: "C", value: "US" }, root.subject_parts);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse(cert: Dynamic) -> Reply<Cert> {
        cert_of("cert::parse", &cert)
    }

    /// All valid paths from a workload's certificate to trusted ones, signatures checked:
    /// `#{ paths, reason }`, the shortest first. Each path is `#{ certs, ca, not_after }`: the certificates
    /// from the workload up, the name of the CA that ends it (if the anchors have names), and when its
    /// first certificate expires. With no path `reason` says what comes closest. `cert::accepts` says
    /// whether Envoy would find one.
    ///
    /// - `chain`: the certificate, and whatever may stand between.
    /// - `anchors`: what is trusted: certificates, or `#{ NAME: roots }`.
    ///
    /// Throws `script` if one of the two is not certificates.
    ///
    /// ```rhai
    /// let a = cert::sample("two-intermediates");
    /// let found = cert::paths(a.chain, a.cas);
    /// assert(found.paths.len == 1 && found.reason == (), found);
    /// assert(found.paths[0].certs.len == 4 && found.paths[0].ca == "CITADEL", found);
    /// ```
    #[rhai_fn(name = "paths", return_raw, volatile)]
    pub fn paths(ctx: NativeCallContext, chain: Dynamic, anchors: Dynamic) -> Reply<Map> {
        paths_with(ctx, chain, anchors, Map::new())
    }

    /// As `paths(chain, anchors)`, with options.
    ///
    /// - `chain`: the certificate, and whatever may stand between.
    /// - `anchors`: what is trusted: certificates, or `#{ NAME: roots }`.
    /// - `options`: `at`, the time (now); `usage`: `client`, `server` or `workload` (`workload`).
    ///
    /// Throws as `paths(chain, anchors)`.
    ///
    /// ```rhai
    /// let a = cert::sample("leaf-client-only");
    /// assert(cert::paths(a.chain, a.trusted, #{ usage: "client" }).paths.len == 1, "a client");
    /// assert(cert::paths(a.chain, a.trusted).reason.contains("serverAuth"), "no server");
    /// ```
    #[rhai_fn(name = "paths", return_raw, volatile)]
    pub fn paths_with(
        ctx: NativeCallContext,
        chain: Dynamic,
        anchors: Dynamic,
        options: Map,
    ) -> Reply<Map> {
        const WORD: &str = "cert::paths";
        let judging = Judging::of(&ctx, WORD, options)?;
        let chain = certs_of(WORD, &chain)?;
        let named = named_cas(WORD, &anchors)?;
        let roots = named.iter().flat_map(|ca| ca.roots.certs().cloned());
        let anchors: Bundle = roots.collect();
        let Some((leaf, pool)) = chain.split_first() else {
            return Err(script("`cert::paths` was asked about no certificate"));
        };
        let found = pki::paths_for(judging.usage, leaf, pool, &anchors, judging.at);
        let shape = |path: &pki::Path| -> Dynamic {
            let ends = |ca: &&NamedCa| ca.roots.contains(path.anchor()) && !ca.name.is_empty();
            let name = named.iter().find(ends).map(|ca| ca.name.clone());
            map([
                ("ca", name.map_or(Dynamic::UNIT, Dynamic::from)),
                ("certs", super::array(path.certs().to_vec())),
                (
                    "not_after",
                    super::super::time::text(path.not_after()).into(),
                ),
            ])
            .into()
        };
        let paths: Array = found.iter().flatten().map(shape).collect();
        Ok(map([
            ("paths", paths.into()),
            ("reason", super::reason(found.err())),
        ]))
    }

    /// Everything that a text has of certificates, whatever else is in it:
    /// `#{ certs, issues, unloadable }`. Each issue is `#{ index, reason }` with the number of its block
    /// from 0; `unloadable` says why Envoy would not load the text as it stands, or is `()`.
    ///
    /// - `text`: PEM as found, base64 of PEM or DER.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root().pem;
    /// let cut = root.sub_string(0, 800);
    /// let found = cert::read(cut + "\n" + root + "some words");
    /// assert(found.certs.len == 1 && found.certs[0].is_ca, "the whole one");
    /// assert(found.issues[0].index == 0, "the first is cut");
    /// assert(found.issues[0].reason == "`BEGIN CERTIFICATE` has no END line: cut short", found.issues[0].reason);
    /// assert(found.unloadable != () && cert::read(root).unloadable == (), "all or nothing");
    /// ```
    #[rhai_fn(name = "read")]
    pub fn read(text: &str) -> Map {
        super::found(text.as_bytes())
    }

    /// As `read(text)`, of bytes.
    ///
    /// - `bytes`: DER, one certificate or several; or PEM.
    ///
    /// ```rhai
    /// let found = cert::read("not a certificate".to_blob());
    /// assert(found.certs.is_empty() && found.issues.len == 1 && found.unloadable != (), found);
    /// ```
    #[rhai_fn(name = "read")]
    pub fn read_blob(bytes: Blob) -> Map {
        super::found(&bytes)
    }

    /// As `read(text)`, of a file, which may be DER.
    ///
    /// - `path`: relative to the working directory.
    ///
    /// Throws `environment` if it cannot be read.
    ///
    /// ```rhai
    /// let file = fs::temp_dir() + "/root.pem";
    /// fs::write(file, cert::mesh_ca_root().pem);
    /// assert(cert::read_file(file).certs == [cert::mesh_ca_root()], "the root");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn read_file(ctx: NativeCallContext, path: &str) -> Reply<Map> {
        kit::called(&ctx);
        let bytes = files::read_bytes(Path::new(path), pki::MAX_INPUT).map_err(failed)?;
        Ok(super::found(&bytes))
    }

    /// The one private key of a file, as `cert::key` of its text.
    ///
    /// - `path`: relative to the working directory.
    ///
    /// Throws `environment` if the file cannot be read, `script` if there is no usable key in it.
    ///
    /// ```rhai
    /// let message = "";
    /// try { cert::read_key("/no/such/key.pem"); } catch (e) { message = e.message; }
    /// assert(message.contains("/no/such/key.pem"), message);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn read_key(ctx: NativeCallContext, path: &str) -> Reply<PrivateKey> {
        kit::called(&ctx);
        let text = files::read_text(Path::new(path)).map_err(failed)?;
        key_of("cert::read_key", &text.into())
    }

    /// Whether two bundles hold the same certificates, whatever their order.
    ///
    /// - `a`, `b`: certificates.
    ///
    /// Throws `script` if one of the two is not certificates.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// assert(cert::same([root, root], root.pem) && !cert::same(root, []), "sets");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn same(a: Dynamic, b: Dynamic) -> Reply<bool> {
        Ok(bundle_of("cert::same", &a)? == bundle_of("cert::same", &b)?)
    }

    /// What a TLS server presents, without trusting it: `#{ chain, protocol, accepted, refused }`.
    /// `refused` is the server's alert if it did not want us, or `()`; `accepted` is what
    /// `cert::accepts` says of the chain if a `bundle` was given, or `()`.
    ///
    /// - `address`: `HOST:PORT`.
    /// - `options`: `server_name` for SNI (the host, if it is a name); `bundle` that the chain is judged
    ///   by; `chain` and `key` to present; `alpn`, an array; `timeout`, seconds (10).
    ///
    /// Throws `environment` (retryable) if nobody answers, or not with TLS; `script` for another option.
    ///
    /// ```rhai
    /// let target = mesh::connect().target();
    /// let address = target.server.split("//")[1];
    /// let served = cert::served(address, #{ timeout: 5 });
    /// assert(served.chain.len >= 1 && !served.chain[0].is_ca, served);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn served(ctx: NativeCallContext, address: &str, options: Map) -> Reply<Map> {
        super::served::ask(&ctx, address, options)
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
        Ok(cert_of("cert::sha256", &cert)?.sha256().to_string())
    }

    /// Who signed a workload's certificate, proved by signatures:
    /// `#{ ca, verdict, reason, root }`. `verdict` is `by` (then `ca` is the name), `foreign`, `broken`
    /// (somebody has the issuer's name and not its key), `ambiguous` or `unknown`; `root` is the
    /// fingerprint of the root, where there is one.
    ///
    /// - `chain`: what the workload presents, its own certificate first.
    /// - `cas`: `#{ NAME: roots }`.
    ///
    /// Throws `script` if something in it is not certificates.
    ///
    /// ```rhai
    /// let a = cert::sample();
    /// assert(cert::signer(a.chain, a.cas).ca == "CITADEL", cert::signer(a.chain, a.cas).reason);
    /// let again = cert::sample().cas;
    /// let signer = cert::signer(a.chain, again);
    /// assert(signer.verdict == "foreign" && signer.ca == (), "a CA of the same name is another CA");
    /// ```
    #[rhai_fn(name = "signer", return_raw, volatile)]
    pub fn signer(ctx: NativeCallContext, chain: Dynamic, cas: Map) -> Reply<Map> {
        signer_with(ctx, chain, cas, Map::new())
    }

    /// As `signer(chain, cas)`, with options.
    ///
    /// - `chain`: what the workload presents, its own certificate first.
    /// - `cas`: `#{ NAME: roots }`.
    /// - `options`: `at`, the time (now); `pool`, certificates that may stand between besides the
    ///   chain's own, such as the proxy's bundle.
    ///
    /// Throws as `signer(chain, cas)`.
    ///
    /// ```rhai
    /// let a = cert::sample("intermediate");
    /// let leaf = a.chain[0];
    /// assert(cert::signer(leaf, a.cas).verdict == "unknown", "the intermediate is missing");
    /// assert(cert::signer(leaf, a.cas, #{ pool: a.chain }).ca == "CITADEL", "it is in the pool");
    /// ```
    #[rhai_fn(name = "signer", return_raw, volatile)]
    pub fn signer_with(
        ctx: NativeCallContext,
        chain: Dynamic,
        cas: Map,
        options: Map,
    ) -> Reply<Map> {
        const WORD: &str = "cert::signer";
        let mut options = options;
        let pool = options
            .remove("pool")
            .unwrap_or_else(|| Array::new().into());
        let At { at } = At::of(&ctx, WORD, options, &["at", "pool"])?;
        let chain = certs_of(WORD, &chain)?;
        let named = named_cas(WORD, &cas.into())?;
        let signer = pki::signer(&chain, &named, &bundle_of(WORD, &pool)?, at);
        let none = || (Dynamic::UNIT, Dynamic::UNIT);
        let (verdict, (ca, root)) = match &signer {
            Signer::Ambiguous { .. } => ("ambiguous", none()),
            Signer::Broken { .. } => ("broken", none()),
            Signer::By { ca, root } => ("by", (ca.clone().into(), root.to_string().into())),
            Signer::Foreign { root, .. } => ("foreign", (Dynamic::UNIT, root.to_string().into())),
            Signer::Unknown { .. } => ("unknown", none()),
        };
        Ok(map([
            ("ca", ca),
            ("reason", signer.to_string().into()),
            ("root", root),
            ("verdict", verdict.into()),
        ]))
    }

    /// The parts of a workload's SPIFFE identity: `#{ trust_domain, namespace, service_account }`.
    ///
    /// - `of`: `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`, or a certificate that has exactly
    ///   one such URI.
    ///
    /// Throws `script` if it has another form, none, or several.
    ///
    /// ```rhai
    /// let id = cert::spiffe_id("spiffe://cluster.local/ns/shop/sa/front");
    /// assert(id.namespace == "shop" && id.service_account == "front", id.trust_domain);
    /// assert(cert::spiffe_id(cert::sample().chain[0]).trust_domain == "cluster.local", "of a certificate");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn spiffe_id(of: Dynamic) -> Reply<Map> {
        let text = of.clone().into_immutable_string().unwrap_or_default();
        let uri = text
            .get(..9)
            .is_some_and(|start| start.eq_ignore_ascii_case("spiffe://"));
        let id: SpiffeId = if uri || (of.is_string() && !text.contains("-----BEGIN")) {
            text.parse().map_err(script)?
        } else {
            let cert = cert_of("cert::spiffe_id", &of)?;
            cert.spiffe_id().map_err(script)?
        };
        Ok(map([
            ("namespace", id.namespace.into()),
            ("service_account", id.service_account.into()),
            ("trust_domain", id.trust_domain.into()),
        ]))
    }

    /// Whether a bundle trusts a CA now: `#{ trusted, verdict, reason }`. `verdict` is `yes`,
    /// `yes_by_key` (a re-issued root), `partial` (only an intermediate, or one of several keys), `no` or
    /// `unknown`; only the first two are `trusted`.
    ///
    /// - `bundle`: what a proxy trusts.
    /// - `roots`: the CA's; of several keys each must be trusted.
    ///
    /// Throws `script` if one of the two is not certificates.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// assert(cert::trusts(root, root).trusted, "by its own root");
    /// let answer = cert::trusts([], root);
    /// assert(!answer.trusted && answer.reason == "no: the bundle is empty", answer.reason);
    /// ```
    #[rhai_fn(name = "trusts", return_raw, volatile)]
    pub fn trusts(ctx: NativeCallContext, bundle: Dynamic, roots: Dynamic) -> Reply<Map> {
        trusts_with(ctx, bundle, roots, Map::new())
    }

    /// As `trusts(bundle, roots)`, at another time.
    ///
    /// - `bundle`: what a proxy trusts.
    /// - `roots`: the CA's.
    /// - `options`: `at`, the time (now).
    ///
    /// Throws as `trusts(bundle, roots)`.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// let answer = cert::trusts(root, root, #{ at: "2119-01-01T00:00:00Z" });
    /// assert(answer.verdict == "no" && answer.reason.contains("expired"), answer.reason);
    /// ```
    #[rhai_fn(name = "trusts", return_raw, volatile)]
    pub fn trusts_with(
        ctx: NativeCallContext,
        bundle: Dynamic,
        roots: Dynamic,
        options: Map,
    ) -> Reply<Map> {
        const WORD: &str = "cert::trusts";
        let At { at } = At::of(&ctx, WORD, options, &["at"])?;
        let bundle = bundle_of(WORD, &bundle)?;
        let ca = NamedCa::new("the CA", bundle_of(WORD, &roots)?);
        let trust = pki::trusts(&bundle, &ca, at);
        let verdict = match &trust {
            Trust::No { .. } => "no",
            Trust::Partial { .. } => "partial",
            Trust::Unknown { .. } => "unknown",
            Trust::Yes => "yes",
            Trust::YesByKey { .. } => "yes_by_key",
        };
        Ok(map([
            ("reason", trust.to_string().into()),
            ("trusted", trust.is_yes().into()),
            ("verdict", verdict.into()),
        ]))
    }
}

/// What `cert::read` answers.
fn found(bytes: &[u8]) -> Map {
    let (certs, issues) = pki::certs_from_bytes(bytes);
    let issues: Array = issues
        .iter()
        .map(|issue| {
            let index = i64::try_from(issue.index).unwrap_or(i64::MAX);
            map([
                ("index", index.into()),
                ("reason", issue.reason.clone().into()),
            ])
            .into()
        })
        .collect();
    let loads = pki::loads_in_envoy(&String::from_utf8_lossy(bytes));
    map([
        ("certs", array(certs)),
        ("issues", issues.into()),
        ("unloadable", reason(loads.err())),
    ])
}

fn array(certs: Vec<Cert>) -> Dynamic {
    certs
        .into_iter()
        .map(Dynamic::from)
        .collect::<Array>()
        .into()
}

fn reason(error: Option<impl ToString>) -> Dynamic {
    error.map_or(Dynamic::UNIT, |error| error.to_string().into())
}

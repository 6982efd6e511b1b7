//! A plug-in CA for istiod, looked at before it is installed.
//!
//! `asmcli --ca citadel` takes four files (`--ca_cert --ca_key --root_cert --cert_chain`) and puts them
//! into the secret `cacerts`. What it checks of them leaves room for outages: a certificate that is
//! no CA (istiod then does not start), one that expires tomorrow, files whose names istiod does not
//! look for, and above all another root than the one in use, which silently changes the mesh's CA. Here
//! everything is looked at, and what cannot be told is not passed.

use jiff::{SignedDuration, Timestamp};

use super::path::{Search, Usage};
use super::{
    Bundle, Cert, KeyError, KeyKind, PemIssue, PrivateKey, certs_from_bytes, meshca, signature,
    when,
};

/// The names that istiod looks for in the secret `cacerts`
/// (`pilot/pkg/bootstrap/istio_ca.go`, `security/pkg/pki/ca/ca.go`); asmcli makes the keys of the
/// secret from the names of the files.
pub const PLUGIN_FILES: [(&str, &str); 4] = [
    ("ca_cert", "ca-cert.pem"),
    ("ca_key", "ca-key.pem"),
    ("root_cert", "root-cert.pem"),
    ("cert_chain", "cert-chain.pem"),
];

/// How long a CA should last at least, where nothing else is said: what is installed today should
/// not be the emergency of next month.
pub const HORIZON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is to be looked at.
#[derive(Debug)]
pub struct PluginCa {
    /// The certificate that shall sign.
    pub ca_cert: PluginInput,
    /// Its private key.
    pub ca_key: Result<PrivateKey, KeyError>,
    /// Where the key was read from.
    pub ca_key_file: Option<PluginFile>,
    /// What proxies shall trust.
    pub root_cert: PluginInput,
    /// From the signing certificate up.
    pub cert_chain: PluginInput,
    /// The roots that the mesh uses now: empty for a mesh that has none yet, `None` if not known.
    pub in_use: Option<Bundle>,
    /// How long it has to last at least.
    pub horizon: SignedDuration,
}

/// Certificates, and the file that they come from.
#[derive(Debug, Default)]
pub struct PluginInput {
    /// In the order of the text.
    pub certs: Vec<Cert>,
    /// What could not be read.
    pub issues: Vec<PemIssue>,
    /// None for a text that is not from a file.
    pub file: Option<PluginFile>,
}

/// What matters of a file besides its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFile {
    /// The last part of its path.
    pub name: String,
    /// Its permission bits, where the system has them.
    pub mode: Option<u32>,
}

impl PluginInput {
    /// What `bytes` hold.
    pub fn read(bytes: &[u8], file: Option<PluginFile>) -> PluginInput {
        let (certs, issues) = certs_from_bytes(bytes);
        PluginInput {
            certs,
            issues,
            file,
        }
    }
}

/// How bad a finding is. Only with neither errors nor unknowns is the CA fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It would break something.
    Error,
    /// It cannot be told.
    Unknown,
    /// It works, and deserves to be known.
    Warning,
}

impl Severity {
    /// `error`, `unknown`, `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Unknown => "unknown",
            Severity::Warning => "warning",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFinding {
    /// How bad it is.
    pub severity: Severity,
    /// A stable word: `not_a_ca`, `wrong_root`, …
    pub code: &'static str,
    /// Which of the four: `ca_cert`, `ca_key`, `root_cert`, `cert_chain`.
    pub part: &'static str,
    /// What is wrong, with names.
    pub message: String,
    /// The way out.
    pub hint: &'static str,
}

struct Findings(Vec<PluginFinding>);

/// Everything that speaks against installing this CA at `now`, the worst first.
pub fn check_plugin_ca(ca: &PluginCa, now: Timestamp) -> Vec<PluginFinding> {
    let mut found = Findings(Vec::new());
    found.files(ca);
    for (part, input) in [
        ("ca_cert", &ca.ca_cert),
        ("root_cert", &ca.root_cert),
        ("cert_chain", &ca.cert_chain),
    ] {
        found.blocks(part, input);
        for cert in &input.certs {
            found.cert(part, cert, ca.horizon, now);
        }
    }
    let roots: Bundle = ca.root_cert.certs.iter().cloned().collect();
    if let Some(signer) = ca.ca_cert.certs.first() {
        found.signer(signer, ca, &roots, now);
    }
    found.roots(ca, &roots);
    found.chain(ca);
    let mut seen = Vec::new();
    found.0.retain(|finding| {
        // One certificate may stand in several files.
        let key = (finding.code, finding.message.clone());
        let new = !seen.contains(&key);
        seen.push(key);
        new
    });
    found.0.sort_by_key(|finding| finding.severity);
    found.0
}

impl Findings {
    fn say(
        &mut self,
        severity: Severity,
        code: &'static str,
        part: &'static str,
        message: String,
        hint: &'static str,
    ) {
        self.0.push(PluginFinding {
            severity,
            code,
            part,
            message,
            hint,
        });
    }

    fn error(
        &mut self,
        code: &'static str,
        part: &'static str,
        message: String,
        hint: &'static str,
    ) {
        self.say(Severity::Error, code, part, message, hint);
    }

    fn unknown(
        &mut self,
        code: &'static str,
        part: &'static str,
        message: String,
        hint: &'static str,
    ) {
        self.say(Severity::Unknown, code, part, message, hint);
    }

    fn warning(
        &mut self,
        code: &'static str,
        part: &'static str,
        message: String,
        hint: &'static str,
    ) {
        self.say(Severity::Warning, code, part, message, hint);
    }

    fn files(&mut self, ca: &PluginCa) {
        let files = [
            &ca.ca_cert.file,
            &ca.ca_key_file,
            &ca.root_cert.file,
            &ca.cert_chain.file,
        ];
        for ((part, wanted), file) in PLUGIN_FILES.into_iter().zip(files) {
            let Some(file) = file else { continue };
            if file.name != wanted {
                let message = format!(
                    "the file is called `{}`; asmcli makes it a key of the secret `cacerts`, where \
                     istiod looks for `{wanted}`",
                    file.name
                );
                self.error("file_name", part, message, "rename the file");
            }
        }
        if let Some(mode) = ca.ca_key_file.as_ref().and_then(|file| file.mode)
            && mode & 0o077 != 0
        {
            let message = format!(
                "the file of the private key has mode {:04o}: others than its owner can reach it",
                mode & 0o7777
            );
            self.error("key_permissions", "ca_key", message, "chmod 600");
        }
    }

    fn blocks(&mut self, part: &'static str, input: &PluginInput) {
        for issue in &input.issues {
            self.error(
                "unreadable",
                part,
                issue.to_string(),
                "istiod reads the file as a whole or not at all: take the block out",
            );
        }
        if input.certs.is_empty() {
            let hint = "one PEM certificate at least";
            self.error("empty", part, "it holds no certificate".to_owned(), hint);
        }
        for (index, cert) in input.certs.iter().enumerate() {
            if input.certs[..index].contains(cert) {
                let message = format!("it holds {} twice", called(cert));
                self.warning("duplicate", part, message, "leave one");
            }
        }
        if part == "ca_cert" && input.certs.len() > 1 {
            let message = format!(
                "it holds {} certificates, of which istiod uses the first only",
                input.certs.len()
            );
            self.error(
                "several",
                part,
                message,
                "put what stands above it into the chain",
            );
        }
    }

    /// What each certificate has to be, wherever it stands.
    fn cert(&mut self, part: &'static str, cert: &Cert, horizon: SignedDuration, now: Timestamp) {
        let name = called(cert);
        if !cert.is_ca() {
            let message = format!("{name} is not a CA (basic constraints CA:FALSE, or none)");
            let hint = "istiod does not start with such a CA; take a CA certificate";
            self.error("not_a_ca", part, message, hint);
        } else if !cert.can_sign_certs() {
            let message = format!("{name} has key usages without keyCertSign");
            let hint = "proxies refuse what it signs; have it issued with keyCertSign";
            self.error("key_usage", part, message, hint);
        }
        if let Some(purposes) = cert.extended_key_usages() {
            for wanted in ["serverAuth", "clientAuth"] {
                if !purposes.iter().any(|purpose| purpose == wanted) {
                    let message = format!("{name} has extended key usages without {wanted}");
                    let hint =
                        "proxies refuse what stands below it; issue it without, or with both";
                    self.error("extended_key_usage", part, message, hint);
                }
            }
        }
        if now < cert.not_before() {
            let message = format!(
                "{name} becomes valid {}",
                when::relative(cert.not_before(), now)
            );
            self.error(
                "not_yet_valid",
                part,
                message,
                "wait, or have it issued anew",
            );
        } else if !cert.valid_at(now) {
            let message = format!("{name} expired {}", when::relative(cert.not_after(), now));
            self.error("expired", part, message, "have it issued anew");
        } else if cert.expires_in(now) < horizon {
            let message = format!(
                "{name} expires {}, before the horizon of {}",
                when::relative(cert.not_after(), now),
                when::duration(horizon.as_secs().unsigned_abs())
            );
            self.error("expires_soon", part, message, "have it issued for longer");
        }
        self.strength(part, cert, &name);
        if let Some(what) = &cert.parsed().beyond_us {
            let message = format!("{name} has {what}, which cannot be judged here");
            self.unknown("beyond_us", part, message, "try it on a test mesh first");
        }
    }

    fn strength(&mut self, part: &'static str, cert: &Cert, name: &str) {
        match cert.key_kind() {
            KeyKind::Rsa(bits) if bits < 2048 => {
                let message = format!("{name} has an RSA key of {bits} bits");
                self.error(
                    "weak_key",
                    part,
                    message,
                    "Envoy refuses less than 2048 bits",
                );
            }
            KeyKind::Ecdsa(curve) if !matches!(curve.as_str(), "P-256" | "P-384") => {
                let message = format!("{name} has an ECDSA key on curve {curve}");
                self.unknown(
                    "unusual_key",
                    part,
                    message,
                    "P-256 and P-384 are known to work",
                );
            }
            KeyKind::Other(oid) => {
                let message = format!("{name} has a key of type {oid}");
                self.unknown(
                    "unusual_key",
                    part,
                    message,
                    "RSA and ECDSA are known to work",
                );
            }
            _ => {}
        }
        // Nobody checks the signature of a root that is trusted for its bytes.
        let weak = ["SHA-1", "MD5"]
            .iter()
            .any(|hash| cert.signature_algorithm().ends_with(hash));
        if weak && !cert.is_self_issued() {
            let message = format!("{name} is signed with {}", cert.signature_algorithm());
            self.error(
                "weak_signature",
                part,
                message,
                "have it issued with SHA-256",
            );
        }
    }

    fn signer(&mut self, signer: &Cert, ca: &PluginCa, roots: &Bundle, now: Timestamp) {
        match ca.ca_key.as_ref().map(|key| key.matches(signer)) {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                let message = format!("the key is not the one of {}", called(signer));
                self.error("key_mismatch", "ca_key", message, "take the key of ca_cert");
            }
            Err(KeyError::Unsupported) | Ok(Err(_)) => {
                let message = format!(
                    "whether the key belongs to {} cannot be told",
                    called(signer)
                );
                let hint = "RSA from 2048 bits, ECDSA P-256 and P-384 and Ed25519 can be judged";
                self.unknown("key_unsupported", "ca_key", message, hint);
            }
            Err(error) => {
                let hint = "one unencrypted key, PKCS#1, PKCS#8 or SEC1, as PEM";
                self.error("key_unreadable", "ca_key", error.to_string(), hint);
            }
        }
        if signer.is_self_signed() == Some(true) {
            let message = format!(
                "{} is a root: istiod would hold the root's own key",
                called(signer)
            );
            let hint = "an intermediate can be replaced without touching what proxies trust";
            self.warning("root_signs", "ca_cert", message, hint);
        }
        // A root in ca_cert that is in root_cert is its own path.
        if !roots.contains(signer) {
            let hint = "root_cert has to hold the root that cert_chain leads to";
            self.path("chain_to_root", "cert_chain", signer, ca, roots, hint, now);
        }
        if let Some(in_use) = ca.in_use.as_ref().filter(|bundle| !bundle.is_empty())
            && !in_use.contains(signer)
        {
            let hint = "proxies that trust only the root in use would refuse what it signs";
            self.path(
                "chain_to_root_in_use",
                "ca_cert",
                signer,
                ca,
                in_use,
                hint,
                now,
            );
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn path(
        &mut self,
        code: &'static str,
        part: &'static str,
        signer: &Cert,
        ca: &PluginCa,
        anchors: &Bundle,
        hint: &'static str,
        now: Timestamp,
    ) {
        // What istiod hands to a proxy is the chain and the roots, so nothing else may help.
        let pool = ca.cert_chain.certs.iter().chain(&ca.root_cert.certs);
        let mut search = Search::new(Usage::Workload, pool, anchors, Some(now));
        search.start_at_ca(signer);
        let Err(error) = search.outcome() else { return };
        // What is wrong with the certificate itself was said of it.
        let about_itself = self.0.iter().any(|finding| {
            finding.part == "ca_cert"
                && matches!(
                    finding.code,
                    "not_a_ca" | "key_usage" | "extended_key_usage" | "expired" | "not_yet_valid"
                )
        });
        if error.is_unknown() {
            self.unknown(code, part, error.to_string(), hint);
        } else if !about_itself {
            self.error(code, part, error.to_string(), hint);
        }
    }

    fn roots(&mut self, ca: &PluginCa, roots: &Bundle) {
        for root in roots.certs() {
            if root.is_ca() && root.is_self_signed() == Some(false) {
                let message = format!("{} is not self-signed: it is an intermediate", called(root));
                let hint = "proxies accept it as an end of a path; other tools do not";
                self.warning("not_a_root", "root_cert", message, hint);
            }
        }
        let mesh_ca = Bundle::from_pem(meshca::ROOT_PEM).0;
        if !roots.intersection(&mesh_ca).is_empty() {
            let message =
                "it holds the root of Mesh CA, whose key nobody but Google has".to_owned();
            let hint = "the option `ca-migration-citadel` gives proxies that root; this file is for Citadel's";
            self.error("mesh_ca_root", "root_cert", message, hint);
        }
        let Some(in_use) = &ca.in_use else {
            let message = "whether this is the root in use is not known".to_owned();
            let hint =
                "say which roots the mesh uses: `root_in_use`; an empty array for a new mesh";
            self.unknown("root_in_use", "root_cert", message, hint);
            return;
        };
        if in_use.is_empty() {
            return;
        }
        let lacking = in_use.difference(roots);
        for root in lacking.certs() {
            let namesake = roots
                .certs()
                .find(|cert| cert.parsed().subject_canonical == root.parsed().subject_canonical);
            let instead = match namesake {
                Some(cert) if cert.spki_sha256() == root.spki_sha256() => format!(
                    "{} has its name and its key, but is another certificate",
                    called(cert)
                ),
                Some(cert) => format!("{} has its name, but another key", called(cert)),
                None => "it is not in the file".to_owned(),
            };
            let message = format!("the root in use is {}: {instead}", called(root));
            let hint =
                "installing this changes what the mesh trusts; add the root in use to root_cert";
            self.error("wrong_root", "root_cert", message, hint);
        }
        let added = roots.difference(in_use);
        if lacking.is_empty() {
            for root in added.certs() {
                let message = format!(
                    "{} is not in use yet: every proxy would get it too",
                    called(root)
                );
                let hint = "leave it out if that is not meant";
                self.warning("additional_root", "root_cert", message, hint);
            }
        }
    }

    /// A chain is read from the signing certificate upwards; proxies present it so.
    fn chain(&mut self, ca: &PluginCa) {
        let certs = &ca.cert_chain.certs;
        let Some(signer) = ca.ca_cert.certs.first() else {
            return;
        };
        if certs.is_empty() {
            return;
        }
        if !certs.contains(signer) {
            let message = format!("{} itself is not in the chain", called(signer));
            let hint = "istiod presents the file as it is: it has to begin with ca_cert";
            self.error("chain_incomplete", "cert_chain", message, hint);
        } else if certs.first() != Some(signer) {
            let message = format!("the chain begins with {}", called(&certs[0]));
            self.error(
                "chain_order",
                "cert_chain",
                message,
                "ca_cert first, then what is above it",
            );
        }
        for pair in certs.windows(2) {
            if signature::check(&pair[0], &pair[1]) == signature::Signature::Bad {
                let message = format!(
                    "{} is followed by {}, which did not sign it",
                    called(&pair[0]),
                    called(&pair[1])
                );
                self.error(
                    "chain_order",
                    "cert_chain",
                    message,
                    "each certificate is followed by its issuer",
                );
            }
        }
    }
}

fn called(cert: &Cert) -> String {
    format!("`{}` ({})", cert.display_name(), cert.sha256().short())
}

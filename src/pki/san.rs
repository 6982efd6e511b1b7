//! Which names a peer may have: Envoy's SAN matchers.

use super::Cert;
use super::name::printable;

/// The URI matchers of one listener or cluster, as Istio writes them: inbound listeners match
/// prefixes (`spiffe://cluster.local/`), outbound clusters exact names.
///
/// Any one match suffices. Both `None` accepts everyone, as Envoy does without matchers; an empty
/// list accepts nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SanRules {
    /// A URI that starts so is accepted. Keep the last slash: `spiffe://a` would match `spiffe://ab/`.
    pub prefixes: Option<Vec<String>>,
    /// A URI that reads exactly so is accepted.
    pub exact: Option<Vec<String>>,
}

impl SanRules {
    /// Accepts every name, as Envoy without matchers.
    pub fn any() -> SanRules {
        SanRules::default()
    }

    /// Accepts URIs with one of these prefixes.
    pub fn prefixes<S: Into<String>>(prefixes: impl IntoIterator<Item = S>) -> SanRules {
        let prefixes = prefixes.into_iter().map(Into::into).collect();
        SanRules {
            prefixes: Some(prefixes),
            exact: None,
        }
    }

    /// Accepts these URIs.
    pub fn exact<S: Into<String>>(exact: impl IntoIterator<Item = S>) -> SanRules {
        let exact = exact.into_iter().map(Into::into).collect();
        SanRules {
            prefixes: None,
            exact: Some(exact),
        }
    }

    /// Whether a peer with this certificate is accepted; if not, why.
    pub fn accepts(&self, cert: &Cert) -> Result<(), String> {
        if self.accepts_uris(cert.uris()) {
            return Ok(());
        }
        let presented = match cert.uris() {
            [] => "presents no URI".to_owned(),
            uris => format!("presents `{}`", printable(&uris.join("`, `"))),
        };
        Err(format!("{presented}, accepted is {self}"))
    }

    /// Whether a certificate with these URIs would be accepted: for identities that do not exist yet.
    pub fn accepts_uris(&self, uris: &[String]) -> bool {
        if self.prefixes.is_none() && self.exact.is_none() {
            return true;
        }
        let prefixed = |uri: &String| {
            self.prefixes
                .iter()
                .flatten()
                .any(|prefix| uri.starts_with(prefix.as_str()))
        };
        let equal = |uri: &String| self.exact.iter().flatten().any(|exact| exact == uri);
        uris.iter().any(|uri| prefixed(uri) || equal(uri))
    }
}

impl std::fmt::Display for SanRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.prefixes.is_none() && self.exact.is_none() {
            return f.write_str("any name");
        }
        let prefixes = self
            .prefixes
            .iter()
            .flatten()
            .map(|prefix| format!("`{prefix}*`"));
        let exact = self
            .exact
            .iter()
            .flatten()
            .map(|exact| format!("`{exact}`"));
        let all: Vec<String> = prefixes.chain(exact).collect();
        if all.is_empty() {
            f.write_str("no name")
        } else {
            f.write_str(&all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(rules: &SanRules, uri: &str) -> bool {
        rules.accepts_uris(&[uri.to_owned()])
    }

    #[test]
    fn prefixes_and_exact_names_match_as_envoy_does() {
        let inbound = SanRules::prefixes(["spiffe://cluster.local/"]);
        assert!(accepts(&inbound, "spiffe://cluster.local/ns/a/sa/b"));
        assert!(!accepts(&inbound, "spiffe://cluster.local.evil/ns/a/sa/b"));
        let outbound = SanRules::exact(["spiffe://td/ns/a/sa/b"]);
        assert!(accepts(&outbound, "spiffe://td/ns/a/sa/b"));
        assert!(!accepts(&outbound, "spiffe://td/ns/a/sa/bb"));
        assert_eq!(outbound.to_string(), "`spiffe://td/ns/a/sa/b`");
        assert_eq!(inbound.to_string(), "`spiffe://cluster.local/*`");
    }

    #[test]
    fn no_matchers_accept_everyone_and_empty_lists_nobody() {
        assert!(SanRules::any().accepts_uris(&[]));
        assert!(!accepts(&SanRules::prefixes::<String>([]), "spiffe://a/"));
        assert!(!SanRules::exact(["spiffe://a"]).accepts_uris(&[]));
        assert_eq!(SanRules::prefixes::<String>([]).to_string(), "no name");
    }
}

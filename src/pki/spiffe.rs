//! SPIFFE identities in the form that Istio gives to workloads.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::name::printable;

/// `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`. Other path forms (SPIRE's templates)
/// are not read: their meaning belongs to the site that made them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SpiffeId {
    /// Lower case, as the SPIFFE specification compares it.
    pub trust_domain: String,
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The Kubernetes service account.
    pub service_account: String,
}

/// Why there is no single workload identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Not of the expected form.
    #[error(
        "`{}` is not `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`: {reason}",
        printable(uri)
    )]
    Malformed {
        /// The URI.
        uri: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No URI of the scheme `spiffe`.
    #[error("the certificate has no spiffe URI")]
    Missing,
    /// More than one.
    #[error("the certificate has {} spiffe URIs: `{}`", .0.len(), printable(&.0.join("`, `")))]
    Several(Vec<String>),
}

impl SpiffeId {
    /// An identity of its three parts, which are taken as they are.
    pub fn new(
        trust_domain: impl Into<String>,
        namespace: impl Into<String>,
        service_account: impl Into<String>,
    ) -> SpiffeId {
        SpiffeId {
            trust_domain: trust_domain.into(),
            namespace: namespace.into(),
            service_account: service_account.into(),
        }
    }

    /// The one identity among the URIs of a certificate; URIs of other schemes do not count.
    pub fn from_uris(uris: &[String]) -> Result<SpiffeId, SpiffeError> {
        let mut spiffe = uris.iter().filter(|uri| has_scheme(uri));
        match (spiffe.next(), spiffe.next()) {
            (None, _) => Err(SpiffeError::Missing),
            (Some(uri), None) => uri.parse(),
            (Some(_), Some(_)) => Err(SpiffeError::Several(
                uris.iter().filter(|uri| has_scheme(uri)).cloned().collect(),
            )),
        }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(uri: &str) -> Result<Self, Self::Err> {
        let fail = |reason| SpiffeError::Malformed {
            uri: uri.to_owned(),
            reason,
        };
        // SPIFFE-ID, section 2.3: at most 2048 bytes, the trust domain at most 255.
        if uri.len() > 2048 {
            return Err(fail("longer than 2048 bytes"));
        }
        if !has_scheme(uri) {
            return Err(fail("the scheme is not spiffe"));
        }
        let parts: Vec<&str> = uri["spiffe://".len()..].split('/').collect();
        let [trust_domain, "ns", namespace, "sa", service_account] = parts[..] else {
            return Err(fail("the path is not /ns/NAMESPACE/sa/SERVICE_ACCOUNT"));
        };
        let trust_domain = trust_domain.to_ascii_lowercase();
        if trust_domain.is_empty() || trust_domain.len() > 255 {
            return Err(fail("the trust domain is empty or longer than 255 bytes"));
        }
        if !trust_domain
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
        {
            return Err(fail(
                "the trust domain has characters other than a-z, 0-9, `.`, `-`, `_`",
            ));
        }
        for segment in [namespace, service_account] {
            if segment.is_empty() || segment == "." || segment == ".." {
                return Err(fail("a part of the path is empty or relative"));
            }
            if !segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
            {
                return Err(fail(
                    "a part of the path has characters other than letters, digits, `.`, `-`, `_`",
                ));
            }
        }
        Ok(SpiffeId::new(trust_domain, namespace, service_account))
    }
}

/// Schemes are compared without case (RFC 3986, section 3.1).
fn has_scheme(uri: &str) -> bool {
    uri.get(.."spiffe://".len())
        .is_some_and(|start| start.eq_ignore_ascii_case("spiffe://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn istios_form_is_read_and_shown() {
        let id: SpiffeId = "spiffe://Project.svc.id.goog/ns/shop/sa/front-end"
            .parse()
            .unwrap();
        assert_eq!(
            id,
            SpiffeId::new("project.svc.id.goog", "shop", "front-end")
        );
        assert_eq!(
            id.to_string(),
            "spiffe://project.svc.id.goog/ns/shop/sa/front-end"
        );
    }

    #[test]
    fn anything_looser_is_refused() {
        for bad in [
            "",
            "https://cluster.local/ns/a/sa/b",
            "spiffe://cluster.local",
            "spiffe://cluster.local/ns/a/sa/",
            "spiffe:///ns/a/sa/b",
            "spiffe://cluster.local/ns/a/sa/b/",
            "spiffe://cluster.local/ns/a/sa/b?x",
            "spiffe://cluster.local/ns/a%20/sa/b",
            "spiffe://cluster.local:8080/ns/a/sa/b",
            "spiffe://user@cluster.local/ns/a/sa/b",
            "spiffe://cluster.local/ns/../sa/b",
            "spiffe://cluster.local/agent/x",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn exactly_one_identity_counts() {
        let uris = |list: &[&str]| list.iter().map(|uri| (*uri).to_owned()).collect::<Vec<_>>();
        let one = uris(&["https://example.com", "spiffe://a/ns/b/sa/c"]);
        assert_eq!(
            SpiffeId::from_uris(&one).unwrap(),
            SpiffeId::new("a", "b", "c")
        );
        assert_eq!(SpiffeId::from_uris(&[]), Err(SpiffeError::Missing));
        let two = uris(&["spiffe://a/ns/b/sa/c", "spiffe://a/ns/b/sa/d"]);
        assert_eq!(
            SpiffeId::from_uris(&two),
            Err(SpiffeError::Several(two.clone()))
        );
    }
}

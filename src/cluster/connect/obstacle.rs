//! What keeps a connection from coming about, told from the chain of errors of the HTTP client.
//!
//! "error trying to connect" has a dozen causes, and each is somebody else's to remove. The innermost
//! error alone does not tell them apart: a refusal may be the server's or the proxy's.

use std::error::Error;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::super::call::root_cause;

/// What stands between this program and an API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The server does not take the client's certificate.
    ClientCertificate(String),
    /// The server's certificate is out of date, by this machine's clock.
    Expired(String),
    /// Its host name has no address.
    NoSuchHost(String),
    /// No way leads to its address.
    NoRoute,
    /// It does not speak TLS, though the address says `https`.
    NotTls,
    /// Something else, in the words of who noticed it.
    Other(String),
    /// The proxy on the way.
    Proxy {
        /// Its address, without its user and password.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody listens there.
    Refused,
    /// Nobody answers.
    Silent(String),
    /// It speaks TLS, though the address says `http`.
    Tls,
    /// Its certificate is signed by nobody who is trusted here.
    Untrusted,
    /// Its certificate is for other names.
    WrongName(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientCertificate(reason) => {
                write!(f, "it does not take the client certificate: {reason}")
            }
            Self::Expired(when) => write!(f, "its certificate is not valid now{when}"),
            Self::NoSuchHost(host) => write!(f, "host `{host}` has no address"),
            Self::NoRoute => f.write_str("no route to it"),
            Self::NotTls => f.write_str("what answers there does not speak TLS"),
            Self::Other(reason) => f.write_str(reason),
            Self::Proxy { address, reason } => write!(f, "proxy `{address}`: {reason}"),
            Self::Refused => f.write_str("connection refused"),
            Self::Silent(after) => write!(f, "no answer{after}"),
            Self::Tls => f.write_str("it speaks TLS, and was asked without"),
            Self::Untrusted => {
                f.write_str("its certificate is signed by no authority that is trusted here")
            }
            Self::WrongName(names) => write!(f, "its certificate is for another name{names}"),
        }
    }
}

impl Obstacle {
    /// What a transport error means; `host`: the server's, `proxy`: the address of the proxy on the
    /// way to it.
    pub(super) fn of(error: &(dyn Error + 'static), host: &str, proxy: Option<&str>) -> Self {
        let mut found = None;
        let mut at_proxy = false;
        let mut current = Some(error);
        while let Some(e) = current {
            let text = e.to_string();
            // hyper-util keeps these types to itself.
            if let Some(reason) = text.strip_prefix("tunnel error: ") {
                at_proxy = true;
                found = tunnel(reason).or(found);
            } else if text == "dns error" {
                let host = if at_proxy {
                    proxy.unwrap_or(host)
                } else {
                    host
                };
                found = Some(Self::NoSuchHost(host_of(host).to_owned()));
            } else if text.starts_with("SOCKS error") {
                at_proxy = true;
            }
            if found.is_none() {
                found = tls_error(e).map(tls);
            }
            if found.is_none() {
                found = e.downcast_ref::<io::Error>().and_then(os);
            }
            current = e.source();
        }
        let found = found.unwrap_or_else(|| Self::Other(root_cause(error)));
        match proxy {
            Some(address) if at_proxy => Self::Proxy {
                address: without_password(address),
                reason: found.to_string(),
            },
            _ => found,
        }
    }

    /// The next step, for the server at this address.
    pub(in super::super) fn hint(&self, server: &str) -> String {
        match self {
            Self::ClientCertificate(_) => {
                "get new credentials, or give another context with --context".into()
            }
            Self::Expired(_) => "is this machine's clock right? if so, the server's certificate must be renewed".into(),
            Self::NoSuchHost(host) => {
                format!("is `{host}` spelt right, and is the VPN or the private DNS up?")
            }
            Self::NoRoute | Self::Silent(_) => {
                format!("can {server} be reached from here: a VPN, a firewall, an authorized network?")
            }
            Self::NotTls => format!("is {server} the right port, and not one of plain HTTP?"),
            Self::Other(_) | Self::Refused => format!("is {server} the right address, and up?"),
            Self::Proxy { .. } => {
                "it is named by `proxy-url` in the kubeconfig or by $HTTPS_PROXY; hosts in $NO_PROXY are reached \
                 without the latter"
                    .into()
            }
            Self::Tls => "write `https://` before the server's address in the kubeconfig".into(),
            Self::Untrusted => {
                "`certificate-authority-data` of the kubeconfig must be the server's; has it been rebuilt, or does \
                 somebody listen in?"
                    .into()
            }
            Self::WrongName(_) => {
                "use a name that it is for, or name one as `tls-server-name` in the kubeconfig".into()
            }
        }
    }

    /// Whether trying again later may succeed without anybody changing anything.
    pub(in super::super) fn retryable(&self) -> bool {
        matches!(
            self,
            Self::NoRoute
                | Self::NoSuchHost(_)
                | Self::Other(_)
                | Self::Proxy { .. }
                | Self::Refused
                | Self::Silent(_)
        )
    }
}

/// The TLS error that an error is, or that is wrapped in it: what an [`io::Error`] holds is not among its
/// sources.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    let mut current = error;
    loop {
        if let Some(found) = current.downcast_ref() {
            return Some(found);
        }
        current = current.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

fn tls(error: &TlsError) -> Obstacle {
    match error {
        TlsError::InvalidCertificate(wrong) => match wrong {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Obstacle::Untrusted,
            CertificateError::NotValidForName => Obstacle::WrongName(String::new()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names: Vec<String> = presented.iter().map(|n| plain_name(n)).collect();
                Obstacle::WrongName(format!(": `{}`", names.join("`, `")))
            }
            CertificateError::Expired | CertificateError::NotValidYet => {
                Obstacle::Expired(String::new())
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                Obstacle::Expired(format!(": it expired at {}", time(not_after.as_secs())))
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                Obstacle::Expired(format!(": it begins at {}", time(not_before.as_secs())))
            }
            other => Obstacle::Other(format!("its certificate cannot be accepted: {other}")),
        },
        TlsError::InvalidMessage(_) => Obstacle::NotTls,
        TlsError::AlertReceived(alert) => match alert {
            AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate => {
                Obstacle::ClientCertificate(format!("{alert:?}"))
            }
            other => Obstacle::Other(format!("it ended the TLS handshake: {other:?}")),
        },
        other => Obstacle::Other(format!("TLS: {other}")),
    }
}

/// `DnsName("a")` and `IpAddress(127.0.0.1)` as people write them.
fn plain_name(name: &str) -> String {
    let inside = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"').to_owned()
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".into(), |t| t.to_string())
}

fn os(error: &io::Error) -> Option<Obstacle> {
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => Obstacle::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Obstacle::NoRoute,
        io::ErrorKind::TimedOut => Obstacle::Silent(String::new()),
        _ => return None,
    })
}

/// What a proxy said to the request for a tunnel; none if the reason comes below.
fn tunnel(reason: &str) -> Option<Obstacle> {
    Some(Obstacle::Other(match reason {
        "proxy authorization required" => "it wants a user and a password".into(),
        "unsuccessful" => "it refuses the way to the server".into(),
        "unexpected end of file" => "it ended the connection".into(),
        "missing destination host" => "the server's address has no host".into(),
        "proxy response headers too long" => "its answer is no answer of a proxy".into(),
        _ => return None,
    }))
}

/// The host of an address.
fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or(rest);
    match rest.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
        _ => rest,
    }
}

fn without_password(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => address.to_owned(),
    }
    .trim_end_matches('/')
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_proxies_are_not_told() {
        assert_eq!(
            without_password("http://me:secret@proxy:3128/"),
            "http://proxy:3128"
        );
        assert_eq!(host_of("http://me:secret@proxy:3128/"), "proxy");
        assert_eq!(host_of("https://[::1]:6443"), "[::1]");
    }
}

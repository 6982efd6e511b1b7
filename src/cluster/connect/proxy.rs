//! Which proxy leads to a server, if one does, as kubectl decides it.
//!
//! `proxy-url` of the kubeconfig goes before the environment and is used for every address. The
//! environment's is not used for loopback addresses, nor for what `NO_PROXY` names (Go's `httpproxy`).
//! `kube` 5 compares `NO_PROXY` with the proxy's own host.

use std::net::IpAddr;

use http::{HeaderValue, Uri};

use crate::effect::environment;

/// The proxy for a server. `own`: the one that the kubeconfig names.
///
/// # Errors
/// Its address is none.
pub(super) fn choose(server: &Uri, own: Option<&str>) -> Result<Option<Uri>, String> {
    let own = own.filter(|url| !url.is_empty());
    let address = match own {
        Some(own) => Some(own.to_owned()),
        None if reached_directly(server, environment::no_proxy().as_deref()) => None,
        None => environment::proxy(server.scheme_str().unwrap_or("https")),
    };
    let Some(address) = address else {
        return Ok(None);
    };
    // Go takes `proxy:3128` for `http://proxy:3128`.
    let whole = if address.contains("://") {
        address.clone()
    } else {
        format!("http://{address}")
    };
    let uri: Uri = whole
        .parse()
        .map_err(|_| format!("`{}` is no address of a proxy", without_user(&address)))?;
    match uri.scheme_str() {
        Some("http" | "https" | "socks5") => Ok(Some(uri)),
        scheme => Err(format!(
            "a proxy speaks `http`, `https` or `socks5`, not `{}`",
            scheme.unwrap_or_default()
        )),
    }
}

/// An address, without the user and the password in it.
fn without_user(address: &str) -> String {
    match (address.rsplit_once('@'), address.split_once("://")) {
        (None, _) => address.to_owned(),
        (Some((_, rest)), Some((scheme, _))) => format!("{scheme}://{rest}"),
        (Some((_, rest)), None) => rest.to_owned(),
    }
}

/// The user and the password in a proxy's address, as the header that it expects.
pub(super) fn authorization(proxy: &Uri) -> Option<HeaderValue> {
    use base64::Engine as _;
    let (user, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let plain = base64::engine::general_purpose::STANDARD.encode(decoded(user));
    let mut value = HeaderValue::try_from(format!("Basic {plain}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The address of a SOCKS proxy with its port (1080, RFC 1928), and the user and the password in it.
///
/// # Errors
/// It has no host.
pub(super) fn socks(proxy: &Uri) -> Result<(Uri, Option<(String, String)>), http::Error> {
    let host = proxy.host().unwrap_or_default();
    let port = proxy.port_u16().unwrap_or(1080);
    let address = Uri::builder()
        .scheme("socks5")
        .authority(format!("{host}:{port}"))
        .path_and_query("/")
        .build()?;
    let text = |part: &str| String::from_utf8_lossy(&decoded(part)).into_owned();
    let login = proxy.authority().and_then(|a| a.as_str().rsplit_once('@'));
    let login = login.map(|(login, _)| {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        (text(user), text(password))
    });
    Ok((address, login))
}

/// Without percent-encoding (RFC 3986, section 2.1).
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
        if bytes[at] == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// Whether a server is reached without the proxy of the environment, as kubectl decides it
/// (Go's `httpproxy`): loopback addresses never go through it, nor do the hosts, domain suffixes,
/// addresses and networks of `NO_PROXY`.
fn reached_directly(url: &Uri, no_proxy: Option<&str>) -> bool {
    let Some(host) = url.host() else { return false };
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    no_proxy
        .unwrap_or("")
        .split(',')
        .map(str::trim)
        .any(|entry| {
            let entry = entry.to_ascii_lowercase();
            if entry == "*" {
                return true;
            }
            if let Some((network, bits)) = entry.split_once('/') {
                let network = network.parse().ok().zip(bits.parse().ok());
                return network
                    .zip(address)
                    .is_some_and(|((network, bits), ip)| in_network(ip, network, bits));
            }
            let entry = entry.strip_prefix('*').unwrap_or(&entry);
            let entry = entry.rsplit_once(':').map_or(entry, |(name, port)| {
                let is_port = !name.contains(':') && port.chars().all(|c| c.is_ascii_digit());
                if is_port { name } else { entry }
            });
            if let Some(suffix) = entry.strip_prefix('.') {
                return !suffix.is_empty() && host.ends_with(entry);
            }
            !entry.is_empty() && (host == entry || host.ends_with(&format!(".{entry}")))
        })
}

fn in_network(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(net)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            ip.to_bits() & mask == net.to_bits() & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(net)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            ip.to_bits() & mask == net.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_no_proxy_are_reached_directly() {
        let direct =
            |url: &str, no_proxy: &str| reached_directly(&url.parse().unwrap(), Some(no_proxy));
        for url in [
            "https://127.0.0.1:6443",
            "https://[::1]:6443",
            "https://localhost",
            "https://127.9.9.9",
        ] {
            assert!(direct(url, ""), "{url}");
        }
        assert!(!direct("https://10.77.0.1:6443", ""));
        assert!(direct("https://10.77.0.1:6443", "a.b, 10.0.0.0/8"));
        assert!(!direct("https://11.77.0.1:6443", "10.0.0.0/8"));
        assert!(direct("https://10.77.0.1", "10.77.0.1"));
        assert!(direct("https://api.example.com", "example.com"));
        assert!(direct("https://api.example.com", ".example.com"));
        assert!(direct("https://api.example.com", "*.example.com"));
        assert!(direct("https://api.example.com", "api.example.com:443"));
        assert!(!direct("https://api.example.com", "ample.com"));
        assert!(!direct("https://example.com", ".example.com"));
        assert!(direct("https://[fd00::5]", "fd00::/8"));
        assert!(direct("https://x", "*"));
        assert!(!direct("https://x", ",,"));
    }

    #[test]
    fn the_kubeconfigs_proxy_goes_first_and_is_used_for_every_address() {
        let choose = |own: &str| choose(&"https://127.0.0.1:6443".parse().unwrap(), Some(own));
        assert_eq!(choose("").unwrap(), None);
        let proxy = choose("http://me:p%40ss@proxy:3128").unwrap().unwrap();
        assert_eq!(proxy.host(), Some("proxy"));
        assert_eq!(authorization(&proxy).unwrap(), "Basic bWU6cEBzcw==");
        assert_eq!(choose("proxy:3128").unwrap().unwrap(), "http://proxy:3128");
        assert_eq!(
            choose("ftp://proxy").unwrap_err(),
            "a proxy speaks `http`, `https` or `socks5`, not `ftp`"
        );
        let way = choose("socks5://me:p%40ss@proxy").unwrap().unwrap();
        let (address, login) = socks(&way).unwrap();
        assert_eq!(address, "socks5://proxy:1080/");
        assert_eq!(login, Some(("me".to_owned(), "p@ss".to_owned())));
        let way = choose("socks5://proxy:9050").unwrap().unwrap();
        let (address, login) = socks(&way).unwrap();
        assert_eq!((address.port_u16(), login), (Some(9050), None));
        assert!(choose("http://a b").is_err());
        assert_eq!(
            choose("http://me:hunter@a b").unwrap_err(),
            "`http://a b` is no address of a proxy"
        );
    }
}

//! Making the connection: which kubeconfig, which context, and the HTTP client.
//!
//! Three defaults of `kube` are changed, each with its reason beside it: its blanket retry, Nagle's
//! algorithm, and proxies for loopback addresses.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use super::call::root_cause;
use super::{Cluster, ClusterError};
use crate::effect::environment;

/// Which cluster to connect to, and as what.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The kubeconfig; none means `$KUBECONFIG`, else `~/.kube/config`, else, inside a pod, the
    /// cluster that it runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The context; none means the kubeconfig's current one.
    pub context: Option<String>,
    /// The `User-Agent` of every request; it is in the audit log. Empty: `rootshift/VERSION`.
    pub user_agent: String,
}

/// How long a TCP connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

impl Cluster {
    /// Reads the configuration, obtains credentials and asks the server for its version.
    ///
    /// A credential plugin named in the kubeconfig runs now, and may prompt.
    ///
    /// # Errors
    /// [`ClusterError::NoKubeconfig`], [`ClusterError::Kubeconfig`], [`ClusterError::NoContext`],
    /// [`ClusterError::NoCurrentContext`], [`ClusterError::Credentials`],
    /// [`ClusterError::Unreachable`] and [`ClusterError::Unauthorized`].
    pub async fn connect(target: &Target) -> Result<Self, ClusterError> {
        install_crypto();
        let Chosen {
            mut config,
            context,
            path,
            own_proxy,
        } = choose(target).await?;
        config.default_retry = false;
        config.read_timeout = None; // It would end watches and port-forwards; calls have their own.
        config.connect_timeout = Some(CONNECT);
        if !own_proxy && reached_directly(&config.cluster_url, environment::no_proxy().as_deref()) {
            config.proxy_url = None;
        }
        let server = config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned();
        let namespace = config.default_namespace.clone();
        // Off the runtime's threads: a credential plugin is run and waited for.
        let client = tokio::task::spawn_blocking(move || client(config))
            .await
            .map_err(|e| e.to_string())
            .and_then(|client| client.map_err(|e| root_cause(&e)))
            .map_err(|reason| ClusterError::Credentials {
                context: context.clone(),
                reason,
            })?;
        let user_agent = if target.user_agent.is_empty() {
            concat!("rootshift/", env!("CARGO_PKG_VERSION")).to_owned()
        } else {
            target.user_agent.clone()
        };
        let cluster = Self::assemble(client, context, server, namespace, path, user_agent);
        cluster.greet().await?;
        Ok(cluster)
    }
}

/// Makes sure that TLS has a crypto provider, whoever embeds this library.
///
/// `kube` builds its TLS configuration from the process's default and panics when there are two
/// to choose from; a default that is installed already is kept.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that somebody was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

struct Chosen {
    config: Config,
    context: String,
    /// The kubeconfig file; none inside of a cluster, or if several files were merged.
    path: Option<PathBuf>,
    /// The kubeconfig itself names a proxy for this cluster.
    own_proxy: bool,
}

async fn choose(target: &Target) -> Result<Chosen, ClusterError> {
    let (kubeconfig, path) = match &target.kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path);
            (read.map_err(|e| unreadable(path, &e))?, Some(path.clone()))
        }
        None => match Kubeconfig::read() {
            Ok(kubeconfig) => (kubeconfig, environment::kubeconfig()),
            Err(KubeconfigError::ReadConfig(e, path))
                if e.kind() == std::io::ErrorKind::NotFound =>
            {
                return inside(target, &path);
            }
            Err(KubeconfigError::FindPath) => return inside(target, Path::new("~/.kube/config")),
            Err(e) => {
                let path = environment::kubeconfig().unwrap_or_default();
                return Err(unreadable(&path, &e));
            }
        },
    };
    let shown = path
        .as_deref()
        .map_or_else(|| "$KUBECONFIG".to_owned(), |p| p.display().to_string());
    let known: Vec<String> = kubeconfig.contexts.iter().map(|c| c.name.clone()).collect();
    let current = kubeconfig.current_context.clone().filter(|c| !c.is_empty());
    let Some(context) = target.context.clone().or(current) else {
        return Err(ClusterError::NoCurrentContext { path: shown, known });
    };
    if !known.contains(&context) {
        return Err(ClusterError::NoContext {
            path: shown,
            context,
            known,
        });
    }
    let own_proxy = names_proxy(&kubeconfig, &context);
    let options = KubeConfigOptions {
        context: Some(context.clone()),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|e| ClusterError::Kubeconfig {
            path: shown,
            reason: format!("context `{context}`: {}", root_cause(&e)),
        })?;
    Ok(Chosen {
        config,
        context,
        path,
        own_proxy,
    })
}

/// No kubeconfig: the cluster that this runs in, if it runs in one.
fn inside(target: &Target, looked_at: &Path) -> Result<Chosen, ClusterError> {
    let missing = || ClusterError::NoKubeconfig {
        path: looked_at.display().to_string(),
    };
    if target.context.is_some() {
        return Err(missing());
    }
    let config = Config::incluster().map_err(|_| missing())?;
    Ok(Chosen {
        config,
        context: "in-cluster".to_owned(),
        path: None,
        own_proxy: false,
    })
}

fn unreadable(path: &Path, error: &KubeconfigError) -> ClusterError {
    match error {
        KubeconfigError::ReadConfig(e, path) if e.kind() == std::io::ErrorKind::NotFound => {
            ClusterError::NoKubeconfig {
                path: path.display().to_string(),
            }
        }
        _ => ClusterError::Kubeconfig {
            path: path.display().to_string(),
            reason: root_cause(error),
        },
    }
}

fn client(config: Config) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        // The way through a proxy is kube's own; its latency hides Nagle's.
        return Ok(ClientBuilder::try_from(config)?.build());
    }
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    // With Nagle's algorithm on, one dump through a port-forward takes 49 ms instead of 5.
    http.set_nodelay(true);
    http.set_keepalive(Some(Duration::from_secs(30)));
    let https = config.rustls_https_connector_with_connector(http)?;
    let hyper = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(hyper);
    Ok(Client::new(service, config.default_namespace))
}

fn names_proxy(kubeconfig: &Kubeconfig, context: &str) -> bool {
    let cluster = kubeconfig
        .contexts
        .iter()
        .find(|c| c.name == context)
        .and_then(|c| Some(c.context.as_ref()?.cluster.clone()));
    kubeconfig
        .clusters
        .iter()
        .filter(|c| Some(&c.name) == cluster.as_ref())
        .filter_map(|c| c.cluster.as_ref()?.proxy_url.as_ref())
        .any(|url| !url.is_empty())
}

/// Whether a server is reached without the proxy of the environment, as kubectl decides it
/// (Go's `httpproxy`): loopback addresses never go through it, nor do the hosts, domain suffixes,
/// addresses and networks of `NO_PROXY`. `kube` 5 compares `NO_PROXY` with the proxy's own host.
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
}

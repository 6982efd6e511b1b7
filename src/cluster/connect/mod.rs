//! Making the connection: which kubeconfig, which context, as whom, and the HTTP client.
//!
//! Four defaults of `kube` are changed, each with its reason beside it: its blanket retry, Nagle's
//! algorithm, which proxy is used ([`proxy`]) and how credential plugins are run ([`mod@plugin`]). Each way in
//! which a connection does not come about has an error of its own, which says how it may.
//!
//! | file | what |
//! |---|---|
//! | `kubeconfig` | which file, context, cluster and user; what is wrong with them |
//! | `plugin` | tokens of credential plugins |
//! | `proxy` | the proxy on the way, if there is one |
//! | `obstacle` | what a transport error means |

mod kubeconfig;
mod obstacle;
mod plugin;
mod proxy;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Uri, header};
use http_body_util::BodyExt;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tower::{BoxError, Service, ServiceBuilder};

pub use obstacle::Obstacle;

use super::call::{Call, Failure, root_cause, status_answer};
use super::error::Subject;
use super::{Cluster, ClusterError};
use kubeconfig::Chosen;
pub(super) use plugin::PluginError;
use plugin::{Authorize, Plugin};

/// Which cluster to connect to, and as whom.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The kubeconfig; none means `$KUBECONFIG`, else `~/.kube/config`, else, inside a pod, the
    /// cluster that it runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The context; none means the kubeconfig's current one.
    pub context: Option<String>,
    /// The `User-Agent` of every request; it is in the audit log. Empty: `rootshift/VERSION`.
    pub user_agent: String,
    /// Act as this user (`kubectl --as`); none means what the kubeconfig says.
    pub impersonate: Option<String>,
    /// Act as a member of these groups too (`kubectl --as-group`); needs a user.
    pub impersonate_groups: Vec<String>,
    /// How long a credential plugin, and the first answer of the server, may take; none means 60 s and 15 s.
    pub patience: Option<Duration>,
}

/// How long a TCP connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the first answer may take.
const GREETING: Duration = Duration::from_secs(15);

impl Cluster {
    /// Reads the configuration, obtains credentials and asks the server for its version.
    ///
    /// A credential plugin named in the kubeconfig runs now. It is not connected to a terminal.
    ///
    /// # Errors
    /// [`ClusterError::NoKubeconfig`], [`ClusterError::Kubeconfig`], [`ClusterError::NoContext`],
    /// [`ClusterError::NoCurrentContext`], [`ClusterError::Credentials`],
    /// [`ClusterError::NoConnection`], [`ClusterError::Unauthorized`], and [`ClusterError::Forbidden`]
    /// if the user may not act as the one asked for.
    pub async fn connect(target: &Target) -> Result<Self, ClusterError> {
        install_crypto();
        let Chosen {
            mut config,
            context,
            path,
            shown,
            own_proxy,
        } = kubeconfig::choose(target).await?;
        let credentials = |reason: String, hint: Option<String>| ClusterError::Credentials {
            context: context.clone(),
            reason,
            hint,
        };
        act_as(&mut config, target)?;
        config.default_retry = false;
        config.read_timeout = None; // It would end watches and port-forwards; calls have their own.
        config.proxy_url =
            proxy::choose(&config.cluster_url, own_proxy.as_deref()).map_err(|reason| {
                ClusterError::Kubeconfig {
                    path: shown.clone(),
                    reason,
                }
            })?;
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        let way = Way {
            host: config.cluster_url.host().unwrap_or_default().to_owned(),
            proxy: config.proxy_url.as_ref().map(Uri::to_string),
            context: context.clone(),
            server: server.clone(),
            certificate: kubeconfig::certificate(&config.auth_info),
            patience: target.patience.unwrap_or(GREETING),
        };
        let mut cautions = Vec::new();
        if config.accept_invalid_certs {
            cautions.push(format!(
                "the certificate of {server} is not checked (`insecure-skip-tls-verify` in context `{context}`): \
                 anybody on the way can read and change what is sent"
            ));
        }
        let namespace = config.default_namespace.clone();
        let plugin = plugin(&mut config, target).await;
        let plugin = plugin.map_err(|e| credentials(e.to_string(), Some(e.hint)))?;
        let user_agent = if target.user_agent.is_empty() {
            concat!("rootshift/", env!("CARGO_PKG_VERSION")).to_owned()
        } else {
            target.user_agent.clone()
        };
        let agent = HeaderValue::try_from(&user_agent).map_err(|_| ClusterError::BadRequest {
            message: format!("`{user_agent}` cannot be a `User-Agent`"),
        })?;
        // Off the runtime's threads: `kube` reads files, and runs programs of old kubeconfigs.
        let client = tokio::task::spawn_blocking(move || client(config, plugin, agent))
            .await
            .map_err(|e| e.to_string())
            .and_then(|client| client.map_err(|e| root_cause(e.as_ref())))
            .map_err(|reason| credentials(reason, None))?;
        let cluster = Self::assemble(
            client, context, server, namespace, path, user_agent, cautions,
        );
        cluster.greet(&way).await?;
        Ok(cluster)
    }

    /// Asks for the version, to learn whether the server is there and takes our credentials.
    ///
    /// # Errors
    /// Those of a server that is not there, or does not take them; any other answer will do.
    async fn greet(&self, way: &Way) -> Result<(), ClusterError> {
        // A wrong address should be told soon: once more at most, and only if the first attempt
        // failed fast.
        let start = Instant::now();
        let answer = self.knock(way).await;
        let again = answer.as_ref().is_err_and(ClusterError::retryable)
            && start.elapsed() < Duration::from_secs(3);
        if !again {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.knock(way).await
    }

    async fn knock(&self, way: &Way) -> Result<(), ClusterError> {
        let call = Call::get(
            "get",
            Subject::new("version", None, None),
            "/version".to_owned(),
        );
        let request = Request::get(&call.path)
            .header(header::ACCEPT, call.accept)
            .header(header::USER_AGENT, &self.shared.user_agent)
            .body(Body::empty())
            .map_err(|e| way.blocked(Obstacle::Other(e.to_string())))?;
        let exchange = async {
            let sent = self.shared.client.send(request).await;
            let (parts, body) = sent.map_err(|e| way.error(&e))?.into_parts();
            let body = body.collect().await.map_err(|e| way.error(&e))?;
            Ok((parts, body.to_bytes()))
        };
        let answer = tokio::time::timeout(way.patience, exchange).await;
        let (parts, body) = answer.map_err(|_| {
            let after = format!(" within {} s", way.patience.as_secs_f64());
            way.blocked(Obstacle::Silent(after))
        })??;
        if parts.status.is_success() {
            return Ok(());
        }
        let status = status_answer(parts.status.as_u16(), &body, None);
        // Go's server says so in plain text.
        if status.code == 400 && status.message.contains("HTTP request to an HTTPS server") {
            return Err(way.blocked(Obstacle::Tls));
        }
        let impersonation = status.code == 403 && status.message.contains("cannot impersonate");
        if status.code == 401
            && let Some(reason) = way.expired()
        {
            return Err(ClusterError::Credentials {
                context: way.context.clone(),
                reason,
                hint: None,
            });
        }
        if status.code == 401 || status.code >= 500 || impersonation {
            return Err(self.error(&call, Failure::Status(status)));
        }
        Ok(())
    }
}

/// What is known of the way to a server, for explanations.
struct Way {
    host: String,
    proxy: Option<String>,
    context: String,
    server: String,
    /// The client's certificate, if it has one.
    certificate: Option<Vec<u8>>,
    /// How long the first answer may take.
    patience: Duration,
}

impl Way {
    fn blocked(&self, obstacle: Obstacle) -> ClusterError {
        ClusterError::NoConnection {
            context: self.context.clone(),
            server: self.server.clone(),
            obstacle: Box::new(obstacle),
        }
    }

    fn error(&self, error: &(dyn Error + 'static)) -> ClusterError {
        let mut current = Some(error);
        while let Some(e) = current {
            if let Some(plugin) = e.downcast_ref::<PluginError>() {
                return ClusterError::Credentials {
                    context: self.context.clone(),
                    reason: plugin.to_string(),
                    hint: Some(plugin.hint.clone()),
                };
            }
            current = e.source();
        }
        let mut obstacle = Obstacle::of(error, &self.host, self.proxy.as_deref());
        if let (Obstacle::ClientCertificate(reason), Some(expired)) =
            (&mut obstacle, self.expired())
        {
            *reason = expired;
        }
        self.blocked(obstacle)
    }

    /// That the client's certificate is out of date, if it is.
    fn expired(&self) -> Option<String> {
        let end = kubeconfig::end_of_validity(self.certificate.as_deref()?)?;
        let over = jiff::Timestamp::now().duration_since(end);
        let over = over.is_positive().then_some(over)?;
        let ago = match over.as_secs() {
            seconds @ ..7200 => format!("{} min", seconds / 60),
            seconds @ ..172_800 => format!("{} h", seconds / 3600),
            seconds => format!("{} d", seconds / 86_400),
        };
        Some(format!("its client certificate expired {ago} ago at {end}"))
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

fn act_as(config: &mut Config, target: &Target) -> Result<(), ClusterError> {
    if target.impersonate.is_none() && !target.impersonate_groups.is_empty() {
        return Err(ClusterError::BadRequest {
            message: "groups to act as were given without a user".into(),
        });
    }
    if let Some(user) = &target.impersonate {
        config.auth_info.impersonate = Some(user.clone());
        config.auth_info.impersonate_uid = None;
        config.auth_info.impersonate_user_extra = None;
        config.auth_info.impersonate_groups = Some(target.impersonate_groups.clone());
    }
    Ok(())
}

/// The credential plugin, taken from the configuration and run for the first time.
async fn plugin(config: &mut Config, target: &Target) -> Result<Option<Arc<Plugin>>, PluginError> {
    let user = &mut config.auth_info;
    let exec = user.exec.take();
    // As client-go has it: what stands in the kubeconfig goes before what a plugin would say.
    let known = user.token.is_some() || user.token_file.is_some() || user.username.is_some();
    let Some(exec) = exec.filter(|_| !known) else {
        return Ok(None);
    };
    let plugin = Plugin::new(exec, target.patience);
    let held = plugin.credentials(None).await?;
    if let Some((certificate, key)) = held.certificate {
        use base64::Engine as _;
        use secrecy::{ExposeSecret as _, SecretString};
        let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
        user.client_certificate_data = Some(encode(&certificate));
        user.client_key_data = Some(SecretString::from(encode(key.expose_secret())));
    }
    Ok(Some(Arc::new(plugin)))
}

fn client(
    config: Config,
    plugin: Option<Arc<Plugin>>,
    agent: HeaderValue,
) -> Result<Client, BoxError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    // With Nagle's algorithm on, one dump through a port-forward takes 49 ms instead of 5.
    http.set_nodelay(true);
    http.set_keepalive(Some(Duration::from_secs(30)));
    let Some(way) = config.proxy_url.clone() else {
        return through(http, &config, plugin, agent);
    };
    match way.scheme_str() {
        Some("socks5") => {
            let (address, login) = proxy::socks(&way)?;
            let socks = SocksV5::new(address, http);
            let socks = match login {
                Some((user, password)) => socks.with_auth(user, password),
                None => socks,
            };
            through(socks, &config, plugin, agent)
        }
        Some("https") => {
            let https = config.rustls_https_connector_with_connector(http)?;
            through(tunnel(way, https), &config, plugin, agent)
        }
        _ => through(tunnel(way, http), &config, plugin, agent),
    }
}

fn tunnel<C>(way: Uri, connector: C) -> Tunnel<C> {
    let authorization = proxy::authorization(&way);
    let tunnel = Tunnel::new(way, connector);
    match authorization {
        Some(header) => tunnel.with_auth(header),
        None => tunnel,
    }
}

/// The client whose connections are made by `connector`. Requests that `kube` makes itself, such as for
/// port-forwards, have no `User-Agent`: they get this one.
fn through<C>(
    connector: C,
    config: &Config,
    plugin: Option<Arc<Plugin>>,
    agent: HeaderValue,
) -> Result<Client, BoxError>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Error + Send + Sync + 'static,
{
    let https = config.rustls_https_connector_with_connector(connector)?;
    let hyper = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https);
    let sign = move |mut request: Request<Body>| {
        let headers = request.headers_mut();
        headers
            .entry(header::USER_AGENT)
            .or_insert_with(|| agent.clone());
        request
    };
    let service = ServiceBuilder::new()
        .map_request(sign)
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(Authorize(plugin))
        .map_err(BoxError::from)
        .service(hyper);
    Ok(Client::new(service, config.default_namespace.clone()))
}

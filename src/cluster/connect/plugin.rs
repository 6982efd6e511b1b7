//! Credential plugins (`exec` in a kubeconfig), and the token that each request carries.
//!
//! `kube` runs a plugin twice for each connection, waits for it for ever, and does not ask again when the
//! server refuses a token before its time is up. Here it runs once, has a time limit, and a 401 makes
//! it run once more before the request is sent again; a request that was refused with 401 had no effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use kube::client::Body;
use kube::config::{ExecConfig, ExecInteractiveMode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tower::{BoxError, Layer, Service};

use crate::effect::process::{Command, Ended, ProcessError};

/// How long a plugin may take, unless said otherwise: those that ask a server need a second or two.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// How long before its end a token is not used any more.
const EARLY: Duration = Duration::from_secs(60);

/// Why a plugin gave no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("credential plugin `{program}` {reason}")]
pub(in crate::cluster) struct PluginError {
    program: String,
    reason: String,
    pub(super) hint: String,
}

/// A plugin, and what it gave last.
pub(super) struct Plugin {
    exec: ExecConfig,
    limit: Duration,
    held: Mutex<Option<Held>>,
}

/// Credentials of a plugin.
#[derive(Clone)]
pub(super) struct Held {
    token: Option<SecretString>,
    /// Certificate chain and key, PEM.
    pub(super) certificate: Option<(String, SecretString)>,
    until: Option<Timestamp>,
    /// Tells this from those that came before.
    serial: u64,
}

#[derive(Deserialize)]
struct Answer {
    kind: Option<String>,
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

impl Plugin {
    pub(super) fn new(exec: ExecConfig, limit: Option<Duration>) -> Self {
        Self {
            exec,
            limit: limit.unwrap_or(LIMIT),
            held: Mutex::default(),
        }
    }

    /// Credentials that are valid for a while; others than those numbered `refused`, if given.
    ///
    /// # Errors
    /// The plugin cannot be run, fails, takes too long, or says what cannot be understood.
    pub(super) async fn credentials(&self, refused: Option<u64>) -> Result<Held, PluginError> {
        let mut held = self.held.lock().await;
        if let Some(now) = held.as_ref() {
            let soon = Timestamp::now() + EARLY;
            let late = now.until.is_some_and(|until| until <= soon);
            if !late && refused != Some(now.serial) {
                return Ok(now.clone());
            }
        }
        let serial = held.as_ref().map_or(1, |h| h.serial + 1);
        let new = self.run(serial).await?;
        *held = Some(new.clone());
        Ok(new)
    }

    fn error(&self, reason: String, hint: impl Into<String>) -> PluginError {
        PluginError {
            program: self.exec.command.clone().unwrap_or_default(),
            reason,
            hint: hint.into(),
        }
    }

    async fn run(&self, serial: u64) -> Result<Held, PluginError> {
        let ended = self.output().await?;
        let by_hand = format!("run `{}` by hand to see what it says", self.line());
        if ended.code != 0 {
            // Not what it wrote to standard output: that is where the credentials go.
            let reason = match last_lines(&ended.stderr) {
                Some(said) => format!("failed with exit code {}: {said}", ended.code),
                None => format!("failed with exit code {} and said nothing", ended.code),
            };
            let hint = format!("log in again as it says; {by_hand}");
            return Err(self.error(reason, hint));
        }
        let garbled =
            |reason: String| self.error(format!("gave no credentials: {reason}"), &by_hand);
        // JSON, or YAML as some write it. What it says is not repeated: it may be a secret.
        let answer: Answer = serde_saphyr::from_str(&ended.stdout).map_err(|_| {
            garbled(format!(
                "{} bytes that are no ExecCredential",
                ended.stdout.len()
            ))
        })?;
        if answer.kind.as_deref() != Some("ExecCredential") {
            return Err(garbled("what it prints is no ExecCredential".into()));
        }
        let wanted = self.exec.api_version.as_deref();
        if wanted.is_some() && answer.api_version.as_deref() != wanted {
            return Err(garbled(format!(
                "the kubeconfig wants version `{}`, it speaks `{}`",
                wanted.unwrap_or_default(),
                answer.api_version.unwrap_or_default()
            )));
        }
        let Some(status) = answer.status else {
            return Err(garbled("its answer has no `status`".into()));
        };
        let certificate = match (status.client_certificate_data, status.client_key_data) {
            (Some(certificate), Some(key)) => Some((certificate, SecretString::from(key))),
            (None, None) => None,
            _ => {
                return Err(garbled(
                    "a certificate without its key, or a key without its certificate".into(),
                ));
            }
        };
        if status.token.is_none() && certificate.is_none() {
            return Err(garbled(
                "its answer has neither a token nor a certificate".into(),
            ));
        }
        let until = status
            .expiration_timestamp
            .map(|text| text.parse().map_err(|_| text));
        let until = until
            .transpose()
            .map_err(|text| garbled(format!("`{text}` is no time")))?;
        if let Some(until) = until
            && until <= Timestamp::now()
        {
            return Err(garbled(format!("they expired at {until}")));
        }
        Ok(Held {
            token: status.token.map(SecretString::from),
            certificate,
            until,
            serial,
        })
    }

    async fn output(&self) -> Result<Ended, PluginError> {
        if self.exec.interactive_mode == Some(ExecInteractiveMode::Always) {
            let reason =
                "asks questions (`interactiveMode: Always`), and nobody can answer them here";
            return Err(self.error(
                reason.into(),
                "log in with it first, or give another context with --context",
            ));
        }
        let mut spec = json!({"interactive": false});
        if self.exec.provide_cluster_info {
            spec["cluster"] = serde_json::to_value(&self.exec.cluster).unwrap_or_default();
        }
        let info = json!({
            "kind": "ExecCredential",
            "apiVersion": self.exec.api_version,
            "spec": spec,
        });
        let mut env = BTreeMap::from([("KUBERNETES_EXEC_INFO".to_owned(), Some(info.to_string()))]);
        for entry in self.exec.env.iter().flatten() {
            if let (Some(name), Some(value)) = (entry.get("name"), entry.get("value")) {
                env.insert(name.clone(), Some(value.clone()));
            }
        }
        let mut argv = vec![self.exec.command.clone().unwrap_or_default()];
        argv.extend(self.exec.args.iter().flatten().cloned());
        let command = Command {
            argv,
            env,
            timeout: Some(self.limit),
            ..Command::default()
        };
        let mut said = String::new();
        let result = command
            .run(|stream, line| {
                if stream == crate::effect::process::Stream::Stderr {
                    tracing::info!(plugin = self.exec.command, "{line}");
                    line.trim().clone_into(&mut said);
                }
            })
            .await;
        result.map_err(|error| match error {
            ProcessError::TimedOut { limit, .. } => {
                let last = if said.is_empty() {
                    String::new()
                } else {
                    format!("; it said: {said}")
                };
                self.error(
                    format!("did not end within {} s{last}", limit.as_secs_f64()),
                    format!("it may wait for a login: run `{}` by hand", self.line()),
                )
            }
            ProcessError::Start { reason, .. } => {
                let install = self.exec.install_hint.as_deref().map(str::trim);
                let install = install.filter(|h| !h.is_empty());
                self.error(
                    format!("cannot be started: {reason}"),
                    install.unwrap_or("install it, or put it on the PATH of this program"),
                )
            }
            ProcessError::Empty => self.error(
                "has no name: `exec.command` is missing in the kubeconfig".into(),
                "name the program under `exec.command`",
            ),
            error @ ProcessError::Output { .. } => {
                self.error(format!("broke off: {error}"), "try again")
            }
        })
    }

    /// As somebody would type it, without secrets.
    fn line(&self) -> String {
        let mut words = vec![self.exec.command.clone().unwrap_or_default()];
        words.extend(without_secrets(self.exec.args.iter().flatten()));
        words.join(" ")
    }
}

/// Arguments; the value of one that is called a secret, a password or a token is not shown.
fn without_secrets<'a>(args: impl Iterator<Item = &'a String>) -> Vec<String> {
    const HIDDEN: &str = "‹redacted›";
    let mut hides = false;
    let hide = |arg: &String| {
        let name = arg.split('=').next().unwrap_or(arg);
        let lower = name.to_lowercase();
        let secret = ["secret", "password", "token"];
        let called = name.starts_with('-') && secret.iter().any(|s| lower.contains(s));
        if std::mem::take(&mut hides) && !arg.starts_with("--") {
            return HIDDEN.to_owned();
        }
        if called && arg.contains('=') {
            return format!("{name}={HIDDEN}");
        }
        hides = called;
        arg.clone()
    };
    args.map(hide).collect()
}

/// The end of what a program said, in one line.
fn last_lines(text: &str) -> Option<String> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" / ");
    (!last.is_empty()).then(|| last.chars().take(400).collect())
}

/// Adds the plugin's token to each request; none where there is no plugin.
#[derive(Clone)]
pub(super) struct Authorize(pub(super) Option<Arc<Plugin>>);

impl<S> Layer<S> for Authorize {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Authorized<S> {
        Authorized {
            inner,
            plugin: self.0.clone(),
        }
    }
}

#[derive(Clone)]
pub(super) struct Authorized<S> {
    inner: S,
    plugin: Option<Arc<Plugin>>,
}

impl<S, B> Service<Request<Body>> for Authorized<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let spare = self.inner.clone();
        // The one that was polled ready is used now.
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let Some(plugin) = self.plugin.clone() else {
            return Box::pin(async move { inner.call(request).await.map_err(Into::into) });
        };
        Box::pin(async move {
            let held = plugin.credentials(None).await?;
            let again = copy(&request);
            bear(&mut request, &held)?;
            let response = inner.call(request).await.map_err(Into::into)?;
            let (StatusCode::UNAUTHORIZED, Some(mut again)) = (response.status(), again) else {
                return Ok(response);
            };
            let new = plugin.credentials(Some(held.serial)).await?;
            let token = |held: &Held| held.token.as_ref().map(|t| t.expose_secret().to_owned());
            if token(&new) == token(&held) {
                return Ok(response);
            }
            tracing::debug!("the token was refused; asking again with a new one");
            bear(&mut again, &new)?;
            std::future::poll_fn(|cx| inner.poll_ready(cx))
                .await
                .map_err(Into::into)?;
            inner.call(again).await.map_err(Into::into)
        })
    }
}

/// A request that can be sent in place of another.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

fn bear(request: &mut Request<Body>, held: &Held) -> Result<(), BoxError> {
    let Some(token) = &held.token else {
        return Ok(());
    };
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn the_line_to_run_by_hand_has_no_secrets() {
        let args = [
            "get-token",
            "--oidc-client-secret=hunter",
            "--password",
            "hunter",
            "--token-cache-dir",
            "--oidc-client-id=me",
        ];
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        assert_eq!(
            without_secrets(args.iter()).join(" "),
            "get-token --oidc-client-secret=‹redacted› --password ‹redacted› --token-cache-dir \
             --oidc-client-id=me"
        );
    }
}

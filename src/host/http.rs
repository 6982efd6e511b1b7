//! `http::…`: asking a server, for the application's own tests.
//!
//! Plain requests with the machine's own root certificates. Kubernetes is not reached this way, but
//! with `cluster::…`.

use super::time::duration;
use super::world::World;
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rhai::Map;
use rhai::plugin::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

/// The largest answer that is read, bytes.
const MAX_BODY: usize = 8 << 20;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_static_module("http", rhai::exported_module!(words).into());
}

/// Asking a server.
#[export_module]
mod words {
    /// The answer to a GET request, as `#{status, headers, body}`; redirects are not followed.
    ///
    /// - `url`: `http://…` or `https://…`.
    ///
    /// Throws `environment` (retryable) if there is no answer within 10 seconds; a status such as
    /// 503 is an answer.
    ///
    /// ```rhai
    /// try {
    ///     http::get("http://127.0.0.1:1/");
    ///     assert(false, "nobody listens there");
    /// } catch (e) {
    ///     assert(e.kind == "environment" && e.retryable, e);
    /// }
    /// ```
    #[rhai_fn(name = "get", return_raw, volatile)]
    pub fn get(ctx: NativeCallContext, url: &str) -> Reply<Map> {
        super::fetch(&ctx, url, super::Options::default())
    }

    /// As `get(url)`, with options.
    ///
    /// - `url`: `http://…` or `https://…`.
    /// - `options`: `timeout`, seconds (10); `headers`, a map of names to texts.
    ///
    /// Throws as `get(url)`.
    ///
    /// ```rhai
    /// try {
    ///     http::get("http://127.0.0.1:1/", #{ timeout: 0.5, headers: #{ accept: "text/plain" } });
    ///     assert(false, "nobody listens there");
    /// } catch (e) {
    ///     assert(e.message.contains("127.0.0.1:1"), e);
    /// }
    /// ```
    #[rhai_fn(name = "get", return_raw, volatile)]
    pub fn get_with(ctx: NativeCallContext, url: &str, options: Map) -> Reply<Map> {
        let options = kit::options("http::get", options, &["timeout", "headers"])?;
        super::fetch(&ctx, url, options)
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Options {
    timeout: f64,
    headers: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            timeout: 10.0,
            headers: BTreeMap::new(),
        }
    }
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

fn fetch(ctx: &NativeCallContext, url: &str, options: Options) -> Reply<Map> {
    let world = World::of(ctx)?;
    let timeout = duration("`timeout`", &options.timeout.into())?;
    let request = request(url, options).map_err(kit::fail)?;
    let answer = world.wait(ask(request, timeout))?;
    let headers: Map = answer
        .headers
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    Ok([
        ("status", i64::from(answer.status).into()),
        ("headers", headers.into()),
        ("body", answer.body.into()),
    ]
    .into_iter()
    .map(|(key, value): (&str, Dynamic)| (key.into(), value))
    .collect())
}

fn request(url: &str, options: Options) -> Result<Request<Empty<Bytes>>, Failure> {
    let uri: Uri = url
        .parse()
        .ok()
        .filter(|uri: &Uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        })
        .ok_or_else(|| {
            Failure::script(format!("`{url}` is not a URL"))
                .hint("like `https://shop.example/healthz`")
        })?;
    let mut request = Request::get(uri);
    for (name, value) in options.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(&name), HeaderValue::try_from(&value))
        else {
            return Err(Failure::script(format!(
                "`{name}` is not a header that can be sent"
            )));
        };
        request = request.header(name, value);
    }
    request
        .body(Empty::new())
        .map_err(|error| Failure::script(error.to_string()))
}

async fn ask(request: Request<Empty<Bytes>>, timeout: Duration) -> Result<Answer, Failure> {
    let url = request.uri().clone();
    let failed =
        |why: String| Failure::environment(format!("no answer from `{url}`: {why}")).retryable();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| failed(format!("the machine's root certificates: {error}")))?
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let work = async {
        let response = client
            .request(request)
            .await
            .map_err(|error| causes(&error))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(|error| causes(error.as_ref()))?
            .to_bytes();
        Ok::<_, String>(Answer {
            status: parts.status.as_u16(),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    (name.to_string(), value)
                })
                .collect(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(failed(format!(
            "nothing within {} s",
            timeout.as_secs_f64()
        ))),
    }
}

/// An error with its causes: hyper's own text hides them.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

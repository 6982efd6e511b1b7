//! One request from its first byte to its answer: who asks, may they, what fails on purpose, the rest.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::super::kube::{Actor, Kube, Status};
use super::convert::View;
use super::fault::{Call, Effect};
use super::objects::{self, Ask};
use super::path::{Path, Query, ResourcePath};
use super::rbac::{self, Attributes};
use super::reply::{self, Notation, Reply, document, refusal};
use super::user::{self, NotImpersonated};
use super::{ServerOptions, User, discovery, forward, openapi, review, subresources};

/// Larger bodies are refused.
const BODY_BYTES: usize = 3_145_728;

/// What all requests share.
pub struct App {
    /// What the server was started with.
    pub options: ServerOptions,
    /// Everybody who may log in, the administrator too.
    pub users: Vec<User>,
}

/// The connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("dropped as the fault plan says")]
pub struct Dropped;

/// Answers a request.
///
/// # Errors
/// A fault ends the connection.
pub async fn serve(app: Arc<App>, request: Request<Incoming>) -> Result<Reply, Dropped> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else {
        let status = Status::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {BODY_BYTES}"),
        );
        return Ok(refusal(&status));
    };
    let mut request = Request::from_parts(parts, body.to_bytes());
    let mut reply = match answer(&app, &mut request).await {
        Ok(Answer::Reply(reply)) => reply,
        Ok(Answer::Drop) => return Err(Dropped),
        Err(status) => refusal(&status),
    };
    if let Ok(id) = http::HeaderValue::from_str(&app.options.kube.random().uid()) {
        reply.headers_mut().insert("audit-id", id);
    }
    reply
        .headers_mut()
        .entry(http::header::CACHE_CONTROL)
        .or_insert(http::HeaderValue::from_static("no-cache, private"));
    Ok(reply)
}

enum Answer {
    Drop,
    Reply(Reply),
}

async fn answer(app: &Arc<App>, request: &mut Request<Bytes>) -> Result<Answer, Status> {
    let kube = &app.options.kube;
    let url = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query());
    let asker = user::authenticate(&app.users, request.headers())?;
    let actor = match user::impersonate(kube, asker, &url, request.headers()) {
        Ok(actor) => actor,
        Err(NotImpersonated::Refused(status)) => return Err(status),
        Err(NotImpersonated::Senseless(text)) => {
            return Ok(Answer::Reply(reply::text(500, &text)));
        }
    };
    match Path::parse(&url) {
        Path::Other(path) => {
            authorise_path(kube, &actor, request.method(), &path)?;
            other(app, request, &path).await.map(Answer::Reply)
        }
        Path::Resource(path) => {
            let verb = verb(request.method(), &path, &query);
            authorise(kube, &actor, verb, &path)?;
            let effects = app.options.faults.meet(Call {
                verb,
                resource: &path.with_subresource(&path.resource_name()),
                namespace: &path.namespace,
                name: &path.name,
            });
            with_effects(app, request, &query, &path, &actor, effects).await
        }
    }
}

async fn with_effects(
    app: &Arc<App>,
    request: &mut Request<Bytes>,
    query: &Query,
    path: &ResourcePath,
    actor: &Actor,
    effects: Vec<Effect>,
) -> Result<Answer, Status> {
    for effect in &effects {
        match effect {
            Effect::DropBefore => return Ok(Answer::Drop),
            Effect::Status {
                code,
                message,
                retry_after,
            } => {
                let mut status = Status::internal(message.clone());
                status.code = *code;
                status.reason = reason_of(*code);
                if let Some(seconds) = retry_after {
                    status = status.retry_after(*seconds);
                }
                return Err(status);
            }
            Effect::Delay { .. } | Effect::DropAfter | Effect::Garbled => {
                if let Some(delay) = effect.delay() {
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }
    let done = resource(app, request, query, path, actor).await;
    if effects.contains(&Effect::DropAfter) {
        return Ok(Answer::Drop);
    }
    if effects.contains(&Effect::Garbled) && done.is_ok() {
        return Ok(Answer::Reply(reply::text(200, "{\"kind\": \"Stat")));
    }
    done.map(Answer::Reply)
}

fn reason_of(code: u16) -> Option<&'static str> {
    Some(match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => return None,
    })
}

/// The verb of the API for a request.
fn verb(method: &Method, path: &ResourcePath, query: &Query) -> &'static str {
    let named = !path.name.is_empty();
    match method.as_str() {
        "GET" | "HEAD" if path.watch || (!named && query.is_true("watch")) => "watch",
        "GET" | "HEAD" if named => "get",
        "GET" | "HEAD" => "list",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if named => "delete",
        "DELETE" => "deletecollection",
        _ => "",
    }
}

fn authorise(kube: &Kube, actor: &Actor, verb: &str, path: &ResourcePath) -> Result<(), Status> {
    // Whoever may use a namespace object is asked in that namespace.
    let namespace = match path.plural.as_str() {
        "namespaces" if path.group.is_empty() => &path.name,
        _ => &path.namespace,
    };
    rbac::require(
        kube,
        actor,
        &Attributes {
            verb,
            group: &path.group,
            resource: &path.plural,
            subresource: &path.subresource,
            namespace,
            name: &path.name,
            path: "",
        },
    )
}

fn authorise_path(kube: &Kube, actor: &Actor, method: &Method, path: &str) -> Result<(), Status> {
    let verb = method.as_str().to_lowercase();
    rbac::require(
        kube,
        actor,
        &Attributes {
            verb: &verb,
            path,
            ..Attributes::default()
        },
    )
}

async fn resource(
    app: &Arc<App>,
    request: &mut Request<Bytes>,
    query: &Query,
    path: &ResourcePath,
    actor: &Actor,
) -> Result<Reply, Status> {
    let kube = &app.options.kube;
    let group_known = kube.registry().all().iter().any(|r| r.group == path.group);
    if !group_known {
        return Ok(not_found());
    }
    let resource = kube
        .registry()
        .find(&path.group, &path.version, &path.plural)
        .filter(|r| r.namespaced || path.namespace.is_empty())
        .ok_or_else(Status::no_resource)?;
    if path.subresource.is_empty() != path.rest.is_empty() && path.subresource.is_empty() {
        return Err(Status::no_resource());
    }
    let view = View {
        resource,
        version: path.version.clone(),
    };
    if path.subresource == "portforward" && view.resource.kind == "Pod" {
        let pod = kube
            .get("pods", &path.namespace, &path.name)
            .ok_or_else(|| Status::not_found(&view.resource, &path.name))?;
        return forward::answer(&app.options.pods, pod, request, query);
    }
    let ask = Ask {
        kube,
        view,
        path,
        method: request.method(),
        query,
        headers: request.headers(),
        body: request.body(),
        actor,
    };
    if !ask.view.resource.stored() {
        return review::answer(&ask);
    }
    let mut reply = if path.subresource.is_empty() {
        objects::answer(&ask).await?
    } else {
        subresources::answer(&ask).await?
    };
    if ask.view.resource.name() == "endpoints" {
        let warning = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
        reply::warn(&mut reply, &[warning.to_owned()]);
    }
    Ok(reply)
}

fn not_found() -> Reply {
    reply::text(404, "404 page not found\n")
}

/// First parts of the paths that can only be read.
const KNOWN: &[&str] = &[
    "api", "apis", "healthz", "livez", "openapi", "readyz", "version",
];

/// Paths that are not about objects.
async fn other(app: &Arc<App>, request: &Request<Bytes>, path: &str) -> Result<Reply, Status> {
    let kube = &app.options.kube;
    if path.starts_with("/twin/")
        && let Some(extra) = &app.options.extra
    {
        let answered = extra.answer(request.clone()).await;
        let (parts, body) = answered.into_parts();
        return Ok(http::Response::from_parts(
            parts,
            reply::full(body.to_vec()),
        ));
    }
    let trimmed = path.trim_end_matches('/');
    let parts: Vec<&str> = trimmed.split('/').skip(1).collect();
    let json = |value: &serde_json::Value| document(200, Notation::Json, value);
    let known = match parts.first() {
        None => true,
        Some(first) => KNOWN.contains(first),
    };
    if known && !matches!(request.method().as_str(), "GET" | "HEAD") {
        return Err(Status::method_not_allowed());
    }
    let aggregated = discovery::wants_aggregated(request.headers());
    let whole = |core| {
        let text = serde_json::to_vec(&discovery::aggregated(kube, core)).unwrap_or_default();
        reply::with_type(200, discovery::AGGREGATED, text)
    };
    Ok(match parts.as_slice() {
        [] => json(
            &serde_json::json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez",
            "/openapi/v2", "/openapi/v3", "/readyz", "/version"]}),
        ),
        ["api"] if aggregated => whole(true),
        ["apis"] if aggregated => whole(false),
        ["api"] => json(&serde_json::json!({
            "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [],
        })),
        ["apis"] => json(&discovery::group_list(kube)),
        ["api", version] => {
            discovery::resource_list(kube, "", version).map_or_else(not_found, |d| json(&d))
        }
        ["apis", group] => discovery::group(kube, group).map_or_else(not_found, |d| json(&d)),
        ["apis", group, version] => {
            discovery::resource_list(kube, group, version).map_or_else(not_found, |d| json(&d))
        }
        ["healthz" | "livez" | "readyz", ..] => reply::text(200, "ok"),
        ["openapi", "v2"] => openapi::second_version(request.headers())?,
        ["openapi", "v3"] => reply::text(200, &openapi::index(kube).to_string()),
        ["openapi", "v3", rest @ ..] => openapi::document(kube, &rest.join("/"))
            .map_or_else(|| reply::empty(404), |document| json(&document)),
        ["version"] => json(&discovery::version()),
        ["metrics"] => return Err(Status::not_modelled("metrics")),
        _ => not_found(),
    })
}

//! Requests below an object: status, scale, eviction, binding, token, finalizers.

use serde_json::{Value, json};

use super::super::controllers::allow_eviction;
use super::super::kube::ops::{self, Changed};
use super::super::kube::patch::{self, PatchKind};
use super::super::kube::schema::{self, TYPES};
use super::super::kube::{Cause, Part, Status, delete};
use super::body::{self, WriteWish};
use super::objects::{self, Ask};
use super::path::Query;
use super::reply::{Endpoint, Form, Notation, Reply, document, negotiate, partial};
use super::table;

/// Answers a request about a subresource, those about what runs in a pod apart.
///
/// # Errors
/// As an API server refuses it.
pub async fn answer(ask: &Ask<'_>) -> Result<Reply, Status> {
    let subresource = ask.path.subresource.as_str();
    let known = ask
        .view
        .resource
        .version(&ask.view.version)
        .is_some_and(|v| v.subresources.iter().any(|s| s == subresource));
    if !known {
        return Err(Status::no_resource());
    }
    match (subresource, ask.method.as_str()) {
        ("status", "GET") => ask.show(200, &*ask.stored()?),
        ("status", "PUT") => objects::update(ask, Part::Status).await,
        ("status", "PATCH") => objects::patch(ask, Part::Status).await,
        ("scale", "GET") => {
            let object = ask.stored()?;
            show_scale(ask, &object)
        }
        ("scale", "PUT" | "PATCH") => scale(ask).await,
        ("eviction", "POST") => evict(ask),
        ("binding", "POST") => bind(ask),
        ("finalize", "PUT") => finalize(ask),
        ("token", "POST") => token(ask),
        ("ephemeralcontainers" | "proxy" | "resize", _) => Err(Status::not_modelled(&format!(
            "the subresource {subresource}"
        ))),
        _ => Err(Status::method_not_allowed()),
    }
}

/// Where a resource keeps the number of replicas, the number there is, and the selector.
fn scale_paths(ask: &Ask<'_>) -> (String, String, Option<String>) {
    let custom = ask
        .view
        .resource
        .version(&ask.view.version)
        .and_then(|v| v.custom.as_ref())
        .and_then(|c| c.scale.clone());
    let pointer = |v: &Value| v.as_str().map(|p| p.replace('.', "/"));
    match custom {
        Some(scale) => (
            pointer(&scale["specReplicasPath"]).unwrap_or_default(),
            pointer(&scale["statusReplicasPath"]).unwrap_or_default(),
            pointer(&scale["labelSelectorPath"]),
        ),
        None => (
            "/spec/replicas".to_owned(),
            "/status/replicas".to_owned(),
            None,
        ),
    }
}

/// The Scale of an object. No replicas are left out, as Go leaves zero out.
fn scale_of(ask: &Ask<'_>, object: &Value) -> Value {
    let (spec, status, selector) = scale_paths(ask);
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let mut wished = json!({});
    if number(&spec) != 0 {
        wished["replicas"] = number(&spec).into();
    }
    let mut is = json!({"replicas": number(&status)});
    let text = match selector {
        Some(path) => object
            .pointer(&path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        None => selector_text(&object["spec"]["selector"]),
    };
    if !text.is_empty() {
        is["selector"] = text.into();
    }
    let meta = &object["metadata"];
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"], "creationTimestamp": meta["creationTimestamp"],
        },
        "spec": wished, "status": is,
    })
}

/// A selector in the notation of requests.
pub fn selector_text(selector: &Value) -> String {
    let mut parts = Vec::new();
    let plain = selector.get("matchLabels").or_else(|| {
        selector
            .get("matchExpressions")
            .is_none()
            .then_some(selector)
    });
    for (key, value) in plain.and_then(Value::as_object).into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for expression in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

async fn scale(ask: &Ask<'_>) -> Result<Reply, Status> {
    let wish = WriteWish::read("UpdateOptions", ask.query, ask.headers)?;
    let (spec_path, _, _) = scale_paths(ask);
    let body = schema::parse(ask.body).map_err(|why| patch::decoding(&why))?;
    let kind = if ask.method == http::Method::PUT {
        None
    } else {
        match PatchKind::of(body::content_type(ask.headers)) {
            Some(PatchKind::Apply) => {
                return Err(Status::not_modelled("server-side apply of a scale"));
            }
            Some(kind) => Some(kind),
            None => {
                return Err(Status::new(
                    415,
                    "UnsupportedMediaType",
                    "415: Unsupported Media Type",
                ));
            }
        }
    };
    let of = TYPES.get("autoscaling.v1.Scale");
    let options = ask.options(&wish);
    let changed = ops::change(ask.kube, ask.target(), Part::Scale, &options, |before| {
        let now = scale_of(ask, before);
        let wanted = match kind {
            None => body.clone(),
            Some(kind) => patch::apply(kind, &now, &body, of)?,
        };
        if let Some(of) = of {
            schema::check_types(&wanted, of).map_err(Status::bad_request)?;
        }
        let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas < 0 {
            let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
            let cause = Cause::invalid(
                "spec.replicas",
                &json!(replicas),
                "must be greater than or equal to 0",
            );
            return Err(Status::invalid("autoscaling", "Scale", name, &[cause]));
        }
        let mut object = before.clone();
        set(&mut object, &spec_path, replicas.into());
        let version = &wanted["metadata"]["resourceVersion"];
        let exact = kind.is_none() && version.as_str().is_some_and(|v| !v.is_empty());
        if exact {
            object["metadata"]["resourceVersion"] = version.clone();
        }
        Ok(Changed {
            object,
            exact,
            applied: false,
        })
    })
    .await?;
    show_scale(ask, &changed)
}

fn show_scale(ask: &Ask<'_>, object: &Value) -> Result<Reply, Status> {
    let scale = scale_of(ask, object);
    let (form, notation) = negotiate(ask.headers, Endpoint::Object)?;
    Ok(match form {
        Form::Table => document(200, notation, &table::of_scale(&scale)),
        Form::Partial => document(200, notation, &partial(&scale)),
        Form::Object => document(200, notation, &scale),
    })
}

fn set(object: &mut Value, pointer: &str, value: Value) {
    if let Some(found) = object.pointer_mut(pointer) {
        *found = value;
    } else if let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(parent) = object.pointer_mut(parent)
    {
        parent[name] = value;
    }
}

fn success(code: u16) -> Reply {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code});
    document(code, Notation::Json, &body)
}

/// Evicts a pod when its disruption budget allows it.
fn evict(ask: &Ask<'_>) -> Result<Reply, Status> {
    let eviction = body::document(ask.headers, ask.body)?;
    let kind = eviction["kind"].as_str().unwrap_or("Eviction");
    if kind != "Eviction" {
        let version = eviction["apiVersion"].as_str().unwrap_or_default();
        let version = version.rsplit('/').next().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a Eviction: converting ({version}.{kind}) to \
             (policy.Eviction): unknown conversion"
        )));
    }
    let named = eviction["metadata"]["name"].as_str().unwrap_or_default();
    if !named.is_empty() && named != ask.path.name {
        return Err(Status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let pod = ask.stored()?;
    let mut wish = objects::from_options(&eviction["deleteOptions"], ask.query)?;
    wish.dry_run |= body::dry_run("CreateOptions", ask.query)?;
    allow_eviction(ask.kube, &pod, wish.dry_run)?;
    delete(ask.kube, ask.target(), &wish)?;
    Ok(success(201))
}

/// Puts a pod on a node.
fn bind(ask: &Ask<'_>) -> Result<Reply, Status> {
    let binding = body::document(ask.headers, ask.body)?;
    let node = binding["target"]["name"].clone();
    let pod = ask.stored()?;
    if pod["spec"]["nodeName"]
        .as_str()
        .is_some_and(|n| !n.is_empty())
    {
        return Err(Status::conflict(
            &ask.view.resource,
            &ask.path.name,
            &format!(
                "pod {} is already assigned to node {}",
                ask.path.name, pod["spec"]["nodeName"]
            ),
        ));
    }
    ask.kube
        .update("pods", &ask.path.namespace, &ask.path.name, |pod| {
            pod["spec"]["nodeName"] = node.clone();
        })?;
    Ok(success(201))
}

/// Sets the finalizers of a namespace, and its metadata.
fn finalize(ask: &Ask<'_>) -> Result<Reply, Status> {
    let wanted = body::document(ask.headers, ask.body)?;
    let finalizers = wanted["spec"]["finalizers"].as_array().cloned();
    let finalizers = finalizers.unwrap_or_default();
    let mut causes = Vec::new();
    for (at, finalizer) in finalizers.iter().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        if name != "kubernetes" && !name.contains('/') {
            causes.push(Cause::invalid(
                format!("spec.finalizers[{at}]"),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    if !causes.is_empty() {
        return Err(Status::invalid("", "Namespace", &ask.path.name, &causes));
    }
    let updated = ask
        .kube
        .update("namespaces", "", &ask.path.name, |namespace| {
            for field in ["annotations", "finalizers", "labels"] {
                let value = &wanted["metadata"][field];
                let meta = ops::metadata(namespace);
                if value.is_null() {
                    meta.remove(field);
                } else {
                    meta.insert(field.to_owned(), value.clone());
                }
            }
            if finalizers.is_empty() {
                if let Some(spec) = namespace["spec"].as_object_mut() {
                    spec.remove("finalizers");
                }
            } else {
                namespace["spec"]["finalizers"] = finalizers.clone().into();
            }
        })?;
    ask.show(200, &updated)
}

/// The container that is named must be there; without a name there must be one only, if it `must_be_named`.
///
/// # Errors
/// 400, with the containers that there are.
pub fn check_container(pod: &Value, query: &Query, must_be_named: bool) -> Result<(), Status> {
    let wanted = query.get("container");
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let names: Vec<&str> = ["initContainers", "containers"]
        .iter()
        .flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten())
        .filter_map(|c| c["name"].as_str())
        .collect();
    if !wanted.is_empty() && !names.contains(&wanted) {
        return Err(Status::bad_request(format!(
            "container {wanted} is not valid for pod {pod_name}"
        )));
    }
    if must_be_named && wanted.is_empty() && names.len() > 1 {
        return Err(Status::bad_request(format!(
            "a container name must be specified for pod {pod_name}, choose one of: [{}]",
            names.join(" ")
        )));
    }
    Ok(())
}

/// A token for a service account.
fn token(ask: &Ask<'_>) -> Result<Reply, Status> {
    ask.stored()?;
    let request = body::document(ask.headers, ask.body)?;
    let seconds = &request["spec"]["expirationSeconds"];
    if seconds.as_i64().is_some_and(|s| s < 600) {
        let cause = Cause::invalid(
            "spec.expirationSeconds",
            seconds,
            "may not specify a duration less than 10 minutes",
        );
        return Err(Status::invalid(
            "authentication.k8s.io",
            "TokenRequest",
            "",
            &[cause],
        ));
    }
    Err(Status::not_modelled("tokens of service accounts"))
}

//! Requests about objects: create, read, update, patch, delete.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::HeaderMap;
use serde_json::{Value, json};

use super::super::kube::ops::{self, Changed};
use super::super::kube::patch::{self, PatchKind};
use super::super::kube::schema::{self, Strictness, TYPES};
use super::super::kube::{
    Actor, Cause, Deleted, Deletion, Kube, Part, Propagation, Status, Target, WriteOptions, delete,
};
use super::body::{self, WriteWish};
use super::convert::{View, invalid_options};
use super::escalation;
use super::listing;
use super::path::{Query, ResourcePath};
use super::reply::{self, Endpoint, Form, Notation, Reply, document, negotiate, partial, warn};
use super::table;
use super::watch;

/// A request about objects of a known resource.
pub struct Ask<'a> {
    /// The cluster.
    pub kube: &'a Kube,
    /// The resource in the version of the request.
    pub view: View,
    /// The path.
    pub path: &'a ResourcePath,
    /// HTTP method.
    pub method: &'a Method,
    /// Parameters.
    pub query: &'a Query,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Body.
    pub body: &'a Bytes,
    /// Who asks.
    pub actor: &'a Actor,
}

impl Ask<'_> {
    /// The namespace to look into; `None` for all.
    pub fn scope(&self) -> Option<&str> {
        (!self.path.namespace.is_empty()).then_some(self.path.namespace.as_str())
    }

    /// Whether the path is about the objects of all namespaces, which can only be read together.
    fn across_namespaces(&self) -> bool {
        self.view.resource.namespaced && self.path.namespace.is_empty()
    }

    /// The object that the path names.
    pub fn target(&self) -> Target<'_> {
        Target {
            resource: &self.view.resource,
            version: &self.view.version,
            namespace: &self.path.namespace,
            name: &self.path.name,
        }
    }

    /// How it is to be written.
    pub fn options(&self, wish: &WriteWish) -> WriteOptions {
        WriteOptions {
            actor: self.actor.clone(),
            dry_run: wish.dry_run,
            manager: wish.manager.clone(),
        }
    }

    /// The stored object that the path names.
    ///
    /// # Errors
    /// 404.
    pub fn stored(&self) -> Result<Arc<Value>, Status> {
        let resource = &self.view.resource;
        self.kube
            .get(
                &resource.storage_name(),
                &self.path.namespace,
                &self.path.name,
            )
            .ok_or_else(|| Status::not_found(resource, &self.path.name))
    }

    /// An object in the form that the asker wants.
    ///
    /// # Errors
    /// 406, or a table that cannot be made.
    pub fn show(&self, code: u16, object: &Value) -> Result<Reply, Status> {
        let (form, notation) = negotiate(self.headers, Endpoint::Object)?;
        let shown = self.view.show(object);
        match form {
            Form::Object => Ok(document(code, notation, shown.as_ref())),
            Form::Partial => Ok(document(code, notation, &partial(&shown))),
            Form::Table => {
                let meta = json!({"resourceVersion": shown["metadata"]["resourceVersion"]});
                let include = self.query.get("includeObject");
                let table = table::of(&self.view, &[shown.as_ref()], &meta, include)?;
                Ok(document(code, notation, &table))
            }
        }
    }
}

/// Answers a request about objects, without a subresource.
///
/// # Errors
/// As an API server refuses it.
pub async fn answer(ask: &Ask<'_>) -> Result<Reply, Status> {
    let named = !ask.path.name.is_empty();
    if !ask.view.resource.stored() {
        return Err(Status::method_not_allowed());
    }
    if ask.view.resource.is_second_view() && !matches!(ask.method.as_str(), "GET" | "HEAD") {
        return Err(Status::not_modelled("writing events under events.k8s.io"));
    }
    match (ask.method.as_str(), named) {
        ("GET" | "HEAD", _) if ask.path.watch || (!named && ask.query.is_true("watch")) => {
            watch(ask)
        }
        ("GET" | "HEAD", true) => read(ask).await,
        ("GET" | "HEAD", false) => list(ask).await,
        ("POST", false) => create(ask).await,
        ("PUT", true) => update(ask, Part::Main).await,
        ("PATCH", true) => patch(ask, Part::Main).await,
        ("DELETE", true) => remove(ask),
        ("DELETE", false)
            if ask.view.resource.verbs.contains(&"deletecollection")
                && !ask.across_namespaces() =>
        {
            remove_all(ask)
        }
        _ => Err(Status::method_not_allowed()),
    }
}

fn watch(ask: &Ask<'_>) -> Result<Reply, Status> {
    let (form, _) = negotiate(ask.headers, Endpoint::Watch)?;
    watch::answer(
        ask.kube,
        &ask.view,
        ask.scope(),
        ask.query,
        form,
        &ask.path.name,
    )
}

async fn list(ask: &Ask<'_>) -> Result<Reply, Status> {
    let form = negotiate(ask.headers, Endpoint::List)?;
    listing::answer(ask.kube, &ask.view, ask.scope(), ask.query, form).await
}

async fn read(ask: &Ask<'_>) -> Result<Reply, Status> {
    let asked = ask.query.get("resourceVersion");
    if !asked.is_empty() && asked != "0" {
        let version = super::convert::version_number(asked)?;
        listing::wait_for(ask.kube, version).await?;
    }
    ask.show(200, &*ask.stored()?)
}

async fn create(ask: &Ask<'_>) -> Result<Reply, Status> {
    let wish = WriteWish::read("CreateOptions", ask.query, ask.headers)?;
    let read = body::object(&ask.view, ask.headers, ask.body, wish.strictness)?;
    if !ask.view.resource.namespaced && !ask.path.namespace.is_empty() {
        return Err(Status::no_resource());
    }
    let own = read.object["metadata"]["namespace"]
        .as_str()
        .unwrap_or_default();
    if ask.view.resource.namespaced && ask.path.namespace.is_empty() {
        return Err(Status::method_not_allowed());
    }
    if !own.is_empty() && own != ask.path.namespace && ask.view.resource.namespaced {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    escalation::require(ask, &read.object)?;
    let created = ops::create(ask.kube, ask.target(), read.object, &ask.options(&wish)).await?;
    let mut shown = created;
    if wish.dry_run {
        let mut object = (*shown).clone();
        ops::metadata(&mut object).remove("resourceVersion");
        shown = Arc::new(object);
    }
    let mut reply = ask.show(201, &shown)?;
    warn(&mut reply, &read.warnings);
    Ok(reply)
}

/// PUT of an object or of its status.
///
/// # Errors
/// As an API server refuses it.
pub async fn update(ask: &Ask<'_>, part: Part) -> Result<Reply, Status> {
    let wish = WriteWish::read("UpdateOptions", ask.query, ask.headers)?;
    let read = body::object(&ask.view, ask.headers, ask.body, wish.strictness)?;
    let mut read = read;
    let carried = body::document(ask.headers, ask.body)?["metadata"]["managedFields"].take();
    if carried.as_array().is_some_and(Vec::is_empty) {
        // An empty list takes all managers away; reading it as its type has left it out.
        read.object["metadata"]["managedFields"] = json!([{}]);
    }
    let meta = &read.object["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    if name != ask.path.name {
        return Err(Status::bad_request(if name.is_empty() {
            format!(
                "name must be provided on the object; it is \"{}\" on the URL",
                ask.path.name
            )
        } else {
            format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                ask.path.name
            )
        }));
    }
    let own = meta["namespace"].as_str().unwrap_or_default();
    if !own.is_empty() && own != ask.path.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let exact = meta["resourceVersion"]
        .as_str()
        .is_some_and(|v| !v.is_empty());
    escalation::require(ask, &read.object)?;
    let updated = ops::change(ask.kube, ask.target(), part, &ask.options(&wish), |_| {
        Ok(Changed {
            object: read.object.clone(),
            exact,
            applied: false,
        })
    })
    .await?;
    let mut reply = ask.show(200, &updated)?;
    warn(&mut reply, &read.warnings);
    Ok(reply)
}

/// PATCH of an object or of its status.
///
/// # Errors
/// As an API server refuses it.
pub async fn patch(ask: &Ask<'_>, part: Part) -> Result<Reply, Status> {
    let wish = WriteWish::read("PatchOptions", ask.query, ask.headers)?;
    let kind = patch_kind(ask)?;
    if wish.force.is_some() && kind != PatchKind::Apply {
        return Err(invalid_options(
            "PatchOptions",
            "force",
            "FieldValueForbidden",
            "Forbidden: may not be specified for non-apply patch",
        ));
    }
    if kind == PatchKind::Apply {
        return super::apply::answer(ask, part, &wish).await;
    }
    let patch = schema::parse(ask.body).map_err(|why| patch::decoding(&why))?;
    let of = TYPES.of(
        &ask.view.resource.group,
        &ask.view.version,
        &ask.view.resource.kind,
    );
    let mut warnings = Vec::new();
    let options = ask.options(&wish);
    let patched = ops::change(ask.kube, ask.target(), part, &options, |before| {
        let shown = ask.view.show(before);
        let mut object = patch::apply(kind, &shown, &patch, of)?;
        // A JSON patch may name it too.
        let exact = patch["metadata"]["resourceVersion"].is_string()
            || object["metadata"]["resourceVersion"] != shown["metadata"]["resourceVersion"];
        warnings = settle(ask, &mut object, &wish)?;
        if !exact {
            // Only a version that the patch names is a precondition.
            object["metadata"]["resourceVersion"] = shown["metadata"]["resourceVersion"].clone();
        }
        if object["metadata"]["name"] != shown["metadata"]["name"] {
            return Err(Status::bad_request(
                "the name of the object does not match the name on the URL",
            ));
        }
        escalation::require(ask, &object)?;
        Ok(Changed {
            object: ask.view.read(object),
            exact,
            applied: false,
        })
    })
    .await?;
    let mut reply = ask.show(200, &patched)?;
    warn(&mut reply, &warnings);
    Ok(reply)
}

fn patch_kind(ask: &Ask<'_>) -> Result<PatchKind, Status> {
    let unsupported = |message: &str, details: bool| {
        let mut status = Status::new(415, "UnsupportedMediaType", message);
        if details {
            status.details = Some(json!({}));
        }
        status
    };
    match PatchKind::of(body::content_type(ask.headers)) {
        Some(PatchKind::Strategic) if !ask.view.resource.built_in => Err(unsupported(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            false,
        )),
        Some(kind) => Ok(kind),
        None => Err(unsupported("415: Unsupported Media Type", true)),
    }
}

/// Takes a patched object through its type: wrong types and unknown fields are the patch's fault.
fn settle(ask: &Ask<'_>, object: &mut Value, wish: &WriteWish) -> Result<Vec<String>, Status> {
    let resource = &ask.view.resource;
    let blame = |shown: &str, why: &str| {
        let cause = Cause::invalid("patch", &json!(shown), why);
        Status::invalid("", "", "", &[cause])
    };
    let mut unknown = Vec::new();
    if let Some(of) = TYPES.of(&resource.group, &ask.view.version, &resource.kind) {
        schema::check_types(object, of).map_err(|why| blame(&schema::quoted(object, of), &why))?;
        if wish.strictness != Strictness::Ignore {
            let text = object.to_string();
            unknown = schema::unknown_fields(text.as_bytes(), Some(of));
        }
        schema::normalise(object, of);
    } else if let Some(custom) = resource
        .version(&ask.view.version)
        .and_then(|v| v.custom.as_ref())
    {
        unknown = super::super::kube::custom::prune(object, &custom.schema);
    }
    match wish.strictness {
        Strictness::Strict if !unknown.is_empty() => {
            let patch = String::from_utf8_lossy(ask.body);
            Err(blame(
                &patch,
                &format!("strict decoding error: {}", unknown.join(", ")),
            ))
        }
        Strictness::Ignore => Ok(Vec::new()),
        _ => Ok(unknown),
    }
}

fn remove(ask: &Ask<'_>) -> Result<Reply, Status> {
    let wish = deletion(ask)?;
    let deleted = delete(ask.kube, ask.target(), &wish)?;
    deleted_reply(ask, &deleted)
}

/// Some kinds are answered with, others with a success that names them.
fn deleted_reply(ask: &Ask<'_>, deleted: &Deleted) -> Result<Reply, Status> {
    const SHOWN: &[&str] = &[
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
        "services",
    ];
    let resource = &ask.view.resource;
    match deleted {
        Deleted::Marked(object) => ask.show(200, object),
        Deleted::Gone(object) if SHOWN.contains(&resource.name().as_str()) => ask.show(200, object),
        Deleted::Gone(object) => {
            let mut details = json!({
                "name": object["metadata"]["name"],
                "kind": resource.plural,
                "uid": object["metadata"]["uid"],
            });
            if !resource.group.is_empty() {
                details["group"] = resource.group.clone().into();
            }
            let success = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {},
                "status": "Success", "details": details,
            });
            Ok(document(200, Notation::Json, &success))
        }
    }
}

fn remove_all(ask: &Ask<'_>) -> Result<Reply, Status> {
    let wish = deletion(ask)?;
    let found = listing::selected(ask.kube, &ask.view, ask.scope(), ask.query)?;
    let mut items = Vec::new();
    for object in found {
        let (namespace, name) = ops::key_of(&object);
        let target = Target {
            namespace: &namespace,
            name: &name,
            ..ask.target()
        };
        match delete(ask.kube, target, &wish) {
            Ok(_) => items.push(ask.view.show(&object).into_owned()),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let list = json!({
        "kind": ask.view.resource.list_kind, "apiVersion": ask.view.api_version(),
        "metadata": {"resourceVersion": ask.kube.store().version().to_string()},
        "items": items,
    });
    Ok(reply::document(200, Notation::Json, &list))
}

/// Reads what a deletion asks for, from the body and the parameters.
///
/// # Errors
/// 422: a value is not known.
pub fn deletion(ask: &Ask<'_>) -> Result<Deletion, Status> {
    let options = if ask.body.is_empty() {
        Value::Null
    } else {
        delete_options(ask.body)?
    };
    from_options(&options, ask.query)
}

fn delete_options(body: &[u8]) -> Result<Value, Status> {
    let options = schema::parse(body).map_err(|why| {
        Status::internal(format!(
            "couldn't get version/kind; json parse error: {why}"
        ))
    })?;
    let text = |field: &str| options[field].as_str().unwrap_or_default();
    if !matches!(text("kind"), "" | "DeleteOptions") {
        return Err(Status::internal(format!(
            "no kind \"{}\" is registered for version \"{}\" in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
            text("kind"),
            text("apiVersion")
        )));
    }
    Ok(options)
}

/// Reads `DeleteOptions`.
///
/// # Errors
/// 422: a value is not known.
pub fn from_options(options: &Value, query: &Query) -> Result<Deletion, Status> {
    let policy = options["propagationPolicy"]
        .as_str()
        .or_else(|| Some(query.get("propagationPolicy")).filter(|p| !p.is_empty()));
    let orphan = options["orphanDependents"].as_bool().or_else(|| {
        query
            .has("orphanDependents")
            .then(|| query.is_true("orphanDependents"))
    });
    let refuse = |cause: &Cause| {
        Err(invalid_options(
            "DeleteOptions",
            &cause.field,
            cause.reason,
            &cause.message,
        ))
    };
    let propagation = match policy {
        None => orphan.map(|o| {
            if o {
                Propagation::Orphan
            } else {
                Propagation::Background
            }
        }),
        Some(policy) if orphan.is_some() => {
            return refuse(&Cause::invalid(
                "propagationPolicy",
                &json!(policy),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some("Orphan") => Some(Propagation::Orphan),
        Some(other) => {
            return refuse(&Cause::unsupported(
                "propagationPolicy",
                format!("\"{other}\""),
                &["Foreground", "Background", "Orphan", "nil"],
            ));
        }
    };
    let grace = match options["gracePeriodSeconds"].as_i64() {
        Some(seconds) => Some(seconds),
        None if query.has("gracePeriodSeconds") => {
            Some(listing::number(query.get("gracePeriodSeconds"))?)
        }
        None => None,
    };
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let in_body = options["dryRun"].as_array().is_some_and(|d| !d.is_empty());
    Ok(Deletion {
        grace,
        propagation,
        uid: text(&options["preconditions"]["uid"]),
        version: text(&options["preconditions"]["resourceVersion"]),
        dry_run: in_body || body::dry_run("DeleteOptions", query)?,
    })
}

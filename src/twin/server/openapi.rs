//! OpenAPI documents, as far as kubectl needs them: which fields a kind has, how its lists merge, which
//! parameters a PATCH takes.

use http::header::{ACCEPT, HeaderMap};
use serde_json::{Map, Value, json};

use super::super::kube::schema::{Field, Kind, ListType, Struct, TYPES};
use super::super::kube::{Kube, Resource, Status};
use super::discovery::groups;
use super::reply::{self, Endpoint, Reply};

/// The index of `/openapi/v3`.
pub fn index(kube: &Kube) -> Value {
    let mut paths = Map::new();
    for group in groups(kube) {
        for (version, resources) in &group.versions {
            let path = document_path(&group.name, version);
            let hash = fingerprint(resources.iter().map(|r| format!("{r:?}")));
            let url = format!("/openapi/v3/{path}?hash={hash:016X}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// The document of `/openapi/v2`. It names no paths and no types: clients that find what they look for
/// in version 3 ask for it only about kinds that are not served.
///
/// # Errors
/// 406: it is wanted in neither of its two notations.
pub fn second_version(headers: &HeaderMap) -> Result<Reply, Status> {
    let accept = headers
        .get(ACCEPT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("*/*");
    if accept.contains("proto-openapi.spec.v2") {
        // Field 1 of the document: `swagger`.
        let document = [&[0x0a, 3][..], b"2.0"].concat();
        let kind = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        return Ok(reply::with_type(200, kind, document));
    }
    let notation = reply::negotiate(headers, Endpoint::Object)?.1;
    let document = json!({
        "swagger": "2.0", "paths": {}, "definitions": {},
        "info": {"title": "Kubernetes", "version": super::discovery::GIT_VERSION},
    });
    Ok(reply::document(200, notation, &document))
}

fn document_path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// FNV-1a, so that a client fetches a document again when a CRD has changed it.
fn fingerprint(texts: impl Iterator<Item = String>) -> u64 {
    texts.fold(0xcbf2_9ce4_8422_2325, |hash, text| {
        text.bytes().fold(hash, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    })
}

/// The document of one group and version, `apis/apps/v1`.
pub fn document(kube: &Kube, path: &str) -> Option<Value> {
    for group in groups(kube) {
        for (version, resources) in &group.versions {
            if document_path(&group.name, version) != path {
                continue;
            }
            let mut paths = Map::new();
            let mut schemas = Map::new();
            for resource in resources {
                add_paths(&mut paths, path, resource, version);
                add_schema(&mut schemas, resource, version);
            }
            return Some(json!({
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": super::discovery::GIT_VERSION},
                "paths": paths,
                "components": {"schemas": schemas},
            }));
        }
    }
    None
}

fn kind_of(resource: &Resource, version: &str) -> Value {
    json!({"group": resource.group, "version": version, "kind": resource.kind})
}

fn add_paths(paths: &mut Map<String, Value>, base: &str, resource: &Resource, version: &str) {
    let place = if resource.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("/{base}{place}/{}", resource.plural);
    let kind = kind_of(resource, version);
    let parameters = |names: &[&str]| -> Value {
        let of = |name: &&str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        names.iter().map(of).collect()
    };
    let writing = ["dryRun", "fieldManager", "fieldValidation"];
    let schema =
        json!({"$ref": format!("#/components/schemas/{}", schema_name(resource, version))});
    let body = |types: &[&str]| -> Value {
        let content: Map<String, Value> = types
            .iter()
            .map(|t| ((*t).to_owned(), json!({"schema": schema})))
            .collect();
        json!({"content": content, "required": true})
    };
    let operation = |action: &str, names: &[&str]| {
        json!({
            "parameters": parameters(names), "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind, "responses": {"200": {"description": "OK"}},
        })
    };
    let mut post = operation("post", &writing);
    post["requestBody"] = body(&["application/json", "application/yaml"]);
    paths.insert(
        collection.clone(),
        json!({"get": operation("list", &[]), "post": post}),
    );
    if !resource.stored() {
        return;
    }
    let mut kinds = vec![
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
    ];
    if resource.built_in {
        kinds.push("application/strategic-merge-patch+json");
    }
    let mut patch = operation(
        "patch",
        &["dryRun", "fieldManager", "fieldValidation", "force"],
    );
    patch["requestBody"] = body(&kinds);
    let mut put = operation("put", &writing);
    put["requestBody"] = body(&["application/json"]);
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({"get": operation("get", &[]), "put": put, "patch": patch, "delete": operation("delete", &["dryRun"])}),
    );
}

fn schema_name(resource: &Resource, version: &str) -> String {
    if let Some(of) = TYPES.of(&resource.group, version, &resource.kind) {
        return full_name(of.name);
    }
    let reversed: Vec<&str> = resource.group.split('.').rev().collect();
    format!("{}.{version}.{}", reversed.join("."), resource.kind)
}

/// `core.v1.Pod` with its package.
fn full_name(short: &str) -> String {
    match short.split_once('.') {
        Some(("meta", rest)) => format!("io.k8s.apimachinery.pkg.apis.meta.{rest}"),
        Some(("apiextensions", _)) => format!("io.k8s.apiextensions-apiserver.pkg.apis.{short}"),
        Some(("apiregistration", _)) => format!("io.k8s.kube-aggregator.pkg.apis.{short}"),
        _ => format!("io.k8s.api.{short}"),
    }
}

fn add_schema(schemas: &mut Map<String, Value>, resource: &Resource, version: &str) {
    let name = schema_name(resource, version);
    let custom = resource.version(version).and_then(|v| v.custom.as_ref());
    if let Some(custom) = custom {
        add_struct(schemas, "meta.v1.ObjectMeta");
        let mut schema = custom.schema.clone();
        if !schema.is_object() {
            schema = json!({"type": "object"});
        }
        schema["properties"]["apiVersion"] = json!({"type": "string"});
        schema["properties"]["kind"] = json!({"type": "string"});
        schema["properties"]["metadata"] = reference("meta.v1.ObjectMeta");
        schemas.insert(name.clone(), schema);
    } else if let Some(of) = TYPES.of(&resource.group, version, &resource.kind) {
        add_struct(schemas, of.name);
    }
    if let Some(schema) = schemas.get_mut(&name) {
        schema["x-kubernetes-group-version-kind"] = json!([kind_of(resource, version)]);
    }
}

fn add_struct(schemas: &mut Map<String, Value>, short: &str) {
    let name = full_name(short);
    let Some(of) = TYPES.get(short).filter(|_| !schemas.contains_key(&name)) else {
        return;
    };
    schemas.insert(name.clone(), Value::Null);
    schemas.insert(name, struct_schema(of));
    for field in &of.fields {
        add_named(schemas, &field.kind);
    }
}

fn add_named(schemas: &mut Map<String, Value>, kind: &Kind) {
    match kind {
        Kind::List(of) | Kind::Map(of) => add_named(schemas, of),
        Kind::Struct(name) => add_struct(schemas, name),
        _ => {}
    }
}

fn struct_schema(of: &Struct) -> Value {
    let mut schema = json!({"type": "object"});
    let properties: Map<String, Value> = of
        .fields
        .iter()
        .map(|f| (f.name.to_owned(), field_schema(f)))
        .collect();
    if !properties.is_empty() {
        schema["properties"] = Value::Object(properties);
    }
    let required: Vec<&str> = of
        .fields
        .iter()
        .filter(|f| f.required)
        .map(|f| f.name)
        .collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if of.atomic {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    schema
}

fn field_schema(field: &Field) -> Value {
    let mut schema = kind_schema(&field.kind);
    let mut strategies = Vec::new();
    if let Some(key) = field.merge {
        strategies.push("merge");
        if !key.is_empty() {
            schema["x-kubernetes-patch-merge-key"] = key.into();
        }
    }
    if field.replace {
        strategies.push("replace");
    }
    if field.retain_keys {
        strategies.push("retainKeys");
    }
    if !strategies.is_empty() {
        schema["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    let list = matches!(field.kind, Kind::List(_));
    match &field.list {
        ListType::Plain => {}
        ListType::Atomic if list => schema["x-kubernetes-list-type"] = "atomic".into(),
        ListType::Atomic => schema["x-kubernetes-map-type"] = "atomic".into(),
        ListType::Set => schema["x-kubernetes-list-type"] = "set".into(),
        ListType::Map(keys) => {
            schema["x-kubernetes-list-type"] = "map".into();
            schema["x-kubernetes-list-map-keys"] = json!(keys);
        }
    }
    schema
}

fn reference(short: &str) -> Value {
    json!({"allOf": [{"$ref": format!("#/components/schemas/{}", full_name(short))}]})
}

fn kind_schema(kind: &Kind) -> Value {
    match kind {
        Kind::Any => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Bytes => json!({"type": "string", "format": "byte"}),
        Kind::Float => json!({"type": "number", "format": "double"}),
        Kind::Int32 => json!({"type": "integer", "format": "int32"}),
        Kind::Int64 => json!({"type": "integer", "format": "int64"}),
        Kind::IntOrString => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        Kind::List(of) => json!({"type": "array", "items": kind_schema(of)}),
        Kind::Map(of) => json!({"type": "object", "additionalProperties": kind_schema(of)}),
        Kind::MicroTime | Kind::Time => json!({"type": "string", "format": "date-time"}),
        Kind::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Kind::String => json!({"type": "string"}),
        Kind::Struct(name) => reference(name),
    }
}

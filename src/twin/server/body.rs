//! Reading the object in a request's body.

use http::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use super::super::kube::schema::{self, Strictness, Struct, TYPES};
use super::super::kube::{Cause, Status};
use super::convert::{View, invalid_options};
use super::path::Query;

/// The options that all writing requests share.
#[derive(Clone, Debug)]
pub struct WriteWish {
    /// `dryRun=All`.
    pub dry_run: bool,
    /// `fieldValidation`.
    pub strictness: Strictness,
    /// `fieldManager`, or the first part of the user agent.
    pub manager: String,
    /// `force=true`.
    pub force: Option<bool>,
}

impl WriteWish {
    /// Reads them; `kind` names them in errors (`CreateOptions`).
    ///
    /// # Errors
    /// 422: a value is not known.
    pub fn read(kind: &str, query: &Query, headers: &HeaderMap) -> Result<WriteWish, Status> {
        let strictness = match query.get("fieldValidation") {
            "" | "Warn" => Strictness::Warn,
            "Ignore" => Strictness::Ignore,
            "Strict" => Strictness::Strict,
            other => {
                let known = ["", "Ignore", "Strict", "Warn"];
                let cause = Cause::unsupported("fieldValidation", format!("\"{other}\""), &known);
                return Err(invalid_options(
                    kind,
                    &cause.field,
                    cause.reason,
                    &cause.message,
                ));
            }
        };
        let agent = headers
            .get(http::header::USER_AGENT)
            .and_then(|v| v.to_str().ok())
            .and_then(|a| a.split('/').next())
            .unwrap_or("unknown");
        let manager = match query.get("fieldManager") {
            "" => agent,
            named => {
                check_manager(kind, named)?;
                named
            }
        };
        Ok(WriteWish {
            dry_run: dry_run(kind, query)?,
            strictness,
            manager: manager.to_owned(),
            force: query.has("force").then(|| query.is_true("force")),
        })
    }
}

/// The longest name of a field manager.
const MANAGER_BYTES: usize = 128;

fn check_manager(kind: &str, name: &str) -> Result<(), Status> {
    let field = "fieldManager";
    let mut causes = Vec::new();
    if name.len() > MANAGER_BYTES {
        causes.push(Cause {
            field: field.to_owned(),
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {MANAGER_BYTES} bytes"),
        });
    }
    if let Some((at, sign)) = name.char_indices().find(|(_, c)| c.is_control()) {
        let why = format!(
            "invalid character U+{:04X} (at position {at})",
            u32::from(sign)
        );
        causes.push(Cause::invalid(field, &serde_json::json!(name), why));
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid("meta.k8s.io", kind, "", &causes))
}

/// Whether a request only tries.
///
/// # Errors
/// 422: the value is not `All`.
pub fn dry_run(kind: &str, query: &Query) -> Result<bool, Status> {
    let wishes: Vec<&str> = query.all("dryRun").filter(|d| !d.is_empty()).collect();
    if wishes.iter().any(|d| *d != "All") {
        let cause = Cause::unsupported("dryRun", serde_json::json!(wishes), &["All"]);
        return Err(invalid_options(
            kind,
            &cause.field,
            cause.reason,
            &cause.message,
        ));
    }
    Ok(!wishes.is_empty())
}

/// An object from a body, with warnings about it.
pub struct Read {
    /// The object, as it is stored.
    pub object: Value,
    /// What kubectl is to print.
    pub warnings: Vec<String>,
}

/// Reads the object of a create or update.
///
/// # Errors
/// 400 or 415: it is not an object of the kind.
pub fn object(
    view: &View,
    headers: &HeaderMap,
    body: &[u8],
    strictness: Strictness,
) -> Result<Read, Status> {
    let kind = &view.resource.kind;
    let text = as_json(headers, body)?;
    let value = schema::parse(&text).map_err(|why| unrecognised(kind, &why, &text))?;
    if !value.is_object() {
        let what = match value {
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            _ => "null",
        };
        let why = format!(
            "json: cannot unmarshal {what} into Go value of type struct {{ APIVersion string \
             \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        );
        return Err(unrecognised_hex(kind, &why, &text));
    }
    check_kind(view, &value)?;
    let of = TYPES.of(&view.resource.group, &view.version, kind);
    typed(view, value, &text, of, strictness)
}

fn typed(
    view: &View,
    mut value: Value,
    text: &[u8],
    of: Option<&'static Struct>,
    strictness: Strictness,
) -> Result<Read, Status> {
    let kind = &view.resource.kind;
    let handled = |why: &str| {
        Status::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {kind}: {why}",
            view.version
        ))
    };
    let mut unknown = Vec::new();
    if let Some(of) = of {
        schema::check_types(&value, of).map_err(|why| handled(&why))?;
        if strictness != Strictness::Ignore {
            unknown = schema::unknown_fields(text, Some(of));
        }
        schema::normalise(&mut value, of);
    } else if let Some(custom) = view
        .resource
        .version(&view.version)
        .and_then(|v| v.custom.as_ref())
    {
        if strictness != Strictness::Ignore {
            unknown = schema::unknown_fields(text, None);
        }
        unknown.extend(super::super::kube::custom::prune(
            &mut value,
            &custom.schema,
        ));
    }
    if strictness == Strictness::Strict && !unknown.is_empty() {
        return Err(handled(&format!(
            "strict decoding error: {}",
            unknown.join(", ")
        )));
    }
    if strictness == Strictness::Ignore {
        unknown.clear();
    }
    Ok(Read {
        object: view.read(value),
        warnings: unknown,
    })
}

/// The body as JSON: YAML is also read.
/// The document of a body, in whatever notation it is written.
///
/// # Errors
/// 400 or 415: it cannot be read.
pub fn document(headers: &HeaderMap, body: &[u8]) -> Result<Value, Status> {
    schema::parse(&as_json(headers, body)?).map_err(Status::bad_request)
}

fn as_json(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Status> {
    match content_type(headers) {
        "" | "application/json" => Ok(body.to_vec()),
        "application/yaml" => {
            let text = String::from_utf8_lossy(body);
            let value: Value = serde_saphyr::from_str(&text)
                .map_err(|e| Status::bad_request(format!("error converting YAML to JSON: {e}")))?;
            Ok(value.to_string().into_bytes())
        }
        PROTOBUF => {
            let value = schema::read_proto(body).map_err(Status::bad_request)?;
            Ok(value.to_string().into_bytes())
        }
        _ => Err(Status::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: \
             application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// The binary notation of kubectl's typed clients.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The content type without its parameters.
pub fn content_type(headers: &HeaderMap) -> &str {
    headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|t| t.split(';').next())
        .unwrap_or_default()
        .trim()
}

fn check_kind(view: &View, value: &Value) -> Result<(), Status> {
    let wanted = &view.resource.kind;
    let kind = value["kind"].as_str().unwrap_or(wanted);
    let own = view.api_version();
    let version = match value["apiVersion"].as_str() {
        None | Some("") => own.as_str(),
        Some(version) => version,
    };
    if kind == wanted && version == own {
        return Ok(());
    }
    if !view.resource.built_in {
        return Err(of_another_custom_kind(view, value, kind, version, &own));
    }
    let short = version.rsplit('/').next().unwrap_or(version);
    let group = version.split_once('/').map_or("", |(g, _)| g);
    let why = if TYPES.of(group, short, kind).is_some() {
        let package = view.resource.group.split('.').next().unwrap_or_default();
        let package = if package.is_empty() { "core" } else { package };
        format!("converting ({short}.{kind}) to ({package}.{wanted}): unknown conversion")
    } else {
        format!(
            "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )
    };
    Err(Status::bad_request(format!(
        "{kind} in version \"{short}\" cannot be handled as a {wanted}: {why}"
    )))
}

/// What is said to an object that was sent to the wrong custom resource.
fn of_another_custom_kind(
    view: &View,
    value: &Value,
    kind: &str,
    version: &str,
    own: &str,
) -> Status {
    if version != own {
        return Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({own})"
        ));
    }
    let wanted = &view.resource.kind;
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    let cause = Cause::invalid("kind", &kind.into(), format!("must be {wanted}"));
    Status::invalid(&view.resource.group, kind, name, &[cause])
}

fn unrecognised(kind: &str, why: &str, text: &[u8]) -> Status {
    let text: &[u8] = if text.is_empty() { b"<empty>" } else { text };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse \
         error: {why} ({})",
        String::from_utf8_lossy(text)
    ))
}

/// Some bodies are quoted in hexadecimal.
fn unrecognised_hex(kind: &str, why: &str, text: &[u8]) -> Status {
    use std::fmt::Write as _;
    let hex = text.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    unrecognised(kind, why, hex.as_bytes())
}

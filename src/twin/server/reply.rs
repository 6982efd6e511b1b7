//! Answers, and the form in which the asker wants them.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, WARNING};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use super::super::kube::Status;

/// The body of an answer; an error ends the connection.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// An answer.
pub type Reply = http::Response<Body>;

/// In which form an object is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Object,
    /// Its metadata only.
    Partial,
    /// As rows for people.
    Table,
}

/// In which notation an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The forms that an endpoint has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A list of objects.
    List,
    /// One object.
    Object,
    /// A stream of changes.
    Watch,
}

/// Chooses the first form of the `Accept` header that the endpoint has.
///
/// # Errors
/// 406: there is none.
pub fn negotiate(headers: &HeaderMap, endpoint: Endpoint) -> Result<(Form, Notation), Status> {
    let accept = headers
        .get(ACCEPT)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("*/*");
    let mut served = false;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let notation = match parts.next().unwrap_or_default() {
            "application/json" | "application/*" | "*/*" | "" => Some(Notation::Json),
            "application/yaml" => Some(Notation::Yaml),
            PROTOBUF => None,
            _ => continue,
        };
        served = true;
        let Some(notation) =
            notation.filter(|n| *n == Notation::Json || endpoint != Endpoint::Watch)
        else {
            continue;
        };
        let parameters: Vec<&str> = parts.collect();
        if let Some(form) = form(&parameters, endpoint) {
            return Ok((form, notation));
        }
    }
    Err(not_acceptable(served, endpoint))
}

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The form that the parameters of a media type ask for, if there is such a form.
fn form(parameters: &[&str], endpoint: Endpoint) -> Option<Form> {
    let value = |name: &str| parameters.iter().find_map(|p| p.strip_prefix(name));
    let Some(wanted) = value("as=") else {
        return Some(Form::Object);
    };
    if value("g=") != Some("meta.k8s.io") || !matches!(value("v="), Some("v1" | "v1beta1")) {
        return None;
    }
    match (wanted, endpoint) {
        ("Table", _) => Some(Form::Table),
        ("PartialObjectMetadata", Endpoint::Object | Endpoint::Watch)
        | ("PartialObjectMetadataList", Endpoint::List) => Some(Form::Partial),
        _ => None,
    }
}

/// 406: of a type that is not served at all, or of one that is not served in the form that is asked for.
fn not_acceptable(served: bool, endpoint: Endpoint) -> Status {
    const TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    const STREAMS: &str =
        ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    if served {
        let message = format!("only the following media types are accepted: {TYPES}");
        return Status::new(406, "NotAcceptable", message);
    }
    let streams = match endpoint {
        Endpoint::Object => "",
        Endpoint::List | Endpoint::Watch => STREAMS,
    };
    let message = format!("406: Not Acceptable\n\nAvailable representations: {TYPES}{streams}");
    let mut status = Status::new(406, "NotAcceptable", message);
    status.details = Some(serde_json::json!({}));
    status
}

/// An answer of JSON text.
pub fn json(code: u16, text: Vec<u8>) -> Reply {
    with_type(code, "application/json", text)
}

/// A document, in the notation that the asker wants.
pub fn document(code: u16, notation: Notation, value: &impl serde::Serialize) -> Reply {
    match notation {
        Notation::Json => json(code, serde_json::to_vec(value).unwrap_or_default()),
        Notation::Yaml => {
            let text = serde_saphyr::to_string(value).unwrap_or_default();
            with_type(code, "application/yaml", text.into_bytes())
        }
    }
}

/// An answer of plain text.
pub fn text(code: u16, text: &str) -> Reply {
    with_type(code, "text/plain; charset=utf-8", text.as_bytes().to_vec())
}

/// An answer with nothing in it.
pub fn empty(code: u16) -> Reply {
    let mut reply = http::Response::new(full(Vec::new()));
    *reply.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    reply
}

/// An answer with a body of any type.
pub fn with_type(code: u16, content_type: &'static str, body: Vec<u8>) -> Reply {
    let mut reply = http::Response::new(full(body));
    *reply.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// The answer to a request that was refused.
pub fn refusal(status: &Status) -> Reply {
    let mut reply = document(status.code, Notation::Json, &status.to_value());
    let seconds = status
        .details
        .as_ref()
        .and_then(|d| d["retryAfterSeconds"].as_u64());
    if let Some(seconds) = seconds {
        reply
            .headers_mut()
            .insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    reply
}

/// Adds warnings, which kubectl prints.
pub fn warn(reply: &mut Reply, warnings: &[String]) {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            reply.headers_mut().append(WARNING, value);
        }
    }
}

/// A body that is known.
pub fn full(body: Vec<u8>) -> Body {
    Full::new(Bytes::from(body))
        .map_err(|never| match never {})
        .boxed()
}

/// The metadata of an object alone.
pub fn partial(object: &Value) -> Value {
    serde_json::json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

//! The images that the twin knows: what their programs say and serve.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::DuplexStream;

use super::machine::{Machine, PROXY};
use super::{NotModelled, shell};

/// What a container runs.
#[derive(Clone, Debug)]
pub enum Runs {
    /// A command of the subset.
    Command(shell::Command),
    /// The application: JSON over HTTP at this port.
    Http(u16),
    /// pilot-agent and Envoy.
    Proxy,
    /// Something that goes on, of which nothing is known; what.
    Unknown(NotModelled),
}

/// What a container runs by its spec.
pub fn runs(machine: &Machine) -> Runs {
    let spec = &machine.container;
    let env = machine.environment();
    let texts = |field: &str| -> Vec<String> {
        let all = spec[field].as_array().into_iter().flatten();
        all.filter_map(Value::as_str)
            .map(|text| super::machine::expanded(text, &env))
            .collect()
    };
    let (mut command_line, args) = (texts("command"), texts("args"));
    let image = spec["image"].as_str().unwrap_or_default();
    if !command_line.is_empty() {
        command_line.extend(args);
        return match shell::Command::new(&command_line, machine.is_proxy()) {
            Ok(command) => Runs::Command(command),
            Err(what) => Runs::Unknown(what),
        };
    }
    if machine.name() == PROXY && args.first().is_some_and(|a| a == "proxy") {
        return Runs::Proxy;
    }
    let repository = image.rsplit_once(':').map_or(image, |(name, _)| name);
    let is_application = repository == "lab/http"
        || (image.starts_with("registry.example/")
            && !image.starts_with("registry.example/istio/"));
    if is_application && args.is_empty() {
        let port = env.get("PORT").and_then(|p| p.parse().ok());
        let first = spec["ports"][0]["containerPort"].as_u64();
        let first = first.and_then(|p| u16::try_from(p).ok());
        return Runs::Http(port.or(first).unwrap_or(8080));
    }
    Runs::Unknown(NotModelled(format!("what the image {image} runs")))
}

/// The first lines of an application's log.
pub fn listens(port: u16) -> String {
    format!("listening on :{port}\n")
}

/// The first lines of a proxy's log, as pilot-agent writes them.
pub fn agent_starts(machine: &Machine) -> String {
    let role = machine.container["args"][1].as_str().unwrap_or("sidecar");
    let kind = if role == "sidecar" {
        "sidecar"
    } else {
        "router"
    };
    let (name, namespace) = (
        machine.text("/metadata/name"),
        machine.text("/metadata/namespace"),
    );
    let image = machine.container["image"].as_str().unwrap_or_default();
    let version = image.rsplit_once(':').map_or("unknown", |(_, tag)| tag);
    [
        format!("Version {version}"),
        format!(
            "Proxy role\tips=[{}] type={kind} id={name}.{namespace} domain={namespace}.svc.cluster.local",
            machine.text("/status/podIP")
        ),
        "Starting proxy agent".to_owned(),
    ]
    .iter()
    .map(|text| agent_line(text))
    .collect()
}

/// A line of pilot-agent's log at level info.
pub fn agent_line(text: &str) -> String {
    format!("{:.6}\tinfo\t{text}\n", Timestamp::now())
}

/// Serves one connection to an application.
pub async fn serve(machine: Arc<Machine>, stream: DuplexStream) {
    let service = service_fn(|_: Request<Incoming>| async {
        let own = format!(
            "{}/{}",
            machine.text("/metadata/namespace"),
            machine.text("/metadata/name")
        );
        let workload = machine.environment().get("WORKLOAD").cloned();
        let answer = json!({"workload": workload.unwrap_or(own), "caller": ""});
        let mut response = Response::new(Full::new(Bytes::from(format!("{answer}\n"))));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        Ok::<_, Infallible>(response)
    });
    // A client that goes away in the middle is no event.
    let _ = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

//! What a program sees of its container: environment, host name, files, and the pod's own ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::NotModelled;
use super::containers::Containers;

/// The name of the container that carries the proxy.
pub const PROXY: &str = "istio-proxy";

/// One container as its programs see it.
#[derive(Clone)]
pub struct Machine {
    pub pod: Arc<Value>,
    /// The container in the pod's spec.
    pub container: Value,
    pub containers: Containers,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub enum NoFile {
    Directory,
    Missing,
    NotModelled(NotModelled),
}

impl Machine {
    pub fn text(&self, pointer: &str) -> &str {
        let found = self.pod.pointer(pointer);
        found.and_then(Value::as_str).unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.container["name"].as_str().unwrap_or_default()
    }

    pub fn is_proxy(&self) -> bool {
        self.name() == PROXY
    }

    pub fn hostname(&self) -> &str {
        let wanted = self.text("/spec/hostname");
        if wanted.is_empty() {
            self.text("/metadata/name")
        } else {
            wanted
        }
    }

    fn data(&self, resource: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let object =
            self.containers
                .kube()
                .get(resource, self.text("/metadata/namespace"), name)?;
        let entries = |field: &str| {
            let map = object[field].as_object().into_iter().flatten();
            map.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                .collect::<Vec<_>>()
        };
        let mut data = BTreeMap::new();
        for (key, text) in entries("data") {
            let bytes = if resource == "secrets" {
                STANDARD.decode(text).unwrap_or_default()
            } else {
                text.into_bytes()
            };
            data.insert(key, bytes);
        }
        for (key, text) in entries("binaryData") {
            data.insert(key, STANDARD.decode(text).unwrap_or_default());
        }
        Some(data)
    }

    /// The environment that the container was started with.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::from([
            ("HOSTNAME".to_owned(), self.hostname().to_owned()),
            (
                "PATH".to_owned(),
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ),
        ]);
        let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
        for from in self.container["envFrom"].as_array().into_iter().flatten() {
            let (resource, source) = if from["secretRef"].is_object() {
                ("secrets", &from["secretRef"])
            } else {
                ("configmaps", &from["configMapRef"])
            };
            for (key, value) in self
                .data(resource, &text(source, "name"))
                .into_iter()
                .flatten()
            {
                let value = String::from_utf8_lossy(&value).into_owned();
                env.insert(format!("{}{key}", text(from, "prefix")), value);
            }
        }
        for entry in self.container["env"].as_array().into_iter().flatten() {
            let value = match entry.get("valueFrom").filter(|v| v.is_object()) {
                Some(from) => self.value_from(from),
                None => expanded(&text(entry, "value"), &env),
            };
            env.insert(text(entry, "name"), value);
        }
        env
    }

    fn value_from(&self, from: &Value) -> String {
        let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
        for (field, resource) in [
            ("configMapKeyRef", "configmaps"),
            ("secretKeyRef", "secrets"),
        ] {
            if let Some(source) = from.get(field) {
                let data = self.data(resource, &text(source, "name"));
                let value = data.and_then(|d| d.get(&text(source, "key")).cloned());
                return String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
            }
        }
        let path = text(&from["fieldRef"], "fieldPath");
        if let Some((field, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
            let map = self.pod.pointer(&format!("/{}", field.replace('.', "/")));
            let map = map.unwrap_or(&Value::Null);
            return map[key].as_str().unwrap_or_default().to_owned();
        }
        self.text(&format!("/{}", path.replace('.', "/")))
            .to_owned()
    }

    /// A file's bytes.
    pub fn file(&self, path: &str) -> Result<Vec<u8>, NoFile> {
        if path == "/dev/null" {
            return Ok(Vec::new());
        }
        if path == "/etc/hostname" {
            return Ok(format!("{}\n", self.hostname()).into_bytes());
        }
        if path == "/nonexistent" || path.starts_with("/nonexistent/") {
            return Err(NoFile::Missing);
        }
        let mounts = self.container["volumeMounts"]
            .as_array()
            .into_iter()
            .flatten();
        for mount in mounts {
            let place = mount["mountPath"].as_str().unwrap_or_default();
            let place = place.trim_end_matches('/');
            let sub = mount["subPath"].as_str();
            let inside = match (path.strip_prefix(place), sub) {
                (Some(""), Some(sub)) => sub,
                (Some(""), None) => return Err(NoFile::Directory),
                (Some(rest), None) if rest.starts_with('/') => rest.trim_start_matches('/'),
                _ => continue,
            };
            let name = mount["name"].as_str().unwrap_or_default();
            return self.in_volume(name, inside);
        }
        Err(NoFile::NotModelled(NotModelled(format!(
            "the file {path} of an image"
        ))))
    }

    fn in_volume(&self, name: &str, inside: &str) -> Result<Vec<u8>, NoFile> {
        let volumes = self.pod["spec"]["volumes"].as_array().into_iter().flatten();
        let volume = volumes
            .filter(|v| v["name"] == name)
            .find(|v| v["configMap"].is_object() || v["secret"].is_object())
            .ok_or_else(|| {
                NoFile::NotModelled(NotModelled(format!(
                    "files of the volume {name}, which is neither of a ConfigMap nor of a Secret"
                )))
            })?;
        let (resource, source, field) = if volume["secret"].is_object() {
            ("secrets", &volume["secret"], "secretName")
        } else {
            ("configmaps", &volume["configMap"], "name")
        };
        let data = self
            .data(resource, source[field].as_str().unwrap_or_default())
            .unwrap_or_default();
        let key = match source["items"].as_array() {
            None => inside,
            Some(items) => items
                .iter()
                .find(|i| i["path"] == inside)
                .and_then(|i| i["key"].as_str())
                .ok_or(NoFile::Missing)?,
        };
        data.get(key).cloned().ok_or(NoFile::Missing)
    }

    /// Asks a port of the own pod by HTTP: status and body.
    ///
    /// # Errors
    /// Nobody listens there, or what answers is no HTTP.
    pub async fn get(&self, port: u16, path: &str) -> Result<(u16, Bytes), String> {
        let stream = self.containers.port(&self.pod, port).await?;
        let broken = |e: hyper::Error| e.to_string();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let request = http::Request::get(path)
            .header(http::header::HOST, format!("localhost:{port}"))
            .body(Empty::<Bytes>::new())
            .map_err(|e| e.to_string())?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer.map_err(broken),
            ended = connection => match ended {
                Err(error) => Err(broken(error)),
                Ok(()) => exchange.await.map_err(broken),
            },
        }
    }
}

/// A value with `$(NAME)` replaced by what was set before it, as Kubernetes does.
pub fn expanded(value: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let named = rest.strip_prefix('(').and_then(|r| r.split_once(')'));
        match named.and_then(|(name, after)| Some((env.get(name)?, after))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out + rest
}

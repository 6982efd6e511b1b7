//! An API server that is small, has a behaviour, and can be made to lose answers.
//!
//! It keeps objects by their path, numbers them, honours UIDs and merge patches, and does to each
//! request what the test's plan says. The twin is the server for everything above this room; this
//! one exists because a test of lost answers must decide at which byte an answer is lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::merge;
use super::super::{Cluster, ClusterError, Target};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
}

impl Seen {
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// The `managedFields` of an object that this request makes.
    fn managers(&self, operation: &str) -> Value {
        let manager = self.target.split_once("fieldManager=").unwrap().1;
        let manager = manager.split('&').next().unwrap();
        json!([{"manager": manager, "operation": operation}])
    }
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It is carried out and answered.
    Answer,
    /// It is carried out; the connection ends before the answer.
    LoseAnswer,
    /// The connection ends before it is carried out.
    LoseRequest,
    /// It is answered with this instead, and not carried out.
    Instead(u16, Value),
    /// As `Instead`, in plain text and with a header.
    Text(u16, &'static str, &'static str),
    /// Nothing happens for so long; then it is carried out and answered.
    Late(Duration),
}

type Plan = Box<dyn Fn(&Seen) -> Fate + Send + Sync>;

pub(super) struct Shared {
    pub(super) objects: Mutex<BTreeMap<String, Value>>,
    pub(super) seen: Mutex<Vec<Seen>>,
    /// Fates of the next mutations, in order; then all are answered.
    pub(super) next: Mutex<VecDeque<Fate>>,
    plan: Plan,
    version: Mutex<u64>,
    aggregated: bool,
    pub(super) pod: Mutex<Option<super::pods::Pod>>,
}

pub(super) struct Server {
    pub(super) shared: Arc<Shared>,
    pub(super) url: String,
    dir: tempfile::TempDir,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::planned(|_| Fate::Answer).await
    }

    pub(super) async fn planned(plan: impl Fn(&Seen) -> Fate + Send + Sync + 'static) -> Self {
        Self::with(Box::new(plan), true).await
    }

    /// One that knows only the old form of discovery.
    pub(super) async fn old() -> Self {
        Self::with(Box::new(|_| Fate::Answer), false).await
    }

    async fn with(plan: Plan, aggregated: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            objects: Mutex::default(),
            seen: Mutex::default(),
            next: Mutex::default(),
            plan,
            version: Mutex::new(100),
            aggregated,
            pod: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        let dir = tempfile::tempdir().unwrap();
        Self { shared, url, dir }
    }

    pub(super) fn target(&self) -> Target {
        let path = self.dir.path().join("kubeconfig");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": "secret-token"}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        });
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        Target {
            kubeconfig: Some(path),
            ..Target::default()
        }
    }

    pub(super) async fn try_connect(&self) -> Result<Cluster, ClusterError> {
        Cluster::connect(&self.target()).await
    }

    /// A connection; what it took to make it is forgotten.
    pub(super) async fn connect(&self) -> Cluster {
        let cluster = self.try_connect().await.unwrap();
        cluster.kind("pods").await.unwrap();
        self.shared.seen.lock().unwrap().clear();
        cluster
    }

    pub(super) fn put(&self, path: &str, object: Value) {
        let mut objects = self.shared.objects.lock().unwrap();
        let mut stored = self.shared.number(path, object, true);
        if let Some(before) = objects.get(path) {
            stored["metadata"]["uid"] = before["metadata"]["uid"].clone();
        }
        objects.insert(path.to_owned(), stored);
    }

    pub(super) fn at(&self, path: &str) -> Option<Value> {
        self.shared.objects.lock().unwrap().get(path).cloned()
    }

    pub(super) fn remove(&self, path: &str) {
        self.shared.objects.lock().unwrap().remove(path);
    }

    pub(super) fn fates(&self, fates: impl IntoIterator<Item = Fate>) {
        self.shared.next.lock().unwrap().extend(fates);
    }

    /// The requests so far, as `METHOD path`, without discovery.
    pub(super) fn log(&self) -> Vec<String> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter()
            .filter(|s| !is_discovery(s.path()))
            .map(|s| format!("{} {}", s.method, s.path()))
            .collect()
    }

    /// The requests of a method as they arrived.
    pub(super) fn sent(&self, method: &str) -> Vec<Seen> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter()
            .filter(|s| s.method == method)
            .cloned()
            .collect()
    }

    pub(super) fn bodies(&self, method: &str) -> Vec<Value> {
        let seen = self.shared.seen.lock().unwrap();
        let matching = seen.iter().filter(|s| s.method == method);
        matching.map(|s| s.body.clone()).collect()
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(seen) = read_request(&mut stream, &mut buffer).await {
            self.seen.lock().unwrap().push(seen.clone());
            if seen.headers.contains_key("sec-websocket-key") {
                let pod = self.pod.lock().unwrap().clone();
                if let Some(pod) = pod {
                    return super::pods::serve(stream, &seen, pod).await;
                }
                let name = seen.path().rsplit('/').nth(1).unwrap().to_owned();
                write(&mut stream, 404, "", &not_found("pods", &name)).await;
                continue;
            }
            let mutating = seen.method != "GET" && !seen.path().contains("accessreview");
            let mut fate = (self.plan)(&seen);
            if mutating && let Some(next) = self.next.lock().unwrap().pop_front() {
                fate = next;
            }
            match fate {
                Fate::LoseRequest => return,
                Fate::LoseAnswer => {
                    self.carry_out(&seen);
                    return;
                }
                Fate::Instead(code, value) => write(&mut stream, code, "", &value).await,
                Fate::Text(code, header, text) => {
                    let head = format!(
                        "HTTP/1.1 {code} X\r\n{header}content-length: {}\r\n\r\n",
                        text.len()
                    );
                    stream.write_all(head.as_bytes()).await.ok();
                    stream.write_all(text.as_bytes()).await.ok();
                }
                Fate::Late(time) => {
                    tokio::time::sleep(time).await;
                    let (code, value) = self.carry_out(&seen);
                    write(&mut stream, code, "", &value).await;
                }
                Fate::Answer => {
                    let (code, value) = self.carry_out(&seen);
                    write(&mut stream, code, "", &value).await;
                }
            }
        }
    }

    fn number(&self, path: &str, mut object: Value, new: bool) -> Value {
        let mut version = self.version.lock().unwrap();
        *version += 1;
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if new {
            metadata["uid"] = json!(format!("uid-{version}"));
            metadata["name"] = json!(path.rsplit('/').next().unwrap());
        }
        if let Some((_, rest)) = path.split_once("/namespaces/")
            && let Some((namespace, _)) = rest.split_once('/')
        {
            metadata["namespace"] = json!(namespace);
        }
        merge::merge(&mut object, &json!({ "metadata": metadata }));
        object
    }

    fn carry_out(&self, seen: &Seen) -> (u16, Value) {
        let path = seen.path();
        if let Some(answer) = discovery(path, self.aggregated) {
            return (200, answer);
        }
        let mut objects = self.objects.lock().unwrap();
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (kind, name) = (segments[segments.len() - 2], segments[segments.len() - 1]);
        match seen.method.as_str() {
            "GET" if is_collection(name) => {
                let items: Vec<Value> = objects
                    .iter()
                    .filter(|(p, _)| p.rsplit_once('/').unwrap().0 == path)
                    .map(|(_, o)| o.clone())
                    .collect();
                (200, json!({"kind": "List", "metadata": {}, "items": items}))
            }
            "GET" => match objects.get(path) {
                Some(object) => (200, object.clone()),
                None => (404, not_found(kind, name)),
            },
            "POST" => {
                let name = seen.body["metadata"]["name"]
                    .as_str()
                    .unwrap_or("generated");
                let path = format!("{path}/{name}");
                if objects.contains_key(&path) {
                    let message = format!("{kind} \"{name}\" already exists");
                    return (409, status(409, "AlreadyExists", &message, name));
                }
                let mut object = self.number(&path, seen.body.clone(), true);
                object["metadata"]["managedFields"] = seen.managers("Update");
                objects.insert(path, object.clone());
                (201, object)
            }
            "PATCH" => {
                let applies = seen.headers["content-type"] == "application/apply-patch+yaml";
                let dry_run = seen.target.contains("dryRun=All");
                let Some(object) = objects.get(path) else {
                    if !applies {
                        return (404, not_found(kind, name));
                    }
                    let mut object = self.number(path, seen.body.clone(), true);
                    object["metadata"]["managedFields"] = seen.managers("Apply");
                    if !dry_run {
                        objects.insert(path.to_owned(), object.clone());
                    }
                    return (201, object);
                };
                let version = &seen.body["metadata"]["resourceVersion"];
                if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
                    let message = "the object has been modified";
                    return (409, status(409, "Conflict", message, name));
                }
                let uid = &seen.body["metadata"]["uid"];
                if !uid.is_null() && *uid != object["metadata"]["uid"] {
                    return (
                        409,
                        status(409, "Conflict", "Precondition failed: UID", name),
                    );
                }
                let mut after = object.clone();
                merge::merge(&mut after, &seen.body);
                if after != *object && !dry_run {
                    after = self.number(path, after, false);
                    objects.insert(path.to_owned(), after.clone());
                }
                (200, after)
            }
            "DELETE" => {
                let Some(object) = objects.get(path) else {
                    return (404, not_found(kind, name));
                };
                let uid = &seen.body["preconditions"]["uid"];
                if !uid.is_null() && *uid != object["metadata"]["uid"] {
                    let message = "the UID in the precondition does not match";
                    return (409, status(409, "Conflict", message, name));
                }
                if object["metadata"]["finalizers"].is_array() {
                    let mut object = object.clone();
                    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                    objects.insert(path.to_owned(), object.clone());
                    return (200, object);
                }
                objects.remove(path);
                (200, json!({"kind": "Status", "status": "Success"}))
            }
            _ => (405, json!({})),
        }
    }
}

fn is_collection(name: &str) -> bool {
    [
        "pods",
        "configmaps",
        "events",
        "namespaces",
        "deployments",
        "replicasets",
        "secrets",
    ]
    .contains(&name)
}

fn is_discovery(path: &str) -> bool {
    discovery(path, true).is_some() || discovery(path, false).is_some()
}

pub(super) fn status(code: u16, reason: &str, message: &str, name: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": message, "details": {"name": name, "kind": "things"}})
}

pub(super) fn not_found(kind: &str, name: &str) -> Value {
    let message = format!("{kind} \"{name}\" not found");
    let mut status = status(404, "NotFound", &message, name);
    status["details"]["kind"] = kind.into();
    status
}

const KINDS: &[(&str, &str, &str, &str, bool)] = &[
    ("", "Pod", "pods", "po", true),
    ("", "ConfigMap", "configmaps", "cm", true),
    ("", "Secret", "secrets", "", true),
    ("", "Event", "events", "ev", true),
    ("", "Namespace", "namespaces", "ns", false),
    (
        "",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        "pvc",
        true,
    ),
    ("apps", "Deployment", "deployments", "deploy", true),
    ("apps", "ReplicaSet", "replicasets", "rs", true),
];

fn discovery(path: &str, aggregated: bool) -> Option<Value> {
    let of = |group: &str| {
        KINDS
            .iter()
            .filter(move |k| k.0 == group)
            .collect::<Vec<_>>()
    };
    let group = match path {
        "/version" => {
            return Some(json!({"gitVersion": "v1.34.4", "platform": "linux/amd64"}));
        }
        "/api" if aggregated => "",
        "/apis" if aggregated => "apps",
        "/api" => return Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        "/apis" => {
            return Some(json!({"kind": "APIGroupList", "groups": [
                {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                 "preferredVersion": {"groupVersion": "apps/v1"}},
                {"name": "down", "versions": [{"groupVersion": "down/v1", "version": "v1"}],
                 "preferredVersion": {"groupVersion": "down/v1"}},
            ]}));
        }
        "/api/v1" | "/apis/apps/v1" => {
            let group = if path == "/api/v1" { "" } else { "apps" };
            let resources: Vec<Value> = of(group)
                .iter()
                .map(|(_, kind, plural, short, namespaced)| {
                    json!({"name": plural, "singularName": "", "kind": kind,
                        "namespaced": namespaced, "shortNames": [short]})
                })
                .chain([json!({"name": "pods/log", "kind": "Pod"})])
                .collect();
            return Some(json!({"kind": "APIResourceList", "resources": resources}));
        }
        _ => return None,
    };
    let resources: Vec<Value> = of(group)
        .iter()
        .map(|(_, kind, plural, short, namespaced)| {
            json!({"resource": plural, "singularResource": kind.to_lowercase(),
                "responseKind": {"kind": kind}, "shortNames": [short],
                "scope": if *namespaced { "Namespaced" } else { "Cluster" }})
        })
        .collect();
    Some(json!({"kind": "APIGroupDiscoveryList", "items": [{
        "metadata": {"name": group}, "versions": [{"version": "v1", "resources": resources}],
    }]}))
}

async fn write(stream: &mut TcpStream, code: u16, header: &str, value: &Value) {
    let body = value.to_string();
    let answer = format!(
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\n{header}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.ok();
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        let read = stream.read_buf(buffer).await.ok()?;
        if read == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(k, v)| (k.to_lowercase(), v.trim().to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .and_then(|l| l.parse().ok())
        .unwrap_or(0);
    while buffer.len() < head_end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_end..head_end + length].to_vec();
    buffer.drain(..head_end + length);
    Some(Seen {
        method,
        target,
        headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}

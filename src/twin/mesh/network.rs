//! What listens on the ports of pods: Envoy's admin endpoint, and its faults.

use std::convert::Infallible;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::config::{meta, text_at};
use super::envoy::traffic::{self, Gauges};
use super::envoy::{Answer, Envoy};
use super::world::World;
use super::{Mesh, is_visited};
use crate::twin::scenario::{AdminMode, HELD_CONNECTIONS};
use crate::twin::server::PodNetwork;

const BUFFER: usize = 64 * 1024;

impl PodNetwork for Mesh {
    fn connect<'a>(
        &'a self,
        pod: &'a Value,
        port: u16,
    ) -> BoxFuture<'a, Result<DuplexStream, String>> {
        Box::pin(async move {
            let uid = meta(pod, "uid").to_owned();
            let listens = self
                .state()
                .proxies
                .get(&uid)
                .is_some_and(|proxy| proxy.admin_port() == port);
            let fault = self.admin_fault(meta(pod, "namespace"), meta(pod, "name"));
            if !listens || fault == Some(AdminMode::Refuse) {
                return Err("connect: connection refused".to_owned());
            }
            let (near, far) = duplex(BUFFER);
            let mesh = self.clone();
            self.spawn(async move { mesh.serve_admin(&uid, far, fault).await });
            Ok(near)
        })
    }
}

impl Mesh {
    /// Serves one connection until the other side closes it, or the pod is gone.
    async fn serve_admin(&self, uid: &str, mut stream: DuplexStream, fault: Option<AdminMode>) {
        match fault {
            Some(AdminMode::Hang) => {
                let mut unread = [0; 1024];
                while matches!(stream.read(&mut unread).await, Ok(1..)) {}
            }
            Some(AdminMode::Truncate) => self.serve_truncated(uid, stream).await,
            Some(AdminMode::Refuse) | None => {
                let service = service_fn(|request: Request<Incoming>| async move {
                    let (path, query) = (request.uri().path(), request.uri().query());
                    let answer = match (request.method(), path) {
                        (&Method::POST, "/healthcheck/fail") => self.drain(uid, true),
                        (&Method::POST, "/healthcheck/ok") => self.drain(uid, false),
                        _ => self.admin_answer(uid, path, query),
                    };
                    Ok::<_, Infallible>(response(answer))
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                // A client that goes away in the middle is no event.
                let _ = connection.await;
            }
        }
    }

    /// Announces a whole body and closes after half of it.
    async fn serve_truncated(&self, uid: &str, mut stream: DuplexStream) {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let target = String::from_utf8_lossy(&head)
            .split(' ')
            .nth(1)
            .unwrap_or("/")
            .to_owned();
        let (path, query) = target
            .split_once('?')
            .map_or((target.as_str(), None), |(p, q)| (p, Some(q)));
        let answer = self.admin_answer(uid, path, query);
        let body = answer.body.as_bytes();
        let head = format!(
            "HTTP/1.1 {} OK\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            answer.status,
            answer.content_type,
            body.len()
        );
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&body[..body.len() / 2]).await;
        let _ = stream.shutdown().await;
    }

    pub(super) fn drain(&self, uid: &str, on: bool) -> Answer {
        match self.state().proxies.get_mut(uid) {
            Some(proxy) => proxy.draining = on,
            None => return Answer::gone(),
        }
        Answer::ok()
    }

    /// Brings the gauges of all Envoys' servers up to date; a real one does that at a time of its own.
    pub(super) fn flush(&self) {
        let world = World::look(&self.0.kube);
        let mut state = self.state();
        let mut flushed = Vec::new();
        for pod in &world.pods {
            let uid = meta(pod, "uid");
            let Some(proxy) = state.proxies.get(uid) else {
                continue;
            };
            let held = text_at(pod, "annotations", HELD_CONNECTIONS)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            let visited = proxy.gateway && is_visited(&world, &state, pod, proxy);
            let gauges = Gauges {
                state: traffic::state(proxy.draining, proxy.pushed.is_some()).1,
                connections: held + u64::from(visited),
            };
            if gauges != proxy.gauges {
                flushed.push((uid, gauges));
            }
        }
        for (uid, gauges) in flushed {
            if let Some(proxy) = state.proxies.get_mut(uid) {
                proxy.gauges = gauges;
            }
        }
    }

    pub(super) fn admin_answer(&self, uid: &str, path: &str, query: Option<&str>) -> Answer {
        let state = self.state();
        let Some(proxy) = state.proxies.get(uid) else {
            return Answer::gone();
        };
        // Address and labels are of now, not of when the containers started.
        let pod = self.0.kube.get(
            "pods",
            meta(&proxy.pod, "namespace"),
            meta(&proxy.pod, "name"),
        );
        let pod = pod
            .as_deref()
            .filter(|pod| meta(pod, "uid") == uid)
            .unwrap_or(&proxy.pod);
        let envoy = Envoy {
            pod,
            gateway: proxy.gateway,
            proxy_config: &proxy.config,
            chain: proxy.chain.as_ref(),
            roots: proxy.roots.as_ref(),
            pushed: proxy
                .pushed
                .as_ref()
                .map(|(pushed, at)| (pushed.as_ref(), *at)),
            started: proxy.started,
            counters: &proxy.counters,
            passed: &proxy.passed,
            gauges: proxy.gauges,
            draining: proxy.draining,
        };
        envoy.answer(path, query)
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = http::StatusCode::from_u16(answer.status)
        .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = http::HeaderValue::from_static(answer.content_type);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(
        http::header::SERVER,
        http::HeaderValue::from_static("envoy"),
    );
    response
}

//! Paths under `/twin/`: what is not part of Kubernetes and is needed from another process.
//!
//! `GET /twin/traffic`: figures of the prober as JSON. `GET /twin/meshca`: the throw-away root of the new CA
//! as PEM. `GET /twin/package`: how the package of this twin's `asmcli` differs from others.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::json;

use super::asmcli::package::PackageParams;
use super::mesh::Prober;
use super::server::ExtraRoutes;

/// Answers from the mesh.
pub(super) struct Routes {
    pub(super) prober: Arc<Prober>,
    pub(super) mesh_ca_root: String,
    pub(super) package: PackageParams,
}

impl ExtraRoutes for Routes {
    fn answer(&self, request: Request<Bytes>) -> BoxFuture<'_, Response<Bytes>> {
        Box::pin(async move {
            if request.method() != Method::GET {
                return answer(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "text/plain",
                    "only GET\n".to_owned(),
                );
            }
            let json = |value: serde_json::Value| {
                answer(StatusCode::OK, "application/json", format!("{value:#}\n"))
            };
            match request.uri().path() {
                "/twin/traffic" => json(json!(self.prober.total())),
                "/twin/meshca" => answer(
                    StatusCode::OK,
                    "application/x-pem-file",
                    self.mesh_ca_root.clone(),
                ),
                "/twin/package" => json(json!(self.package)),
                _ => answer(
                    StatusCode::NOT_FOUND,
                    "text/plain",
                    "not found: /twin/traffic, /twin/meshca, /twin/package\n".to_owned(),
                ),
            }
        })
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

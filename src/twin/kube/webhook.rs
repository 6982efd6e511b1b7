//! What answers admission webhooks: the mesh inside the twin.

use futures::future::BoxFuture;
use serde_json::Value;

/// `clientConfig.service` of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceRef {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// URL path, `/inject`.
    pub path: String,
    /// Port of the Service; 443 unless given.
    pub port: u16,
}

/// The `response` of an AdmissionReview.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdmissionAnswer {
    /// Whether the object may be written.
    pub allowed: bool,
    /// The whole object as the webhook wants it; `None` leaves it as it is.
    pub patch: Option<Value>,
    /// Why it is not allowed; may be empty.
    pub message: String,
}

/// Answers the calls that the API server makes to Services.
pub trait WebhookBackend: Send + Sync {
    /// Calls a webhook. `review` is the AdmissionReview with its `request`.
    ///
    /// # Errors
    /// The text of a failed connection or call, as Go's HTTP client words it (`connection refused`).
    fn call<'a>(
        &'a self,
        service: &'a ServiceRef,
        review: &'a Value,
    ) -> BoxFuture<'a, Result<AdmissionAnswer, String>>;
}

//! Server-side apply.

use super::super::kube::{Part, Status};
use super::body::WriteWish;
use super::objects::Ask;
use super::reply::Reply;

/// Answers an apply patch.
///
/// # Errors
/// As an API server refuses it.
pub async fn answer(_ask: &Ask<'_>, _part: Part, _wish: &WriteWish) -> Result<Reply, Status> {
    std::future::ready(()).await;
    Err(Status::not_modelled("server-side apply"))
}

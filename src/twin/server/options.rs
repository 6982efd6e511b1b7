//! What may be asked of a list and of a watch together (`ValidateListOptions` of `k8s.io/apimachinery`).

use super::super::kube::{Cause, Status};
use super::path::Query;

const MATCH: &str = "resourceVersionMatch";
const EXACT: &str = "Exact";
const NOT_OLDER: &str = "NotOlderThan";

/// # Errors
/// 422: the parameters of a list contradict each other.
pub fn check_list(query: &Query) -> Result<(), Status> {
    let (matching, version) = (query.get(MATCH), query.get("resourceVersion"));
    let mut causes = Vec::new();
    if !matching.is_empty() {
        if version.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            causes.push(Cause::forbidden(MATCH, why));
        }
        causes.extend(with_continue(query));
        if ![EXACT, NOT_OLDER].contains(&matching) {
            causes.push(Cause::unsupported(
                MATCH,
                format!("\"{matching}\""),
                &[EXACT, NOT_OLDER, ""],
            ));
        }
        if matching == EXACT && version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(Cause::forbidden(MATCH, why));
        }
    }
    if query.has("sendInitialEvents") {
        let why = "sendInitialEvents is forbidden for list";
        causes.push(Cause::forbidden("sendInitialEvents", why));
    }
    refuse(&causes)
}

/// # Errors
/// 422: the parameters of a watch contradict each other.
pub fn check_watch(query: &Query) -> Result<(), Status> {
    let matching = query.get(MATCH);
    let initial = query.has("sendInitialEvents");
    let mut causes = Vec::new();
    if initial && matching != NOT_OLDER {
        let why = format!("sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER}");
        causes.push(Cause::forbidden(MATCH, &why));
    }
    if !matching.is_empty() {
        if !initial {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            causes.push(Cause::forbidden(MATCH, why));
        }
        if matching != NOT_OLDER {
            causes.push(Cause::unsupported(
                MATCH,
                format!("\"{matching}\""),
                &[NOT_OLDER],
            ));
        }
        causes.extend(with_continue(query));
    }
    refuse(&causes)
}

fn with_continue(query: &Query) -> Option<Cause> {
    let why = "resourceVersionMatch is forbidden when continue is provided";
    (!query.get("continue").is_empty()).then(|| Cause::forbidden(MATCH, why))
}

fn refuse(causes: &[Cause]) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid("meta.k8s.io", "ListOptions", "", causes))
}

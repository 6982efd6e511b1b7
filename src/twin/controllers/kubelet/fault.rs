//! Faults that a pod asks for by annotation, so that a rehearsal can have a rollout that hangs.

use serde_json::Value;

use super::super::objects::annotation;

/// The annotation, on the pod (usually through its template).
pub const ANNOTATION: &str = "twin.rootshift.dev/fault";

/// What is wrong with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `crash`: its containers end with an error soon after they started, again and again.
    Crash,
    /// `image`: its images cannot be pulled.
    Image,
    /// `not-ready`: its containers run, their readiness probe fails. Taken back when the annotation goes.
    NotReady,
}

/// The fault that a pod asks for. An unknown one is none.
pub fn of(pod: &Value) -> Option<Fault> {
    match annotation(pod, ANNOTATION)? {
        "crash" => Some(Fault::Crash),
        "image" => Some(Fault::Image),
        "not-ready" => Some(Fault::NotReady),
        _ => None,
    }
}

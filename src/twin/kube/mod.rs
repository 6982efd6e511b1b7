//! The twin's kube.

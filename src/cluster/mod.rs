//! Kubernetes through `kube`.

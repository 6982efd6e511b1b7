//! Evaluates Rhai; knows no Kubernetes and no certificates.

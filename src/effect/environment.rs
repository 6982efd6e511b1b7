//! What the process's environment says about clusters.

use std::path::PathBuf;

/// `$NO_PROXY`, or `$no_proxy`: hosts that are reached directly, separated by commas.
pub fn no_proxy() -> Option<String> {
    ["NO_PROXY", "no_proxy"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
}

/// The files of `$KUBECONFIG`, else `~/.kube/config`; none when there is no home either.
pub fn kubeconfigs() -> Vec<PathBuf> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&listed)
        .filter(|p| !p.as_os_str().is_empty())
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    let home = std::env::home_dir();
    home.map(|home| home.join(".kube").join("config"))
        .into_iter()
        .collect()
}

/// The proxy for addresses that begin with this scheme: `$HTTPS_PROXY` or `$HTTP_PROXY`, or in small
/// letters.
pub fn proxy(scheme: &str) -> Option<String> {
    let name = format!("{}_PROXY", scheme.to_uppercase());
    [name.to_lowercase(), name]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
}

/// Whether this is inside a pod: `$KUBERNETES_SERVICE_HOST` is set.
pub fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|v| !v.is_empty())
}

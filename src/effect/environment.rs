//! What the process's environment says about clusters.

use std::path::PathBuf;

/// The kubeconfig that kubectl would use: the one file of `$KUBECONFIG`, else `~/.kube/config`.
/// `None` when `$KUBECONFIG` lists several files (then no single one is it), or there is no home.
pub fn kubeconfig() -> Option<PathBuf> {
    match std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty()) {
        Some(list) => {
            let mut paths = std::env::split_paths(&list).filter(|p| !p.as_os_str().is_empty());
            let first = paths.next()?;
            paths.next().is_none().then_some(first)
        }
        None => Some(std::env::home_dir()?.join(".kube").join("config")),
    }
}

/// `$NO_PROXY`, or `$no_proxy`: hosts that are reached directly, separated by commas.
pub fn no_proxy() -> Option<String> {
    ["NO_PROXY", "no_proxy"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
}

/// The files of `$KUBECONFIG`, else `~/.kube/config`; none when there is no home either.
pub fn kubeconfigs() -> Vec<PathBuf> {
    let listed: Vec<PathBuf> = std::env::var_os("KUBECONFIG")
        .map(|list| std::env::split_paths(&list).collect())
        .unwrap_or_default();
    let listed: Vec<PathBuf> = listed
        .into_iter()
        .filter(|p| !p.as_os_str().is_empty())
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    kubeconfig().into_iter().collect()
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

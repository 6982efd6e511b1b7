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

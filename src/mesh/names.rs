//! Names, ports and paths that Istio fixes. Sources: istio/istio `pkg/kube/inject`,
//! `manifests/charts/istio-control/istio-discovery`, Envoy's admin interface.

/// Namespace of the control plane (`rootNamespace`); also ASM's.
pub const ISTIO_SYSTEM: &str = "istio-system";
/// Container of the proxy, in `containers` or (native sidecars) in `initContainers`.
pub const PROXY_CONTAINER: &str = "istio-proxy";
/// Label that selects a revision, on namespaces, pods and on a revision's own objects.
pub const REV: &str = "istio.io/rev";
/// The older injection label of namespaces; wins over [`REV`] when both are present.
pub const INJECTION: &str = "istio-injection";
/// Label (older: annotation) of a pod that asks for injection or declines it.
pub const INJECT: &str = "sidecar.istio.io/inject";
/// Marks a webhook configuration that belongs to a revision tag.
pub const TAG: &str = "istio.io/tag";
/// Annotation that the injector leaves: JSON with `revision`, `containers`, `initContainers`.
pub const STATUS: &str = "sidecar.istio.io/status";
/// Annotation that chooses the injection template; `gateway` makes a gateway.
pub const TEMPLATES: &str = "inject.istio.io/templates";
/// Annotation by which a pod changes its own proxy's configuration.
pub const PROXY_CONFIG: &str = "proxy.istio.io/config";
/// Annotation of pods whose traffic is redirected to ztunnel.
pub const AMBIENT: &str = "ambient.istio.io/redirection";
/// Envoy's admin port unless `proxyAdminPort` says otherwise.
pub const ADMIN_PORT: u16 = 15000;
/// SDS name of a workload's own certificate.
pub const SDS_DEFAULT: &str = "default";
/// SDS name of the mesh trust bundle.
pub const SDS_ROOT: &str = "ROOTCA";
/// The dump of the secrets only; Envoy ≥ 1.20 honours the mask, istioctl uses it since 1.25.
pub const SECRETS_MASKED: &str = "/config_dump?mask=dynamic_active_secrets,dynamic_warming_secrets";
/// The dump of what matches clients. Envoy answers 400 to a mask of fields of two sections (seen on
/// 1.40), so listeners and clusters are two requests.
pub const LISTENERS_MASKED: &str = "/config_dump?mask=dynamic_listeners,static_listeners";
/// The dump of what matches servers.
pub const CLUSTERS_MASKED: &str = "/config_dump?mask=dynamic_active_clusters";
/// Everything, for an Envoy that refuses or ignores the mask.
pub const PLAIN_DUMP: &str = "/config_dump";
/// The TLS counters that say or may say that a certificate was refused, zeros included. The filter is a regular expression
/// that may match anywhere in a name.
pub const TLS_STATS: &str = "/stats?format=json&filter=.ssl.(fail_verify_%7Cconnection_error)";
/// Each cluster's endpoints with their counters, which are kept whatever `proxyStatsMatcher` says.
pub const ENDPOINTS: &str = "/clusters?format=json";
/// State and number of open connections, of one and the same moment.
pub const SERVER_STATS: &str =
    "/stats?format=json&filter=%5Eserver%5C.(state%7Ctotal_connections)%24";
/// The state of this moment.
pub const SERVER_INFO: &str = "/server_info";
/// Has Envoy drain; POST alone.
pub const DRAIN: &str = "/healthcheck/fail";
/// Has it serve again; POST alone.
pub const UNDRAIN: &str = "/healthcheck/ok";
/// ConfigMap with the root by which agents verify istiod, one per namespace.
pub const ROOT_CONFIG_MAP: &str = "istio-ca-root-cert";
/// Secret of a plugged-in CA; wins over [`CA_SECRET`] when complete.
pub const CACERTS: &str = "cacerts";
/// Secret of the self-signed CA.
pub const CA_SECRET: &str = "istio-ca-secret";
/// Namespaces into which the injector never injects (`IgnoredNamespaces`).
pub const IGNORED: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];
/// The name under which the CA of the running istiod goes.
pub const CITADEL: &str = "CITADEL";
/// The name under which Google's Mesh CA goes.
pub const MESHCA: &str = "MESHCA";

/// The hosts at which Mesh CA is asked (`CA_ADDR`): Google's, and a Service of the cluster that stands in for it, since
/// upstream's agent has no client for Google's any more.
pub const MESHCA_HOSTS: [&str; 2] = ["meshca.googleapis.com", "meshca.meshca.svc"];

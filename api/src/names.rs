//! Labels, annotations, containers, volumes and environment variables, with Istio's names.

/// Label on a namespace: `enabled` injects each new pod.
pub const INJECTION_LABEL: &str = "istio-injection";
/// Label or annotation on a pod: `true` or `false`; the label is stronger.
pub const INJECT: &str = "sidecar.istio.io/inject";
/// Annotation that the webhook leaves: what it added, as JSON.
pub const STATUS: &str = "sidecar.istio.io/status";
/// Annotation that the webhook leaves: containers that the pod's author wrote under the names of the
/// injected ones, as JSON. What they say is stronger.
pub const OVERRIDES: &str = "proxy.istio.io/overrides";
/// Annotation and namespace label: the revision of the mesh.
pub const REVISION: &str = "istio.io/rev";
/// The revision of an installation that names none.
pub const DEFAULT_REVISION: &str = "default";

/// Label: the workload's service name in metrics, whatever object it runs under.
pub const CANONICAL_NAME_LABEL: &str = "service.istio.io/canonical-name";
/// Label: the workload's version in metrics.
pub const CANONICAL_REVISION_LABEL: &str = "service.istio.io/canonical-revision";
/// Label: the network that the pod's address belongs to.
pub const NETWORK_LABEL: &str = "topology.istio.io/network";
/// Annotation: the networks that Multus attaches to the pod.
pub const MULTUS_NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// Annotation: the container that `kubectl exec` takes when none is named.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Annotation: the container that `kubectl logs` takes when none is named.
pub const DEFAULT_LOGS_CONTAINER: &str = "kubectl.kubernetes.io/default-logs-container";

/// The init container that programs the redirect.
pub const INIT_CONTAINER: &str = "istio-init";
/// The init container that proves the redirect which a node agent programs.
pub const VALIDATION_CONTAINER: &str = "istio-validation";
/// The sidecar container.
pub const PROXY_CONTAINER: &str = "istio-proxy";
/// Downward API volume: the pod's labels and annotations.
pub const POD_INFO_VOLUME: &str = "istio-podinfo";
/// Where [`POD_INFO_VOLUME`] is mounted in the proxy's container.
pub const POD_INFO_PATH: &str = "/etc/istio/pod";

/// User and group that the proxy runs as, and that the redirect lets pass.
pub const PROXY_ID: u32 = 1337;

/// Suffix of each entry of the MutatingWebhookConfiguration.
pub const WEBHOOK_SUFFIX: &str = "sidecar-injector.istio.io";

/// Environment of the proxy's container.
pub mod env {
    /// Name of the pod.
    pub const POD_NAME: &str = "POD_NAME";
    /// Namespace of the pod.
    pub const POD_NAMESPACE: &str = "POD_NAMESPACE";
    /// IP address of the pod.
    pub const INSTANCE_IP: &str = "INSTANCE_IP";
    /// Service account of the pod.
    pub const SERVICE_ACCOUNT: &str = "SERVICE_ACCOUNT";
    /// The container's CPU limit in whole cores, rounded up.
    pub const CPU_LIMIT: &str = "ISTIO_CPU_LIMIT";
    /// [`ProxyConfig`](crate::proxy_config::ProxyConfig) as JSON.
    pub const PROXY_CONFIG: &str = "PROXY_CONFIG";
    /// The application's probes and hooks, as [`app_probes`](crate::app_probes) writes them.
    pub const APP_PROBERS: &str = "ISTIO_KUBE_APP_PROBERS";
    /// The application's metrics, an [`AppMetrics`](crate::app_metrics::AppMetrics) as JSON.
    pub const PROMETHEUS_ANNOTATIONS: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";
    /// `false`: the drain lasts its whole time, whether or not connections are left.
    pub const EXIT_ON_ZERO_ACTIVE_CONNECTIONS: &str = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS";
    /// [`InterceptionMode`](crate::values::InterceptionMode) of the pod's redirect.
    pub const INTERCEPTION_MODE: &str = "ISTIO_META_INTERCEPTION_MODE";
    /// Prefix of the node metadata: `ISTIO_META_X=v` is metadata `X` with value `v`.
    pub const META_PREFIX: &str = "ISTIO_META_";

    /// What the webhook alone writes; nobody else's configuration may.
    pub const OWNED: [&str; 15] = [
        POD_NAME,
        POD_NAMESPACE,
        INSTANCE_IP,
        SERVICE_ACCOUNT,
        CPU_LIMIT,
        PROXY_CONFIG,
        APP_PROBERS,
        PROMETHEUS_ANNOTATIONS,
        INTERCEPTION_MODE,
        "ISTIO_META_APP_CONTAINERS",
        "ISTIO_META_CLUSTER_ID",
        "ISTIO_META_MESH_ID",
        "ISTIO_META_NODE_NAME",
        "ISTIO_META_OWNER",
        "ISTIO_META_WORKLOAD_NAME",
    ];
}

/// Namespaces whose pods are never injected, whatever their labels say.
pub const IGNORED_NAMESPACES: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

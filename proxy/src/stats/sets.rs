//! Which statistics there are, by Envoy's names
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/configuration>, at each "Statistics").

pub mod cluster;
pub mod failure;
pub mod filter;
pub mod listener;
pub mod server;
pub mod tls;

use std::sync::Arc;

use self::{
    cluster::{
        ClusterStatistics, HealthCheckStatistics, MaglevStatistics, OutlierDetectionStatistics,
        RemainingStatistics, RingHashStatistics, SubscriptionStatistics,
        TransportSocketMatchStatistics,
    },
    failure::UpstreamFailureStatistics,
    filter::{
        ConnectionLimitStatistics, HttpInspectorStatistics, LocalRateLimitStatistics,
        ProxyProtocolErrorStatistics, ProxyProtocolStatistics, ProxyProtocolVersionStatistics,
        RbacStatistics, ShadowRbacStatistics, TcpProxyStatistics, TlsInspectorStatistics,
    },
    listener::{ListenerManagerStatistics, ListenerStatistics, ListenerWorkerStatistics},
    server::{ClusterManagerStatistics, FilesystemStatistics, RuntimeStatistics, ServerStatistics},
    tls::{CertificateStatistics, SocketFactoryStatistics, TlsStatistics},
};
use super::{
    scope::Scope,
    set::{Asked, PerWorker, Shared},
    store::Store,
};

type Workers<T> = Arc<Scope<PerWorker<T>>>;
type All<T> = Arc<Scope<Shared<T>>>;

/// What [`Store::listener`] and [`Store::cluster`] have under their own names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// `listener.`, with the address or the listener's `stat_prefix`.
    Listener,
    /// `cluster.`, with the name or the cluster's `alt_stat_name`.
    Cluster,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Cluster => "cluster",
        }
    }
}

impl Store {
    /// `listener.<address or stat_prefix>.`
    pub fn listener(&self, name: &str) -> Workers<ListenerStatistics> {
        self.scope(&format!("listener.{name}."))
    }

    /// `listener.<address or stat_prefix>.worker_<number>.`
    pub fn listener_worker(&self, name: &str, worker: usize) -> Workers<ListenerWorkerStatistics> {
        self.scope(&format!("listener.{name}.worker_{worker}."))
    }

    /// `listener_manager.`
    pub fn listener_manager(&self) -> All<ListenerManagerStatistics> {
        self.scope("listener_manager.")
    }

    /// `cluster.<name or alt_stat_name>.`
    pub fn cluster(&self, name: &str) -> Arc<Scope<ClusterStatistics>> {
        self.scope(&format!("cluster.{name}."))
    }

    /// `cluster.<name>.circuit_breakers.<priority>.`, of a cluster that tracks what remains.
    pub fn remaining(
        &self,
        cluster: &str,
        priority: &str,
    ) -> Arc<Scope<Asked<RemainingStatistics>>> {
        self.scope(&format!("cluster.{cluster}.circuit_breakers.{priority}."))
    }

    /// `cluster.<name>.health_check.`
    pub fn health_check(&self, cluster: &str) -> All<HealthCheckStatistics> {
        self.scope(&format!("cluster.{cluster}.health_check."))
    }

    /// `cluster.<name>.outlier_detection.`
    pub fn outlier_detection(&self, cluster: &str) -> All<OutlierDetectionStatistics> {
        self.scope(&format!("cluster.{cluster}.outlier_detection."))
    }

    /// `cluster.<name>.ring_hash_lb.`
    pub fn ring_hash(&self, cluster: &str) -> All<RingHashStatistics> {
        self.scope(&format!("cluster.{cluster}.ring_hash_lb."))
    }

    /// `cluster.<name>.maglev_lb.`
    pub fn maglev(&self, cluster: &str) -> All<MaglevStatistics> {
        self.scope(&format!("cluster.{cluster}.maglev_lb."))
    }

    /// `cluster.<name>.<transport socket match>.`, where none of them matches: `default`.
    pub fn transport_socket_match(
        &self,
        cluster: &str,
        name: &str,
    ) -> All<TransportSocketMatchStatistics> {
        self.scope(&format!("cluster.{cluster}.{name}."))
    }

    /// `cluster.<name>.`, what a cluster of the type EDS has besides.
    pub fn endpoint_subscription(&self, cluster: &str) -> All<SubscriptionStatistics> {
        self.scope(&format!("cluster.{cluster}."))
    }

    /// `upstream_failure.`
    pub fn upstream_failure(&self) -> Workers<UpstreamFailureStatistics> {
        self.scope("upstream_failure.")
    }

    /// `cluster_manager.`
    pub fn cluster_manager(&self) -> All<ClusterManagerStatistics> {
        self.scope("cluster_manager.")
    }

    /// `sds.<name of the secret>.`
    pub fn secret(&self, name: &str) -> All<server::SecretStatistics> {
        self.scope(&format!("sds.{name}."))
    }

    /// `listener.<name>.ssl.` or `cluster.<name>.ssl.`
    pub fn tls(&self, side: Side, name: &str) -> Workers<TlsStatistics> {
        self.scope(&format!("{}.{name}.ssl.", side.word()))
    }

    /// `….ssl.certificate.<certificate>.`
    pub fn certificate(
        &self,
        side: Side,
        name: &str,
        certificate: &str,
    ) -> All<CertificateStatistics> {
        let word = side.word();
        self.scope(&format!("{word}.{name}.ssl.certificate.{certificate}."))
    }

    /// `listener.<name>.server_ssl_socket_factory.` or `cluster.<name>.client_ssl_socket_factory.`
    pub fn socket_factory(&self, side: Side, name: &str) -> All<SocketFactoryStatistics> {
        self.scope(&match side {
            Side::Listener => format!("listener.{name}.server_ssl_socket_factory."),
            Side::Cluster => format!("cluster.{name}.client_ssl_socket_factory."),
        })
    }

    /// `tcp.<stat_prefix>.`
    pub fn tcp_proxy(&self, stat_prefix: &str) -> Workers<TcpProxyStatistics> {
        self.scope(&format!("tcp.{stat_prefix}."))
    }

    /// `<stat_prefix>rbac.`, where a dot is put behind a prefix without one.
    pub fn rbac(&self, stat_prefix: &str) -> Workers<RbacStatistics> {
        self.scope(&format!("{}rbac.", with_dot(stat_prefix)))
    }

    /// `<stat_prefix>rbac.<shadow_rules_stat_prefix>`
    pub fn shadow_rbac(
        &self,
        stat_prefix: &str,
        shadow_rules_stat_prefix: &str,
    ) -> Workers<ShadowRbacStatistics> {
        let shadow = with_dot(shadow_rules_stat_prefix);
        self.scope(&format!("{}rbac.{shadow}", with_dot(stat_prefix)))
    }

    /// `connection_limit.<stat_prefix>.`
    pub fn connection_limit(&self, stat_prefix: &str) -> Workers<ConnectionLimitStatistics> {
        self.scope(&format!("connection_limit.{stat_prefix}."))
    }

    /// `local_rate_limit.<stat_prefix>.`
    pub fn local_rate_limit(&self, stat_prefix: &str) -> Workers<LocalRateLimitStatistics> {
        self.scope(&format!("local_rate_limit.{stat_prefix}."))
    }

    /// `tls_inspector.`
    pub fn tls_inspector(&self) -> Workers<TlsInspectorStatistics> {
        self.scope("tls_inspector.")
    }

    /// `http_inspector.`
    pub fn http_inspector(&self) -> Workers<HttpInspectorStatistics> {
        self.scope("http_inspector.")
    }

    /// `proxy_proto.` or, with a prefix, `proxy_proto.<stat_prefix>.`
    pub fn proxy_protocol(&self, stat_prefix: &str) -> Workers<ProxyProtocolStatistics> {
        self.scope(&format!("proxy_proto.{}", with_dot(stat_prefix)))
    }

    /// `downstream_cx_proxy_proto_error`, of all listeners.
    pub fn proxy_protocol_error(&self) -> Workers<ProxyProtocolErrorStatistics> {
        self.scope("downstream_cx_proxy_proto_")
    }

    /// `proxy_proto.versions.v<version>.`
    pub fn proxy_protocol_version(
        &self,
        stat_prefix: &str,
        version: u8,
    ) -> Workers<ProxyProtocolVersionStatistics> {
        let prefix = with_dot(stat_prefix);
        self.scope(&format!("proxy_proto.{prefix}versions.v{version}."))
    }

    /// `server.`
    pub fn server(&self) -> All<ServerStatistics> {
        self.scope("server.")
    }

    /// `runtime.`
    pub fn runtime(&self) -> All<RuntimeStatistics> {
        self.scope("runtime.")
    }

    /// `filesystem.`
    pub fn filesystem(&self) -> All<FilesystemStatistics> {
        self.scope("filesystem.")
    }
}

/// A prefix that a dot follows, unless there is none.
fn with_dot(prefix: &str) -> String {
    match prefix {
        "" => String::new(),
        _ if prefix.ends_with('.') => prefix.to_owned(),
        _ => format!("{prefix}."),
    }
}

//! A cluster as it is configured (`envoy.config.cluster.v3.Cluster`).

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use fairlead_xds::envoy::config::{
    cluster::v3::{Cluster as Message, UpstreamConnectionOptions, cluster::LbPolicy},
    core::v3::BindConfig,
};

use socket2::Socket;

use super::{
    circuit_breaker::CircuitBreakerConfig,
    discovery::{self, Discovery},
    outlier::OutlierConfig,
    policy::BalancerConfig,
    transport::TransportSockets,
};
use crate::{
    access_log::KeptMetadata,
    compile::{
        At,
        values::{positive, tcp_address},
    },
    health_check,
    socket_options::{Keepalive, SocketOptions, freebind},
    tls::Contexts,
};

/// Where nothing is said, as in Envoy.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A cluster, immutable.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// What routes call it.
    pub name: Box<str>,
    /// What statistics call it.
    pub stat_name: Box<str>,
    /// For access logs.
    pub metadata: Option<KeptMetadata>,
    /// How long an endpoint may take to accept.
    pub connect_timeout: Duration,
    /// Where the endpoints come from.
    pub discovery: Discovery,
    /// How they are chosen.
    pub balancer: Arc<BalancerConfig>,
    /// What is spoken with them.
    pub transport: TransportSockets,
    /// How they are checked.
    pub health_checks: Box<[health_check::settings::Settings]>,
    /// How much it may be used.
    pub circuit_breakers: CircuitBreakerConfig,
    /// Which of them are left alone for a while; none of them, if nothing is said.
    pub outlier: Option<Arc<OutlierConfig>>,
    /// How connections to them are made.
    pub connection: ConnectionOptions,
    /// Connections end when their endpoint turns unhealthy.
    pub close_connections_on_host_health_failure: bool,
    /// An endpoint that is assigned no more goes at once, healthy or not.
    pub ignore_health_on_host_removal: bool,
    /// Of the message: clusters that are told the same have the same.
    pub fingerprint: u64,
}

/// How upstream connections are made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionOptions {
    /// The addresses they come from, one of each family at most; none: as the route says.
    pub source: Cow<'static, [SocketAddr]>,
    /// A source need not be there.
    pub freebind: bool,
    /// What else is set.
    pub socket: SocketOptions,
    /// Probes of connections that are idle.
    pub keepalive: Keepalive,
}

impl ConnectionOptions {
    /// Nothing is asked for.
    pub const PLAIN: Self = Self {
        source: Cow::Borrowed(&[]),
        freebind: false,
        socket: SocketOptions::NONE,
        keepalive: Keepalive::DEFAULT,
    };

    /// Sets what is to be set before connecting.
    ///
    /// # Errors
    /// The kernel's.
    pub fn apply(&self, socket: &Socket) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        self.keepalive.apply(socket)?;
        if self.freebind {
            freebind(socket, true)?;
        }
        self.socket.apply(socket)
    }

    /// The address that a connection to `destination` comes from.
    pub fn source_for(&self, destination: IpAddr) -> Option<SocketAddr> {
        let same = |source: &&SocketAddr| source.is_ipv4() == destination.is_ipv4();
        self.source.iter().find(same).copied()
    }
}

impl ClusterConfig {
    /// The cluster that the message describes; `bind` is what the bootstrap says of all clusters.
    #[expect(
        deprecated,
        reason = "each field is looked at, so that none is ignored unseen"
    )]
    pub fn compile(
        at: &At<'_>,
        message: &Message,
        bind: Option<&BindConfig>,
        contexts: &Contexts,
    ) -> Option<Self> {
        let Message {
            name,
            alt_stat_name,
            connect_timeout,
            transport_socket_matches,
            transport_socket,
            health_checks,
            upstream_bind_config,
            upstream_connection_options,
            close_connections_on_host_health_failure,
            ignore_health_on_host_removal,
            circuit_breakers,
            outlier_detection,
            // Compiled elsewhere, by whoever needs them.
            cluster_discovery_type: _,
            eds_cluster_config: _,
            load_assignment: _,
            lb_policy: _,
            lb_subset_config: _,
            lb_config: _,
            common_lb_config: _,
            load_balancing_policy: _,
            dns_refresh_rate: _,
            dns_jitter: _,
            dns_failure_refresh_rate: _,
            respect_dns_ttl: _,
            dns_lookup_family: _,
            dns_resolvers: _,
            use_tcp_for_dns_lookups: _,
            dns_resolution_config: _,
            typed_dns_resolver_config: _,
            // Of HTTP, which connections of this layer do not speak.
            max_requests_per_connection: _,
            upstream_http_protocol_options: _,
            common_http_protocol_options: _,
            http_protocol_options: _,
            http2_protocol_options: _,
            typed_extension_protocol_options: _,
            protocol_selection: _,
            track_timeout_budgets: _,
            // Both sides are always read no faster than the other is written.
            per_connection_buffer_limit_bytes: _,
            per_connection_buffer_high_watermark_timeout: _,
            metadata,
            // Every cluster is warm when it is there.
            wait_for_warm_on_init: _,
            // Endpoints of an original destination are known while they are used.
            cleanup_interval: _,
            stats_matcher,
            transport_socket_matcher,
            filters,
            lrs_server,
            lrs_report_endpoint_metrics,
            upstream_config,
            track_cluster_stats,
            preconnect_policy,
            connection_pool_per_downstream_connection: _,
            queuing_policies,
        } = message;
        if transport_socket_matcher.is_some() {
            at.field("transport_socket_matcher")
                .fault::<()>("is not supported");
        }
        if !filters.is_empty() {
            at.field("filters")
                .fault::<()>("filters of upstream connections are not supported");
        }
        for (field, given) in [
            ("stats_matcher", stats_matcher.is_some()),
            ("lrs_server", lrs_server.is_some()),
            (
                "lrs_report_endpoint_metrics",
                !lrs_report_endpoint_metrics.is_empty(),
            ),
            ("upstream_config", upstream_config.is_some()),
            ("track_cluster_stats", track_cluster_stats.is_some()),
            ("preconnect_policy", preconnect_policy.is_some()),
            ("queuing_policies", queuing_policies.is_some()),
        ] {
            if given {
                at.field(field).unsupported("is not done");
            }
        }
        let name_is_there = if name.is_empty() {
            at.field("name").fault("is empty")
        } else {
            Some(())
        };
        let connect_timeout = match connect_timeout {
            Some(timeout) => positive(&at.field("connect_timeout"), timeout),
            None => Some(CONNECT_TIMEOUT),
        };
        let discovery = Discovery::compile(at, message);
        let balancer = BalancerConfig::compile(at, message);
        let balancer = balancer.filter(|_| provides(at, message));
        let transport = TransportSockets::compile(
            at,
            transport_socket_matches,
            transport_socket.as_ref(),
            contexts,
        );
        let checks = at.each("health_checks", health_checks, |at, message| {
            health_check::settings::Settings::compile(at, message)
        });
        let breakers = match circuit_breakers {
            Some(breakers) => {
                CircuitBreakerConfig::compile(&at.field("circuit_breakers"), breakers)
            }
            None => Some(CircuitBreakerConfig::default()),
        };
        let outlier = match outlier_detection {
            Some(outlier) => {
                OutlierConfig::compile(&at.field("outlier_detection"), outlier).map(Some)
            }
            None => Some(None),
        };
        let connection = connection(
            at,
            upstream_bind_config.as_ref(),
            bind,
            upstream_connection_options.as_ref(),
        );
        name_is_there?;
        if checks.len() < health_checks.len() {
            return None;
        }
        let stat_name = if alt_stat_name.is_empty() {
            name
        } else {
            alt_stat_name
        };
        Some(Self {
            name: name.as_str().into(),
            stat_name: stat_name.as_str().into(),
            metadata: KeptMetadata::of(metadata.as_ref()),
            connect_timeout: connect_timeout?,
            discovery: discovery?,
            balancer: balancer?.into(),
            transport: transport?,
            health_checks: checks.into(),
            circuit_breakers: breakers?,
            outlier: outlier?.map(Arc::new),
            connection: connection?,
            close_connections_on_host_health_failure: *close_connections_on_host_health_failure,
            ignore_health_on_host_removal: *ignore_health_on_host_removal,
            fingerprint: fingerprint(message),
        })
    }
}

/// Whether the endpoints are chosen by the cluster where its type does that, and there alone.
fn provides(at: &At<'_>, message: &Message) -> bool {
    let original = discovery::is_original_dst(message);
    let at = at.field("lb_policy");
    match LbPolicy::try_from(message.lb_policy) {
        Ok(LbPolicy::ClusterProvided) if !original => at.fault::<()>(
            "CLUSTER_PROVIDED is for clusters of type ORIGINAL_DST, whose endpoints are not chosen",
        ),
        Ok(LbPolicy::ClusterProvided | LbPolicy::LoadBalancingPolicyConfig) => Some(()),
        _ if original => at.fault("must be CLUSTER_PROVIDED in a cluster of type ORIGINAL_DST"),
        _ => Some(()),
    }
    .is_some()
}

/// Of a message; equal ones have the same.
pub fn fingerprint(message: &impl prost::Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.encode_to_vec().hash(&mut hasher);
    hasher.finish()
}

fn connection(
    at: &At<'_>,
    own: Option<&BindConfig>,
    of_all: Option<&BindConfig>,
    options: Option<&UpstreamConnectionOptions>,
) -> Option<ConnectionOptions> {
    let bind = match (own, of_all) {
        (Some(own), _) => bind(&at.field("upstream_bind_config"), own),
        // Its faults are told where it stands.
        (None, Some(of_all)) => bind(at, of_all),
        (None, None) => Some(ConnectionOptions::PLAIN),
    };
    let keepalive = match options {
        None => Some(Keepalive::DEFAULT),
        Some(UpstreamConnectionOptions {
            tcp_keepalive,
            set_local_interface_name_on_upstream_connections: _,
            happy_eyeballs_config,
        }) => {
            let at = at.field("upstream_connection_options");
            if happy_eyeballs_config.is_some() {
                at.field("happy_eyeballs_config")
                    .unsupported("the addresses of an endpoint are not tried side by side");
            }
            match tcp_keepalive {
                Some(keepalive) => Keepalive::compile(&at.field("tcp_keepalive"), keepalive),
                None => Some(Keepalive::DEFAULT),
            }
        }
    };
    Some(ConnectionOptions {
        keepalive: keepalive?,
        ..bind?
    })
}

/// What `envoy.config.core.v3.BindConfig` says.
pub fn bind(at: &At<'_>, message: &BindConfig) -> Option<ConnectionOptions> {
    #[expect(deprecated, reason = "the older field is still written")]
    let BindConfig {
        source_address,
        freebind,
        socket_options,
        extra_source_addresses,
        additional_source_addresses,
        local_address_selector,
        validate_network_namespaces: _,
    } = message;
    if local_address_selector.is_some() {
        at.field("local_address_selector")
            .unsupported("the source of the destination's family is taken");
    }
    let first = source_address.iter();
    let first: Vec<_> = first
        .filter_map(|address| tcp_address(&at.field("source_address"), address))
        .collect();
    let extra = at.each(
        "extra_source_addresses",
        extra_source_addresses,
        |at, extra| {
            if extra.socket_options.is_some() {
                at.field("socket_options")
                    .unsupported("the options of the other sources are set");
            }
            let address = at.required("address", extra.address.as_ref())?;
            tcp_address(&at.field("address"), address)
        },
    );
    let additional = at.each(
        "additional_source_addresses",
        additional_source_addresses,
        tcp_address,
    );
    let expected = source_address.iter().len()
        + extra_source_addresses.len()
        + additional_source_addresses.len();
    let mut source: Vec<SocketAddr> = Vec::new();
    for address in first.into_iter().chain(extra).chain(additional) {
        if source
            .iter()
            .any(|other| other.is_ipv4() == address.is_ipv4())
        {
            return at.fault("has two sources of one family; one of each is accepted");
        }
        source.push(address);
    }
    let socket = SocketOptions::compile(at, "socket_options", socket_options)?;
    (source.len() == expected).then(|| ConnectionOptions {
        source: source.into(),
        freebind: freebind.is_some_and(|freebind| freebind.value),
        socket,
        keepalive: Keepalive::DEFAULT,
    })
}

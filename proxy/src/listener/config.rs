//! A listener as it is configured (`envoy.config.listener.v3.Listener`).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fairlead_xds::{
    envoy::{
        config::{
            core::v3::{
                Address, SocketOption, TrafficDirection, TransportSocket, address,
                transport_socket::ConfigType,
            },
            listener::v3::{FilterChain as ChainMessage, Listener as Message},
        },
        extensions::transport_sockets::tls::v3::DownstreamTlsContext,
    },
    google::protobuf::{BoolValue, UInt32Value},
};

use super::{active::Closing, sockets::Binding};
use crate::{
    access_log::{AccessLogs, KeptMetadata, Surroundings as LogSurroundings},
    cluster::config::fingerprint,
    compile::{
        At,
        values::{duration, socket_address},
    },
    direction::Direction,
    filter_chain::FilterChains,
    inspector::ListenerFilters,
    network_filter::{
        self, NetworkFilter, NetworkFilters, TerminalFilter, local_ratelimit::SharedTokenBuckets,
    },
    socket_options::{Keepalive, SocketOptions},
    stats::{
        PerWorker, Scope, Store,
        sets::{
            Side,
            filter::{
                ConnectionLimitStatistics, LocalRateLimitStatistics, RbacStatistics,
                ShadowRbacStatistics, TcpProxyStatistics,
            },
            tls::TlsStatistics,
        },
    },
    tls::{Contexts, DownstreamTls, Watched},
};

/// Connections that wait for a worker, if nothing is said: what the kernel lets through.
const BACKLOG: u32 = 4096;

/// A listener, immutable.
#[derive(Debug)]
pub struct Listener {
    /// What it is called; unique in the process.
    pub name: Box<str>,
    /// What statistics call it.
    pub stat_name: Box<str>,
    /// Where it listens, or what the connections are for that are handed to it. The first is its own
    /// address, the others are more of the same.
    pub bindings: Box<[Binding]>,
    /// It has sockets; without, it gets what others hand over.
    pub binds: bool,
    /// A connection that was redirected is handed to the listener of its original destination.
    pub hands_over: bool,
    /// Its connections count among those of all listeners, of which there is a limit.
    pub counts_overall: bool,
    /// Which way its connections go, as seen from the pod; none if nobody says.
    pub direction: Option<Direction>,
    /// What is looked at before a filter chain is chosen.
    pub filters: ListenerFilters,
    /// The filter chains.
    pub chains: FilterChains<Arc<FilterChain>>,
    /// For access logs.
    pub metadata: Option<KeptMetadata>,
    /// Where its connections are logged, besides what their filters log.
    pub access_log: AccessLogs,
    /// Of the message without its filter chains: what it concerns all connections by.
    pub fingerprint: u64,
}

/// What is done with the connections that match.
#[derive(Debug)]
pub struct FilterChain {
    /// What it is called; empty if nobody says.
    pub name: Box<str>,
    /// For access logs.
    pub metadata: Option<KeptMetadata>,
    /// TLS, if the connections are encrypted.
    pub tls: Option<Arc<DownstreamTls>>,
    /// How long the handshake may take; as the process has it, if nothing is said.
    pub handshake_timeout: Option<Duration>,
    /// What takes the connections.
    pub filters: NetworkFilters<AccessLogs>,
    /// What it counts.
    pub statistics: ChainStatistics,
    /// Ends its connections, when it is not configured any more.
    pub closing: Closing,
    /// Of the message.
    pub fingerprint: u64,
}

/// What a filter chain counts.
#[derive(Debug)]
pub struct ChainStatistics {
    /// Of its TLS; none without.
    pub tls: Option<Workers<TlsStatistics>>,
    /// Of its certificates; none without.
    pub certificates: Option<Arc<Watched>>,
    /// Of its `tcp_proxy`; none without.
    pub tcp_proxy: Option<Workers<TcpProxyStatistics>>,
    /// Of each filter before the last, in their order.
    pub filters: Box<[FilterStatistics]>,
}

/// What a filter counts.
#[derive(Debug)]
pub enum FilterStatistics {
    /// Nothing.
    None,
    /// Of a filter of policies: what is enforced, and what is not.
    Rbac(Workers<RbacStatistics>, Workers<ShadowRbacStatistics>),
    /// Of a limit of connections.
    ConnectionLimit(Workers<ConnectionLimitStatistics>),
    /// Of a rate limit.
    LocalRateLimit(Workers<LocalRateLimitStatistics>),
}

type Workers<T> = Arc<Scope<PerWorker<T>>>;

/// What listeners are compiled with.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Certificates.
    pub contexts: &'a Contexts,
    /// Access logs.
    pub logs: LogSurroundings<'a>,
    /// Token buckets that filters share.
    pub token_buckets: &'a SharedTokenBuckets,
    /// Where statistics are kept.
    pub store: &'a Store,
    /// The listeners before, of which chains that stay the same are kept.
    pub before: &'a [Arc<Listener>],
    /// The time now.
    pub now: Instant,
}

impl Listener {
    /// The most connections that may wait at one of its addresses.
    pub fn backlog(&self) -> u32 {
        let backlogs = self.bindings.iter().map(|binding| binding.backlog);
        backlogs.max().unwrap_or_default()
    }

    /// The listener that the message describes.
    #[expect(
        deprecated,
        reason = "each field is looked at, so that none is ignored unseen"
    )]
    pub fn compile(at: &At<'_>, message: &Message, with: &Surroundings<'_>) -> Option<Self> {
        let Message {
            name,
            address,
            additional_addresses,
            stat_prefix,
            stats_matcher,
            use_original_dst,
            drain_type,
            transparent,
            freebind,
            socket_options,
            tcp_fast_open_queue_length,
            traffic_direction,
            udp_listener_config,
            api_listener,
            connection_balance_config,
            reuse_port,
            enable_reuse_port,
            access_log,
            tcp_backlog_size,
            bind_to_port,
            enable_mptcp,
            tcp_keepalive,
            deprecated_v1,
            listener_specifier,
            // Compiled elsewhere, by whoever needs them.
            filter_chains: _,
            filter_chain_matcher: _,
            fcds_config: _,
            default_filter_chain: _,
            listener_filters: _,
            listener_filters_timeout: _,
            continue_on_listener_filters_timeout: _,
            // Both sides are always read no faster than the other is written.
            per_connection_buffer_limit_bytes: _,
            per_connection_buffer_high_watermark_timeout: _,
            // A worker accepts one at a time, and serves those it has in between.
            max_connections_to_accept_per_socket_event: _,
            metadata,
            ignore_global_conn_limit,
            bypass_overload_manager,
        } = message;
        for (field, given) in [
            ("api_listener", api_listener.is_some()),
            ("udp_listener_config", udp_listener_config.is_some()),
            ("listener_specifier", listener_specifier.is_some()),
            ("enable_mptcp", *enable_mptcp),
        ] {
            if given {
                at.field(field).fault::<()>("is not supported");
            }
        }
        for (field, given) in [
            ("stats_matcher", stats_matcher.is_some()),
            (
                "connection_balance_config",
                connection_balance_config.is_some(),
            ),
            (
                "tcp_fast_open_queue_length",
                tcp_fast_open_queue_length.is_some_and(|length| length.value > 0),
            ),
            ("drain_type", *drain_type != 0),
        ] {
            if given {
                at.field(field).unsupported("is not done");
            }
        }
        let truth = |value: &Option<BoolValue>| value.map(|value| value.value);
        let binds = truth(bind_to_port)
            .or_else(|| {
                deprecated_v1
                    .as_ref()
                    .and_then(|old| truth(&old.bind_to_port))
            })
            .unwrap_or(true);
        let base = Base {
            transparent: truth(transparent),
            freebind: truth(freebind),
            reuse_port: truth(enable_reuse_port).unwrap_or(true) || *reuse_port,
            backlog: tcp_backlog_size.map_or(BACKLOG, |UInt32Value { value }| value),
            socket_options,
        };
        let own = base.binding(
            at,
            "address",
            address.as_ref(),
            tcp_keepalive.as_ref(),
            None,
        );
        let more = at.each("additional_addresses", additional_addresses, |at, more| {
            let options = more.socket_options.as_ref();
            let options = options.map(|options| options.socket_options.as_slice());
            let keepalive = more.tcp_keepalive.as_ref().or(tcp_keepalive.as_ref());
            base.binding(at, "address", more.address.as_ref(), keepalive, options)
        });
        let direction = match TrafficDirection::try_from(*traffic_direction) {
            Ok(TrafficDirection::Unspecified) => Some(None),
            Ok(TrafficDirection::Inbound) => Some(Some(Direction::Inbound)),
            Ok(TrafficDirection::Outbound) => Some(Some(Direction::Outbound)),
            Err(_) => at.field("traffic_direction").fault("is no direction"),
        };
        let filters = ListenerFilters::compile(at, message);
        let stat_name = match (&own, stat_prefix.as_str()) {
            // As Envoy writes the address.
            (Some(own), "") => own.address.to_string().replace(':', "_"),
            (_, prefix) => prefix.to_owned(),
        };
        let own_fingerprint = fingerprint(&Message {
            filter_chains: Vec::new(),
            default_filter_chain: None,
            ..message.clone()
        });
        // Of a listener that changed otherwise, each connection is concerned.
        let before = with.before.iter().find(|before| {
            *before.name == **name && !name.is_empty() && before.fingerprint == own_fingerprint
        });
        let chains = FilterChains::compile(at, message, |at, chain| {
            let same = fingerprint(chain);
            let kept = before
                .and_then(|before| before.all_chains().find(|known| known.fingerprint == same));
            match kept {
                // It is made for its faults alone.
                Some(kept) if kept.is_doubtful(with.contexts) => {
                    FilterChain::compile(at, chain, &stat_name, with)?;
                    Some(kept.clone())
                }
                Some(kept) => Some(kept.clone()),
                None => FilterChain::compile(at, chain, &stat_name, with).map(Arc::new),
            }
        });
        let access_log = AccessLogs::compile(&at.field("access_log"), access_log, &with.logs);
        let mut bindings = vec![own?];
        bindings.extend(more);
        if bindings.len() <= additional_addresses.len() {
            return None;
        }
        Some(Self {
            name: name.as_str().into(),
            stat_name: stat_name.into(),
            bindings: bindings.into(),
            binds,
            hands_over: truth(use_original_dst).unwrap_or(false),
            counts_overall: !ignore_global_conn_limit && !bypass_overload_manager,
            direction: direction?,
            metadata: KeptMetadata::of(metadata.as_ref()),
            filters: filters?,
            chains: chains?,
            access_log: access_log?,
            fingerprint: own_fingerprint,
        })
    }

    /// Whether it wants to know where redirected connections were going.
    pub fn restores(&self) -> bool {
        self.hands_over || self.filters.original_dst()
    }

    /// Whether connections come to it that were going elsewhere, with that address.
    pub fn is_transparent(&self) -> bool {
        self.bindings
            .iter()
            .any(|binding| binding.transparent == Some(true))
    }

    /// All filter chains, the default one last.
    pub fn all_chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.chains
            .chains()
            .iter()
            .chain(self.chains.default_chain())
    }
}

/// What the sockets of a listener have in common.
struct Base<'a> {
    transparent: Option<bool>,
    freebind: Option<bool>,
    reuse_port: bool,
    backlog: u32,
    socket_options: &'a [SocketOption],
}

impl Base<'_> {
    fn binding(
        &self,
        at: &At<'_>,
        name: &str,
        address: Option<&Address>,
        keepalive: Option<&fairlead_xds::envoy::config::core::v3::TcpKeepalive>,
        options: Option<&[SocketOption]>,
    ) -> Option<Binding> {
        let message = at.required(name, address);
        let address = message.and_then(|message| socket_address(&at.field(name), message));
        let keepalive = match keepalive {
            Some(keepalive) => Keepalive::compile(&at.field("tcp_keepalive"), keepalive),
            None => Some(Keepalive::DEFAULT),
        };
        let options = options.unwrap_or(self.socket_options);
        let options = SocketOptions::compile(at, "socket_options", options);
        let ipv4_compat = message.is_some_and(|message| match &message.address {
            Some(address::Address::SocketAddress(address)) => address.ipv4_compat,
            _ => false,
        });
        Some(Binding {
            address: address?,
            ipv4_compat,
            transparent: self.transparent,
            freebind: self.freebind,
            reuse_port: self.reuse_port,
            backlog: self.backlog,
            keepalive: keepalive?,
            options: options?,
        })
    }
}

impl FilterChain {
    /// Whether files of its certificates are gone, or hold something else than what is in use.
    fn is_doubtful(&self, contexts: &Contexts) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|tls| tls.is_doubtful(contexts))
    }

    #[expect(
        deprecated,
        reason = "each field is looked at, so that none is ignored unseen"
    )]
    fn compile(
        at: &At<'_>,
        message: &ChainMessage,
        stat_name: &str,
        with: &Surroundings<'_>,
    ) -> Option<Self> {
        let ChainMessage {
            // The criteria are compiled with those of the other chains.
            filter_chain_match: _,
            filters: _,
            use_proxy_proto,
            metadata,
            transport_socket,
            transport_socket_connect_timeout,
            name,
        } = message;
        if use_proxy_proto.is_some_and(|proxy| proxy.value) {
            at.field("use_proxy_proto")
                .fault::<()>("is not supported; the listener filter proxy_protocol is");
        }
        let tls = transport_socket.as_ref().map_or(Some(None), |socket| {
            downstream_tls(&at.field("transport_socket"), socket, with.contexts)
        });
        let handshake_timeout = match transport_socket_connect_timeout {
            Some(timeout) => duration(&at.field("transport_socket_connect_timeout"), timeout)
                .map(|timeout| (!timeout.is_zero()).then_some(timeout)),
            None => Some(None),
        };
        let filters = network_filter::compile(
            at,
            &message.filters,
            &network_filter::Surroundings {
                access_log: &|at, messages| AccessLogs::compile(at, messages, &with.logs),
                token_buckets: with.token_buckets,
                now: with.now,
            },
        );
        let (tls, filters) = (tls?, filters?);
        Some(Self {
            name: name.as_str().into(),
            metadata: KeptMetadata::of(metadata.as_ref()),
            statistics: ChainStatistics::new(tls.as_deref(), &filters, stat_name, with.store),
            tls,
            handshake_timeout: handshake_timeout?,
            filters,
            closing: Closing::default(),
            fingerprint: fingerprint(message),
        })
    }
}

impl ChainStatistics {
    fn new(
        tls: Option<&DownstreamTls>,
        filters: &NetworkFilters<AccessLogs>,
        stat_name: &str,
        store: &Store,
    ) -> Self {
        let of_filter = |filter: &NetworkFilter| match filter {
            NetworkFilter::SniCluster => FilterStatistics::None,
            NetworkFilter::Rbac(rbac) => FilterStatistics::Rbac(
                store.rbac(rbac.stat_prefix()),
                store.shadow_rbac(rbac.stat_prefix(), rbac.shadow_rules_stat_prefix()),
            ),
            NetworkFilter::ConnectionLimit(limit) => {
                FilterStatistics::ConnectionLimit(store.connection_limit(limit.stat_prefix()))
            }
            NetworkFilter::LocalRateLimit(limit) => {
                FilterStatistics::LocalRateLimit(store.local_rate_limit(limit.stat_prefix()))
            }
        };
        let tcp_proxy = match &filters.terminal {
            Some(TerminalFilter::TcpProxy(proxy)) => Some(store.tcp_proxy(proxy.stat_prefix())),
            _ => None,
        };
        Self {
            tls: tls.map(|_| store.tls(Side::Listener, stat_name)),
            certificates: tls.map(|tls| tls.watch(store, stat_name)),
            tcp_proxy,
            filters: filters.filters.iter().map(of_filter).collect(),
        }
    }
}

/// TLS, or nothing where the bytes are taken as they are.
fn downstream_tls(
    at: &At<'_>,
    message: &TransportSocket,
    contexts: &Contexts,
) -> Option<Option<Arc<DownstreamTls>>> {
    let TransportSocket { name, config_type } = message;
    let Some(ConfigType::TypedConfig(any)) = config_type else {
        if matches!(&**name, "envoy.transport_sockets.raw_buffer" | "raw_buffer") {
            return Some(None);
        }
        return at.required("typed_config", None);
    };
    let at = at.field("typed_config");
    match any.type_url.rsplit('/').next().unwrap_or_default() {
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer" => Some(None),
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext" => {
            let context = at.decode::<DownstreamTlsContext>(any)?;
            DownstreamTls::compile(&at, &context, contexts).map(Some)
        }
        // Anything else may be what keeps the traffic secret.
        other => at.fault(format!("the transport socket {other} is not supported")),
    }
}

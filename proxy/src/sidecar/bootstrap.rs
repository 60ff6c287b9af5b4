//! What the sidecar does, as an Envoy would be told to do it.
//!
//! Captured connections go on to where they were going: those of the application as they are, and
//! those to the application from an address that the redirect lets pass.

mod access_log;
mod values;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairlead_api::values::InterceptionMode;
use fairlead_xds::{
    envoy::{
        config::{
            bootstrap::v3::{Admin, Bootstrap, bootstrap::StaticResources},
            cluster::v3::{
                CircuitBreakers, Cluster,
                circuit_breakers::Thresholds,
                cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy},
            },
            core::v3::{BindConfig, ExtraSourceAddress, Node, TrafficDirection},
            listener::v3::{
                AdditionalAddress, Filter, FilterChain, Listener, ListenerFilter,
                filter::ConfigType, listener_filter::ConfigType as ListenerConfigType,
            },
        },
        extensions::filters::{
            listener::original_dst::v3::OriginalDst,
            network::tcp_proxy::v3::{TcpProxy, tcp_proxy::ClusterSpecifier},
        },
    },
    google::protobuf::Duration,
};

use self::values::{address, any, duration, fields, number, socket_address, truth};
use crate::{
    config::Config,
    direction::{BLACK_HOLE_CLUSTER, Direction, SOURCE_V4, SOURCE_V6},
};

/// The bootstrap for these settings, which listens on IPv6 as well if the pod has it.
///
/// What the sidecar answers on its other ports is none of Envoy's, and not in it.
pub fn bootstrap(config: &Config, ipv6: bool) -> Bootstrap {
    let listeners = Direction::ALL.map(|direction| listener(direction, config, ipv6));
    let [outbound, inbound] = Direction::ALL.map(|direction| passthrough(direction, config));
    let resources = StaticResources {
        listeners: listeners.into(),
        clusters: vec![outbound, inbound, black_hole(config)],
        ..StaticResources::default()
    };
    let admin = Admin {
        address: Some(address(Ipv4Addr::LOCALHOST.into(), config.ports.admin)),
        ..Admin::default()
    };
    Bootstrap {
        node: Some(node(config)),
        static_resources: Some(resources),
        admin: Some(admin),
        ..Bootstrap::default()
    }
}

fn node(config: &Config) -> Node {
    let node = &config.node;
    Node {
        id: node.id(),
        cluster: node.cluster(),
        metadata: Some(fields(&node.metadata())),
        user_agent_name: "fairlead-proxy".to_owned(),
        ..Node::default()
    }
}

fn listener(direction: Direction, config: &Config, ipv6: bool) -> Listener {
    let port = match direction {
        Direction::Inbound => config.ports.inbound,
        Direction::Outbound => config.ports.outbound,
    };
    let is_tproxy = config.interception_mode == InterceptionMode::Tproxy;
    let everywhere = |ip: IpAddr| Some(address(ip, port));
    let more = ipv6.then(|| AdditionalAddress {
        address: everywhere(Ipv6Addr::UNSPECIFIED.into()),
        ..AdditionalAddress::default()
    });
    let listener = Listener {
        name: direction.listener().to_owned(),
        address: everywhere(Ipv4Addr::UNSPECIFIED.into()),
        additional_addresses: more.into_iter().collect(),
        filter_chains: vec![filter_chain(direction, config)],
        ..Listener::default()
    };
    match direction {
        Direction::Outbound => Listener {
            traffic_direction: TrafficDirection::Outbound.into(),
            use_original_dst: truth(true),
            ..listener
        },
        Direction::Inbound => Listener {
            traffic_direction: TrafficDirection::Inbound.into(),
            listener_filters: vec![original_dst()],
            // What the application sends is redirected in either mode.
            transparent: truth(true).filter(|_| is_tproxy),
            ..listener
        },
    }
}

fn original_dst() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.original_dst".to_owned(),
        config_type: Some(ListenerConfigType::TypedConfig(any(&OriginalDst {}))),
        ..ListenerFilter::default()
    }
}

fn filter_chain(direction: Direction, config: &Config) -> FilterChain {
    let cluster = direction.cluster().to_owned();
    let proxy = TcpProxy {
        stat_prefix: cluster.clone(),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        access_log: access_log::of(config),
        // Without a sidecar, too, a connection may be silent for as long as its ends like.
        idle_timeout: Some(Duration::default()),
        ..TcpProxy::default()
    };
    let name = match direction {
        Direction::Inbound => "virtualInbound",
        Direction::Outbound => "virtualOutbound-catchall-tcp",
    };
    FilterChain {
        name: name.to_owned(),
        filters: vec![Filter {
            name: "envoy.filters.network.tcp_proxy".to_owned(),
            config_type: Some(ConfigType::TypedConfig(any(&proxy))),
        }],
        ..FilterChain::default()
    }
}

/// The cluster of where connections were going.
fn passthrough(direction: Direction, config: &Config) -> Cluster {
    let unbounded = number(u32::MAX);
    let thresholds = Thresholds {
        max_connections: unbounded,
        max_pending_requests: unbounded,
        max_requests: unbounded,
        max_retries: unbounded,
        ..Thresholds::default()
    };
    Cluster {
        name: direction.cluster().to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(
            DiscoveryType::OriginalDst.into(),
        )),
        lb_policy: LbPolicy::ClusterProvided.into(),
        connect_timeout: Some(duration(config.proxy.connect_timeout)),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![thresholds],
            ..CircuitBreakers::default()
        }),
        upstream_bind_config: (direction == Direction::Inbound).then(bind),
        ..Cluster::default()
    }
}

/// From an address that the redirect lets pass.
fn bind() -> BindConfig {
    BindConfig {
        source_address: Some(socket_address(SOURCE_V4.into(), 0)),
        extra_source_addresses: vec![ExtraSourceAddress {
            address: Some(socket_address(SOURCE_V6.into(), 0)),
            ..ExtraSourceAddress::default()
        }],
        ..BindConfig::default()
    }
}

/// The cluster of connections that have no place to go.
fn black_hole(config: &Config) -> Cluster {
    Cluster {
        name: BLACK_HOLE_CLUSTER.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        connect_timeout: Some(duration(config.proxy.connect_timeout)),
        ..Cluster::default()
    }
}

#[cfg(test)]
mod tests;

//! One endpoint of an assignment: where it serves and what is said of it.

use std::net::{IpAddr, SocketAddr};

use fairlead_xds::envoy::config::{
    core::v3::{self as core, address::Address as AddressMessage, socket_address::PortSpecifier},
    endpoint::v3::{
        Endpoint as EndpointMessage, LbEndpoint, endpoint::HealthCheckConfig,
        lb_endpoint::HostIdentifier,
    },
};

use super::{Address, AssignedEndpoint, weight};
use crate::{
    cluster::{
        endpoint::{Attributes, HealthCheckTarget, HealthStatus},
        metadata::Metadata,
    },
    compile::At,
};

pub(super) fn endpoint(at: &At<'_>, message: &LbEndpoint) -> Option<AssignedEndpoint> {
    let LbEndpoint {
        health_status,
        metadata,
        load_balancing_weight,
        host_identifier,
    } = message;
    let weight = weight(at, load_balancing_weight.as_ref(), 1);
    let status = HealthStatus::from_number(*health_status).or_else(|| {
        at.field("health_status")
            .fault(format!("{health_status} is no known status"))
    });
    let of = |namespace: &str| {
        let metadata = metadata.as_ref();
        let values = metadata.and_then(|metadata| metadata.filter_metadata.get(namespace));
        values.map(Metadata::new).unwrap_or_default()
    };
    let at_endpoint = at.field("endpoint");
    let message = match at.required("endpoint", host_identifier.as_ref())? {
        HostIdentifier::Endpoint(endpoint) => endpoint,
        HostIdentifier::EndpointName(_) => {
            return at
                .field("endpoint_name")
                .fault("endpoints cannot be referred to by name");
        }
    };
    let EndpointMessage {
        address: address_message,
        health_check_config,
        hostname,
        additional_addresses,
        // It renames statistics that are not kept for each endpoint.
        observability_name: _,
    } = message;
    if !additional_addresses.is_empty() {
        at_endpoint
            .field("additional_addresses")
            .unsupported("only the first address of an endpoint is used");
    }
    let place = at_endpoint.required("address", address_message.as_ref());
    let place = place.and_then(|message| address(&at_endpoint.field("address"), message));
    let health_check = match health_check_config {
        None => Some(None),
        Some(config) => {
            let at = at_endpoint.field("health_check_config");
            health_check_target(&at, config, place.as_ref()).map(Some)
        }
    };
    Some(AssignedEndpoint {
        address: place?,
        attributes: Attributes {
            hostname: hostname.as_str().into(),
            weight: weight?,
            health_status: status?,
            metadata: of("envoy.lb"),
            transport_socket_match: of("envoy.transport_socket_match"),
            health_check: health_check?.map(Box::new),
        },
    })
}

fn health_check_target(
    at: &At<'_>,
    message: &HealthCheckConfig,
    endpoint: Option<&Address>,
) -> Option<HealthCheckTarget> {
    let HealthCheckConfig {
        port_value,
        hostname,
        address: place,
        disable_active_health_check,
    } = message;
    let Ok(port) = u16::try_from(*port_value) else {
        return at
            .field("port_value")
            .fault(format!("{port_value} is more than 65535"));
    };
    let checked = match place {
        None => None,
        Some(message) => {
            let at = at.field("address");
            match address(&at, message)? {
                Address::Ip(address) => Some(address),
                Address::Name(name, _) => {
                    return at.fault(format!("'{name}' is no IP address"));
                }
            }
        }
    };
    // The other port wins over that of the other address.
    let served = match endpoint {
        Some(Address::Ip(address)) => Some(*address),
        _ => None,
    };
    let checked = match (checked, port) {
        (checked, 0) => checked,
        (checked, port) => {
            let address = checked.or(served).map(|address| address.ip());
            if address.is_none() && endpoint.is_some() {
                at.field("port_value")
                    .unsupported("an endpoint with a name is checked at the port it serves at");
            }
            address.map(|ip| SocketAddr::new(ip, port))
        }
    };
    Some(HealthCheckTarget {
        address: checked,
        hostname: hostname.as_str().into(),
        disabled: *disable_active_health_check,
    })
}

fn address(at: &At<'_>, message: &core::Address) -> Option<Address> {
    let socket = match at.required("address", message.address.as_ref())? {
        AddressMessage::SocketAddress(socket) => socket,
        AddressMessage::Pipe(_) => {
            return at
                .field("pipe")
                .fault("Unix domain sockets are not supported as endpoints");
        }
        AddressMessage::EnvoyInternalAddress(_) => {
            return at
                .field("envoy_internal_address")
                .fault("internal listeners are not supported");
        }
    };
    let at = at.field("socket_address");
    let core::SocketAddress {
        protocol,
        address,
        resolver_name,
        // Of listeners.
        ipv4_compat: _,
        network_namespace_filepath,
        port_specifier,
    } = socket;
    let mut sound = true;
    let mut refuse = |field: &str, message: &str| {
        at.field(field).fault::<()>(message);
        sound = false;
    };
    if *protocol != core::socket_address::Protocol::Tcp as i32 {
        refuse("protocol", "only TCP is supported");
    }
    if address.is_empty() {
        refuse("address", "is empty");
    }
    if !resolver_name.is_empty() {
        refuse("resolver_name", "other resolvers are not supported");
    }
    if !network_namespace_filepath.is_empty() {
        refuse(
            "network_namespace_filepath",
            "other network namespaces are not supported",
        );
    }
    let port = match at.required("port_specifier", port_specifier.as_ref())? {
        PortSpecifier::PortValue(port) => u16::try_from(*port).map_or_else(
            |_| {
                at.field("port_value")
                    .fault(format!("{port} is more than 65535"))
            },
            Some,
        ),
        PortSpecifier::NamedPort(name) => at
            .field("named_port")
            .fault(format!("'{name}': ports cannot be named")),
    };
    let port = port.filter(|_| sound)?;
    Some(match address.parse::<IpAddr>() {
        Ok(ip) => Address::Ip(SocketAddr::new(ip, port)),
        Err(_) => Address::Name(address.as_str().into(), port),
    })
}

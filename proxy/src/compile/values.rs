//! Values that many messages hold.

use std::{net::SocketAddr, time::Duration};

use fairlead_xds::{
    envoy::config::core::v3::{Address, SocketAddress, address, socket_address::PortSpecifier},
    google::protobuf,
};

use super::At;

/// The longest that Protobuf's durations may be: ten thousand years.
const LONGEST_SECONDS: u64 = 315_576_000_000;

/// A time span that is not negative.
pub fn duration(at: &At<'_>, duration: &protobuf::Duration) -> Option<Duration> {
    let protobuf::Duration { seconds, nanos } = *duration;
    match (u64::try_from(seconds), u32::try_from(nanos)) {
        (Ok(seconds @ ..=LONGEST_SECONDS), Ok(nanos @ ..=999_999_999)) => {
            Some(Duration::new(seconds, nanos))
        }
        _ => at.fault(format!("{seconds} s and {nanos} ns are no time span")),
    }
}

/// A time span that is longer than nothing.
pub fn positive(at: &At<'_>, value: &protobuf::Duration) -> Option<Duration> {
    match duration(at, value)? {
        Duration::ZERO => at.fault("is 0; a time longer than that is accepted"),
        duration => Some(duration),
    }
}

/// The time span of that name, or the default where there is none.
pub fn duration_or(
    at: &At<'_>,
    name: &str,
    value: Option<&protobuf::Duration>,
    default: Duration,
) -> Option<Duration> {
    value.map_or(Some(default), |value| duration(&at.field(name), value))
}

/// An IP address with a port of TCP.
pub fn socket_address(at: &At<'_>, address: &Address) -> Option<SocketAddr> {
    match at.required("address", address.address.as_ref())? {
        address::Address::SocketAddress(address) => {
            tcp_address(&at.field("socket_address"), address)
        }
        address::Address::Pipe(_) => at.field("pipe").fault("pipes are not supported"),
        address::Address::EnvoyInternalAddress(_) => at
            .field("envoy_internal_address")
            .fault("internal listeners are not supported"),
    }
}

/// As [`socket_address`].
pub fn tcp_address(at: &At<'_>, message: &SocketAddress) -> Option<SocketAddr> {
    let SocketAddress {
        protocol,
        address,
        resolver_name,
        // Says of `::` that it takes IPv4, too; the listener asks.
        ipv4_compat: _,
        network_namespace_filepath,
        port_specifier,
    } = message;
    if *protocol != 0 {
        return at.field("protocol").fault("only TCP is supported");
    }
    for (name, value) in [
        ("resolver_name", resolver_name),
        ("network_namespace_filepath", network_namespace_filepath),
    ] {
        if !value.is_empty() {
            return at.field(name).fault("is not supported");
        }
    }
    let port = match at.required("port_value", port_specifier.as_ref())? {
        PortSpecifier::PortValue(port) => match u16::try_from(*port) {
            Ok(port) => port,
            Err(_) => return at.field("port_value").fault(format!("{port} is no port")),
        },
        PortSpecifier::NamedPort(_) => {
            return at.field("named_port").fault("is not supported");
        }
    };
    match address.parse() {
        Ok(ip) => Some(SocketAddr::new(ip, port)),
        Err(_) => at
            .field("address")
            .fault(format!("'{address}' is no IP address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Findings;

    #[track_caller]
    fn check<T: std::fmt::Debug + PartialEq>(
        compile: impl Fn(&At<'_>) -> Option<T>,
        expected: Result<T, &str>,
    ) {
        let findings = Findings::default();
        let found = compile(&findings.at("x"));
        match expected {
            Ok(value) => assert_eq!((found, findings.faults()), (Some(value), Vec::new())),
            Err(fault) => assert_eq!(findings.faults()[0].to_string(), fault),
        }
    }

    #[test]
    fn durations_are_time_spans() {
        let of = |seconds, nanos| protobuf::Duration { seconds, nanos };
        check(
            |at| duration(at, &of(1, 500_000_000)),
            Ok(Duration::from_millis(1500)),
        );
        check(|at| duration(at, &of(0, 0)), Ok(Duration::ZERO));
        check(
            |at| duration(at, &of(-1, 0)),
            Err("x: -1 s and 0 ns are no time span"),
        );
        check(
            |at| duration(at, &of(315_576_000_001, 0)),
            Err("x: 315576000001 s and 0 ns are no time span"),
        );
        check(
            |at| duration(at, &of(0, 1_000_000_000)),
            Err("x: 0 s and 1000000000 ns are no time span"),
        );
        check(
            |at| positive(at, &of(0, 0)),
            Err("x: is 0; a time longer than that is accepted"),
        );
    }

    fn address(address: &str, port: u32) -> SocketAddress {
        SocketAddress {
            address: address.to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        }
    }

    #[test]
    fn addresses_are_ip_with_a_port_of_tcp() {
        let sound = "10.1.2.3:80".parse().unwrap();
        check(|at| tcp_address(at, &address("10.1.2.3", 80)), Ok(sound));
        let faults = [
            (address("ten", 80), "x.address: 'ten' is no IP address"),
            (
                address("10.1.2.3", 65_536),
                "x.port_value: 65536 is no port",
            ),
            (
                SocketAddress {
                    protocol: 1,
                    ..address("10.1.2.3", 80)
                },
                "x.protocol: only TCP is supported",
            ),
            (
                SocketAddress {
                    resolver_name: "a".to_owned(),
                    ..address("10.1.2.3", 80)
                },
                "x.resolver_name: is not supported",
            ),
            (
                SocketAddress {
                    port_specifier: None,
                    ..address("10.1.2.3", 80)
                },
                "x.port_value: is missing",
            ),
        ];
        for (message, fault) in faults {
            check(|at| tcp_address(at, &message), Err(fault));
        }
        let pipe = Address {
            address: Some(address::Address::Pipe(Default::default())),
        };
        check(
            |at| socket_address(at, &pipe),
            Err("x.pipe: pipes are not supported"),
        );
    }
}

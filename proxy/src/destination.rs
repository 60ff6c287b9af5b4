//! Where a captured connection was going, or why that is nowhere.
//!
//! The proxy must never connect to itself: such a connection would arrive at its own listener and
//! be passed on again, without end.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
};

use fairlead_api::values::InterceptionMode;

use crate::direction::Direction;

/// The address that the downstream had connected to, before the redirect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OriginalDst(pub SocketAddr);

/// The ports whose listeners take captured connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CapturePorts {
    /// Of `virtualOutbound`.
    pub outbound: u16,
    /// Of `virtualInbound`.
    pub inbound: u16,
}

impl CapturePorts {
    /// The port of one direction.
    pub fn of(self, direction: Direction) -> u16 {
        match direction {
            Direction::Inbound => self.inbound,
            Direction::Outbound => self.outbound,
        }
    }

    fn contains(self, port: u16) -> bool {
        port == self.inbound || port == self.outbound
    }
}

/// A connection without a destination other than the proxy itself.
#[derive(Debug)]
pub enum NotRedirected {
    /// Its destination is one of the proxy's own listeners.
    OwnPort(SocketAddr),
    /// The kernel does not tell the destination.
    Unknown {
        /// The listener's address that the connection arrived at.
        local: SocketAddr,
        /// Why the kernel does not tell.
        source: io::Error,
    },
}

impl NotRedirected {
    /// One token for machines.
    pub fn token(&self) -> &'static str {
        match self {
            Self::OwnPort(_) => "destination_is_the_proxy",
            Self::Unknown { .. } => "original_destination_unknown",
        }
    }
}

impl fmt::Display for NotRedirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnPort(address) => write!(
                f,
                "the connection was not redirected: its destination {address} is the proxy's own \
                 port {}; connect to the application's or the service's port instead",
                address.port()
            ),
            Self::Unknown { local, source } => write!(
                f,
                "the original destination of a connection at {local} is unknown: {source}; is the \
                 redirect installed in this network namespace, and connection tracking loaded?"
            ),
        }
    }
}

/// Decides where a connection goes, from what the kernel says about it.
///
/// `mode` is how connections come to the listener, `local` the address that this one arrived at,
/// and `is_local` tells whether an address is this pod's.
///
/// # Errors
/// The connection leads to the proxy itself.
pub fn decide(
    mode: InterceptionMode,
    local: SocketAddr,
    original: impl FnOnce() -> io::Result<SocketAddr>,
    ports: CapturePorts,
    is_local: impl FnOnce(IpAddr) -> bool,
) -> Result<OriginalDst, NotRedirected> {
    let local = canonical(local);
    // At a transparent socket a connection arrives with the address it was going to. With the
    // listener's own port it came straight here, or by a redirect all the same: that is how the
    // pod's own connections to itself come if they have the proxy's user id.
    if mode == InterceptionMode::Tproxy && !ports.contains(local.port()) {
        return Ok(OriginalDst(local));
    }
    let address = match original() {
        Ok(address) => canonical(address),
        // Connection tracking knows nothing of it, so it came straight to the listener.
        Err(error) if error.kind() == io::ErrorKind::NotFound => local,
        Err(source) => return Err(NotRedirected::Unknown { local, source }),
    };
    // The address it arrived at is surely ours; others are asked for only if the port is.
    if address == local || ports.contains(address.port()) && is_local(address.ip()) {
        return Err(NotRedirected::OwnPort(address));
    }
    Ok(OriginalDst(address))
}

/// Where a connection was going before it was redirected, from what the kernel says about it.
///
/// `local` is the address that it arrived at. At a `transparent` socket that is where it was going,
/// unless the port is the socket's own (`own_port`): then it came straight here, or by a redirect all
/// the same. That is how the pod's own connections to itself come if they have the proxy's user id.
///
/// # Errors
/// The kernel does not tell.
pub fn restored(
    local: SocketAddr,
    transparent: bool,
    own_port: impl FnOnce(u16) -> bool,
    original: impl FnOnce() -> io::Result<SocketAddr>,
) -> io::Result<SocketAddr> {
    let local = canonical(local);
    if transparent && !own_port(local.port()) {
        return Ok(local);
    }
    match original() {
        Ok(address) => Ok(canonical(address)),
        // Connection tracking knows nothing of it, so it came straight to the listener.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(local),
        Err(error) => Err(error),
    }
}

/// An IPv4 address in its own form, where a socket of both families gives it as `::ffff:1.2.3.4`.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => (v4, v6.port()).into(),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: CapturePorts = CapturePorts {
        outbound: 15001,
        inbound: 15006,
    };

    #[track_caller]
    fn check(original: Result<&str, io::ErrorKind>, local: &str, expected: Result<&str, &str>) {
        check_mode(InterceptionMode::Redirect, original, local, expected);
    }

    #[track_caller]
    fn check_mode(
        mode: InterceptionMode,
        original: Result<&str, io::ErrorKind>,
        local: &str,
        expected: Result<&str, &str>,
    ) {
        let original = || Ok(original?.parse().unwrap());
        let own = |ip: IpAddr| ["10.0.0.1", "127.0.0.1", "fd00::1"].contains(&&*ip.to_string());
        let decided = decide(mode, local.parse().unwrap(), original, PORTS, own);
        match (decided, expected) {
            (Ok(OriginalDst(found)), Ok(wanted)) => assert_eq!(found.to_string(), wanted),
            (Err(found), Err(words)) => assert!(found.to_string().contains(words), "{found}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn a_redirected_connection_goes_where_it_was_going() {
        check(Ok("10.9.9.9:80"), "127.0.0.1:15001", Ok("10.9.9.9:80"));
        check(Ok("[fd00::9]:80"), "[::1]:15001", Ok("[fd00::9]:80"));
        check(Ok("10.0.0.1:80"), "10.0.0.1:15006", Ok("10.0.0.1:80"));
        // Somebody else's proxy port is none of ours.
        check(
            Ok("10.9.9.9:15006"),
            "127.0.0.1:15001",
            Ok("10.9.9.9:15006"),
        );
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        check(
            Ok("[::ffff:10.9.9.9]:80"),
            "[::ffff:127.0.0.1]:15001",
            Ok("10.9.9.9:80"),
        );
        check(
            Ok("[::ffff:10.0.0.1]:15006"),
            "[::ffff:10.0.0.1]:15006",
            Err("10.0.0.1:15006"),
        );
    }

    #[test]
    fn the_proxys_own_port_is_no_destination() {
        let own = Err("its destination 10.0.0.1:15001 is the proxy's own port 15001");
        check(Ok("10.0.0.1:15001"), "10.0.0.1:15001", own);
        check(Ok("10.0.0.1:15001"), "127.0.0.1:15006", own);
        check(Err(io::ErrorKind::NotFound), "10.0.0.1:15001", own);
        check(Ok("[fd00::1]:15006"), "[::1]:15001", Err("own port 15006"));
        // Whatever the ports are configured to be, the address it arrived at is ours.
        check(Ok("10.7.7.7:4000"), "10.7.7.7:4000", Err("own port 4000"));
    }

    #[test]
    fn at_a_transparent_socket_a_connection_goes_where_it_arrived() {
        let check = |original, local, expected| {
            check_mode(InterceptionMode::Tproxy, original, local, expected);
        };
        let nothing = Err(io::ErrorKind::Unsupported);
        check(nothing, "10.0.0.1:80", Ok("10.0.0.1:80"));
        check(nothing, "[fd00::1]:80", Ok("[fd00::1]:80"));
        check(nothing, "[::ffff:10.0.0.1]:80", Ok("10.0.0.1:80"));
        // What a translation of addresses before this pod left is none of the proxy's business.
        check(Ok("10.9.9.9:90"), "10.0.0.1:80", Ok("10.0.0.1:80"));
        // The pod's own, by redirect.
        check(Ok("10.0.0.1:80"), "127.0.0.1:15006", Ok("10.0.0.1:80"));
        let own = Err("its destination 10.0.0.1:15006 is the proxy's own port 15006");
        check(Err(io::ErrorKind::NotFound), "10.0.0.1:15006", own);
        check(Ok("10.0.0.1:15006"), "10.0.0.1:15006", own);
        check(
            Ok("[fd00::1]:15001"),
            "[fd00::1]:15001",
            Err("own port 15001"),
        );
    }

    #[test]
    fn a_kernel_that_does_not_tell_is_named() {
        check(
            Err(io::ErrorKind::Unsupported),
            "127.0.0.1:15001",
            Err("is the redirect installed"),
        );
    }
}

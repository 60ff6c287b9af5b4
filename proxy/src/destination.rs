//! Where a captured connection was going, or why that is nowhere.
//!
//! The proxy must never connect to itself: such a connection would arrive at its own listener and
//! be passed on again, without end.

use std::{fmt, io, net::SocketAddr};

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

    #[track_caller]
    fn check(
        transparent: bool,
        original: Result<&str, io::ErrorKind>,
        local: &str,
        expected: Result<&str, io::ErrorKind>,
    ) {
        let original = || Ok(original?.parse().unwrap());
        let own_port = |port| [15001, 15006].contains(&port);
        let found = restored(local.parse().unwrap(), transparent, own_port, original);
        let found = found.map(|address| address.to_string());
        let expected = expected.map(str::to_owned);
        assert_eq!(found.map_err(|error| error.kind()), expected);
    }

    #[test]
    fn a_redirected_connection_goes_where_it_was_going() {
        let check = |original, local, expected| check(false, Ok(original), local, Ok(expected));
        check("10.9.9.9:80", "127.0.0.1:15001", "10.9.9.9:80");
        check("[fd00::9]:80", "[::1]:15001", "[fd00::9]:80");
        check("10.0.0.1:80", "10.0.0.1:15006", "10.0.0.1:80");
        check("10.9.9.9:15006", "127.0.0.1:15001", "10.9.9.9:15006");
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        let local = "[::ffff:127.0.0.1]:15001";
        check(false, Ok("[::ffff:10.9.9.9]:80"), local, Ok("10.9.9.9:80"));
        let nothing = Err(io::ErrorKind::NotFound);
        check(false, nothing, local, Ok("127.0.0.1:15001"));
    }

    #[test]
    fn at_a_transparent_socket_a_connection_goes_where_it_arrived() {
        let check = |original, local, expected| check(true, original, local, Ok(expected));
        let nothing = Err(io::ErrorKind::Unsupported);
        check(nothing, "10.0.0.1:80", "10.0.0.1:80");
        check(nothing, "[fd00::1]:80", "[fd00::1]:80");
        check(nothing, "[::ffff:10.0.0.1]:80", "10.0.0.1:80");
        // What a translation of addresses before this pod left is none of the proxy's business.
        check(Ok("10.9.9.9:90"), "10.0.0.1:80", "10.0.0.1:80");
        // The pod's own, by redirect.
        check(Ok("10.0.0.1:80"), "127.0.0.1:15006", "10.0.0.1:80");
        let straight = Err(io::ErrorKind::NotFound);
        check(straight, "10.0.0.1:15006", "10.0.0.1:15006");
    }

    #[test]
    fn a_kernel_that_does_not_tell_is_no_destination() {
        let unsupported = Err(io::ErrorKind::Unsupported);
        check(false, unsupported, "127.0.0.1:15001", unsupported);
    }

    #[test]
    fn each_way_to_be_without_a_destination_has_its_own_words() {
        let address = "10.0.0.1:15001".parse().unwrap();
        let own = NotRedirected::OwnPort(address);
        assert_eq!(own.token(), "destination_is_the_proxy");
        let words = own.to_string();
        let expected = "its destination 10.0.0.1:15001 is the proxy's own port 15001";
        assert!(words.contains(expected), "{words}");
        let source = io::ErrorKind::Unsupported.into();
        let unknown = NotRedirected::Unknown {
            local: address,
            source,
        };
        assert_eq!(unknown.token(), "original_destination_unknown");
        let words = unknown.to_string();
        assert!(words.contains("is the redirect installed"), "{words}");
    }
}

//! Makes the upstream connection, and tells the causes of failure apart.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::io::Errno;
use socket2::SockRef;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{cluster::config::ConnectionOptions, direction::Direction};

/// Where a connection goes and from which address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// Seen from the pod.
    pub direction: Direction,
    /// Where it goes.
    pub address: SocketAddr,
    /// The address it must come from; none: as the route says.
    pub source: Option<SocketAddr>,
}

/// Connects, within the time-out.
///
/// # Errors
/// The cause, with the addresses.
pub async fn connect(upstream: Upstream, within: Duration) -> Result<TcpStream, ConnectError> {
    connect_with(upstream, &ConnectionOptions::PLAIN, within).await
}

/// As [`connect`], on a socket with these options; of their sources the upstream tells the one.
///
/// # Errors
/// The cause, with the addresses.
pub async fn connect_with(
    upstream: Upstream,
    options: &ConnectionOptions,
    within: Duration,
) -> Result<TcpStream, ConnectError> {
    dial(upstream, options, within, true).await
}

/// As [`connect_with`], but the upstream learns that the connection is there with the first bytes that
/// it is sent, which saves a packet. If there are none at once, it is to be told by
/// [`acknowledge`]: else the kernel waits a fifth of a second.
///
/// # Errors
/// The cause, with the addresses.
pub async fn connect_to_send(
    upstream: Upstream,
    options: &ConnectionOptions,
    within: Duration,
) -> Result<TcpStream, ConnectError> {
    dial(upstream, options, within, false).await
}

/// Sends the acknowledgment that [`connect_to_send`] left out.
pub fn acknowledge(upstream: &TcpStream) {
    // Fails only for a socket that is closed.
    let _ = upstream.set_quickack(true);
}

async fn dial(
    upstream: Upstream,
    options: &ConnectionOptions,
    within: Duration,
    at_once: bool,
) -> Result<TcpStream, ConnectError> {
    let failed = |cause| ConnectError { upstream, cause };
    let socket = match upstream.address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(|error| failed(Cause::of(error)))?;
    let prepare = || {
        let socket = SockRef::from(&socket);
        options.apply(&socket)?;
        if !at_once {
            socket.set_tcp_quickack(false)?;
        }
        Ok(())
    };
    prepare().map_err(|error| failed(Cause::of(error)))?;
    if let Some(source) = upstream.source {
        bind(&socket, source).map_err(|error| failed(Cause::of_bind(error, source)))?;
    }
    match timeout(within, socket.connect(upstream.address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(Cause::of(error))),
        Err(_) => Err(failed(Cause::TimedOut { within })),
    }
}

fn bind(socket: &TcpSocket, source: SocketAddr) -> io::Result<()> {
    if source.port() == 0 {
        // The port is chosen when the destination is known, so that connections to different
        // destinations may share one: else 28,000 connections would take all there are.
        setsockopt(socket, IpBindAddressNoPort, &true)?;
    }
    socket.bind(source)
}

/// An upstream connection that could not be made.
#[derive(Debug)]
pub struct ConnectError {
    upstream: Upstream,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Refused,
    TimedOut { within: Duration },
    NoAnswer,
    HostUnreachable,
    NetworkUnreachable,
    NotPermitted,
    Reset,
    SourceMissing { source: IpAddr },
    PortsExhausted,
    DescriptorsExhausted,
    MemoryExhausted,
    Other(io::Error),
}

impl Cause {
    fn of(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::CONNREFUSED) => Self::Refused,
            Some(Errno::TIMEDOUT) => Self::NoAnswer,
            Some(Errno::HOSTUNREACH) => Self::HostUnreachable,
            Some(Errno::NETUNREACH) => Self::NetworkUnreachable,
            Some(Errno::PERM | Errno::ACCESS) => Self::NotPermitted,
            Some(Errno::CONNRESET) => Self::Reset,
            Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => Self::PortsExhausted,
            Some(Errno::MFILE | Errno::NFILE) => Self::DescriptorsExhausted,
            Some(Errno::NOBUFS | Errno::NOMEM) => Self::MemoryExhausted,
            _ => Self::Other(error),
        }
    }

    fn of_bind(error: io::Error, source: SocketAddr) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::ADDRNOTAVAIL) => Self::SourceMissing {
                source: source.ip(),
            },
            _ => Self::of(error),
        }
    }
}

impl std::error::Error for ConnectError {}

impl ConnectError {
    /// Whether the upstream did not answer in time.
    pub fn is_time_out(&self) -> bool {
        matches!(self.cause, Cause::TimedOut { .. } | Cause::NoAnswer)
    }

    /// Whether the source address could not be had.
    pub fn is_of_bind(&self) -> bool {
        matches!(self.cause, Cause::SourceMissing { .. })
    }

    /// Whether the fault is of this pod.
    pub fn is_ours(&self) -> bool {
        match self.cause {
            Cause::Refused
            | Cause::TimedOut { .. }
            | Cause::NoAnswer
            | Cause::HostUnreachable
            | Cause::NetworkUnreachable
            | Cause::Reset => false,
            Cause::NotPermitted
            | Cause::SourceMissing { .. }
            | Cause::PortsExhausted
            | Cause::DescriptorsExhausted
            | Cause::MemoryExhausted
            | Cause::Other(_) => true,
        }
    }

    /// Envoy's words, where it has some, and ours.
    pub fn transport_failure_reason(&self) -> String {
        let envoy = match self.cause {
            Cause::Refused => "delayed_connect_error:_Connection_refused",
            Cause::NoAnswer => "delayed_connect_error:_Connection_timed_out",
            Cause::HostUnreachable => "delayed_connect_error:_No_route_to_host",
            Cause::Reset => "delayed_connect_error:_Connection_reset_by_peer",
            Cause::NetworkUnreachable => "immediate_connect_error:_Network_is_unreachable",
            _ => return self.to_string(),
        };
        format!("{envoy}: {self}")
    }

    /// One token for machines.
    pub fn token(&self) -> &'static str {
        match self.cause {
            Cause::Refused => "upstream_connect_refused",
            Cause::TimedOut { .. } | Cause::NoAnswer => "upstream_connect_timeout",
            Cause::HostUnreachable => "upstream_host_unreachable",
            Cause::NetworkUnreachable => "upstream_network_unreachable",
            Cause::NotPermitted => "upstream_connect_not_permitted",
            Cause::Reset => "upstream_reset_while_connecting",
            Cause::SourceMissing { .. } => "source_address_missing",
            Cause::PortsExhausted => "local_ports_exhausted",
            Cause::DescriptorsExhausted => "file_descriptors_exhausted",
            Cause::MemoryExhausted => "socket_memory_exhausted",
            Cause::Other(_) => "upstream_connect_failed",
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Upstream {
            direction, address, ..
        } = self.upstream;
        write!(f, "connect to {address}: ")?;
        match &self.cause {
            Cause::Refused => match direction {
                Direction::Inbound => f.write_str(
                    "refused: no application in this pod listens on that port of that address",
                ),
                Direction::Outbound => f.write_str("refused: nothing listens on that port there"),
            },
            Cause::TimedOut { within } => write!(
                f,
                "no answer within {}: packets are dropped on the way (a network policy, a \
                 firewall, a host that is gone)",
                humantime::format_duration(*within)
            ),
            Cause::NoAnswer => f.write_str(
                "no answer: packets are dropped on the way (a network policy, a firewall, a host \
                 that is gone)",
            ),
            Cause::HostUnreachable => f.write_str(
                "host unreachable: nobody has that address on its network, or a router or \
                 firewall rejects it",
            ),
            Cause::NetworkUnreachable => {
                f.write_str("network unreachable: this pod has no route there")
            }
            Cause::NotPermitted => f.write_str(
                "not permitted: a firewall rule or policy of this pod's own network forbids it",
            ),
            Cause::Reset => f.write_str(
                "reset by the other side as soon as it was open: its sidecar could not reach the \
                 application, or a firewall rejects the connection",
            ),
            Cause::SourceMissing { source } => write!(
                f,
                "the source address {source} is missing in this pod: fairlead-init gives it to \
                 the loopback interface (ip -6 address add {source}/128 dev lo)"
            ),
            Cause::PortsExhausted => {
                f.write_str("no local port is free for it: too many connections to one address")
            }
            Cause::DescriptorsExhausted => f.write_str(
                "the proxy is out of file descriptors: too many connections, or the container's \
                 limit (nofile) is too low",
            ),
            Cause::MemoryExhausted => f.write_str("the kernel is out of memory for sockets"),
            Cause::Other(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn error(direction: Direction, cause: Cause) -> ConnectError {
        let address = "10.1.2.3:80".parse().unwrap();
        let upstream = Upstream {
            direction,
            address,
            source: None,
        };
        ConnectError { upstream, cause }
    }

    #[track_caller]
    fn check(errno: Errno, ours: bool, token: &str, words: &str) {
        let error = error(Direction::Outbound, Cause::of(errno.into()));
        assert_eq!((error.token(), error.is_ours()), (token, ours));
        let found = error.to_string();
        assert!(found.starts_with("connect to 10.1.2.3:80: "), "{found}");
        assert!(found.contains(words), "{found}");
    }

    #[test]
    fn each_cause_has_its_own_words() {
        let (ours, theirs) = (true, false);
        check(
            Errno::CONNREFUSED,
            theirs,
            "upstream_connect_refused",
            "nothing listens on that port there",
        );
        check(
            Errno::TIMEDOUT,
            theirs,
            "upstream_connect_timeout",
            "no answer: packets are dropped",
        );
        check(
            Errno::HOSTUNREACH,
            theirs,
            "upstream_host_unreachable",
            "host unreachable",
        );
        check(
            Errno::NETUNREACH,
            theirs,
            "upstream_network_unreachable",
            "no route",
        );
        check(
            Errno::CONNRESET,
            theirs,
            "upstream_reset_while_connecting",
            "reset by the other side",
        );
        for errno in [Errno::PERM, Errno::ACCESS] {
            check(
                errno,
                ours,
                "upstream_connect_not_permitted",
                "of this pod's own network forbids it",
            );
        }
        check(
            Errno::ADDRNOTAVAIL,
            ours,
            "local_ports_exhausted",
            "no local port is free",
        );
        for errno in [Errno::MFILE, Errno::NFILE] {
            check(
                errno,
                ours,
                "file_descriptors_exhausted",
                "out of file descriptors",
            );
        }
        check(
            Errno::NOBUFS,
            ours,
            "socket_memory_exhausted",
            "out of memory",
        );
        check(
            Errno::PROTO,
            ours,
            "upstream_connect_failed",
            "Protocol error",
        );
    }

    #[test]
    fn a_time_out_tells_how_long_it_waited() {
        let within = Duration::from_millis(1500);
        let error = error(Direction::Outbound, Cause::TimedOut { within });
        assert!(error.is_time_out() && !error.is_ours());
        assert_eq!(error.token(), "upstream_connect_timeout");
        let words = error.to_string();
        assert!(words.contains("no answer within 1s 500ms"), "{words}");
    }

    #[test]
    fn an_inbound_refusal_is_the_applications() {
        let error = error(Direction::Inbound, Cause::Refused);
        let words = error.to_string();
        assert!(words.contains("no application in this pod"), "{words}");
    }

    #[test]
    fn a_missing_source_address_tells_how_to_add_it() {
        let source = SocketAddr::from((Ipv6Addr::from_bits(6), 0));
        let cause = Cause::of_bind(Errno::ADDRNOTAVAIL.into(), source);
        let error = error(Direction::Inbound, cause);
        assert_eq!(error.token(), "source_address_missing");
        let words = error.to_string();
        assert!(
            words.contains("ip -6 address add ::6/128 dev lo"),
            "{words}"
        );
    }
}

//! Where captured connections shall arrive.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use super::{
    Settings, ValidationError,
    identity::{Credentials, Identity},
    probe::{Kind, Plan, Transport},
};
use crate::{config::Mode, rules::Family};

/// What had the port may be about to end: an earlier run, or what that one started.
const PATIENCE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(5);
/// As many as connections are made at a time, and some more of others.
const BACKLOG: i32 = 128;

/// All that one validation needs; gone at its end.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) all: Vec<Listener>,
    pub(super) credentials: Credentials,
}

/// A socket that takes connections or datagrams.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: Socket,
    pub(super) port: u16,
    pub(super) transport: Transport,
    /// It is made as the proxy's, so that what it answers is taken for the proxy's.
    pub(super) answers: bool,
}

impl Listeners {
    pub(super) fn open(
        settings: &Settings,
        plan: &Plan,
        credentials: &Credentials,
    ) -> Result<Self, ValidationError> {
        let places = places(settings, plan, credentials.net_admin);
        let listeners = places.into_iter().map(|place| {
            let address = place.address;
            Listener::open_patiently(place, plan.answers_as, credentials).map_err(|source| {
                match source.kind() {
                    io::ErrorKind::AddrInUse => ValidationError::Taken { address },
                    io::ErrorKind::PermissionDenied => ValidationError::PrivilegedPort { address },
                    _ => ValidationError::Listen { address, source },
                }
            })
        });
        Ok(Self {
            all: listeners.collect::<Result<_, _>>()?,
            credentials: *credentials,
        })
    }
}

/// Where to listen, and how.
#[derive(Clone, Copy, Debug)]
struct Place {
    address: SocketAddr,
    transport: Transport,
    transparent: bool,
}

/// The places that the probes of a plan may arrive at.
fn places(settings: &Settings, plan: &Plan, net_admin: bool) -> Vec<Place> {
    let mut places = Vec::new();
    let Settings {
        redirect, families, ..
    } = settings;
    for family in families {
        let mut probes = plan
            .probes
            .iter()
            .filter(|probe| probe.family == *family)
            .peekable();
        if probes.peek().is_none() {
            continue;
        }
        let asks = probes.any(|probe| matches!(probe.kind, Kind::Question(_)));
        let transparent = net_admin && redirect.mode == Mode::Tproxy;
        let inbound = match transparent {
            false => loopback(*family),
            // TPROXY looks for a listener at the interface's first address, whichever that is.
            true => unspecified(*family),
        };
        let place = |address, port, transport, transparent| Place {
            address: SocketAddr::new(address, port),
            transport,
            transparent,
        };
        let (tcp, udp) = (Transport::Tcp, Transport::Udp);
        places.push(place(loopback(*family), redirect.outbound_port, tcp, false));
        places.push(place(inbound, redirect.inbound_port, tcp, transparent));
        if let Some(dns) = redirect.dns.as_ref().filter(|_| asks) {
            places.push(place(loopback(*family), dns.port, tcp, false));
            places.push(place(loopback(*family), dns.port, udp, false));
        }
    }
    places
}

impl Listener {
    fn open_patiently(
        place: Place,
        answers_as: Option<Identity>,
        credentials: &Credentials,
    ) -> io::Result<Self> {
        let end = Instant::now() + PATIENCE;
        loop {
            match Self::open(place, answers_as, credentials) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                    thread::sleep(PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    fn open(
        place: Place,
        answers_as: Option<Identity>,
        credentials: &Credentials,
    ) -> io::Result<Self> {
        let Place {
            address,
            transport,
            transparent,
        } = place;
        let domain = Domain::for_address(address);
        let (kind, identity) = match transport {
            Transport::Tcp => (Type::STREAM, credentials.own),
            Transport::Udp => (Type::DGRAM, answers_as.unwrap_or(credentials.own)),
        };
        let socket = credentials.socket(identity, domain, kind)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if transport == Transport::Tcp {
            // What is left of an earlier run's connections does not hold the port.
            socket.set_reuse_address(true)?;
        }
        if transparent && address.is_ipv6() {
            socket.set_ip_transparent_v6(true)?;
        } else if transparent {
            socket.set_ip_transparent_v4(true)?;
        }
        socket.bind(&address.into())?;
        if transport == Transport::Tcp {
            socket.listen(BACKLOG)?;
        }
        Ok(Self {
            socket,
            port: address.port(),
            transport,
            answers: transport == Transport::Udp && answers_as.is_some(),
        })
    }
}

/// The one address that local connections come from, and are redirected to.
pub(super) fn loopback(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
        Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Any address of the pod.
pub(super) fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

//! Where captured connections shall arrive.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Socket, Type};

use super::{
    Mode, Settings, ValidationError,
    identity::{Credentials, Identity},
    probe::{Kind, Plan, Transport},
};
use crate::rules::Family;

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
        let mut all = Vec::new();
        let mut families: Vec<Family> = Vec::new();
        for probe in &plan.probes {
            if !families.contains(&probe.family) {
                families.push(probe.family);
            }
        }
        for family in families {
            // TPROXY looks for a listener at the first address of the interface, whichever that is.
            let transparent = credentials.net_admin && matches!(settings.mode, Mode::Tproxy { .. });
            let loopback = SocketAddr::new(loopback(family), settings.outbound_port);
            let mut listen = |address: SocketAddr, transport, transparent| {
                let listener = Listener::open(
                    address,
                    transport,
                    transparent,
                    plan.answers_as,
                    credentials,
                );
                all.push(listener.map_err(|source| match source.kind() {
                    io::ErrorKind::AddrInUse => ValidationError::Taken { address },
                    _ => ValidationError::Listen { address, source },
                })?);
                Ok::<(), ValidationError>(())
            };
            listen(loopback, Transport::Tcp, false)?;
            let inbound = match (transparent, family) {
                (false, _) => loopback.ip(),
                (true, Family::Ipv4) => Ipv4Addr::UNSPECIFIED.into(),
                (true, Family::Ipv6) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let inbound = SocketAddr::new(inbound, settings.inbound_port);
            listen(inbound, Transport::Tcp, transparent)?;
            let asks = plan
                .probes
                .iter()
                .any(|probe| probe.family == family && matches!(probe.kind, Kind::Question(_)));
            if let Some(dns) = settings.dns.as_ref().filter(|_| asks) {
                let address = SocketAddr::new(loopback.ip(), dns.port);
                listen(address, Transport::Tcp, false)?;
                listen(address, Transport::Udp, false)?;
            }
        }
        Ok(Self {
            all,
            credentials: *credentials,
        })
    }
}

impl Listener {
    fn open(
        address: SocketAddr,
        transport: Transport,
        transparent: bool,
        answers_as: Option<Identity>,
        credentials: &Credentials,
    ) -> io::Result<Self> {
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

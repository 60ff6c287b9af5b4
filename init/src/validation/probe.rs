//! Which connections show that the rules stand: settings, credentials and routes → probes.

mod choice;
mod client;

use std::net::{IpAddr, SocketAddr};

use fairlead_api::values::Selection;

use self::{
    choice::{Chooser, has_port},
    client::{application, enters, is_proxy, not_the_proxy, proxy},
};
use super::{
    Dns, Mode, Settings,
    identity::{Credentials, Identity},
    listeners::loopback,
    surroundings::Route,
};
use crate::rules::Family;

/// The port of name servers.
pub(super) const DNS: u16 = 53;

/// A connection, and where it shall arrive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Probe {
    pub(super) family: Family,
    pub(super) kind: Kind,
    /// Who connects.
    pub(super) client: Identity,
    /// The mark of its packets, where the rules would not give it.
    pub(super) mark: Option<u32>,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: SocketAddr,
    pub(super) expected: Expected,
}

/// What a probe shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// The proxy's connection to its own pod enters by the inbound port.
    Inbound,
    /// The same with its addresses unchanged.
    Transparent,
    /// An application's connection leaves by the outbound port.
    Outbound,
    /// The proxy's connection leaves.
    ProxyOutbound,
    /// An application's question to a name server goes to the proxy.
    Question(Transport),
}

/// What carries a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// What shall become of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expected {
    /// A listener of ours takes it.
    ArrivesAt(u16),
    /// None does.
    Leaves,
}

impl Probe {
    pub(super) fn transport(&self) -> Transport {
        match self.kind {
            Kind::Question(transport) => transport,
            _ => Transport::Tcp,
        }
    }
}

/// A packet with TPROXY's mark, which is to be delivered whoever it is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Delivery {
    pub(super) family: Family,
    pub(super) mark: u32,
    pub(super) table: u32,
    pub(super) destination: IpAddr,
}

/// What is tried.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Plan {
    pub(super) probes: Vec<Probe>,
    pub(super) deliveries: Vec<Delivery>,
    /// What is not, and why.
    pub(super) left_out: Vec<String>,
    /// As whom questions are answered, where an answer can find its way back.
    pub(super) answers_as: Option<Identity>,
}

/// Chooses the probes that the settings and the process admit.
pub(super) fn plan(
    settings: &Settings,
    credentials: &Credentials,
    route: impl Fn(IpAddr) -> Option<Route>,
) -> Plan {
    let mut plan = Plan {
        answers_as: proxy(settings, credentials),
        ..Plan::default()
    };
    for family in &settings.families {
        let chooser = Chooser {
            settings,
            family: *family,
            route: &route,
        };
        let mut add = |name: &str, probe: Result<Probe, String>| match probe {
            Ok(probe) => plan.probes.push(probe),
            Err(reason) => {
                let family = family_name(*family);
                plan.left_out
                    .push(format!("{family} {name}: not tried: {reason}"));
            }
        };
        add("inbound", inbound(&chooser, credentials));
        if let Mode::Tproxy {
            mark,
            self_call_mark,
            table,
        } = settings.mode
        {
            let probe = transparent(&chooser, credentials, self_call_mark);
            add("inbound by TPROXY", probe);
            plan.deliveries
                .extend(
                    chooser
                        .foreign_addresses()
                        .next()
                        .map(|destination| Delivery {
                            family: *family,
                            mark,
                            table,
                            destination,
                        }),
                );
        }
        let outbound = chooser.outbound();
        add(
            "outbound",
            outbound.clone().and_then(|destination| {
                Ok(Probe {
                    family: *family,
                    kind: Kind::Outbound,
                    client: application(settings, credentials)?,
                    mark: None,
                    source: None,
                    destination,
                    expected: Expected::ArrivesAt(settings.outbound_port),
                })
            }),
        );
        add(
            "outbound of the proxy",
            outbound.and_then(|destination| {
                Ok(Probe {
                    family: *family,
                    kind: Kind::ProxyOutbound,
                    client: proxy(settings, credentials).ok_or_else(not_the_proxy)?,
                    mark: None,
                    source: None,
                    destination,
                    expected: Expected::Leaves,
                })
            }),
        );
        let Some(dns) = &settings.dns else {
            continue;
        };
        if !dns.has_servers(*family) {
            continue;
        }
        for (name, transport) in [("UDP", Transport::Udp), ("TCP", Transport::Tcp)] {
            let probe = question(&chooser, credentials, dns, transport);
            add(&format!("DNS by {name}"), probe);
        }
    }
    plan
}

impl Dns {
    fn has_servers(&self, family: Family) -> bool {
        match &self.servers {
            Selection::All => true,
            Selection::Only(servers) => servers.iter().any(|server| is_of(*server, family)),
        }
    }
}

fn inbound(chooser: &Chooser<'_>, credentials: &Credentials) -> Result<Probe, String> {
    let settings = chooser.settings;
    let client = proxy(settings, credentials).ok_or_else(not_the_proxy)?;
    if !enters(settings, client) {
        return Err(format!(
            "the rules capture connections over loopback only of the first of the proxy's users, \
             and this process runs as uid {} and gid {}",
            client.uid, client.gid
        ));
    }
    let address = chooser.own_address()?;
    let port = chooser.redirected_port()?;
    Ok(Probe {
        family: chooser.family,
        kind: Kind::Inbound,
        client,
        mark: None,
        source: Some(loopback(chooser.family)),
        destination: SocketAddr::new(address, port),
        expected: Expected::ArrivesAt(settings.inbound_port),
    })
}

/// A connection of the proxy is redirected in the nat table before TPROXY sees it, unless it goes
/// to a port that the nat table leaves alone. Anybody else's over loopback needs the mark.
fn transparent(
    chooser: &Chooser<'_>,
    credentials: &Credentials,
    self_call_mark: u32,
) -> Result<Probe, String> {
    let settings = chooser.settings;
    if !credentials.net_admin {
        return Err("a listener can be transparent only with the capability NET_ADMIN".to_owned());
    }
    let address = chooser.own_address()?;
    let as_proxy = proxy(settings, credentials)
        .zip(chooser.port_for_tproxy())
        .map(|(client, port)| (client, port, None));
    let own = credentials.own;
    let as_other = || {
        let unseen = !is_proxy(settings, own) && !settings.captures_loopback();
        let port = chooser.inbound_port()?;
        unseen.then_some((own, port, Some(self_call_mark)))
    };
    let (client, port, mark) = as_proxy
        .or_else(as_other)
        .ok_or("no port that the settings capture is left alone by the nat table".to_owned())?;
    Ok(Probe {
        family: chooser.family,
        kind: Kind::Transparent,
        client,
        mark,
        source: Some(loopback(chooser.family)),
        destination: SocketAddr::new(address, port),
        expected: Expected::ArrivesAt(settings.inbound_port),
    })
}

fn question(
    chooser: &Chooser<'_>,
    credentials: &Credentials,
    dns: &Dns,
    transport: Transport,
) -> Result<Probe, String> {
    let settings = chooser.settings;
    let client = application(settings, credentials)?;
    if has_port(&settings.captures.excluded_outbound_ports, DNS) {
        return Err("port 53 is excluded from the redirect".to_owned());
    }
    let server = match &dns.servers {
        Selection::All => chooser.captured_route_to(chooser.foreign_addresses()),
        Selection::Only(servers) => {
            let servers = servers.iter().copied();
            let servers = servers.filter(|server| is_of(*server, chooser.family));
            chooser.captured_route_to(servers)
        }
    };
    let server = server.ok_or("no name server has a route that the settings capture")?;
    Ok(Probe {
        family: chooser.family,
        kind: Kind::Question(transport),
        client,
        mark: None,
        source: None,
        destination: SocketAddr::new(server, DNS),
        expected: Expected::ArrivesAt(dns.port),
    })
}

pub(super) fn is_of(address: IpAddr, family: Family) -> bool {
    address.is_ipv6() == (family == Family::Ipv6)
}

/// The family as its users write it.
pub(super) fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

#[cfg(test)]
pub(in crate::validation) mod tests;

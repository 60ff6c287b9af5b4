//! Which of them the settings and the process admit: settings, credentials and routes → probes.

use std::net::{IpAddr, SocketAddr};

use fairlead_api::values::Selection;

use super::{
    DNS, Delivery, Expected, Kind, Probe, Transport,
    choice::{Chooser, has_port},
    client::{application, enters, is_proxy, not_the_proxy, proxy},
    family_name, is_of,
};
use crate::{
    config::{Dns, Mode, PolicyRoute},
    rules::{Family, SELF_CALL_MARK},
    validation::{
        Settings,
        identity::{Credentials, Identity},
        listeners::{loopback, unspecified},
        surroundings::Route,
    },
};

/// What is tried.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::validation) struct Plan {
    pub(in crate::validation) probes: Vec<Probe>,
    pub(in crate::validation) deliveries: Vec<Delivery>,
    /// What is not, and why.
    pub(in crate::validation) left_out: Vec<String>,
    /// As whom questions are answered, where an answer can find its way back.
    pub(in crate::validation) answers_as: Option<Identity>,
}

/// Chooses the probes that the settings and the process admit.
pub(in crate::validation) fn plan(
    settings: &Settings,
    credentials: &Credentials,
    route: impl Fn(IpAddr) -> Option<Route>,
) -> Plan {
    let Settings {
        redirect,
        families,
        probe_port,
        ..
    } = settings;
    let mut plan = Plan {
        answers_as: proxy(redirect, credentials),
        ..Plan::default()
    };
    for family in families {
        let chooser = Chooser {
            redirect,
            probe_port: *probe_port,
            family: *family,
            route: &route,
        };
        let mut add = |name: &str, probe: Result<Probe, String>| match probe {
            Ok(probe) => plan.probes.push(probe),
            Err(reason) => {
                let family = family_name(*family);
                plan.left_out
                    .push(format!("{family} {name} is not proven: {reason}"));
            }
        };
        add("inbound", inbound(&chooser, credentials));
        if redirect.mode == Mode::Tproxy {
            let PolicyRoute { mark, table } = redirect.policy_route;
            let probe = transparent(&chooser, credentials);
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
                    client: application(redirect, credentials)?,
                    mark: None,
                    source: None,
                    destination,
                    expected: Expected::ArrivesAt(redirect.outbound_port),
                })
            }),
        );
        add(
            "outbound of the proxy",
            outbound.and_then(|destination| {
                Ok(Probe {
                    family: *family,
                    kind: Kind::ProxyOutbound,
                    client: proxy(redirect, credentials).ok_or_else(not_the_proxy)?,
                    mark: None,
                    // The kernel takes the ports of bound sockets and those of others from
                    // different halves (net/ipv4/inet_connection_sock.c): what conntrack keeps of
                    // this connection does not let a later one of an application go.
                    source: Some(unspecified(*family)),
                    destination,
                    expected: Expected::Leaves,
                })
            }),
        );
        let Some(dns) = &redirect.dns else {
            continue;
        };
        if !has_servers(dns, *family) {
            continue;
        }
        for (name, transport) in [("UDP", Transport::Udp), ("TCP", Transport::Tcp)] {
            let probe = question(&chooser, credentials, dns, transport);
            add(&format!("DNS by {name}"), probe);
        }
    }
    plan
}

fn has_servers(dns: &Dns, family: Family) -> bool {
    match &dns.servers {
        Selection::All => true,
        Selection::Only(servers) => servers.iter().any(|server| is_of(*server, family)),
    }
}

fn inbound(chooser: &Chooser<'_>, credentials: &Credentials) -> Result<Probe, String> {
    let redirect = chooser.redirect;
    let client = proxy(redirect, credentials).ok_or_else(not_the_proxy)?;
    if !enters(redirect, client) {
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
        expected: Expected::ArrivesAt(redirect.inbound_port),
    })
}

/// A connection of the proxy is redirected in the nat table before TPROXY sees it, unless it goes
/// to a port that the nat table leaves alone. Anybody else's over loopback needs the mark.
fn transparent(chooser: &Chooser<'_>, credentials: &Credentials) -> Result<Probe, String> {
    let redirect = chooser.redirect;
    if !credentials.net_admin {
        return Err("a listener can be transparent only with the capability NET_ADMIN".to_owned());
    }
    let address = chooser.own_address()?;
    let as_proxy = proxy(redirect, credentials)
        .zip(chooser.port_for_tproxy())
        .map(|(client, port)| (client, port, None));
    let own = credentials.own;
    let as_other = || {
        let unseen = !is_proxy(redirect, own) && !redirect.captures_loopback();
        let port = chooser.inbound_port()?;
        unseen.then_some((own, port, Some(SELF_CALL_MARK)))
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
        expected: Expected::ArrivesAt(redirect.inbound_port),
    })
}

fn question(
    chooser: &Chooser<'_>,
    credentials: &Credentials,
    dns: &Dns,
    transport: Transport,
) -> Result<Probe, String> {
    let redirect = chooser.redirect;
    let client = application(redirect, credentials)?;
    if has_port(&redirect.excluded_outbound_ports, DNS) {
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

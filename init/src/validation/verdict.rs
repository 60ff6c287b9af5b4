//! What an outcome says about the rules.

use std::net::SocketAddr;

use fairlead_api::values::Selection;
use rustix::io::Errno;

use super::{
    Mode, Settings,
    identity::Identity,
    probe::{Delivery, Expected, Kind, Probe, Transport, family_name},
    round::{Arrival, Outcome},
};
use crate::rules::{Family, PASSTHROUGH_IPV6};

/// The line that tells what is proven, or the sentence that tells what is missing.
pub(super) fn judge(
    settings: &Settings,
    probe: &Probe,
    outcome: &Outcome,
) -> Result<String, String> {
    let Probe {
        destination,
        client: Identity { uid, gid },
        ..
    } = probe;
    let what = match probe.transport() {
        Transport::Tcp => "a connection",
        Transport::Udp => "a datagram",
    };
    let name = name(probe);
    let who = format!("{name}: {what} to {destination} as uid {uid} and gid {gid}");
    let Expected::ArrivesAt(port) = probe.expected else {
        return match outcome {
            Outcome::Arrived(arrival) => Err(format!(
                "{who} arrived at port {} of the pod instead of leaving: {}",
                arrival.port,
                missing(settings, probe)
            )),
            _ => Ok(format!("{who} leaves")),
        };
    };
    let instead = match outcome {
        Outcome::Arrived(arrival) if arrival.port != port => {
            format!("arrived at port {} instead of", arrival.port)
        }
        Outcome::Arrived(arrival) => match astray(probe, arrival) {
            None => return Ok(format!("{who} arrives at port {port}")),
            Some(fault) => return Err(format!("{who} arrived at port {port}, but {fault}")),
        },
        Outcome::Failed(Errno::CONNREFUSED) => "was refused instead of".to_owned(),
        Outcome::Failed(errno) => {
            let error = std::io::Error::from(*errno);
            format!("failed ({error}) instead of")
        }
        Outcome::Elsewhere => "was taken by another process instead of".to_owned(),
        Outcome::Silent => "got no answer instead of".to_owned(),
    };
    let missing = match outcome {
        // A local address answers or refuses; this one's packets left the pod, if they had a way.
        Outcome::Silent | Outcome::Failed(_) if probe.destination.ip() == PASSTHROUGH_IPV6 => {
            format!("the address {PASSTHROUGH_IPV6}/128 is missing on the loopback interface")
        }
        _ => missing(settings, probe),
    };
    Err(format!(
        "{who} {instead} arriving at port {port}: {missing}"
    ))
}

/// As [`judge`], of the kernel's answer.
pub(super) fn judge_delivery(delivery: &Delivery, delivered: bool) -> Result<String, String> {
    let Delivery { mark, .. } = delivery;
    let name = family_name(delivery.family);
    if delivered {
        return Ok(format!(
            "{name} policy route: packets with the mark {mark} are delivered to the pod"
        ));
    }
    Err(format!(
        "{name} policy route: packets with the mark {mark} are not delivered to the pod: {} is \
         missing",
        policy_route(delivery.family, *mark, delivery.table)
    ))
}

fn policy_route(family: Family, mark: u32, table: u32) -> String {
    let ip = match family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip -6",
    };
    format!(
        "`{ip} rule add fwmark {mark} lookup {table}` or `{ip} route add local default dev lo \
         table {table}`"
    )
}

/// What is wrong with a connection that arrived at the right port.
fn astray(probe: &Probe, arrival: &Arrival) -> Option<String> {
    let was_for = |address: SocketAddr| {
        (address.ip(), address.port()) != (probe.destination.ip(), probe.destination.port())
    };
    if let Some(original) = arrival
        .original_destination
        .filter(|address| was_for(*address))
    {
        return Some(format!(
            "its original destination is told as {original}: another rule changed it before"
        ));
    }
    if probe.kind == Kind::Transparent
        && let Some(local) = arrival.local.filter(|address| was_for(*address))
    {
        return Some(format!(
            "with the destination {local}: the nat table changed it, which TPROXY leaves as it is"
        ));
    }
    if arrival.answered == Some(false) {
        return Some(
            "the answer did not come back: the rules of the raw table are missing that put \
             questions to name servers, and the proxy's answers from its port for them, into the \
             conntrack zone 2"
                .to_owned(),
        );
    }
    None
}

fn name(probe: &Probe) -> String {
    let family = family_name(probe.family);
    match probe.kind {
        Kind::Inbound => format!("{family} inbound"),
        Kind::Transparent => format!("{family} inbound by TPROXY"),
        Kind::Outbound => format!("{family} outbound"),
        Kind::ProxyOutbound => format!("{family} outbound of the proxy"),
        Kind::Question(Transport::Udp) => format!("{family} DNS by UDP"),
        Kind::Question(Transport::Tcp) => format!("{family} DNS by TCP"),
    }
}

/// The rules that would have let the probe arrive.
fn missing(settings: &Settings, probe: &Probe) -> String {
    let owner = owner(settings, probe.client);
    match probe.kind {
        Kind::Inbound => {
            let except = match settings.dns {
                Some(_) if owner.starts_with("--uid") => {
                    format!("-m multiport ! --dports 53,{}", settings.tunnel_port)
                }
                _ => format!("! --dport {}", settings.tunnel_port),
            };
            format!(
                "the rule \"ISTIO_OUTPUT -o lo ! -d {} -p tcp {except} -m owner {owner} -j \
                 ISTIO_IN_REDIRECT\", the jump \"OUTPUT -j ISTIO_OUTPUT\" or the chain \
                 ISTIO_IN_REDIRECT is missing in the nat table",
                localhost(settings, probe.family)
            )
        }
        Kind::Transparent => transparent(settings, probe, &owner),
        Kind::Outbound => format!(
            "the rule \"ISTIO_OUTPUT {}-j ISTIO_REDIRECT\", the jump \"OUTPUT -j ISTIO_OUTPUT\" or \
             the chain ISTIO_REDIRECT is missing in the nat table, or another rule stands before",
            captured_by(settings, probe.destination)
        ),
        Kind::ProxyOutbound => format!(
            "the rule \"ISTIO_OUTPUT -m owner {owner} -j RETURN\" is missing in the nat table, so \
             that the proxy's own connections come back to it"
        ),
        Kind::Question(transport) => {
            let protocol = match transport {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
            };
            let (server, port) = match &settings.dns {
                Some(dns) => match &dns.servers {
                    Selection::All => (String::new(), dns.port),
                    Selection::Only(_) => {
                        let server = network(probe.destination);
                        (format!("-d {server} "), dns.port)
                    }
                },
                None => (String::new(), 0),
            };
            format!(
                "the rule \"ISTIO_OUTPUT_DNS {server}-p {protocol} --dport 53 -j REDIRECT \
                 --to-ports {port}\" or the jump \"ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS\" is missing in \
                 the nat table, or another rule stands before"
            )
        }
    }
}

fn transparent(settings: &Settings, probe: &Probe, owner: &str) -> String {
    let Mode::Tproxy {
        mark,
        self_call_mark,
        ..
    } = settings.mode
    else {
        return String::from("TPROXY is off");
    };
    let localhost = localhost(settings, probe.family);
    let marked = match probe.mark {
        Some(_) => String::new(),
        None => format!(
            " or the rule \"ISTIO_OUTPUT ! -d {localhost} -o lo -m owner {owner} -j MARK --set-mark \
             {self_call_mark}\""
        ),
    };
    format!(
        "the rule \"ISTIO_TPROXY ! -d {localhost} -p tcp -j TPROXY --on-port {} --tproxy-mark \
         {mark}\" or the jump \"PREROUTING -p tcp -j ISTIO_INBOUND\"{marked} is missing in the \
         mangle table, or another rule stands before",
        settings.inbound_port
    )
}

fn owner(settings: &Settings, client: Identity) -> String {
    if settings.proxy_uids.contains(&client.uid) {
        format!("--uid-owner {}", client.uid)
    } else {
        format!("--gid-owner {}", client.gid)
    }
}

fn localhost(settings: &Settings, family: Family) -> String {
    match family {
        Family::Ipv4 => settings.captures.loopback_cidr.to_string(),
        Family::Ipv6 => "::1/128".to_owned(),
    }
}

/// The condition of the rule that captures an outbound connection.
fn captured_by(settings: &Settings, destination: SocketAddr) -> String {
    let captures = &settings.captures;
    let port = destination.port();
    if captures
        .outbound_ports
        .iter()
        .any(|ports| ports.contains(&port))
    {
        return format!("-p tcp --dport {port} ");
    }
    match &captures.outbound_cidrs {
        Selection::All => String::new(),
        Selection::Only(cidrs) => cidrs
            .iter()
            .find(|cidr| cidr.contains(&destination.ip()))
            .map(|cidr| format!("-d {cidr} "))
            .unwrap_or_default(),
    }
}

fn network(address: SocketAddr) -> String {
    ipnet::IpNet::from(address.ip()).to_string()
}

#[cfg(test)]
mod tests;

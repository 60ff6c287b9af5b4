//! What an outcome says about the rules.

use std::net::SocketAddr;

use rustix::io::Errno;

use super::{
    identity::Identity,
    missing,
    probe::{Delivery, Expected, Kind, Probe, Transport, family_name},
    round::{Arrival, Outcome},
};
use crate::{
    Redirect,
    rules::{Family, PASSTHROUGH_IPV6},
};

/// Why a probe did not come out where it should.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    what: String,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cause {
    /// What happened says it.
    Told,
    /// The proxy's source address is none of the pod's.
    Address,
    /// A rule that leads to the proxy; where it arrived instead, if at a port of the proxy.
    Capture(Option<u16>),
    /// The rules that let the proxy's own connections go.
    Release,
    /// Rules that keep the application's questions apart from the proxy's.
    Zones,
}

/// The line that tells what is proven, or what went wrong.
pub(super) fn judge(probe: &Probe, outcome: &Outcome) -> Result<String, Fault> {
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
    let fault = |what: String, cause: Cause| Err(Fault { what, cause });
    let Expected::ArrivesAt(port) = probe.expected else {
        return match outcome {
            Outcome::Arrived(arrival) => fault(
                format!(
                    "{who} arrived at port {} of the pod instead of leaving",
                    arrival.port
                ),
                Cause::Release,
            ),
            _ => Ok(format!("{who} leaves")),
        };
    };
    let (instead, cause) = match outcome {
        Outcome::Arrived(arrival) if arrival.port != port => (
            format!("arrived at port {} instead of", arrival.port),
            Cause::Capture(Some(arrival.port)),
        ),
        Outcome::Arrived(arrival) => match astray(probe, arrival) {
            None => return Ok(format!("{who} arrives at port {port}")),
            Some((what, cause)) => {
                return fault(format!("{who} arrived at port {port}, but {what}"), cause);
            }
        },
        Outcome::Failed(Errno::CONNREFUSED) => {
            ("was refused instead of".to_owned(), Cause::Capture(None))
        }
        Outcome::Failed(errno) => {
            let error = std::io::Error::from(*errno);
            (format!("failed ({error}) instead of"), lost(probe))
        }
        Outcome::Elsewhere => (
            "was taken by another process instead of".to_owned(),
            Cause::Capture(None),
        ),
        Outcome::Silent => ("got no answer instead of".to_owned(), lost(probe)),
    };
    fault(format!("{who} {instead} arriving at port {port}"), cause)
}

/// An address of the pod answers or refuses; packets to this one left the pod, if they had a way.
fn lost(probe: &Probe) -> Cause {
    match probe.destination.ip() == PASSTHROUGH_IPV6 {
        true => Cause::Address,
        false => Cause::Capture(None),
    }
}

impl Fault {
    /// The sentence that tells what is missing, once it is known which other probes arrived.
    pub(super) fn sentence(&self, redirect: &Redirect, probe: &Probe, shown: &[&Probe]) -> String {
        let Self { what, cause } = self;
        match *cause {
            Cause::Told => what.clone(),
            Cause::Address => format!(
                "{what}: the address {PASSTHROUGH_IPV6}/128 is missing on the loopback interface"
            ),
            Cause::Capture(port) => {
                let suspects = missing::suspects(redirect, probe, port, shown).join(" or ");
                format!("{what}: {suspects} is missing, or another rule stands before it")
            }
            Cause::Release => {
                let releases = missing::releases(redirect, probe);
                format!(
                    "{what}: {} missing, so that the proxy's own connections come back to it",
                    all(&releases)
                )
            }
            Cause::Zones => {
                let [question, answer] = missing::zones(redirect, probe);
                format!(
                    "{what}: {} missing, or {} missing, so that the two are in different conntrack \
                     zones",
                    all(&question),
                    all(&answer)
                )
            }
        }
    }
}

/// Several, with their verb.
fn all(rules: &[String]) -> String {
    let are = if rules.len() == 1 { "is" } else { "are" };
    format!("{} {are}", rules.join(" and "))
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
fn astray(probe: &Probe, arrival: &Arrival) -> Option<(String, Cause)> {
    let is_other = |address: SocketAddr| {
        (address.ip(), address.port()) != (probe.destination.ip(), probe.destination.port())
    };
    if let Some(original) = arrival
        .original_destination
        .filter(|address| is_other(*address))
    {
        let what = format!(
            "its original destination is told as {original}: another rule changed it before"
        );
        return Some((what, Cause::Told));
    }
    if probe.kind == Kind::Transparent
        && let Some(local) = arrival.local.filter(|address| is_other(*address))
    {
        let what = format!(
            "with the destination {local}: the nat table changed it, which TPROXY leaves as it is"
        );
        return Some((what, Cause::Told));
    }
    if arrival.answered == Some(false) {
        return Some(("the answer did not come back".to_owned(), Cause::Zones));
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

#[cfg(test)]
mod tests;

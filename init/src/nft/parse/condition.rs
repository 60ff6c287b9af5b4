//! An expression that tests a packet → conditions.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::unknown;
use crate::rules::{Family, Is, Match, Ports, Protocol, State};

/// The conditions that an expression states; `None` if it states none, but does something.
pub(super) fn condition(expression: &Value) -> Option<Vec<Match>> {
    if let Some(comparison) = expression.get("match") {
        let known = Comparison::read(comparison).and_then(|comparison| comparison.conditions());
        return Some(known.unwrap_or_else(|| vec![unknown(expression)]));
    }
    // What can end a rule before its deeds.
    const TESTS: [&str; 5] = ["limit", "quota", "ct count", "connlimit", "fib"];
    let is_match_of_xtables = || {
        let extension = expression
            .get("xt")
            .and_then(|extension| extension.get("type"));
        extension.and_then(Value::as_str) == Some("match")
    };
    let is_test = TESTS.iter().any(|kind| expression.get(kind).is_some());
    (is_test || is_match_of_xtables()).then(|| vec![unknown(expression)])
}

/// Flags of the TCP header (RFC 9293, section 3.1).
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Flags by name or number; versions of nft differ in how they write several.
fn tcp_flags(value: &Value) -> Option<u8> {
    match value {
        Value::Number(number) => u8::try_from(number.as_u64()?).ok(),
        Value::String(name) => Some(match name.as_str() {
            "fin" => FIN,
            "syn" => SYN,
            "rst" => RST,
            "ack" => ACK,
            _ => return None,
        }),
        Value::Array(flags) => flags
            .iter()
            .try_fold(0, |all, flag| Some(all | tcp_flags(flag)?)),
        Value::Object(operation) => tcp_flags(operation.get("|")?),
        _ => None,
    }
}

struct Comparison<'a> {
    operator: &'a str,
    left: &'a Value,
    right: &'a Value,
}

impl<'a> Comparison<'a> {
    fn read(value: &'a Value) -> Option<Self> {
        Some(Self {
            operator: value.get("op")?.as_str()?,
            left: value.get("left")?,
            right: value.get("right")?,
        })
    }

    fn conditions(&self) -> Option<Vec<Match>> {
        if let Some(payload) = self.left.get("payload") {
            let part = |key| payload.get(key).and_then(Value::as_str);
            return self.of_payload(part("protocol")?, part("field")?);
        }
        if let Some(masked) = self.left.get("&") {
            return self.of_masked(masked.as_array()?);
        }
        let (kind, fields) = self.left.as_object()?.iter().next()?;
        // Further fields say more than the key does, as a direction.
        let fields = fields.as_object().filter(|fields| fields.len() == 1)?;
        let key = fields.get("key")?.as_str()?;
        let condition = match (kind.as_str(), key) {
            ("meta", "nfproto") => return self.family().map(|family| vec![Match::Family(family)]),
            ("meta", "l4proto") => Match::Protocol(self.is(protocol(self.right)?)?),
            ("meta", "iifname" | "iif") => Match::InInterface(self.is(interface(self.right)?)?),
            ("meta", "oifname" | "oif") => Match::OutInterface(self.is(interface(self.right)?)?),
            ("meta", "skuid") => Match::Uid(self.is(number(self.right)?)?),
            ("meta", "skgid") => Match::Gid(self.is(number(self.right)?)?),
            ("meta", "mark") => Match::Mark(self.is(number(self.right)?)?),
            ("ct", "mark") => Match::ConnectionMark(self.is(number(self.right)?)?),
            ("ct", "state") => Match::State(self.states()?),
            _ => return None,
        };
        Some(vec![condition])
    }

    fn of_payload(&self, protocol: &str, field: &str) -> Option<Vec<Match>> {
        let transport = match protocol {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            _ => None,
        };
        Some(vec![match (protocol, field, transport) {
            (_, "sport", Some(transport)) => Match::SourcePort(transport, self.ports()?),
            (_, "dport", Some(transport)) => Match::DestinationPort(transport, self.ports()?),
            ("ip" | "ip6", "saddr", _) => Match::Source(self.address(protocol)?),
            ("ip" | "ip6", "daddr", _) => Match::Destination(self.address(protocol)?),
            ("ip", "protocol", _) => {
                let condition = Match::Protocol(self.is(self::protocol(self.right)?)?);
                return Some(vec![Match::Family(Family::Ipv4), condition]);
            }
            _ => return None,
        }])
    }

    /// Of the fields that are looked at through a mask, only one matters to rules of ours.
    fn of_masked(&self, operands: &[Value]) -> Option<Vec<Match>> {
        let [payload, mask] = operands else {
            return None;
        };
        let part = |key| payload.get("payload")?.get(key)?.as_str();
        let is_syn = (part("protocol"), part("field")) == (Some("tcp"), Some("flags"))
            && tcp_flags(mask)? == FIN | SYN | RST | ACK
            && tcp_flags(self.right)? == SYN;
        is_syn.then(|| Some(vec![Match::Syn(self.is(())?)]))?
    }

    /// The value compared as the operator says; `None` for one that is no equality.
    fn is<T>(&self, value: T) -> Option<Is<T>> {
        match self.operator {
            "==" => Some(Is::Equal(value)),
            "!=" => Some(Is::Not(value)),
            _ => None,
        }
    }

    fn family(&self) -> Option<Family> {
        let family = match self.right {
            Value::String(name) if name == "ipv4" => Family::Ipv4,
            Value::String(name) if name == "ipv6" => Family::Ipv6,
            Value::Number(number) => match number.as_u64()? {
                2 => Family::Ipv4,
                10 => Family::Ipv6,
                _ => return None,
            },
            _ => return None,
        };
        Some(match (self.is(family)?, family) {
            (Is::Equal(family), _) => family,
            (Is::Not(_), Family::Ipv4) => Family::Ipv6,
            (Is::Not(_), Family::Ipv6) => Family::Ipv4,
        })
    }

    fn address(&self, protocol: &str) -> Option<Is<IpNet>> {
        let cidr = match self.right {
            Value::String(address) => IpNet::from(address.parse::<IpAddr>().ok()?),
            value => {
                let prefix = value.get("prefix")?;
                let address: IpAddr = prefix.get("addr")?.as_str()?.parse().ok()?;
                let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
                IpNet::new(address, length).ok()?
            }
        };
        let family = match Family::of(&cidr) {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        };
        (family == protocol).then(|| self.is(cidr))?
    }

    fn ports(&self) -> Option<Is<Vec<Ports>>> {
        let ports = match self.right.get("set") {
            Some(set) => {
                let items = set.as_array()?.iter();
                items.map(ports).collect::<Option<_>>()?
            }
            None => vec![ports(self.right)?],
        };
        self.is(ports)
    }

    /// States are bits: `in` asks whether one of them is there, and there is always one alone.
    fn states(&self) -> Option<Is<Vec<State>>> {
        let list = |values: &Value| -> Option<Vec<State>> {
            match values {
                Value::Array(values) => values.iter().map(state).collect(),
                value => state(value).map(|state| vec![state]),
            }
        };
        match (self.operator, self.right.get("set")) {
            ("in", None) => list(self.right).map(Is::Equal),
            (_, Some(set)) => self.is(list(set)?),
            _ => self.is(vec![state(self.right)?]),
        }
    }
}

fn protocol(value: &Value) -> Option<Protocol> {
    match value {
        Value::String(name) if name == "tcp" => Some(Protocol::Tcp),
        Value::String(name) if name == "udp" => Some(Protocol::Udp),
        Value::Number(number) => match number.as_u64()? {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        },
        _ => None,
    }
}

/// One name; not the name of a set, nor one that stands for others.
fn interface(value: &Value) -> Option<String> {
    let name = value.as_str()?;
    (!name.starts_with('@') && !name.ends_with('*')).then(|| name.to_owned())
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn port(value: &Value) -> Option<u16> {
    u16::try_from(value.as_u64()?).ok()
}

fn ports(value: &Value) -> Option<Ports> {
    let Some(range) = value.get("range") else {
        return port(value).map(Ports::from);
    };
    let [first, last] = range.as_array()?.as_slice() else {
        return None;
    };
    let ports = Ports {
        first: port(first)?,
        last: port(last)?,
    };
    (ports.first <= ports.last).then_some(ports)
}

fn state(value: &Value) -> Option<State> {
    match value {
        Value::String(name) => Some(match name.as_str() {
            "new" => State::New,
            "established" => State::Established,
            "related" => State::Related,
            "invalid" => State::Invalid,
            "untracked" => State::Untracked,
            _ => return None,
        }),
        // The bits of linux/netfilter/nf_conntrack_common.h.
        Value::Number(number) => Some(match number.as_u64()? {
            1 => State::Invalid,
            2 => State::Established,
            4 => State::Related,
            8 => State::New,
            64 => State::Untracked,
            _ => return None,
        }),
        _ => None,
    }
}

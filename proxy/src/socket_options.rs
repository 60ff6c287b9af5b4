//! Options of the kernel's sockets, as `envoy.config.core.v3.SocketOption` names them: by the
//! numbers of Linux (socket(7), ip(7), tcp(7)).

mod keepalive;

use std::{borrow::Cow, io, time::Duration};

use fairlead_xds::envoy::config::core::v3::{SocketOption as Message, socket_option};
use nix::sys::socket::{setsockopt, sockopt::Ipv6TClass};
use socket2::{Domain, Socket, TcpKeepalive};

pub use self::keepalive::Keepalive;
use crate::compile::At;

/// What is set on a socket before it is used, in the order given.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SocketOptions(Cow<'static, [SocketOption]>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SocketOption {
    Mark(u32),
    Priority(u32),
    ReceiveBuffer(u32),
    SendBuffer(u32),
    Keepalive(bool),
    KeepaliveTime(u32),
    KeepaliveInterval(u32),
    KeepaliveProbes(u32),
    UserTimeout(u32),
    TypeOfService(u32),
    TimeToLive(u32),
    Transparent(bool),
    Freebind(bool),
}

impl SocketOptions {
    /// None of them.
    pub const NONE: Self = Self(Cow::Borrowed(&[]));

    /// The options that the list names. One that cannot be set is told and left out: it changes how
    /// the kernel carries the connections, not where they go.
    pub fn compile(at: &At<'_>, name: &str, messages: &[Message]) -> Option<Self> {
        let options = at.each(name, messages, |at, message| option(at, message));
        Some(Self(options.into_iter().flatten().collect()))
    }

    /// Sets them.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::PermissionDenied`] where a capability is missing.
    pub fn apply(&self, socket: &Socket) -> io::Result<()> {
        for option in &*self.0 {
            option.apply(socket)?;
        }
        Ok(())
    }
}

/// Inside: the option, if it is one that can be set.
fn option(at: &At<'_>, message: &Message) -> Option<Option<SocketOption>> {
    let Message {
        description: _,
        level,
        name,
        // Each of these may be set before the socket is bound, whatever state is named.
        state: _,
        r#type,
        ip_version,
        value,
    } = message;
    if r#type.is_some_and(|kind| kind.stream.is_none()) {
        // Meant for other sockets than those of TCP.
        return Some(None);
    }
    let value = match at.required("int_value", value.as_ref())? {
        socket_option::Value::IntValue(value) => *value,
        socket_option::Value::BufValue(_) => {
            at.field("buf_value").unsupported("is not set");
            return Some(None);
        }
    };
    if *ip_version != 0 {
        at.field("ip_version")
            .unsupported("is ignored: the option is set on sockets of both versions");
    }
    let Ok(number) = u32::try_from(value) else {
        return at
            .field("int_value")
            .fault(format!("{value} is not from 0 to {}", u32::MAX));
    };
    let option = match (level, name) {
        (0, 1) => SocketOption::TypeOfService(number),
        (0, 2) => SocketOption::TimeToLive(number),
        (0, 15) | (41, 78) => SocketOption::Freebind(number != 0),
        (0, 19) | (41, 75) => SocketOption::Transparent(number != 0),
        (1, 7) => SocketOption::SendBuffer(number),
        (1, 8) => SocketOption::ReceiveBuffer(number),
        (1, 9) => SocketOption::Keepalive(number != 0),
        (1, 12) => SocketOption::Priority(number),
        (1, 36) => SocketOption::Mark(number),
        (6, 4) => SocketOption::KeepaliveTime(number),
        (6, 5) => SocketOption::KeepaliveInterval(number),
        (6, 6) => SocketOption::KeepaliveProbes(number),
        (6, 18) => SocketOption::UserTimeout(number),
        // Every socket has these anyway.
        (1, 2 | 15) | (6, 1) if number != 0 => return Some(None),
        _ => {
            at.unsupported(format!("option {name} of level {level} is not set"));
            return Some(None);
        }
    };
    Some(Some(option))
}

impl SocketOption {
    fn apply(self, socket: &Socket) -> io::Result<()> {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
        let is_v4 = || socket.domain().map(|domain| domain == Domain::IPV4);
        match self {
            Self::Mark(mark) => socket.set_mark(mark),
            Self::Priority(priority) => socket.set_priority(priority),
            Self::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(size(bytes)),
            Self::SendBuffer(bytes) => socket.set_send_buffer_size(size(bytes)),
            Self::Keepalive(on) => socket.set_keepalive(on),
            Self::KeepaliveTime(time) => {
                socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(seconds(time)))
            }
            Self::KeepaliveInterval(interval) => {
                socket.set_tcp_keepalive(&TcpKeepalive::new().with_interval(seconds(interval)))
            }
            Self::KeepaliveProbes(probes) => {
                socket.set_tcp_keepalive(&TcpKeepalive::new().with_retries(probes))
            }
            Self::UserTimeout(milliseconds) => {
                socket.set_tcp_user_timeout(Some(Duration::from_millis(milliseconds.into())))
            }
            Self::TypeOfService(tos) if is_v4()? => socket.set_tos_v4(tos),
            Self::TypeOfService(class) => {
                let class = i32::try_from(class).unwrap_or(i32::MAX);
                Ok(setsockopt(socket, Ipv6TClass, &class)?)
            }
            Self::TimeToLive(ttl) if is_v4()? => socket.set_ttl_v4(ttl),
            Self::TimeToLive(hops) => socket.set_unicast_hops_v6(hops),
            Self::Transparent(on) => transparent(socket, on),
            Self::Freebind(on) => freebind(socket, on),
        }
    }
}

/// Lets the socket have connections to any address: `IP_TRANSPARENT`, `IPV6_TRANSPARENT`.
///
/// # Errors
/// The kernel's; without the capability NET_ADMIN it is not permitted.
pub fn transparent(socket: &Socket, on: bool) -> io::Result<()> {
    if socket.domain()? == Domain::IPV4 {
        socket.set_ip_transparent_v4(on)
    } else {
        socket.set_ip_transparent_v6(on)
    }
}

/// Lets the socket be bound to an address that is not there yet: `IP_FREEBIND`, `IPV6_FREEBIND`.
///
/// # Errors
/// The kernel's.
pub fn freebind(socket: &Socket, on: bool) -> io::Result<()> {
    if socket.domain()? == Domain::IPV4 {
        socket.set_freebind_v4(on)
    } else {
        socket.set_freebind_v6(on)
    }
}

#[cfg(test)]
mod tests {
    use socket2::Type;

    use super::*;
    use crate::compile::Findings;

    fn message(level: i64, name: i64, value: i64) -> Message {
        Message {
            level,
            name,
            value: Some(socket_option::Value::IntValue(value)),
            ..Message::default()
        }
    }

    #[test]
    fn options_are_set_on_the_socket() {
        let findings = Findings::default();
        let messages = [
            message(1, 9, 1),
            message(6, 4, 77),
            message(6, 6, 4),
            message(6, 18, 5_000),
            message(0, 2, 9),
        ];
        let options = SocketOptions::compile(&findings.at(""), "options", &messages).unwrap();
        assert_eq!(findings.faults(), []);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        options.apply(&socket).unwrap();
        assert!(socket.keepalive().unwrap());
        assert_eq!(
            socket.tcp_keepalive_time().unwrap(),
            Duration::from_secs(77)
        );
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(5))
        );
        assert_eq!(socket.ttl_v4().unwrap(), 9);
    }

    #[test]
    fn what_cannot_be_set_is_told() {
        let findings = Findings::default();
        let buffer = Message {
            value: Some(socket_option::Value::BufValue(vec![1])),
            ..message(1, 25, 0)
        };
        let messages = [
            message(1, 99, 1),
            buffer,
            message(1, 7, -1),
            Message {
                value: None,
                ..message(1, 7, 0)
            },
            // There anyway.
            message(6, 1, 1),
        ];
        SocketOptions::compile(&findings.at(""), "options", &messages);
        let told = |found: Vec<crate::compile::Fault>| {
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            told(findings.unsupported()),
            [
                "options[0]: option 99 of level 1 is not set",
                "options[1].buf_value: is not set"
            ]
        );
        assert_eq!(
            told(findings.faults()),
            [
                "options[2].int_value: -1 is not from 0 to 4294967295",
                "options[3].int_value: is missing"
            ]
        );
    }
}

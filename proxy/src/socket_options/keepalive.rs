//! Probes of idle connections.

use std::{io, time::Duration};

use fairlead_xds::envoy::config::core::v3::TcpKeepalive as Message;
use socket2::{SockRef, TcpKeepalive};

use crate::compile::At;

/// When a connection is probed and given up; what is not said is as the kernel has it (tcp(7)).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Keepalive {
    /// How long a connection is idle before the first probe.
    pub time: Option<Duration>,
    /// Between two probes.
    pub interval: Option<Duration>,
    /// How many go unanswered before the connection is given up.
    pub probes: Option<u32>,
}

impl Keepalive {
    /// Notices a peer that is gone without a word in seven and a half minutes, where the kernel's
    /// default takes two hours; sends nothing while data flows.
    pub const DEFAULT: Self = Self {
        time: Some(Duration::from_secs(300)),
        interval: Some(Duration::from_secs(30)),
        probes: Some(5),
    };

    /// What `envoy.config.core.v3.TcpKeepalive` asks for.
    pub fn compile(at: &At<'_>, message: &Message) -> Option<Self> {
        let Message {
            keepalive_probes,
            keepalive_time,
            keepalive_interval,
        } = message;
        // The limits are the kernel's.
        let [probes, time, interval] = [
            ("keepalive_probes", keepalive_probes, 127),
            ("keepalive_time", keepalive_time, 32_767),
            ("keepalive_interval", keepalive_interval, 32_767),
        ]
        .map(|(name, value, most)| match value.map(|value| value.value) {
            Some(value) if !(1..=most).contains(&value) => at
                .field(name)
                .fault(format!("{value} is not from 1 to {most}")),
            value => Some(value),
        });
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Some(Self {
            time: time?.map(seconds),
            interval: interval?.map(seconds),
            probes: probes?,
        })
    }

    /// Has the kernel probe the connections of the socket.
    ///
    /// # Errors
    /// The kernel's.
    pub fn apply<'s>(self, socket: impl Into<SockRef<'s>>) -> io::Result<()> {
        let mut keepalive = TcpKeepalive::new();
        if let Some(time) = self.time {
            keepalive = keepalive.with_time(time);
        }
        if let Some(interval) = self.interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(probes) = self.probes {
            keepalive = keepalive.with_retries(probes);
        }
        socket.into().set_tcp_keepalive(&keepalive)
    }
}

#[cfg(test)]
mod tests {
    use fairlead_xds::google::protobuf::UInt32Value;
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::compile::Findings;

    fn message(probes: u32, time: u32) -> Message {
        Message {
            keepalive_probes: Some(UInt32Value { value: probes }),
            keepalive_time: Some(UInt32Value { value: time }),
            keepalive_interval: None,
        }
    }

    #[test]
    fn sockets_are_probed_as_asked() {
        let findings = Findings::default();
        let keepalive = Keepalive::compile(&findings.at("x"), &message(3, 60)).unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let interval = socket.tcp_keepalive_interval().unwrap();
        keepalive.apply(&socket).unwrap();
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(
            socket.tcp_keepalive_time().unwrap(),
            Duration::from_secs(60)
        );
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), interval);
    }

    #[test]
    fn values_beyond_the_kernels_limits_are_faults() {
        let findings = Findings::default();
        assert_eq!(
            Keepalive::compile(&findings.at("x"), &message(0, 40_000)),
            None
        );
        let faults = findings.faults();
        assert_eq!(
            faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "x.keepalive_probes: 0 is not from 1 to 127",
                "x.keepalive_time: 40000 is not from 1 to 32767"
            ]
        );
    }
}

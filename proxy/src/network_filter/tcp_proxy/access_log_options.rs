//! When a connection is logged.

use std::time::Duration;

use fairlead_xds::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy as Message, tcp_proxy::TcpAccessLogOptions,
};

use crate::{compile::At, network_filter::field};

/// When a connection is logged, besides at its end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AccessLogOptions {
    /// Again and again after this time; none for not at all.
    pub flush_interval: Option<Duration>,
    /// Once the upstream is connected to.
    pub flush_on_connected: bool,
    /// Once the connection is accepted.
    pub flush_on_start: bool,
}

impl AccessLogOptions {
    #[expect(deprecated, reason = "what Envoy still reads is read")]
    pub(super) fn compile(at: &At<'_>, message: &Message) -> Option<Self> {
        let old_interval = message.access_log_flush_interval;
        let old_on_connected = message.flush_access_log_on_connected;
        let Some(options) = message.access_log_options else {
            let at = at.field("access_log_flush_interval");
            let interval = match old_interval {
                Some(interval) => field::at_least(&at, field::MILLISECOND, interval).map(Some),
                None => Some(None),
            };
            return Some(Self {
                flush_interval: interval?,
                flush_on_connected: old_on_connected,
                flush_on_start: false,
            });
        };
        let both = [
            ("flush_access_log_on_connected", old_on_connected),
            ("access_log_flush_interval", old_interval.is_some()),
        ];
        for (name, _) in both.into_iter().filter(|(_, given)| *given) {
            at.field(name)
                .fault::<()>("must not be given together with access_log_options");
        }
        let TcpAccessLogOptions {
            access_log_flush_interval,
            flush_access_log_on_connected,
            flush_access_log_on_start,
        } = options;
        let at = at.field("access_log_options");
        let at = at.field("access_log_flush_interval");
        let interval = match access_log_flush_interval {
            Some(interval) => field::at_least(&at, field::MILLISECOND, interval).map(Some),
            None => Some(None),
        };
        Some(Self {
            flush_interval: interval?,
            flush_on_connected: flush_access_log_on_connected,
            flush_on_start: flush_access_log_on_start,
        })
    }
}

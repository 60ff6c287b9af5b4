//! How old a connection may become.

use std::time::Duration;

use fairlead_xds::envoy::{
    extensions::filters::network::tcp_proxy::v3::TcpProxy as Message, r#type::v3::Percent,
};

use crate::{compile::At, network_filter::field};

/// A time and by how much it may be prolonged at random, so that connections of the same age do not
/// all end at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct DurationLimit {
    least: Duration,
    jitter_percentage: f64,
}

impl DurationLimit {
    pub(super) fn compile(at: &At<'_>, message: &Message) -> Option<Option<Self>> {
        let least = message.max_downstream_connection_duration.map(|limit| {
            let at = at.field("max_downstream_connection_duration");
            field::at_least(&at, field::MILLISECOND, limit)
        });
        let jitter = message.max_downstream_connection_duration_jitter_percentage;
        let jitter = jitter.map_or(Some(0.0), |Percent { value }| match value {
            0.0..=100.0 => Some(value),
            _ => {
                let at = at.field("max_downstream_connection_duration_jitter_percentage");
                at.fault(format!("{value} is no percentage from 0 to 100"))
            }
        });
        let jitter_percentage = jitter?;
        match least {
            Some(least) => Some(Some(Self {
                least: least?,
                jitter_percentage,
            })),
            None => Some(None),
        }
    }

    /// The time for one connection, by a random number.
    pub(super) fn with_jitter(self, random: u64) -> Duration {
        let most =
            Duration::from_secs_f64(self.least.as_secs_f64() * self.jitter_percentage / 100.0);
        // A part of a millisecond is taken for a whole one.
        match most.as_nanos().div_ceil(1_000_000).try_into() {
            Ok(0) | Err(_) => self.least,
            Ok(millis @ 1_u64..) => self.least + Duration::from_millis(random % millis),
        }
    }
}

//! What one side is due when the other broke: what that had still sent, then an end that does not
//! discard it.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::Meter;
use crate::stream::{Farewell, LINGER, SETTLE};

/// How long a side may take nothing of what a broken side had still sent, before it is given up.
pub(super) const STALL: Duration = Duration::from_secs(2);

/// What became of that which a broken side had sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flushed {
    /// It had nothing left.
    Nothing,
    /// All was passed on.
    Everything,
    /// Not all was.
    Short,
}

/// Lets one direction come to its end, after a write the other way has shown that its source is
/// broken: the kernel still has what the source sent before.
pub(super) async fn flush<E>(
    mut direction: Pin<&mut impl Future<Output = Result<(), E>>>,
    meter: Meter<'_>,
) -> Flushed {
    let start = meter.connection.value();
    loop {
        let before = meter.connection.value();
        match timeout(STALL, direction.as_mut()).await {
            Ok(Ok(())) if meter.connection.value() == start => return Flushed::Nothing,
            Ok(Ok(())) => return Flushed::Everything,
            // How it ended tells what is due, as without a flush.
            Ok(Err(_)) => return Flushed::Nothing,
            Err(_) if meter.connection.value() == before => return Flushed::Short,
            Err(_) => {}
        }
    }
}

/// What one direction passed on of late.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent {
    /// It has not waited for data since it passed some on.
    pub(super) fresh: bool,
    /// Its end was passed on.
    pub(super) ended: bool,
    /// When it last had data, or its end.
    pub(super) at: Option<Instant>,
    /// Something that was read could not be passed on.
    pub(super) short: bool,
}

impl Recent {
    pub(super) fn farewell(self, flushed: Flushed) -> Farewell {
        let since = self.at.map_or(Duration::MAX, |at| at.elapsed());
        if self.short || flushed == Flushed::Short {
            let after = Duration::ZERO;
            return Farewell::Reset { after };
        }
        if self.fresh || flushed == Flushed::Everything || self.ended && since < LINGER {
            return Farewell::Finish;
        }
        let after = SETTLE.saturating_sub(since);
        Farewell::Reset { after }
    }
}

//! What one subject does in a round.

mod round;

use std::time::Duration;

use anyhow::Context;

pub(super) use self::round::compare_handshakes;
use self::round::{Round, Step};

use super::{
    bed::{Bed, Path},
    comparison::{Comparison, Quantity},
    subject::Subject,
};
use crate::{
    proxy::traffic::{Server, echo, echo_once, sink},
    table::Limit,
};

/// How much of each is done in a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    stream: Duration,
    round_trips: Duration,
    /// Of each client.
    connections: usize,
    /// With mutual TLS, of the one client.
    handshakes: usize,
}

impl Plan {
    pub(super) const THOROUGH: Self = Self {
        stream: Duration::from_secs(2),
        round_trips: Duration::from_secs(1),
        connections: 750,
        handshakes: 750,
    };
    pub(super) const QUICK: Self = Self {
        stream: Duration::from_millis(500),
        round_trips: Duration::from_millis(300),
        connections: 200,
        handshakes: 200,
    };
}

/// At once, each opening one connection after the other.
const CLIENTS: usize = 4;
const KEPT_CONNECTIONS: usize = 1_000;

/// Indices of ports. A closed connection holds its port for a minute, so each round has its own.
const SINK: u16 = 0;
const FIRST_ECHO: u16 = 1;
const FIRST_KEPT: u16 = 100;

const IDLE_LIMIT: Limit = Limit::AtMost(0.2);
const IDLE_LIMIT_MEGABYTES: Limit = Limit::AtMost(12.0);
const LOADED_LIMIT: Limit = Limit::AtMost(0.27);

/// A subject and its bed.
#[derive(Debug)]
pub(super) struct Lane {
    bed: Bed,
    paths: Vec<Path>,
    /// At the ends of the streams.
    _sinks: [Server; 2],
}

impl Lane {
    pub(super) fn new(bed: Bed, with_tls: bool) -> anyhow::Result<Self> {
        let paths = [
            Path::Direct,
            Path::OneHop,
            Path::TwoSidecars,
            Path::MutualTls,
            Path::MutualTlsFull,
        ];
        let sinks = [
            bed.serve(false, SINK, 1, sink)?,
            bed.serve(true, SINK, 1, sink)?,
        ];
        Ok(Self {
            bed,
            paths: paths
                .into_iter()
                .filter(|path| with_tls || !path.has_tls())
                .collect(),
            _sinks: sinks,
        })
    }

    pub(super) fn subject(&self) -> Subject {
        self.bed.subject()
    }

    /// What the sidecars have agreed on, without which the figures of mutual TLS say little.
    pub(super) fn describe_tls(&self) -> anyhow::Result<Option<String>> {
        if !self.paths.iter().any(|path| path.has_tls()) {
            return Ok(None);
        }
        let mut agreed = Vec::new();
        for kind in ["versions", "ciphers", "curves", "sigalgs"] {
            let prefix = format!("cluster.mutual_tls_full.ssl.{kind}.");
            agreed.extend(self.bed.client_statistics_below(&prefix)?);
        }
        let agreed = agreed.join(", ");
        Ok(Some(format!("mTLS of {}: {agreed}.", self.subject())))
    }

    /// Before any traffic.
    pub(super) fn idle(&self, comparison: &mut Comparison) -> anyhow::Result<()> {
        let quantity = Quantity::new("memory idle, MB")
            .ratio(Some(IDLE_LIMIT))
            .own(Some(IDLE_LIMIT_MEGABYTES));
        for megabytes in self.bed.resident_megabytes()? {
            comparison.add(quantity.clone(), self.subject(), megabytes);
        }
        Ok(())
    }

    pub(super) fn round(
        &self,
        round: u16,
        plan: &Plan,
        comparison: &mut Comparison,
    ) -> anyhow::Result<()> {
        let index = FIRST_ECHO + round;
        let _servers = [
            self.bed.serve(false, index, 2 * CLIENTS, echo)?,
            self.bed.serve(true, index, 2 * CLIENTS, echo)?,
        ];
        for &path in &self.paths {
            let mut round = Round {
                bed: &self.bed,
                path,
                comparison,
            };
            // With another handshake the stream would be the same.
            let each: &[Step] = if path == Path::MutualTlsFull {
                &[Step::Connections]
            } else {
                &[Step::Stream, Step::RoundTrips, Step::Connections]
            };
            for step in each {
                step.take(&mut round, index, plan)
                    .with_context(|| format!("{path}, {step:?}"))?;
            }
        }
        self.loaded(FIRST_KEPT + round, comparison)
            .with_context(|| format!("{KEPT_CONNECTIONS} open connections"))
    }

    /// With connections that are open and have carried something.
    fn loaded(&self, index: u16, comparison: &mut Comparison) -> anyhow::Result<()> {
        let _keeper = self.bed.keep(index)?;
        let address = self.bed.address(Path::TwoSidecars, index);
        let open = || -> std::io::Result<Vec<_>> {
            (0..KEPT_CONNECTIONS).map(|_| echo_once(address)).collect()
        };
        let kept = self.bed.on_client(Path::TwoSidecars, open)??;
        let quantity = Quantity::new(format!("memory with {KEPT_CONNECTIONS} connections, MB"))
            .ratio(Some(LOADED_LIMIT));
        for megabytes in self.bed.resident_megabytes()? {
            comparison.add(quantity.clone(), self.subject(), megabytes);
        }
        drop(kept);
        Ok(())
    }
}

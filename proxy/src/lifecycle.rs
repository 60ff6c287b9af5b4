//! Whether the proxy starts, lives or drains, and who asked it to end.

use std::{fmt, time::Instant};

use fairlead_runtime::readiness::{Gate, Readiness};
use tokio::sync::mpsc;

/// The state of the process, shared by all who show it.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    started: Instant,
    readiness: Readiness,
    workers: Gate,
    staying: Gate,
    health_checks: Gate,
    stop: mpsc::Sender<Stop>,
}

/// How the process is asked to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// After a drain.
    Gracefully,
    /// Now.
    AtOnce,
}

/// Envoy's states of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Carries traffic.
    Live,
    /// Carries traffic, and wants no more.
    Draining,
    /// Does not carry traffic yet.
    PreInitializing,
}

impl State {
    /// Envoy's number in `server.state`.
    pub fn number(self) -> u64 {
        match self {
            Self::Live => 0,
            Self::Draining => 1,
            Self::PreInitializing => 2,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
            Self::PreInitializing => "PRE_INITIALIZING",
        })
    }
}

impl Lifecycle {
    /// A process that starts now, and where it hears of requests to end.
    pub fn new() -> (Self, mpsc::Receiver<Stop>) {
        let (stop, asked) = mpsc::channel(4);
        let readiness = Readiness::default();
        // Each gate is named for its closed state, which is what an operator is shown.
        let workers = readiness.gate("the workers have not started");
        let staying = readiness.gate("the proxy is draining");
        staying.open();
        let health_checks = readiness.gate("health checks fail, as an operator asked");
        health_checks.open();
        let lifecycle = Self {
            started: Instant::now(),
            readiness,
            workers,
            staying,
            health_checks,
            stop,
        };
        (lifecycle, asked)
    }

    /// When the process started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// What is missing before the proxy is ready.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The workers accept connections.
    pub fn workers_started(&self) {
        self.workers.open();
    }

    /// Wants no more traffic; what comes is carried all the same.
    pub fn drain(&self) {
        self.staying.close();
    }

    /// Whether those who ask for its health are to be told that it has any; connections are carried all
    /// the same.
    pub fn pass_health_checks(&self, pass: bool) {
        if pass {
            self.health_checks.open();
        } else {
            self.health_checks.close();
        }
    }

    /// Asks the process to end.
    pub fn stop(&self, stop: Stop) {
        // A full queue means that it was asked before.
        let _ = self.stop.try_send(stop);
    }

    /// The state now.
    pub fn state(&self) -> State {
        if !self.workers.is_open() {
            State::PreInitializing
        } else if self.staying.is_open() && self.health_checks.is_open() {
            State::Live
        } else {
            State::Draining
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_follows_the_gates() {
        let (lifecycle, mut asked) = Lifecycle::new();
        assert_eq!(lifecycle.state(), State::PreInitializing);
        lifecycle.workers_started();
        assert_eq!(lifecycle.state(), State::Live);
        assert!(lifecycle.readiness().is_ready());
        lifecycle.pass_health_checks(false);
        assert_eq!(lifecycle.state(), State::Draining);
        assert!(!lifecycle.readiness().is_ready());
        lifecycle.pass_health_checks(true);
        assert_eq!(lifecycle.state(), State::Live);
        lifecycle.drain();
        assert_eq!(lifecycle.state(), State::Draining);
        assert_eq!(lifecycle.readiness().pending(), ["the proxy is draining"]);
        lifecycle.stop(Stop::AtOnce);
        assert_eq!(asked.try_recv(), Ok(Stop::AtOnce));
    }
}

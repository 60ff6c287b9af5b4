//! Proves the redirect by real connections: what `--run-validation` and the container
//! `istio-validation` do.
//!
//! ```text
//! settings, credentials, routes ─▶ probe: what can be shown ─▶ round: connect, see where it arrives
//!                                                            ─▶ verdict: proven, or what is missing
//! ```
//!
//! Which rules meet a connection depends on the user who makes it. A process that may change its
//! user makes each socket as the one it takes; another one shows what it can, and says what it left
//! out. Nothing that goes astray gets farther than the node: all packets have a hop limit of 1.
//!
//! Three kinds of rules cannot be shown from inside:
//! - what meets arriving connections alone: a connection of the pod to itself never enters the nat
//!   table's PREROUTING, nor do excluded inbound ports matter to it
//! - what another rule does as well: the proxy is told by its user and again by its group
//! - what only tells the proxy's own packets from others, as its conntrack zone for questions does

mod identity;
mod listeners;
mod missing;
mod probe;
mod round;
mod surroundings;
mod verdict;

use std::{
    fmt, io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use self::{
    identity::Credentials,
    listeners::Listeners,
    probe::{Delivery, Expected, Probe},
};
use crate::{Redirect, rules::Family};

/// Between two attempts of a check that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// A captured connection arrives before it has left the processor; one that has not within this
/// time has gone elsewhere.
const QUIET: Duration = Duration::from_millis(200);

/// What is proven, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// What is redirected. Its name servers are known: those of the system are not read here.
    pub redirect: Redirect,
    /// The families in which it is.
    pub families: Vec<Family>,
    /// The port that connections are made to.
    pub probe_port: u16,
    /// For all checks together.
    pub timeout: Duration,
}

/// What came out: lines to print.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Validated {
    /// What a real connection has shown.
    pub proven: Vec<String>,
    /// What could not be tried, and why.
    pub left_out: Vec<String>,
}

/// Why the redirect is not proven.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// Somebody listens where captured connections arrive.
    #[error(
        "{address} is taken, most likely by the proxy, which runs already: prove the redirect \
         before it starts, in an init container, or leave --run-validation out"
    )]
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// The port is one of those that not everybody may have.
    #[error(
        "listen on {address}: a port below 1024 needs the capability NET_BIND_SERVICE: add it to \
         securityContext.capabilities of the container, or let the proxy have higher ports"
    )]
    PrivilegedPort {
        /// The address.
        address: SocketAddr,
    },
    /// No listener could be made.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Waiting for connections failed.
    #[error("wait for a connection")]
    Wait(#[source] io::Error),
    /// Connections did not go where they should.
    #[error("{0}")]
    Unproven(Faults),
}

/// What is wrong, each in a sentence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the redirect does not work:")?;
        for fault in &self.0 {
            write!(f, "\n- {fault}")?;
        }
        Ok(())
    }
}

/// Proves the redirect of this network namespace, within the timeout of the settings.
///
/// # Errors
/// A port is taken, or says which rule is missing for each check that failed.
pub fn validate(settings: &Settings) -> Result<Validated, ValidationError> {
    let end = Instant::now() + settings.timeout;
    let credentials = Credentials::of_process(&settings.redirect);
    let plan = probe::plan(settings, &credentials, surroundings::route);
    let listeners = Listeners::open(settings, &plan, &credentials)?;
    let (leaving, arriving): (Vec<&Probe>, Vec<&Probe>) = plan
        .probes
        .iter()
        .partition(|probe| probe.expected == Expected::Leaves);
    // That something is not captured tells only once the rules are seen to stand.
    let mut proven = prove(&settings.redirect, &listeners, arriving, PAUSE, end)?;
    proven.extend(prove_deliveries(&plan.deliveries, end)?);
    proven.extend(prove(&settings.redirect, &listeners, leaving, QUIET, end)?);
    Ok(Validated {
        proven,
        left_out: plan.left_out,
    })
}

/// Tries until all are proven, or the time is over: another container may still be at work.
fn prove(
    redirect: &Redirect,
    listeners: &Listeners,
    mut open: Vec<&Probe>,
    wait: Duration,
    end: Instant,
) -> Result<Vec<String>, ValidationError> {
    let mut proven = Vec::with_capacity(open.len());
    let mut shown = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let begin = Instant::now();
        // At the end of the time one short round is left to say what is wrong.
        let wait = wait.min(end.saturating_duration_since(begin)).max(QUIET);
        let outcomes = round::run(listeners, &open, begin + wait).map_err(ValidationError::Wait)?;
        let mut faults = Vec::new();
        for (probe, outcome) in open.into_iter().zip(outcomes) {
            match verdict::judge(probe, &outcome) {
                Ok(line) => {
                    proven.push(line);
                    shown.push(probe);
                }
                Err(fault) => faults.push((probe, fault)),
            }
        }
        let next = begin + PAUSE;
        if !faults.is_empty() {
            if next >= end {
                let sentences = faults
                    .iter()
                    .map(|(probe, fault)| fault.sentence(redirect, probe, &shown));
                return Err(ValidationError::Unproven(Faults(sentences.collect())));
            }
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        open = faults.into_iter().map(|(probe, _)| probe).collect();
    }
    Ok(proven)
}

/// Asks the kernel where it would send packets with TPROXY's mark: one to the pod's own address,
/// as those over loopback are, would arrive without the policy route, too.
fn prove_deliveries(deliveries: &[Delivery], end: Instant) -> Result<Vec<String>, ValidationError> {
    loop {
        let outcomes = deliveries.iter().map(|delivery| {
            let delivered = surroundings::delivers(delivery.mark, delivery.destination);
            verdict::judge_delivery(delivery, delivered)
        });
        let (proven, faults): (Vec<_>, Vec<_>) = outcomes.partition(Result::is_ok);
        if faults.is_empty() {
            return Ok(proven.into_iter().flatten().collect());
        }
        let now = Instant::now();
        if now >= end {
            let faults = faults.into_iter().filter_map(Result::err).collect();
            return Err(ValidationError::Unproven(Faults(faults)));
        }
        thread::sleep(PAUSE.min(end - now));
    }
}

//! One attempt at each probe, all at once.

mod attempt;

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use self::attempt::{Attempt, QUESTION};
use super::{
    listeners::{Listener, Listeners},
    probe::{Probe, Transport},
};

/// What became of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// A listener of ours has it.
    Arrived(Arrival),
    /// It was refused, or could not be made.
    Failed(Errno),
    /// Somebody else took it.
    Elsewhere,
    /// Nobody did.
    Silent,
}

/// Where a connection arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Arrival {
    /// The port of the listener.
    pub(super) port: u16,
    /// Where it was meant to go; not known of datagrams.
    pub(super) original_destination: Option<SocketAddr>,
    /// The address that the accepted socket has.
    pub(super) local: Option<SocketAddr>,
    /// The answer came back, where one was sent.
    pub(super) answered: Option<bool>,
}

/// Makes all connections and says where they are when the time is over, or all have arrived.
pub(super) fn run(
    listeners: &Listeners,
    probes: &[&Probe],
    end: Instant,
) -> io::Result<Vec<Outcome>> {
    let mut attempts: Vec<Result<Attempt, Outcome>> = probes
        .iter()
        .map(|probe| {
            Attempt::begin(&listeners.credentials, probe)
                .map_err(|error| Outcome::Failed(errno(&error)))
        })
        .collect();
    loop {
        let now = Instant::now();
        let waiting = attempts.iter().flatten().any(Attempt::is_open);
        if !waiting || now >= end {
            break;
        }
        wait(listeners, &attempts, end - now)?;
        for listener in &listeners.all {
            take(listener, &mut attempts)?;
        }
        for attempt in attempts.iter_mut().flatten() {
            attempt.look();
        }
    }
    let outcomes = attempts.into_iter().map(|attempt| match attempt {
        Ok(attempt) => attempt.end(),
        Err(outcome) => outcome,
    });
    Ok(outcomes.collect())
}

/// Waits until a listener or a connection has something to tell.
fn wait(
    listeners: &Listeners,
    attempts: &[Result<Attempt, Outcome>],
    time: Duration,
) -> io::Result<()> {
    let listeners = listeners
        .all
        .iter()
        .map(|listener| PollFd::new(&listener.socket, PollFlags::IN));
    let attempts = attempts
        .iter()
        .flatten()
        .filter(|attempt| attempt.pending)
        .map(|attempt| {
            let event = match attempt.transport {
                Transport::Tcp => PollFlags::OUT,
                Transport::Udp => PollFlags::IN,
            };
            PollFd::new(&attempt.socket, event)
        });
    let mut all: Vec<PollFd<'_>> = listeners.chain(attempts).collect();
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    match poll(&mut all, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes all that has arrived at a listener; what is nobody's of ours is dropped.
fn take(listener: &Listener, attempts: &mut [Result<Attempt, Outcome>]) -> io::Result<()> {
    loop {
        let arrived = match listener.transport {
            Transport::Tcp => accept(listener),
            Transport::Udp => receive(listener),
        };
        let (peer, arrival) = match arrived {
            Ok(arrived) => arrived,
            Err(error) => match errno(&error) {
                Errno::AGAIN => return Ok(()),
                // Of a connection that has ended already; the next one may live.
                Errno::CONNABORTED | Errno::INTR | Errno::NOTCONN | Errno::CONNRESET => continue,
                _ => return Err(error),
            },
        };
        let attempt = attempts.iter_mut().flatten().find(|attempt| {
            attempt.transport == listener.transport
                && (attempt.local.ip(), attempt.local.port()) == (peer.ip(), peer.port())
        });
        if let Some(attempt) = attempt {
            attempt.pending = arrival.answered.is_some();
            attempt.outcome = Some(Outcome::Arrived(arrival));
        }
    }
}

fn accept(listener: &Listener) -> io::Result<(SocketAddr, Arrival)> {
    let (socket, peer) = listener.socket.accept()?;
    socket.set_linger(Some(Duration::ZERO))?;
    let local = address(&socket.local_addr()?)?;
    let original = if local.is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    // Without connection tracking it was not redirected.
    let original = original.ok().and_then(|address| address.as_socket());
    let arrival = Arrival {
        port: listener.port,
        original_destination: Some(original.unwrap_or(local)),
        local: Some(local),
        answered: None,
    };
    Ok((address(&peer)?, arrival))
}

fn receive(listener: &Listener) -> io::Result<(SocketAddr, Arrival)> {
    let mut buffer = [MaybeUninit::uninit(); 512];
    let (_, peer) = listener.socket.recv_from(&mut buffer)?;
    // A lost answer shows as one that does not come.
    let answered = listener.answers.then(|| {
        let _ = listener.socket.send_to(&QUESTION, &peer);
        false
    });
    let arrival = Arrival {
        port: listener.port,
        original_destination: None,
        local: None,
        answered,
    };
    Ok((address(&peer)?, arrival))
}

fn address(address: &socket2::SockAddr) -> io::Result<SocketAddr> {
    address
        .as_socket()
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

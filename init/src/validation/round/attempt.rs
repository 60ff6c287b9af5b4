//! One connection, or one question and its answer.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::SocketAddr,
    time::Duration,
};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::{Outcome, address, errno};
use crate::validation::{
    identity::Credentials,
    probe::{Kind, Probe, Transport},
};

/// The shortest question that a name server may drop: a header without questions (RFC 1035, 4.1.1).
pub(super) const QUESTION: [u8; 12] = [0; 12];

/// A connection under way.
pub(super) struct Attempt {
    pub(super) socket: Socket,
    pub(super) local: SocketAddr,
    pub(super) transport: Transport,
    /// Still without a word from the other side.
    pub(super) pending: bool,
    pub(super) outcome: Option<Outcome>,
}

impl Attempt {
    /// Sets out.
    pub(super) fn begin(credentials: &Credentials, probe: &Probe) -> io::Result<Self> {
        let domain = Domain::for_address(probe.destination);
        let transport = probe.transport();
        let kind = match transport {
            Transport::Tcp => Type::STREAM,
            Transport::Udp => Type::DGRAM,
        };
        let socket = credentials.socket(probe.client, domain, kind)?;
        socket.set_nonblocking(true)?;
        // What is not captured shall not travel.
        if probe.destination.is_ipv4() {
            socket.set_ttl_v4(1)?;
        } else {
            socket.set_unicast_hops_v6(1)?;
        }
        if let Some(mark) = probe.mark {
            socket.set_mark(mark)?;
        }
        if transport == Transport::Tcp {
            // Ends at once, so that nothing holds the proxy's ports when this program is gone.
            socket.set_linger(Some(Duration::ZERO))?;
        }
        if let Some(source) = probe.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&probe.destination.into()) {
            Err(error) if errno(&error) != Errno::INPROGRESS => return Err(error),
            _ => {}
        }
        if probe.kind == Kind::Question(Transport::Udp) {
            socket.send_vectored(&[IoSlice::new(&QUESTION)])?;
        }
        let local = address(&socket.local_addr()?)?;
        Ok(Self {
            socket,
            local,
            transport,
            pending: true,
            outcome: None,
        })
    }

    /// Whether more may become of it.
    pub(super) fn is_open(&self) -> bool {
        match &self.outcome {
            None => true,
            Some(Outcome::Arrived(arrival)) => arrival.answered == Some(false),
            Some(_) => false,
        }
    }

    /// Sees what the other side said.
    pub(super) fn look(&mut self) {
        if !self.pending {
            return;
        }
        match self.transport {
            Transport::Tcp => self.look_at_stream(),
            Transport::Udp => self.look_at_datagrams(),
        }
    }

    fn look_at_stream(&mut self) {
        if let Ok(Some(error)) = self.socket.take_error() {
            self.fail(errno(&error));
        } else if self.socket.peer_addr().is_ok() {
            // It is taken, by whom a listener of ours will tell.
            self.pending = false;
        }
    }

    fn look_at_datagrams(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 512];
        match self.socket.recv(&mut buffer) {
            Ok(_) => match &mut self.outcome {
                Some(Outcome::Arrived(arrival)) => {
                    arrival.answered = Some(true);
                    self.pending = false;
                }
                _ => {
                    self.outcome = Some(Outcome::Elsewhere);
                    self.pending = false;
                }
            },
            Err(error) if matches!(errno(&error), Errno::AGAIN | Errno::INTR) => {}
            Err(error) => self.fail(errno(&error)),
        }
    }

    fn fail(&mut self, errno: Errno) {
        self.pending = false;
        self.outcome.get_or_insert(Outcome::Failed(errno));
    }

    pub(super) fn end(self) -> Outcome {
        match self.outcome {
            Some(outcome) => outcome,
            None if self.transport == Transport::Tcp && !self.pending => Outcome::Elsewhere,
            None => Outcome::Silent,
        }
    }
}

//! A server of questions by UDP that notes who asked, and the one who asks.

use std::{
    io,
    net::{Shutdown, SocketAddr, UdpSocket},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use rustix::net::RecvFlags;
use socket2::{Domain, SockRef, Socket, Type};

use super::{Namespace, User};
use crate::wait::DEADLINE;

/// More than any question or answer of a test.
const LONGEST: usize = 1024;

/// One received datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Datagram {
    /// Who sent it.
    pub peer: SocketAddr,
    /// What it says.
    pub payload: Vec<u8>,
}

/// A UDP socket in a namespace that answers each datagram and hands them out one by one.
#[derive(Debug)]
pub struct Datagrams {
    local: SocketAddr,
    socket: UdpSocket,
    datagrams: Receiver<Datagram>,
}

impl Datagrams {
    /// Answers as root, with a constant.
    #[track_caller]
    pub fn answer(namespace: &Namespace, address: &str, answer: &'static [u8]) -> Self {
        Self::answer_as(User::ROOT, namespace, address, move |_| Some(answer.into()))
    }

    /// Answers as another user, whose packets the `owner` match then sees. What answers runs as
    /// this user in the namespace, too, and may have nothing to say.
    #[track_caller]
    pub fn answer_as(
        user: User,
        namespace: &Namespace,
        address: &str,
        mut answer: impl FnMut(&Datagram) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let (sender, datagrams) = mpsc::channel();
        let start = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind(address)?;
            let receiving = socket.try_clone()?;
            // The new thread has the namespace and the user of this one.
            thread::spawn(move || {
                let mut payload = [0; LONGEST];
                while let Some((length, peer)) = receive(&receiving, &mut payload) {
                    let datagram = Datagram {
                        peer,
                        payload: payload[..length].to_vec(),
                    };
                    let answer = answer(&datagram);
                    if sender.send(datagram).is_err() {
                        return;
                    }
                    // Who asked may be gone already.
                    let _ = answer.map(|answer| receiving.send_to(&answer, peer));
                }
            });
            Ok(socket)
        };
        let socket = match namespace.run_as(user, start) {
            Ok(socket) => socket,
            Err(error) => panic!("receive at {address} in {}: {error}", namespace.name()),
        };
        let local = match socket.local_addr() {
            Ok(local) => local,
            Err(error) => panic!("address of {socket:?}: {error}"),
        };
        Self {
            local,
            socket,
            datagrams,
        }
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The next datagram, waited for no longer than the kit's deadline.
    #[track_caller]
    pub fn next(&self) -> Datagram {
        match self.datagrams.recv_timeout(DEADLINE) {
            Ok(datagram) => datagram,
            Err(_) => panic!("nothing arrived at {} within {DEADLINE:?}", self.local),
        }
    }

    /// Whether a datagram is waiting now; ask after one elsewhere has shown to be answered.
    pub fn is_empty(&self) -> bool {
        self.datagrams.recv_timeout(Duration::ZERO).is_err()
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        // Wakes the receiving thread, though the kernel says that there is no connection; the
        // thread then gives up the port.
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
    }
}

/// The length and the sender of the next datagram; none once the socket was shut down, which the
/// standard library does not expect of one for datagrams.
fn receive(socket: &UdpSocket, payload: &mut [u8]) -> Option<(usize, SocketAddr)> {
    let (length, _, peer) = rustix::net::recvfrom(socket, payload, RecvFlags::empty()).ok()?;
    Some((length, SocketAddr::try_from(peer?).ok()?))
}

/// Sends a question from the calling thread's namespace, from any free port or from this address,
/// and waits for the answer; one from elsewhere than was asked is none.
///
/// # Errors
/// When nothing can be sent, or no answer comes in time.
pub fn ask(
    source: Option<SocketAddr>,
    destination: SocketAddr,
    question: &[u8],
    deadline: Duration,
) -> io::Result<Vec<u8>> {
    let socket = Socket::new(Domain::for_address(destination), Type::DGRAM, None)?;
    if let Some(source) = source {
        socket.bind(&source.into())?;
    }
    socket.connect(&destination.into())?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(deadline))?;
    socket.send(question)?;
    let mut answer = [0; LONGEST];
    let length = socket.recv(&mut answer)?;
    Ok(answer[..length].to_vec())
}

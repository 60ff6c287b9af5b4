//! Clients and servers: blocking sockets on threads, so that little but the kernel is measured
//! beside the proxy.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use fairlead_tests::netns::{Namespace, User};
use socket2::SockRef;

/// What one call to the kernel moves.
const BLOCK: usize = 128 * 1024;

/// What goes to and fro in a round trip.
const MESSAGE: [u8; 64] = [0x5a; 64];

/// Longer than anything here may wait for its peer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener and the threads that serve its connections; it stops on drop.
#[derive(Debug)]
pub(super) struct Server {
    listener: TcpListener,
}

impl Server {
    /// Serves up to `at_once` connections at a time on every IPv4 address of the namespace.
    pub(super) fn start(
        namespace: &Namespace,
        port: u16,
        at_once: usize,
        serve: fn(TcpStream) -> io::Result<()>,
    ) -> io::Result<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        let listener = namespace.run_as(User::APPLICATION, bind)?;
        for _ in 0..at_once {
            let listener = listener.try_clone()?;
            thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    // The client sees it too, and reports it.
                    let _ = serve(stream);
                }
            });
        }
        Ok(Self { listener })
    }
}

/// Takes every connection and keeps it: echoes the first byte, and closes when it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    listener: TcpListener,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl Keeper {
    pub(super) fn start(namespace: &Namespace, port: u16) -> io::Result<Self> {
        let bind = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        let listener = namespace.run_as(User::APPLICATION, bind)?;
        let accepting = listener.try_clone()?;
        let thread = thread::spawn(move || {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = accepting.accept() {
                stream.set_read_timeout(Some(PATIENCE))?;
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                stream.write_all(&byte)?;
                kept.push(stream);
            }
            Ok(())
        });
        Ok(Self {
            listener,
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // Whoever connected has seen why it ended.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends each `accept`. It fails only where the listener is gone already.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

/// Sends back what it reads.
pub(super) fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut block = [0; 4096];
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(()),
            read => stream.write_all(&block[..read])?,
        }
    }
}

/// Echoes the first byte, reads to the end, then tells how many bytes came after the first.
pub(super) fn sink(mut stream: TcpStream) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    stream.read_exact(&mut block[..1])?;
    stream.write_all(&block[..1])?;
    let mut total: u64 = 0;
    loop {
        match stream.read(&mut block)? {
            0 => return stream.write_all(&total.to_be_bytes()),
            read => total += read as u64,
        }
    }
}

/// What arrived, and how long it took until the sender knew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
}

/// Sends to a [`sink`] for this long.
pub(super) fn stream(address: SocketAddr, duration: Duration) -> io::Result<Transfer> {
    let block = vec![0x5a; BLOCK];
    // Only once the far end has answered does the path exist.
    let mut stream = echo_once(address)?;
    let started = Instant::now();
    let mut sent = 0;
    while started.elapsed() < duration {
        stream.write_all(&block)?;
        sent += block.len() as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut total = [0; 8];
    stream.read_exact(&mut total)?;
    let elapsed = started.elapsed();
    let bytes = u64::from_be_bytes(total);
    if bytes == sent {
        Ok(Transfer { bytes, elapsed })
    } else {
        Err(io::Error::other(format!(
            "sent {sent} bytes, {bytes} arrived"
        )))
    }
}

/// Connects, and returns when one byte has come back.
pub(super) fn echo_once(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"x")?;
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(stream)
}

/// How long each small message took there and back, on one connection for this long.
pub(super) fn round_trips(address: SocketAddr, duration: Duration) -> io::Result<Vec<Duration>> {
    let mut stream = echo_once(address)?;
    let mut trips = Vec::new();
    let mut answer = [0; MESSAGE.len()];
    let started = Instant::now();
    while started.elapsed() < duration {
        let sent = Instant::now();
        stream.write_all(&MESSAGE)?;
        stream.read_exact(&mut answer)?;
        trips.push(sent.elapsed());
    }
    Ok(trips)
}

/// How long each of `count` connections, one after the other, took to echo its byte.
pub(super) fn latencies(address: SocketAddr, count: usize) -> io::Result<Vec<Duration>> {
    (0..count)
        .map(|_| {
            let started = Instant::now();
            let stream = echo_once(address)?;
            let elapsed = started.elapsed();
            drop(stream);
            Ok(elapsed)
        })
        .collect()
}

/// How long this many clients took for `count` connections each.
pub(super) fn crowd(address: SocketAddr, clients: usize, count: usize) -> io::Result<Duration> {
    let started = Instant::now();
    // Threads begin with the namespace and the user of the one that starts them.
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| scope.spawn(|| latencies(address, count).map(drop)))
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| match client.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })?;
    Ok(started.elapsed())
}

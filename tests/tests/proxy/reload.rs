//! A bootstrap that is rewritten again and again under load.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fairlead_tests::{netns::Namespace, wait};
use rustix::process::Signal;

use crate::bootstrap::{Proxy, Scratch, bootstrap, cluster, listener};

/// The listener that each rewrite changes in another way.
const CHANGING: &str = "127.0.0.1:10000";
/// The listener that stays as it is.
const STAYING: &str = "127.0.0.1:10001";
/// The listener that comes and goes.
const PASSING: &str = "127.0.0.1:10002";
const UPSTREAMS: [&str; 2] = ["127.0.0.1:20000", "127.0.0.1:20001"];

const TIME: Duration = Duration::from_secs(60);
const REWRITES: Duration = Duration::from_millis(200);
/// Threads that connect one after the other.
const CLIENTS: u32 = 8;
/// All of them together make so many connections a second.
const RATE: u32 = 2_000;
/// A connection that takes this long has failed.
const DEADLINE: Duration = Duration::from_secs(10);
/// The bytes that each connection sends and gets back.
const MESSAGE: &[u8] = b"through whatever is configured";

#[test]
#[ignore = "needs root"]
fn no_connection_notices_that_the_bootstrap_changes() {
    let scratch = Scratch::new("reload");
    let namespace = Namespace::new();
    let _upstreams = UPSTREAMS.map(|address| Echo::listen(&namespace, address));
    let proxy = Proxy::start_by(&namespace, &scratch, &numbered(0), |mut command| {
        command.args(["--drain-time-s", "5"]);
        command
    });

    let load = Load::default();
    let rewrites = thread::scope(|scope| {
        let (load, namespace) = (&load, &namespace);
        scope.spawn(move || namespace.run(|| load.stream(STAYING)));
        for client in 0..CLIENTS {
            let address = if client % 4 == 0 { STAYING } else { CHANGING };
            scope.spawn(move || namespace.run(|| load.connections(address)));
        }
        let rewritten = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rewrite(&proxy)));
        // A fault must end the load, too.
        load.ends.store(true, Ordering::Relaxed);
        rewritten.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let made = load.made.load(Ordering::Relaxed);
    let streamed = load.streamed.load(Ordering::Relaxed);
    let faults = load
        .faults
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    eprintln!("{rewrites} rewrites, {made} connections, {streamed} bytes in one stream");
    assert!(
        faults.is_empty(),
        "{} of {made} failed: {faults:#?}",
        faults.len()
    );
    let wanted = TIME.as_secs() as usize * RATE as usize * 9 / 10;
    assert!(
        made >= wanted,
        "{made} connections: the machine is too slow for this test"
    );
    assert!(
        rewrites >= TIME.as_millis() as usize * 9 / 10 / REWRITES.as_millis() as usize,
        "{rewrites}"
    );
    assert!(streamed > 0);
}

/// Rewrites the bootstrap until the time is over, and waits each time until the proxy has taken it.
fn rewrite(proxy: &Proxy<'_>) -> usize {
    let end = Instant::now() + TIME;
    let mut next = Instant::now();
    let mut rewrites = 0;
    while Instant::now() < end {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += REWRITES;
        rewrites += 1;
        let which = usize::from(is_faulty(rewrites));
        let before = configurations(proxy)[which];
        proxy.rewrite(&numbered(rewrites));
        proxy.process.signal(Signal::HUP);
        wait::until("the proxy to take the bootstrap", || {
            (configurations(proxy)[which] > before).then_some(())
        });
    }
    rewrites
}

/// Each has a fault of another kind than the one before.
fn is_faulty(number: usize) -> bool {
    number % 9 == 8
}

/// The bootstrap of this number: each differs from the one before, in what changes from one to the next.
fn numbered(number: usize) -> String {
    let kind = number % 9;
    if is_faulty(number) {
        return "static_resources: {listeners: [{nam: changing}]}".to_owned();
    }
    let mut clusters = vec![cluster("staying", UPSTREAMS[0], "connect_timeout: 5s")];
    // Each cluster name comes, changes, and goes while connections are led to it.
    let to = match kind {
        0 | 1 => "first",
        2 | 3 => "second",
        _ => "third",
    };
    let breakers = format!(
        "connect_timeout: 5s, circuit_breakers: {{thresholds: [{{max_connections: {}}}]}}",
        10_000 + number
    );
    clusters.push(cluster(to, UPSTREAMS[kind % 2], &breakers));
    let mut listeners = vec![listener("staying", STAYING, "staying", "", "")];
    // Its sockets change hands.
    let fields = match kind {
        4 => "tcp_backlog_size: 2000",
        5 => "tcp_keepalive: {keepalive_time: 30}",
        6 => "stat_prefix: other",
        _ => "",
    };
    let name = if kind == 7 { "renamed" } else { "changing" };
    listeners.push(listener(name, CHANGING, to, fields, ""));
    if kind % 2 == 1 {
        listeners.push(listener("passing", PASSING, to, "", ""));
    }
    // The lines of so many connections are for nobody.
    bootstrap("", &listeners, &clusters).replace("$LOG", "/dev/null")
}

fn configurations(proxy: &Proxy<'_>) -> [usize; 2] {
    [
        "another configuration is in use",
        "the configuration in use stays",
    ]
    .map(|words| proxy.times_told(words))
}

/// What the connections came to.
#[derive(Default)]
struct Load {
    ends: AtomicBool,
    made: AtomicUsize,
    streamed: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

impl Load {
    /// Makes connections at a steady pace until the end.
    fn connections(&self, address: &str) {
        let pace = Duration::from_secs(CLIENTS.into()) / RATE;
        let mut next = Instant::now();
        while !self.ends.load(Ordering::Relaxed) {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += pace;
            if let Err(error) = exchange(address) {
                self.fault(format!("{address}: {error}"));
            }
            self.made.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends and gets back one long stream.
    fn stream(&self, address: &str) {
        let through = || -> io::Result<()> {
            let mut reading = TcpStream::connect(address)?;
            reading.set_read_timeout(Some(DEADLINE))?;
            let mut writing = reading.try_clone()?;
            thread::scope(|scope| {
                let written = scope.spawn(move || {
                    let mut bytes = pseudo_random(1);
                    let mut block = [0; 4096];
                    while !self.ends.load(Ordering::Relaxed) {
                        block.fill_with(&mut bytes);
                        writing.write_all(&block)?;
                        // As much as leaves the machine to the connections.
                        thread::sleep(Duration::from_millis(1));
                    }
                    writing.shutdown(std::net::Shutdown::Write)
                });
                let mut bytes = pseudo_random(1);
                let mut block = [0; 4096];
                loop {
                    let read = reading.read(&mut block)?;
                    if read == 0 {
                        break;
                    }
                    if block[..read].iter().any(|byte| *byte != bytes()) {
                        return Err(io::Error::other("other bytes came back"));
                    }
                    self.streamed.fetch_add(read, Ordering::Relaxed);
                }
                written
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                if !self.ends.load(Ordering::Relaxed) {
                    return Err(io::Error::other("it ended early"));
                }
                Ok(())
            })
        };
        if let Err(error) = through() {
            self.fault(format!("the stream: {error}"));
        }
    }

    fn fault(&self, fault: String) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push(fault);
    }
}

/// The same bytes each time, none of which follows simply from its neighbour.
fn pseudo_random(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    }
}

/// One connection: it sends, gets the same back, and both ends close in order.
fn exchange(address: &str) -> io::Result<()> {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(MESSAGE)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut found = Vec::new();
    stream.read_to_end(&mut found)?;
    if found != MESSAGE {
        return Err(io::Error::other(format!("{} bytes came back", found.len())));
    }
    Ok(())
}

/// An upstream that sends back what comes, on threads of its own.
struct Echo(TcpListener);

impl Echo {
    fn listen(namespace: &Namespace, address: &str) -> Self {
        let listener = namespace
            .run(|| TcpListener::bind(address))
            .expect("a listener");
        for _ in 0..4 {
            let accepting = listener.try_clone().expect("a second handle");
            thread::spawn(move || {
                while let Ok((mut stream, _)) = accepting.accept() {
                    // A peer that ends early is noticed at its own end.
                    thread::spawn(move || {
                        let mut copy = stream.try_clone()?;
                        io::copy(&mut stream, &mut copy)?;
                        copy.shutdown(std::net::Shutdown::Write)
                    });
                }
            });
        }
        Self(listener)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Ends the accepting threads; it fails only if they have ended.
        let _ = socket2::SockRef::from(&self.0).shutdown(std::net::Shutdown::Both);
    }
}

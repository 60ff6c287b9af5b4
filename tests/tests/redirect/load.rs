//! While connections come and go, runs that change nothing of what is captured are not noticed.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    ops::RangeInclusive,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fairlead_tests::netns::{Namespace, User};
use socket2::{Domain, SockRef, Socket, Type};

use crate::pod::{INJECTED, apply};

/// What the listeners of the proxy answer.
const CAPTURED: u8 = b'c';
/// What those answer that only uncaptured connections reach.
const UNCAPTURED: u8 = b'u';

/// From one inbound connection to the next of one of the two clients: 2,000 a second.
const INBOUND_PACE: Duration = Duration::from_millis(1);
/// From one outbound connection to the next.
const OUTBOUND_PACE: Duration = Duration::from_millis(4);
/// Where clients connect from, one after the other. None is taken again as long as the connection tracker
/// may remember what came from it: it would go where that went, without a look at the rules of nat.
const PORTS: RangeInclusive<u16> = 20_000..=u16::MAX;
/// From one run to the next.
const RUN_PACE: Duration = Duration::from_millis(100);
const RUNS: usize = 50;

/// More than a lost packet costs; a connection that takes this long has failed.
const DEADLINE: Duration = Duration::from_secs(5);

const SAME: &[&str] = &[];
/// Other rules, of ports that nobody uses here.
const OTHER: &[&str] = &["-d", "15090,15021,15020,9999", "-o", "9998"];
const TPROXY: &[&str] = &["-m", "TPROXY"];
const FORCED: &[&str] = &["--force-apply"];
const RECONCILED: &[&str] = &["--reconcile"];

const NFT: &[&str] = &["--force-iptables-binary", "nft"];
const LEGACY: &[&str] = &["--force-iptables-binary", "legacy"];
const NATIVE: &[&str] = &["--native-nftables"];

#[test]
#[ignore = "needs root"]
fn no_connection_notices_a_run() {
    for way in [NFT, LEGACY, NATIVE] {
        check(
            SAME,
            &[
                (SAME, way),
                (RECONCILED, way),
                (OTHER, way),
                (SAME, way),
                (FORCED, way),
            ],
        );
    }
}

#[test]
#[ignore = "needs root"]
fn no_connection_notices_a_change_of_backend() {
    check(SAME, &CHANGES);
}

#[test]
#[ignore = "needs root"]
fn no_connection_notices_a_change_of_backend_with_tproxy() {
    check(TPROXY, &CHANGES);
}

#[test]
#[ignore = "needs root"]
fn no_connection_notices_a_change_of_mode() {
    let changes = [
        (SAME, NFT),
        (TPROXY, NFT),
        (SAME, LEGACY),
        (TPROXY, LEGACY),
        (SAME, NATIVE),
        (TPROXY, NATIVE),
    ];
    check(SAME, &changes);
}

/// From each backend to each other one, with the same rules and with others.
const CHANGES: [(&[&str], &[&str]); 8] = [
    (SAME, NFT),
    (SAME, LEGACY),
    (OTHER, NATIVE),
    (SAME, NFT),
    (FORCED, NATIVE),
    (RECONCILED, LEGACY),
    (OTHER, NFT),
    (OTHER, LEGACY),
];

/// Runs one after the other, again and again, under load.
#[track_caller]
fn check(mode: &[&'static str], runs: &[(&[&'static str], &[&'static str])]) {
    // A transparent socket also takes connections whose destination was changed.
    let with_tproxy = mode == TPROXY || runs.iter().any(|(change, _)| *change == TPROXY);
    let bed = Bed::new(with_tproxy);
    let arguments = |index: usize| {
        let (change, way) = runs[index % runs.len()];
        let mut arguments: Vec<&str> = Vec::new();
        for pair in INJECTED.chunks(2) {
            if !mode.contains(&pair[0]) && !change.contains(&pair[0]) {
                arguments.extend(pair);
            }
        }
        [&arguments[..], &["--ipv6", "on"], mode, change, way].concat()
    };
    apply(&bed.pod, &arguments(0));

    let total = Load::default();
    let (load, pod, peer) = (&total, &bed.pod, &bed.peer);
    thread::scope(|scope| {
        for address in ["10.0.0.1:8080", "[fd00::1]:8080"] {
            scope.spawn(move || peer.run(|| load.keep_up(INBOUND_PACE, address)));
        }
        for address in ["10.0.0.2:9090", "[fd00::2]:9090"] {
            let work = || load.keep_up(OUTBOUND_PACE, address);
            scope.spawn(move || pod.run_as(User::APPLICATION, work));
        }
        for run in 1..=RUNS {
            load.run.store(run, Ordering::Relaxed);
            // A fault must end the load, too.
            let outcome = std::panic::catch_unwind(|| apply(pod, &arguments(run)));
            if let Err(panic) = outcome {
                load.ends.store(true, Ordering::Relaxed);
                std::panic::resume_unwind(panic);
            }
            thread::sleep(RUN_PACE);
        }
        load.ends.store(true, Ordering::Relaxed);
    });
    let made = total.made.load(Ordering::Relaxed);
    let faults = total
        .faults
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let faults: Vec<String> = faults
        .into_iter()
        .map(|(run, fault)| format!("{fault}, while {:?}", arguments(run)))
        .collect();
    assert!(faults.is_empty(), "of {made} connections: {faults:#?}");
    assert!(made > RUNS, "{made} connections");
}

/// What the connections came to.
#[derive(Default)]
struct Load {
    ends: AtomicBool,
    /// The number of the present run.
    run: AtomicUsize,
    made: AtomicUsize,
    /// With the run in which they came about.
    faults: Mutex<Vec<(usize, String)>>,
}

impl Load {
    /// Makes connections at a steady pace until the runs are over.
    fn keep_up(&self, pace: Duration, address: &str) {
        let destination = address.parse().expect("an address");
        let mut ports = PORTS.cycle();
        let mut next = Instant::now();
        while !self.ends.load(Ordering::Relaxed) {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            // What a busy machine could not do in time is not made up for at once.
            next = (next + pace).max(Instant::now());
            let run = self.run.load(Ordering::Relaxed);
            let port = ports.next().expect("ports without end");
            let fault = match connect(port, destination) {
                Ok(CAPTURED) => None,
                Ok(_) => Some(format!("{address} was not captured")),
                Err(error) => Some(format!("{address} failed: {error}")),
            };
            self.made.fetch_add(1, Ordering::Relaxed);
            let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
            faults.extend(fault.map(|fault| (run, fault)));
        }
    }
}

/// Connects from a port, and returns what is answered.
fn connect(port: u16, destination: SocketAddr) -> io::Result<u8> {
    let socket = Socket::new(Domain::for_address(destination), Type::STREAM, None)?;
    let any: IpAddr = if destination.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        socket.set_only_v6(true)?;
        Ipv6Addr::UNSPECIFIED.into()
    };
    socket.bind(&SocketAddr::new(any, port).into())?;
    // Its port is free again at once.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect_timeout(&destination.into(), DEADLINE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

/// A pod with the listeners of a proxy and an application, and a peer.
struct Bed {
    pod: Namespace,
    peer: Namespace,
    _listeners: Vec<Answering>,
}

impl Bed {
    fn new(transparent: bool) -> Self {
        let (pod, peer) = (Namespace::new(), Namespace::new());
        pod.connect(
            &["10.0.0.1/24", "fd00::1/64"],
            &peer,
            &["10.0.0.2/24", "fd00::2/64"],
        );
        let listeners = vec![
            Answering::new(&pod, User::PROXY, 15006, transparent, CAPTURED),
            Answering::new(&pod, User::PROXY, 15001, false, CAPTURED),
            Answering::new(&pod, User::APPLICATION, 8080, false, UNCAPTURED),
            Answering::new(&peer, User::ROOT, 9090, false, UNCAPTURED),
        ];
        Self {
            pod,
            peer,
            _listeners: listeners,
        }
    }
}

/// A listener of both families that answers one byte to each connection.
struct Answering(Socket);

impl Answering {
    #[track_caller]
    fn new(namespace: &Namespace, user: User, port: u16, transparent: bool, answer: u8) -> Self {
        let listen = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
            socket.set_only_v6(false)?;
            socket.set_reuse_address(true)?;
            if transparent {
                socket.set_ip_transparent_v6(true)?;
                socket.set_ip_transparent_v4(true)?;
            }
            socket.bind(&SocketAddr::from(([0; 16], port)).into())?;
            socket.listen(4096)?;
            Ok(socket)
        };
        // Only root may ask for a transparent one; who made it matters to no rule here.
        let user = if transparent { User::ROOT } else { user };
        let socket = namespace.run_as(user, listen).expect("a listener");
        let accepting = socket.try_clone().expect("a second handle");
        let accepting = TcpListener::from(accepting);
        thread::spawn(move || {
            while let Ok((mut stream, _)) = accepting.accept() {
                // Who asked may have given up.
                let _ = stream.write_all(&[answer]);
            }
        });
        Self(socket)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        // Ends the accepting thread; it fails only if that has ended.
        let _ = SockRef::from(&self.0).shutdown(std::net::Shutdown::Both);
    }
}

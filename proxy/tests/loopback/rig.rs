//! A sidecar that runs in the test, and the two sides of its connections.

use std::{
    fs,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use fairlead_api::proxy_config::AccessLog;
use fairlead_proxy::original_dst::Redirect;

use crate::sidecar::{Running, config, get, start_with};

/// Long enough for a loaded machine; a test that waits this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Answers with one address, or that there was no redirect.
#[derive(Debug)]
pub(crate) struct Leads(pub(crate) Option<SocketAddr>);

impl Redirect for Leads {
    fn original_dst(&self, _: &tokio::net::TcpStream) -> io::Result<SocketAddr> {
        self.0.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback()
    }
}

/// A file that is gone after the test.
#[derive(Debug)]
pub(crate) struct Log(PathBuf);

impl Log {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fairlead-{}-{number}.log", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Nothing, if nothing was ever to be logged.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.0).unwrap_or_default()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Left-overs of a test do no harm.
        let _ = fs::remove_file(&self.0);
    }
}

/// A running sidecar with one worker.
pub(crate) struct Rig {
    running: Running,
    pub(crate) outbound: SocketAddr,
    pub(crate) inbound: SocketAddr,
}

impl Rig {
    /// Leads every connection to `upstream`, and logs it.
    pub(crate) fn leading_to(upstream: SocketAddr) -> Self {
        Self::start(Leads(Some(upstream)), AccessLog::All)
    }

    pub(crate) fn start(redirect: impl Redirect + 'static, access_log: AccessLog) -> Self {
        let mut config = config(Duration::ZERO);
        config.workers = 1;
        config.proxy.access_log = access_log;
        config.proxy.connect_timeout = Duration::from_millis(200);
        let running = start_with(config, redirect);
        let ports = running.ports;
        Self {
            running,
            outbound: (Ipv4Addr::LOCALHOST, ports.outbound).into(),
            inbound: (Ipv4Addr::LOCALHOST, ports.inbound).into(),
        }
    }

    /// The value of a statistic.
    #[track_caller]
    pub(crate) fn statistic(&self, name: &str) -> u64 {
        self.running.statistic(name)
    }

    /// The lines that Prometheus reads of a metric.
    #[track_caller]
    pub(crate) fn exposed(&self, family: &str) -> Vec<String> {
        let (_, page) = get("/stats/prometheus", self.running.ports.metrics);
        let lines = page.lines().filter(|line| line.starts_with(family));
        lines.map(str::to_owned).collect()
    }

    /// Connections that are open now.
    #[track_caller]
    pub(crate) fn active(&self) -> u64 {
        // Both listeners ask for any port, so they have the same name.
        let listeners = "listener.0.0.0.0_0.downstream";
        self.statistic(&format!("{listeners}_pre_cx_active"))
            + self.statistic(&format!("{listeners}_cx_active"))
    }

    /// Waits until no connection is open.
    #[track_caller]
    pub(crate) fn idle(&self) {
        until("the connections to end", || {
            (self.active() == 0).then_some(())
        });
    }

    /// Waits until no connection is open, ends the sidecar, and returns the access log.
    #[track_caller]
    pub(crate) fn finish(self) -> String {
        self.idle();
        self.cut()
    }

    /// Ends the sidecar now and returns the access log.
    #[track_caller]
    pub(crate) fn cut(self) -> String {
        self.running.end()
    }
}

/// A listener of the upstream side.
pub(crate) fn upstream() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Connects, and never waits for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    bounded(TcpStream::connect_timeout(&address, DEADLINE).unwrap())
}

/// Accepts one connection, which never waits for ever.
pub(crate) fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (stream, peer) = listener.accept().unwrap();
    (bounded(stream), peer)
}

fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Reads to the end.
#[track_caller]
pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Reads as many bytes as are expected.
#[track_caller]
pub(crate) fn expect(stream: &mut TcpStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
}

/// Reads until the connection is reset.
#[track_caller]
pub(crate) fn expect_reset(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        Ok(_) => panic!("the connection was closed, not reset, after {bytes:?}"),
    }
}

/// Connects, and is reset: during the connect already, if the proxy is fast.
#[track_caller]
pub(crate) fn expect_refusal(address: SocketAddr) {
    match TcpStream::connect_timeout(&address, DEADLINE) {
        Ok(stream) => expect_reset(&mut bounded(stream)),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} for {what}");
        std::thread::yield_now();
    }
}

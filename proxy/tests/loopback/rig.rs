//! Workers that run in the test, and the two sides of their connections.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fairlead_api::{
    proxy_config::{AccessLog, AccessLogEncoding},
    values::InterceptionMode,
};
use fairlead_proxy::{
    access_log,
    connection::Settings,
    destination::CapturePorts,
    listener,
    original_dst::Redirect,
    statistics::Statistics,
    workers::{self, Listeners, Workers},
};

const MODE: InterceptionMode = InterceptionMode::Redirect;

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

/// Output that a test reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Running workers.
pub(crate) struct Rig {
    pub(crate) workers: Workers,
    pub(crate) outbound: SocketAddr,
    pub(crate) inbound: SocketAddr,
    lines: Lines,
    writer: access_log::Writer,
}

impl Rig {
    /// One worker that leads every connection to `upstream`, and logs it.
    pub(crate) fn leading_to(upstream: SocketAddr) -> Self {
        Self::start(Leads(Some(upstream)), AccessLog::All)
    }

    pub(crate) fn start(redirect: impl Redirect + 'static, access_log: AccessLog) -> Self {
        let mut outbound = listener::bind("outbound", 0, 1, MODE).unwrap();
        let mut inbound = listener::bind("inbound", 0, 1, MODE).unwrap();
        let port = |shares: &[Vec<TcpListener>]| shares[0][0].local_addr().unwrap().port();
        let ports = CapturePorts {
            outbound: port(&outbound),
            inbound: port(&inbound),
        };
        let settings = Settings {
            ports,
            interception_mode: MODE,
            connect_timeout: Duration::from_millis(200),
            access_log,
            access_log_encoding: AccessLogEncoding::Text,
            redirect: Arc::new(redirect),
        };
        let lines = Lines::default();
        let (log, writer) = access_log::start(lines.clone()).unwrap();
        let listeners = Listeners {
            outbound: outbound.remove(0),
            inbound: inbound.remove(0),
        };
        Self {
            workers: workers::start(vec![listeners], &settings, &log).unwrap(),
            outbound: (Ipv4Addr::LOCALHOST, ports.outbound).into(),
            inbound: (Ipv4Addr::LOCALHOST, ports.inbound).into(),
            lines,
            writer,
        }
    }

    /// The counters of the worker.
    pub(crate) fn statistics(&self) -> Arc<Statistics> {
        self.workers.statistics()[0].clone()
    }

    /// Waits until no connection is open, ends the workers, and returns the access log.
    pub(crate) fn finish(self) -> String {
        let statistics = self.statistics();
        until("the connections to end", || {
            (statistics.active() == 0).then_some(())
        });
        self.cut()
    }

    /// Ends the workers now and returns the access log.
    pub(crate) fn cut(self) -> String {
        self.workers.stop();
        self.writer.flush();
        self.lines.text()
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

//! What the cases are written with: clients, upstreams, name servers, the admin interface.

mod client;
mod names;
mod upstream;

use std::{
    any::Any,
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use fairlead_tests::{
    netns::{Namespace, Process},
    wait,
};

pub(crate) use self::{
    client::{Client, Tls, hello},
    upstream::Answer,
};
use crate::{bootstrap::ADMIN, observation::without_ephemeral_ports};

/// Longer than anything that is expected to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// One run of a script, with either program.
pub(crate) struct Run<'a> {
    namespace: &'a Namespace,
    directory: PathBuf,
    program: Option<Box<dyn Fn() -> Process + Send + 'a>>,
    process: Option<Process>,
    seen: Vec<(String, String)>,
    kept: Vec<Box<dyn Any + Send>>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(namespace: &'a Namespace, directory: PathBuf) -> Self {
        Self {
            namespace,
            directory,
            program: None,
            process: None,
            seen: Vec::new(),
            kept: Vec::new(),
        }
    }

    pub(crate) fn set_program(&mut self, program: impl Fn() -> Process + Send + 'a) {
        self.program = Some(Box::new(program));
    }

    pub(crate) fn end(self) -> (Vec<(String, String)>, Option<Process>) {
        (self.seen, self.process)
    }

    /// Starts the program and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        let program = self.program.as_ref().expect("a program");
        self.process = Some(program());
    }

    /// Keeps for the comparison what a deed led to.
    pub(crate) fn note(&mut self, deed: &str, result: &str) {
        self.seen
            .push((deed.to_owned(), without_ephemeral_ports(result)));
    }

    /// Runs a program in the namespace.
    #[track_caller]
    pub(crate) fn shell(&self, program: &str, arguments: &[&str]) {
        self.namespace.stdout(program, arguments);
    }

    /// Writes a file of the scratch directory as a whole, which watchers see as a move.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let text = text.replace("$DIR", &self.directory.display().to_string());
        let new = self.directory.join(format!("{name}.new"));
        fs::write(&new, text).expect("write a file");
        fs::rename(&new, self.directory.join(name)).expect("move a file");
    }

    /// Listens and answers until the end of the run.
    #[track_caller]
    pub(crate) fn upstream(&mut self, at: &str, answer: Answer) {
        let upstream = upstream::Upstream::listen(at, answer);
        self.kept.push(Box::new(upstream));
    }

    /// Listens and answers until what is returned is dropped.
    #[track_caller]
    pub(crate) fn upstream_for_a_while(&self, at: &str, answer: Answer) -> impl Drop + use<> {
        upstream::Upstream::listen(at, answer)
    }

    /// Upstreams that say these names first and then echo.
    #[track_caller]
    pub(crate) fn named(&mut self, upstreams: &[(&str, &'static str)]) {
        for (at, name) in upstreams {
            self.upstream(at, Answer::Named(name));
        }
    }

    /// Answers questions for names at 127.0.0.1:5353 by this table.
    #[track_caller]
    pub(crate) fn names(&mut self, table: &'static [(&'static str, &'static [&'static str])]) {
        let server = names::serve(self.namespace, table);
        self.kept.push(Box::new(server));
    }

    /// Connects, from any address of the loopback network.
    #[track_caller]
    pub(crate) fn connect(&mut self, to: &str) -> Client {
        Client::connect(None, to)
    }

    /// Connects from an address, sends, ends its half, and notes all that comes.
    #[track_caller]
    pub(crate) fn exchange_from(&mut self, from: &str, to: &str, bytes: &[u8]) {
        let from = (!from.is_empty()).then(|| from.parse().expect("an address"));
        let deed = format!("{} to {to}", String::from_utf8_lossy(bytes).escape_debug());
        let result = match Client::try_connect(from, to) {
            Err(error) => format!("connect: {}", kind(&error)),
            Ok(mut client) => {
                client.send(bytes);
                client.finish();
                client.rest()
            }
        };
        self.note(&deed, &result);
    }

    /// Connects from an address and notes all that comes.
    #[track_caller]
    pub(crate) fn hear_from(&mut self, from: &str, to: &str) {
        let from = from.parse().expect("an address");
        let rest = Client::connect(Some(from), to).rest();
        self.note(&format!("heard of {to}"), &rest);
    }

    /// Connects, sends, ends its half, and notes all that comes.
    #[track_caller]
    pub(crate) fn exchange(&mut self, to: &str, bytes: &[u8]) {
        self.exchange_from("", to, bytes);
    }

    /// Connects, waits for a line, sends, and notes all that comes after ending its half.
    #[track_caller]
    pub(crate) fn listen_first(&mut self, from: &str, to: &str) {
        let from_address = (!from.is_empty()).then(|| from.parse().expect("an address"));
        let mut client = Client::connect(from_address, to);
        let line = client.line();
        client.finish();
        let rest = client.rest();
        self.note(
            &format!("first line of {to} {from}"),
            &format!("{line} then {rest}"),
        );
    }

    /// How many of the connections, one after another, come to which upstream, by their names.
    #[track_caller]
    pub(crate) fn distribution(&mut self, to: &str, connections: usize) {
        let mut counts = BTreeMap::new();
        for _ in 0..connections {
            *counts.entry(self.whom("", to)).or_insert(0) += 1;
        }
        self.note(
            &format!("{connections} connections to {to}"),
            &format!("{counts:?}"),
        );
    }

    /// To whom the connections, one after another, come, in order.
    #[track_caller]
    pub(crate) fn order(&mut self, to: &str, sources: &[&str]) {
        let order: Vec<_> = sources.iter().map(|from| self.whom(from, to)).collect();
        self.note(&format!("order of {to}"), &order.join(" "));
    }

    /// The name that an upstream says first.
    #[track_caller]
    pub(crate) fn whom(&mut self, from: &str, to: &str) -> String {
        let from = (!from.is_empty()).then(|| from.parse().expect("an address"));
        let mut client = Client::connect(from, to);
        let name = client.line();
        client.finish();
        client.rest();
        name
    }

    /// Sends first bytes and notes the first line that comes, which is an upstream's name.
    #[track_caller]
    pub(crate) fn route(&mut self, what: &str, from: &str, to: &str, bytes: &[u8]) {
        let from = (!from.is_empty()).then(|| from.parse().expect("an address"));
        let mut client = Client::connect(from, to);
        client.send(bytes);
        let name = client.line();
        client.finish();
        let _ = client.rest();
        self.note(what, &name);
    }

    /// A TLS connection: what was agreed on, and what came.
    #[track_caller]
    pub(crate) fn tls(&mut self, what: &str, to: &str, tls: Tls<'_>) {
        let result = Client::connect(None, to).tls(tls, b"hello");
        self.note(what, &result);
    }

    /// Waits until a statistic has a value.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, name: &str, value: u64) {
        self.wait_until(name, |now| now == value);
    }

    /// Waits until a statistic is as wanted; one that is not there is 0.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, name: &str, wanted: impl Fn(u64) -> bool) {
        let what = format!("statistic {name}");
        wait::until_within(wait::DEADLINE, Duration::from_millis(10), &what, || {
            let text = admin("GET", &format!("/stats?filter=^{name}$"))?;
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map_or(Some(0), |value| value.parse().ok())?;
            wanted(value).then_some(())
        });
    }
}

/// Asks the admin interface from the calling thread's namespace; none if it does not answer.
pub(crate) fn admin(method: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(ADMIN).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    if chunked {
        unchunked(body)
    } else {
        Some(body.to_owned())
    }
}

fn unchunked(mut body: &str) -> Option<String> {
    let mut out = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n")?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        if length == 0 {
            return Some(out);
        }
        out.push_str(rest.get(..length)?);
        body = rest.get(length + 2..)?;
    }
}

/// One word for how reading or writing failed.
fn kind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset".to_owned(),
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "silence".to_owned(),
        io::ErrorKind::UnexpectedEof => "eof without close_notify".to_owned(),
        _ => error.to_string(),
    }
}

fn parse(at: &str) -> SocketAddr {
    at.parse().unwrap_or_else(|error| panic!("{at}: {error}"))
}

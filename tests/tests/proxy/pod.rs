//! Two namespaces that stand for two pods with a sidecar each.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use fairlead_tests::{
    binary,
    netns::{Namespace, Process, User},
    wait::{self, DEADLINE},
};

/// The addresses of the calling pod.
pub(crate) const CALLER: [&str; 2] = ["10.0.0.1", "fd00::1"];
/// The addresses of the called pod.
pub(crate) const CALLED: [&str; 2] = ["10.0.0.2", "fd00::2"];
/// The application's port, on all addresses of the called pod.
pub(crate) const PORT: u16 = 8080;
/// A port that the redirect of both pods leaves alone, in either direction.
pub(crate) const EXCLUDED: u16 = 9090;

/// The proxy logs every connection, and gives up on an upstream early.
const PROXY_CONFIG: &str =
    r#"{"accessLog":"all","connectTimeout":"400ms","terminationDrainDuration":"30s"}"#;

/// A pod: its namespace, its proxy, and the proxy's access log.
pub(crate) struct Pod {
    pub(crate) namespace: Namespace,
    proxy: Option<Process>,
    log: Log,
}

/// Two pods on one cable, with the redirect installed and the proxies ready.
#[track_caller]
pub(crate) fn two_pods() -> (Pod, Pod) {
    let (caller, called) = two_namespaces();
    (Pod::start(caller), Pod::start(called))
}

/// Two namespaces on one cable, with the redirect installed.
#[track_caller]
pub(crate) fn two_namespaces() -> (Namespace, Namespace) {
    let (caller, called) = cable();
    for namespace in [&caller, &called] {
        redirect(namespace);
    }
    (caller, called)
}

/// Two namespaces on one cable.
#[track_caller]
pub(crate) fn cable() -> (Namespace, Namespace) {
    let (caller, called) = (Namespace::new(), Namespace::new());
    let with_length = |addresses: [&str; 2]| {
        let [v4, v6] = addresses;
        [format!("{v4}/24"), format!("{v6}/64")]
    };
    let (one, other) = (with_length(CALLER), with_length(CALLED));
    caller.connect(
        &one.each_ref().map(String::as_str),
        &called,
        &other.each_ref().map(String::as_str),
    );
    (caller, called)
}

#[track_caller]
fn redirect(namespace: &Namespace) {
    let mut init = Command::new(binary("fairlead-init"));
    let excluded = EXCLUDED.to_string();
    init.args(["-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT"]);
    init.args(["-i", "*", "-x", "", "-b", "*", "-o", &excluded]);
    init.args(["-d", &format!("15090,15021,15020,{excluded}")]);
    let output = namespace.output(init);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

/// The command that runs the sidecar.
pub(crate) fn sidecar() -> Command {
    let mut command = Command::new(binary("fairlead-proxy"));
    command
        .arg("sidecar")
        .env("PROXY_CONFIG", PROXY_CONFIG)
        .stdout(Stdio::piped())
        // What it tells besides is for a failed test's reader.
        .stderr(Stdio::inherit());
    command
}

impl Pod {
    /// Starts the sidecar in a namespace and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(namespace: Namespace) -> Self {
        Self::start_command(namespace, sidecar())
    }

    /// Starts the sidecar by another command line.
    #[track_caller]
    pub(crate) fn start_command(namespace: Namespace, command: Command) -> Self {
        Self::start_as(User::PROXY, namespace, command)
    }

    /// Starts the sidecar as another user.
    #[track_caller]
    pub(crate) fn start_as(user: User, namespace: Namespace, command: Command) -> Self {
        let mut pod = Self {
            namespace,
            proxy: None,
            log: Log::default(),
        };
        pod.start_proxy_as(user, command);
        pod
    }

    /// Starts the proxy again; its lines are added to the log.
    #[track_caller]
    pub(crate) fn start_proxy(&mut self, command: Command) {
        self.start_proxy_as(User::PROXY, command);
    }

    #[track_caller]
    fn start_proxy_as(&mut self, user: User, command: Command) {
        // The one before holds its ports until it is reaped.
        self.proxy = None;
        let mut proxy = self.namespace.spawn_as(user, command);
        if let Some(output) = proxy.child().stdout.take() {
            self.log.follow(output);
        }
        self.proxy = Some(proxy);
        let mut wait = Command::new(binary("fairlead-proxy"));
        wait.args(["wait", "--timeout", "10s"]);
        let output = self.namespace.output(wait);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
    }

    /// The proxy's process.
    #[track_caller]
    pub(crate) fn proxy(&mut self) -> &mut Process {
        self.proxy.as_mut().expect("a pod is made with its proxy")
    }

    /// What the admin port answers.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str) -> String {
        let mut command = Command::new(binary("fairlead-proxy"));
        command.args(["request", method, path]);
        let output = self.namespace.output(command);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// One statistic.
    #[track_caller]
    pub(crate) fn statistic(&self, name: &str) -> u64 {
        let stats = self.request("GET", "/stats");
        let value = stats
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("{name} is not in {stats}"))
    }

    /// Waits for a line of the access log that has all these parts.
    #[track_caller]
    pub(crate) fn logged(&self, parts: &[&str]) -> String {
        wait::until(&format!("{parts:?} in the access log"), || {
            let lines = self.log.lines();
            lines
                .into_iter()
                .find(|line| parts.iter().all(|part| line.contains(part)))
        })
    }

    /// The lines of the access log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Connects as the application, and never waits for ever.
    #[track_caller]
    pub(crate) fn connect(&self, address: SocketAddr) -> TcpStream {
        self.connect_as(User::APPLICATION, address)
    }

    /// Connects as a user.
    #[track_caller]
    pub(crate) fn connect_as(&self, user: User, address: SocketAddr) -> TcpStream {
        let connect = || TcpStream::connect_timeout(&address, DEADLINE);
        match self.namespace.run_as(user, connect) {
            Ok(stream) => bounded(stream),
            Err(error) => panic!("connect to {address}: {error}"),
        }
    }

    /// Connects as the application, and is reset, during the connect or after it.
    #[track_caller]
    pub(crate) fn connect_in_vain(&self, address: SocketAddr) {
        connect_in_vain(&self.namespace, address);
    }
}

/// As [`Pod::connect_in_vain`], from a namespace that need not have a proxy.
#[track_caller]
pub(crate) fn connect_in_vain(namespace: &Namespace, address: SocketAddr) {
    let connect = || TcpStream::connect_timeout(&address, DEADLINE);
    let result = namespace.run_as(User::APPLICATION, connect);
    let result = result.and_then(|stream| bounded(stream).read_to_end(&mut Vec::new()));
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        result => panic!("{address}: {result:?} is not a reset"),
    }
}

/// A stream that fails rather than waits for ever.
#[track_caller]
pub(crate) fn bounded(stream: TcpStream) -> TcpStream {
    let bounded = stream
        .set_read_timeout(Some(DEADLINE))
        .and_then(|()| stream.set_write_timeout(Some(DEADLINE)));
    assert!(bounded.is_ok(), "{bounded:?}");
    stream
}

/// Sends on one stream what then arrives on the other.
#[track_caller]
pub(crate) fn says(from: &mut TcpStream, to: &mut TcpStream, words: &str) {
    let sent = from.write_all(words.as_bytes());
    assert!(sent.is_ok(), "{sent:?}");
    let mut heard = vec![0; words.len()];
    let read = to.read_exact(&mut heard);
    assert!(read.is_ok(), "{read:?}");
    assert_eq!(String::from_utf8_lossy(&heard), words);
}

/// Reads to the end.
#[track_caller]
pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    assert!(read.is_ok(), "{read:?}");
    text
}

/// Addresses of the called pod with a port.
pub(crate) fn called(port: u16) -> [SocketAddr; 2] {
    CALLED.map(|address| socket_address(address, port))
}

/// An address with a port.
#[track_caller]
pub(crate) fn socket_address(address: &str, port: u16) -> SocketAddr {
    match address.parse() {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(error) => panic!("{address}: {error}"),
    }
}

/// The lines that a process prints.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn follow(&self, output: ChildStdout) {
        let lines = self.0.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
    }

    fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

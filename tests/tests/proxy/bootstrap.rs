//! `fairlead-proxy -c FILE` in a namespace, and the bootstraps that it runs.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use fairlead_tests::{
    binary,
    netns::{Namespace, Process},
    wait::{self, DEADLINE},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

/// Where each of the proxies has its admin port, in its own namespace.
pub(crate) const ADMIN: &str = "127.0.0.1:9901";

/// Every field that tells why a connection failed.
const LINE: &str = "%DOWNSTREAM_REMOTE_ADDRESS% -> %DOWNSTREAM_LOCAL_ADDRESS% \
                    cluster=%UPSTREAM_CLUSTER% host=%UPSTREAM_HOST% flags=%RESPONSE_FLAGS% \
                    details=%RESPONSE_CODE_DETAILS% up=[%UPSTREAM_TRANSPORT_FAILURE_REASON%] \
                    down=[%DOWNSTREAM_TRANSPORT_FAILURE_REASON%]\\n";

/// A directory that is gone after the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    #[track_caller]
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fairlead-{}-{name}", std::process::id()));
        match fs::create_dir_all(&path) {
            Ok(()) => Self(path),
            Err(error) => panic!("make {}: {error}", path.display()),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// In one step, as an editor or the kubelet does.
    #[track_caller]
    pub(crate) fn write(&self, name: &str, text: &str) {
        let next = self.path(&format!("{name}.next"));
        let written = fs::write(&next, text).and_then(|()| fs::rename(next, self.path(name)));
        assert!(written.is_ok(), "{name}: {written:?}");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs of a test do no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running proxy.
pub(crate) struct Proxy<'a> {
    namespace: &'a Namespace,
    pub(crate) process: Process,
    told: Arc<Mutex<Vec<String>>>,
    file: PathBuf,
    log: PathBuf,
}

impl<'a> Proxy<'a> {
    /// Runs the bootstrap in the namespace, and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(namespace: &'a Namespace, scratch: &Scratch, bootstrap: &str) -> Self {
        Self::start_by(namespace, scratch, bootstrap, |command| command)
    }

    /// As [`start`](Self::start), with another command line.
    #[track_caller]
    pub(crate) fn start_by(
        namespace: &'a Namespace,
        scratch: &Scratch,
        bootstrap: &str,
        change: impl FnOnce(Command) -> Command,
    ) -> Self {
        let name = format!("{}.yaml", namespace.name());
        let log = scratch.path(&format!("{}.log", namespace.name()));
        scratch.write(
            &name,
            &bootstrap.replace("$LOG", &log.display().to_string()),
        );
        let mut command = Command::new(binary("fairlead-proxy"));
        command.arg("-c").arg(scratch.path(&name)).args([
            "--concurrency",
            "2",
            "--file-flush-interval-msec",
            "20",
        ]);
        let mut command = change(command);
        command.stderr(Stdio::piped());
        let mut process = namespace.spawn(command);
        let output = process.child().stderr.take().expect("a pipe");
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = told.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // For a failed test's reader.
                eprintln!("{line}");
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push(line);
            }
        });
        let proxy = Self {
            namespace,
            process,
            told,
            file: scratch.path(&name),
            log,
        };
        wait::for_listener(namespace, address_of(ADMIN).port());
        wait::until("the proxy to be ready", || {
            proxy.ask("/ready").contains("LIVE").then_some(())
        });
        proxy
    }

    /// Puts another bootstrap in the place of the one that it runs, in one step.
    #[track_caller]
    pub(crate) fn rewrite(&self, bootstrap: &str) {
        let next = self.file.with_extension("next");
        let written = fs::write(&next, bootstrap).and_then(|()| fs::rename(next, &self.file));
        assert!(written.is_ok(), "{written:?}");
    }

    /// What the admin port answers; nothing while it does not.
    pub(crate) fn ask(&self, path: &str) -> String {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&address_of(ADMIN), DEADLINE)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        self.namespace.run(ask).unwrap_or_default()
    }

    /// One statistic; 0 if it was never counted.
    pub(crate) fn statistic(&self, name: &str) -> u64 {
        let page = self.ask("/stats");
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
        value.unwrap_or(0)
    }

    /// Waits until the statistic has this value.
    #[track_caller]
    pub(crate) fn counted(&self, name: &str, value: u64) {
        wait::until(&format!("{name}: {value}"), || {
            (self.statistic(name) == value).then_some(())
        });
    }

    /// Waits for a line of its own log that has all these parts.
    #[track_caller]
    pub(crate) fn told(&self, parts: &[&str]) -> String {
        wait::until(&format!("{parts:?} in the log"), || {
            let lines = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let mut lines = lines.iter();
            lines
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .cloned()
        })
    }

    /// How often its own log has such a line.
    pub(crate) fn times_told(&self, part: &str) -> usize {
        let lines = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.contains(part)).count()
    }

    /// Waits for a line of the access log that has all these parts.
    #[track_caller]
    pub(crate) fn logged(&self, parts: &[&str]) -> String {
        wait::until(&format!("{parts:?} in the access log"), || {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            let mut lines = text.lines();
            lines
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .map(str::to_owned)
        })
    }

    /// The processor time that it has taken.
    #[track_caller]
    pub(crate) fn cpu(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = fs::read_to_string(&path).unwrap_or_default();
        // The name, in parentheses, may hold anything.
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
        let ticks: Option<u64> = fields.map(|fields| {
            let both = fields.skip(11).take(2);
            both.filter_map(|field| field.parse::<u64>().ok()).sum()
        });
        let Some(ticks) = ticks else {
            panic!("{path} has no times");
        };
        Duration::from_secs(ticks)
            / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100)
    }
}

fn address_of(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// An address, as bootstraps write it.
pub(crate) fn address(text: &str) -> String {
    let address = address_of(text);
    format!(
        "{{socket_address: {{address: {}, port_value: {}}}}}",
        address.ip(),
        address.port()
    )
}

/// The whole, with admin and further fields.
pub(crate) fn bootstrap(fields: &str, listeners: &[String], clusters: &[String]) -> String {
    format!(
        "admin: {{address: {}}}\n{fields}\nstatic_resources:\n  listeners: [{}]\n  clusters: [{}]\n",
        address(ADMIN),
        listeners.join(", "),
        clusters.join(", ")
    )
}

/// A listener that leads to a cluster and logs each connection, with further fields of its own and of
/// its filter chain.
pub(crate) fn listener(
    name: &str,
    at: &str,
    cluster: &str,
    fields: &str,
    of_chain: &str,
) -> String {
    format!(
        "{{name: \"{name}\", address: {}, {} filter_chains: [{{{} filters: [{{name: tcp, typed_config: \
         {{'@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
         stat_prefix: \"{name}\", cluster: \"{cluster}\", access_log: [{{name: file, typed_config: {{'@type': \
         type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: \"$LOG\", \
         log_format: {{text_format_source: {{inline_string: \"{LINE}\"}}}}}}}}]}}}}]}}]}}",
        address(at),
        with_comma(fields),
        with_comma(of_chain),
    )
}

/// A cluster of one endpoint, with further fields.
pub(crate) fn cluster(name: &str, to: &str, fields: &str) -> String {
    let time = if fields.contains("connect_timeout:") {
        ""
    } else {
        "connect_timeout: 0.4s,"
    };
    format!(
        "{{name: \"{name}\", type: STATIC, {time} {} load_assignment: {{cluster_name: \
         \"{name}\", endpoints: [{{lb_endpoints: [{{endpoint: {{address: {}}}}}]}}]}}}}",
        with_comma(fields),
        address(to),
    )
}

fn with_comma(fields: &str) -> String {
    if fields.is_empty() {
        String::new()
    } else {
        format!("{fields},")
    }
}

/// A CA, and the certificates that it issues into a directory.
pub(crate) struct Authority<'a>(CertifiedIssuer<'static, KeyPair>, &'a Scratch);

impl<'a> Authority<'a> {
    #[track_caller]
    pub(crate) fn new(scratch: &'a Scratch) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate of a CA");
        scratch.write("ca.crt", &issuer.pem());
        Self(issuer, scratch)
    }

    /// The transport socket of a side (`Upstream`, `Downstream`) with an identity, which takes mTLS
    /// alone.
    #[track_caller]
    pub(crate) fn transport_socket(&self, side: &str, name: &str) -> String {
        let mut params = CertificateParams::default();
        let uri = format!("spiffe://cluster.local/ns/foo/sa/{name}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        self.1.write(&format!("{name}.crt"), &certificate.pem());
        self.1.write(&format!("{name}.key"), &key.serialize_pem());
        let file = |name: &str| format!("{{filename: \"{}\"}}", self.1.path(name).display());
        let required = if side == "Downstream" {
            "require_client_certificate: true,"
        } else {
            ""
        };
        format!(
            "transport_socket: {{name: tls, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{side}TlsContext, {required} \
             common_tls_context: {{tls_certificates: [{{certificate_chain: {}, private_key: {}}}], \
             validation_context: {{trusted_ca: {}, match_typed_subject_alt_names: [{{san_type: URI, \
             matcher: {{prefix: \"spiffe://cluster.local/\"}}}}]}}}}}}}}",
            file(&format!("{name}.crt")),
            file(&format!("{name}.key")),
            file("ca.crt"),
        )
    }
}

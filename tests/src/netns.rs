//! Network namespaces with real interfaces, users and processes. Needs root and iproute2.
//!
//! ```no_run
//! use fairlead_tests::{binary, netns::{Arrivals, Namespace, User}, wait};
//! use std::{net::TcpStream, process::Command};
//!
//! let pod = Namespace::new();
//! let peer = Namespace::new();
//! pod.connect(&["10.0.0.1/24", "fd00::1/64"], &peer, &["10.0.0.2/24", "fd00::2/64"]);
//!
//! // A product binary in the pod, as the proxy's user; killed when `proxy` goes out of scope.
//! let mut command = Command::new(binary("fairlead-proxy"));
//! command.arg("sidecar");
//! let proxy = pod.spawn_as(User::PROXY, command);
//! wait::for_listener(&pod, 15001);
//!
//! // A server in the peer that notes who arrived, and a client in the pod as the application's user.
//! let arrivals = Arrivals::listen(&peer, "10.0.0.2:80");
//! let stream = pod.run_as(User::APPLICATION, || TcpStream::connect("10.0.0.2:80"));
//! assert!(arrivals.next().peer.ip().is_ipv4());
//! ```
//!
//! Everything is removed on drop; what a killed run left behind is removed by the next one.

mod arrivals;
mod datagrams;
mod leftovers;
mod process;

use std::{
    fs::File,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rustix::{
    process::{Gid, Uid},
    thread::LinkNameSpaceType,
};

pub use self::{
    arrivals::{Arrival, Arrivals, original_destination},
    datagrams::{Datagram, Datagrams, ask},
    process::Process,
};

/// Where iproute2 keeps the namespaces that have a name.
const DIRECTORY: &str = "/run/netns";

/// The user and group that a closure or process runs as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The group id; there are no further groups.
    pub gid: u32,
}

impl User {
    /// The user of the kit itself.
    pub const ROOT: Self = Self::with_id(0);
    /// An application in a pod: anyone but the proxy.
    pub const APPLICATION: Self = Self::with_id(1000);
    /// The proxy.
    pub const PROXY: Self = Self::with_id(1337);

    /// A user whose group has the same number.
    pub const fn with_id(id: u32) -> Self {
        Self { uid: id, gid: id }
    }
}

/// A network namespace with its loopback interface up; deleted on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes an empty namespace.
    ///
    /// # Panics
    /// Without root or iproute2.
    #[expect(
        clippy::new_without_default,
        reason = "making a namespace is a deed, not a default value"
    )]
    #[track_caller]
    pub fn new() -> Self {
        static SWEEP: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "network namespaces need root: run the tests as root, `cargo xtask test`"
        );
        SWEEP.call_once(leftovers::sweep);
        let name = leftovers::name(std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &name]);
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// The name that `ip netns exec` takes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace, as `nsenter --net=` takes it.
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// Joins two namespaces by a cable between their `eth0`, with these addresses (`10.0.0.1/24`).
    ///
    /// Each side gets its default routes through the other's first address of the family, so that
    /// a packet to any address leaves the namespace.
    #[track_caller]
    pub fn connect(&self, addresses: &[&str], peer: &Self, peer_addresses: &[&str]) {
        ip(&[
            "link", "add", "eth0", "netns", &self.name, "type", "veth", "peer", "name", "eth0",
            "netns", &peer.name,
        ]);
        for (side, own) in [(self, addresses), (peer, peer_addresses)] {
            side.ip(&["link", "set", "eth0", "up"]);
            for address in own {
                // Without duplicate detection an IPv6 address is usable at once.
                let flags: &[&str] = if address.contains(':') {
                    &["nodad"]
                } else {
                    &[]
                };
                side.ip(&[&["address", "add", address, "dev", "eth0"], flags].concat());
            }
        }
        self.route_through(peer_addresses);
        peer.route_through(addresses);
    }

    fn route_through(&self, addresses: &[&str]) {
        for v6 in [false, true] {
            let gateway = addresses
                .iter()
                .filter_map(|address| address.split('/').next()?.parse::<IpAddr>().ok())
                .find(|address| address.is_ipv6() == v6);
            if let Some(gateway) = gateway {
                self.ip(&["route", "add", "default", "via", &gateway.to_string()]);
            }
        }
    }

    /// Runs `ip -n NAME ...`, for whatever a test wants besides.
    #[track_caller]
    pub fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }

    /// Runs a closure on its own thread inside the namespace and waits for it.
    ///
    /// Sockets that it makes stay in the namespace and may be handed out.
    #[track_caller]
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.run_as(User::ROOT, work)
    }

    /// As [`run`](Self::run), as another user: what the `owner` match sees of its sockets.
    #[track_caller]
    pub fn run_as<T: Send>(&self, user: User, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter();
            become_user(user);
            work()
        };
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Starts a process inside the namespace; it is killed when the handle is dropped.
    #[track_caller]
    pub fn spawn(&self, command: Command) -> Process {
        self.spawn_as(User::ROOT, command)
    }

    /// As [`spawn`](Self::spawn), as another user without further groups or capabilities.
    #[track_caller]
    pub fn spawn_as(&self, user: User, mut command: Command) -> Process {
        as_user(&mut command, user);
        // A child starts in the namespace of the thread that starts it.
        Process::start(self.run(|| command.spawn()), &command)
    }

    /// Runs a process inside the namespace to its end.
    #[track_caller]
    pub fn output(&self, command: Command) -> Output {
        self.output_as(User::ROOT, command)
    }

    /// As [`output`](Self::output), as another user without further groups or capabilities.
    #[track_caller]
    pub fn output_as(&self, user: User, mut command: Command) -> Output {
        as_user(&mut command, user);
        command.stdin(Stdio::null());
        match self.run(|| command.output()) {
            Ok(output) => output,
            Err(error) => panic!("start {command:?}: {error}"),
        }
    }

    /// Runs a program that must succeed and returns what it printed.
    #[track_caller]
    pub fn stdout(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments);
        let output = self.output(command);
        succeeded(&output, &format!("{program} {}", arguments.join(" ")))
    }

    /// Feeds a text to a program that must succeed.
    #[track_caller]
    pub fn feed(&self, program: &str, arguments: &[&str], input: &str) {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = self.run(|| {
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        });
        match output {
            Ok(output) => drop(succeeded(&output, program)),
            Err(error) => panic!("feed {program}: {error}"),
        }
    }

    /// Moves the calling thread into the namespace, for good.
    fn enter(&self) {
        let path = self.path();
        let file = File::open(&path).unwrap_or_else(|error| panic!("open {path:?}: {error}"));
        rustix::thread::move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&file),
            Some(LinkNameSpaceType::Network),
        )
        .unwrap_or_else(|error| panic!("enter {path:?}: {error}"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        leftovers::delete(&self.name);
    }
}

/// Changes the credentials of the calling thread alone, for good.
fn become_user(user: User) {
    if user == User::ROOT {
        return;
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_groups(&[])
        .and_then(|()| rustix::thread::set_thread_res_gid(gid, gid, gid))
        .and_then(|()| rustix::thread::set_thread_res_uid(uid, uid, uid))
        .unwrap_or_else(|error| panic!("become {user:?}: {error}"));
}

fn as_user(command: &mut Command, user: User) {
    use std::os::unix::process::CommandExt;
    if user != User::ROOT {
        // The standard library drops the further groups along with the user.
        command.uid(user.uid).gid(user.gid);
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("start ip (is iproute2 installed?): {error}"));
    succeeded(&output, &format!("ip {}", arguments.join(" ")));
}

#[track_caller]
fn succeeded(output: &Output, what: &str) -> String {
    assert!(
        output.status.success(),
        "{what}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(test)]
mod tests;

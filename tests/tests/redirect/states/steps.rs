//! What may happen to a namespace: runs, kills and other hands.

use std::{
    os::linux::net::SocketAddrExt,
    os::unix::{net::SocketAddr, net::UnixListener, process::CommandExt},
    process::Stdio,
    thread,
    time::Duration,
};

use fairlead_tests::{netns::Namespace, wait};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{
    istio,
    random::Random,
    state::{FAMILIES, Standing, State, attempt},
};
use crate::pod::{BACKENDS, INJECTED, init};

/// What a pod may be given.
pub(super) const CONFIGURATIONS: [(&str, &[&str]); 6] = [
    ("A", &["--ipv6", "on"]),
    ("A of one family", &["--ipv6", "off"]),
    (
        "B",
        &[
            "--ipv6",
            "on",
            "-b",
            "80,8000-8010",
            "-i",
            "10.0.0.0/8,fd00::/8",
            "-x",
            "10.1.0.0/16",
            "-o",
            "25",
            "-u",
            "1337,0",
            "-c",
            "net1",
            "-k",
            "vm0",
        ],
    ),
    (
        "C",
        &[
            "--ipv6",
            "on",
            "-m",
            "TPROXY",
            "--redirect-dns",
            "--dns-server",
            "10.0.0.10,fd00::a",
            "--drop-invalid",
            "-c",
            "net1",
        ],
    ),
    (
        "C of one family",
        &[
            "--ipv6",
            "off",
            "-m",
            "TPROXY",
            "--redirect-dns",
            "--capture-all-dns",
        ],
    ),
    (
        "D",
        &[
            "--ipv6", "on", "-m", "TPROXY", "-b", "80,90", "-t", "2000", "-r", "200",
        ],
    ),
];

/// By what they are installed.
pub(super) const WAYS: [(&str, &[&str]); 4] = [
    ("nft", &["--force-iptables-binary", "nft"]),
    ("legacy", &["--force-iptables-binary", "legacy"]),
    ("native", &["--native-nftables"]),
    ("found", &[]),
];

/// The name by which runs take turns.
pub(super) const TURN: &str = "fairlead-init";

/// A configuration and a way, as indices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) configuration: usize,
    pub(super) way: usize,
}

impl Run {
    pub(super) fn random(random: &mut Random) -> Self {
        Self {
            configuration: random.index(CONFIGURATIONS.len()),
            way: random.index(WAYS.len()),
        }
    }

    pub(super) fn arguments(self) -> Vec<&'static str> {
        let (configuration, way) = (CONFIGURATIONS[self.configuration], WAYS[self.way]);
        // Later flags of the same name win over those of an injected pod.
        let mut arguments: Vec<&str> = Vec::new();
        for pair in INJECTED.chunks(2) {
            if !configuration.1.contains(&pair[0]) {
                arguments.extend(pair);
            }
        }
        arguments.extend(configuration.1);
        arguments.extend(way.1);
        arguments
    }

    pub(super) fn name(self) -> String {
        format!(
            "{} by {}",
            CONFIGURATIONS[self.configuration].0, WAYS[self.way].0
        )
    }
}

/// Does something to the namespace; tells what, and whether others' rules were to stay as they were.
pub(super) fn step(pod: &Namespace, state: &State, random: &mut Random) -> (String, bool) {
    match random.below(20) {
        0..=3 => {
            let run = Run::random(random);
            let mut arguments = run.arguments();
            arguments.extend(*random.one_of(&[&[][..], &["--force-apply"], &["--reconcile"]]));
            let done = pod.output(init(&arguments));
            // Another's rule may keep a run from deleting the policy rule, which it then says.
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
            (format!("apply {}", run.name()), true)
        }
        4..=7 => (kill(pod, random), true),
        8 => {
            let done = pod.output(init(&["--cleanup-only"]));
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
            ("clean up".to_owned(), true)
        }
        9..=13 => (add_foreign(pod, random), false),
        14..=15 => (delete_ours(pod, state, random), false),
        16..=17 => (double(pod, state, random), false),
        18 => {
            let backend = random.one_of(&BACKENDS);
            let tproxy = random.once_in(2);
            istio::install(pod, backend, tproxy);
            (format!("Istio by {backend}, tproxy {tproxy}"), false)
        }
        _ => {
            istio::install_native(pod);
            ("Istio by nftables".to_owned(), false)
        }
    }
}

/// Starts a run and kills it, most often with what it has started.
fn kill(pod: &Namespace, random: &mut Random) -> String {
    let run = Run::random(random);
    let moment = Duration::from_micros(random.below(8_000));
    let alone = random.once_in(4);
    let mut arguments = run.arguments();
    if random.once_in(6) {
        arguments.push("--cleanup-only");
    }
    let mut command = init(&arguments);
    command.process_group(0).stderr(Stdio::null());
    let mut process = pod.spawn(command);
    let group = Pid::from_child(process.child());
    // Not to wait for anything: the moment is what the test varies.
    thread::sleep(moment);
    if alone {
        process.signal(Signal::KILL);
    } else {
        kill_process_group(group, Signal::KILL).expect("a group that was not waited for");
    }
    process.exit();
    wait_for_the_turn(pod);
    format!("kill {} after {moment:?}, alone {alone}", run.name())
}

/// Until nothing that a killed run has started runs any more, which keeps the run's turn.
pub(super) fn wait_for_the_turn(pod: &Namespace) {
    let address = SocketAddr::from_abstract_name(TURN).expect("a name");
    wait::until("the end of what a killed run has started", || {
        pod.run(|| UnixListener::bind_addr(&address)).ok().map(drop)
    });
}

fn add_foreign(pod: &Namespace, random: &mut Random) -> String {
    let number = random.below(1000);
    let (family, iptables, ip) = *random.one_of(&FAMILIES);
    let program = format!("{iptables}-{}", random.one_of(&BACKENDS));
    let table = *random.one_of(&["raw", "mangle", "nat"]);
    let chain = *random.one_of(&["PREROUTING", "OUTPUT"]);
    let ours = *random.one_of(&[
        "ISTIO_OUTPUT",
        "ISTIO_INBOUND",
        "ISTIO_OUTPUT_DNS",
        "ISTIO_REDIRECT",
        "ISTIO_DIVERT",
    ]);
    let comment = format!("foreign {number} \"-j ISTIO_OUTPUT\"");
    let rule = |arguments: &[&str], target: &[&str]| {
        let options = ["-w", "5", "-t", table];
        let comment = ["-m", "comment", "--comment", &comment];
        let arguments = [&options, arguments, &comment, target].concat();
        attempt(pod, &program, &arguments)
    };
    let plain = |arguments: &[&str]| {
        attempt(
            pod,
            &program,
            &[&["-w", "5", "-t", table], arguments].concat(),
        );
    };
    let theirs = format!("THEIRS_{number}");
    match random.below(9) {
        0 => {
            rule(&["-A", chain], &["-j", "RETURN"]);
            format!("{family} {table} rule after those of {chain}")
        }
        1 => {
            rule(&["-I", chain], &["-j", "ACCEPT"]);
            format!("{family} {table} rule before those of {chain}")
        }
        2 => {
            rule(&["-I", chain, "2"], &["-j", "RETURN"]);
            format!("{family} {table} rule between those of {chain}")
        }
        3 => {
            rule(&["-A", ours], &["-j", "ACCEPT"]);
            rule(&["-I", ours], &["-j", "RETURN"]);
            format!("{family} {table} rules in {ours}")
        }
        4 => {
            plain(&["-N", &theirs]);
            rule(&["-A", &theirs], &["-j", "RETURN"]);
            rule(&["-I", chain], &["-j", &theirs]);
            format!("{family} {table} chain behind {chain}")
        }
        5 => {
            plain(&["-N", &theirs]);
            rule(&["-A", &theirs], &["-j", ours]);
            rule(&["-A", chain], &["-j", &theirs]);
            format!("{family} {table} chain behind {chain} that jumps to {ours}")
        }
        6 => {
            plain(&[
                "-I",
                chain,
                if chain == "OUTPUT" { "-o" } else { "-i" },
                "foreign0",
                "-j",
                "RETURN",
            ]);
            format!("{family} {table} interface that {chain} leaves out")
        }
        7 => {
            let text = format!(
                "add table inet theirs\nadd chain inet theirs c{number}\n\
                 add rule inet theirs c{number} tcp dport {number} accept\n"
            );
            pod.feed("nft", &["-f", "-"], &text);
            // In a table of ours it does not last, if it is there.
            attempt(
                pod,
                "nft",
                &["add", "rule", "inet", "istio-proxy-nat", ours, "accept"],
            );
            "rules of nftables".to_owned()
        }
        _ => {
            let mark = (5000 + number).to_string();
            attempt(
                pod,
                "ip",
                &[ip, "rule", "add", "fwmark", &mark, "lookup", "177"],
            );
            attempt(
                pod,
                "ip",
                &[ip, "rule", "add", "fwmark", "1337", "lookup", "177"],
            );
            format!("{family} policy rules")
        }
    }
}

fn delete_ours(pod: &Namespace, state: &State, random: &mut Random) -> String {
    let (family, _, ip) = *random.one_of(&FAMILIES);
    if random.once_in(4) {
        let rule = ["rule", "del", "fwmark", "1337", "lookup", "133"];
        let route = ["route", "flush", "table", "133"];
        let address = ["address", "del", "::6/128", "dev", "lo"];
        let what = *random.one_of(&[&rule[..], &route, &address]);
        attempt(pod, "ip", &[&[ip], what].concat());
        return format!("delete {family} {}", what.join(" "));
    }
    if random.once_in(4) {
        let table = *random.one_of(&["istio-proxy-raw", "istio-proxy-mangle", "istio-proxy-nat"]);
        let what = *random.one_of(&["delete", "flush"]);
        attempt(pod, "nft", &[what, "table", "inet", table]);
        return format!("{what} {table}");
    }
    if state.rules.is_empty() {
        return "delete nothing".to_owned();
    }
    let rule = random.one_of(&state.rules);
    let Standing {
        program,
        table,
        chain,
        words,
    } = rule;
    if chain.starts_with("ISTIO_") && random.once_in(3) {
        for deed in ["-F", "-X"] {
            attempt(pod, program, &["-w", "5", "-t", table, deed, chain]);
        }
        return format!("{program}: empty {table} {chain}");
    }
    edit(pod, rule, &format!("-D {chain} {words}"));
    format!("{program}: delete {table} {chain} {words}")
}

fn double(pod: &Namespace, state: &State, random: &mut Random) -> String {
    let (family, _, ip) = *random.one_of(&FAMILIES);
    if random.once_in(3) {
        attempt(
            pod,
            "ip",
            &[ip, "rule", "add", "fwmark", "1337", "lookup", "133"],
        );
        attempt(
            pod,
            "ip",
            &[
                ip, "route", "append", "local", "default", "dev", "lo", "table", "133", "metric",
                "7",
            ],
        );
        return format!("double the {family} policy route");
    }
    let jumps = state
        .rules
        .iter()
        .filter(|rule| !rule.chain.starts_with("ISTIO_"));
    let jumps: Vec<&Standing> = jumps.collect();
    if jumps.is_empty() {
        return "double nothing".to_owned();
    }
    let jump = *random.one_of(&jumps);
    let Standing {
        program,
        table,
        chain,
        words,
    } = jump;
    let deed = if random.once_in(2) { "-A" } else { "-I" };
    edit(pod, jump, &format!("{deed} {chain} {words}"));
    if random.once_in(3) && words.contains("-j ISTIO_") {
        let comment = "-m comment --comment \"a \\\"quoted\\\" -j word\"";
        edit(pod, jump, &format!("{deed} {chain} {comment} {words}"));
    }
    format!("{program}: double {table} {chain} {words}")
}

/// Changes a table as `iptables-restore` does, which reads words as they were printed.
fn edit(pod: &Namespace, rule: &Standing, line: &str) {
    let text = format!("*{}\n{line}\nCOMMIT\n", rule.table);
    istio::feed(
        pod,
        &format!("{}-restore", rule.program),
        &["--noflush", "-w", "5"],
        &text,
    );
}

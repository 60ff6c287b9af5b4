//! What goes wrong is told by the log of the pod where it went wrong.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use fairlead_tests::{
    netns::{Arrivals, Namespace, User},
    wait,
};

use crate::pod::{
    CALLED, CALLER, PORT, Pod, bounded, called, sidecar, socket_address, two_namespaces, two_pods,
};

#[test]
#[ignore = "needs root"]
fn a_connection_to_the_proxys_own_port_is_refused_and_explained() {
    let (caller, called_pod) = two_pods();
    for port in [15001, 15006] {
        for ip in CALLER.into_iter().chain(["127.0.0.1", "::1"]) {
            // From within the pod, over loopback, without a redirect.
            check_own_port(&caller, &caller, ip, port);
        }
        for ip in CALLED {
            // From another pod, whose connection is redirected with the port as its destination.
            check_own_port(&caller, &called_pod, ip, port);
        }
    }
    for pod in [&caller, &called_pod] {
        assert_eq!(
            pod.statistic("cluster.InboundPassthroughCluster.upstream_cx_total"),
            0
        );
    }
}

#[track_caller]
fn check_own_port(from: &Pod, to: &Pod, ip: &str, port: u16) {
    let address = socket_address(ip, port);
    from.connect_in_vain(address);
    to.logged(&[
        " UH destination_is_the_proxy - ",
        &format!("its destination {address} is the proxy's own port {port}; "),
        " BlackHoleCluster ",
    ]);
}

#[test]
#[ignore = "needs root"]
fn a_refusal_is_told_from_an_answer_that_never_comes() {
    let (caller, called_pod) = two_pods();
    for [family, address] in [["iptables", CALLED[0]], ["ip6tables", CALLED[1]]] {
        // Nobody listens: the called pod's sidecar accepts and is refused by the application.
        let nobody = socket_address(address, 8081);
        caller.connect_in_vain(nobody);
        called_pod.logged(&[
            " UF,URX upstream_connect_refused - ",
            &format!("connect to {nobody}: refused: no application in this pod listens"),
        ]);
        // The caller sees a reset, at once or even before it has seen the connection open.
        caller.logged(&[" upstream_reset", &nobody.to_string()]);
        // The same without a sidecar in front.
        let refused = socket_address(address, 8082);
        insert(
            &called_pod,
            family,
            "-t nat -I ISTIO_INBOUND -p tcp --dport 8082 -j RETURN",
        );
        caller.connect_in_vain(refused);
        caller.logged(&[
            " UF,URX upstream_connect_refused - ",
            &format!("connect to {refused}: refused: nothing listens on that port there"),
            &format!("\"{refused}\" PassthroughCluster - {refused} "),
        ]);
        // A policy drops the packets that come to the called pod.
        let dropped = socket_address(address, PORT);
        insert(&called_pod, family, "-I INPUT -p tcp --dport 15006 -j DROP");
        caller.connect_in_vain(dropped);
        caller.logged(&[
            " UF,URX upstream_connect_timeout - ",
            &format!("connect to {dropped}: no answer within 400ms: packets are dropped"),
        ]);
    }
    let cluster = "cluster.PassthroughCluster";
    assert_eq!(
        caller.statistic(&format!("{cluster}.upstream_cx_connect_timeout")),
        2
    );
}

#[test]
#[ignore = "needs root"]
fn routes_and_rules_that_forbid_the_way_are_told_apart() {
    let (caller, _called) = two_pods();
    // The application's own connect would fail at once if these held for it too.
    for (destination, kind, token) in [
        ("10.1.0.0/24", "unreachable", "upstream_network_unreachable"),
        ("10.2.0.0/24", "prohibit", "upstream_connect_not_permitted"),
    ] {
        caller.namespace.ip(&[
            "rule",
            "add",
            "uidrange",
            "1337-1337",
            "to",
            destination,
            "type",
            kind,
        ]);
        let address = socket_address(&destination.replace(".0/24", ".7"), 80);
        caller.connect_in_vain(address);
        caller.logged(&[token, &format!("connect to {address}: ")]);
    }
    insert(
        &caller,
        "iptables",
        "-I OUTPUT -d 10.3.0.0/24 -m owner --uid-owner 1337 -j REJECT --reject-with \
         icmp-host-unreachable",
    );
    let address = socket_address("10.3.0.7", 80);
    caller.connect_in_vain(address);
    caller.logged(&[
        "upstream_host_unreachable",
        &format!("connect to {address}: host unreachable"),
    ]);
}

#[test]
#[ignore = "needs root"]
fn a_missing_source_address_is_explained() {
    let (caller, called_pod) = two_pods();
    called_pod
        .namespace
        .ip(&["address", "del", "::6/128", "dev", "lo"]);
    let [_, address] = called(PORT);
    caller.connect_in_vain(address);
    called_pod.logged(&[
        " UF,URX source_address_missing - ",
        "the source address ::6 is missing in this pod",
    ]);
}

#[test]
#[ignore = "needs root"]
fn a_taken_port_is_named_and_nothing_runs() {
    let (caller, called_pod) = two_pods();
    // By another sidecar, though both would share the port.
    check_taken(&caller.namespace, "listener status on 0.0.0.0:15020");
    let (alone, _) = two_namespaces();
    let _other = Arrivals::listen(&alone, "[::]:15021");
    check_taken(&alone, "listener health on 0.0.0.0:15021");
    // Nothing of the failed start is left: the ports that it had taken are free.
    let _free = Arrivals::listen(&alone, "[::]:15001");
    drop(called_pod);
}

#[track_caller]
fn check_taken(namespace: &Namespace, words: &str) {
    let mut command = sidecar();
    command.stderr(Stdio::piped());
    let output = namespace.output_as(User::PROXY, command);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains(&format!("bind {words}: the port is taken")),
        "{told}"
    );
}

#[test]
#[ignore = "needs root"]
fn a_proxy_out_of_descriptors_waits_and_recovers() {
    const LIMIT: usize = 80;
    let (caller, called_pod) = two_namespaces();
    let called_pod = Pod::start(called_pod);
    let server = Arrivals::listen_as(User::APPLICATION, &called_pod.namespace, "[::]:8080");
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={LIMIT}"));
    let sidecar = sidecar();
    command.arg(sidecar.get_program()).args(sidecar.get_args());
    command.envs(
        sidecar
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command.stdout(Stdio::piped());
    let mut caller = Pod::start_command(caller, command);
    let descriptors = format!("/proc/{}/fd", caller.proxy().id());
    let [address, _] = called(PORT);
    let begun = Instant::now();
    // Each takes two descriptors; what the proxy cannot accept waits in the kernel's queue.
    let clients: Vec<_> = (0..2 * LIMIT)
        .filter_map(|_| caller.namespace.run(|| TcpStream::connect(address)).ok())
        .collect();
    wait::until("the descriptors to be used up", || {
        let used = fs::read_dir(&descriptors).ok()?.count();
        (used >= LIMIT - 1).then_some(())
    });
    drop(clients);
    // The servers of the connections that are gone, and at last one whose client is there.
    let answering = thread::spawn(move || {
        loop {
            let mut stream = bounded(server.next().stream);
            if stream.read_exact(&mut [0]).is_ok() {
                return stream.write_all(b"!").is_ok();
            }
        }
    });
    let answered = || {
        let mut client = caller.namespace.run(|| TcpStream::connect(address)).ok()?;
        client.write_all(b"?").ok()?;
        client.read_exact(&mut [0]).ok()
    };
    wait::until("an answer", answered);
    assert!(answering.join().unwrap());
    // It pauses 100 ms after each failure, on four sockets at most: it did not spin.
    let failed = caller.statistic("fairlead.accept_failed");
    let most = 4 * (begun.elapsed().as_millis() / 100 + 1);
    assert!(u128::from(failed) <= most, "{failed} of {most}");
    let explained = caller
        .log()
        .iter()
        .any(|line| line.contains("file_descriptors_exhausted"));
    assert!(failed > 0 || explained);
}

/// Adds a rule, by the arguments of iptables.
#[track_caller]
fn insert(pod: &Pod, family: &str, rule: &str) {
    let rule: Vec<&str> = rule.split(' ').collect();
    pod.namespace.stdout(family, &rule);
}

//! The interception mode TPROXY: inbound connections arrive at a transparent socket, and the proxy is
//! root with one capability, which the redirect knows by its group.
//!
//! The rules are written out here, so that the proxy is tested alone.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    thread,
};

use fairlead_tests::{
    netns::{Arrivals, Namespace, User},
    wait,
};

use crate::{
    calls::{PROXY_SOURCES, with_any_port},
    pod::{
        CALLED, CALLER, PORT, Pod, bounded, cable, called, connect_in_vain, rest, says, sidecar,
        socket_address,
    },
};

/// What the injector makes of the proxy.
pub(crate) const TRANSPARENT: User = User { uid: 0, gid: 1337 };

/// The redirect of one family, of which `{loopback}` and `{proxy}` are the addresses.
const RULES: &str = "*mangle
:ISTIO_INBOUND - [0:0]
:ISTIO_DIVERT - [0:0]
:ISTIO_TPROXY - [0:0]
-A ISTIO_DIVERT -j MARK --set-mark 1337
-A ISTIO_DIVERT -j ACCEPT
-A ISTIO_TPROXY ! -d {loopback} -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A PREROUTING -p tcp -m mark --mark 1337 -j CONNMARK --save-mark
-A ISTIO_INBOUND -p tcp -m mark --mark 1337 -j RETURN
-A ISTIO_INBOUND -p tcp -s {proxy} -i lo -j RETURN
-A ISTIO_INBOUND -p tcp -i lo -m mark ! --mark 1338 -j RETURN
-A ISTIO_INBOUND -p tcp -m multiport --dports 15090,15021,15020 -j RETURN
-A ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT
-A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY
-A OUTPUT -p tcp -o lo -m mark --mark 1337 -j RETURN
-A OUTPUT ! -d {loopback} -p tcp -o lo -m owner --uid-owner 1337 -j MARK --set-mark 1338
-A OUTPUT ! -d {loopback} -p tcp -o lo -m owner --gid-owner 1337 -j MARK --set-mark 1338
-A OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark
COMMIT
*nat
:ISTIO_REDIRECT - [0:0]
:ISTIO_IN_REDIRECT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -s {proxy} -o lo -j RETURN
-A ISTIO_OUTPUT ! -d {loopback} -o lo -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT ! -d {loopback} -o lo -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d {loopback} -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
COMMIT
";

/// A peer without a sidecar, and a pod with a transparent one.
#[track_caller]
fn peer_and_pod() -> (Namespace, Pod) {
    let (peer, namespace) = cable();
    let pod = Pod::start_as(TRANSPARENT, redirect(namespace), transparent(&sidecar()));
    (peer, pod)
}

/// The namespace with the redirect.
#[track_caller]
pub(crate) fn redirect(namespace: Namespace) -> Namespace {
    for (family, restore, loopback, proxy) in [
        ("-4", "iptables-restore", "127.0.0.1/32", "127.0.0.6/32"),
        ("-6", "ip6tables-restore", "::1/128", "::6/128"),
    ] {
        let rules = RULES
            .replace("{loopback}", loopback)
            .replace("{proxy}", proxy);
        namespace.feed(restore, &["--noflush"], &rules);
        namespace.ip(&[family, "rule", "add", "fwmark", "1337", "lookup", "133"]);
        namespace.ip(&[
            family, "route", "add", "local", "default", "dev", "lo", "table", "133",
        ]);
    }
    namespace.ip(&["-6", "address", "add", "::6/128", "dev", "lo"]);
    namespace
}

/// The sidecar's command with the one capability that it needs.
pub(crate) fn transparent(proxy: &Command) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set=-all,+net_admin", "--inh-caps=-all"])
        .arg(proxy.get_program())
        .args(proxy.get_args())
        .envs(
            proxy
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("ISTIO_META_INTERCEPTION_MODE", "TPROXY")
        .stdout(Stdio::piped());
    command
}

#[test]
#[ignore = "needs root"]
fn a_transparent_proxy_passes_a_connection_on_and_knows_the_client() {
    const BYTES: usize = 4 * 1024 * 1024;
    let (peer, pod) = peer_and_pod();
    let server = Arrivals::listen_as(User::APPLICATION, &pod.namespace, "[::]:8080");
    let data: Vec<u8> = (0..BYTES).map(|index| (index % 251) as u8).collect();
    for ((address, source), client_ip) in called(PORT).into_iter().zip(PROXY_SOURCES).zip(CALLER) {
        let mut client = bounded(peer.run(|| TcpStream::connect(address)).unwrap());
        assert_eq!(client.peer_addr().unwrap(), address);
        let arrival = server.next();
        let from = arrival.peer.ip().to_canonical().to_string();
        assert_eq!(from, source);
        let mut stream = bounded(arrival.stream);
        // The application sends back what it hears.
        let echo = thread::spawn(move || {
            let mut heard = vec![0; BYTES];
            stream.read_exact(&mut heard).unwrap();
            stream.write_all(&heard).unwrap();
            assert_eq!(rest(&mut stream), "");
        });
        client.write_all(&data).unwrap();
        let mut heard = vec![0; BYTES];
        client.read_exact(&mut heard).unwrap();
        assert!(heard == data, "the echo differs");
        drop(client);
        echo.join().unwrap();
        let line = pod.logged(&[
            &format!(" 0 - - - \"-\" {BYTES} {BYTES} "),
            &format!(
                "\"{address}\" InboundPassthroughCluster {}",
                with_any_port(source)
            ),
        ]);
        let ends = format!(" {address} {}", with_any_port(client_ip));
        assert!(line.contains(&ends), "{line}");
    }
    // Nothing was captured twice, and answers of the application were not captured at all.
    assert_eq!(pod.log().len(), 2);
    assert_eq!(
        pod.statistic("listener.0.0.0.0_15006.downstream_cx_total"),
        2
    );
    assert_eq!(
        pod.statistic("listener.0.0.0.0_15001.downstream_cx_total"),
        0
    );
}

#[test]
#[ignore = "needs root"]
fn the_application_of_a_transparent_proxy_reaches_others() {
    let (peer, pod) = peer_and_pod();
    let server = Arrivals::listen_as(User::APPLICATION, &peer, "[::]:8080");
    for ip in CALLER {
        let address = socket_address(ip, PORT);
        let mut client = pod.connect(address);
        let mut stream = bounded(server.next().stream);
        says(&mut client, &mut stream, "question");
        says(&mut stream, &mut client, "an answer");
        drop(client);
        assert_eq!(rest(&mut stream), "");
        drop(stream);
        pod.logged(&[
            " 0 - - - \"-\" 8 9 ",
            &format!("\"{address}\" PassthroughCluster "),
        ]);
    }
    assert_eq!(pod.log().len(), 2);
}

#[test]
#[ignore = "needs root"]
fn an_application_reaches_itself_through_its_own_transparent_proxy() {
    let (_peer, pod) = peer_and_pod();
    let server = Arrivals::listen_as(User::APPLICATION, &pod.namespace, "[::]:8080");
    for (ip, source) in CALLED.into_iter().zip(PROXY_SOURCES) {
        let address = socket_address(ip, PORT);
        // By its own address over loopback, the redirect lets the application pass.
        check_arrival(&pod, &server, User::APPLICATION, address, ip);
        // As the proxy does it when a service's address leads back to this pod.
        check_arrival(&pod, &server, TRANSPARENT, address, source);
        // A process of the proxy's user id comes by the nat table, in this mode too.
        check_arrival(&pod, &server, User::PROXY, address, source);
    }
    assert_eq!(
        pod.statistic("cluster.InboundPassthroughCluster.upstream_cx_total"),
        4
    );
}

#[track_caller]
fn check_arrival(pod: &Pod, server: &Arrivals, user: User, address: SocketAddr, from: &str) {
    let mut client = pod.connect_as(user, address);
    let arrival = server.next();
    assert_eq!(arrival.peer.ip().to_canonical().to_string(), from);
    says(&mut client, &mut bounded(arrival.stream), "to myself");
}

#[test]
#[ignore = "needs root"]
fn a_transparent_proxys_own_port_is_refused_and_explained() {
    let (peer, pod) = peer_and_pod();
    let own = &pod.namespace;
    let mut refused = 0;
    for port in [15001, 15006] {
        for (from, ip) in [
            (&peer, CALLED[0]),
            (&peer, CALLED[1]),
            (own, CALLED[0]),
            (own, CALLED[1]),
            (own, "127.0.0.1"),
            (own, "::1"),
        ] {
            let address = socket_address(ip, port);
            connect_in_vain(from, address);
            refused += 1;
            let lines = wait::until("a line", || {
                Some(pod.log()).filter(|lines| lines.len() == refused)
            });
            let words = format!("its destination {address} is the proxy's own port {port}; ");
            let line = lines.last().unwrap();
            assert!(line.contains(&words), "{line}");
        }
    }
    assert_eq!(
        pod.statistic("cluster.InboundPassthroughCluster.upstream_cx_total"),
        0
    );
}

#[test]
#[ignore = "needs root"]
fn a_proxy_without_the_capability_says_what_it_lacks() {
    let namespace = Namespace::new();
    let mut command = sidecar();
    command.env("ISTIO_META_INTERCEPTION_MODE", "TPROXY");
    command.stderr(Stdio::piped());
    let output = namespace.output_as(User::PROXY, command);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    for words in [
        "make listener virtualInbound on 0.0.0.0:15006 transparent",
        "capability NET_ADMIN",
        "sidecar.istio.io/interceptionMode: REDIRECT",
        "Operation not permitted",
    ] {
        assert!(told.contains(words), "{words} is not in {told}");
    }
}

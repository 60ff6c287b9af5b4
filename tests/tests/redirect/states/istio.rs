//! A redirect as Istio's own program makes it: some of its rules stand in the kernel's chains, and
//! each run adds the policy rule once more.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use fairlead_tests::netns::Namespace;

use super::state::attempt;

/// Lets Istio's rules be installed; where chains of that name stand, it fails half-way as the
/// original does.
pub(super) fn install(pod: &Namespace, backend: &str, tproxy: bool) {
    for (iptables, ip, localhost, passthrough) in [
        ("iptables", "-4", "127.0.0.1/32", "127.0.0.6/32"),
        ("ip6tables", "-6", "::1/128", "::6/128"),
    ] {
        let mut text = String::new();
        if tproxy {
            text += &mangle(localhost, passthrough);
        }
        text += &nat(localhost, passthrough, !tproxy);
        let program = format!("{iptables}-{backend}-restore");
        feed(pod, &program, &["--noflush", "-w", "5"], &text);
        if tproxy {
            for _ in 0..2 {
                attempt(
                    pod,
                    "ip",
                    &[ip, "rule", "add", "fwmark", "1337", "lookup", "133"],
                );
            }
            attempt(
                pod,
                "ip",
                &[
                    ip, "route", "add", "local", "default", "dev", "lo", "table", "133",
                ],
            );
        }
    }
    attempt(pod, "ip", &["-6", "address", "add", "::6/128", "dev", "lo"]);
}

/// Lets its tables of nftables be installed, which have our names.
pub(super) fn install_native(pod: &Namespace) {
    let text = "add table inet istio-proxy-nat\n\
        flush table inet istio-proxy-nat\n\
        add chain inet istio-proxy-nat prerouting { type nat hook prerouting priority dstnat; }\n\
        add chain inet istio-proxy-nat output { type nat hook output priority dstnat; }\n\
        add chain inet istio-proxy-nat istio-inbound\n\
        add chain inet istio-proxy-nat istio-redirect\n\
        add chain inet istio-proxy-nat istio-in-redirect\n\
        add chain inet istio-proxy-nat istio-output\n\
        add rule inet istio-proxy-nat istio-redirect meta l4proto tcp counter redirect to :15001\n\
        add rule inet istio-proxy-nat istio-in-redirect meta l4proto tcp counter redirect to :15006\n\
        add rule inet istio-proxy-nat prerouting meta l4proto tcp counter jump istio-inbound\n\
        add rule inet istio-proxy-nat istio-inbound tcp dport 15008 counter return\n\
        add rule inet istio-proxy-nat istio-inbound meta l4proto tcp counter jump istio-in-redirect\n\
        add rule inet istio-proxy-nat output counter jump istio-output\n\
        add rule inet istio-proxy-nat istio-output oifname \"lo\" ip saddr 127.0.0.6 counter return\n\
        add rule inet istio-proxy-nat istio-output meta skuid 1337 counter return\n\
        add rule inet istio-proxy-nat istio-output ip daddr 127.0.0.1 counter return\n\
        add rule inet istio-proxy-nat istio-output counter jump istio-redirect\n";
    feed(pod, "nft", &["-f", "-"], text);
}

fn nat(localhost: &str, passthrough: &str, inbound: bool) -> String {
    let mut text = "*nat\n-N ISTIO_INBOUND\n-N ISTIO_REDIRECT\n-N ISTIO_IN_REDIRECT\n\
        -N ISTIO_OUTPUT\n\
        -A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN\n\
        -A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001\n\
        -A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006\n\
        -I PREROUTING 1 -i net1 -j RETURN\n\
        -I OUTPUT 1 -o net1 -j RETURN\n"
        .to_owned();
    if inbound {
        text += "-A PREROUTING -p tcp -j ISTIO_INBOUND\n\
            -A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN\n\
            -A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT\n";
    }
    text += "-A OUTPUT -j ISTIO_OUTPUT\n";
    text += &format!("-A ISTIO_OUTPUT -o lo -s {passthrough} -j RETURN\n");
    for owner in ["--uid-owner 1337", "--gid-owner 1337"] {
        text += &format!(
            "-A ISTIO_OUTPUT -o lo ! -d {localhost} -p tcp ! --dport 15008 -m owner {owner} \
             -j ISTIO_IN_REDIRECT\n\
             -A ISTIO_OUTPUT -o lo -m owner ! {owner} -j RETURN\n\
             -A ISTIO_OUTPUT -m owner {owner} -j RETURN\n"
        );
    }
    text += &format!(
        "-A ISTIO_OUTPUT -d {localhost} -j RETURN\n-A ISTIO_OUTPUT -j ISTIO_REDIRECT\nCOMMIT\n"
    );
    text
}

fn mangle(localhost: &str, passthrough: &str) -> String {
    format!(
        "*mangle\n-N ISTIO_DIVERT\n-N ISTIO_TPROXY\n-N ISTIO_INBOUND\n\
         -I PREROUTING 1 -i net1 -j RETURN\n\
         -I OUTPUT 1 -o net1 -j RETURN\n\
         -A ISTIO_DIVERT -j MARK --set-mark 1337\n\
         -A ISTIO_DIVERT -j ACCEPT\n\
         -A ISTIO_TPROXY ! -d {localhost} -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff \
         --on-port 15006\n\
         -A PREROUTING -p tcp -j ISTIO_INBOUND\n\
         -A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN\n\
         -A ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT\n\
         -A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY\n\
         -A PREROUTING -p tcp -m mark --mark 1337 -j CONNMARK --save-mark\n\
         -A OUTPUT -p tcp -o lo -m mark --mark 1337 -j RETURN\n\
         -A OUTPUT ! -d {localhost} -p tcp -o lo -m owner --uid-owner 1337 -j MARK --set-mark 1338\n\
         -A OUTPUT ! -d {localhost} -p tcp -o lo -m owner --gid-owner 1337 -j MARK --set-mark 1338\n\
         -A OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark\n\
         -I ISTIO_INBOUND 1 -p tcp -m mark --mark 1337 -j RETURN\n\
         -I ISTIO_INBOUND 2 -p tcp -s {passthrough} -i lo -j RETURN\n\
         -I ISTIO_INBOUND 3 -p tcp -i lo -m mark ! --mark 1338 -j RETURN\n\
         COMMIT\n"
    )
}

/// Feeds a text to a program that may fail.
pub(super) fn feed(pod: &Namespace, program: &str, arguments: &[&str], text: &str) {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let outcome = pod.run(|| {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that fails early reads no more.
            let _ = stdin.write_all(text.as_bytes());
        }
        child.wait()
    });
    outcome.expect("a program that takes rules");
}

//! Listeners: addresses, hand-over, limits; and the filters that look at first bytes.

use std::time::Duration;

use crate::{
    bootstrap::*,
    script::{Answer, Tls, hello},
};

const AT: &str = "127.0.0.1:10000";
const UP: &str = "127.0.0.1:20000";

/// A listener of further fields before the cluster `one`.
fn with(fields: &str) -> String {
    bootstrap(
        &[listener(
            AT,
            &format!("{fields}, {}", chains(&[chain("", &[tcp("one")])])),
        )],
        &[fixed("one", &[UP], "")],
    )
}

fn filters(all: &[String]) -> String {
    format!("listener_filters: [{}]", all.join(", "))
}

case!(
    several_addresses_are_one_listener,
    with(&format!(
        "additional_addresses: [{{address: {}}}, {{address: {}}}]",
        address("127.0.0.1:10001"),
        address("[::1]:10000")
    )),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        for at in [AT, "127.0.0.1:10001", "[::1]:10000"] {
            run.listen_first("", at);
        }
    }
);

case!(
    a_listener_of_both_families_shows_v4_addresses,
    bootstrap(
        &[format!(
            "{{name: both, address: {{socket_address: {{address: '::', port_value: 10000, ipv4_compat: true}}}}, {}}}",
            chains(&[chain("", &[tcp("one")])])
        )],
        &[fixed("one", &[UP], "")]
    ),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        run.listen_first("", AT);
        run.listen_first("", "[::1]:10000");
    }
);

case!(
    a_listener_of_v6_reaches_an_upstream_of_v6,
    bootstrap(
        &[listen("[::1]:10000", &[tcp("one")])],
        &[fixed("one", &["[::1]:20000"], "")],
    ),
    |run| {
        run.named(&[("[::1]:20000", "one")]);
        run.start();
        run.listen_first("", "[::1]:10000");
    }
);

case!(
    a_listener_without_reuse_port_works_as_one_with,
    with("enable_reuse_port: false"),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        run.listen_first("", AT);
    }
);

case!(
    a_listener_counts_under_its_prefix,
    with("stat_prefix: mine"),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        run.listen_first("", AT);
    }
);

case!(
    a_limit_of_connections_closes_those_beyond,
    bootstrap_with(
        "layered_runtime: {layers: [{name: static, static_layer: {envoy.resource_limits.listener.l10000.connection_limit: 2}}]}",
        &[listen(AT, &[tcp("one")])],
        &[fixed("one", &[UP], "")],
    ),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        let mut first = run.connect(AT);
        let mut second = run.connect(AT);
        let lines = [first.line(), second.line()].join(" ");
        run.note("within", &lines);
        let mut third = run.connect(AT);
        let rest = third.rest();
        run.note("beyond", &rest);
        drop(first);
        run.wait_for("listener.127.0.0.1_10000.downstream_cx_active", 1);
        run.listen_first("", AT);
    }
);

case!(
    redirected_connections_are_handed_to_the_listener_of_their_destination,
    {
        let inner = |at: &str, cluster: &str| {
            listener(
                at,
                &format!(
                    "bind_to_port: false, {}",
                    chains(&[chain("", &[tcp(cluster)])])
                ),
            )
        };
        let clusters = [
            ("one", "127.0.0.1:20001"),
            ("two", "127.0.0.1:20002"),
            ("rest", "127.0.0.1:20003"),
        ];
        bootstrap(
            &[
                listener(
                    "0.0.0.0:15001",
                    &format!(
                        "use_original_dst: true, {}",
                        chains(&[chain("", &[tcp("rest")])])
                    ),
                ),
                inner("10.0.0.1:80", "one"),
                inner("0.0.0.0:81", "two"),
            ],
            &clusters.map(|(name, at)| fixed(name, &[at], "")),
        )
    },
    |run| {
        run.shell("ip", &["route", "add", "local", "10.0.0.0/8", "dev", "lo"]);
        run.shell(
            "iptables",
            &[
                "-t",
                "nat",
                "-A",
                "OUTPUT",
                "-p",
                "tcp",
                "-d",
                "10.0.0.0/8",
                "-j",
                "REDIRECT",
                "--to-ports",
                "15001",
            ],
        );
        run.named(&[
            ("127.0.0.1:20001", "one"),
            ("127.0.0.1:20002", "two"),
            ("127.0.0.1:20003", "rest"),
        ]);
        run.start();
        for to in [
            "10.0.0.1:80",
            "10.0.0.2:81",
            "10.0.0.1:81",
            "10.0.0.2:80",
            "127.0.0.1:15001",
        ] {
            run.listen_first("", to);
        }
    }
);

case!(
    an_original_destination_is_the_endpoint,
    bootstrap(
        &[listener(
            "0.0.0.0:15001",
            &format!(
                "{}, {}",
                filters(&[before("original_dst", "OriginalDst", "")]),
                chains(&[chain("", &[tcp("original")])])
            )
        )],
        &[cluster(
            "original",
            "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, \
             original_dst_lb_config: {upstream_port_override: 20000}"
        )],
    ),
    |run| {
        run.shell("ip", &["route", "add", "local", "10.0.0.0/8", "dev", "lo"]);
        run.shell(
            "iptables",
            &[
                "-t",
                "nat",
                "-A",
                "OUTPUT",
                "-p",
                "tcp",
                "-d",
                "10.0.0.0/8",
                "--dport",
                "80",
                "-j",
                "REDIRECT",
                "--to-ports",
                "15001",
            ],
        );
        run.named(&[("10.0.0.1:20000", "one"), ("10.0.0.2:20000", "two")]);
        run.start();
        for to in ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80"] {
            run.listen_first("", to);
        }
    }
);

case!(
    a_silent_client_is_closed_after_the_time_of_the_filters,
    with(&format!(
        "listener_filters_timeout: 0.2s, {}",
        filters(&[before("tls_inspector", "TlsInspector", "")])
    )),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        let mut client = run.connect(AT);
        let rest = client.rest();
        run.note("silent", &rest);
    }
);

case!(
    a_protocol_in_which_the_server_speaks_first_goes_on_after_the_time,
    with(&format!(
        "listener_filters_timeout: 0.2s, continue_on_listener_filters_timeout: true, {}",
        filters(&[before("tls_inspector", "TlsInspector", "")])
    )),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        run.listen_first("", AT);
    }
);

case!(
    a_client_that_leaves_during_inspection_is_counted,
    with(&filters(&[before("tls_inspector", "TlsInspector", "")])),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        let mut client = run.connect(AT);
        client.send(b"\x16\x03\x01");
        client.finish();
        let rest = client.rest();
        run.note("half a hello", &rest);
    }
);

case!(
    a_hello_in_pieces_is_read,
    with(&filters(&[before("tls_inspector", "TlsInspector", "")])),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        let bytes = hello(Tls {
            alpn: &["h2"],
            ..Tls::default()
        });
        let mut client = run.connect(AT);
        for piece in bytes.chunks(100) {
            client.send(piece);
            std::thread::sleep(Duration::from_millis(5));
        }
        let line = client.line();
        client.finish();
        client.rest();
        run.note("in pieces", &line);
    }
);

case!(
    a_hello_without_names_or_protocols_is_counted_so,
    with(&filters(&[before("tls_inspector", "TlsInspector", "")])),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        for (name, alpn) in [
            ("a.example", &["h2"][..]),
            ("127.0.0.1", &[]),
            ("b.example", &[]),
        ] {
            let bytes = hello(Tls {
                name,
                alpn,
                ..Tls::default()
            });
            run.route(name, "", AT, &bytes);
        }
        run.route(
            "garbage",
            "",
            AT,
            b"\x16\x03\x01\x00\x05\xff\xff\xff\xff\xff",
        );
    }
);

/// Headers that are right, and what follows them.
const HEADERS: [(&str, &[u8]); 4] = [
    ("v1", b"PROXY TCP4 10.9.9.9 10.1.1.1 1000 2000\r\nhello\n"),
    ("v1 of v6", b"PROXY TCP6 fd00::1 fd00::2 1000 2000\r\nhello\n"),
    ("v1 unknown", b"PROXY UNKNOWN\r\nhello\n"),
    (
        "v2",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x09\x09\x09\x0a\x01\x01\x01\x03\xe8\x07\xd0hello\n",
    ),
];

case!(
    proxy_headers_say_who_connected,
    with(&filters(&[before("proxy_protocol", "ProxyProtocol", "")])),
    |run| {
        run.upstream(UP, Answer::Tell);
        run.start();
        for (what, bytes) in HEADERS {
            run.route(what, "", AT, bytes);
        }
        run.route("v2 local", "", AT, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0hello\n");
    }
);

case!(
    bad_proxy_headers_close,
    with(&filters(&[before("proxy_protocol", "ProxyProtocol", "")])),
    |run| {
        run.upstream(UP, Answer::Tell);
        run.start();
        for (what, bytes) in [
            ("no header", &b"hello there, no header at all\n"[..]),
            ("bad address", b"PROXY TCP4 10.9.9 10.1.1.1 1000 2000\r\nhello\n"),
            ("bad family", b"PROXY UDP4 10.9.9.9 10.1.1.1 1000 2000\r\nhello\n"),
            ("bad version", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\x0a\x09\x09\x09\x0a\x01\x01\x01\x03\xe8\x07\xd0hello\n"),
            ("too short", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\x0a\x09\x09\x09hello\n"),
        ] {
            run.route(what, "", AT, bytes);
        }
    }
);

case!(
    connections_without_a_proxy_header_may_be_allowed,
    with(&filters(&[before(
        "proxy_protocol",
        "ProxyProtocol",
        "allow_requests_without_proxy_protocol: true"
    )])),
    |run| {
        run.upstream(UP, Answer::Tell);
        run.start();
        run.route("without", "", AT, b"hello there, no header at all\n");
        run.route("with", "", AT, HEADERS[0].1);
    }
);

case!(
    a_proxy_header_in_pieces_is_read,
    with(&filters(&[before("proxy_protocol", "ProxyProtocol", "")])),
    |run| {
        run.upstream(UP, Answer::Tell);
        run.start();
        let mut client = run.connect(AT);
        for piece in HEADERS[3].1.chunks(5) {
            client.send(piece);
            std::thread::sleep(Duration::from_millis(5));
        }
        let rest = client.rest();
        run.note("in pieces", &rest);
    }
);

//! Filter chain matches: each criterion, their precedence, the default chain.

use crate::{
    bootstrap::*,
    script::{Run, Tls, hello},
};

const AT: &str = "127.0.0.1:10000";
const NAMES: [(&str, &str); 4] = [
    ("127.0.0.1:20001", "a"),
    ("127.0.0.1:20002", "b"),
    ("127.0.0.1:20003", "c"),
    ("127.0.0.1:20004", "d"),
];

/// A listener with these chains, each going to the upstream of its name.
fn matched(at: &str, fields: &str, all: &[(&str, &str)]) -> String {
    let all: Vec<_> = all
        .iter()
        .map(|(name, criteria)| matching(name, criteria))
        .collect();
    bootstrap(
        &[listener(at, &format!("{fields} {}", chains(&all)))],
        &NAMES.map(|(at, name)| fixed(name, &[at], "")),
    )
}

/// As [`matched`], with a look at the first bytes before.
fn inspected(all: &[(&str, &str)]) -> String {
    let inspectors = [
        before("tls_inspector", "TlsInspector", ""),
        before("http_inspector", "HttpInspector", ""),
    ];
    matched(
        AT,
        &format!("listener_filters: [{}],", inspectors.join(", ")),
        all,
    )
}

fn named(run: &mut Run<'_>) {
    run.named(&NAMES);
    run.start();
}

fn server_name(run: &mut Run<'_>, name: &str) {
    let bytes = hello(Tls {
        name,
        ..Tls::default()
    });
    run.route(&format!("server name {name}"), "", AT, &bytes);
}

fn alpn(run: &mut Run<'_>, alpn: &[&str]) {
    let bytes = hello(Tls {
        alpn,
        ..Tls::default()
    });
    run.route(&format!("alpn {alpn:?}"), "", AT, &bytes);
}

case!(
    a_server_name_is_matched_exactly_then_by_the_longest_wildcard_then_any,
    inspected(&[
        ("a", "server_names: [a.example]"),
        ("b", "server_names: ['*.example']"),
        ("c", "server_names: ['*.deep.example']"),
        ("d", ""),
    ]),
    |run| {
        named(run);
        for name in [
            "a.example",
            "b.example",
            "x.deep.example",
            "deep.example",
            "other.test",
        ] {
            server_name(run, name);
        }
        server_name(run, "A.EXAMPLE");
        run.route("plaintext", "", AT, b"hello\n");
    }
);

case!(
    a_connection_without_a_matching_chain_is_closed,
    inspected(&[("a", "server_names: [a.example]")]),
    |run| {
        named(run);
        server_name(run, "a.example");
        server_name(run, "b.example");
        run.route("plaintext", "", AT, b"hello\n");
    }
);

case!(
    the_default_chain_takes_what_no_other_does,
    bootstrap(
        &[listener(
            AT,
            &format!(
                "listener_filters: [{}], {}, default_filter_chain: {}",
                before("tls_inspector", "TlsInspector", ""),
                chains(&[matching("a", "server_names: [a.example]")]),
                chain("name: fallback", &[tcp("d")]),
            ),
        )],
        &NAMES.map(|(at, name)| fixed(name, &[at], "")),
    ),
    |run| {
        named(run);
        server_name(run, "a.example");
        server_name(run, "b.example");
        run.route("plaintext", "", AT, b"hello\n");
    }
);

case!(
    tls_and_plaintext_are_told_apart,
    inspected(&[
        ("a", "transport_protocol: tls"),
        ("b", "transport_protocol: raw_buffer"),
    ]),
    |run| {
        named(run);
        server_name(run, "a.example");
        run.route("plaintext", "", AT, b"hello\n");
        run.route(
            "first byte of a handshake and then text",
            "",
            AT,
            b"\x16hello there\n",
        );
    }
);

case!(
    a_transport_protocol_is_matched_before_application_protocols,
    inspected(&[
        ("a", "application_protocols: [h2]"),
        ("b", "application_protocols: ['istio-http/1.1', 'istio']"),
        ("c", "transport_protocol: tls"),
        ("d", ""),
    ]),
    |run| {
        named(run);
        alpn(run, &["h2", "http/1.1"]);
        alpn(run, &["http/1.1", "h2"]);
        alpn(run, &["istio"]);
        alpn(run, &["other"]);
        alpn(run, &[]);
    }
);

case!(
    application_protocols_are_matched_in_tls,
    inspected(&[
        ("a", "transport_protocol: tls, application_protocols: [h2]"),
        (
            "b",
            "transport_protocol: tls, application_protocols: ['istio-http/1.1', 'istio']"
        ),
        ("c", "transport_protocol: tls"),
        ("d", ""),
    ]),
    |run| {
        named(run);
        alpn(run, &["h2", "http/1.1"]);
        alpn(run, &["http/1.1", "h2"]);
        alpn(run, &["istio"]);
        alpn(run, &["istio", "h2"]);
        alpn(run, &["other"]);
        alpn(run, &[]);
    }
);

case!(
    application_protocols_are_matched_in_plain_http,
    inspected(&[
        ("a", "application_protocols: ['http/1.1']"),
        ("b", "application_protocols: [h2c]"),
        ("c", "application_protocols: ['http/1.0']"),
        ("d", ""),
    ]),
    |run| {
        named(run);
        run.route("1.1", "", AT, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        run.route("1.0", "", AT, b"GET / HTTP/1.0\r\n\r\n");
        run.route(
            "2",
            "",
            AT,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        );
        run.route("none", "", AT, b"hello there, this is no request\r\n");
        run.route("unknown method", "", AT, b"FETCH / HTTP/1.1\r\n\r\n");
    }
);

case!(
    the_longest_source_range_is_taken,
    matched(
        AT,
        "",
        &[
            (
                "a",
                "source_prefix_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]"
            ),
            (
                "b",
                "source_prefix_ranges: [{address_prefix: 127.0.1.0, prefix_len: 24}]"
            ),
            (
                "c",
                "source_prefix_ranges: [{address_prefix: 127.0.1.7, prefix_len: 32}]"
            ),
        ]
    ),
    |run| {
        named(run);
        for from in ["127.0.0.9:0", "127.0.1.1:0", "127.0.1.7:0"] {
            run.route(&format!("from {from}"), from, AT, b"x\n");
        }
    }
);

case!(
    a_source_port_is_matched,
    matched(AT, "", &[("a", "source_ports: [30001, 30002]"), ("b", "")]),
    |run| {
        named(run);
        for from in ["127.0.0.1:30001", "127.0.0.1:30002", "127.0.0.1:30003"] {
            run.route(&format!("from {from}"), from, AT, b"x\n");
        }
    }
);

case!(
    the_longest_destination_range_is_taken,
    matched(
        "0.0.0.0:10000",
        "",
        &[
            (
                "a",
                "prefix_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]"
            ),
            (
                "b",
                "prefix_ranges: [{address_prefix: 127.0.1.0, prefix_len: 24}]"
            ),
            (
                "c",
                "prefix_ranges: [{address_prefix: 127.0.1.7, prefix_len: 32}]"
            ),
        ]
    ),
    |run| {
        named(run);
        for to in ["127.0.0.9:10000", "127.0.1.1:10000", "127.0.1.7:10000"] {
            run.route(&format!("to {to}"), "", to, b"x\n");
        }
    }
);

case!(
    a_destination_port_is_matched_before_all,
    bootstrap(
        &[listener(
            AT,
            &format!(
                "additional_addresses: [{{address: {}}}], {}",
                address("127.0.0.1:10001"),
                chains(&[
                    matching("a", "destination_port: 10001"),
                    matching(
                        "b",
                        "source_prefix_ranges: [{address_prefix: 127.0.0.1, prefix_len: 32}]"
                    ),
                ])
            ),
        )],
        &NAMES.map(|(at, name)| fixed(name, &[at], "")),
    ),
    |run| {
        named(run);
        run.route("first port", "", AT, b"x\n");
        run.route("second port", "", "127.0.0.1:10001", b"x\n");
    }
);

case!(
    a_local_source_is_told_from_an_external_one,
    matched(
        "0.0.0.0:10000",
        "",
        &[
            ("a", "source_type: SAME_IP_OR_LOOPBACK"),
            ("b", "source_type: EXTERNAL"),
        ]
    ),
    |run| {
        run.shell("ip", &["address", "add", "10.0.0.1/32", "dev", "lo"]);
        run.shell("ip", &["address", "add", "10.0.0.2/32", "dev", "lo"]);
        named(run);
        run.route("loopback", "127.0.0.5:0", AT, b"x\n");
        run.route("same", "10.0.0.1:0", "10.0.0.1:10000", b"x\n");
        run.route("external", "10.0.0.2:0", "10.0.0.1:10000", b"x\n");
    }
);

case!(
    a_destination_ip_is_matched_before_a_server_name,
    bootstrap(
        &[listener(
            "0.0.0.0:10000",
            &format!(
                "listener_filters: [{}], {}",
                before("tls_inspector", "TlsInspector", ""),
                chains(&[
                    matching("a", "server_names: [a.example]"),
                    matching(
                        "b",
                        "prefix_ranges: [{address_prefix: 127.0.0.1, prefix_len: 32}], \
                         server_names: [b.example]"
                    ),
                ])
            ),
        )],
        &NAMES.map(|(at, name)| fixed(name, &[at], "")),
    ),
    |run| {
        named(run);
        // The chain of the address is the only one looked at, though another has the name.
        server_name(run, "a.example");
        server_name(run, "b.example");
        let bytes = hello(Tls::default());
        run.route("elsewhere", "", "127.0.0.2:10000", &bytes);
    }
);

case!(
    a_directly_connected_source_is_matched,
    bootstrap(
        &[listener(
            AT,
            &format!(
                "listener_filters: [{}], {}",
                before("proxy_protocol", "ProxyProtocol", ""),
                chains(&[
                    matching(
                        "a",
                        "direct_source_prefix_ranges: [{address_prefix: 127.0.0.9, prefix_len: 32}]"
                    ),
                    matching(
                        "b",
                        "source_prefix_ranges: [{address_prefix: 10.9.9.9, prefix_len: 32}]"
                    ),
                    matching("c", ""),
                ])
            ),
        )],
        &NAMES.map(|(at, name)| fixed(name, &[at], "")),
    ),
    |run| {
        named(run);
        let header = b"PROXY TCP4 10.9.9.9 10.1.1.1 1000 2000\r\nx\n";
        run.route("direct", "127.0.0.9:0", AT, header);
        run.route("said", "127.0.0.8:0", AT, header);
        run.route(
            "neither",
            "",
            AT,
            b"PROXY TCP4 10.9.9.8 10.1.1.1 1000 2000\r\nx\n",
        );
    }
);

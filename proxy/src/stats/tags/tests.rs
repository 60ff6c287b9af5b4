use super::*;

fn defaults() -> Tags {
    Tags {
        defaults: DefaultTag::ALL.into(),
        ..Tags::default()
    }
}

#[track_caller]
fn check(tags: &Tags, name: &str, expected: &str, expected_tags: &[(&str, &str)]) {
    let mut extracted = tags.extract(name);
    let mut rest = String::new();
    extracted.write_name(name, &mut rest);
    assert_eq!(rest, expected);
    assert_eq!(extracted.tags, expected_tags);
}

#[test]
fn default_tags_are_cut_out_of_names() {
    let tags = defaults();
    let check = |name, expected, expected_tags: &[(&str, &str)]| {
        check(&tags, name, expected, expected_tags);
    };
    let cluster = "envoy.cluster_name";
    check(
        "cluster.a.upstream_cx_total",
        "cluster.upstream_cx_total",
        &[(cluster, "a")],
    );
    check(
        "cluster.outbound|80||h;.circuit_breakers.default.cx_open",
        "cluster.circuit_breakers.default.cx_open",
        &[(cluster, "outbound|80||h;")],
    );
    // The name ends at its first dot, for Envoy too.
    check(
        "cluster.outbound|80||h.x;.upstream_cx_total",
        "cluster.x;.upstream_cx_total",
        &[(cluster, "outbound|80||h")],
    );
    check(
        "cluster.a.ssl.ciphers.TLS_AES_128_GCM_SHA256",
        "cluster.ssl.ciphers",
        &[("cipher_suite", "TLS_AES_128_GCM_SHA256"), (cluster, "a")],
    );
    check(
        "cluster.a.ssl.sigalgs.ecdsa_secp256r1_sha256",
        "cluster.ssl.sigalgs",
        &[
            ("envoy.ssl_sigalg", "ecdsa_secp256r1_sha256"),
            (cluster, "a"),
        ],
    );
    let listener = "envoy.listener_address";
    check(
        "listener.0.0.0.0_8080.downstream_cx_total",
        "listener.downstream_cx_total",
        &[(listener, "0.0.0.0_8080")],
    );
    check(
        "listener.[__1]_80.worker_11.downstream_cx_total",
        "listener.worker_downstream_cx_total",
        &[("envoy.worker_id", "11"), (listener, "[__1]_80")],
    );
    check(
        "listener.1.2.x.worker_0.downstream_cx_active",
        "listener.2.x.worker_0.downstream_cx_active",
        &[(listener, "1")],
    );
    check(
        "listener.0.0.0.0_80;.worker_0.downstream_cx_active",
        "listener.0.0.0_80;.worker_0.downstream_cx_active",
        &[(listener, "0")],
    );
    check(
        "listener.tls.ssl.versions.TLSv1.3",
        "listener.ssl.versions",
        &[("envoy.ssl_version", "TLSv1.3"), (listener, "tls")],
    );
    check(
        "listener.tls.ssl.curves.X25519",
        "listener.ssl.curves",
        &[("envoy.ssl_curve", "X25519"), (listener, "tls")],
    );
    check(
        "listener.tls.ssl.certificate.sec.expiration_unix_time_seconds",
        "listener.ssl.certificate.expiration_unix_time_seconds",
        &[("envoy.tls_certificate", "sec"), (listener, "tls")],
    );
    check(
        "listener.admin.downstream_cx_total",
        "listener.admin.downstream_cx_total",
        &[],
    );
    check(
        "listener_manager.workers_started",
        "listener_manager.workers_started",
        &[],
    );
    check(
        "tcp.in.x;.downstream_cx_total",
        "tcp.x;.downstream_cx_total",
        &[("envoy.tcp_prefix", "in")],
    );
    check(
        "foo_.rbac.shadow_denied",
        "rbac.shadow_denied",
        &[("envoy.rbac_prefix", "foo_")],
    );
    check("a.b.rbac.allowed", "a.b.rbac.allowed", &[]);
    check(
        "tcp.rbac.allowed",
        "allowed",
        &[("envoy.rbac_prefix", "tcp"), ("envoy.tcp_prefix", "rbac")],
    );
    check(
        "connection_limit.a.active_connections",
        "connection_limit.active_connections",
        &[("envoy.connection_limit_prefix", "a")],
    );
    check(
        "local_rate_limit.a.b.rate_limited",
        "local_rate_limit.b.rate_limited",
        &[("envoy.local_network_ratelimit_prefix", "a")],
    );
    check(
        "proxy_proto.versions.v2.found",
        "proxy_proto.found",
        &[("envoy.proxy_protocol_version", "2")],
    );
    check(
        "server.worker_0.watchdog_miss",
        "server.worker_watchdog_miss",
        &[("envoy.worker_id", "0")],
    );
    check(
        "sds.default.update_success",
        "sds.update_success",
        &[("envoy.xds_resource_name", "default")],
    );
    let manager = "envoy.http_conn_manager_prefix";
    check(
        "http.in.downstream_rq_2xx",
        "http.downstream_rq_xx",
        &[("envoy.response_code_class", "2"), (manager, "in")],
    );
    check(
        "listener.admin.http.admin.downstream_rq_completed",
        "listener.admin.http.downstream_rq_completed",
        &[(manager, "admin")],
    );
    check("server.live", "server.live", &[]);
    check("nothing", "nothing", &[]);
}

#[test]
fn configured_tags_stand_before_or_behind_the_default_ones() {
    let custom = |name: &str, regex: &str| Custom {
        name: name.into(),
        regex: Regex::new(regex).unwrap().into(),
    };
    let tags = Tags {
        fixed: [("fixed".into(), "v".into())].into(),
        anywhere: [
            custom("reporter", r"upstream_cx_(act)ive"),
            custom("no_group", "cluster"),
            custom("second", r"((cx)_)act"),
        ]
        .into(),
        prefixed: [
            custom("own", r"^cluster\.((a)\.)"),
            custom("envoy.cluster_name", r"(cluster)"),
        ]
        .into(),
        ..defaults()
    };
    check(
        &tags,
        "cluster.a.upstream_cx_active",
        "cluster.upstream_ive",
        &[
            ("fixed", "v"),
            ("reporter", "act"),
            ("second", "cx"),
            ("envoy.cluster_name", "a"),
            ("own", "a"),
        ],
    );
}

#[test]
fn configured_tags_may_look_ahead() {
    let custom = |name: &str, regex: &str| Custom {
        name: name.into(),
        regex: Regex::new(regex).unwrap().into(),
    };
    let tags = Tags {
        prefixed: [
            custom("cluster", r"^cluster\.((.+?(\..+?\.svc\.local)?)\.)"),
            custom("tcp", r"^tcp\.((.*?)\.)\w+?$"),
            custom(
                "http",
                r"^listener(?=\.).*?\.http\.(((?:[_.[:digit:]]*))\.)",
            ),
            custom(
                "listener",
                r"^listener\.(((?:[_.[:digit:]]*|[_\[\]a-f]*))\.)",
            ),
        ]
        .into(),
        ..Tags::default()
    };
    let check = |name: &str, expected: &str, found: &[(&str, &str)]| {
        check(&tags, name, expected, found);
    };
    let cluster = "cluster.outbound|80||a.b.svc.local.upstream_cx_total";
    let value = "outbound|80||a.b.svc.local";
    check(cluster, "cluster.upstream_cx_total", &[("cluster", value)]);
    let tcp = "tcp.outbound|80||a.b;.downstream_cx_total";
    let value = "outbound|80||a.b;";
    check(tcp, "tcp.downstream_cx_total", &[("tcp", value)]);
    check(
        "listener.1.2.3.4_80.http.5_6.downstream_rq_total",
        "listener.http.downstream_rq_total",
        &[("http", "5_6"), ("listener", "1.2.3.4_80")],
    );
}

#[test]
fn strange_names_are_left_alone() {
    let tags = defaults();
    for name in [
        "",
        ".",
        "..",
        "cluster.",
        "cluster..",
        "cluster",
        "listener...",
        "listener.a.ssl.",
        "listener.a.xssl.ciphers.",
        "tcp..x",
        "proxy_proto.versions.v.",
        "server.worker_.x",
        "server.worker_x.y",
        "listener.é.b",
        "a.xx",
        ".éxx",
        "._rq_xx",
    ] {
        let mut rest = String::new();
        tags.extract(name).write_name(name, &mut rest);
        assert!(rest.len() <= name.len());
    }
}

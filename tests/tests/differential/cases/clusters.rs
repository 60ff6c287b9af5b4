//! Clusters: where endpoints come from, which of them is chosen, and when it is not.

use crate::{
    bootstrap::*,
    script::{Answer, Run},
};

const AT: &str = "127.0.0.1:10000";
const UPS: [(&str, &str); 4] = [
    ("127.0.0.1:20001", "a"),
    ("127.0.0.1:20002", "b"),
    ("127.0.0.1:20003", "c"),
    ("127.0.0.1:20004", "d"),
];
const NOBODY: &str = "127.0.0.1:20999";

/// A proxy to the cluster `one`, which has these fields.
fn to(fields: &str) -> String {
    bootstrap(&[listen(AT, &[tcp("one")])], &[cluster("one", fields)])
}

/// As [`to`], a static cluster of the first endpoints.
fn of(count: usize, fields: &str) -> String {
    let all: Vec<_> = UPS[..count].iter().map(|(at, _)| *at).collect();
    bootstrap(&[listen(AT, &[tcp("one")])], &[fixed("one", &all, fields)])
}

/// A static cluster of these localities.
fn localities(fields: &str, all: &[String]) -> String {
    to(&format!(
        "type: STATIC, {}, {fields}",
        assignment("one", all)
    ))
}

/// A case in which chance or time says how much there is of all but these.
macro_rules! steady {
    ($name:ident, $bootstrap:expr, $script:expr $(,)?) => {
        #[test]
        #[ignore = "needs root"]
        fn $name() {
            let compared = [
                "cluster.one.membership_*",
                "cluster.one.health_check.healthy",
                "cluster.one.health_check.degraded",
                "cluster.one.outlier_detection.*",
            ];
            $crate::harness::check_statistics(stringify!($name), &$bootstrap, &compared, $script);
        }
    };
}

fn all(run: &mut Run<'_>) {
    run.named(&UPS);
    run.start();
}

fn endpoints(from: usize, to: usize) -> Vec<String> {
    UPS[from..to]
        .iter()
        .map(|(at, _)| endpoint(at, ""))
        .collect()
}

case!(
    weighted_clusters_that_cannot_be_chosen_otherwise,
    bootstrap(
        &[listen(
            AT,
            &[proxy(
                "weighted_clusters: {clusters: [{name: a, weight: 1}, {name: a, weight: 3}]}"
            )]
        )],
        &[fixed("a", &["127.0.0.1:20001"], "")],
    ),
    |run| {
        all(run);
        run.distribution(AT, 6);
    }
);

case!(
    a_cluster_that_is_not_there_closes,
    bootstrap(&[listen(AT, &[tcp("missing")])], &[]),
    |run| {
        run.start();
        run.exchange(AT, b"");
    }
);

case!(
    a_cluster_without_endpoints_closes,
    to("type: STATIC, load_assignment: {cluster_name: one}"),
    |run| {
        run.start();
        run.exchange(AT, b"");
    }
);

case!(
    round_robin_spreads_evenly,
    of(4, "lb_policy: ROUND_ROBIN"),
    |run| {
        all(run);
        run.distribution(AT, 12);
    }
);

case!(
    round_robin_follows_weights,
    localities(
        "lb_policy: ROUND_ROBIN",
        &[locality(
            "",
            &[
                endpoint("127.0.0.1:20001", "load_balancing_weight: 1"),
                endpoint("127.0.0.1:20002", "load_balancing_weight: 2"),
                endpoint("127.0.0.1:20003", "load_balancing_weight: 3"),
            ]
        )]
    ),
    |run| {
        all(run);
        run.distribution(AT, 12);
    }
);

/// Sources that hash to different endpoints.
const SOURCES: [&str; 12] = [
    "127.0.0.1:0",
    "127.0.0.2:0",
    "127.0.0.3:0",
    "127.0.0.4:0",
    "127.0.0.5:0",
    "127.0.0.6:0",
    "127.0.1.1:0",
    "127.0.1.2:0",
    "127.2.3.4:0",
    "127.9.8.7:0",
    "127.0.0.1:0",
    "127.0.0.2:0",
];

fn hashed(policy: &str) -> String {
    let all: Vec<_> = UPS.iter().map(|(at, _)| *at).collect();
    bootstrap(
        &[listen(
            AT,
            &[proxy("cluster: one, hash_policy: [{source_ip: {}}]")],
        )],
        &[fixed("one", &all, policy)],
    )
}

case!(
    a_ring_sends_a_source_to_the_same_endpoint,
    hashed("lb_policy: RING_HASH"),
    |run| {
        all(run);
        run.order(AT, &SOURCES);
    }
);

case!(
    a_ring_of_another_size_sends_a_source_to_the_same_endpoint,
    hashed(
        "lb_policy: RING_HASH, ring_hash_lb_config: {minimum_ring_size: 16, maximum_ring_size: 64}"
    ),
    |run| {
        all(run);
        run.order(AT, &SOURCES);
    }
);

case!(
    a_ring_by_murmur_sends_a_source_to_the_same_endpoint,
    hashed("lb_policy: RING_HASH, ring_hash_lb_config: {hash_function: MURMUR_HASH_2}"),
    |run| {
        all(run);
        run.order(AT, &SOURCES);
    }
);

case!(
    maglev_sends_a_source_to_the_same_endpoint,
    hashed("lb_policy: MAGLEV"),
    |run| {
        all(run);
        run.order(AT, &SOURCES);
    }
);

case!(
    maglev_of_a_small_table_sends_a_source_to_the_same_endpoint,
    hashed("lb_policy: MAGLEV, maglev_lb_config: {table_size: 101}"),
    |run| {
        all(run);
        run.order(AT, &SOURCES);
    }
);

case!(
    the_first_priority_takes_all,
    localities(
        "",
        &[
            locality("priority: 0", &endpoints(0, 2)),
            locality("priority: 1", &endpoints(2, 4))
        ]
    ),
    |run| {
        all(run);
        run.distribution(AT, 8);
    }
);

/// Checks a cluster by TCP; unhealthy ones are told after one failure.
const CHECKED: &str = "health_checks: [{timeout: 0.5s, interval: 0.1s, no_traffic_interval: 0.1s, \
    unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}}]";

case!(
    the_second_priority_takes_what_the_first_cannot,
    localities(
        CHECKED,
        &[
            locality("priority: 0", &[endpoint(NOBODY, "")]),
            locality("priority: 1", &endpoints(2, 4))
        ]
    ),
    |run| {
        run.named(&UPS);
        run.start();
        run.wait_for("cluster.one.membership_healthy", 2);
        run.distribution(AT, 8);
    }
);

case!(
    fewer_healthy_than_the_threshold_are_a_panic,
    localities(
        &format!("common_lb_config: {{healthy_panic_threshold: {{value: 50}}}}, {CHECKED}"),
        &[locality(
            "",
            &[
                endpoint("127.0.0.1:20001", ""),
                endpoint(NOBODY, ""),
                endpoint("127.0.0.2:20999", "")
            ]
        )]
    ),
    |run| {
        run.named(&UPS);
        run.start();
        run.wait_for("cluster.one.membership_healthy", 1);
        let mut well = 0;
        for _ in 0..9 {
            well += usize::from(run.whom("", AT) == "a");
        }
        run.note("well of nine", &well.to_string());
    }
);

case!(
    without_panic_only_the_healthy_are_used,
    localities(
        &format!("common_lb_config: {{healthy_panic_threshold: {{value: 0}}}}, {CHECKED}"),
        &[locality(
            "",
            &[
                endpoint("127.0.0.1:20001", ""),
                endpoint(NOBODY, ""),
                endpoint("127.0.0.2:20999", "")
            ]
        )]
    ),
    |run| {
        run.named(&UPS);
        run.start();
        run.wait_for("cluster.one.membership_healthy", 1);
        run.distribution(AT, 6);
    }
);

case!(
    endpoints_that_are_said_to_be_unhealthy_are_left_out,
    localities(
        "",
        &[locality(
            "",
            &[
                endpoint("127.0.0.1:20001", "health_status: HEALTHY"),
                endpoint("127.0.0.1:20002", "health_status: UNHEALTHY"),
                endpoint("127.0.0.1:20003", "health_status: DRAINING"),
                endpoint("127.0.0.1:20004", ""),
            ]
        )]
    ),
    |run| {
        all(run);
        run.distribution(AT, 8);
    }
);

case!(
    localities_of_one_weight_take_all,
    localities(
        "common_lb_config: {locality_weighted_lb_config: {}}",
        &[
            locality(
                "locality: {region: near}, load_balancing_weight: 1",
                &endpoints(0, 2)
            ),
            locality("locality: {region: far}", &endpoints(2, 4)),
        ]
    ),
    |run| {
        all(run);
        run.distribution(AT, 8);
    }
);

fn subsets(matched: &str, fallback: &str) -> String {
    let with = |at: &str, version: &str| {
        endpoint(
            at,
            &format!("metadata: {{filter_metadata: {{envoy.lb: {{version: {version}}}}}}}"),
        )
    };
    bootstrap(
        &[listen(
            AT,
            &[proxy(&format!(
                "cluster: one, metadata_match: {{filter_metadata: {{envoy.lb: {{version: {matched}}}}}}}"
            ))],
        )],
        &[cluster(
            "one",
            &format!(
                "type: STATIC, lb_subset_config: {{fallback_policy: {fallback}, subset_selectors: [{{keys: [version]}}]}}, {}",
                assignment(
                    "one",
                    &[locality(
                        "",
                        &[
                            with(UPS[0].0, "v1"),
                            with(UPS[1].0, "v2"),
                            with(UPS[2].0, "v2")
                        ]
                    )]
                )
            ),
        )],
    )
}

case!(
    a_subset_is_chosen_by_metadata,
    subsets("v2", "NO_FALLBACK"),
    |run| {
        all(run);
        run.distribution(AT, 6);
    }
);

case!(
    a_subset_that_is_not_there_has_no_endpoint,
    subsets("v9", "NO_FALLBACK"),
    |run| {
        all(run);
        run.exchange(AT, b"");
    }
);

case!(
    a_subset_that_is_not_there_may_fall_back_to_any,
    subsets("v9", "ANY_ENDPOINT"),
    |run| {
        all(run);
        run.distribution(AT, 6);
    }
);

case!(
    a_circuit_breaker_limits_connections,
    of(
        1,
        "circuit_breakers: {thresholds: [{max_connections: 1, max_pending_requests: 1, track_remaining: true}]}"
    ),
    |run| {
        all(run);
        let mut first = run.connect(AT);
        let line = first.line();
        run.note("within", &line);
        let mut second = run.connect(AT);
        let rest = second.rest();
        run.note("beyond", &rest);
        drop(first);
        run.wait_for("cluster.one.upstream_cx_active", 0);
        run.listen_first("", AT);
    }
);

/// Two endpoints, one of which is nobody, and how such are ejected.
fn ejecting(how: &str) -> String {
    bootstrap(
        &[listen(AT, &[unlogged("one")])],
        &[cluster(
            "one",
            &format!(
                "type: STATIC, outlier_detection: {{interval: 600s, base_ejection_time: 600s, max_ejection_percent: 100, {how}}}, {}",
                assignment(
                    "one",
                    &[locality(
                        "",
                        &[endpoint(UPS[0].0, ""), endpoint(NOBODY, "")]
                    )]
                )
            ),
        )],
    )
}

/// Fails twice, then looks who is left. Which endpoint comes first is chance.
fn eject(run: &mut Run<'_>) {
    run.named(&UPS);
    run.start();
    let mut failed = 0;
    while failed < 2 {
        failed += usize::from(run.whom("", AT) != "a");
    }
    run.wait_for("cluster.one.outlier_detection.ejections_active", 1);
    run.distribution(AT, 4);
}

steady!(
    failures_to_connect_eject_an_endpoint,
    ejecting(
        "consecutive_local_origin_failure: 2, enforcing_consecutive_local_origin_failure: 100, split_external_local_origin_errors: true"
    ),
    eject
);

steady!(
    failures_that_are_not_told_apart_eject_by_the_other_kind,
    ejecting(
        "consecutive_5xx: 2, consecutive_gateway_failure: 2, enforcing_consecutive_gateway_failure: 0"
    ),
    eject
);

/// A health check by these fields of one endpoint.
fn probed(check: &str) -> String {
    to(&checked(check))
}

fn checked(check: &str) -> String {
    format!(
        "type: STATIC, common_lb_config: {{healthy_panic_threshold: {{value: 0}}}}, \
         health_checks: [{{timeout: 0.5s, interval: 0.1s, no_traffic_interval: 0.1s, \
         unhealthy_threshold: 1, healthy_threshold: 1, {check}}}], {}",
        assignment(
            "one",
            &[locality(
                "",
                &[endpoint(UPS[0].0, ""), endpoint(UPS[1].0, "")]
            )]
        )
    )
}

/// The first endpoint is well, the second is not.
fn probe(run: &mut Run<'_>, first: Answer, second: Answer) {
    run.upstream(UPS[0].0, first);
    run.upstream(UPS[1].0, second);
    run.start();
    run.wait_for("cluster.one.membership_healthy", 1);
    run.wait_until("cluster.one.health_check.success", |count| count > 1);
    run.wait_until("cluster.one.health_check.failure", |count| count > 0);
    run.note("one of two is healthy", "yes");
}

steady!(
    http_checks_look_at_the_status,
    probed("http_health_check: {path: /health}"),
    |run| {
        probe(run, Answer::Http(200), Answer::Http(503));
    }
);

steady!(
    http_checks_may_expect_another_status,
    probed("http_health_check: {path: /health, expected_statuses: [{start: 503, end: 504}]}"),
    |run| probe(run, Answer::Http(503), Answer::Http(200)),
);

steady!(
    tcp_checks_look_at_payloads,
    probed("tcp_health_check: {send: {text: '50494e47'}, receive: [{text: '504f4e47'}]}"),
    |run| probe(run, Answer::Reply(b"PONG"), Answer::Reply(b"PUNG")),
);

steady!(
    grpc_checks_look_at_the_status,
    {
        let options = "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: \
            {\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
            explicit_http_config: {http2_protocol_options: {}}}}";
        bootstrap(
            &[listen(AT, &[tcp("one")])],
            &[cluster(
                "one",
                &format!("{options}, {}", checked("grpc_health_check: {}")),
            )],
        )
    },
    |run| probe(run, Answer::Grpc(1), Answer::Grpc(2)),
);

steady!(
    unhealthy_endpoints_may_become_healthy,
    probed("tcp_health_check: {}"),
    |run| {
        run.named(&UPS[..1]);
        run.start();
        run.wait_for("cluster.one.membership_healthy", 1);
        run.distribution(AT, 2);
        run.named(&UPS[1..2]);
        run.wait_for("cluster.one.membership_healthy", 2);
        run.distribution(AT, 4);
    }
);

steady!(
    connections_may_end_when_health_does,
    probed("tcp_health_check: {}").replace(
        "type: STATIC",
        "type: STATIC, close_connections_on_host_health_failure: true"
    ),
    |run| {
        run.named(&UPS[..1]);
        let second = run.upstream_for_a_while(UPS[1].0, Answer::Named("b"));
        run.start();
        run.wait_for("cluster.one.membership_healthy", 2);
        let mut held = run.connect(AT);
        let mut other = run.connect(AT);
        let lines = [held.line(), other.line()];
        let of_b = usize::from(lines[1] == "b");
        drop(second);
        run.wait_for("cluster.one.membership_healthy", 1);
        let mut both = [held, other];
        let rest = both[of_b].rest();
        run.note("of the one that is gone", &rest);
    }
);

steady!(
    a_check_that_is_not_answered_fails,
    probed("tcp_health_check: {send: {text: '50494e47'}, receive: [{text: '504f4e47'}]}"),
    |run| probe(run, Answer::Reply(b"PONG"), Answer::Silent),
);

case!(
    a_time_out_of_connecting_closes,
    bootstrap(
        &[listen(AT, &[tcp("one")])],
        &[format!(
            "{{name: one, connect_timeout: 0.2s, type: STATIC, {}}}",
            assignment("one", &[locality("", &[endpoint("10.255.0.1:80", "")])])
        )],
    ),
    |run| {
        // An address on a cable whose other end is not there.
        run.shell(
            "ip",
            &[
                "link", "add", "dead0", "type", "veth", "peer", "name", "dead1",
            ],
        );
        run.shell("ip", &["link", "set", "dead0", "up"]);
        run.shell("ip", &["link", "set", "dead1", "up"]);
        run.shell("ip", &["route", "add", "10.255.0.0/16", "dev", "dead0"]);
        run.shell("ip", &["address", "add", "10.254.0.1/32", "dev", "dead0"]);
        run.shell(
            "ip",
            &[
                "neigh",
                "add",
                "10.255.0.1",
                "lladdr",
                "02:00:00:00:00:01",
                "dev",
                "dead0",
            ],
        );
        run.start();
        run.exchange(AT, b"");
    }
);

case!(
    an_upstream_is_connected_to_from_the_address_that_is_said,
    of(
        1,
        "upstream_bind_config: {source_address: {address: 127.0.0.6, port_value: 0}}"
    ),
    |run| {
        run.upstream(UPS[0].0, Answer::Tell);
        run.start();
        run.exchange(AT, b"hello");
    }
);

fn headed(version: &str) -> String {
    of(
        1,
        &format!(
            "transport_socket: {}",
            any(
                "envoy.transport_sockets.upstream_proxy_protocol",
                "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
                &format!(
                    "config: {{version: {version}}}, transport_socket: {}",
                    any(
                        "envoy.transport_sockets.raw_buffer",
                        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
                        ""
                    )
                ),
            )
        ),
    )
}

case!(a_proxy_header_of_v1_goes_upstream, headed("V1"), |run| {
    run.upstream(UPS[0].0, Answer::Tell);
    run.start();
    run.hear_from("127.0.0.1:30001", AT);
});

case!(a_proxy_header_of_v2_goes_upstream, headed("V2"), |run| {
    run.upstream(UPS[0].0, Answer::Tell);
    run.start();
    run.exchange_from("127.0.0.1:30001", AT, b"hello");
});

/// Names come from the server of the test alone.
const RESOLVER: &str = "dns_lookup_family: V4_ONLY, dns_refresh_rate: 600s, typed_dns_resolver_config: {name: envoy.network.dns_resolver.cares, \
    typed_config: {\"@type\": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, \
    resolvers: [{socket_address: {address: 127.0.0.1, port_value: 5353}}], \
    dns_resolver_options: {no_default_search_domain: true}}}";

fn by_name(kind: &str, name: &str) -> String {
    to(&format!(
        "type: {kind}, {RESOLVER}, {}",
        assignment(
            "one",
            &[locality("", &[endpoint(&format!("{name}:20001"), "")])]
        )
    ))
}

const ADDRESSES: [(&str, &str); 3] = [
    ("127.0.1.1:20001", "a"),
    ("127.0.1.2:20001", "b"),
    ("127.0.1.3:20001", "c"),
];
const NAMES: &[(&str, &[&str])] = &[("up.test", &["127.0.1.1", "127.0.1.2", "127.0.1.3"])];

case!(
    strict_dns_uses_all_addresses,
    by_name("STRICT_DNS", "up.test"),
    |run| {
        run.names(NAMES);
        run.named(&ADDRESSES);
        run.start();
        run.wait_for("cluster.one.membership_total", 3);
        run.distribution(AT, 9);
    }
);

case!(
    logical_dns_uses_the_first_address,
    by_name("LOGICAL_DNS", "up.test"),
    |run| {
        run.names(NAMES);
        run.named(&ADDRESSES);
        run.start();
        run.wait_for("cluster.one.membership_total", 1);
        run.distribution(AT, 4);
    }
);

case!(
    a_name_that_does_not_exist_has_no_endpoints,
    by_name("STRICT_DNS", "nowhere.test"),
    |run| {
        run.names(NAMES);
        run.start();
        run.wait_until("cluster.one.update_attempt", |count| count > 0);
        run.exchange(AT, b"");
    }
);

/// The file of endpoints, with these addresses.
fn assignments(all: &[&str]) -> String {
    let all: Vec<_> = all.iter().map(|at| endpoint(at, "")).collect();
    format!(
        "resources: [{{\"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: one, endpoints: [{}]}}]",
        locality("", &all)
    )
}

case!(
    endpoints_of_a_file_follow_it,
    to(
        "type: EDS, eds_cluster_config: {eds_config: {resource_api_version: V3, path_config_source: {path: $DIR/endpoints.yaml}}}"
    ),
    |run| {
        run.write("endpoints.yaml", &assignments(&[UPS[0].0]));
        all(run);
        run.distribution(AT, 2);
        run.write("endpoints.yaml", &assignments(&[UPS[1].0, UPS[2].0]));
        run.wait_for("cluster.one.membership_total", 2);
        run.distribution(AT, 4);
        run.write("endpoints.yaml", &assignments(&[]));
        run.wait_for("cluster.one.membership_total", 0);
        run.exchange(AT, b"");
    }
);

case!(
    a_cluster_of_another_name_in_statistics,
    of(1, "alt_stat_name: elsewhere"),
    |run| {
        all(run);
        run.listen_first("", AT);
    }
);

case!(
    a_connection_ends_at_its_longest_duration,
    bootstrap(
        &[listen(
            AT,
            &[proxy(
                "cluster: one, max_downstream_connection_duration: 0.3s"
            )]
        )],
        &[fixed("one", &[UPS[0].0], "")],
    ),
    |run| {
        all(run);
        let mut client = run.connect(AT);
        let rest = client.rest();
        run.note("duration", &rest);
    }
);

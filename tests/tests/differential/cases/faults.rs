//! Bootstraps with a fault: both refuse, and ours names the path.

use crate::bootstrap::*;

const AT: &str = "127.0.0.1:10000";
const UP: &str = "127.0.0.1:20000";

/// A test of this name: a bootstrap, and a part of the path that is named.
macro_rules! refused {
    ($name:ident, $path:expr, $bootstrap:expr $(,)?) => {
        #[test]
        #[ignore = "needs root"]
        fn $name() {
            $crate::harness::check_verdict(stringify!($name), &$bootstrap, Some($path));
        }
    };
}

/// A test of this name: a bootstrap that looks faulty and is not.
macro_rules! accepted {
    ($name:ident, $bootstrap:expr $(,)?) => {
        #[test]
        #[ignore = "needs root"]
        fn $name() {
            $crate::harness::check_verdict(stringify!($name), &$bootstrap, None);
        }
    };
}

fn listeners(all: &[String]) -> String {
    bootstrap(all, &[fixed("one", &[UP], "")])
}

fn clusters(fields: &str) -> String {
    bootstrap(&[], &[cluster("one", fields)])
}

refused!(text_that_is_no_yaml, "bootstrap.yaml", "node: {id: [");
refused!(
    an_unknown_field,
    "static_resources.clusters[0]",
    clusters("colour: red")
);
refused!(
    a_field_of_the_wrong_type,
    "static_resources.clusters[0].per_connection_buffer_limit_bytes",
    clusters("per_connection_buffer_limit_bytes: many")
);
refused!(
    an_unknown_value_of_an_enumeration,
    "static_resources.clusters[0].lb_policy",
    clusters("lb_policy: FASTEST")
);
refused!(
    a_cluster_without_a_name,
    "static_resources.clusters[0].name",
    bootstrap(&[], &["{connect_timeout: 1s, type: STATIC}".to_owned()])
);
refused!(
    two_clusters_of_one_name,
    "static_resources.clusters[1]",
    bootstrap(&[], &[fixed("one", &[UP], ""), fixed("one", &[UP], "")])
);
refused!(
    a_time_out_of_nothing,
    "connect_timeout",
    bootstrap(
        &[],
        &["{name: one, connect_timeout: 0s, type: STATIC}".to_owned()]
    )
);
refused!(
    a_name_in_a_static_cluster,
    "static_resources.clusters[0]",
    bootstrap(&[], &[fixed("one", &["up.test:80"], "")])
);
refused!(
    an_original_destination_by_round_robin,
    "lb_policy",
    clusters("type: ORIGINAL_DST, lb_policy: ROUND_ROBIN")
);
refused!(
    eds_without_a_source,
    "static_resources.clusters[0]",
    clusters("type: EDS")
);
refused!(
    a_health_check_without_a_time_out,
    "health_checks[0]",
    clusters(
        "type: STATIC, health_checks: [{interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}}]"
    )
);
refused!(
    a_ring_whose_least_size_is_the_larger,
    "ring_hash_lb_config",
    clusters(&format!(
        "type: STATIC, lb_policy: RING_HASH, ring_hash_lb_config: {{minimum_ring_size: 100, maximum_ring_size: 10}}, {}",
        assignment("one", &[locality("", &[endpoint(UP, "")])])
    ))
);
refused!(
    a_maglev_table_that_is_not_prime,
    "maglev",
    clusters(&format!(
        "type: STATIC, lb_policy: MAGLEV, maglev_lb_config: {{table_size: 100}}, {}",
        assignment("one", &[locality("", &[endpoint(UP, "")])])
    ))
);
accepted!(
    a_first_priority_may_be_left_out,
    clusters(&format!(
        "type: STATIC, {}",
        assignment("one", &[locality("priority: 1", &[endpoint(UP, "")])])
    ))
);
refused!(
    a_listener_without_an_address,
    "static_resources.listeners[0].address",
    listeners(&[format!(
        "{{name: l, {}}}",
        chains(&[chain("", &[tcp("one")])])
    )])
);
refused!(
    a_listener_without_chains,
    "filter_chains",
    listeners(&[listener(AT, "stat_prefix: none")])
);
refused!(
    a_port_beyond_all,
    "port_value",
    listeners(&[listen("127.0.0.1:70000", &[tcp("one")])])
);
refused!(
    an_address_that_is_none,
    "address",
    listeners(&[listen("127.0.0.300:80", &[tcp("one")])])
);
accepted!(
    one_listener_may_be_said_twice,
    listeners(&[listen(AT, &[tcp("one")]), listen(AT, &[tcp("one")])])
);
refused!(
    chains_that_match_the_same,
    "filter_chains[1]",
    listeners(&[listener(
        AT,
        &chains(&[
            matching("one", "server_names: [a.example]"),
            matching("one", "server_names: [a.example]")
        ])
    )])
);
refused!(
    a_wildcard_within_a_name,
    "server_names",
    listeners(&[listener(
        AT,
        &chains(&[matching("one", "server_names: ['a.*.example']")])
    )])
);
refused!(
    a_prefix_that_is_too_long,
    "prefix_len",
    listeners(&[listener(
        AT,
        &chains(&[matching(
            "one",
            "prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 200}]"
        )])
    )])
);
refused!(
    a_filter_that_is_not_known,
    "filters[0]",
    listeners(&[listen(AT, &[any("a.filter", "a.b.Unknown", "")])])
);
refused!(
    a_filter_without_configuration,
    "filters[0]",
    listeners(&[listen(
        AT,
        &["{name: envoy.filters.network.tcp_proxy}".to_owned()]
    )])
);
refused!(
    a_proxy_without_a_cluster,
    "filters[0]",
    listeners(&[listen(AT, &[proxy("")])])
);
refused!(
    a_proxy_without_a_prefix,
    "stat_prefix",
    listeners(&[listen(
        AT,
        &[network("tcp_proxy", "TcpProxy", "cluster: one")]
    )])
);
refused!(
    a_proxy_that_does_not_end_the_chain,
    "filters[0]",
    listeners(&[listen(AT, &[tcp("one"), network("echo", "Echo", "")])])
);
refused!(
    a_chain_that_does_not_end,
    "filters",
    listeners(&[listen(AT, &[network("sni_cluster", "SniCluster", "")])])
);
refused!(
    a_proxy_that_never_tries,
    "max_connect_attempts",
    listeners(&[listen(
        AT,
        &[proxy("cluster: one, max_connect_attempts: 0")]
    )])
);
refused!(
    an_operator_that_is_not_known,
    "access_log[0]",
    listeners(&[listen(
        AT,
        &[network(
            "tcp_proxy",
            "TcpProxy",
            &format!(
                "stat_prefix: tcp, cluster: one, access_log: [{}]",
                log_of("%NOT_AN_OPERATOR%", "")
            )
        )]
    )])
);
refused!(
    an_operator_that_is_not_closed,
    "access_log[0]",
    listeners(&[listen(
        AT,
        &[network(
            "tcp_proxy",
            "TcpProxy",
            &format!(
                "stat_prefix: tcp, cluster: one, access_log: [{}]",
                log_of("%BYTES_SENT", "")
            )
        )]
    )])
);
refused!(
    a_flag_that_is_not_known,
    "response_flag_filter",
    listeners(&[listen(
        AT,
        &[network(
            "tcp_proxy",
            "TcpProxy",
            &format!(
                "stat_prefix: tcp, cluster: one, access_log: [{}]",
                log_of("x", "filter: {response_flag_filter: {flags: [XYZ]}},")
            )
        )]
    )])
);
refused!(
    a_policy_without_principals,
    "principals",
    listeners(&[listen(
        AT,
        &[
            network(
                "rbac",
                "RBAC",
                "stat_prefix: a, rules: {policies: {some: {permissions: [{any: true}]}}}"
            ),
            tcp("one")
        ]
    )])
);
refused!(
    a_limit_of_no_connections,
    "max_connections",
    listeners(&[listen(
        AT,
        &[
            network(
                "connection_limit",
                "ConnectionLimit",
                "stat_prefix: a, max_connections: 0"
            ),
            tcp("one")
        ]
    )])
);
refused!(
    a_bucket_that_is_filled_too_often,
    "fill_interval",
    listeners(&[listen(
        AT,
        &[
            any(
                "envoy.filters.network.local_ratelimit",
                "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
                "stat_prefix: a, token_bucket: {max_tokens: 1, tokens_per_fill: 1, fill_interval: 0.001s}"
            ),
            tcp("one")
        ]
    )])
);
refused!(
    a_certificate_that_is_not_there,
    "certificate_chain",
    listeners(&[listener(
        AT,
        &chains(&[chain(
            &tls(
                "Downstream",
                &format!("common_tls_context: {{{}}}", own("nobody"))
            ),
            &[tcp("one")]
        )])
    )])
);
refused!(
    a_server_of_tls_without_a_certificate,
    "transport_socket",
    listeners(&[listener(
        AT,
        &chains(&[chain(
            &tls("Downstream", "common_tls_context: {}"),
            &[tcp("one")]
        )])
    )])
);
refused!(
    a_cipher_that_is_not_known,
    "cipher_suites",
    clusters(&format!(
        "type: STATIC, {}",
        tls(
            "Upstream",
            "common_tls_context: {tls_params: {cipher_suites: [NOT-A-CIPHER]}}"
        )
    ))
);
refused!(
    an_expression_that_is_none,
    "regex",
    listeners(&[listen(
        AT,
        &[
            network(
                "rbac",
                "RBAC",
                "stat_prefix: a, rules: {policies: {some: {permissions: [{any: true}], principals: [{authenticated: {principal_name: {safe_regex: {regex: '('}}}}]}}}"
            ),
            tcp("one")
        ]
    )])
);

refused!(
    a_length_where_none_is_taken,
    "access_log[0]",
    listeners(&[listen(
        AT,
        &[network(
            "tcp_proxy",
            "TcpProxy",
            &format!(
                "stat_prefix: tcp, cluster: one, access_log: [{}]",
                log_of("%UPSTREAM_CLUSTER:2%", "")
            )
        )]
    )])
);

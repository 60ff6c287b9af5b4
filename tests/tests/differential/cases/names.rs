//! The names of statistics, those included that count nothing yet.

use crate::{bootstrap::*, script::Answer};

const AT: &str = "127.0.0.1:10000";
const UP: &str = "127.0.0.1:20000";

/// A test of this name, which compares the names of these patterns.
macro_rules! names {
    ($name:ident, $compared:expr, $bootstrap:expr $(,)?) => {
        #[test]
        #[ignore = "needs root"]
        fn $name() {
            $crate::harness::check_names(stringify!($name), &$bootstrap, &$compared, |run| {
                run.upstream(UP, Answer::Echo);
                run.start();
                run.exchange(AT, b"");
            });
        }
    };
}

fn plain(filters: &[String], cluster_fields: &str) -> String {
    bootstrap(
        &[listen(AT, &[filters, &[tcp("one")]].concat())],
        &[fixed("one", &[UP], cluster_fields)],
    )
}

names!(names_of_a_listener, ["listener.127*"], plain(&[], ""));
names!(names_of_a_cluster, ["cluster.one.*"], plain(&[], ""));
names!(names_of_a_tcp_proxy, ["tcp.*"], plain(&[], ""));
names!(
    names_of_a_checked_cluster,
    [
        "cluster.one.health_check.*",
        "cluster.one.outlier_detection.*"
    ],
    plain(
        &[],
        "outlier_detection: {}, health_checks: [{timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}}]"
    )
);
names!(
    names_of_a_cluster_of_tls,
    [
        "cluster.one.ssl.*",
        "cluster.one.client_ssl_socket_factory.*"
    ],
    plain(&[], &tls("Upstream", "common_tls_context: {}"))
);
names!(
    names_of_a_listener_of_tls,
    ["listener.127*"],
    bootstrap(
        &[listener(
            AT,
            &chains(&[chain(
                &tls(
                    "Downstream",
                    &format!("common_tls_context: {{{}}}", own("server"))
                ),
                &[tcp("one")]
            )])
        )],
        &[fixed("one", &[UP], "")],
    )
);
names!(
    names_of_network_filters,
    ["*rbac.*", "connection_limit.*", "local_rate_limit.*"],
    plain(
        &[
            network(
                "rbac",
                "RBAC",
                "stat_prefix: access., rules: {action: ALLOW, policies: {some: {permissions: [{any: true}], principals: [{any: true}]}}}"
            ),
            network(
                "connection_limit",
                "ConnectionLimit",
                "stat_prefix: few, max_connections: 9"
            ),
            any(
                "envoy.filters.network.local_ratelimit",
                "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
                "stat_prefix: slow, token_bucket: {max_tokens: 9, tokens_per_fill: 1, fill_interval: 600s}"
            ),
        ],
        ""
    )
);
names!(
    names_of_listener_filters,
    ["tls_inspector.*", "http_inspector.*", "*proxy_proto*"],
    bootstrap(
        &[listener(
            AT,
            &format!(
                "listener_filters: [{}, {}, {}], {}",
                before(
                    "proxy_protocol",
                    "ProxyProtocol",
                    "allow_requests_without_proxy_protocol: true"
                ),
                before("tls_inspector", "TlsInspector", ""),
                before("http_inspector", "HttpInspector", ""),
                chains(&[chain("", &[tcp("one")])])
            )
        )],
        &[fixed("one", &[UP], "")],
    )
);
names!(
    names_of_a_server,
    [
        "server.*",
        "listener_manager.*",
        "cluster_manager.*",
        "filesystem.*",
        "runtime.*"
    ],
    plain(&[], "")
);

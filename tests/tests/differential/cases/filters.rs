//! Network filters before or in place of the TCP proxy.

use crate::{
    bootstrap::*,
    script::{Answer, Run, Tls, hello},
};

const AT: &str = "127.0.0.1:10000";
const UP: &str = "127.0.0.1:20000";

fn before_proxy(filter: &str) -> String {
    bootstrap(
        &[listen(AT, &[filter.to_owned(), tcp("one")])],
        &[fixed("one", &[UP], "")],
    )
}

fn rbac(rules: &str) -> String {
    before_proxy(&network(
        "rbac",
        "RBAC",
        &format!("stat_prefix: access., {rules}"),
    ))
    // Ours decides before the upstream is connected to.
    .replace("$LOG", &log_downstream())
}

/// From three addresses, whether it is let through.
fn knock(run: &mut Run<'_>) {
    run.upstream(UP, Answer::Echo);
    run.start();
    for from in ["127.0.0.1:0", "127.0.0.2:0", "127.0.1.1:0"] {
        run.exchange_from(from, AT, format!("from {from}").as_bytes());
    }
}

case!(
    echo_says_what_it_hears,
    bootstrap(&[listen(AT, &[network("echo", "Echo", "")])], &[]),
    |run| {
        run.start();
        run.route("a line", "", AT, b"hello\n");
        // What comes with the end of a half is lost.
        run.exchange(AT, b"hello");
    }
);

case!(
    a_direct_response_is_said_and_the_connection_closed,
    bootstrap(
        &[listen(
            AT,
            &[any(
                "envoy.filters.network.direct_response",
                "envoy.extensions.filters.network.direct_response.v3.Config",
                "response: {inline_string: 'go away'}"
            )]
        )],
        &[]
    ),
    |run| {
        run.start();
        let mut client = run.connect(AT);
        let rest = client.rest();
        run.note("response", &rest);
    }
);

case!(
    rbac_allows_who_is_named,
    rbac(
        "rules: {action: ALLOW, policies: {some: {permissions: [{any: true}], principals: [{direct_remote_ip: {address_prefix: 127.0.0.2, prefix_len: 32}}]}}}"
    ),
    knock
);

case!(
    rbac_denies_who_is_named,
    rbac(
        "rules: {action: DENY, policies: {some: {permissions: [{any: true}], principals: [{direct_remote_ip: {address_prefix: 127.0.0.2, prefix_len: 32}}]}}}"
    ),
    knock
);

case!(
    rbac_without_policies_denies_all,
    rbac("rules: {action: ALLOW, policies: {}}"),
    knock
);

case!(rbac_without_rules_allows_all, rbac(""), knock);

case!(
    rbac_shadow_rules_only_count,
    rbac(
        "shadow_rules_stat_prefix: shade_, shadow_rules: {action: DENY, policies: {some: {permissions: [{any: true}], principals: [{remote_ip: {address_prefix: 127.0.0.0, prefix_len: 24}}]}}}"
    ),
    knock
);

case!(
    rbac_combines_principals_and_permissions,
    rbac(
        "rules: {action: ALLOW, policies: {some: {permissions: [{and_rules: {rules: [{destination_port: 10000}, {not_rule: {destination_ip: {address_prefix: 10.0.0.0, prefix_len: 8}}}]}}], principals: [{or_ids: {ids: [{source_ip: {address_prefix: 127.0.1.0, prefix_len: 24}}, {and_ids: {ids: [{any: true}, {not_id: {direct_remote_ip: {address_prefix: 127.0.0.2, prefix_len: 32}}}]}}]}}]}}}"
    ),
    knock
);

case!(
    rbac_port_ranges_are_half_open,
    rbac(
        "rules: {action: ALLOW, policies: {some: {permissions: [{destination_port_range: {start: 9000, end: 10000}}], principals: [{any: true}]}}}"
    ),
    knock
);

case!(
    rbac_by_server_name,
    bootstrap(
        &[listener(
            AT,
            &format!(
                "listener_filters: [{}], {}",
                before("tls_inspector", "TlsInspector", ""),
                chains(&[chain(
                    "",
                    &[
                        network(
                            "rbac",
                            "RBAC",
                            "stat_prefix: access., rules: {action: ALLOW, policies: {names: {permissions: [{requested_server_name: {suffix: .example}}], principals: [{any: true}]}}}"
                        ),
                        tcp("one"),
                    ]
                )])
            )
        )],
        &[fixed("one", &[UP], "")],
    )
    .replace("$LOG", &log_downstream()),
    |run| {
        // It is asked at the first bytes: a server that speaks first is heard before.
        run.upstream(UP, Answer::Reply(b"one\n"));
        run.start();
        for name in ["a.example", "a.test"] {
            let bytes = hello(Tls {
                name,
                ..Tls::default()
            });
            run.route(name, "", AT, &bytes);
        }
        run.route("plaintext", "", AT, b"hello\n");
    }
);

case!(
    a_connection_limit_closes_those_beyond,
    before_proxy(&network(
        "connection_limit",
        "ConnectionLimit",
        "stat_prefix: few, max_connections: 1"
    )),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        let mut first = run.connect(AT);
        let line = first.line();
        run.note("within", &line);
        let mut second = run.connect(AT);
        let rest = second.rest();
        run.note("beyond", &rest);
        drop(first);
        run.wait_for("connection_limit.few.active_connections", 0);
        run.listen_first("", AT);
    }
);

case!(
    a_connection_limit_may_close_later,
    before_proxy(&network(
        "connection_limit",
        "ConnectionLimit",
        "stat_prefix: few, max_connections: 1, delay: 0.2s"
    )),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        let mut first = run.connect(AT);
        let line = first.line();
        run.note("within", &line);
        let mut second = run.connect(AT);
        let rest = second.rest();
        run.note("beyond", &rest);
    }
);

case!(
    a_local_rate_limit_closes_those_beyond,
    before_proxy(&any(
        "envoy.filters.network.local_ratelimit",
        "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix: slow, token_bucket: {max_tokens: 2, tokens_per_fill: 1, fill_interval: 600s}"
    )),
    |run| {
        run.named(&[(UP, "one")]);
        run.start();
        for _ in 0..4 {
            let mut client = run.connect(AT);
            let line = client.line();
            run.note("one more", &line);
            client.finish();
            client.rest();
        }
    }
);

case!(
    the_server_name_is_the_cluster,
    bootstrap(
        &[listener(
            AT,
            &format!(
                "listener_filters: [{}], {}",
                before("tls_inspector", "TlsInspector", ""),
                chains(&[chain(
                    "",
                    &[network("sni_cluster", "SniCluster", ""), tcp("fallback")]
                )])
            )
        )],
        &[
            fixed("a.example", &["127.0.0.1:20001"], ""),
            fixed("fallback", &["127.0.0.1:20002"], "")
        ],
    ),
    |run| {
        run.named(&[("127.0.0.1:20001", "a"), ("127.0.0.1:20002", "fallback")]);
        run.start();
        for name in ["a.example", "b.example", "127.0.0.1"] {
            let bytes = hello(Tls {
                name,
                ..Tls::default()
            });
            run.route(name, "", AT, &bytes);
        }
    }
);

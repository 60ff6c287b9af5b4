//! Access logs: forms and filters.

use crate::{bootstrap::*, script::Answer};

const AT: &str = "127.0.0.1:10000";
const UP: &str = "127.0.0.1:20000";

/// A TCP proxy with this access log.
fn logged(log: &str) -> String {
    let proxy = network(
        "tcp_proxy",
        "TcpProxy",
        &format!("stat_prefix: tcp, cluster: one, access_log: [{log}]"),
    );
    let metadata = "metadata: {filter_metadata: {own: {key: value}}}";
    bootstrap(&[listen(AT, &[proxy])], &[fixed("one", &[UP], metadata)])
}

case!(
    json_has_types_and_nesting,
    logged(&log_as(
        "log_format: {json_format: {text: '%UPSTREAM_CLUSTER%', number: '%BYTES_SENT%', none: '%UPSTREAM_TRANSPORT_FAILURE_REASON%', \
         mixed: 'sent %BYTES_SENT% of %UPSTREAM_CLUSTER%', constant: 5, deep: {inner: '%RESPONSE_FLAGS%', flag: true}, list: ['%PROTOCOL%', two]}}",
        ""
    )),
    |run| {
        run.upstream(UP, Answer::Echo);
        run.start();
        run.exchange(AT, b"hello");
    }
);

case!(
    json_may_leave_out_what_is_not_there,
    logged(&log_as(
        "log_format: {omit_empty_values: true, json_format: {none: '%UPSTREAM_TRANSPORT_FAILURE_REASON%', cluster: '%UPSTREAM_CLUSTER%'}}",
        ""
    )),
    |run| {
        run.upstream(UP, Answer::Echo);
        run.start();
        run.exchange(AT, b"hello");
    }
);

case!(
    text_may_leave_out_what_is_not_there,
    logged(&log_as(
        "log_format: {omit_empty_values: true, text_format_source: {inline_string: \"[%UPSTREAM_TRANSPORT_FAILURE_REASON%] %UPSTREAM_CLUSTER%\\n\"}}",
        ""
    )),
    |run| {
        run.upstream(UP, Answer::Echo);
        run.start();
        run.exchange(AT, b"hello");
    }
);

case!(
    operators_are_cut_and_percent_is_escaped,
    logged(&log_of(
        "%METADATA(CLUSTER:own:key):2% 100%% %DYNAMIC_METADATA(own:key):3% %UPSTREAM_CLUSTER%\\n",
        ""
    )),
    |run| {
        run.upstream(UP, Answer::Echo);
        run.start();
        run.exchange(AT, b"hello");
    }
);

case!(
    metadata_and_environment_are_shown,
    logged(&log_of(
        "%METADATA(CLUSTER:own:key)% %METADATA(LISTENER:own:key)% %DYNAMIC_METADATA(none)% %FILTER_STATE(none)% %ENVIRONMENT(FAIRLEAD_NOT_SET)%\\n",
        ""
    )),
    |run| {
        run.upstream(UP, Answer::Echo);
        run.start();
        run.exchange(AT, b"hello");
    }
);

/// One connection that goes well, and one to nobody.
fn filtered(filter: &str) -> String {
    let log = log_of(
        "%UPSTREAM_CLUSTER% %RESPONSE_FLAGS%\\n",
        &format!("filter: {{{filter}}},"),
    );
    let proxy = |cluster: &str| {
        network(
            "tcp_proxy",
            "TcpProxy",
            &format!("stat_prefix: tcp, cluster: {cluster}, access_log: [{log}]"),
        )
    };
    bootstrap(
        &[
            listen(AT, &[proxy("one")]),
            listen("127.0.0.1:10001", &[proxy("two")]),
        ],
        &[
            fixed("one", &[UP], ""),
            fixed("two", &["127.0.0.1:20999"], ""),
        ],
    )
}

/// One connection that goes well and one that does not, of which the log keeps some.
macro_rules! filtered {
    ($name:ident, $filter:expr) => {
        case!($name, filtered($filter), |run| {
            run.upstream(UP, Answer::Echo);
            run.start();
            run.exchange(AT, b"hello");
            run.exchange("127.0.0.1:10001", b"");
        });
    };
}

filtered!(a_filter_by_any_flag, "response_flag_filter: {}");
filtered!(a_filter_by_one_flag, "response_flag_filter: {flags: [UF]}");
filtered!(
    a_filter_by_another_flag,
    "response_flag_filter: {flags: [UH, NR]}"
);
filtered!(
    a_filter_by_either,
    "or_filter: {filters: [{response_flag_filter: {flags: [UH]}}, {status_code_filter: {comparison: {op: EQ, value: {default_value: 0, runtime_key: none}}}}]}"
);
filtered!(
    a_filter_by_both,
    "and_filter: {filters: [{response_flag_filter: {flags: [UF]}}, {duration_filter: {comparison: {op: LE, value: {default_value: 60000, runtime_key: none}}}}]}"
);
filtered!(
    a_filter_by_the_kind_of_entry,
    "log_type_filter: {types: [TcpConnectionEnd]}"
);
filtered!(
    a_filter_of_nothing_by_chance,
    "runtime_filter: {runtime_key: none, percent_sampled: {numerator: 0}}"
);

case!(
    a_listener_logs_connections_that_no_chain_takes,
    bootstrap(
        &[listener(
            AT,
            &format!(
                "access_log: [$LOG], listener_filters: [{}], {}",
                before("tls_inspector", "TlsInspector", ""),
                chains(&[matching("one", "server_names: [a.example]")])
            )
        )],
        &[fixed("one", &[UP], "")],
    ),
    |run| {
        run.upstream(UP, Answer::Echo);
        run.start();
        run.route("plaintext", "", AT, b"hello\n");
    }
);

case!(
    a_log_may_start_with_the_connection,
    bootstrap(
        &[listen(
            AT,
            &[proxy(
                "cluster: one, access_log_options: {flush_access_log_on_connected: true}"
            )]
        )],
        &[fixed("one", &[UP], "")],
    ),
    |run| {
        run.upstream(UP, Answer::Echo);
        run.start();
        run.exchange(AT, b"hello");
    }
);

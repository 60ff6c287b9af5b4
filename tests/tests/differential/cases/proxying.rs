//! TCP proxy, echo, direct response: bytes, ends, time-outs.

use std::time::Duration;

use crate::{bootstrap::*, script::Answer};

const AT: &str = "127.0.0.1:10000";
const UP: &str = "127.0.0.1:20000";
const NOBODY: &str = "127.0.0.1:20999";

fn one(fields: &str, cluster_fields: &str) -> String {
    bootstrap(
        &[listen(AT, &[proxy(fields)])],
        &[fixed("one", &[UP], cluster_fields)],
    )
}

case!(bytes_go_both_ways, &one("cluster: one", ""), |run| {
    run.upstream(UP, Answer::Echo);
    run.start();
    run.exchange(AT, b"hello");
    run.exchange(AT, b"");
    run.exchange(AT, &[b'x'; 100_000]);
});

case!(
    an_upstream_that_speaks_first_is_heard,
    &one("cluster: one", ""),
    |run| {
        run.upstream(UP, Answer::Named("one"));
        run.start();
        run.listen_first("", AT);
    }
);

case!(
    a_downstream_half_close_passes,
    &one("cluster: one", ""),
    |run| {
        run.upstream(UP, Answer::Tell);
        run.start();
        run.exchange(AT, b"no newline");
    }
);

case!(
    an_upstream_half_close_passes,
    &one("cluster: one", ""),
    |run| {
        run.upstream(UP, Answer::HalfClose(b"that is all\n"));
        run.start();
        let mut client = run.connect(AT);
        let first = client.rest();
        run.note("upstream ends its half", &first);
        client.send(b"more");
        run.wait_for("cluster.one.upstream_cx_tx_bytes_total", 4);
        client.finish();
        run.wait_for("listener.127.0.0.1_10000.downstream_cx_active", 0);
    }
);

case!(
    an_upstream_that_closes_at_once_closes_the_client,
    &one("cluster: one", ""),
    |run| {
        run.upstream(UP, Answer::Close);
        run.start();
        let mut client = run.connect(AT);
        let rest = client.rest();
        run.note("upstream closes", &rest);
    },
);

case!(
    an_upstream_reset_is_passed_on,
    &one("cluster: one", ""),
    |run| {
        run.upstream(UP, Answer::Reset);
        run.start();
        let mut client = run.connect(AT);
        client.send(b"x");
        let rest = client.rest();
        run.note("upstream resets", &rest);
    }
);

case!(
    a_downstream_reset_is_passed_on,
    &one("cluster: one", ""),
    |run| {
        run.upstream(UP, Answer::Named("one"));
        run.start();
        let mut client = run.connect(AT);
        let line = client.line();
        run.note("connected", &line);
        client.reset();
    }
);

case!(
    a_refused_upstream_closes_the_client,
    &bootstrap(&[listen(AT, &[tcp("one")])], &[fixed("one", &[NOBODY], "")],),
    |run| {
        run.start();
        run.exchange(AT, b"");
    },
);

case!(
    connecting_is_tried_as_often_as_said,
    &bootstrap(
        &[listen(
            AT,
            &[proxy("cluster: one, max_connect_attempts: 3")]
        )],
        &[fixed("one", &[NOBODY], "")],
    ),
    |run| {
        run.start();
        run.exchange(AT, b"");
    },
);

case!(
    an_idle_connection_ends,
    &one("cluster: one, idle_timeout: 0.2s", ""),
    |run| {
        run.upstream(UP, Answer::Named("one"));
        run.start();
        let mut client = run.connect(AT);
        let rest = client.rest();
        run.note("idle", &rest);
    },
);

case!(
    a_connection_without_end_of_idleness_stays,
    &one("cluster: one, idle_timeout: 0s", ""),
    |run| {
        run.upstream(UP, Answer::Echo);
        run.start();
        let mut client = run.connect(AT);
        let quiet = client.quiet_for(Duration::from_millis(300));
        run.note("idle", &quiet);
    },
);

case!(
    a_client_that_leaves_before_the_upstream_answers_is_logged,
    one("cluster: one", ""),
    |run| {
        run.upstream(UP, Answer::Silent);
        run.start();
        let mut client = run.connect(AT);
        client.send(b"hello");
        run.wait_for("cluster.one.upstream_cx_tx_bytes_total", 5);
        client.finish();
        let rest = client.rest();
        run.note("silent", &rest);
    }
);

case!(
    data_makes_a_connection_not_idle,
    one("cluster: one, idle_timeout: 0.4s", ""),
    |run| {
        run.upstream(UP, Answer::Echo);
        run.start();
        let mut client = run.connect(AT);
        for _ in 0..4 {
            client.send(b"x\n");
            let line = client.line();
            run.note("still there", &line);
            let quiet = client.quiet_for(Duration::from_millis(200));
            run.note("quiet", &quiet);
        }
        let rest = client.rest();
        run.note("idle", &rest);
    }
);

case!(
    two_listeners_share_a_cluster,
    bootstrap(
        &[
            listen(AT, &[tcp("one")]),
            listen(
                "127.0.0.1:10001",
                &[proxy("cluster: one, stat_prefix: other")]
            ),
        ],
        &[fixed("one", &[UP], "")],
    )
    .replace(
        "stat_prefix: tcp, access_log: [$LOG], cluster: one, stat_prefix: other",
        "stat_prefix: other, access_log: [$LOG], cluster: one"
    ),
    |run| {
        run.upstream(UP, Answer::Echo);
        run.start();
        run.exchange(AT, b"hello");
        run.exchange("127.0.0.1:10001", b"hello");
    }
);

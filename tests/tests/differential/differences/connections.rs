//! Listeners, filters, the ways in which connections end, and access logs.

use super::Known;

/// The decision of `rbac`.
const DECIDED: &str = "decided when the connection comes, before an upstream is connected to or \
    anything is said; Envoy waits for the first bytes with the upstream connected";

const AFTER_HANDSHAKE: &str = "an upstream is connected to when the handshake is done; Envoy does both at \
    the same time";

pub(super) const KNOWN: &[Known] = &[
    Known {
        case: "*",
        what: "log code_details",
        envoy: "code_details=-",
        ours: "code_details=*",
        reason: "one token for each cause, where Envoy says nothing of connections",
    },
    Known {
        case: "*",
        what: "log up_failure",
        envoy: "up_failure=-",
        ours: "up_failure=*",
        reason: "words for each cause, where Envoy has none",
    },
    Known {
        case: "*",
        what: "log up_failure",
        envoy: "up_failure=delayed_connect_error:_*",
        ours: "up_failure=delayed_connect_error:_*: connect to *",
        reason: "Envoy's words, then the address and what to look at",
    },
    Known {
        case: "*",
        what: "log failure",
        envoy: "failure=-",
        ours: "failure=*",
        reason: "words for each cause, where Envoy has none",
    },
    Known {
        case: "*",
        what: "log failure",
        envoy: "failure=TLS_error|error:*",
        ours: "failure=-",
        reason: "plaintext is no failure where a filter chain may take it",
    },
    Known {
        case: "rbac_*",
        what: "stat cluster.one.*",
        envoy: "*",
        ours: "*",
        reason: DECIDED,
    },
    Known {
        case: "rbac_*",
        what: "stat tcp.tcp.downstream_cx_rx_bytes_total",
        envoy: "*",
        ours: "*",
        reason: DECIDED,
    },
    Known {
        case: "names_of_a_listener_of_tls",
        what: "log up_cluster",
        envoy: "up_cluster=one",
        ours: "up_cluster=-",
        reason: AFTER_HANDSHAKE,
    },
    Known {
        case: "names_of_a_listener_of_tls",
        what: "log up_attempts",
        envoy: "up_attempts=1",
        ours: "up_attempts=0",
        reason: AFTER_HANDSHAKE,
    },
    Known {
        case: "an_original_destination_is_*",
        what: "stat cluster.original.membership_*",
        envoy: "*",
        ours: "none or 0",
        reason: "an original destination becomes no member of its cluster: nothing of it is kept",
    },
    Known {
        case: "echo_says_what_it_hears",
        what: "seen hello to 127.0.0.1:10000",
        envoy: "\"\" eof",
        ours: "\"hello\" eof",
        reason: "what comes with the end of a half is sent back too",
    },
    Known {
        case: "names_of_a_server",
        what: "stat server.*.watchdog_*",
        envoy: "there",
        ours: "none or 0",
        reason: "there is no watchdog: a worker that panics ends the process",
    },
];

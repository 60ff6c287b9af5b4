//! The table of the paths, in the order of their names.

use super::{Served, certs, clusters, config_dump, listeners, logging, process, runtime};
use crate::{
    admin::handler::{self, Handler, Parameter, one_of, parameter},
    lifecycle::Stop,
    stats::export,
};

const ENABLE: Parameter = one_of("enable", "whether it is to be on", &["y", "n"]);

const USED_ONLY: Parameter = parameter("usedonly", "Only what counted anything since the start");
const FILTER: Parameter = parameter("filter", "Regular expression that names match");
const INVERT_FILTER: Parameter = parameter("invert_filter", "Leave out what the filter matches");

/// Each path, and what answers it.
pub(super) static HANDLERS: [Handler<Served>; 34] = [
    Handler {
        path: "/",
        help: "Admin home page",
        parameters: &[],
        mutates: false,
        answer: |_, _| handler::home(&HANDLERS),
    },
    Handler {
        path: "/allocprofiler",
        help: "record allocations (not here)",
        parameters: &[ENABLE],
        mutates: true,
        answer: |_, parameters| process::allocation_profiler(parameters),
    },
    Handler {
        path: "/certs",
        help: "print certs on machine",
        parameters: &[],
        mutates: false,
        answer: |served, _| certs::answer(served),
    },
    Handler {
        path: "/clusters",
        help: "upstream cluster status",
        parameters: &[
            parameter(
                "filter",
                "Regular expression that the names of clusters match",
            ),
            one_of("format", "Form of the answer", &["text", "json"]),
        ],
        mutates: false,
        answer: clusters::answer,
    },
    Handler {
        path: "/config_dump",
        help: "dump current configs",
        parameters: &[
            parameter("resource", "The list to dump, such as static_clusters"),
            parameter(
                "mask",
                "The fields to dump, separated by commas; with resource, of each of its elements",
            ),
            parameter(
                "name_regex",
                "Regular expression that the names of what is dumped match",
            ),
            parameter("include_eds", "Also the endpoints of clusters"),
        ],
        mutates: false,
        answer: config_dump::answer,
    },
    Handler {
        path: "/contention",
        help: "dump mutex contention stats (none)",
        parameters: &[],
        mutates: false,
        answer: |_, _| process::contention(),
    },
    Handler {
        path: "/cpuprofiler",
        help: "enable/disable the CPU profiler (not here)",
        parameters: &[ENABLE],
        mutates: true,
        answer: |_, parameters| process::cpu_profiler(parameters),
    },
    Handler {
        path: "/drain_listeners",
        help: "drain listeners",
        parameters: &[
            parameter(
                "graceful",
                "Accept no more after the drain time, not at once",
            ),
            parameter("skip_exit", "Go on accepting"),
            parameter(
                "inboundonly",
                "Only listeners whose traffic_direction is INBOUND",
            ),
        ],
        mutates: true,
        answer: listeners::drain,
    },
    Handler {
        path: "/healthcheck/fail",
        help: "cause the server to fail health checks",
        parameters: &[],
        mutates: true,
        answer: |served, _| process::health_check(served, false),
    },
    Handler {
        path: "/healthcheck/ok",
        help: "cause the server to pass health checks",
        parameters: &[],
        mutates: true,
        answer: |served, _| process::health_check(served, true),
    },
    Handler {
        path: "/heap_dump",
        help: "dump current heap (not here)",
        parameters: &[],
        mutates: false,
        answer: |_, _| process::heap(),
    },
    Handler {
        path: "/heapprofiler",
        help: "enable/disable the heap profiler (not here)",
        parameters: &[ENABLE],
        mutates: true,
        answer: |_, _| process::heap(),
    },
    Handler {
        path: "/help",
        help: "print out list of admin commands",
        parameters: &[],
        mutates: false,
        answer: |_, _| handler::text(handler::help(&HANDLERS)),
    },
    Handler {
        path: "/hot_restart_version",
        help: "print the hot restart compatibility version",
        parameters: &[],
        mutates: false,
        answer: |_, _| handler::text("disabled"),
    },
    Handler {
        path: "/init_dump",
        help: "dump what initialization waits for",
        parameters: &[parameter("mask", "The part that is asked for")],
        mutates: false,
        answer: |served, _| process::init_dump(served),
    },
    Handler {
        path: "/listeners",
        help: "print listener info",
        parameters: &[one_of("format", "Form of the answer", &["text", "json"])],
        mutates: false,
        answer: listeners::answer,
    },
    Handler {
        path: "/logging",
        help: "query/change logging levels",
        parameters: &[
            parameter("paths", "Several levels, as NAME:LEVEL,NAME:LEVEL"),
            one_of(
                "level",
                "The level of all loggers",
                &[
                    "", "trace", "debug", "info", "warning", "error", "critical", "off",
                ],
            ),
        ],
        mutates: true,
        answer: |served, parameters| logging::answer(served.log.as_ref(), parameters),
    },
    Handler {
        path: "/memory",
        help: "print current allocation/heap usage",
        parameters: &[],
        mutates: false,
        answer: |_, _| process::memory(),
    },
    Handler {
        path: "/memory/tcmalloc",
        help: "print TCMalloc stats (not here)",
        parameters: &[],
        mutates: false,
        answer: |_, _| process::heap(),
    },
    Handler {
        path: "/peak_heap_dump",
        help: "dump peak heap (not here)",
        parameters: &[],
        mutates: false,
        answer: |_, _| process::heap(),
    },
    Handler {
        path: "/quitquitquit",
        help: "exit the server",
        parameters: &[],
        mutates: true,
        answer: |served, _| {
            served.lifecycle.stop(Stop::AtOnce);
            handler::ok()
        },
    },
    Handler {
        path: "/ready",
        help: "print server state, return 200 if LIVE, otherwise return 503",
        parameters: &[],
        mutates: false,
        answer: |served, _| process::ready(served),
    },
    Handler {
        path: "/reopen_logs",
        help: "reopen access logs",
        parameters: &[],
        mutates: true,
        answer: |served, _| {
            served.reopen.ask();
            handler::ok()
        },
    },
    Handler {
        path: "/reset_counters",
        help: "reset all counters to zero",
        parameters: &[],
        mutates: true,
        answer: |served, _| export::reset_counters(&served.store),
    },
    Handler {
        path: "/runtime",
        help: "print runtime values",
        parameters: &[],
        mutates: false,
        answer: |served, _| runtime::answer(served),
    },
    Handler {
        path: "/runtime_modify",
        help: "modify runtime values (none is read again)",
        parameters: &[],
        mutates: true,
        answer: runtime::modify,
    },
    Handler {
        path: "/server_info",
        help: "print server version/status information",
        parameters: &[],
        mutates: false,
        answer: |served, _| process::server_info(served),
    },
    Handler {
        path: "/stats",
        help: "print server stats",
        parameters: &[
            USED_ONLY,
            FILTER,
            INVERT_FILTER,
            one_of(
                "format",
                "Form of the answer",
                &["html", "text", "json", "prometheus"],
            ),
            one_of(
                "type",
                "Kinds of statistics",
                &["All", "Counters", "Histograms", "Gauges", "TextReadouts"],
            ),
            one_of(
                "histogram_buckets",
                "Form of histograms",
                &["summary", "cumulative", "disjoint", "detailed"],
            ),
        ],
        mutates: false,
        answer: |served, parameters| {
            served.flush_if_asked();
            export::answer(&served.store, Vec::new(), parameters)
        },
    },
    Handler {
        path: "/stats/prometheus",
        help: "print server stats in prometheus format",
        parameters: &[
            USED_ONLY,
            parameter("text_readouts", "Also texts, as gauges of value 0"),
            FILTER,
            INVERT_FILTER,
            one_of(
                "histogram_buckets",
                "Form of histograms",
                &["cumulative", "summary"],
            ),
        ],
        mutates: false,
        answer: |served, parameters| {
            served.flush_if_asked();
            export::prometheus(&served.store, Vec::new(), parameters)
        },
    },
    Handler {
        path: "/stats/recentlookups",
        help: "Show recent stat-name lookups",
        parameters: &[],
        mutates: false,
        answer: |_, _| export::recent_lookups(None),
    },
    Handler {
        path: "/stats/recentlookups/clear",
        help: "clear list of stat-name lookups and counter",
        parameters: &[],
        mutates: true,
        answer: |_, _| export::recent_lookups(Some("clear")),
    },
    Handler {
        path: "/stats/recentlookups/disable",
        help: "disable recording of stat-name lookups",
        parameters: &[],
        mutates: true,
        answer: |_, _| export::recent_lookups(Some("disable")),
    },
    Handler {
        path: "/stats/recentlookups/enable",
        help: "enable recording of stat-name lookups (none are made)",
        parameters: &[],
        mutates: true,
        answer: |_, _| export::recent_lookups(Some("enable")),
    },
    Handler {
        path: "/tap",
        help: "tap into requests (not here)",
        parameters: &[],
        mutates: true,
        answer: |_, _| process::tap(),
    },
];

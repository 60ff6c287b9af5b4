//! What concerns the process: its state, its memory, its profile, and how it was started.

use std::{fs, time::SystemTime};

use axum::{http::StatusCode, response::Response};
use fairlead_xds::{
    envoy::{
        config::core::v3::{BuildVersion, Node, node::UserAgentVersionType},
        r#type::v3::SemanticVersion,
    },
    json::{Layout, Secrets, message_to_json},
};
use serde_json::{Value, json};

use super::Served;
use crate::admin::handler::{self, Parameters, ok, refuse, text};

const VERSION: &str = env!("CARGO_PKG_VERSION");

const UNRECORDED: &str =
    "allocations are not recorded, which would cost each of them time; /memory has the sizes\n";

/// `/ready`
pub(super) fn ready(served: &Served) -> Response {
    let status = if served.lifecycle.readiness().is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    refuse(status, format!("{}\n", served.lifecycle.state()))
}

/// `/healthcheck/fail` and `/healthcheck/ok`
pub(super) fn health_check(served: &Served, passes: bool) -> Response {
    served.lifecycle.pass_health_checks(passes);
    let live = served.lifecycle.readiness().is_ready();
    served.store.server().set().live.set(live.into());
    ok()
}

/// `/server_info`
pub(super) fn server_info(served: &Served) -> Response {
    let options = &served.options;
    let source = &options.source;
    let path = source.path.as_ref().map(|path| path.display().to_string());
    let up = |since: SystemTime| since.elapsed().unwrap_or_default().as_secs();
    let uptime = format!("{}s", up(served.started));
    let level = served.log.as_ref().map(|log| log.level().to_string());
    handler::json(&json!({
        "version": format!("fairlead-proxy/{VERSION}"),
        "state": served.lifecycle.state().to_string(),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": {
            "concurrency": options.concurrency,
            "config_path": path.unwrap_or_default(),
            // It may hold keys, and /config_dump shows it without them.
            "config_yaml": source.yaml.as_ref().map_or("", |_| "[redacted]"),
            "allow_unknown_static_fields": source.allow_unknown,
            "log_level": level.unwrap_or_default(),
            "mode": "Serve",
            "drain_time": format!("{}s", options.drain_time.as_secs_f64()),
            "drain_strategy": "Immediate",
            "file_flush_interval": format!("{}s", options.file_flush_interval.as_secs_f64()),
            "disable_hot_restart": true,
            "restart_epoch": 0,
        },
        "node": node(served),
    }))
}

fn node(served: &Served) -> Value {
    let mut node = served.bootstrap().node.unwrap_or_default();
    let ours = user_agent();
    node.user_agent_name = ours.user_agent_name;
    node.user_agent_version_type = ours.user_agent_version_type;
    let text = message_to_json(&node, Layout::Compact, Secrets::Redact);
    let node = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    node.unwrap_or_else(|| json!({}))
}

/// What this program adds to the node of its bootstrap.
pub(super) fn user_agent() -> Node {
    let number = |text: &str| text.parse().unwrap_or_default();
    Node {
        user_agent_name: "fairlead-proxy".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(BuildVersion {
            version: Some(SemanticVersion {
                major_number: number(env!("CARGO_PKG_VERSION_MAJOR")),
                minor_number: number(env!("CARGO_PKG_VERSION_MINOR")),
                patch: number(env!("CARGO_PKG_VERSION_PATCH")),
            }),
            metadata: None,
        })),
        ..Node::default()
    }
}

/// `/memory`: what the kernel says, since the allocator does not count.
pub(super) fn memory() -> Response {
    let status = match fs::read_to_string("/proc/self/status") {
        Ok(status) => status,
        Err(error) => {
            let words = format!("read /proc/self/status: {error}\n");
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, words);
        }
    };
    let bytes = |name| size(&status, name).to_string();
    handler::json(&json!({
        "allocated": bytes("RssAnon"),
        "heap_size": bytes("VmData"),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": bytes("VmRSS"),
    }))
}

/// In bytes: a line such as `VmRSS:     1234 kB`.
fn size(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.strip_prefix(':')?.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0) * 1024
}

/// A profile of the CPU is taken from outside, so that nothing is paid for it here.
pub(super) fn cpu_profiler(parameters: &Parameters) -> Response {
    switch(
        parameters,
        "the process does not profile itself; from its node: perf record -g -p PID\n",
    )
}

/// As [`heap`].
pub(super) fn allocation_profiler(parameters: &Parameters) -> Response {
    switch(parameters, UNRECORDED)
}

/// All that would tell who allocates what.
pub(super) fn heap() -> Response {
    refuse(StatusCode::NOT_IMPLEMENTED, UNRECORDED)
}

fn switch(parameters: &Parameters, why: &str) -> Response {
    match parameters.get("enable").map(String::as_str) {
        Some("y" | "n") => refuse(StatusCode::NOT_IMPLEMENTED, why),
        _ => refuse(StatusCode::BAD_REQUEST, "?enable=<y|n>\n"),
    }
}

/// `/tap`
pub(super) fn tap() -> Response {
    refuse(
        StatusCode::NOT_IMPLEMENTED,
        "there is nothing to tap: requests are not looked into; access logs tell of connections\n",
    )
}

/// `/init_dump`: what is waited for before traffic is carried.
pub(super) fn init_dump(served: &Served) -> Response {
    let clusters = served.plane.clusters.load();
    let mut waiting: Vec<String> = clusters
        .values()
        .filter(|cluster| {
            let updates = cluster.statistics.updates.made();
            updates.is_some_and(|updates| updates.warming_state.value() > 0)
        })
        .map(|cluster| format!("cluster {}", cluster.config.name))
        .collect();
    if waiting.is_empty() {
        return handler::json(&json!({}));
    }
    waiting.sort();
    handler::json(&json!({
        "unready_targets_dumps": [{
            "name": "init manager clusters",
            "target_names": waiting,
        }],
    }))
}

/// `/contention`
pub(super) fn contention() -> Response {
    text(
        "Mutex contention is not traced: workers share no lock on the way of a connection's bytes.\n",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_by_their_whole_name() {
        let status = "Name:\tfairlead-proxy\nVmRSS:\t    1234 kB\nRssAnon:\t  10 kB\nVmData: x\n";
        for (name, expected) in [
            ("VmRSS", 1_263_616),
            ("RssAnon", 10_240),
            ("Vm", 0),
            ("VmData", 0),
        ] {
            assert_eq!(size(status, name), expected, "{name}");
        }
    }

    #[test]
    fn a_switch_wants_yes_or_no() {
        for (value, expected) in [
            (None, 400),
            (Some("x"), 400),
            (Some("y"), 501),
            (Some("n"), 501),
        ] {
            let value = value.map(|value: &str| ("enable".to_owned(), value.to_owned()));
            let parameters: Parameters = value.into_iter().collect();
            assert_eq!(cpu_profiler(&parameters).status(), expected);
            assert_eq!(allocation_profiler(&parameters).status(), expected);
        }
    }
}

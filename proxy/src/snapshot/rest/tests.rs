use fairlead_xds::{
    descriptors::MessageType,
    read::{Format, UnknownFields, read_message},
};

use super::*;
use crate::compile::Findings;

/// What is said of a field that is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Said {
    /// Nothing, as it is done, elsewhere if not here.
    Nothing,
    /// That it is not done.
    Unsupported,
    /// That it is not accepted.
    Fault,
}

use Said::{Fault, Nothing, Unsupported};

/// An extension: the name of its message, and its fields.
macro_rules! typed {
    ($kind:literal) => {
        typed!($kind, "")
    };
    ($kind:literal, $fields:literal) => {
        concat!(
            "{name: x, typed_config: {'@type': type.googleapis.com/",
            $kind,
            $fields,
            "}}"
        )
    };
}

const OTHER: &str = typed!("envoy.extensions.clusters.dns.v3.DnsCluster");
const FILE: &str = "{path_config_source: {path: /x}}";
const API: &str = "{api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: x}}]}";

/// Each field of the messages that a bootstrap is made of, a value for it, and what is said then.
const FIELDS: [(&str, &str, Said); 67] = [
    ("node", "{id: x}", Nothing),
    ("node_context_params", "[x]", Unsupported),
    ("static_resources.listeners", "[]", Nothing),
    ("static_resources.clusters", "[]", Nothing),
    ("static_resources.secrets", "[{name: x}]", Nothing),
    ("dynamic_resources.lds_config", FILE, Fault),
    ("dynamic_resources.lds_resources_locator", "x", Fault),
    ("dynamic_resources.cds_config", FILE, Fault),
    ("dynamic_resources.cds_resources_locator", "x", Fault),
    ("dynamic_resources.ads_config", API, Fault),
    ("cluster_manager.local_cluster_name", "x", Unsupported),
    (
        "cluster_manager.outlier_detection.event_log_path",
        "/x",
        Unsupported,
    ),
    (
        "cluster_manager.outlier_detection.event_service",
        "{grpc_service: {envoy_grpc: {cluster_name: x}}}",
        Unsupported,
    ),
    ("cluster_manager.upstream_bind_config", "{}", Nothing),
    ("cluster_manager.load_stats_config", API, Unsupported),
    (
        "cluster_manager.enable_deferred_cluster_creation",
        "true",
        Nothing,
    ),
    ("hds_config", API, Unsupported),
    ("flags_path", "/x", Unsupported),
    // Said where the end of intervals is looked at.
    ("stats_sinks", "[{name: x}]", Nothing),
    (
        "deferred_stat_options.enable_deferred_creation_stats",
        "true",
        Unsupported,
    ),
    ("stats_config", "{}", Nothing),
    ("stats_flush_interval", "1s", Nothing),
    ("stats_flush_on_admin", "true", Nothing),
    ("stats_eviction_interval", "1s", Nothing),
    ("watchdog", "{}", Unsupported),
    ("watchdogs", "{}", Unsupported),
    ("tracing", "{}", Unsupported),
    ("layered_runtime.layers[].name", "x", Nothing),
    ("layered_runtime.layers[].static_layer", "{}", Nothing),
    ("layered_runtime.layers[].disk_layer", "{}", Unsupported),
    ("layered_runtime.layers[].admin_layer", "{}", Nothing),
    ("layered_runtime.layers[].rtds_layer", "{}", Unsupported),
    ("admin.access_log", "[{name: x}]", Unsupported),
    ("admin.access_log_path", "/x", Unsupported),
    ("admin.profile_path", "/x", Unsupported),
    ("admin.address", "{pipe: {path: /x}}", Nothing),
    (
        "admin.socket_options",
        "[{level: 1, name: 2, int_value: 3}]",
        Fault,
    ),
    ("admin.ignore_global_conn_limit", "true", Nothing),
    ("admin.allow_paths", "[{exact: /ready}]", Fault),
    (
        "overload_manager",
        "{resource_monitors: [{name: x}]}",
        Nothing,
    ),
    ("enable_dispatcher_stats", "true", Unsupported),
    ("header_prefix", "x", Unsupported),
    ("stats_server_version_override", "7", Unsupported),
    ("use_tcp_for_dns_lookups", "true", Fault),
    (
        "dns_resolution_config",
        "{resolvers: [{socket_address: {address: 127.0.0.1, port_value: 53}}]}",
        Fault,
    ),
    (
        "typed_dns_resolver_config",
        typed!(
            "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            ", resolvers: [{socket_address: {address: 127.0.0.1, port_value: 53}}]"
        ),
        Fault,
    ),
    (
        "typed_dns_resolver_config",
        typed!(
            "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            ", query_tries: 2"
        ),
        Unsupported,
    ),
    (
        "typed_dns_resolver_config",
        typed!(
            "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            ", udp_max_queries: 100"
        ),
        Nothing,
    ),
    ("bootstrap_extensions[]", OTHER, Unsupported),
    ("fatal_actions", "[{}]", Unsupported),
    ("config_sources", "[{ads: {}}]", Unsupported),
    ("default_config_source", "{ads: {}}", Unsupported),
    ("default_socket_interface", KERNEL_SOCKETS, Nothing),
    ("default_socket_interface", "x", Unsupported),
    ("certificate_provider_instances.x", OTHER, Unsupported),
    ("inline_headers", "[{inline_header_name: x}]", Unsupported),
    ("perf_tracing_file_path", "/x", Unsupported),
    ("default_regex_engine", OTHER, Fault),
    (
        "default_regex_engine",
        typed!("envoy.extensions.regex_engines.v3.GoogleRE2"),
        Nothing,
    ),
    ("xds_delegate_extension", OTHER, Unsupported),
    ("xds_config_tracker_extension", OTHER, Unsupported),
    ("listener_manager", OTHER, Fault),
    (
        "listener_manager",
        typed!("envoy.config.bootstrap.v3.ListenerManager"),
        Nothing,
    ),
    (
        "application_log_config",
        "{log_format: {text_format: x}}",
        Unsupported,
    ),
    ("grpc_async_client_manager_config", "{}", Unsupported),
    ("memory_allocator_manager", "{}", Unsupported),
    ("enable_worker_cpu_affinity", "true", Unsupported),
];

/// The messages, and where they stand.
const MESSAGES: [(&str, &str); 9] = [
    ("", "Bootstrap"),
    ("static_resources.", "Bootstrap.StaticResources"),
    ("dynamic_resources.", "Bootstrap.DynamicResources"),
    ("deferred_stat_options.", "Bootstrap.DeferredStatOptions"),
    ("cluster_manager.", "ClusterManager"),
    (
        "cluster_manager.outlier_detection.",
        "ClusterManager.OutlierDetection",
    ),
    ("layered_runtime.", "LayeredRuntime"),
    ("layered_runtime.layers[].", "RuntimeLayer"),
    ("admin.", "Admin"),
];

/// The value at its place in the bootstrap.
fn text(path: &str, value: &str) -> String {
    let Some((first, rest)) = path.split_once('.') else {
        return match path.strip_suffix("[]") {
            Some(list) => format!("{{{list}: [{value}]}}"),
            None => format!("{{{path}: {value}}}"),
        };
    };
    match first.strip_suffix("[]") {
        // Layers have both.
        Some(list) if rest == "name" => {
            format!("{{{list}: [{{name: {value}, admin_layer: {{}}}}]}}")
        }
        Some(list) => format!("{{{list}: [{{name: x, {rest}: {value}}}]}}"),
        None => format!("{{{first}: {}}}", text(rest, value)),
    }
}

/// What is said of this field, given this value.
fn said(path: &str, value: &str) -> Result<Said, String> {
    let text = text(path, value);
    let read = read_message(text.as_bytes(), Format::Yaml, UnknownFields::Refuse);
    let bootstrap = read.map_err(|faults| format!("{faults:?}"))?.message;
    let findings = Findings::default();
    compile(&findings.at(""), &bootstrap);
    let (faults, unsupported) = (findings.faults(), findings.unsupported());
    for told in faults.iter().chain(&unsupported) {
        if !path.starts_with(&told.path.replace("[0]", "[]")) {
            return Err(format!("is told as {}", told.path));
        }
    }
    match (&*faults, &*unsupported) {
        ([], []) => Ok(Nothing),
        ([], [_]) => Ok(Unsupported),
        ([_], []) => Ok(Fault),
        _ => Err(format!("{faults:?} {unsupported:?}")),
    }
}

#[test]
fn each_field_of_a_bootstrap_is_done_or_told_or_refused() {
    let wrong: Vec<_> = FIELDS
        .into_iter()
        .map(|(path, value, expected)| (path, said(path, value), expected))
        .filter(|(_, said, expected)| said.as_ref() != Ok(expected))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_field_of_a_bootstrap_is_forgotten() {
    for (place, message) in MESSAGES {
        let name = format!("envoy.config.bootstrap.v3.{message}");
        let message = MessageType::named(&name).unwrap_or_else(|| panic!("{name} is not known"));
        for field in message.fields() {
            let path = format!("{place}{}", field.name());
            let has_row = FIELDS.iter().any(|(known, ..)| {
                let rest = known.strip_prefix(&*path);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            });
            assert!(has_row, "nothing is said of {path}");
        }
    }
}

//! What a bootstrap asks for beside listeners and clusters: told where it is not done, and refused where
//! traffic or operators would miss what they were promised.

use fairlead_xds::envoy::config::{
    bootstrap::v3::{
        Admin, Bootstrap, ClusterManager, LayeredRuntime, RuntimeLayer,
        bootstrap::{DeferredStatOptions, DynamicResources},
        cluster_manager::OutlierDetection,
        runtime_layer::LayerSpecifier,
    },
    core::v3::TypedExtensionConfig,
};

use crate::{compile::At, dns::settings::Servers};

/// What Envoy calls the sockets of the kernel.
const KERNEL_SOCKETS: &str = "envoy.extensions.network.socket_interface.default_socket_interface";

const NO_SERVER: &str = "is not done: no server is asked for configuration";
const NO_HTTP: &str = "is not done: connections are not looked into for HTTP";
const NO_WATCHDOG: &str = "there is no watchdog: a worker that panics ends the process";

/// Looks at all that nothing else looks at.
#[expect(
    deprecated,
    reason = "each field is looked at, so that none is ignored unseen"
)]
pub(super) fn compile(at: &At<'_>, bootstrap: &Bootstrap) {
    let Bootstrap {
        // Compiled elsewhere, by whoever needs them.
        node: _,
        static_resources: _,
        overload_manager: _,
        stats_config: _,
        stats_flush_interval: _,
        stats_flush: _,
        stats_eviction: _,
        stats_sinks: _,
        node_context_params,
        dynamic_resources,
        cluster_manager,
        hds_config,
        flags_path,
        deferred_stat_options,
        watchdog,
        watchdogs,
        tracing,
        layered_runtime,
        admin,
        enable_dispatcher_stats,
        header_prefix,
        stats_server_version_override,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        typed_dns_resolver_config,
        bootstrap_extensions,
        fatal_actions,
        config_sources,
        default_config_source,
        default_socket_interface,
        certificate_provider_instances,
        inline_headers,
        perf_tracing_file_path,
        default_regex_engine,
        xds_delegate_extension,
        xds_config_tracker_extension,
        listener_manager,
        application_log_config,
        grpc_async_client_manager_config,
        memory_allocator_manager,
        enable_worker_cpu_affinity,
    } = bootstrap;
    let deferred = deferred_stat_options.as_ref();
    let deferred = deferred.is_some_and(
        |DeferredStatOptions {
             enable_deferred_creation_stats,
         }| *enable_deferred_creation_stats,
    );
    let other_sockets =
        !default_socket_interface.is_empty() && default_socket_interface != KERNEL_SOCKETS;
    tell(
        at,
        [
            (
                "node_context_params",
                !node_context_params.is_empty(),
                NO_SERVER,
            ),
            (
                "hds_config",
                hds_config.is_some(),
                "is not done: no server is told the health of endpoints",
            ),
            (
                "flags_path",
                !flags_path.is_empty(),
                "is not read: POST /healthcheck/fail has the process drain",
            ),
            (
                "deferred_stat_options",
                deferred,
                "is not done: statistics are there as soon as what they are of",
            ),
            ("watchdog", watchdog.is_some(), NO_WATCHDOG),
            ("watchdogs", watchdogs.is_some(), NO_WATCHDOG),
            ("tracing", tracing.is_some(), NO_HTTP),
            (
                "enable_dispatcher_stats",
                *enable_dispatcher_stats,
                "is not done: there are no dispatchers",
            ),
            ("header_prefix", !header_prefix.is_empty(), NO_HTTP),
            (
                "stats_server_version_override",
                stats_server_version_override.is_some(),
                "is not done: server.version is this program's",
            ),
            ("config_sources", !config_sources.is_empty(), NO_SERVER),
            (
                "default_config_source",
                default_config_source.is_some(),
                NO_SERVER,
            ),
            (
                "default_socket_interface",
                other_sockets,
                "is not there: sockets are the kernel's",
            ),
            (
                "certificate_provider_instances",
                !certificate_provider_instances.is_empty(),
                "is not supported: name certificates in the transport sockets",
            ),
            ("inline_headers", !inline_headers.is_empty(), NO_HTTP),
            (
                "perf_tracing_file_path",
                !perf_tracing_file_path.is_empty(),
                "is not written: the process does not profile itself",
            ),
            (
                "xds_delegate_extension",
                xds_delegate_extension.is_some(),
                NO_SERVER,
            ),
            (
                "xds_config_tracker_extension",
                xds_config_tracker_extension.is_some(),
                NO_SERVER,
            ),
            (
                "application_log_config",
                application_log_config.is_some(),
                "is not done: the log of the process keeps its form",
            ),
            (
                "grpc_async_client_manager_config",
                grpc_async_client_manager_config.is_some(),
                "is not done: there is no client of gRPC to keep",
            ),
            (
                "memory_allocator_manager",
                memory_allocator_manager.is_some(),
                "is not done: the allocator gives memory back by itself",
            ),
            (
                "enable_worker_cpu_affinity",
                *enable_worker_cpu_affinity,
                "is not done: the kernel chooses the processors of workers",
            ),
        ],
    );
    for (index, extension) in bootstrap_extensions.iter().enumerate() {
        let at = at.field("bootstrap_extensions").index(index);
        at.unsupported(format!("the extension {} is not there", kind(extension)));
    }
    if !fatal_actions.is_empty() {
        at.field("fatal_actions").unsupported("are not taken");
    }
    if let Some(engine) = default_regex_engine
        && kind(engine) != "envoy.extensions.regex_engines.v3.GoogleRE2"
    {
        at.field("default_regex_engine").fault::<()>(format!(
            "{} is not supported: regular expressions are those of RE2",
            kind(engine)
        ));
    }
    if let Some(manager) = listener_manager
        && kind(manager).rsplit('.').next() != Some("ListenerManager")
    {
        at.field("listener_manager").fault::<()>(format!(
            "{} is not supported: listeners have sockets",
            kind(manager)
        ));
    }
    let resolver = typed_dns_resolver_config.as_ref();
    let resolution = dns_resolution_config.as_ref();
    Servers::refuse_for_all(at, resolver, resolution, *use_tcp_for_dns_lookups);
    if let Some(dynamic) = dynamic_resources {
        refuse_dynamic(&at.field("dynamic_resources"), dynamic);
    }
    if let Some(manager) = cluster_manager {
        of_clusters(&at.field("cluster_manager"), manager);
    }
    if let Some(LayeredRuntime { layers }) = layered_runtime {
        let at = at.field("layered_runtime").field("layers");
        for (index, layer) in layers.iter().enumerate() {
            of_runtime(&at.index(index), layer);
        }
    }
    if let Some(admin) = admin {
        of_admin(&at.field("admin"), admin);
    }
}

/// The fields that are given and not done, and what to say of each.
fn tell<const N: usize>(at: &At<'_>, fields: [(&str, bool, &str); N]) {
    for (field, given, words) in fields {
        if given {
            at.field(field).unsupported(words);
        }
    }
}

/// The name of the message that configures it.
fn kind(extension: &TypedExtensionConfig) -> &str {
    let any = extension.typed_config.as_ref();
    let kind = any.and_then(|any| any.type_url.rsplit('/').next());
    kind.unwrap_or(&extension.name)
}

/// Listeners, clusters and policies would be missing.
fn refuse_dynamic(at: &At<'_>, message: &DynamicResources) {
    let DynamicResources {
        lds_config,
        lds_resources_locator,
        cds_config,
        cds_resources_locator,
        ads_config,
    } = message;
    for (field, is_there) in [
        ("lds_config", lds_config.is_some()),
        ("lds_resources_locator", !lds_resources_locator.is_empty()),
        ("cds_config", cds_config.is_some()),
        ("cds_resources_locator", !cds_resources_locator.is_empty()),
        ("ads_config", ads_config.is_some()),
    ] {
        if is_there {
            at.field(field)
                .fault::<()>("is not supported: say all in static_resources");
        }
    }
}

fn of_clusters(at: &At<'_>, message: &ClusterManager) {
    let ClusterManager {
        local_cluster_name,
        outlier_detection,
        // Compiled with each cluster.
        upstream_bind_config: _,
        load_stats_config,
        // What a cluster takes before it is used is little.
        enable_deferred_cluster_creation: _,
    } = message;
    tell(
        at,
        [
            (
                "local_cluster_name",
                !local_cluster_name.is_empty(),
                "is not done: endpoints of the own zone are not preferred",
            ),
            (
                "load_stats_config",
                load_stats_config.is_some(),
                "is not done: no server is told of loads; scrape /stats/prometheus",
            ),
        ],
    );
    if let Some(OutlierDetection {
        event_log_path,
        event_service,
    }) = outlier_detection
    {
        let words = "is not done: ejections are counted, not told";
        tell(
            &at.field("outlier_detection"),
            [
                ("event_log_path", !event_log_path.is_empty(), words),
                ("event_service", event_service.is_some(), words),
            ],
        );
    }
}

fn of_runtime(at: &At<'_>, message: &RuntimeLayer) {
    let RuntimeLayer {
        name: _,
        layer_specifier,
    } = message;
    match layer_specifier {
        // An override is answered with why nothing would follow it.
        Some(LayerSpecifier::StaticLayer(_) | LayerSpecifier::AdminLayer(_)) | None => {}
        Some(LayerSpecifier::DiskLayer(_)) => at
            .field("disk_layer")
            .unsupported("is not read: values are those of static layers"),
        Some(LayerSpecifier::RtdsLayer(_)) => at
            .field("rtds_layer")
            .unsupported("is not asked for: values are those of static layers"),
    }
}

#[expect(deprecated, reason = "what is deprecated is still written")]
fn of_admin(at: &At<'_>, message: &Admin) {
    let Admin {
        // Read by whoever listens there.
        address: _,
        access_log,
        access_log_path,
        profile_path,
        socket_options,
        // Its connections count nowhere.
        ignore_global_conn_limit: _,
        allow_paths,
    } = message;
    let unlogged = "is not done: who asks the admin port is not logged";
    tell(
        at,
        [
            ("access_log", !access_log.is_empty(), unlogged),
            ("access_log_path", !access_log_path.is_empty(), unlogged),
            (
                "profile_path",
                !profile_path.is_empty(),
                "is not written: the process does not profile itself",
            ),
        ],
    );
    // Either may keep somebody away.
    for (field, is_there) in [
        ("socket_options", !socket_options.is_empty()),
        ("allow_paths", !allow_paths.is_empty()),
    ] {
        if is_there {
            at.field(field).fault::<()>(
                "is not supported: bind the admin address where only operators reach it",
            );
        }
    }
}

#[cfg(test)]
mod tests;

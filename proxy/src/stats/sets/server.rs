//! The process.

use crate::stats::set::statistics;

statistics! {
    /// The server.
    pub struct ServerStatistics {
        shared_counter debug_assertion_failures,
        shared_counter dropped_stat_flushes,
        shared_counter dynamic_unknown_fields,
        shared_counter envoy_bug_failures,
        shared_counter envoy_notifications,
        shared_counter static_unknown_fields,
        shared_counter wip_protos,
        level fips_mode = "compilation_settings.fips_mode",
        level concurrency,
        level days_until_first_cert_expiring,
        level hot_restart_epoch,
        level live,
        level memory_allocated,
        level memory_heap_size,
        level memory_physical_size,
        level parent_connections,
        level seconds_until_first_ocsp_response_expiring,
        level state,
        level stats_recent_lookups,
        level total_connections,
        level uptime,
        level version,
        /// Only one thread may record it.
        histogram initialization_time_ms,
    }
}

statistics! {
    /// All clusters.
    pub struct ClusterManagerStatistics {
        shared_counter cluster_added,
        shared_counter cluster_modified,
        shared_counter cluster_removed,
        shared_counter cluster_updated,
        shared_counter cluster_updated_via_merge,
        shared_counter update_merge_cancelled,
        shared_counter update_out_of_merge_window,
        level active_clusters,
        level warming_clusters,
    }
}

statistics! {
    /// A secret.
    pub struct SecretStatistics {
        shared_counter init_fetch_timeout,
        shared_counter key_rotation_failed,
        shared_counter update_attempt,
        shared_counter update_failure,
        shared_counter update_rejected,
        shared_counter update_success,
        level update_time,
        level version,
        text version_text,
        /// In milliseconds. Only one thread may record it.
        histogram update_duration,
    }
}

statistics! {
    /// The runtime's values.
    pub struct RuntimeStatistics {
        shared_counter deprecated_feature_use,
        shared_counter load_error,
        shared_counter load_success,
        shared_counter override_dir_exists,
        shared_counter override_dir_not_exists,
        level admin_overrides_active,
        level deprecated_feature_seen_since_process_start,
        level num_keys,
        level num_layers,
    }
}

statistics! {
    /// Files that are written, as the access log.
    pub struct FilesystemStatistics {
        shared_counter flushed_by_timer,
        shared_counter reopen_failed,
        shared_counter write_buffered,
        shared_counter write_completed,
        shared_counter write_failed,
        level write_total_buffered,
    }
}

//! Listeners.

use crate::stats::set::statistics;

statistics! {
    /// A listener, on each worker.
    pub struct ListenerStatistics {
        /// Accepting failed, because no descriptor was to be had; it is tried again.
        rare_counter downstream_cx_accept_failed,
        counter downstream_cx_destroy,
        counter downstream_cx_overflow,
        counter downstream_cx_overload_reject,
        counter downstream_cx_total,
        counter downstream_cx_transport_socket_connect_timeout,
        counter downstream_global_cx_overflow,
        counter downstream_listener_filter_error,
        counter downstream_listener_filter_remote_close,
        counter downstream_pre_cx_timeout,
        counter extension_config_missing,
        counter network_extension_config_missing,
        counter no_filter_chain_match,
        gauge downstream_cx_active,
        gauge downstream_pre_cx_active,
        histogram connections_accepted_per_socket_event,
        histogram downstream_cx_length_ms,
    }
}

statistics! {
    /// A listener on one worker.
    pub struct ListenerWorkerStatistics {
        counter downstream_cx_total,
        gauge downstream_cx_active,
    }
}

statistics! {
    /// All listeners.
    pub struct ListenerManagerStatistics {
        shared_counter listener_added,
        shared_counter listener_create_failure,
        shared_counter listener_create_success,
        shared_counter listener_in_place_updated,
        shared_counter listener_modified,
        shared_counter listener_removed,
        shared_counter listener_stopped,
        level total_filter_chains_draining,
        level total_listeners_active,
        level total_listeners_draining,
        level total_listeners_warming,
        level workers_pinned,
        level workers_started,
    }
}

//! Clusters.

use crate::stats::set::{Asked, Part, PerWorker, Shared, statistics};

/// A cluster. What it does not use takes no memory.
#[derive(Debug, Default)]
pub struct ClusterStatistics {
    /// Connections.
    pub connections: PerWorker<ConnectionStatistics>,
    /// HTTP requests.
    pub requests: PerWorker<RequestStatistics>,
    /// The choice of endpoints.
    pub load_balancing: PerWorker<LoadBalancingStatistics>,
    /// Endpoints.
    pub membership: Shared<MembershipStatistics>,
    /// Where the endpoints come from.
    pub updates: Shared<UpdateStatistics>,
    /// Circuit breakers.
    pub circuit_breakers: Asked<CircuitBreakerStatistics>,
}

impl crate::stats::Group for ClusterStatistics {
    fn parts(&self) -> impl Iterator<Item = &dyn Part> {
        let Self {
            connections,
            requests,
            load_balancing,
            membership,
            updates,
            circuit_breakers,
        } = self;
        let parts: [&dyn Part; 6] = [
            connections,
            requests,
            load_balancing,
            membership,
            updates,
            circuit_breakers,
        ];
        parts.into_iter()
    }
}

statistics! {
    /// Connections of a cluster, on each worker.
    pub struct ConnectionStatistics {
        counter bind_errors,
        counter original_dst_host_invalid,
        counter upstream_cx_connect_attempts_exceeded,
        counter upstream_cx_connect_fail,
        counter upstream_cx_connect_timeout,
        counter upstream_cx_destroy,
        counter upstream_cx_destroy_local,
        counter upstream_cx_destroy_local_with_active_rq,
        counter upstream_cx_destroy_remote,
        counter upstream_cx_destroy_remote_with_active_rq,
        counter upstream_cx_destroy_with_active_rq,
        counter upstream_cx_idle_timeout,
        counter upstream_cx_max_duration_reached,
        counter upstream_cx_max_requests,
        counter upstream_cx_none_healthy,
        counter upstream_cx_overflow,
        counter upstream_cx_pool_overflow,
        counter upstream_cx_preconnect_skipped,
        counter upstream_cx_rx_bytes_total,
        counter upstream_cx_total,
        counter upstream_cx_tx_bytes_total,
        counter upstream_flow_control_backed_up_total,
        counter upstream_flow_control_drained_total,
        counter upstream_flow_control_paused_reading_total,
        counter upstream_flow_control_resumed_reading_total,
        counter upstream_rq_cancelled,
        counter upstream_rq_pending_failure_eject,
        counter upstream_rq_pending_overflow,
        counter upstream_rq_pending_total,
        counter upstream_rq_total,
        gauge upstream_cx_active,
        gauge upstream_cx_rx_bytes_buffered,
        gauge upstream_cx_tx_bytes_buffered,
        gauge upstream_rq_active,
        gauge upstream_rq_pending_active,
        histogram upstream_cx_connect_ms,
        histogram upstream_cx_length_ms,
        histogram upstream_rq_per_cx,
    }
}

statistics! {
    /// HTTP requests of a cluster, on each worker.
    pub struct RequestStatistics {
        counter retry_or_shadow_abandoned,
        counter upstream_cx_close_notify,
        counter upstream_cx_connect_with_0_rtt,
        counter upstream_cx_http1_total,
        counter upstream_cx_http2_total,
        counter upstream_cx_http3_total,
        counter upstream_cx_protocol_error,
        counter upstream_http3_broken,
        counter upstream_internal_redirect_failed_total,
        counter upstream_internal_redirect_succeeded_total,
        counter upstream_rq_0rtt,
        counter upstream_rq_active_overflow,
        counter upstream_rq_completed,
        counter upstream_rq_maintenance_mode,
        counter upstream_rq_max_duration_reached,
        counter upstream_rq_per_try_idle_timeout,
        counter upstream_rq_per_try_timeout,
        counter upstream_rq_retry,
        counter upstream_rq_retry_backoff_exponential,
        counter upstream_rq_retry_backoff_ratelimited,
        counter upstream_rq_retry_limit_exceeded,
        counter upstream_rq_retry_overflow,
        counter upstream_rq_retry_success,
        counter upstream_rq_rx_reset,
        counter upstream_rq_rx_reset_no_error,
        counter upstream_rq_timeout,
        counter upstream_rq_tx_reset,
        gauge upstream_queue_overloaded,
    }
}

statistics! {
    /// The choice of endpoints, on each worker.
    pub struct LoadBalancingStatistics {
        counter lb_healthy_panic,
        counter lb_local_cluster_not_ok,
        counter lb_subsets_fallback,
        counter lb_subsets_fallback_panic,
        counter lb_subsets_selected,
        counter lb_zone_cluster_too_small,
        counter lb_zone_no_capacity_left,
        counter lb_zone_routing_all_directly,
        counter lb_zone_routing_cross_zone,
        counter lb_zone_routing_sampled,
    }
}

statistics! {
    /// The endpoints of a cluster.
    pub struct MembershipStatistics {
        shared_counter membership_change,
        level max_host_weight,
        level membership_degraded,
        level membership_excluded,
        level membership_healthy,
        level membership_total,
    }
}

statistics! {
    /// Where the endpoints of a cluster come from, DNS or EDS, and how they are arranged.
    pub struct UpdateStatistics {
        shared_counter assignment_stale,
        shared_counter assignment_timeout_received,
        shared_counter assignment_use_cached,
        shared_counter lb_recalculate_zone_structures,
        shared_counter lb_subsets_created,
        shared_counter lb_subsets_removed,
        shared_counter update_attempt,
        shared_counter update_empty,
        shared_counter update_failure,
        shared_counter update_no_rebuild,
        shared_counter update_success,
        level lb_subsets_active,
        level version,
        level warming_state,
    }
}

statistics! {
    /// What a cluster of the type EDS has besides.
    pub struct SubscriptionStatistics {
        shared_counter init_fetch_timeout,
        shared_counter update_rejected,
        level update_time,
        text version_text,
        /// In milliseconds. Only one thread may record it.
        histogram update_duration,
    }
}

statistics! {
    /// Which circuit breakers of a cluster are open.
    pub struct CircuitBreakerStatistics {
        level default_cx_open = "circuit_breakers.default.cx_open",
        level default_cx_pool_open = "circuit_breakers.default.cx_pool_open",
        level default_rq_open = "circuit_breakers.default.rq_open",
        level default_rq_pending_open = "circuit_breakers.default.rq_pending_open",
        level default_rq_retry_open = "circuit_breakers.default.rq_retry_open",
        level high_cx_open = "circuit_breakers.high.cx_open",
        level high_cx_pool_open = "circuit_breakers.high.cx_pool_open",
        level high_rq_open = "circuit_breakers.high.rq_open",
        level high_rq_pending_open = "circuit_breakers.high.rq_pending_open",
        level high_rq_retry_open = "circuit_breakers.high.rq_retry_open",
    }
}

statistics! {
    /// What circuit breakers still let through, of clusters with `track_remaining`.
    pub struct RemainingStatistics {
        level remaining_cx,
        level remaining_cx_pools,
        level remaining_pending,
        level remaining_retries,
        level remaining_rq,
    }
}

statistics! {
    /// Active health checks.
    pub struct HealthCheckStatistics {
        shared_counter attempt,
        shared_counter failure,
        shared_counter network_failure,
        shared_counter passive_failure,
        shared_counter success,
        shared_counter verify_cluster,
        level degraded,
        level healthy,
    }
}

statistics! {
    /// Outlier detection.
    pub struct OutlierDetectionStatistics {
        shared_counter ejections_consecutive_5xx,
        shared_counter ejections_detected_consecutive_5xx,
        shared_counter ejections_detected_consecutive_gateway_failure,
        shared_counter ejections_detected_consecutive_local_origin_failure,
        shared_counter ejections_detected_degradation,
        shared_counter ejections_detected_failure_percentage,
        shared_counter ejections_detected_local_origin_failure_percentage,
        shared_counter ejections_detected_local_origin_success_rate,
        shared_counter ejections_detected_success_rate,
        shared_counter ejections_enforced_consecutive_5xx,
        shared_counter ejections_enforced_consecutive_gateway_failure,
        shared_counter ejections_enforced_consecutive_local_origin_failure,
        shared_counter ejections_enforced_failure_percentage,
        shared_counter ejections_enforced_local_origin_failure_percentage,
        shared_counter ejections_enforced_local_origin_success_rate,
        shared_counter ejections_enforced_success_rate,
        shared_counter ejections_enforced_total,
        shared_counter ejections_overflow,
        shared_counter ejections_success_rate,
        shared_counter ejections_total,
        level ejections_active,
    }
}

statistics! {
    /// The ring of `RING_HASH`.
    pub struct RingHashStatistics {
        level max_hashes_per_host,
        level min_hashes_per_host,
        level size,
    }
}

statistics! {
    /// The table of `MAGLEV`.
    pub struct MaglevStatistics {
        level max_entries_per_host,
        level min_entries_per_host,
    }
}

statistics! {
    /// Endpoints that a transport socket match was chosen for.
    pub struct TransportSocketMatchStatistics {
        shared_counter total_match_count,
    }
}

//! Listener filters and network filters, on each worker.

use crate::stats::set::statistics;

statistics! {
    /// `tcp_proxy`
    pub struct TcpProxyStatistics {
        counter downstream_cx_drain_close,
        counter downstream_cx_no_route,
        counter downstream_cx_overload_close,
        counter downstream_cx_rx_bytes_total,
        counter downstream_cx_total,
        counter downstream_cx_tx_bytes_total,
        counter downstream_flow_control_paused_reading_total,
        counter downstream_flow_control_resumed_reading_total,
        counter early_data_received_count_total,
        counter idle_timeout,
        counter max_downstream_connection_duration,
        counter route_delayed_total,
        counter upstream_flush_total,
        gauge downstream_cx_rx_bytes_buffered,
        gauge downstream_cx_tx_bytes_buffered,
        gauge upstream_flush_active,
    }
}

statistics! {
    /// The rules of `rbac`.
    pub struct RbacStatistics {
        counter allowed,
        counter denied,
    }
}

statistics! {
    /// The shadow rules of `rbac`.
    pub struct ShadowRbacStatistics {
        counter shadow_allowed,
        counter shadow_denied,
    }
}

statistics! {
    /// `connection_limit`
    pub struct ConnectionLimitStatistics {
        counter limited_connections,
        gauge active_connections,
    }
}

statistics! {
    /// `local_ratelimit`
    pub struct LocalRateLimitStatistics {
        counter rate_limited,
    }
}

statistics! {
    /// `tls_inspector`
    pub struct TlsInspectorStatistics {
        counter alpn_found,
        counter alpn_not_found,
        counter client_hello_too_large,
        counter sni_found,
        counter sni_not_found,
        counter tls_found,
        counter tls_not_found,
        histogram bytes_processed,
    }
}

statistics! {
    /// `http_inspector`
    pub struct HttpInspectorStatistics {
        counter http10_found,
        counter http11_found,
        counter http2_found,
        counter http_not_found,
        counter read_error,
    }
}

statistics! {
    /// `proxy_protocol`, where there is no header.
    pub struct ProxyProtocolStatistics {
        counter not_found_allowed,
        counter not_found_disallowed,
    }
}

statistics! {
    /// `proxy_protocol`, connections that it ended.
    pub struct ProxyProtocolErrorStatistics {
        counter downstream_cx_proxy_proto_error = "error",
    }
}

statistics! {
    /// `proxy_protocol`, headers of one version.
    pub struct ProxyProtocolVersionStatistics {
        counter disallowed,
        counter error,
        counter found,
    }
}

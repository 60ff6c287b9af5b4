//! The statistics of network filters, by Envoy's names.

/// What becomes of a statistic as it is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It grows and shrinks.
    Gauge,
}

/// The statistics of one kind of filter. `self as usize` numbers them as [`Self::ALL`] does.
pub trait FilterStatistic: Copy + Sized + 'static {
    /// Each of them.
    const ALL: &'static [Self];

    /// The last part of its name.
    fn as_str(self) -> &'static str;

    /// Whether it shrinks.
    fn kind(self) -> Kind;
}

/// An enum of statistics with their names.
macro_rules! statistics {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $kind:ident $text:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl FilterStatistic for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            fn kind(self) -> Kind {
                match self {
                    $(Self::$variant => Kind::$kind,)+
                }
            }
        }
    };
}

statistics! {
    /// Below `tcp.<stat_prefix>.`
    TcpProxyStatistic {
        /// Connections that the filter took.
        DownstreamCxTotal = Counter "downstream_cx_total",
        /// Connections closed because their listener drains.
        DownstreamCxDrainClose = Counter "downstream_cx_drain_close",
        /// Connections whose cluster there is not.
        DownstreamCxNoRoute = Counter "downstream_cx_no_route",
        /// Connections closed because the proxy has more than it can bear.
        DownstreamCxOverloadClose = Counter "downstream_cx_overload_close",
        /// Bytes from the downstream.
        DownstreamCxRxBytesTotal = Counter "downstream_cx_rx_bytes_total",
        /// Bytes from the downstream that are not passed on yet.
        DownstreamCxRxBytesBuffered = Gauge "downstream_cx_rx_bytes_buffered",
        /// Bytes to the downstream.
        DownstreamCxTxBytesTotal = Counter "downstream_cx_tx_bytes_total",
        /// Bytes to the downstream that it has not taken yet.
        DownstreamCxTxBytesBuffered = Gauge "downstream_cx_tx_bytes_buffered",
        /// How often the downstream was not read because the upstream took no more.
        DownstreamFlowControlPausedReadingTotal = Counter "downstream_flow_control_paused_reading_total",
        /// How often it was read again.
        DownstreamFlowControlResumedReadingTotal = Counter "downstream_flow_control_resumed_reading_total",
        /// Connections with data before there was an upstream connection.
        EarlyDataReceivedCountTotal = Counter "early_data_received_count_total",
        /// Connections closed because nothing was sent for long.
        IdleTimeout = Counter "idle_timeout",
        /// Connections closed because they were as old as they may become.
        MaxDownstreamConnectionDuration = Counter "max_downstream_connection_duration",
        /// Connections that waited for what their cluster is chosen by.
        RouteDelayedTotal = Counter "route_delayed_total",
        /// Connections whose upstream was still sent data after the downstream was closed.
        UpstreamFlushTotal = Counter "upstream_flush_total",
        /// Such connections now.
        UpstreamFlushActive = Gauge "upstream_flush_active",
    }
}

statistics! {
    /// Below `<stat_prefix>.rbac.`; those of the shadow rules below the prefix of these, if they
    /// have one.
    RbacStatistic {
        /// Connections that may go on.
        Allowed = Counter "allowed",
        /// Connections that may not go on.
        Denied = Counter "denied",
        /// Connections that the shadow rules would let go on.
        ShadowAllowed = Counter "shadow_allowed",
        /// Connections that the shadow rules would not let go on.
        ShadowDenied = Counter "shadow_denied",
    }
}

statistics! {
    /// Below `connection_limit.<stat_prefix>.`
    ConnectionLimitStatistic {
        /// Connections refused because there were as many as there may be.
        LimitedConnections = Counter "limited_connections",
        /// Connections now, also those that are refused and not closed yet.
        ActiveConnections = Gauge "active_connections",
    }
}

statistics! {
    /// Below `local_rate_limit.<stat_prefix>.`
    LocalRateLimitStatistic {
        /// Connections refused because they came too fast.
        RateLimited = Counter "rate_limited",
    }
}

/// The parts of a name, with a dot between each two.
pub(super) fn joined<const N: usize>(parts: [&str; N]) -> String {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    // Envoy, too, takes a dot at the end of a prefix for the one that it would put there.
    let parts: Vec<_> = parts
        .map(|part| part.strip_suffix('.').unwrap_or(part))
        .collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<S: FilterStatistic + PartialEq + std::fmt::Debug>(count: usize) {
        assert_eq!(S::ALL.len(), count);
        for (index, statistic) in S::ALL.iter().enumerate() {
            let others = &S::ALL[index + 1..];
            assert!(
                !others
                    .iter()
                    .any(|other| other.as_str() == statistic.as_str())
            );
        }
    }

    #[test]
    fn each_statistic_has_its_own_name() {
        check::<TcpProxyStatistic>(16);
        check::<RbacStatistic>(4);
        check::<ConnectionLimitStatistic>(2);
        check::<LocalRateLimitStatistic>(1);
        assert_eq!(TcpProxyStatistic::UpstreamFlushActive.kind(), Kind::Gauge);
        assert_eq!(TcpProxyStatistic::UpstreamFlushTotal.kind(), Kind::Counter);
    }

    #[test]
    fn a_prefix_may_end_with_its_dot() {
        assert_eq!(joined(["a", "rbac", "", "x"]), "a.rbac.x");
        assert_eq!(joined(["a.", "rbac", "shadow.", "x"]), "a.rbac.shadow.x");
    }
}

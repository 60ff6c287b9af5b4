//! Configurations that nobody in their right mind would write.

use proptest::prelude::*;

use super::*;

fn a_type() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 9] = [
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
        "envoy.extensions.filters.network.direct_response.v3.Config",
        "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
        "envoy.extensions.filters.network.postgres_proxy.v3alpha.PostgresProxy",
        "envoy.extensions.filters.network.rbac.v3.RBAC",
        "envoy.extensions.filters.network.set_filter_state.v3.Config",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "udpa.type.v1.TypedStruct",
        "xds.type.v3.TypedStruct",
    ];
    prop_oneof![
        8 => prop::sample::select(&KNOWN[..]).prop_map(str::to_owned),
        1 => ".{0,8}",
    ]
}

fn a_time() -> impl Strategy<Value = Option<Duration>> {
    const EDGES: [i64; 7] = [
        i64::MIN,
        -1,
        0,
        1,
        315_576_000_000,
        315_576_000_001,
        i64::MAX,
    ];
    let nanos = prop_oneof![Just(0), Just(1_000_000), Just(999_999_999), any::<i32>()];
    let time = (prop::sample::select(&EDGES[..]), nanos);
    prop::option::of(time.prop_map(|(seconds, nanos)| Duration { seconds, nanos }))
}

proptest! {
    #[test]
    fn bytes_of_any_kind_are_a_fault_or_a_filter(
        type_name in a_type(),
        value in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let any = Any { value, ..of_type(&type_name) };
        let (compiled, faults, _) = run(&[filter(any), tcp_proxy()]);
        prop_assert_eq!(compiled.is_none(), !faults.is_empty());
    }

    #[test]
    fn a_bucket_of_any_size_gives_no_more_than_it_holds(
        max_tokens in prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>()],
        tokens_per_fill in prop_oneof![Just(1), Just(u32::MAX), any::<u32>()],
        fill_interval in a_time(),
        later in 0..u64::from(u32::MAX),
    ) {
        let message = LocalRateLimitMessage {
            stat_prefix: "p".to_owned(),
            token_bucket: Some(TokenBucket {
                max_tokens,
                tokens_per_fill: Some(UInt32Value { value: tokens_per_fill }),
                fill_interval,
            }),
            ..LocalRateLimitMessage::default()
        };
        let (compiled, faults, _) = run(&[filter(packed(&message)), tcp_proxy()]);
        prop_assert_eq!(compiled.is_none(), !faults.is_empty());
        let filters = compiled.map(|compiled| compiled.filters);
        if let Some([NetworkFilter::LocalRateLimit(limit)]) = filters.as_deref() {
            let later = Instant::now() + std::time::Duration::from_millis(later);
            prop_assert_eq!(limit.admits(later), max_tokens > 0);
        }
    }

    #[test]
    fn times_of_any_kind_are_a_fault_or_a_limit(
        limit in a_time(),
        interval in a_time(),
        percentage in prop_oneof![0.0..=100.0, any::<f64>()],
        random in any::<u64>(),
        pauses_before in any::<u32>(),
    ) {
        let message = TcpProxyMessage {
            stat_prefix: "p".to_owned(),
            cluster_specifier: Some(ClusterSpecifier::Cluster("c".to_owned())),
            backoff_options: interval.map(|_| BackoffStrategy {
                base_interval: interval,
                max_interval: None,
            }),
            max_downstream_connection_duration: limit,
            max_downstream_connection_duration_jitter_percentage: Some(Percent { value: percentage }),
            ..TcpProxyMessage::default()
        };
        let (compiled, faults, _) = run(&[filter(packed(&message))]);
        prop_assert_eq!(compiled.is_none(), !faults.is_empty());
        if let Some(TerminalFilter::TcpProxy(proxy)) = compiled.and_then(|compiled| compiled.terminal) {
            let duration = proxy.max_downstream_connection_duration(random);
            prop_assert_eq!(duration.is_some(), limit.is_some());
            let pause = proxy.backoff.map(|backoff| backoff.pause(pauses_before, random));
            prop_assert_eq!(pause.is_some(), interval.is_some());
        }
    }
}

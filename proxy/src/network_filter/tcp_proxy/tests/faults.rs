//! What is asked for in vain, and what is left undone.

use super::*;

#[expect(deprecated, reason = "what Envoy still reads is read")]
#[test]
fn each_fault_is_told() {
    let message = Message {
        on_demand: Some(OnDemand {
            odcds_config: Some(ConfigSource::default()),
            ..OnDemand::default()
        }),
        idle_timeout: millis(-1000),
        access_log: vec![AccessLog::default()],
        max_connect_attempts: Some(UInt32Value { value: 0 }),
        backoff_options: Some(BackoffStrategy {
            base_interval: None,
            max_interval: millis(0),
        }),
        hash_policy: vec![HashPolicy::default()],
        tunneling_config: Some(TunnelingConfig::default()),
        max_downstream_connection_duration: millis(0),
        max_downstream_connection_duration_jitter_percentage: Some(Percent { value: f64::NAN }),
        access_log_flush_interval: millis(0),
        proxy_protocol_tlv_merge_policy: 9,
        upstream_connect_mode: 9,
        max_early_data_bytes: Some(UInt32Value { value: 1_048_577 }),
        ..Message::default()
    };
    check_faults(
        &message,
        &[
            "x.tunneling_config: is not supported yet",
            "x.on_demand.odcds_config: is not supported: the cluster must be configured",
            "x.proxy_protocol_tlv_merge_policy: 9 is no policy",
            "x.upstream_connect_mode: 9 is no mode",
            "x.max_early_data_bytes: must be at most 1048576",
            "x.idle_timeout: -1 s and 0 ns are no time span",
            "x.backoff_options.base_interval: is missing",
            "x.backoff_options.max_interval: must be at least 1 ms",
            "x.stat_prefix: is empty",
            "x.cluster_specifier: is missing",
            "x.max_connect_attempts: must be at least 1",
            "x.access_log[0]: has no name",
            "x.access_log_flush_interval: must be at least 1 ms",
            "x.hash_policy[0].policy_specifier: is missing",
            "x.max_downstream_connection_duration: must be at least 1 ms",
            "x.max_downstream_connection_duration_jitter_percentage: NaN is no percentage from 0 to 100",
        ],
    );
}

#[test]
fn each_fault_of_a_list_is_told() {
    let none = weights(&[]);
    let unsound = weights(&[("a", 1), ("", 0)]);
    for (specifier, faults) in [
        (none, &["x.weighted_clusters.clusters: is empty"][..]),
        (
            unsound,
            &[
                "x.weighted_clusters.clusters[1].name: is empty",
                "x.weighted_clusters.clusters[1].weight: must be at least 1",
            ],
        ),
    ] {
        let message = Message {
            cluster_specifier: specifier,
            ..message()
        };
        check_faults(&message, faults);
    }
    let state = HashPolicy {
        policy_specifier: Some(PolicySpecifier::FilterState(FilterState::default())),
    };
    for (hash_policy, fault) in [
        (
            vec![state.clone()],
            "x.hash_policy[0].filter_state.key: is empty",
        ),
        (
            vec![state.clone(), state],
            "x.hash_policy: must be one at most",
        ),
    ] {
        let message = Message {
            hash_policy,
            ..message()
        };
        check_faults(&message, &[fault]);
    }
    let options = Message {
        access_log_options: Some(TcpAccessLogOptions {
            access_log_flush_interval: millis(0),
            ..TcpAccessLogOptions::default()
        }),
        ..message()
    };
    let fault = "x.access_log_options.access_log_flush_interval: must be at least 1 ms";
    check_faults(&options, &[fault]);
    let backoff = Message {
        backoff_options: Some(BackoffStrategy {
            base_interval: millis(2),
            max_interval: millis(1),
        }),
        ..message()
    };
    let fault = "x.backoff_options.max_interval: must not be shorter than base_interval";
    check_faults(&backoff, &[fault]);
    let mode = Message {
        upstream_connect_mode: UpstreamConnectMode::OnDownstreamData.into(),
        ..message()
    };
    let fault =
        "x.max_early_data_bytes: is missing, and the connect mode that is asked for needs it";
    check_faults(&mode, &[fault]);
}

#[test]
fn what_enforces_nothing_is_left_undone_and_told() {
    let message = Message {
        downstream_idle_timeout: millis(1),
        upstream_idle_timeout: millis(1),
        proxy_protocol_tlvs: vec![TlvEntry::default()],
        upstream_connect_mode: UpstreamConnectMode::OnDownstreamTlsHandshake.into(),
        max_early_data_bytes: Some(UInt32Value { value: 0 }),
        hash_policy: vec![HashPolicy {
            policy_specifier: Some(PolicySpecifier::FilterState(FilterState {
                key: "key".to_owned(),
            })),
        }],
        on_demand: Some(OnDemand::default()),
        ..message()
    };
    let findings = Findings::default();
    assert!(TcpProxy::compile(&findings.at("x"), &message, logs).is_some());
    assert_eq!(findings.faults(), []);
    let told: Vec<_> = findings
        .unsupported()
        .into_iter()
        .map(|told| told.path)
        .collect();
    assert_eq!(
        told,
        [
            "x.downstream_idle_timeout",
            "x.upstream_idle_timeout",
            "x.proxy_protocol_tlvs",
            "x.upstream_connect_mode",
            "x.max_early_data_bytes",
            "x.hash_policy[0].filter_state",
        ]
    );
}

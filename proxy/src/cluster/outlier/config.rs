//! What is detected, compiled from `envoy.config.cluster.v3.OutlierDetection`.

use std::time::Duration;

use fairlead_xds::{
    envoy::config::cluster::v3::OutlierDetection,
    google::protobuf::{self, UInt32Value},
};

use super::Kind;
use crate::compile::At;

/// What is detected, and what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierConfig {
    /// The time between two sweeps.
    pub interval: Duration,
    /// How long an endpoint is ejected for the first time.
    pub base_ejection_time: Duration,
    /// How long at most.
    pub max_ejection_time: Duration,
    /// How much longer by chance.
    pub max_ejection_time_jitter: Duration,
    /// The percentage of endpoints that may be ejected.
    pub max_ejection_percent: u32,
    /// One may be ejected whatever the percentage.
    pub always_eject_one_host: bool,
    /// An active health check that succeeds ends an ejection.
    pub successful_active_health_check_uneject_host: bool,
    /// Failures to reach an endpoint are told apart from its own.
    pub split_external_local_origin_errors: bool,
    /// So many failures in a row; 0 for never.
    pub consecutive_5xx: u32,
    /// So many failures of what it passed on, in a row; 0 for never.
    pub consecutive_gateway_failure: u32,
    /// So many failures to reach it, in a row; 0 for never.
    pub consecutive_local_origin_failure: u32,
    /// The least endpoints whose success is compared.
    pub success_rate_minimum_hosts: u32,
    /// The least outcomes of an endpoint whose success is compared.
    pub success_rate_request_volume: u32,
    /// So many thousandths of the standard deviation are too far from the mean.
    pub success_rate_stdev_factor: u32,
    /// The percentage of failures that is too much.
    pub failure_percentage_threshold: u32,
    /// The least endpoints whose failures are looked at.
    pub failure_percentage_minimum_hosts: u32,
    /// The least outcomes of an endpoint whose failures are looked at.
    pub failure_percentage_request_volume: u32,
    /// How many in a hundred outliers are ejected, by [`Kind`].
    pub(super) enforcing: [u8; 7],
}

impl OutlierConfig {
    /// What the message asks for.
    pub fn compile(at: &At<'_>, message: &OutlierDetection) -> Option<Self> {
        let OutlierDetection {
            consecutive_5xx,
            interval,
            base_ejection_time,
            max_ejection_percent,
            enforcing_consecutive_5xx,
            enforcing_success_rate,
            success_rate_minimum_hosts,
            success_rate_request_volume,
            success_rate_stdev_factor,
            consecutive_gateway_failure,
            enforcing_consecutive_gateway_failure,
            split_external_local_origin_errors,
            consecutive_local_origin_failure,
            enforcing_consecutive_local_origin_failure,
            enforcing_local_origin_success_rate,
            failure_percentage_threshold,
            enforcing_failure_percentage,
            enforcing_failure_percentage_local_origin,
            failure_percentage_minimum_hosts,
            failure_percentage_request_volume,
            max_ejection_time,
            max_ejection_time_jitter,
            successful_active_health_check_uneject_host,
            monitors,
            always_eject_one_host,
            detect_degraded_hosts,
        } = message;
        if !monitors.is_empty() {
            at.field("monitors")
                .unsupported("other monitors than Envoy's own are not known");
        }
        if detect_degraded_hosts.is_some_and(|detect| detect.value) {
            at.field("detect_degraded_hosts")
                .unsupported("answers do not tell that an endpoint is degraded");
        }
        let percent = |name: &str, value: &Option<UInt32Value>, otherwise: u8| {
            let value = value.map_or(u32::from(otherwise), |value| value.value);
            match u8::try_from(value) {
                Ok(percent) if percent <= 100 => Some(percent),
                _ => at.field(name).fault(format!("{value} is more than 100")),
            }
        };
        let span = |name: &str, value: &Option<protobuf::Duration>| -> Option<Option<Duration>> {
            let Some(protobuf::Duration { seconds, nanos }) = *value else {
                return Some(None);
            };
            match (u64::try_from(seconds), u32::try_from(nanos)) {
                (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
                    Some(Some(Duration::new(seconds, nanos)))
                }
                _ => at
                    .field(name)
                    .fault(format!("{seconds} s and {nanos} ns are no time span")),
            }
        };
        let positive = |name: &str, value: &Option<protobuf::Duration>| match span(name, value)? {
            Some(Duration::ZERO) => at.field(name).fault("must be greater than 0"),
            span => Some(span),
        };
        let number = |value: &Option<UInt32Value>, otherwise| {
            value.map_or(otherwise, |value: UInt32Value| value.value)
        };
        let interval = positive("interval", interval);
        let base = positive("base_ejection_time", base_ejection_time);
        let most = positive("max_ejection_time", max_ejection_time);
        let jitter = span("max_ejection_time_jitter", max_ejection_time_jitter);
        let max_ejection_percent = percent("max_ejection_percent", max_ejection_percent, 10);
        let threshold = percent(
            "failure_percentage_threshold",
            failure_percentage_threshold,
            85,
        );
        // In the order of the kinds.
        let enforcing = [
            percent("enforcing_consecutive_5xx", enforcing_consecutive_5xx, 100),
            percent(
                "enforcing_consecutive_gateway_failure",
                enforcing_consecutive_gateway_failure,
                0,
            ),
            percent(
                "enforcing_consecutive_local_origin_failure",
                enforcing_consecutive_local_origin_failure,
                100,
            ),
            percent("enforcing_success_rate", enforcing_success_rate, 100),
            percent(
                "enforcing_local_origin_success_rate",
                enforcing_local_origin_success_rate,
                100,
            ),
            percent(
                "enforcing_failure_percentage",
                enforcing_failure_percentage,
                0,
            ),
            percent(
                "enforcing_failure_percentage_local_origin",
                enforcing_failure_percentage_local_origin,
                0,
            ),
        ];
        let base = base?.unwrap_or(Duration::from_secs(30));
        let most = match most? {
            None => base.max(Duration::from_secs(300)),
            Some(most) if most < base => {
                return at.field("max_ejection_time").fault(format!(
                    "{most:?} is less than base_ejection_time, which is {base:?}"
                ));
            }
            Some(most) => most,
        };
        let [
            c5xx,
            gateway,
            local,
            rate,
            local_rate,
            failures,
            local_failures,
        ] = enforcing;
        Some(Self {
            interval: interval?.unwrap_or(Duration::from_secs(10)),
            base_ejection_time: base,
            max_ejection_time: most,
            max_ejection_time_jitter: jitter?.unwrap_or_default(),
            max_ejection_percent: u32::from(max_ejection_percent?),
            always_eject_one_host: always_eject_one_host.is_some_and(|always| always.value),
            successful_active_health_check_uneject_host:
                successful_active_health_check_uneject_host.is_none_or(|uneject| uneject.value),
            split_external_local_origin_errors: *split_external_local_origin_errors,
            consecutive_5xx: number(consecutive_5xx, 5),
            consecutive_gateway_failure: number(consecutive_gateway_failure, 5),
            consecutive_local_origin_failure: number(consecutive_local_origin_failure, 5),
            success_rate_minimum_hosts: number(success_rate_minimum_hosts, 5),
            success_rate_request_volume: number(success_rate_request_volume, 100),
            success_rate_stdev_factor: number(success_rate_stdev_factor, 1900),
            failure_percentage_threshold: u32::from(threshold?),
            failure_percentage_minimum_hosts: number(failure_percentage_minimum_hosts, 5),
            failure_percentage_request_volume: number(failure_percentage_request_volume, 50),
            enforcing: [
                c5xx?,
                gateway?,
                local?,
                rate?,
                local_rate?,
                failures?,
                local_failures?,
            ],
        })
    }

    /// How many in a hundred outliers of that kind are ejected.
    pub fn enforcing(&self, kind: Kind) -> u32 {
        u32::from(self.enforcing[kind as usize])
    }
}

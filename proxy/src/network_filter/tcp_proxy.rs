//! The filter that passes bytes between the downstream and an endpoint of a cluster.

mod access_log_options;
mod backoff;
mod clusters;
mod duration_limit;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use fairlead_xds::{
    envoy::{
        config::accesslog::v3::AccessLog,
        extensions::filters::network::tcp_proxy::v3::{
            ProxyProtocolTlvMergePolicy, TcpProxy as Message, UpstreamConnectMode,
            tcp_proxy::OnDemand,
        },
        r#type::v3::{HashPolicy, hash_policy::PolicySpecifier},
    },
    google::protobuf::{self, BoolValue, UInt32Value},
};
use twox_hash::XxHash64;

use self::duration_limit::DurationLimit;
pub use self::{
    access_log_options::AccessLogOptions,
    backoff::Backoff,
    clusters::{ClusterChoice, Clusters},
};
use super::{
    field,
    statistics::{FilterStatistic, TcpProxyStatistic, joined},
};
use crate::compile::At;

/// Long enough for pools of databases, short enough that lost connections are found.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// What Envoy allows to be held of the downstream's first bytes.
const MOST_EARLY_DATA_BYTES: u32 = 1_048_576;

/// `envoy.filters.network.tcp_proxy`, with its access logs as `L`.
#[derive(Clone, Debug)]
pub struct TcpProxy<L> {
    stat_prefix: Box<str>,
    clusters: Clusters,
    /// After how long without a byte in either direction a connection is closed; none for never.
    pub idle_timeout: Option<Duration>,
    /// How many upstream connections are tried before giving up.
    pub max_connect_attempts: NonZeroU32,
    /// The pauses between these; none for no pause.
    pub backoff: Option<Backoff>,
    /// Where a connection is logged.
    pub access_log: L,
    /// When a connection is logged, besides at its end.
    pub access_log_options: AccessLogOptions,
    hashes_source_ip: bool,
    max_downstream_connection_duration: Option<DurationLimit>,
    /// Whether a connection is closed, after what was written, when its listener drains.
    pub check_drain_close: bool,
}

impl<L> TcpProxy<L> {
    /// The filter that the message asks for, with each access log compiled as it is said.
    pub fn compile(
        at: &At<'_>,
        message: &Message,
        access_log: impl Fn(&At<'_>, &[AccessLog]) -> Option<L>,
    ) -> Option<Self> {
        refuse(at, message);
        let idle_timeout = match message.idle_timeout {
            Some(timeout) => field::duration(&at.field("idle_timeout"), timeout),
            None => Some(DEFAULT_IDLE_TIMEOUT),
        };
        let backoff = match &message.backoff_options {
            Some(options) => Backoff::compile(&at.field("backoff_options"), options).map(Some),
            None => Some(None),
        };
        let stat_prefix = field::stat_prefix(at, &message.stat_prefix);
        let clusters = Clusters::compile(at, message);
        let max_connect_attempts = attempts(at, message.max_connect_attempts);
        let access_log = access_log(&at.field("access_log"), &message.access_log);
        let access_log_options = AccessLogOptions::compile(at, message);
        let hashes_source_ip = hash_policy(at, &message.hash_policy);
        let duration_limit = DurationLimit::compile(at, message);
        Some(Self {
            stat_prefix: stat_prefix?,
            clusters: clusters?,
            idle_timeout: idle_timeout.map(|timeout| (!timeout.is_zero()).then_some(timeout))?,
            max_connect_attempts: max_connect_attempts?,
            backoff: backoff?,
            access_log: access_log?,
            access_log_options: access_log_options?,
            hashes_source_ip: hashes_source_ip?,
            max_downstream_connection_duration: duration_limit?,
            check_drain_close: message
                .check_drain_close
                .is_some_and(|BoolValue { value }| value),
        })
    }

    /// All that a connection may be sent to.
    pub fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    /// Where a connection is sent, by a random number and by what a filter before this one said.
    pub fn cluster<'a>(&'a self, of_filter: Option<&'a str>, random: u64) -> ClusterChoice<'a> {
        self.clusters.choose(of_filter, random)
    }

    /// What balancers that hash are to go by; none for anything.
    ///
    /// It is Envoy's hash of the address as text, so that both choose the same endpoint.
    pub fn hash(&self, source: IpAddr) -> Option<u64> {
        let hash = || XxHash64::oneshot(0, source.to_canonical().to_string().as_bytes());
        self.hashes_source_ip.then(hash)
    }

    /// How old a connection may become, by a random number; none for any age.
    pub fn max_downstream_connection_duration(&self, random: u64) -> Option<Duration> {
        let limit = self.max_downstream_connection_duration?;
        Some(limit.with_jitter(random))
    }

    /// What its statistics are called by.
    pub fn stat_prefix(&self) -> &str {
        &self.stat_prefix
    }

    /// The whole name of a statistic.
    pub fn statistic_name(&self, statistic: TcpProxyStatistic) -> String {
        joined(["tcp", &self.stat_prefix, statistic.as_str()])
    }
}

fn attempts(at: &At<'_>, asked: Option<UInt32Value>) -> Option<NonZeroU32> {
    let Some(UInt32Value { value }) = asked else {
        return Some(NonZeroU32::MIN);
    };
    let at = at.field("max_connect_attempts");
    NonZeroU32::new(value).or_else(|| at.fault("must be at least 1"))
}

/// Whether the source's address is what balancers hash.
fn hash_policy(at: &At<'_>, policies: &[HashPolicy]) -> Option<bool> {
    if policies.len() > 1 {
        return at.field("hash_policy").fault("must be one at most");
    }
    let hashed = at.each("hash_policy", policies, |at, policy| {
        let HashPolicy { policy_specifier } = policy;
        match at.required("policy_specifier", policy_specifier.as_ref())? {
            PolicySpecifier::SourceIp(_) => Some(true),
            PolicySpecifier::FilterState(state) => {
                let at = at.field("filter_state");
                if state.key.is_empty() {
                    return at.field("key").fault("is empty");
                }
                at.unsupported("there is no filter state: endpoints are chosen without a hash");
                Some(false)
            }
        }
    });
    (hashed.len() == policies.len()).then(|| hashed.contains(&true))
}

/// Tells what the message asks for and is not done. It names each field, so that a new one is noticed.
#[expect(deprecated, reason = "what Envoy still reads is read")]
fn refuse(at: &At<'_>, message: &Message) {
    let Message {
        on_demand,
        downstream_idle_timeout,
        upstream_idle_timeout,
        tunneling_config,
        proxy_protocol_tlvs,
        proxy_protocol_tlv_merge_policy,
        upstream_connect_mode,
        max_early_data_bytes,
        // The others are compiled.
        stat_prefix: _,
        cluster_specifier: _,
        metadata_match: _,
        idle_timeout: _,
        access_log: _,
        max_connect_attempts: _,
        backoff_options: _,
        hash_policy: _,
        max_downstream_connection_duration: _,
        max_downstream_connection_duration_jitter_percentage: _,
        access_log_flush_interval: _,
        flush_access_log_on_connected: _,
        access_log_options: _,
        check_drain_close: _,
    } = message;
    if tunneling_config.is_some() {
        let at = at.field("tunneling_config");
        at.fault::<()>("is not supported yet");
    }
    if let Some(OnDemand {
        odcds_config: Some(_),
        // Envoy does not read them.
        resources_locator: _,
        timeout: _,
    }) = on_demand
    {
        let at = at.field("on_demand").field("odcds_config");
        at.fault::<()>("is not supported: the cluster must be configured");
    }
    let idle_timeouts = [
        ("downstream_idle_timeout", downstream_idle_timeout),
        ("upstream_idle_timeout", upstream_idle_timeout),
    ];
    for (name, timeout) in idle_timeouts {
        if let Some(protobuf::Duration { .. }) = timeout {
            let at = at.field(name);
            at.unsupported("is not done, as in Envoy: idle_timeout is");
        }
    }
    if !proxy_protocol_tlvs.is_empty() {
        at.field("proxy_protocol_tlvs").unsupported("are not sent");
    }
    if ProxyProtocolTlvMergePolicy::try_from(*proxy_protocol_tlv_merge_policy).is_err() {
        let at = at.field("proxy_protocol_tlv_merge_policy");
        at.fault::<()>(format!("{proxy_protocol_tlv_merge_policy} is no policy"));
    }
    connect_mode(at, *upstream_connect_mode, *max_early_data_bytes);
}

fn connect_mode(at: &At<'_>, mode: i32, early: Option<UInt32Value>) {
    let at_early = at.field("max_early_data_bytes");
    let at = at.field("upstream_connect_mode");
    match UpstreamConnectMode::try_from(mode) {
        Ok(UpstreamConnectMode::Immediate) => {}
        Ok(_) if early.is_none() => {
            at_early.fault::<()>("is missing, and the connect mode that is asked for needs it");
        }
        Ok(mode) => at.unsupported(format!(
            "{} is not done: the upstream is connected to immediately",
            mode.as_str_name()
        )),
        Err(_) => {
            at.fault::<()>(format!("{mode} is no mode"));
        }
    }
    match early {
        Some(UInt32Value { value }) if value > MOST_EARLY_DATA_BYTES => {
            at_early.fault::<()>(format!("must be at most {MOST_EARLY_DATA_BYTES}"));
        }
        Some(_) => at_early.unsupported("the downstream is read once the upstream is connected"),
        None => {}
    }
}

//! Which connections get a line (`envoy.config.accesslog.v3.AccessLogFilter`).
//!
//! A TCP connection has no response code, no headers and no trace: filters on these decide as Envoy
//! does where there are none.

mod header;
mod metadata;

use fairlead_xds::envoy::{
    config::accesslog::v3::{
        AccessLogFilter, AndFilter, ComparisonFilter, DurationFilter, GrpcStatusFilter,
        HeaderFilter, LogTypeFilter, OrFilter, ResponseFlagFilter, RuntimeFilter, StatusCodeFilter,
        access_log_filter::FilterSpecifier, comparison_filter::Op, grpc_status_filter::Status,
    },
    data::accesslog::v3::AccessLogType,
    r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
};
use fastrand::Rng;

use self::metadata::MetadataFilter;
use super::{Fields, LogType};
use crate::{
    compile::At,
    ending::{ResponseFlag, ResponseFlags},
};

/// Decides whether a connection gets a line.
#[derive(Debug)]
pub enum Filter {
    /// The same for each connection.
    Constant(bool),
    /// By how long it lasted.
    Duration(Comparison),
    /// By chance: so many of so many.
    Chance {
        /// Of the denominator.
        numerator: u32,
        /// All.
        denominator: u32,
    },
    /// By what went wrong.
    Flags(ResponseFlags),
    /// By what filters said of it.
    Metadata(Box<MetadataFilter>),
    /// By when the line is due.
    LogType {
        /// These.
        types: Box<[LogType]>,
        /// Whether all but these are meant.
        exclude: bool,
    },
    /// All of them agree.
    And(Box<[Filter]>),
    /// One of them agrees.
    Or(Box<[Filter]>),
}

/// A comparison with a number.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    op: Op,
    value: u32,
}

impl Comparison {
    fn compile(at: &At<'_>, message: Option<&ComparisonFilter>) -> Option<Self> {
        let ComparisonFilter { op, value } = at.required("comparison", message)?;
        let at = at.field("comparison");
        let op = Op::try_from(*op).map_or_else(|_| at.field("op").fault("is no comparison"), Some);
        // There is no runtime to override the value.
        let value = at
            .required("value", value.as_ref())
            .map(|value| value.default_value);
        Some(Self {
            op: op?,
            value: value?,
        })
    }

    fn holds(self, number: u128) -> bool {
        let value = u128::from(self.value);
        match self.op {
            Op::Eq => number == value,
            Op::Ge => number >= value,
            Op::Le => number <= value,
            Op::Ne => number != value,
        }
    }
}

impl Filter {
    /// The filter that the message asks for.
    pub fn compile(at: &At<'_>, message: &AccessLogFilter) -> Option<Self> {
        let AccessLogFilter { filter_specifier } = message;
        match at.required("filter_specifier", filter_specifier.as_ref())? {
            FilterSpecifier::StatusCodeFilter(StatusCodeFilter { comparison }) => {
                let comparison =
                    Comparison::compile(&at.field("status_code_filter"), comparison.as_ref())?;
                Some(Self::Constant(comparison.holds(0)))
            }
            FilterSpecifier::DurationFilter(DurationFilter { comparison }) => {
                Comparison::compile(&at.field("duration_filter"), comparison.as_ref())
                    .map(Self::Duration)
            }
            FilterSpecifier::NotHealthCheckFilter(_) => Some(Self::Constant(true)),
            FilterSpecifier::TraceableFilter(_) => Some(Self::Constant(false)),
            FilterSpecifier::RuntimeFilter(filter) => chance(&at.field("runtime_filter"), filter),
            FilterSpecifier::AndFilter(AndFilter { filters }) => {
                several(&at.field("and_filter"), filters).map(Self::And)
            }
            FilterSpecifier::OrFilter(OrFilter { filters }) => {
                several(&at.field("or_filter"), filters).map(Self::Or)
            }
            FilterSpecifier::HeaderFilter(HeaderFilter { header }) => {
                let at = at.field("header_filter");
                let header = at.required("header", header.as_ref())?;
                header::matches_none(&at.field("header"), header).map(Self::Constant)
            }
            FilterSpecifier::ResponseFlagFilter(filter) => {
                flags(&at.field("response_flag_filter"), filter).map(Self::Flags)
            }
            FilterSpecifier::GrpcStatusFilter(filter) => {
                grpc_status(&at.field("grpc_status_filter"), filter).map(Self::Constant)
            }
            FilterSpecifier::ExtensionFilter(filter) => at
                .field("extension_filter")
                .fault(format!("the filter '{}' is not supported", filter.name)),
            FilterSpecifier::MetadataFilter(filter) => {
                MetadataFilter::compile(&at.field("metadata_filter"), filter)
                    .map(|filter| Self::Metadata(filter.into()))
            }
            FilterSpecifier::LogTypeFilter(filter) => {
                log_type(&at.field("log_type_filter"), filter)
            }
        }
    }

    /// Whether the connection gets a line.
    pub fn accepts(&self, fields: &Fields<'_>, rng: &mut Rng) -> bool {
        match self {
            Self::Constant(accepts) => *accepts,
            Self::Duration(comparison) => comparison.holds(fields.duration.as_millis()),
            Self::Chance {
                numerator,
                denominator,
            } => rng.u32(..*denominator) < *numerator,
            Self::Flags(flags) => fields.flags.intersects(*flags),
            Self::Metadata(filter) => filter.accepts(fields),
            Self::LogType { types, exclude } => types.contains(&fields.log_type) != *exclude,
            Self::And(filters) => filters.iter().all(|filter| filter.accepts(fields, rng)),
            Self::Or(filters) => filters.iter().any(|filter| filter.accepts(fields, rng)),
        }
    }
}

fn several(at: &At<'_>, filters: &[AccessLogFilter]) -> Option<Box<[Filter]>> {
    if filters.len() < 2 {
        return at.field("filters").fault("needs two filters or more");
    }
    let compiled = at.each("filters", filters, Filter::compile);
    // Each that is missing has told of its fault.
    (compiled.len() == filters.len()).then(|| compiled.into())
}

fn chance(at: &At<'_>, filter: &RuntimeFilter) -> Option<Filter> {
    // There is no runtime to override the share, and no request to take the chance from.
    let RuntimeFilter {
        runtime_key,
        percent_sampled,
        use_independent_randomness: _,
    } = filter;
    if runtime_key.is_empty() {
        return at.field("runtime_key").fault("is empty");
    }
    let Some(FractionalPercent {
        numerator,
        denominator,
    }) = *percent_sampled
    else {
        return Some(Filter::Constant(false));
    };
    let denominator = match DenominatorType::try_from(denominator) {
        Ok(DenominatorType::Hundred) => 100,
        Ok(DenominatorType::TenThousand) => 10_000,
        Ok(DenominatorType::Million) => 1_000_000,
        Err(_) => {
            return at
                .field("percent_sampled.denominator")
                .fault("is no denominator");
        }
    };
    Some(Filter::Chance {
        numerator,
        denominator,
    })
}

fn flags(at: &At<'_>, filter: &ResponseFlagFilter) -> Option<ResponseFlags> {
    let ResponseFlagFilter { flags } = filter;
    if flags.is_empty() {
        return Some(ResponseFlags::ALL);
    }
    let known = at.each("flags", flags, |at, flag| {
        match ResponseFlag::from_short(flag) {
            Some(flag) => Some(flag),
            None => at.fault(format!(
                "'{flag}' is no response flag; they are {}",
                ResponseFlags::ALL
            )),
        }
    });
    (known.len() == flags.len()).then(|| known.into_iter().collect())
}

/// What ends without a status has the status `UNKNOWN`.
fn grpc_status(at: &At<'_>, filter: &GrpcStatusFilter) -> Option<bool> {
    let GrpcStatusFilter { statuses, exclude } = filter;
    let known = at.each("statuses", statuses, |at, status| {
        Status::try_from(*status).map_or_else(|_| at.fault("is no gRPC status"), Some)
    });
    (known.len() == statuses.len()).then(|| known.contains(&Status::Unknown) != *exclude)
}

fn log_type(at: &At<'_>, filter: &LogTypeFilter) -> Option<Filter> {
    let LogTypeFilter { types, exclude } = filter;
    let known = at.each("types", types, |at, log_type| {
        AccessLogType::try_from(*log_type).map_or_else(
            |_| at.fault("is no type of access log"),
            |log_type| Some(of_tcp(log_type)),
        )
    });
    (known.len() == types.len()).then(|| Filter::LogType {
        types: known.into_iter().flatten().collect(),
        exclude: *exclude,
    })
}

/// None for a type that no TCP connection has.
fn of_tcp(log_type: AccessLogType) -> Option<LogType> {
    match log_type {
        AccessLogType::NotSet => Some(LogType::NotSet),
        AccessLogType::TcpUpstreamConnected => Some(LogType::TcpUpstreamConnected),
        AccessLogType::TcpPeriodic => Some(LogType::TcpPeriodic),
        AccessLogType::TcpConnectionStart => Some(LogType::TcpConnectionStart),
        AccessLogType::TcpConnectionEnd => Some(LogType::TcpConnectionEnd),
        AccessLogType::DownstreamStart
        | AccessLogType::DownstreamPeriodic
        | AccessLogType::DownstreamEnd
        | AccessLogType::UpstreamPoolReady
        | AccessLogType::UpstreamPeriodic
        | AccessLogType::UpstreamEnd
        | AccessLogType::DownstreamTunnelSuccessfullyEstablished
        | AccessLogType::UdpTunnelUpstreamConnected
        | AccessLogType::UdpPeriodic
        | AccessLogType::UdpSessionEnd => None,
    }
}

#[cfg(test)]
mod tests;

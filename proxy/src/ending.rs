//! How a connection ended: the cause, its response flag, its token and its words.
//!
//! The log, the access log and the statistics all take theirs from an [`Ending`], so they agree.

mod response_flag;

use std::{fmt, io, net::SocketAddr, time::Duration};

pub use self::response_flag::{ResponseFlag, ResponseFlags};
use crate::{
    connect::ConnectError,
    destination::NotRedirected,
    tcp::Side,
    tls::{PlaintextRefused, TlsError},
};

/// How a connection ended.
#[derive(Debug)]
pub enum Ending {
    /// Each side said that it has no more to send, and everything was passed on.
    Completed {
        /// Who said so last.
        last: Side,
    },
    /// The connection has no destination but the proxy itself.
    NotRedirected(NotRedirected),
    /// What comes before the choice of a filter chain failed.
    NotInspected {
        /// Who had connected.
        downstream: SocketAddr,
        /// In words.
        reason: Box<str>,
    },
    /// No filter chain of the listener matches.
    NoFilterChain {
        /// The listener.
        listener: Box<str>,
        /// Where the connection was going.
        destination: SocketAddr,
    },
    /// The downstream could not be spoken TLS with.
    DownstreamTls(Box<TlsError>),
    /// A filter before the last ended the connection.
    Refused(Refusal),
    /// There is no cluster of that name.
    NoCluster(Box<str>),
    /// The cluster has no endpoint to connect to.
    NoEndpoint(Box<str>),
    /// The cluster is used as much as it may be.
    Overflow(Box<str>),
    /// The upstream could not be reached.
    ConnectFailed(ConnectError),
    /// The upstream could not be spoken TLS with.
    UpstreamTls(Box<TlsError>),
    /// The downstream was reset while the upstream connection was being made.
    GaveUp {
        /// Where the connection was to go.
        upstream: SocketAddr,
    },
    /// The upstream broke.
    UpstreamBroke {
        /// Where the connection went.
        upstream: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The upstream ended the connection, as far as it shows because it takes no plaintext.
    PlaintextRefused {
        /// Where the connection went.
        upstream: SocketAddr,
        /// How it shows.
        refused: PlaintextRefused,
        /// Who was done last; or what the kernel said, if the upstream broke.
        end: Result<Side, io::Error>,
    },
    /// The downstream broke.
    DownstreamBroke {
        /// Who had connected.
        downstream: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Nothing was sent for too long.
    Idle(Duration),
    /// It was as old as it may become.
    Expired(Duration),
    /// Its endpoint turned unhealthy, by health checks or outlier detection.
    Unhealthy(SocketAddr),
    /// Its listener or filter chain is not configured any more.
    Drained,
    /// The proxy ended with the connection still open.
    Cut,
}

/// Why a filter ended a connection.
#[derive(Debug)]
pub enum Refusal {
    /// No policy allows it, or one denies it.
    Denied {
        /// Envoy's termination details: they name the policy.
        details: String,
        /// In words.
        words: String,
    },
    /// There are as many connections as there may be.
    OverConnectionLimit,
    /// They come too fast.
    RateLimited,
    /// The chain has no filter that takes a connection.
    NoFilters,
}

impl Ending {
    /// Envoy's flags.
    pub fn flags(&self) -> ResponseFlags {
        Self::flags_with(self.flag())
    }

    /// The flag, and what Envoy always adds to it.
    pub fn flags_with(flag: Option<ResponseFlag>) -> ResponseFlags {
        let mut flags = ResponseFlags::from(flag);
        if flag == Some(ResponseFlag::UpstreamConnectionFailure) {
            flags.insert(ResponseFlag::UpstreamRetryLimitExceeded);
        }
        flags
    }

    /// Envoy's flag; none for a connection that ended well, and for some that did not.
    pub fn flag(&self) -> Option<ResponseFlag> {
        match self {
            Self::Completed { .. }
            | Self::NotInspected { .. }
            | Self::DownstreamTls(_)
            | Self::DownstreamBroke { .. }
            | Self::Idle(_)
            | Self::Unhealthy(_)
            | Self::Drained
            | Self::Refused(
                Refusal::Denied { .. } | Refusal::OverConnectionLimit | Refusal::NoFilters,
            ) => None,
            Self::NoFilterChain { .. } => Some(ResponseFlag::NoRouteFound),
            Self::NoCluster(_) => Some(ResponseFlag::NoClusterFound),
            Self::NotRedirected(_) | Self::NoEndpoint(_) => Some(ResponseFlag::NoHealthyUpstream),
            Self::Overflow(_) => Some(ResponseFlag::UpstreamOverflow),
            Self::ConnectFailed(_) | Self::UpstreamTls(_) => {
                Some(ResponseFlag::UpstreamConnectionFailure)
            }
            Self::Refused(Refusal::RateLimited) => Some(ResponseFlag::UpstreamRetryLimitExceeded),
            Self::UpstreamBroke { source, .. }
            | Self::PlaintextRefused {
                end: Err(source), ..
            } => Some(match source.kind() {
                io::ErrorKind::ConnectionReset => ResponseFlag::UpstreamRemoteReset,
                _ => ResponseFlag::UpstreamConnectionTermination,
            }),
            Self::PlaintextRefused { refused, .. } => (*refused == PlaintextRefused::Alert)
                .then_some(ResponseFlag::UpstreamConnectionTermination),
            Self::GaveUp { .. } => Some(ResponseFlag::DownstreamConnectionTermination),
            Self::Expired(_) => Some(ResponseFlag::DurationTimeout),
            Self::Cut => Some(ResponseFlag::LocalReset),
        }
    }

    /// One token, for machines; none for a connection that ended well.
    pub fn details(&self) -> Option<&'static str> {
        match self {
            Self::Completed { .. } => None,
            Self::NotRedirected(reason) => Some(reason.token()),
            Self::NotInspected { .. } => Some("listener_filter_failed"),
            Self::NoFilterChain { .. } => Some("filter_chain_not_found"),
            Self::DownstreamTls(error) | Self::UpstreamTls(error) => Some(error.token()),
            Self::Refused(Refusal::Denied { .. }) => Some("rbac_access_denied"),
            Self::Refused(Refusal::OverConnectionLimit) => Some("over_connection_limit"),
            Self::Refused(Refusal::RateLimited) => Some("local_ratelimit_close_over_limit"),
            Self::Refused(Refusal::NoFilters) => Some("filter_chain_without_filters"),
            Self::NoCluster(_) => Some("cluster_not_found"),
            Self::NoEndpoint(_) => Some("no_healthy_upstream"),
            Self::Overflow(_) => Some("upstream_overflow"),
            Self::ConnectFailed(error) => Some(error.token()),
            Self::GaveUp { .. } => Some("downstream_reset_before_upstream_connected"),
            Self::UpstreamBroke { .. } => Some("upstream_reset"),
            Self::PlaintextRefused { refused, .. } => Some(refused.token()),
            Self::DownstreamBroke { .. } => Some("downstream_reset"),
            Self::Idle(_) => Some("idle_timeout"),
            Self::Expired(_) => Some("max_duration_timeout"),
            Self::Unhealthy(_) => Some("upstream_unhealthy"),
            Self::Drained => Some("listener_drained"),
            Self::Cut => Some("proxy_ended"),
        }
    }

    /// The token of a failure of the upstream, which is counted by it.
    pub fn upstream_cause(&self) -> Option<&'static str> {
        match self {
            Self::ConnectFailed(_)
            | Self::UpstreamTls(_)
            | Self::UpstreamBroke { .. }
            | Self::PlaintextRefused { .. } => self.flag().and(self.details()),
            _ => None,
        }
    }

    /// Envoy's `%CONNECTION_TERMINATION_DETAILS%`.
    pub fn termination_details(&self) -> Option<&str> {
        match self {
            Self::Refused(Refusal::Denied { details, .. }) => Some(details),
            Self::DownstreamTls(error) if error.is_time_out() => {
                Some("transport socket timeout was reached")
            }
            _ => None,
        }
    }

    /// Envoy's `%UPSTREAM_TRANSPORT_FAILURE_REASON%`, followed by words of ours; and words alone where
    /// Envoy says nothing of an upstream that cannot be had, or broke.
    pub fn upstream_failure(&self) -> Option<String> {
        match self {
            Self::UpstreamTls(error) => Some(error.transport_failure_reason()),
            Self::ConnectFailed(error) => Some(error.transport_failure_reason()),
            Self::NotRedirected(_)
            | Self::NoCluster(_)
            | Self::NoEndpoint(_)
            | Self::Overflow(_)
            | Self::UpstreamBroke { .. }
            | Self::PlaintextRefused { .. } => Some(self.to_string()),
            _ => None,
        }
    }

    /// The same of `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub fn downstream_failure(&self) -> Option<String> {
        match self {
            Self::DownstreamTls(error) => Some(error.transport_failure_reason()),
            Self::NotInspected { .. } | Self::DownstreamBroke { .. } => Some(self.to_string()),
            _ => None,
        }
    }

    /// Envoy's `%UPSTREAM_LOCAL_CLOSE_REASON%`.
    pub fn upstream_close_reason(&self) -> Option<&'static str> {
        match self {
            Self::Idle(_) | Self::Expired(_) => self.downstream_close_reason(),
            _ => None,
        }
    }

    /// Envoy's `%DOWNSTREAM_LOCAL_CLOSE_REASON%`.
    pub fn downstream_close_reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::ConnectFailed(_) | Self::UpstreamTls(_) => "tcp_initializion_failure:0",
            Self::NotRedirected(_) | Self::NoEndpoint(_) => "tcp_initializion_failure:1",
            Self::Overflow(_) => "tcp_initializion_failure:2",
            Self::NoCluster(_) => "tcp_initializion_failure:3",
            Self::Refused(Refusal::Denied { .. }) => "rbac_deny_close",
            Self::Refused(Refusal::OverConnectionLimit) => "over_connection_limit",
            Self::Refused(Refusal::RateLimited) => "local_ratelimit_close_over_limit",
            Self::Idle(_) => "tcp_session_idle_timeout",
            Self::Expired(_) => "max_connection_duration_reached",
            _ => return None,
        })
    }

    /// Whether the fault is of this pod rather than of a peer, so that its operator should hear of
    /// it even without an access log.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::ConnectFailed(error) => error.is_ours(),
            // Who calls in plaintext cannot tell why; its operator will ask here.
            Self::DownstreamTls(error) => error.is_plaintext(),
            Self::NoCluster(_) => true,
            // Its own peer logs it, but who is asked is the operator of the caller.
            Self::PlaintextRefused { refused, .. } => *refused == PlaintextRefused::Alert,
            _ => false,
        }
    }
}

/// The words: what happened, where, and what to do about it where that is known.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed { .. } => f.write_str("completed"),
            Self::NotRedirected(reason) => reason.fmt(f),
            Self::NotInspected { downstream, reason } => write!(f, "{downstream}: {reason}"),
            Self::NoFilterChain {
                listener,
                destination,
            } => write!(
                f,
                "no filter chain of the listener '{listener}' matches a connection to {destination}"
            ),
            Self::DownstreamTls(error) | Self::UpstreamTls(error) => error.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::NoCluster(name) => write!(
                f,
                "the connection is to go to the cluster '{name}', which is not configured"
            ),
            Self::NoEndpoint(name) => {
                write!(f, "the cluster '{name}' has no endpoint to connect to")
            }
            Self::Overflow(name) => write!(
                f,
                "the cluster '{name}' is used as much as its circuit breakers allow (max_connections, \
                 max_requests, max_pending_requests)"
            ),
            Self::ConnectFailed(error) => error.fmt(f),
            Self::GaveUp { upstream } => write!(
                f,
                "the downstream was reset while the connection to {upstream} was being made"
            ),
            Self::UpstreamBroke { upstream, source } => {
                write!(f, "the upstream {upstream} broke the connection: {source}")
            }
            Self::PlaintextRefused {
                upstream, refused, ..
            } => write!(f, "{upstream}: {refused}"),
            Self::DownstreamBroke { downstream, source } => {
                write!(
                    f,
                    "the downstream {downstream} broke the connection: {source}"
                )
            }
            Self::Idle(after) => write!(
                f,
                "nothing was sent either way for {}",
                humantime::format_duration(*after)
            ),
            Self::Expired(after) => write!(
                f,
                "the connection was as old as it may become, {}",
                humantime::format_duration(*after)
            ),
            Self::Unhealthy(upstream) => write!(
                f,
                "the upstream {upstream} turned unhealthy, and the cluster ends connections then \
                 (close_connections_on_host_health_failure)"
            ),
            Self::Drained => {
                f.write_str("what took the connection is not configured any more, and was drained")
            }
            Self::Cut => f.write_str("the proxy ended while the connection was open"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { words, .. } => f.write_str(words),
            Self::OverConnectionLimit => {
                f.write_str("there are as many connections as the connection limit allows")
            }
            Self::RateLimited => f.write_str("connections come faster than the rate limit allows"),
            Self::NoFilters => f.write_str("the filter chain has no filter that takes connections"),
        }
    }
}

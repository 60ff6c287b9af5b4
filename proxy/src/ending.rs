//! How a connection ended: the cause, its response flag, its token and its words.
//!
//! The log, the access log and the statistics all take theirs from an [`Ending`], so they agree.

mod response_flag;

use std::{fmt, io, net::SocketAddr};

pub use self::response_flag::{ResponseFlag, ResponseFlags};
use crate::{connect::ConnectError, destination::NotRedirected};

/// How a connection ended.
#[derive(Debug)]
pub enum Ending {
    /// Each side said that it has no more to send, and everything was passed on.
    Completed,
    /// The connection has no destination but the proxy itself.
    NotRedirected(NotRedirected),
    /// The upstream could not be reached.
    ConnectFailed(ConnectError),
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
    /// The downstream broke.
    DownstreamBroke {
        /// Who had connected.
        downstream: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The proxy ended with the connection still open.
    Cut,
}

impl Ending {
    /// Envoy's flag; none for a connection that ended well.
    pub fn flag(&self) -> Option<ResponseFlag> {
        match self {
            Self::Completed => None,
            Self::NotRedirected(_) => Some(ResponseFlag::NoHealthyUpstream),
            Self::ConnectFailed(_) => Some(ResponseFlag::UpstreamConnectionFailure),
            Self::UpstreamBroke { .. } => Some(ResponseFlag::UpstreamConnectionTermination),
            Self::GaveUp { .. } | Self::DownstreamBroke { .. } => {
                Some(ResponseFlag::DownstreamConnectionTermination)
            }
            Self::Cut => Some(ResponseFlag::LocalReset),
        }
    }

    /// One token, for machines; none for a connection that ended well.
    pub fn details(&self) -> Option<&'static str> {
        match self {
            Self::Completed => None,
            Self::NotRedirected(reason) => Some(reason.token()),
            Self::ConnectFailed(error) => Some(error.token()),
            Self::GaveUp { .. } => Some("downstream_reset_before_upstream_connected"),
            Self::UpstreamBroke { .. } => Some("upstream_reset"),
            Self::DownstreamBroke { .. } => Some("downstream_reset"),
            Self::Cut => Some("proxy_ended"),
        }
    }

    /// Whether the fault is of this pod rather than of a peer, so that its operator should hear of
    /// it even without an access log.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::ConnectFailed(error) if error.is_ours())
    }
}

/// The words: what happened, where, and what to do about it where that is known.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::NotRedirected(reason) => reason.fmt(f),
            Self::ConnectFailed(error) => error.fmt(f),
            Self::GaveUp { upstream } => write!(
                f,
                "the downstream was reset while the connection to {upstream} was being made"
            ),
            Self::UpstreamBroke { upstream, source } => {
                write!(f, "the upstream {upstream} broke the connection: {source}")
            }
            Self::DownstreamBroke { downstream, source } => {
                write!(
                    f,
                    "the downstream {downstream} broke the connection: {source}"
                )
            }
            Self::Cut => f.write_str("the proxy ended while the connection was open"),
        }
    }
}

//! Envoy's response flags: the one table that access logs, their filters and statistics go by.

use std::fmt;

/// Declares the flags, so that a flag's names and its meaning stand in one place.
macro_rules! response_flags {
    ($($flag:ident $short:literal $meaning:literal)*) => {
        /// What went wrong with a connection or a request, in Envoy's terms.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum ResponseFlag {
            $(#[doc = $meaning] $flag,)*
        }

        impl ResponseFlag {
            /// Each flag, in the order in which Envoy prints them.
            pub const ALL: [Self; [$($short),*].len()] = [$(Self::$flag),*];

            /// The letters of the access log and of metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$flag => $short,)*
                }
            }

            /// The name in full, as `%RESPONSE_FLAGS_LONG%` has it.
            pub const fn long_name(self) -> &'static str {
                match self {
                    $(Self::$flag => stringify!($flag),)*
                }
            }

            /// What it says, in words.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$flag => $meaning,)*
                }
            }
        }
    };
}

response_flags! {
    FailedLocalHealthCheck "LH" "The local service failed a health check."
    NoHealthyUpstream "UH" "There is no healthy endpoint to connect to."
    UpstreamRequestTimeout "UT" "The upstream did not answer in time."
    LocalReset "LR" "The proxy itself ended the connection before its time."
    UpstreamRemoteReset "UR" "The upstream reset the stream."
    UpstreamConnectionFailure "UF" "No upstream connection could be made."
    UpstreamConnectionTermination "UC" "The upstream ended the connection before its time."
    UpstreamOverflow "UO" "A circuit breaker of the cluster is open."
    NoRouteFound "NR" "No filter chain matches the connection, or no route the request."
    DelayInjected "DI" "The fault filter delayed the request."
    FaultInjected "FI" "The fault filter answered the request."
    RateLimited "RL" "The rate limit was reached."
    UnauthorizedExternalService "UAEX" "The external authorization service denied the request."
    RateLimitServiceError "RLSE" "The rate limit service failed."
    DownstreamConnectionTermination "DC" "The downstream ended the connection before its time."
    UpstreamRetryLimitExceeded "URX" "No further attempt to connect, or to ask, is allowed."
    StreamIdleTimeout "SI" "Nothing was sent for too long."
    InvalidEnvoyRequestHeaders "IH" "A header that is checked strictly has an invalid value."
    DownstreamProtocolError "DPE" "The downstream broke the protocol."
    UpstreamMaxStreamDurationReached "UMSDR" "The upstream request lasted longer than it may."
    ResponseFromCacheFilter "RFCF" "The response came out of a cache."
    NoFilterConfigFound "NFCF" "The configuration of a filter did not come in time."
    DurationTimeout "DT" "The connection lasted longer than it may."
    UpstreamProtocolError "UPE" "The upstream broke the protocol."
    NoClusterFound "NC" "The cluster to connect to is not configured."
    OverloadManagerTerminated "OM" "The proxy is overloaded and ended the request."
    DnsResolutionFailed "DF" "The name of the upstream could not be resolved."
    DropOverload "DO" "The share of requests that the cluster is to drop was dropped."
    DownstreamRemoteReset "DR" "The downstream reset the stream."
    UnconditionalDropOverload "UDO" "The cluster is to drop all requests."
}

impl ResponseFlag {
    /// The flag of these letters.
    pub fn from_short(short: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flag| flag.as_str() == short)
    }
}

/// All that went wrong with one connection or request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ResponseFlags(u32);

impl ResponseFlags {
    /// None of the flags.
    pub const NONE: Self = Self(0);

    /// Each of the flags.
    pub const ALL: Self = Self((1 << ResponseFlag::ALL.len()) - 1);

    /// Adds a flag.
    pub const fn insert(&mut self, flag: ResponseFlag) {
        self.0 |= 1 << flag as u32;
    }

    /// Whether nothing went wrong.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the flag is among them.
    pub const fn contains(self, flag: ResponseFlag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    /// Whether any flag is in both.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The flags, in the order in which Envoy prints them.
    pub fn iter(self) -> impl Iterator<Item = ResponseFlag> {
        ResponseFlag::ALL
            .into_iter()
            .filter(move |flag| self.contains(*flag))
    }

    /// The names in full, with commas between them; `-` for none.
    pub fn long(self) -> impl fmt::Display {
        Names(self, ResponseFlag::long_name)
    }
}

impl From<Option<ResponseFlag>> for ResponseFlags {
    fn from(flag: Option<ResponseFlag>) -> Self {
        flag.into_iter().collect()
    }
}

impl FromIterator<ResponseFlag> for ResponseFlags {
    fn from_iter<I: IntoIterator<Item = ResponseFlag>>(flags: I) -> Self {
        let mut all = Self::NONE;
        flags.into_iter().for_each(|flag| all.insert(flag));
        all
    }
}

/// The letters, with commas between them; `-` for none.
impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Names(*self, ResponseFlag::as_str).fmt(f)
    }
}

struct Names(ResponseFlags, fn(ResponseFlag) -> &'static str);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(flags, name) = self;
        if flags.is_empty() {
            return f.write_str("-");
        }
        for (index, flag) in flags.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name(flag))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(flags: &[ResponseFlag], short: &str, long: &str) {
        let flags: ResponseFlags = flags.iter().copied().collect();
        assert_eq!(flags.to_string(), short);
        assert_eq!(flags.long().to_string(), long);
    }

    #[test]
    fn flags_are_printed_in_envoys_order() {
        use ResponseFlag::{NoClusterFound, UpstreamConnectionFailure, UpstreamRetryLimitExceeded};
        check(&[], "-", "-");
        check(&[NoClusterFound], "NC", "NoClusterFound");
        check(
            &[UpstreamRetryLimitExceeded, UpstreamConnectionFailure],
            "UF,URX",
            "UpstreamConnectionFailure,UpstreamRetryLimitExceeded",
        );
        assert_eq!(
            ResponseFlags::ALL.to_string(),
            "LH,UH,UT,LR,UR,UF,UC,UO,NR,DI,FI,RL,UAEX,RLSE,DC,URX,SI,IH,DPE,UMSDR,RFCF,NFCF,DT,UPE,\
             NC,OM,DF,DO,DR,UDO"
        );
    }

    #[test]
    fn each_flag_is_found_by_its_letters_alone() {
        for flag in ResponseFlag::ALL {
            assert_eq!(ResponseFlag::from_short(flag.as_str()), Some(flag));
            assert!(flag.meaning().ends_with('.'));
        }
        assert_eq!(ResponseFlag::from_short("uf"), None);
        assert_eq!(ResponseFlag::from_short(""), None);
    }

    #[test]
    fn a_set_knows_its_flags() {
        let mut flags = ResponseFlags::from(None);
        assert!(flags.is_empty());
        flags.insert(ResponseFlag::DurationTimeout);
        assert!(flags.contains(ResponseFlag::DurationTimeout));
        assert!(!flags.contains(ResponseFlag::UpstreamOverflow));
        assert!(flags.intersects(ResponseFlags::ALL));
        assert!(!flags.intersects(ResponseFlags::from(Some(ResponseFlag::UpstreamOverflow))));
    }
}

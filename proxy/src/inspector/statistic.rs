//! What listener filters count.

use std::borrow::Cow;

macro_rules! statistics {
    ($($(#[doc = $doc:literal])+ $variant:ident = $scope:ident $name:literal,)+) => {
        /// One of Envoy's counters of listener filters.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Statistic {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Statistic {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            fn place(self) -> (Scope, &'static str) {
                match self {
                    $(Self::$variant => (Scope::$scope, $name),)+
                }
            }
        }
    };
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scope {
    Server,
    Listener,
    ProxyProtocol,
}

statistics! {
    /// A ClientHello was found.
    TlsFound = Server "tls_inspector.tls_found",
    /// The bytes are not TLS.
    TlsNotFound = Server "tls_inspector.tls_not_found",
    /// The ClientHello offers application protocols.
    AlpnFound = Server "tls_inspector.alpn_found",
    /// The ClientHello offers no application protocol.
    AlpnNotFound = Server "tls_inspector.alpn_not_found",
    /// The ClientHello names a server.
    SniFound = Server "tls_inspector.sni_found",
    /// The ClientHello names no server.
    SniNotFound = Server "tls_inspector.sni_not_found",
    /// The ClientHello did not end within its limit.
    ClientHelloTooLarge = Server "tls_inspector.client_hello_too_large",
    /// A request line did not end within its limit.
    HttpReadError = Server "http_inspector.read_error",
    /// A request line of HTTP/1.0.
    Http10Found = Server "http_inspector.http10_found",
    /// A request line of HTTP/1.1.
    Http11Found = Server "http_inspector.http11_found",
    /// The preface of HTTP/2.
    Http2Found = Server "http_inspector.http2_found",
    /// The bytes are not HTTP.
    HttpNotFound = Server "http_inspector.http_not_found",
    /// A connection ended for its PROXY header, or for want of one.
    ProxyError = Server "downstream_cx_proxy_proto_error",
    /// There is no PROXY header, which is allowed.
    ProxyNotFoundAllowed = ProxyProtocol "not_found_allowed",
    /// There is no PROXY header, but there must be one.
    ProxyNotFoundDisallowed = ProxyProtocol "not_found_disallowed",
    /// A PROXY header of version 1.
    ProxyV1Found = ProxyProtocol "versions.v1.found",
    /// A PROXY header of version 1, which is disallowed.
    ProxyV1Disallowed = ProxyProtocol "versions.v1.disallowed",
    /// A malformed PROXY header of version 1.
    ProxyV1Error = ProxyProtocol "versions.v1.error",
    /// A PROXY header of version 2.
    ProxyV2Found = ProxyProtocol "versions.v2.found",
    /// A PROXY header of version 2, which is disallowed.
    ProxyV2Disallowed = ProxyProtocol "versions.v2.disallowed",
    /// A malformed PROXY header of version 2.
    ProxyV2Error = ProxyProtocol "versions.v2.error",
    /// The filters were not done in time.
    PreConnectionTimeout = Listener "downstream_pre_cx_timeout",
    /// The downstream closed before the filters were done.
    RemoteClose = Listener "downstream_listener_filter_remote_close",
    /// The socket failed before the filters were done.
    FilterError = Listener "downstream_listener_filter_error",
}

impl Statistic {
    /// Envoy's name: of the whole server, or below `listener.ADDRESS.` where [`Self::of_listener`].
    /// `stat_prefix` is that of the PROXY protocol filter.
    pub fn name(self, stat_prefix: Option<&str>) -> Cow<'static, str> {
        match (self.place(), stat_prefix) {
            ((Scope::ProxyProtocol, name), Some(prefix)) => {
                format!("proxy_proto.{prefix}.{name}").into()
            }
            ((Scope::ProxyProtocol, name), None) => format!("proxy_proto.{name}").into(),
            ((Scope::Server | Scope::Listener, name), _) => name.into(),
        }
    }

    /// Whether each listener counts for itself.
    pub fn of_listener(self) -> bool {
        self.place().0 == Scope::Listener
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What is to be counted once more.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Statistics(u32);

impl Statistics {
    /// Adds one.
    pub fn add(&mut self, statistic: Statistic) {
        self.0 |= statistic.bit();
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Statistic> {
        let all = Statistic::ALL.iter().copied();
        all.filter(move |statistic| self.0 & statistic.bit() != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_envoy() {
        assert_eq!(Statistic::TlsFound.name(None), "tls_inspector.tls_found");
        assert!(!Statistic::TlsFound.of_listener());
        assert_eq!(
            Statistic::ProxyV1Found.name(None),
            "proxy_proto.versions.v1.found"
        );
        assert_eq!(
            Statistic::ProxyV1Found.name(Some("edge")),
            "proxy_proto.edge.versions.v1.found"
        );
        assert!(Statistic::PreConnectionTimeout.of_listener());
    }

    #[test]
    fn what_was_added_is_told() {
        for statistic in Statistic::ALL {
            let mut statistics = Statistics::default();
            statistics.add(*statistic);
            assert_eq!(statistics.iter().collect::<Vec<_>>(), [*statistic]);
        }
    }
}

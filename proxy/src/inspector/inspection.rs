//! One connection's way through the listener filters.

use std::{borrow::Cow, net::SocketAddr};

use super::{
    ApplicationProtocols, ListenerFilters, Statistic, Statistics,
    filters::Kind,
    http,
    proxy_protocol::{self, ProxyProtocol, Tlv, Version},
    tls::{self, TlsInspector},
};

/// What the filters found out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Inspected {
    /// Whether the connection starts with TLS.
    pub tls: bool,
    /// The server that the client asks for, in lower case.
    pub server_name: Option<Box<str>>,
    /// What the client offers to speak, or is seen to.
    pub application_protocols: ApplicationProtocols,
    /// What the header of the PROXY protocol tells.
    pub proxied: Option<Proxied>,
    /// The bytes at the start that are not the connection's own.
    pub consumed: usize,
}

impl Inspected {
    /// What filter chains and `%DOWNSTREAM_TRANSPORT_PROTOCOL%` call it.
    pub fn transport_protocol(&self) -> &'static str {
        if self.tls { "tls" } else { "raw_buffer" }
    }
}

/// What a header of the PROXY protocol tells of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proxied {
    /// The source and the destination; without them, those of the connection itself are meant.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// The extensions that pass to the upstream header.
    pub tlvs: Box<[Tlv]>,
}

/// How far an inspection is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There must be this many bytes before anything can be told.
    NeedMore {
        /// Of the whole connection, counted from its first.
        at_least: usize,
    },
    /// The filter chain can be chosen.
    Done(Inspected),
    /// The connection ends.
    Failed(Failure),
}

/// Why a connection ends before it has a filter chain. It is the peer's fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// In words.
    pub reason: Cow<'static, str>,
}

/// One connection's way through the listener filters.
///
/// The order of calls is: [`Self::step`] with what there is, which may be nothing; while it asks for
/// more, again with all bytes since the first; in the end [`Self::statistics`].
#[derive(Debug)]
pub struct Inspection<'a> {
    filters: &'a ListenerFilters,
    next: usize,
    at_least: usize,
    /// The destination's, as far as it is known at the next filter.
    port: u16,
    original_port: Option<u16>,
    inspected: Inspected,
    statistics: Statistics,
    tls_bytes: Option<usize>,
}

impl<'a> Inspection<'a> {
    /// Starts it for a connection that arrived at the port, and was to go to the other one before it
    /// was redirected.
    pub fn new(filters: &'a ListenerFilters, port: u16, original_port: Option<u16>) -> Self {
        Self {
            filters,
            next: 0,
            at_least: 0,
            port,
            original_port,
            inspected: Inspected::default(),
            statistics: Statistics::default(),
            tls_bytes: None,
        }
    }

    /// Looks at the bytes of the connection, from its first to the last that has come.
    pub fn step(&mut self, bytes: &[u8]) -> Progress {
        if bytes.len() < self.at_least {
            return self.need(self.at_least);
        }
        let filters = self.filters;
        while let Some(filter) = filters.filters.get(self.next) {
            let disabled = filter.disabled.as_ref();
            if !disabled.is_some_and(|disabled| disabled.matches(self.port)) {
                let own = bytes.get(self.inspected.consumed..).unwrap_or_default();
                match self.run(&filter.kind, own) {
                    Step::Next => {}
                    Step::NeedMore { at_least } => {
                        return self.need(self.inspected.consumed + at_least);
                    }
                    Step::Fail(reason) => {
                        return Progress::Failed(Failure { reason });
                    }
                }
            }
            self.next += 1;
        }
        self.at_least = 0;
        Progress::Done(std::mem::take(&mut self.inspected))
    }

    fn need(&mut self, at_least: usize) -> Progress {
        self.at_least = at_least;
        Progress::NeedMore { at_least }
    }

    /// The time is over: the connection goes on with what is known, or ends.
    pub fn timed_out(&mut self) -> Progress {
        self.statistics.add(Statistic::PreConnectionTimeout);
        if self.filters.continue_on_timeout {
            return Progress::Done(std::mem::take(&mut self.inspected));
        }
        failed("the client did not send what the listener filters need in time")
    }

    /// The client sends no more: the connection ends, as in Envoy.
    pub fn closed(&mut self) -> Failure {
        self.statistics.add(Statistic::RemoteClose);
        Failure {
            reason: "the client closed before it sent what the listener filters need".into(),
        }
    }

    /// The socket failed.
    pub fn broken(&mut self, error: &std::io::Error) -> Failure {
        self.statistics.add(Statistic::FilterError);
        Failure {
            reason: format!("the connection failed before the listener filters were done: {error}")
                .into(),
        }
    }

    /// What is to be counted, once.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// What goes into the histogram `tls_inspector.bytes_processed`.
    pub fn tls_bytes_processed(&self) -> Option<usize> {
        self.tls_bytes
    }

    fn run(&mut self, kind: &Kind, bytes: &[u8]) -> Step {
        match kind {
            Kind::OriginalDst => {
                self.port = self.original_port.unwrap_or(self.port);
                Step::Next
            }
            Kind::Tls(tls) => self.run_tls(tls, bytes),
            // Of what is encrypted nothing can be seen.
            Kind::Http if self.inspected.tls => Step::Next,
            Kind::Http => self.run_http(bytes),
            Kind::ProxyProtocol(proxy) => self.run_proxy_protocol(proxy, bytes),
        }
    }

    fn run_tls(&mut self, tls: &TlsInspector, bytes: &[u8]) -> Step {
        let (processed, result) = match tls::inspect_within(bytes, tls.max_client_hello_size) {
            tls::Verdict::NeedMore { at_least } => return Step::NeedMore { at_least },
            tls::Verdict::Tls { hello, processed } => {
                self.found_tls(hello);
                (processed, Step::Next)
            }
            tls::Verdict::NotTls { processed } if tls.close_on_errors => {
                if bytes.len() >= tls.max_client_hello_size {
                    self.statistics.add(Statistic::ClientHelloTooLarge);
                }
                let reason = "the first bytes are no ClientHello that could be read, and the \
                              listener takes nothing else";
                (processed, Step::Fail(reason.into()))
            }
            tls::Verdict::NotTls { processed } => {
                self.statistics.add(Statistic::TlsNotFound);
                (processed, Step::Next)
            }
            tls::Verdict::UnknownVersion { version, processed } => {
                self.statistics.add(Statistic::TlsNotFound);
                let reason = format!("the ClientHello is of version {version:#06x}, which is none");
                (processed, Step::Fail(reason.into()))
            }
            tls::Verdict::TooLarge => {
                self.statistics.add(Statistic::ClientHelloTooLarge);
                let limit = tls.max_client_hello_size;
                let reason = format!("the ClientHello does not end within {limit} bytes");
                (limit, Step::Fail(reason.into()))
            }
        };
        self.tls_bytes = Some(processed);
        result
    }

    fn found_tls(&mut self, hello: tls::ClientHello) {
        self.statistics.add(Statistic::TlsFound);
        self.statistics.add(if hello.server_name.is_some() {
            Statistic::SniFound
        } else {
            Statistic::SniNotFound
        });
        self.statistics
            .add(if hello.application_protocols.is_empty() {
                Statistic::AlpnNotFound
            } else {
                Statistic::AlpnFound
            });
        self.inspected.tls = true;
        self.inspected.server_name = hello.server_name;
        if !hello.application_protocols.is_empty() {
            self.inspected.application_protocols = hello.application_protocols;
        }
    }

    fn run_http(&mut self, bytes: &[u8]) -> Step {
        let (statistic, protocol) = match http::inspect(bytes) {
            http::Verdict::NeedMore => {
                let at_least = bytes.len() + 1;
                return Step::NeedMore { at_least };
            }
            http::Verdict::TooLarge => {
                self.statistics.add(Statistic::HttpReadError);
                let limit = http::MAX_REQUEST_LINE;
                let reason = format!("the request line does not end within {limit} bytes");
                return Step::Fail(reason.into());
            }
            http::Verdict::NotHttp => (Statistic::HttpNotFound, None),
            http::Verdict::Http10 => (Statistic::Http10Found, Some("http/1.0")),
            http::Verdict::Http11 => (Statistic::Http11Found, Some("http/1.1")),
            http::Verdict::Http2 => (Statistic::Http2Found, Some("h2c")),
        };
        self.statistics.add(statistic);
        if let Some(protocol) = protocol {
            self.inspected.application_protocols = ApplicationProtocols::seen(protocol);
        }
        Step::Next
    }

    fn run_proxy_protocol(&mut self, proxy: &ProxyProtocol, bytes: &[u8]) -> Step {
        let verdict = proxy_protocol::inspect(bytes);
        // Where headers are not needed, those that are disallowed are no headers.
        let absent = match &verdict {
            proxy_protocol::Verdict::Absent => true,
            proxy_protocol::Verdict::Malformed(version, _)
            | proxy_protocol::Verdict::NeedMore {
                version: Some(version),
                ..
            } => proxy.allow_without && !proxy.allows(*version),
            proxy_protocol::Verdict::Found(header) => {
                proxy.allow_without && !proxy.allows(header.version)
            }
            proxy_protocol::Verdict::NeedMore { version: None, .. } => {
                // Either version may come, of which neither is taken.
                proxy.allow_without && !proxy.allows(Version::V1) && !proxy.allows(Version::V2)
            }
        };
        if absent {
            return self.without_header(proxy.allow_without);
        }
        match verdict {
            proxy_protocol::Verdict::NeedMore { at_least, .. } => Step::NeedMore { at_least },
            proxy_protocol::Verdict::Absent => self.without_header(proxy.allow_without),
            proxy_protocol::Verdict::Malformed(version, error) => {
                let reason = if proxy.allows(version) {
                    self.statistics.add(Statistic::ProxyError);
                    self.statistics.add(match version {
                        Version::V1 => Statistic::ProxyV1Error,
                        Version::V2 => Statistic::ProxyV2Error,
                    });
                    error.to_string().into()
                } else {
                    self.disallowed(version)
                };
                Step::Fail(reason)
            }
            proxy_protocol::Verdict::Found(header) if !proxy.allows(header.version) => {
                Step::Fail(self.disallowed(header.version))
            }
            proxy_protocol::Verdict::Found(header) => {
                self.statistics.add(match header.version {
                    Version::V1 => Statistic::ProxyV1Found,
                    Version::V2 => Statistic::ProxyV2Found,
                });
                if let Some((_, destination)) = header.addresses {
                    self.port = destination.port();
                }
                self.inspected.consumed += header.length;
                self.inspected.proxied = Some(Proxied {
                    addresses: header.addresses,
                    tlvs: header.tlvs(&proxy.pass_through),
                });
                Step::Next
            }
        }
    }

    fn without_header(&mut self, allowed: bool) -> Step {
        if allowed {
            self.statistics.add(Statistic::ProxyNotFoundAllowed);
            return Step::Next;
        }
        self.statistics.add(Statistic::ProxyError);
        self.statistics.add(Statistic::ProxyNotFoundDisallowed);
        Step::Fail(
            "the connection does not start with a PROXY header, which the listener needs".into(),
        )
    }

    fn disallowed(&mut self, version: Version) -> Cow<'static, str> {
        let (found, disallowed, number) = match version {
            Version::V1 => (Statistic::ProxyV1Found, Statistic::ProxyV1Disallowed, 1),
            Version::V2 => (Statistic::ProxyV2Found, Statistic::ProxyV2Disallowed, 2),
        };
        self.statistics.add(found);
        self.statistics.add(disallowed);
        format!("PROXY headers of version {number} are disallowed by the listener").into()
    }
}

/// What comes of one filter.
enum Step {
    Next,
    NeedMore { at_least: usize },
    Fail(Cow<'static, str>),
}

fn failed(reason: &'static str) -> Progress {
    Progress::Failed(Failure {
        reason: reason.into(),
    })
}

#[cfg(test)]
mod tests;

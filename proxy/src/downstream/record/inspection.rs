//! What the filters of the listener count.

use super::Record;
use crate::inspector::{Inspection, Statistic};

impl Record {
    /// Counts what the listener's filters found out.
    pub(in crate::downstream) fn inspected(&self, inspection: &Inspection<'_>) {
        let worker = self.worker.number;
        let plane = &self.worker.plane;
        if let Some(bytes) = inspection.tls_bytes_processed() {
            plane
                .tls_inspector
                .of(worker)
                .bytes_processed
                .record(bytes as u64);
        }
        for statistic in inspection.statistics().iter() {
            let tls = || plane.tls_inspector.of(worker);
            let http = || plane.http_inspector.of(worker);
            let scopes = self.active.proxy_protocol.as_ref();
            let proxy = || scopes.map(|scopes| scopes.all.of(worker));
            let version =
                |version: usize| scopes.map(|scopes| scopes.versions[version - 1].of(worker));
            match statistic {
                Statistic::TlsFound => tls().tls_found.increment(),
                Statistic::TlsNotFound => tls().tls_not_found.increment(),
                Statistic::AlpnFound => tls().alpn_found.increment(),
                Statistic::AlpnNotFound => tls().alpn_not_found.increment(),
                Statistic::SniFound => tls().sni_found.increment(),
                Statistic::SniNotFound => tls().sni_not_found.increment(),
                Statistic::ClientHelloTooLarge => tls().client_hello_too_large.increment(),
                Statistic::HttpReadError => http().read_error.increment(),
                Statistic::Http10Found => http().http10_found.increment(),
                Statistic::Http11Found => http().http11_found.increment(),
                Statistic::Http2Found => http().http2_found.increment(),
                Statistic::HttpNotFound => http().http_not_found.increment(),
                Statistic::ProxyError => {
                    if let Some(scopes) = scopes {
                        scopes
                            .errors
                            .of(worker)
                            .downstream_cx_proxy_proto_error
                            .increment();
                    }
                }
                Statistic::ProxyNotFoundAllowed => {
                    if let Some(counts) = proxy() {
                        counts.not_found_allowed.increment();
                    }
                }
                Statistic::ProxyNotFoundDisallowed => {
                    if let Some(counts) = proxy() {
                        counts.not_found_disallowed.increment();
                    }
                }
                Statistic::ProxyV1Found => {
                    if let Some(counts) = version(1) {
                        counts.found.increment();
                    }
                }
                Statistic::ProxyV1Disallowed => {
                    if let Some(counts) = version(1) {
                        counts.disallowed.increment();
                    }
                }
                Statistic::ProxyV1Error => {
                    if let Some(counts) = version(1) {
                        counts.error.increment();
                    }
                }
                Statistic::ProxyV2Found => {
                    if let Some(counts) = version(2) {
                        counts.found.increment();
                    }
                }
                Statistic::ProxyV2Disallowed => {
                    if let Some(counts) = version(2) {
                        counts.disallowed.increment();
                    }
                }
                Statistic::ProxyV2Error => {
                    if let Some(counts) = version(2) {
                        counts.error.increment();
                    }
                }
                Statistic::PreConnectionTimeout => {
                    self.listener_statistics()
                        .downstream_pre_cx_timeout
                        .increment();
                }
                Statistic::RemoteClose => {
                    let counted = self.listener_statistics();
                    counted.downstream_listener_filter_remote_close.increment();
                }
                Statistic::FilterError => {
                    self.listener_statistics()
                        .downstream_listener_filter_error
                        .increment();
                }
            }
        }
    }
}

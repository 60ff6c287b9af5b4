//! Causes of failures, of which Envoy's statistics tell only that there were some.

use crate::stats::{Cell, Counter, Set, set::statistics};

statistics! {
    /// Why upstream connections failed, by the tokens of the access log; what happened is shown.
    pub struct UpstreamFailureStatistics {
        rare_counter upstream_connect_timeout,
        rare_counter upstream_connect_refused,
        rare_counter upstream_connect_not_permitted,
        rare_counter upstream_connect_failed,
        rare_counter upstream_host_unreachable,
        rare_counter upstream_network_unreachable,
        rare_counter upstream_reset,
        rare_counter upstream_reset_while_connecting,
        rare_counter upstream_requires_mtls,
        rare_counter upstream_closed_on_plaintext,
        rare_counter source_address_missing,
        rare_counter local_ports_exhausted,
        rare_counter file_descriptors_exhausted,
        rare_counter socket_memory_exhausted,
        rare_counter tls_peer_speaks_plaintext,
        rare_counter tls_peer_requires_mtls,
        rare_counter tls_peer_certificate_expired,
        rare_counter tls_peer_certificate_not_yet_valid,
        rare_counter tls_peer_certificate_unknown_issuer,
        rare_counter tls_peer_certificate_revoked,
        rare_counter tls_peer_certificate_invalid,
        rare_counter tls_peer_san_mismatch,
        rare_counter tls_peer_wrong_trust_domain,
        rare_counter tls_peer_does_not_know_our_ca,
        rare_counter tls_our_certificate_expired,
        rare_counter tls_no_common_version,
        rare_counter tls_no_common_cipher,
        rare_counter tls_refused_by_peer,
        rare_counter tls_handshake_timeout,
        rare_counter tls_reset_in_handshake,
        rare_counter tls_closed_in_handshake,
        rare_counter other,
    }
}

impl UpstreamFailureStatistics {
    /// The count of a token.
    pub fn of(&self, token: &str) -> &Counter {
        let known = Self::FIELDS.iter().position(|field| field.name == token);
        match known.map(|index| self.cell(index)) {
            Some(Cell::Counter(counter)) => counter,
            _ => &self.other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_has_its_count() {
        let set = UpstreamFailureStatistics::default();
        for token in ["upstream_connect_refused", "tls_no_common_cipher", "news"] {
            set.of(token).increment();
        }
        let counts = [
            &set.upstream_connect_refused,
            &set.tls_no_common_cipher,
            &set.other,
            &set.upstream_reset,
        ];
        assert_eq!(counts.map(Counter::value), [1, 1, 1, 0]);
    }
}

//! TLS, of listeners and of clusters.

use crate::{
    stats::{Set, set::statistics},
    tls::Event,
};

statistics! {
    /// Handshakes, on each worker. What they agreed on is one of what rustls has, by the names that
    /// OpenSSL gives it.
    pub struct TlsStatistics {
        counter connection_error,
        counter fail_verify_cert_hash,
        counter fail_verify_error,
        counter fail_verify_no_cert,
        counter fail_verify_san,
        counter handshake,
        counter no_certificate,
        counter ocsp_staple_failed,
        counter ocsp_staple_omitted,
        counter ocsp_staple_requests,
        counter ocsp_staple_responses,
        counter session_reused,
        rare_counter plaintext_refused,
        rare_counter ciphers_ecdhe_ecdsa_aes128_gcm_sha256 = "ciphers.ECDHE-ECDSA-AES128-GCM-SHA256",
        rare_counter ciphers_ecdhe_ecdsa_aes256_gcm_sha384 = "ciphers.ECDHE-ECDSA-AES256-GCM-SHA384",
        rare_counter ciphers_ecdhe_ecdsa_chacha20_poly1305 = "ciphers.ECDHE-ECDSA-CHACHA20-POLY1305",
        rare_counter ciphers_ecdhe_rsa_aes128_gcm_sha256 = "ciphers.ECDHE-RSA-AES128-GCM-SHA256",
        rare_counter ciphers_ecdhe_rsa_aes256_gcm_sha384 = "ciphers.ECDHE-RSA-AES256-GCM-SHA384",
        rare_counter ciphers_ecdhe_rsa_chacha20_poly1305 = "ciphers.ECDHE-RSA-CHACHA20-POLY1305",
        rare_counter ciphers_tls_aes_128_gcm_sha256 = "ciphers.TLS_AES_128_GCM_SHA256",
        rare_counter ciphers_tls_aes_256_gcm_sha384 = "ciphers.TLS_AES_256_GCM_SHA384",
        rare_counter ciphers_tls_chacha20_poly1305_sha256 = "ciphers.TLS_CHACHA20_POLY1305_SHA256",
        rare_counter curves_p256 = "curves.P-256",
        rare_counter curves_p384 = "curves.P-384",
        rare_counter curves_p521 = "curves.P-521",
        rare_counter curves_x25519 = "curves.X25519",
        rare_counter curves_x25519_mlkem768 = "curves.X25519MLKEM768",
        rare_counter sigalgs_ecdsa_secp256r1_sha256 = "sigalgs.ecdsa_secp256r1_sha256",
        rare_counter sigalgs_ecdsa_secp384r1_sha384 = "sigalgs.ecdsa_secp384r1_sha384",
        rare_counter sigalgs_ecdsa_secp521r1_sha512 = "sigalgs.ecdsa_secp521r1_sha512",
        rare_counter sigalgs_ed25519 = "sigalgs.ed25519",
        rare_counter sigalgs_rsa_pkcs1_sha256 = "sigalgs.rsa_pkcs1_sha256",
        rare_counter sigalgs_rsa_pkcs1_sha384 = "sigalgs.rsa_pkcs1_sha384",
        rare_counter sigalgs_rsa_pkcs1_sha512 = "sigalgs.rsa_pkcs1_sha512",
        rare_counter sigalgs_rsa_pss_rsae_sha256 = "sigalgs.rsa_pss_rsae_sha256",
        rare_counter sigalgs_rsa_pss_rsae_sha384 = "sigalgs.rsa_pss_rsae_sha384",
        rare_counter sigalgs_rsa_pss_rsae_sha512 = "sigalgs.rsa_pss_rsae_sha512",
        rare_counter versions_tls_1_2 = "versions.TLSv1.2",
        rare_counter versions_tls_1_3 = "versions.TLSv1.3",
    }
}

impl TlsStatistics {
    /// Counts what came of a handshake.
    pub fn count(&self, event: &Event) {
        match event {
            Event::Handshake => self.handshake.increment(),
            Event::SessionReused => self.session_reused.increment(),
            Event::NoCertificate => self.no_certificate.increment(),
            Event::FailVerifyError => self.fail_verify_error.increment(),
            Event::FailVerifyNoCertificate => self.fail_verify_no_cert.increment(),
            Event::FailVerifySan => self.fail_verify_san.increment(),
            Event::FailVerifyHash => self.fail_verify_cert_hash.increment(),
            Event::ConnectionError => self.connection_error.increment(),
            Event::PlaintextRefused => self.plaintext_refused.increment(),
            Event::Cipher(name) => self.increment(&format!("ciphers.{name}")),
            Event::Version(name) => self.increment(&format!("versions.{name}")),
            Event::Curve(name) => self.increment(&format!("curves.{name}")),
            Event::Signature(scheme) => self.signature(*scheme),
        }
    }

    /// Counts the algorithm with which the peer signed in a handshake.
    pub fn signature(&self, scheme: rustls::SignatureScheme) {
        use rustls::SignatureScheme as Scheme;
        let counter = match scheme {
            Scheme::ECDSA_NISTP256_SHA256 => &self.sigalgs_ecdsa_secp256r1_sha256,
            Scheme::ECDSA_NISTP384_SHA384 => &self.sigalgs_ecdsa_secp384r1_sha384,
            Scheme::ECDSA_NISTP521_SHA512 => &self.sigalgs_ecdsa_secp521r1_sha512,
            Scheme::ED25519 => &self.sigalgs_ed25519,
            Scheme::RSA_PKCS1_SHA256 => &self.sigalgs_rsa_pkcs1_sha256,
            Scheme::RSA_PKCS1_SHA384 => &self.sigalgs_rsa_pkcs1_sha384,
            Scheme::RSA_PKCS1_SHA512 => &self.sigalgs_rsa_pkcs1_sha512,
            Scheme::RSA_PSS_SHA256 => &self.sigalgs_rsa_pss_rsae_sha256,
            Scheme::RSA_PSS_SHA384 => &self.sigalgs_rsa_pss_rsae_sha384,
            Scheme::RSA_PSS_SHA512 => &self.sigalgs_rsa_pss_rsae_sha512,
            // rustls verifies no other.
            _ => return,
        };
        counter.increment();
    }
}

statistics! {
    /// The secrets of a transport socket.
    pub struct SocketFactoryStatistics {
        shared_counter downstream_context_secrets_not_ready,
        shared_counter ssl_context_update_by_sds,
        shared_counter upstream_context_secrets_not_ready,
    }
}

statistics! {
    /// A certificate.
    pub struct CertificateStatistics {
        level expiration_unix_time_seconds,
    }
}

//! TLS.

use super::Known;

const WITHOUT_AUTHORITY: &str = "whoever demands certificates and trusts no authority is not served \
    without one; Envoy asks for none and takes everybody";

pub(super) const KNOWN: &[Known] = &[
    Known {
        case: "*",
        what: "log *failure",
        envoy: "*failure=TLS_error:|*:TLS_error_end",
        ours: "*failure=TLS_error:|*:TLS_error_end: *",
        reason: "the library's text, then the cause in words that say what to change",
    },
    Known {
        case: "*",
        what: "stat *.ssl.ocsp_staple_*",
        envoy: "*",
        ours: "none or 0",
        reason: "rustls does not tell whether a client asks for a staple, nor whether it was given one",
    },
    Known {
        case: "*",
        what: "stat listener.*.ssl.curves.X25519*",
        envoy: "*",
        ours: "*",
        reason: "a client that begins with another curve than Envoy's first is asked again by Envoy; rustls takes what it began with, which saves a round trip",
    },
    Known {
        case: "*",
        what: "stat cluster.*.ssl.certificate.*",
        envoy: "*",
        ours: "none or 0",
        reason: "thousands of clusters have one certificate: its end is in /certs and in the statistics of listeners",
    },
    Known {
        case: "*",
        what: "stat cluster.*.client_ssl_socket_factory.*",
        envoy: "*",
        ours: "none or 0",
        reason: "secrets are held once for all clusters that have the same, and not counted for each",
    },
    Known {
        case: "*",
        what: "seen None by 1.2",
        envoy: "handshake: received fatal alert: HandshakeFailure",
        ours: "handshake: received fatal alert: CertificateRequired",
        reason: "rustls tells a client without a certificate by the alert of TLS 1.3, whatever it speaks",
    },
    Known {
        case: "client_certificates_without_authority_are_not_looked_at",
        what: "log *",
        envoy: "*",
        ours: "*",
        reason: WITHOUT_AUTHORITY,
    },
    Known {
        case: "client_certificates_without_authority_are_not_looked_at",
        what: "stat listener.*.ssl.*",
        envoy: "*",
        ours: "*",
        reason: WITHOUT_AUTHORITY,
    },
    Known {
        case: "client_certificates_without_authority_are_not_looked_at",
        what: "seen None by *",
        envoy: "*",
        ours: "*",
        reason: WITHOUT_AUTHORITY,
    },
    Known {
        case: "plaintext_at_a_tls_port_is_closed",
        what: "seen GET *",
        envoy: "\"\" eof",
        ours: "*02F\" eof",
        reason: "a caller of plaintext is told by an alert that it called a port of TLS, which a sidecar beside it puts in words",
    },
    Known {
        case: "plaintext_at_a_tls_port_is_closed",
        what: "stat listener.*.ssl.plaintext_refused",
        envoy: "none or 0",
        ours: "2",
        reason: "Envoy counts plaintext as an error of the connection alone",
    },
    Known {
        case: "rbac_by_the_client_s_identity",
        what: "seen *",
        envoy: "TLSv1_3 alpn=- server=server up \"\" eof",
        ours: "TLSv1_3 alpn=- server=server eof \"\" *",
        reason: "decided when the handshake is done, before an upstream says anything; Envoy waits for the first bytes",
    },
];

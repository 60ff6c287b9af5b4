//! Versions, cipher suites and curves (`envoy.extensions.transport_sockets.tls.v3.TlsParameters`).

use std::sync::Arc;

use fairlead_xds::envoy::extensions::transport_sockets::tls::v3::{
    TlsParameters as Message, tls_parameters::TlsProtocol,
};
use rustls::{
    SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        aws_lc_rs::{self, cipher_suite as suite, kx_group},
    },
    version::{TLS12, TLS13},
};

use crate::compile::At;

/// The side of the connection that is configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Upstream connections.
    Client,
    /// Downstream connections.
    Server,
}

/// What is spoken.
#[derive(Clone, Debug)]
pub(super) struct Parameters {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: &'static [&'static SupportedProtocolVersion],
    /// The signatures that a peer may make; none: all that are sound.
    pub(super) schemes: Box<[SignatureScheme]>,
}

/// The suites of TLS 1.2 in the order of Envoy's default, by both of their names.
const SUITES: [(&str, &str, SupportedCipherSuite); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
];

/// The signatures that rustls verifies, by the names of Envoy.
const SCHEMES: [(&str, SignatureScheme); 10] = [
    ("rsa_pkcs1_sha256", SignatureScheme::RSA_PKCS1_SHA256),
    ("rsa_pkcs1_sha384", SignatureScheme::RSA_PKCS1_SHA384),
    ("rsa_pkcs1_sha512", SignatureScheme::RSA_PKCS1_SHA512),
    (
        "ecdsa_secp256r1_sha256",
        SignatureScheme::ECDSA_NISTP256_SHA256,
    ),
    (
        "ecdsa_secp384r1_sha384",
        SignatureScheme::ECDSA_NISTP384_SHA384,
    ),
    (
        "ecdsa_secp521r1_sha512",
        SignatureScheme::ECDSA_NISTP521_SHA512,
    ),
    ("rsa_pss_rsae_sha256", SignatureScheme::RSA_PSS_SHA256),
    ("rsa_pss_rsae_sha384", SignatureScheme::RSA_PSS_SHA384),
    ("rsa_pss_rsae_sha512", SignatureScheme::RSA_PSS_SHA512),
    ("ed25519", SignatureScheme::ED25519),
];

/// Suites that Envoy has and rustls has not: without forward secrecy, or CBC.
const OBSOLETE: [&str; 28] = [
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-PSK-AES128-CBC-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-PSK-AES256-CBC-SHA",
    "ECDHE-PSK-CHACHA20-POLY1305",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA",
    "DES-CBC3-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_PSK_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
];

/// The name that Envoy gives a suite.
pub(super) fn suite_name(suite: SupportedCipherSuite) -> &'static str {
    let known = SUITES.iter().find(|(_, _, known)| *known == suite);
    match known {
        Some((name, ..)) => name,
        // Of TLS 1.3: `TLS13_AES_128_GCM_SHA256` in rustls.
        None => match suite.suite() {
            rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
            rustls::CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
            rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
            other => other.as_str().unwrap_or("unknown"),
        },
    }
}

/// The name that Envoy gives a signature.
pub(super) fn scheme_name(scheme: SignatureScheme) -> &'static str {
    let known = SCHEMES.iter().find(|(_, known)| *known == scheme);
    known.map_or("unknown", |(name, _)| name)
}

impl Parameters {
    /// What the message asks for; nothing asks for Envoy's defaults.
    pub(super) fn compile(at: &At<'_>, message: Option<&Message>, role: Role) -> Option<Self> {
        let default = Message::default();
        let Message {
            tls_minimum_protocol_version,
            tls_maximum_protocol_version,
            cipher_suites,
            ecdh_curves,
            signature_algorithms,
            compliance_policies,
        } = message.unwrap_or(&default);
        let versions = versions(
            at,
            *tls_minimum_protocol_version,
            *tls_maximum_protocol_version,
            role,
        );
        let suites = suites(&at.field("cipher_suites"), cipher_suites);
        let groups = groups(&at.field("ecdh_curves"), ecdh_curves);
        let schemes = schemes(&at.field("signature_algorithms"), signature_algorithms);
        if !compliance_policies.is_empty() {
            return at
                .field("compliance_policies")
                .fault("is not supported: state versions, suites and curves instead");
        }
        let (versions, mut cipher_suites, kx_groups) = (versions?, suites?, groups?);
        // As BoringSSL on processors with AES: a third less to compute than AES-256 for each byte.
        cipher_suites.extend([
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
        ]);
        Some(Self {
            provider: Arc::new(CryptoProvider {
                cipher_suites,
                kx_groups,
                ..aws_lc_rs::default_provider()
            }),
            versions,
            schemes: schemes?.into(),
        })
    }
}

static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

fn versions(
    at: &At<'_>,
    minimum: i32,
    maximum: i32,
    role: Role,
) -> Option<&'static [&'static SupportedProtocolVersion]> {
    let (at_minimum, at_maximum) = (
        at.field("tls_minimum_protocol_version"),
        at.field("tls_maximum_protocol_version"),
    );
    let minimum = match TlsProtocol::try_from(minimum) {
        Ok(TlsProtocol::TlSv10 | TlsProtocol::TlSv11) => {
            at_minimum.unsupported("versions before TLS 1.2 are not supported, 1.2 is the minimum");
            TlsProtocol::TlSv12
        }
        Ok(TlsProtocol::TlsAuto) => TlsProtocol::TlSv12,
        Ok(version) => version,
        Err(_) => return at_minimum.fault(format!("{minimum} is no version")),
    };
    let maximum = match TlsProtocol::try_from(maximum) {
        Ok(TlsProtocol::TlSv10 | TlsProtocol::TlSv11) => {
            return at_maximum.fault("versions before TLS 1.2 are not supported");
        }
        // Envoy's defaults; a higher minimum raises the clients' one.
        Ok(TlsProtocol::TlsAuto) if role == Role::Client => minimum,
        Ok(TlsProtocol::TlsAuto) => TlsProtocol::TlSv13,
        Ok(version) => version,
        Err(_) => return at_maximum.fault(format!("{maximum} is no version")),
    };
    match (minimum, maximum) {
        (TlsProtocol::TlSv12, TlsProtocol::TlSv12) => Some(&BOTH[1..]),
        (TlsProtocol::TlSv12, _) => Some(&BOTH),
        (_, TlsProtocol::TlSv13) => Some(&BOTH[..1]),
        _ => at_maximum.fault("is below the minimum version"),
    }
}

/// The suites of TLS 1.2. Those of 1.3 are not chosen from, as in Envoy.
fn suites(at: &At<'_>, list: &[String]) -> Option<Vec<SupportedCipherSuite>> {
    if list.is_empty() {
        return Some(SUITES.map(|(_, _, suite)| suite).to_vec());
    }
    let (mut suites, mut sound) = (Vec::new(), true);
    for (index, element) in list.iter().enumerate() {
        let at = at.index(index);
        // Names of equal preference stand in brackets, and several elements may stand in one.
        for element in element.split(':') {
            let group = element
                .strip_prefix('[')
                .and_then(|group| group.strip_suffix(']'));
            for name in group.unwrap_or(element).split('|') {
                match suite_named(name) {
                    Some(suite) if suites.contains(&suite) => {}
                    Some(suite) => suites.push(suite),
                    None if OBSOLETE.contains(&name) => at.unsupported(format!(
                        "'{name}' is not supported: it has no forward secrecy or no sound encryption"
                    )),
                    None => {
                        sound = false;
                        at.fault::<()>(format!("'{name}' is no cipher suite of TLS 1.2"));
                    }
                }
            }
        }
    }
    if sound && suites.is_empty() {
        return at.fault("none of the cipher suites is supported");
    }
    sound.then_some(suites)
}

fn suite_named(name: &str) -> Option<SupportedCipherSuite> {
    SUITES
        .iter()
        .find(|(openssl, iana, _)| *openssl == name || *iana == name)
        .map(|(_, _, suite)| *suite)
}

fn groups(at: &At<'_>, list: &[String]) -> Option<Vec<&'static dyn SupportedKxGroup>> {
    if list.is_empty() {
        // As Envoy: what no later computer is to break first, P-256 for those that have it alone.
        return Some(vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
        ]);
    }
    let (mut groups, mut sound) = (Vec::<&'static dyn SupportedKxGroup>::new(), true);
    for (index, name) in list.iter().enumerate() {
        let group = match name.as_str() {
            "X25519MLKEM768" => kx_group::X25519MLKEM768,
            "X25519" => kx_group::X25519,
            "P-256" | "prime256v1" => kx_group::SECP256R1,
            "P-384" | "secp384r1" => kx_group::SECP384R1,
            "P-521"
            | "secp521r1"
            | "P-224"
            | "secp224r1"
            | "X25519Kyber768Draft00"
            | "MLKEM1024" => {
                at.index(index)
                    .unsupported(format!("the curve '{name}' is not supported"));
                continue;
            }
            _ => {
                sound = false;
                at.index(index)
                    .fault::<()>(format!("'{name}' is no curve of TLS"));
                continue;
            }
        };
        groups.push(group);
    }
    if sound && groups.is_empty() {
        return at.fault("none of the curves is supported");
    }
    sound.then_some(groups)
}

fn schemes(at: &At<'_>, list: &[String]) -> Option<Vec<SignatureScheme>> {
    let (mut schemes, mut sound) = (Vec::new(), true);
    for (index, name) in list.iter().enumerate() {
        if let Some((_, scheme)) = SCHEMES.iter().find(|(known, _)| known == name) {
            schemes.push(*scheme);
            continue;
        }
        match name.as_str() {
            "rsa_pkcs1_sha1" | "ecdsa_sha1" | "rsa_pkcs1_md5_sha1" => {
                at.index(index)
                    .unsupported(format!("'{name}' is broken and not supported"));
            }
            _ => {
                sound = false;
                at.index(index)
                    .fault::<()>(format!("'{name}' is no signature algorithm of TLS"));
            }
        }
    }
    if sound && schemes.is_empty() && !list.is_empty() {
        return at.fault("none of the signature algorithms is supported");
    }
    sound.then_some(schemes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Fault, Findings};

    #[track_caller]
    fn check(role: Role, message: &Message, versions: usize, suites: usize, unsupported: usize) {
        let findings = Findings::default();
        let parameters = Parameters::compile(&findings.at("p"), Some(message), role);
        assert_eq!(findings.faults(), []);
        let parameters = parameters.unwrap();
        assert_eq!(parameters.versions.len(), versions);
        assert_eq!(parameters.provider.cipher_suites.len(), suites + 3);
        assert_eq!(findings.unsupported().len(), unsupported);
    }

    #[track_caller]
    fn check_fault(message: &Message, expected: &str) {
        let findings = Findings::default();
        let compiled = Parameters::compile(&findings.at("p"), Some(message), Role::Server);
        assert!(compiled.is_none());
        let faults = findings.faults();
        let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
        assert_eq!(faults, [expected]);
    }

    fn ciphers(names: &[&str]) -> Message {
        Message {
            cipher_suites: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Message::default()
        }
    }

    fn version(minimum: TlsProtocol, maximum: TlsProtocol) -> Message {
        Message {
            tls_minimum_protocol_version: minimum.into(),
            tls_maximum_protocol_version: maximum.into(),
            ..Message::default()
        }
    }

    #[test]
    fn defaults_are_envoys() {
        check(Role::Server, &Message::default(), 2, 6, 0);
        check(Role::Client, &Message::default(), 1, 6, 0);
        let from_13 = version(TlsProtocol::TlSv13, TlsProtocol::TlsAuto);
        check(Role::Client, &from_13, 1, 6, 0);
    }

    #[test]
    fn old_versions_are_a_minimum_of_12() {
        let old = version(TlsProtocol::TlSv10, TlsProtocol::TlSv13);
        check(Role::Client, &old, 2, 6, 1);
        check_fault(
            &version(TlsProtocol::TlsAuto, TlsProtocol::TlSv11),
            "p.tls_maximum_protocol_version: versions before TLS 1.2 are not supported",
        );
        check_fault(
            &version(TlsProtocol::TlSv13, TlsProtocol::TlSv12),
            "p.tls_maximum_protocol_version: is below the minimum version",
        );
    }

    #[test]
    fn suites_without_a_home_are_dropped_and_unknown_ones_refused() {
        // What istiod sends.
        let istio = ciphers(&[
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "AES256-GCM-SHA384",
            "AES128-GCM-SHA256",
        ]);
        check(Role::Server, &istio, 2, 4, 2);
        let group = ciphers(&["[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]"]);
        check(Role::Server, &group, 2, 2, 0);
        check_fault(
            &ciphers(&["ECDHE-RSA-AES128-GCM-SHA256", "ROT13"]),
            "p.cipher_suites[1]: 'ROT13' is no cipher suite of TLS 1.2",
        );
        check_fault(
            &ciphers(&["AES128-SHA"]),
            "p.cipher_suites: none of the cipher suites is supported",
        );
    }

    #[test]
    fn curves_are_chosen_by_name() {
        let curves = |names: &[&str]| Message {
            ecdh_curves: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Message::default()
        };
        check(Role::Server, &curves(&["P-256", "P-521"]), 2, 6, 1);
        check_fault(
            &curves(&["P-1"]),
            "p.ecdh_curves[0]: 'P-1' is no curve of TLS",
        );
        check_fault(
            &curves(&["P-521"]),
            "p.ecdh_curves: none of the curves is supported",
        );
    }

    #[test]
    fn faults_name_the_field() {
        check_fault(
            &Message {
                signature_algorithms: vec!["none".to_owned()],
                ..Message::default()
            },
            "p.signature_algorithms[0]: 'none' is no signature algorithm of TLS",
        );
        check_fault(
            &Message {
                compliance_policies: vec![0],
                ..Message::default()
            },
            "p.compliance_policies: is not supported: state versions, suites and curves instead",
        );
        check_fault(
            &Message {
                tls_minimum_protocol_version: 9,
                ..Message::default()
            },
            "p.tls_minimum_protocol_version: 9 is no version",
        );
    }
}

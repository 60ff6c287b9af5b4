//! A certificate for the webhook that somebody else issues.

use std::time::{Duration, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::json;

use super::{RELEASE_NAMESPACE, WEBHOOK, kubectl_with};

/// Puts a certificate by a new authority into a Secret, as cert-manager would.
#[track_caller]
pub fn put_secret(name: &str) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("keys can be made");
    let issuer = CertifiedIssuer::self_signed(authority, key).expect("an authority can be made");
    let key = KeyPair::generate().expect("keys can be made");
    let dns = format!("{WEBHOOK}.{RELEASE_NAMESPACE}.svc");
    let mut params = CertificateParams::new([dns]).expect("the name is one");
    // Another second each time, by which the certificates are told apart.
    let now = UNIX_EPOCH.elapsed().expect("it is past 1970");
    params.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(24 * 3600);
    let certificate = params.signed_by(&key, &issuer);
    let chain = certificate.expect("a certificate can be issued").pem();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": RELEASE_NAMESPACE },
        "type": "kubernetes.io/tls",
        "stringData": {
            "tls.crt": chain,
            "tls.key": key.serialize_pem(),
            "ca.crt": issuer.pem(),
        },
    });
    kubectl_with("apply --filename=-", &secret.to_string());
}

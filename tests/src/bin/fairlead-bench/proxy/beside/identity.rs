//! The certificate that both sidecars have, and the authority behind it; for this run alone.

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::scratch::Scratch;

/// Whom the certificate names.
pub(super) const SPIFFE: &str = "spiffe://cluster.local/ns/bench/sa/bench";

/// Writes `ca.pem`, `certificate.pem` and `key.pem`: ECDSA on P-256, as istiod issues them.
pub(super) fn write(scratch: &Scratch) -> anyhow::Result<()> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)
        .context("make the authority")?;

    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI(SPIFFE.try_into()?)];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let leaf = leaf
        .signed_by(&key, &authority)
        .context("sign the certificate")?;
    scratch.write("ca.pem", &authority.pem())?;
    scratch.write("certificate.pem", &leaf.pem())?;
    scratch.write("key.pem", &key.serialize_pem())?;
    Ok(())
}

//! The certificates of a PEM bundle, each with its text.

use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// One certificate of a bundle.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// Its lines, without what stands between certificates.
    pub(super) text: String,
    pub(super) der: CertificateDer<'static>,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    pub(super) is_authority: bool,
    /// The public key as its algorithm writes it, without the algorithm's name.
    pub(super) public_key: Vec<u8>,
}

/// The certificates that can be read; what cannot is nothing that anybody trusts.
pub(super) fn certificates(bundle: &str) -> Vec<Certificate> {
    bundle
        .split_inclusive(END)
        .filter_map(|piece| read(&piece[piece.rfind(BEGIN)?..]))
        .collect()
}

/// The bundle of these certificates.
pub(super) fn bundle<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> String {
    let line = |certificate: &Certificate| format!("{}\n", certificate.text);
    certificates.into_iter().map(line).collect()
}

fn read(text: &str) -> Option<Certificate> {
    let der = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
    let (_, x509) = parse_x509_certificate(&der).ok()?;
    let validity = x509.validity();
    Some(Certificate {
        text: text.to_owned(),
        not_before: validity.not_before.to_datetime(),
        not_after: validity.not_after.to_datetime(),
        is_authority: x509.is_ca(),
        public_key: x509.public_key().subject_public_key.data.to_vec(),
        der: der.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::authority::Authority;
    use super::*;

    #[test]
    fn a_bundle_is_read_whatever_stands_between() {
        let one = Authority::generate(OffsetDateTime::UNIX_EPOCH).unwrap();
        let other = Authority::generate(OffsetDateTime::UNIX_EPOCH).unwrap();
        let both = format!("{}{}", one.bundle, other.bundle);
        let garbage = format!("{BEGIN}\nAAAA\n{END}\n");
        for (text, expected) in [
            (String::new(), String::new()),
            ("no certificate".to_owned(), String::new()),
            (garbage.clone(), String::new()),
            (one.bundle.clone(), one.bundle.clone()),
            (
                format!("# of A\n{}# of B\n{}", one.bundle, other.bundle),
                both.clone(),
            ),
            (
                format!("{}{garbage}{}", one.bundle, other.bundle),
                both.clone(),
            ),
            (format!("{}{BEGIN}\nAA\n{}", one.bundle, other.bundle), both),
        ] {
            assert_eq!(bundle(&certificates(&text)), expected, "{text}");
        }
    }
}

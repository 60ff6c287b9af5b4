use k8s_openapi::ByteString;
use rcgen::{CertificateParams, Issuer, KeyPair};

use super::super::authority::Authority;
use super::*;

const NOW: OffsetDateTime = time::macros::datetime!(2026-01-01 00:00 UTC);
const DAY: time::Duration = time::Duration::DAY;
const NAME: &str = "webhook.mesh.svc";

/// An authority of somebody, and what it issues.
struct Issued {
    chain: String,
    key: String,
    bundle: String,
}

fn issue(names: &[&str], not_before: OffsetDateTime, not_after: OffsetDateTime) -> Issued {
    let authority = Authority::generate(NOW - DAY).unwrap();
    let key = KeyPair::from_pem(&authority.key).unwrap();
    let issuer = Issuer::from_ca_cert_der(&authority.certificate.der, key).unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = (not_before, not_after);
    let key = KeyPair::generate().unwrap();
    Issued {
        chain: params.signed_by(&key, &issuer).unwrap().pem(),
        key: key.serialize_pem(),
        bundle: authority.bundle,
    }
}

fn good() -> Issued {
    issue(&[NAME], NOW - DAY, NOW + DAY)
}

fn secret(pairs: &[(&str, &str)]) -> Secret {
    let entry =
        |(key, text): &(&str, &str)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()));
    Secret {
        data: Some(pairs.iter().map(entry).collect()),
        ..Secret::default()
    }
}

fn read_pairs(pairs: &[(&str, &str)], with_bundle: bool) -> Result<Brought, BroughtError> {
    read(&secret(pairs), NAME, with_bundle, NOW)
}

#[test]
fn a_good_certificate_is_taken() {
    let wildcard = issue(&["*.mesh.svc"], NOW - DAY, NOW + DAY);
    for Issued { chain, key, bundle } in [good(), wildcard] {
        let pairs = [
            ("tls.crt", chain.as_str()),
            ("tls.key", &key),
            ("ca.crt", &bundle),
        ];
        let brought = read_pairs(&pairs, true).unwrap();
        assert_eq!(brought.bundle, bundle);
        assert_eq!(brought.not_after, NOW + DAY);
        // Whoever keeps the caBundle himself need not say of what it is made.
        let brought = read_pairs(&pairs[..2], false).unwrap();
        assert_eq!(brought.bundle, "");
    }
}

#[test]
fn a_certificate_that_is_its_own_authority_is_taken() {
    let authority = Authority::generate(NOW - DAY).unwrap();
    let key = KeyPair::from_pem(&authority.key).unwrap();
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (NOW - DAY, NOW + DAY);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let chain = params.self_signed(&key).unwrap().pem();
    let pairs = [
        ("tls.crt", chain.as_str()),
        ("tls.key", &authority.key),
        ("ca.crt", &chain),
    ];
    assert!(read_pairs(&pairs, true).is_ok());
}

#[test]
fn each_fault_is_told() {
    let good = good();
    let other = issue(&[NAME], NOW - DAY, NOW + DAY);
    let misnamed = issue(&["other.mesh.svc"], NOW - DAY, NOW + DAY);
    let expired = issue(&[NAME], NOW - DAY * 2, NOW - DAY);
    let early = issue(&[NAME], NOW + DAY, NOW + DAY * 2);
    let misfit = issue(&["x"], NOW - DAY * 2, NOW);
    let of = |issued: &Issued| {
        [
            issued.chain.clone(),
            issued.key.clone(),
            issued.bundle.clone(),
        ]
    };
    let with = |index: usize, text: &str| {
        let mut three = of(&good);
        text.clone_into(&mut three[index]);
        three
    };
    for (three, expected) in [
        (with(0, ""), vec![Fault::Missing("tls.crt")]),
        (with(1, ""), vec![Fault::Missing("tls.key")]),
        (with(2, ""), vec![Fault::MissingBundle]),
        (with(0, "x"), vec![Fault::NoCertificate("tls.crt")]),
        (with(1, "x"), vec![Fault::Key]),
        (with(2, "x"), vec![Fault::NoCertificate("ca.crt")]),
        (with(1, &other.key), vec![Fault::Mismatch]),
        (with(2, &other.bundle), vec![Fault::Issuer]),
        (of(&misnamed), vec![Fault::Name(NAME.to_owned())]),
        (of(&expired), vec![Fault::Expired(NOW - DAY)]),
        (of(&early), vec![Fault::NotYetValid(NOW + DAY)]),
        (
            [String::new(), "x".to_owned(), String::new()],
            vec![Fault::Missing("tls.crt"), Fault::Key, Fault::MissingBundle],
        ),
        (
            [misfit.chain, good.key.clone(), good.bundle.clone()],
            vec![
                Fault::Expired(NOW),
                Fault::Name(NAME.to_owned()),
                Fault::Issuer,
                Fault::Mismatch,
            ],
        ),
    ] {
        let [chain, key, bundle] = &three;
        let pairs = [
            ("tls.crt", chain.as_str()),
            ("tls.key", key),
            ("ca.crt", bundle),
        ];
        let error = read_pairs(&pairs, true).unwrap_err();
        assert_eq!(error.0, expected, "{error}");
    }
}

#[test]
fn a_bundle_of_somebody_else_accepts_what_it_leads_to() {
    let (one, other) = (good(), good());
    let pairs = [("tls.crt", one.chain.as_str()), ("tls.key", &one.key)];
    let brought = read_pairs(&pairs, false).unwrap();
    for (bundles, expected) in [
        (vec![one.bundle.as_str()], true),
        (vec![&one.bundle, &other.bundle], false),
        (vec![&other.bundle], false),
        (vec![""], true),
    ] {
        let accepted = is_accepted_by(&brought, NAME, bundles.iter().copied(), NOW);
        assert_eq!(accepted, expected);
    }
}

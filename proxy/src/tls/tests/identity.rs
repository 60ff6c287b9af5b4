//! What equal contexts share, and what certificates say.

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::kit::*;
use crate::tls::{PeerCertificate, UpstreamTls};

#[test]
fn clusters_that_are_told_the_same_hold_nothing_of_their_own() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let own = ca.issue(&[CLIENT]);
    let clusters: Vec<UpstreamTls> = (0..100)
        .map(|index| {
            let account = format!("spiffe://cluster.local/ns/shop/sa/{}", index % 10);
            let mut message = caller(Some(&own), &ca, &account);
            message.sni = format!("outbound_.80_._.service-{index}.shop.svc.cluster.local");
            client(&contexts, &message)
        })
        .collect();
    assert_eq!(contexts.held(), (0, 1, 10));
    let held = contexts.certificates();
    assert_eq!(
        (held.len(), held[0].chains.len(), held[0].trusted.len()),
        (1, 1, 1)
    );
    drop(clusters);
    assert_eq!(contexts.held(), (0, 0, 0));
}

#[test]
fn a_certificate_tells_its_owner() {
    let ca = Authority::new("mesh");
    let pair = ca.issue(&[CLIENT, "cart.shop", "10.0.0.7"]);
    let der = CertificateDer::from_pem_slice(pair.chain.as_bytes()).unwrap();
    let peer = PeerCertificate::new(&der);
    let parsed = peer.parsed().unwrap();
    assert_eq!(*parsed.uri_sans, [CLIENT.into()]);
    assert_eq!(*parsed.dns_sans, ["cart.shop".into()]);
    assert_eq!(
        *parsed.ip_sans,
        ["10.0.0.7".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(&*parsed.subject, "CN=rcgen self signed cert");
    assert_eq!(&*parsed.issuer, "CN=mesh");
    assert!(parsed.not_before < parsed.not_after);
    assert!(
        PeerCertificate::new(&CertificateDer::from(&b"garbage"[..]))
            .parsed()
            .is_none()
    );
}

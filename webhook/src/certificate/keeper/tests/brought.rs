//! Somebody else issues the certificate.

use super::*;

/// A Secret of type kubernetes.io/tls, and its bundle.
fn brought(name: &str) -> (Value, String) {
    let authority = Authority::generate(OffsetDateTime::now_utc()).unwrap();
    let key = rcgen::KeyPair::from_pem(&authority.key).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&authority.certificate.der, key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    let chain = params.signed_by(&key, &issuer).unwrap().pem();
    let bytes = |text: String| ByteString(text.into_bytes());
    let mut secret = empty_secret();
    secret["type"] = json!("kubernetes.io/tls");
    secret["data"] = json!({
        "tls.crt": bytes(chain),
        "tls.key": bytes(key.serialize_pem()),
        "ca.crt": bytes(authority.bundle.clone()),
    });
    (secret, authority.bundle)
}

const BROUGHT: Origin = Origin::Brought { keep_bundle: true };

#[tokio::test(start_paused = true)]
async fn a_brought_certificate_is_served_and_trusted_and_its_secret_is_never_written() {
    let fake = installed();
    let (secret, bundle) = brought("webhook.mesh.svc");
    fake.put(SECRET, Some(secret));
    let replica = Replica::of(&fake, BROUGHT);
    replica.ready().await;
    assert!(replica.is_accepted_by(&bundle));
    assert_eq!(bundle_of_configuration(&fake), Some(bundle.clone()));
    let (secret, next) = brought("webhook.mesh.svc");
    fake.put(SECRET, Some(secret));
    until("the next is trusted", || {
        bundle_of_configuration(&fake) == Some(format!("{next}{bundle}"))
    })
    .await;
    assert!(
        replica.is_accepted_by(&bundle),
        "not before it is trusted everywhere"
    );
    until("the next is served", || replica.is_accepted_by(&next)).await;
    assert_eq!(fake.writes(SECRET), 0);
}

#[tokio::test(start_paused = true)]
async fn a_faulty_brought_certificate_leaves_the_last_good_one() {
    let fake = installed();
    let (secret, bundle) = brought("webhook.mesh.svc");
    fake.put(SECRET, Some(secret));
    let replica = Replica::of(&fake, BROUGHT);
    replica.ready().await;
    let (misnamed, _) = brought("other.mesh.svc");
    for (secret, part) in [
        (Some(misnamed), "is not for webhook.mesh.svc"),
        (Some(empty_secret()), "tls.crt is missing"),
        (None, "does not exist"),
    ] {
        fake.put(SECRET, secret);
        let told = || replica.gate.note().is_some_and(|note| note.contains(part));
        until(part, told).await;
        assert!(replica.readiness.is_ready() && replica.is_accepted_by(&bundle));
        assert_eq!(bundle_of_configuration(&fake), Some(bundle.clone()));
    }
    let (secret, next) = brought("webhook.mesh.svc");
    fake.put(SECRET, Some(secret));
    until("the mended one is served", || replica.is_accepted_by(&next)).await;
    assert_eq!(replica.gate.note(), None);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_of_somebody_else_is_left_alone_and_waited_for() {
    let fake = installed();
    let (secret, bundle) = brought("webhook.mesh.svc");
    let stranger = Authority::generate(OffsetDateTime::now_utc()).unwrap();
    let trusting = |bundle: &str| {
        let mut configuration = configuration();
        for entry in configuration["webhooks"].as_array_mut().unwrap() {
            entry["clientConfig"]["caBundle"] = json!(ByteString(bundle.as_bytes().to_vec()));
        }
        configuration
    };
    fake.put(CONFIGURATION, Some(trusting(&stranger.bundle)));
    fake.put(SECRET, Some(secret));
    let replica = Replica::of(&fake, Origin::Brought { keep_bundle: false });
    sleep(DEADLINE).await;
    assert!(!replica.readiness.is_ready());
    fake.put(CONFIGURATION, Some(trusting(&bundle)));
    replica.ready().await;
    assert_eq!(fake.writes(CONFIGURATION), 0);
}

#[tokio::test(start_paused = true)]
async fn replicas_of_two_origins_serve_side_by_side() {
    let (fake, other) = (installed(), Fake::new());
    let own = Replica::start(&fake);
    own.ready().await;
    let before = bundle_of_configuration(&fake).unwrap();
    let (secret, bundle) = brought("webhook.mesh.svc");
    other.put(SECRET, Some(secret));
    other.put(CONFIGURATION, fake.get(CONFIGURATION));
    let brought = Replica::of(&other, BROUGHT);
    brought.ready().await;
    // What the one has written, the other sees and lets be.
    let both = bundle_of_configuration(&other).unwrap();
    assert_eq!(both, format!("{bundle}{before}"));
    let writes = fake.writes(CONFIGURATION);
    fake.put(CONFIGURATION, other.get(CONFIGURATION));
    sleep(DEADLINE).await;
    assert_eq!(fake.writes(CONFIGURATION), writes);
    assert_eq!(bundle_of_configuration(&fake), Some(both.clone()));
    assert!(own.is_accepted_by(&both) && brought.is_accepted_by(&both));
}

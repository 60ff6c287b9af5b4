//! The own authority gives way to another.

use super::*;
use crate::certificate::{pem, rotation::SETTLE};

#[tokio::test(start_paused = true)]
async fn an_authority_near_its_end_gets_a_successor_without_a_gap() {
    let fake = installed();
    let long_ago = OffsetDateTime::now_utc() - time::Duration::days(3600);
    let old = Authority::generate(long_ago).unwrap();
    fake.put(SECRET, Some(secret_with(&old)));
    let replica = Replica::start(&fake);
    replica.ready().await;
    let bundle = bundle_of_configuration(&fake).unwrap();
    assert_eq!(bundle, bundle_of_secret(&fake));
    assert!(bundle.ends_with(&old.bundle) && bundle.len() > old.bundle.len());
    assert!(
        replica.is_accepted_by(&old.bundle),
        "the old one is served until the new is trusted"
    );
    until("the successor's is served", || {
        !replica.is_accepted_by(&old.bundle)
    })
    .await;
    assert!(replica.is_accepted_by(&bundle));
    assert_eq!(bundle_of_configuration(&fake), Some(bundle));
}

#[tokio::test(start_paused = true)]
async fn another_authority_is_served_only_when_it_is_trusted() {
    let fake = installed();
    let replica = Replica::start(&fake);
    replica.ready().await;
    let before = bundle_of_secret(&fake);
    let other = Authority::generate(OffsetDateTime::now_utc()).unwrap();
    fake.put(SECRET, Some(secret_with(&other)));
    until("the other is trusted", || {
        bundle_of_configuration(&fake) == Some(format!("{}{before}", other.bundle))
    })
    .await;
    let trusted = Instant::now();
    assert!(replica.is_accepted_by(&before) && !replica.is_accepted_by(&other.bundle));
    until("the other is served", || {
        replica.is_accepted_by(&other.bundle)
    })
    .await;
    assert!(trusted.elapsed() >= SETTLE - Duration::from_secs(1));
    assert!(!replica.is_accepted_by(&before));
    sleep(QUIET + CLOCK_CHECK * 2).await;
    assert_eq!(bundle_of_configuration(&fake), Some(other.bundle.clone()));
    assert!(replica.readiness.is_ready());
}

/// As `kubectl annotate --overwrite` does.
fn annotate(fake: &Fake, key: &str, value: &str) {
    let mut secret = fake.get(SECRET).unwrap();
    secret["metadata"]["annotations"][format!("fairlead.io/{key}")] = json!(value);
    fake.put(SECRET, Some(secret));
}

/// Waits until the successor is trusted; returns the bundle without it.
async fn force_authority(fake: &Fake) -> String {
    let old = bundle_of_secret(fake);
    annotate(fake, "rotate-authority", "1");
    until("the successor is trusted", || {
        bundle_of_configuration(fake).is_some_and(|bundle| bundle != old)
    })
    .await;
    old
}

#[tokio::test(start_paused = true)]
async fn a_forced_authority_is_trusted_by_all_before_any_replica_serves_it() {
    let fake = installed();
    let replicas = [Replica::start(&fake), Replica::start(&fake)];
    for replica in &replicas {
        replica.ready().await;
    }
    let old = force_authority(&fake).await;
    let trusted = Instant::now();
    let both = bundle_of_configuration(&fake).unwrap();
    assert!(both.ends_with(&old));
    // One that starts now serves the old authority's, too.
    let late = Replica::start(&fake);
    late.ready().await;
    for replica in replicas.iter().chain([&late]) {
        assert!(replica.is_accepted_by(&old));
    }
    for replica in replicas.iter().chain([&late]) {
        until("the new one is served", || !replica.is_accepted_by(&old)).await;
        assert!(replica.is_accepted_by(&both) && replica.readiness.is_ready());
    }
    assert!(trusted.elapsed() >= SETTLE - Duration::from_secs(1));
    assert_eq!(bundle_of_configuration(&fake), Some(both.clone()));
    assert_eq!(pem::certificates(&both).len(), 2);
    // What was obeyed is not obeyed again, and another value is.
    sleep(DEADLINE).await;
    assert_eq!(bundle_of_secret(&fake), both);
    annotate(&fake, "rotate-authority", "2");
    until("the second one", || {
        pem::certificates(&bundle_of_secret(&fake)).len() == 3
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_forced_leaf_is_another_certificate_of_the_same_authority() {
    let fake = installed();
    let replica = Replica::start(&fake);
    replica.ready().await;
    let bundle = bundle_of_configuration(&fake);
    let mut before = replica.served();
    for value in ["1", "2"] {
        annotate(&fake, "rotate-leaf", value);
        until("another leaf", || replica.served() != before).await;
        before = replica.served();
        sleep(DEADLINE).await;
        assert_eq!(replica.served(), before, "one request, one certificate");
    }
    assert_eq!(bundle_of_configuration(&fake), bundle);
    assert!(replica.readiness.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_rotation_ends_though_the_watches_fail() {
    let fake = installed();
    let replica = Replica::start(&fake);
    replica.ready().await;
    let old = force_authority(&fake).await;
    // As when somebody takes the right to watch away. What is in memory goes on, by the clock.
    fake.set_mood(Mood::Unwatchable);
    until("the new one is served", || !replica.is_accepted_by(&old)).await;
    assert!(replica.readiness.is_ready());
}

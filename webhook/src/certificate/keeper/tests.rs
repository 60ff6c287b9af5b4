mod brought;
mod rotation;

use fairlead_runtime::readiness::Readiness;
use k8s_openapi::ByteString;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::*;
use crate::{
    certificate::contents::with_authority,
    fake_api::{Fake, Mood},
};

const SECRET: &str = "/api/v1/namespaces/mesh/secrets/ca";
const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/injector";

const DEADLINE: Duration = Duration::from_secs(60);

fn empty_secret() -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "ca", "namespace": "mesh" } })
}

fn secret_with(authority: &Authority) -> Value {
    let empty: Secret = serde_json::from_value(empty_secret()).unwrap();
    serde_json::to_value(with_authority(&empty, authority)).unwrap()
}

/// As the chart makes it: without a bundle.
fn configuration() -> Value {
    let entry = |name: &str| {
        json!({
            "name": format!("{name}.sidecar-injector.istio.io"),
            "clientConfig": { "service": { "name": "webhook", "namespace": "mesh" } },
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
        })
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "injector" },
        "webhooks": [entry("namespace"), entry("object")],
    })
}

fn installed() -> Fake {
    let fake = Fake::new();
    fake.put(SECRET, Some(empty_secret()));
    fake.put(CONFIGURATION, Some(configuration()));
    fake
}

/// A keeper at work.
struct Replica {
    gate: Gate,
    certificate: Certificate,
    readiness: Readiness,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(fake: &Fake) -> Self {
        Self::of(fake, Origin::Own)
    }

    fn of(fake: &Fake, origin: Origin) -> Self {
        // Another test may have been first.
        let _ = default_provider().install_default();
        let names = Names {
            namespace: "mesh".to_owned(),
            secret: "ca".to_owned(),
            configuration: "injector".to_owned(),
            service: "webhook".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
        };
        let certificate = Certificate::default();
        let readiness = Readiness::default();
        let gate = readiness.gate("trusted");
        let metrics = Metrics::new().0;
        let served = certificate.clone();
        let keeper = Keeper::new(fake.client(), names, origin, served, gate.clone(), metrics);
        Self {
            gate,
            certificate,
            readiness,
            task: tokio::spawn(keeper.run()),
        }
    }

    async fn ready(&self) {
        until("the replica is ready", || self.readiness.is_ready()).await;
    }

    /// What is served at the moment.
    fn served(&self) -> CertificateDer<'static> {
        self.certificate.current().unwrap().cert[0].clone()
    }

    /// Whether a client that has this bundle accepts what the replica serves.
    fn is_accepted_by(&self, bundle: &str) -> bool {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let verifier = WebPkiServerVerifier::builder(Arc::new(roots))
            .build()
            .unwrap();
        let served = self.certificate.current().unwrap();
        let name = "webhook.mesh.svc".try_into().unwrap();
        let leaf = &served.cert[0];
        verifier
            .verify_server_cert(leaf, &[], &name, &[], UnixTime::now())
            .is_ok()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for a condition on the paused clock, which runs on when nothing else does.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn text(bytes: &Value) -> String {
    let bytes: ByteString = serde_json::from_value(bytes.clone()).unwrap();
    String::from_utf8(bytes.0).unwrap()
}

fn bundle_of_secret(fake: &Fake) -> String {
    text(&fake.get(SECRET).unwrap()["data"]["ca.crt"])
}

/// The bundle of every entry, which must be one.
fn bundle_of_configuration(fake: &Fake) -> Option<String> {
    let configuration = fake.get(CONFIGURATION).unwrap();
    let entries = configuration["webhooks"].as_array().unwrap();
    let bundle = &entries[0]["clientConfig"]["caBundle"];
    assert!(
        entries
            .iter()
            .all(|entry| &entry["clientConfig"]["caBundle"] == bundle)
    );
    (!bundle.is_null()).then(|| text(bundle))
}

#[tokio::test(start_paused = true)]
async fn a_new_installation_gets_an_authority_that_the_api_server_trusts() {
    let fake = installed();
    let replica = Replica::start(&fake);
    replica.ready().await;
    assert_eq!(
        bundle_of_configuration(&fake),
        Some(bundle_of_secret(&fake))
    );
    assert!(replica.is_accepted_by(&bundle_of_secret(&fake)));
}

#[tokio::test(start_paused = true)]
async fn replicas_that_start_at_once_settle_on_one_authority() {
    let fake = installed().with_race(2);
    let replicas = [Replica::start(&fake), Replica::start(&fake)];
    for replica in &replicas {
        replica.ready().await;
    }
    assert_eq!(fake.conflicts(), 1);
    assert_eq!(fake.writes(SECRET), 1);
    for replica in &replicas {
        assert!(replica.is_accepted_by(&bundle_of_configuration(&fake).unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_writes_nothing() {
    let fake = installed();
    Replica::start(&fake).ready().await;
    let writes = (fake.writes(SECRET), fake.writes(CONFIGURATION));
    assert_eq!(writes, (1, 1));
    let replica = Replica::start(&fake);
    replica.ready().await;
    assert!(replica.is_accepted_by(&bundle_of_secret(&fake)));
    assert_eq!((fake.writes(SECRET), fake.writes(CONFIGURATION)), writes);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_somebody_changed_is_repaired() {
    let fake = installed();
    let replica = Replica::start(&fake);
    replica.ready().await;
    fake.put(CONFIGURATION, Some(configuration()));
    until("the bundle is back", || {
        bundle_of_configuration(&fake).is_some()
    })
    .await;
    assert_eq!(
        bundle_of_configuration(&fake),
        Some(bundle_of_secret(&fake))
    );
    replica.ready().await;
}

#[tokio::test(start_paused = true)]
async fn an_emptied_secret_gets_the_same_authority_back() {
    let fake = installed();
    let replica = Replica::start(&fake);
    replica.ready().await;
    let bundle = bundle_of_secret(&fake);
    fake.put(SECRET, None);
    fake.put(SECRET, Some(empty_secret()));
    until("the Secret is filled", || fake.writes(SECRET) == 2).await;
    assert_eq!(bundle_of_secret(&fake), bundle);
    assert!(replica.readiness.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_waited_for() {
    let fake = Fake::new();
    fake.put(CONFIGURATION, Some(configuration()));
    let replica = Replica::start(&fake);
    sleep(DEADLINE).await;
    assert!(!replica.readiness.is_ready());
    fake.put(SECRET, Some(empty_secret()));
    replica.ready().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_configuration_is_waited_for_and_seen_to_go() {
    let fake = Fake::new();
    fake.put(SECRET, Some(empty_secret()));
    let replica = Replica::start(&fake);
    sleep(DEADLINE).await;
    assert!(!replica.readiness.is_ready());
    fake.put(CONFIGURATION, Some(configuration()));
    replica.ready().await;
    fake.put(CONFIGURATION, None);
    until("nothing calls the replica", || {
        !replica.readiness.is_ready()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_secret_is_left_for_its_owner_to_mend() {
    let fake = installed();
    let mut broken = empty_secret();
    broken["data"] = json!({ "ca.crt": "bm90IFBFTQ==", "ca.key": "bm90IFBFTQ==" });
    fake.put(SECRET, Some(broken));
    let replica = Replica::start(&fake);
    sleep(DEADLINE).await;
    assert!(!replica.readiness.is_ready());
    assert_eq!(fake.writes(SECRET), 0);
    fake.put(SECRET, Some(empty_secret()));
    replica.ready().await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_down_is_waited_for() {
    let fake = installed();
    fake.set_mood(Mood::Down);
    let replica = Replica::start(&fake);
    sleep(DEADLINE).await;
    assert!(!replica.readiness.is_ready());
    fake.set_mood(Mood::Well);
    replica.ready().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_well_again_is_no_fault_any_more() {
    let fake = installed();
    let replica = Replica::start(&fake);
    replica.ready().await;
    fake.set_mood(Mood::Down);
    let told = || replica.gate.note().unwrap_or_default();
    until("both watches fail", || {
        told().contains("watch Secret ca: ") && told().contains("watch injector: ")
    })
    .await;
    sleep(DEADLINE * 10).await;
    assert!(told().contains("watch Secret ca: "), "{}", told());
    assert!(replica.readiness.is_ready());
    // Both go on where they were, and have nothing to tell.
    fake.set_mood(Mood::Well);
    sleep(DEADLINE * 2 + Duration::from_secs(10)).await;
    assert_eq!(replica.gate.note(), None);
}

/// Undoes at once whatever others write at a path.
async fn undo(fake: Fake, path: &str, original: Value) {
    loop {
        sleep(Duration::from_millis(1)).await;
        let mut found = fake.get(path).unwrap();
        found["metadata"] = original["metadata"].clone();
        if found != original {
            fake.put(path, Some(original.clone()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_undoes_what_is_written_is_not_answered_with_a_storm() {
    for (path, original, complaint) in [
        (
            CONFIGURATION,
            configuration(),
            "somebody else keeps changing the caBundle of MutatingWebhookConfiguration injector",
        ),
        (
            SECRET,
            empty_secret(),
            "somebody else keeps emptying Secret mesh/ca",
        ),
    ] {
        let fake = installed();
        let replica = Replica::start(&fake);
        let opponent = tokio::spawn(undo(fake.clone(), path, original));
        sleep(DEADLINE).await;
        let writes = fake.writes(path);
        assert!((10..25).contains(&writes), "{writes} of {path}");
        let note = replica.gate.note().unwrap_or_default();
        assert!(note.contains(complaint), "{note}");
        opponent.abort();
        replica.ready().await;
        until("the complaint is taken back", || {
            replica.gate.note().is_none()
        })
        .await;
    }
}

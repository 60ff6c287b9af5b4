//! Certificates in files that change.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use fairlead_xds::envoy::{
    config::core::v3::{ConfigSource, PathConfigSource, config_source::ConfigSourceSpecifier},
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig,
        Secret, TlsCertificate, UpstreamTlsContext,
        common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
        secret::Type,
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::kit::*;
use crate::{
    compile::Findings,
    tls::{Contexts, DownstreamTls, UpstreamTls, watch},
};

/// A directory that the kubelet writes: `..data` leads to the newest version.
struct Volume(PathBuf);

impl Volume {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fairlead-{}-{name}", std::process::id()));
        // Left by an earlier process of the same number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let volume = Self(path);
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            let link = volume.0.join(name);
            std::os::unix::fs::symlink(Path::new("..data").join(name), link).unwrap();
        }
        volume
    }

    fn write(&self, version: &str, pair: &Pair, ca: &Authority) {
        let directory = self.0.join(version);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("tls.crt"), &pair.chain).unwrap();
        fs::write(directory.join("tls.key"), &pair.key).unwrap();
        fs::write(directory.join("ca.crt"), &ca.pem).unwrap();
        let next = self.0.join("..data_tmp");
        std::os::unix::fs::symlink(version, &next).unwrap();
        fs::rename(next, self.0.join("..data")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn certificate(&self) -> TlsCertificate {
        TlsCertificate {
            certificate_chain: file(&self.path("tls.crt")),
            private_key: file(&self.path("tls.key")),
            ..TlsCertificate::default()
        }
    }

    fn listener(&self) -> DownstreamTlsContext {
        let mut listener = open(&[]);
        let common = listener.common_tls_context.as_mut().unwrap();
        common.tls_certificates = vec![self.certificate()];
        listener
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // What stays is in the directory for what may be thrown away.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_swapped_directory_is_noticed_and_open_connections_stay() {
    let ca = Authority::new("mesh");
    let volume = Volume::new("swap");
    volume.write("..1", &ca.issue(&[SERVER]), &ca);
    let contexts = contexts();
    let server = server(&contexts, &volume.listener());
    let old = client(&contexts, &caller(None, &ca, SERVER));
    let renamed = "spiffe://cluster.local/ns/shop/sa/renamed";
    let new = client(&contexts, &caller(None, &ca, renamed));
    let (near, far) = meet(&old, &server, asking()).await;
    let ((mut near, _), (mut far, _)) = (near.unwrap(), far.unwrap());
    assert!(contexts.reload(SystemTime::now()).is_empty());

    volume.write("..2", &ca.issue(&[renamed]), &ca);
    let reloaded = contexts.reload(SystemTime::now());
    assert!(reloaded[0].outcome.is_ok());
    assert_eq!(
        reloaded[0].files,
        [volume.path("tls.crt"), volume.path("tls.key")]
    );
    assert!(contexts.reload(SystemTime::now()).is_empty());
    talk(&new, &server, asking()).await;

    far.write_all(b"still here").await.unwrap();
    far.shutdown().await.unwrap();
    let mut text = String::new();
    near.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "still here");
}

#[tokio::test]
async fn a_broken_pair_leaves_the_former_one_in_use() {
    let ca = Authority::new("mesh");
    let volume = Volume::new("broken");
    let first = ca.issue(&[SERVER]);
    volume.write("..1", &first, &ca);
    let contexts = contexts();
    let server = server(&contexts, &volume.listener());
    let client = client(&contexts, &caller(None, &ca, SERVER));
    let second = ca.issue(&[SERVER]);
    let torn = Pair {
        chain: second.chain.clone(),
        key: first.key,
    };
    volume.write("..2", &torn, &ca);
    let reloaded = contexts.reload(SystemTime::now());
    let faults = reloaded[0].outcome.as_ref().unwrap_err();
    assert_eq!(
        faults[0].to_string(),
        "common_tls_context.tls_certificates[0].private_key: is not the key of the certificate"
    );
    talk(&client, &server, asking()).await;
    // Told once, not each second.
    assert!(contexts.reload(SystemTime::now()).is_empty());
    volume.write("..3", &second, &ca);
    assert!(contexts.reload(SystemTime::now())[0].outcome.is_ok());
    talk(&client, &server, asking()).await;
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_noticed_long_after() {
    let ca = Authority::new("mesh");
    let volume = Volume::new("place");
    let first = ca.issue(&[SERVER]);
    volume.write("..1", &first, &ca);
    let contexts = contexts();
    let _server = server(&contexts, &volume.listener());
    let later = SystemTime::now() + Duration::from_secs(60);
    assert!(contexts.reload(later).is_empty());
    assert!(contexts.reload(later).is_empty());
    fs::remove_file(volume.path("tls.key")).unwrap();
    let gone = contexts.reload(later);
    assert!(gone[0].outcome.is_err());
    fs::write(volume.path("tls.key"), first.key).unwrap();
    assert!(contexts.reload(later)[0].outcome.is_ok());
}

#[test]
fn a_configuration_is_compiled_for_what_files_hold_now() {
    let ca = Authority::new("mesh");
    let volume = Volume::new("now");
    let pair = ca.issue(&[SERVER]);
    volume.write("..1", &pair, &ca);
    let contexts = contexts();
    let listener = volume.listener();
    let caller = UpstreamTlsContext {
        common_tls_context: listener.common_tls_context.clone(),
        ..UpstreamTlsContext::default()
    };
    let told = || {
        let findings = Findings::default();
        contexts.look_at_files();
        let server = DownstreamTls::compile(&findings.at("server"), &listener, &contexts);
        let client = UpstreamTls::compile(&findings.at("client"), &caller, &contexts);
        let compiled = server.zip(client);
        assert_eq!(compiled.is_some(), findings.faults().is_empty());
        let faults = findings.faults();
        let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
        (compiled, told)
    };
    let (in_use, faults) = told();
    assert_eq!(faults, [""; 0]);
    let is_in_use = || {
        let (again, faults) = told();
        assert_eq!(faults, [""; 0]);
        let ((server, _), (before, _)) = (again.unwrap(), in_use.as_ref().unwrap());
        assert!(Arc::ptr_eq(&server, before));
        assert_eq!(contexts.held(), (1, 1, 1));
    };
    is_in_use();

    let other = ca.issue(&[SERVER]);
    let key = volume.path("..1/tls.key");
    for (content, words) in [
        (None, "private_key.filename: read '"),
        (
            Some(&other.key),
            "private_key: is not the key of the certificate",
        ),
    ] {
        fs::remove_file(&key).unwrap();
        if let Some(content) = content {
            fs::write(&key, content).unwrap();
        }
        for noticed in [false, true] {
            if noticed {
                let reloaded = contexts.reload(SystemTime::now());
                assert!(reloaded.iter().all(|one| one.outcome.is_err()));
            }
            let (compiled, faults) = told();
            assert!(compiled.is_none());
            for (fault, side) in faults.iter().zip(["server", "client"]) {
                let place = format!("{side}.common_tls_context.tls_certificates[0].{words}");
                assert!(fault.starts_with(&place), "{fault}");
            }
            assert_eq!(faults.len(), 2);
        }
        fs::write(&key, &pair.key).unwrap();
        contexts.reload(SystemTime::now());
        is_in_use();
    }
}

#[tokio::test]
async fn another_ca_ends_the_sessions_of_the_former_one() {
    let (ca, next) = (Authority::new("mesh"), Authority::new("next"));
    let volume = Volume::new("ca");
    volume.write("..1", &ca.issue(&[CLIENT]), &ca);
    let contexts = contexts();
    let server = server(&contexts, &open(&[&ca.issue(&[SERVER])]));
    let mut message = caller(None, &ca, SERVER);
    let mut validation = trusting(&ca);
    validation.trusted_ca = file(&volume.path("ca.crt"));
    let context = ValidationContextType::ValidationContext(validation);
    message
        .common_tls_context
        .as_mut()
        .unwrap()
        .validation_context_type = Some(context);
    let client = client(&contexts, &message);
    talk(&client, &server, asking()).await;
    let (at_client, _) = talk(&client, &server, asking()).await;
    assert!(at_client.resumed);
    volume.write("..2", &ca.issue(&[CLIENT]), &next);
    assert!(contexts.reload(SystemTime::now())[0].outcome.is_ok());
    let (near, _) = meet(&client, &server, asking()).await;
    assert_eq!(
        near.unwrap_err().token(),
        "tls_peer_certificate_unknown_issuer"
    );
}

#[tokio::test]
async fn secrets_in_a_file_are_merged_with_the_default_and_read_again() {
    /// Secrets as this test writes them: lines of a chain's, a key's and a CA's path.
    fn read(_: &Path, text: &[u8]) -> Result<Vec<Secret>, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let [chain, key, ca] = text.lines().collect::<Vec<_>>()[..] else {
            return Err("three lines are needed".to_owned());
        };
        let certificate = TlsCertificate {
            certificate_chain: file(Path::new(chain)),
            private_key: file(Path::new(key)),
            ..TlsCertificate::default()
        };
        let validation = CertificateValidationContext {
            trusted_ca: file(Path::new(ca)),
            ..CertificateValidationContext::default()
        };
        let secret = |name: &str, secret| Secret {
            name: name.to_owned(),
            r#type: Some(secret),
        };
        Ok(vec![
            secret("default", Type::TlsCertificate(certificate)),
            secret("ROOTCA", Type::ValidationContext(validation)),
        ])
    }
    let ca = Authority::new("mesh");
    let volume = Volume::new("sds");
    volume.write("..1", &ca.issue(&[CLIENT]), &ca);
    let sds = volume.path("sds");
    let paths = ["tls.crt", "tls.key", "ca.crt"].map(|name| volume.path(name));
    let lines = paths
        .map(|path| path.to_str().unwrap().to_owned())
        .join("\n");
    fs::write(&sds, lines).unwrap();
    let contexts = Contexts::new(|_| None, read, Box::default());
    let config = |name: &str| SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(ConfigSource {
            config_source_specifier: Some(ConfigSourceSpecifier::PathConfigSource(
                PathConfigSource {
                    path: sds.to_str().unwrap().to_owned(),
                    ..PathConfigSource::default()
                },
            )),
            ..ConfigSource::default()
        }),
    };
    let mut default = trusting(&ca);
    default.trusted_ca = None;
    default.match_typed_subject_alt_names = vec![uri(SERVER)];
    let combined = CombinedCertificateValidationContext {
        default_validation_context: Some(default),
        validation_context_sds_secret_config: Some(config("ROOTCA")),
        ..CombinedCertificateValidationContext::default()
    };
    let message = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![config("default")],
            validation_context_type: Some(ValidationContextType::CombinedValidationContext(
                combined,
            )),
            ..common(&[], None)
        }),
        ..UpstreamTlsContext::default()
    };
    let client = client(&contexts, &message);
    let server = server(&contexts, &strict(&ca.issue(&[SERVER]), &ca));
    let (at_client, at_server) = talk(&client, &server, asking()).await;
    assert!(at_client.validated && at_server.validated);
    let before = at_server.peer.unwrap();
    volume.write("..2", &ca.issue(&[CLIENT]), &ca);
    assert!(contexts.reload(SystemTime::now())[0].outcome.is_ok());
    let (at_client, at_server) = talk(&client, &server, asking()).await;
    assert!(!at_client.resumed);
    assert_ne!(at_server.peer.unwrap().der(), before.der());
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_each_second() {
    let ca = Authority::new("mesh");
    let volume = Volume::new("watch");
    volume.write("..1", &ca.issue(&[SERVER]), &ca);
    let contexts = Arc::new(contexts());
    let _server = server(&contexts, &volume.listener());
    let (told, mut tellings) = tokio::sync::mpsc::unbounded_channel();
    let watching = watch(contexts.clone(), move |reloaded| {
        told.send(reloaded.outcome.is_ok()).unwrap();
    });
    let changing = async {
        volume.write("..2", &ca.issue(&[SERVER]), &ca);
        let start = tokio::time::Instant::now();
        assert_eq!(tellings.recv().await, Some(true));
        volume.write("..3", &ca.issue(&[SERVER]), &ca);
        assert_eq!(tellings.recv().await, Some(true));
        assert!(start.elapsed() <= Duration::from_secs(2));
    };
    tokio::select! {
        () = watching => unreachable!("it goes on for ever"),
        () = changing => {}
    }
}

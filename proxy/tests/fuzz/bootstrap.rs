//! Bootstraps: each is sound, or each of its faults is told.

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime},
};

use fairlead_proxy::{
    access_log::{self, Outputs},
    compile::Findings,
    configuration::{read_secrets, secrets},
    listener::config::Surroundings,
    network_filter::local_ratelimit::SharedTokenBuckets,
    snapshot::Snapshot,
    stats::{StatsConfig, Store},
    tls::Contexts,
};
use fairlead_xds::{
    bootstrap,
    read::{Format, UnknownFields},
};
use fastrand::Rng;
use rcgen::{CertificateParams, KeyPair};

use crate::{
    fuzz,
    mutation::{mutated_text, one_of},
};

/// One of each kind of resource, with what is compiled by most hands.
static SOUND: LazyLock<String> = LazyLock::new(|| {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let quoted = |pem: String| format!("{pem:?}");
    // Its content does not matter here, only that it is there.
    let endpoints = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fuzz/bootstrap/sound.yaml"
    );
    include_str!("bootstrap/sound.yaml")
        .replace("ENDPOINTS", endpoints)
        .replace("CERTIFICATE", &quoted(certificate.pem()))
        .replace("PRIVATE_KEY", &quoted(key.serialize_pem()))
});

const PIECES: &[&str] = &[
    "",
    " ",
    "  ",
    "\n",
    "\n- ",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "'",
    "\"",
    "|\n",
    ">-\n",
    "#",
    "&a ",
    "*a",
    "<<: *a\n",
    "&a [*a, *a]",
    "!!binary ",
    "---\n",
    "? ",
    "~",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    ".nan",
    "4294967296",
    "18446744073709551616",
    "0s",
    "-1s",
    "315576000001s",
    "0.0000000001s",
    "type.googleapis.com/",
    "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "'@type'",
    "STATIC",
    "EDS",
    "ORIGINAL_DST",
    "RING_HASH",
    "MAGLEV",
    "::",
    "0.0.0.0",
    "256.0.0.1",
    "*",
    "*.",
    "(",
    "(?=a)",
    "(a{1000}){1000}",
    "%",
    "%START_TIME(",
    "\u{0}",
    "\u{feff}",
    "é",
    "\t",
];

/// Exchanges whole lines, which keeps more of the structure than exchanging bytes.
fn lines(rng: &mut Rng) -> String {
    let mut lines: Vec<&str> = SOUND.lines().collect();
    for _ in 0..rng.usize(..3) {
        let (from, to) = (rng.usize(..lines.len()), rng.usize(..lines.len()));
        match rng.u8(..3) {
            0 => drop(lines.remove(to)),
            1 => lines.insert(to, lines[from]),
            _ => lines.swap(from, to),
        }
    }
    lines.join("\n")
}

fn text(rng: &mut Rng) -> String {
    let text = lines(rng);
    match rng.u8(..4) {
        0 => text,
        1 => {
            // One value or key.
            let words: Vec<&str> = text.split_inclusive([' ', '\n', ',']).collect();
            let at = rng.usize(..words.len());
            let word = one_of(rng, PIECES);
            [&words[..at], &[word], &words[at + 1..]].concat().concat()
        }
        _ => mutated_text(rng, &text, PIECES),
    }
}

/// The faults; none, if the bootstrap is sound.
fn faults(text: &str) -> Vec<String> {
    let read = bootstrap::read_pieces(text.as_bytes(), Format::Yaml, UnknownFields::Refuse);
    let bootstrap = match read {
        Ok(read) => read.message,
        Err(faults) => {
            assert!(!faults.is_empty());
            return faults.iter().map(ToString::to_string).collect();
        }
    };
    let findings = Findings::default();
    let stats = bootstrap.bootstrap.stats_config.as_ref();
    let stats = stats.map(|message| StatsConfig::compile(&findings.at("stats_config"), message));
    let Some(stats) = stats.unwrap_or_else(|| Some(StatsConfig::default())) else {
        return findings.faults().iter().map(ToString::to_string).collect();
    };
    let secrets = match secrets(&bootstrap) {
        Ok(secrets) => secrets,
        Err(error) => return vec![error.to_string()],
    };
    let (contexts, outputs) = (
        Contexts::new(|_| None, read_secrets, secrets),
        Outputs::new(),
    );
    let with = Surroundings {
        contexts: &contexts,
        logs: access_log::Surroundings {
            // Nothing is opened.
            sinks: None,
            outputs: &outputs,
            environment: &|_| None,
            hostname: "pod",
        },
        token_buckets: &SharedTokenBuckets::default(),
        store: &Store::new(stats),
        before: &[],
        now: Instant::now(),
    };
    let snapshot = Snapshot::compile(&findings, &bootstrap, &with);
    let faults = findings.faults();
    assert_eq!(snapshot.is_some(), faults.is_empty(), "{faults:?}");
    drop(contexts.reload(SystemTime::now()));
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn the_bootstrap_that_is_mutated_is_sound() {
    assert_eq!(faults(&SOUND), [""; 0]);
}

#[test]
fn every_mutated_bootstrap_is_sound_or_told_what_is_wrong() {
    fuzz(500, text, |text| {
        for fault in faults(text) {
            assert!(!fault.is_empty());
        }
    });
}

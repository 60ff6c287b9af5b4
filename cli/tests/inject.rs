//! `fairlead inject` and `fairlead uninject` on whole manifests.
//!
//! `corpus/server` holds what an API server accepts, before and after the injection; `corpus/offline`
//! what it does not know without others' CRDs, or takes only by `create`; `corpus/refused` what is
//! refused. `corpus/configured` is injected with the configuration beside it. `golden` holds what is printed for each, and what is said on the standard error.
//! `UPDATE_GOLDEN=1 cargo test -p fairlead-cli` rewrites it.
//!
//! On a cluster: `for file in cli/tests/corpus/server/*; do fairlead inject -f $file |
//! kubectl apply --dry-run=server -f - || break; done`

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "inject/bad_input.rs"]
mod bad_input;
#[path = "inject/settings.rs"]
mod settings;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde::Deserialize;
use serde_json::Value;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The files of a directory of the corpus.
fn corpus(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(tests().join("corpus").join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn accepted() -> Vec<PathBuf> {
    [corpus("server"), corpus("offline")].concat()
}

fn fairlead(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fairlead"))
        .args(arguments)
        // There is no cluster here.
        .env("KUBECONFIG", "/none")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // Fails if the program ends without reading all, which is its right.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    })
}

/// What is printed for an input that goes through.
#[track_caller]
fn through(arguments: &[&str], input: &str) -> String {
    let output = fairlead(arguments, input.as_bytes());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

const INJECT: [&str; 4] = ["inject", "--defaults", "-f", "-"];
const UNINJECT: [&str; 3] = ["uninject", "-f", "-"];

/// The documents of a manifest, read by another parser than the product's.
fn values(text: &str) -> Vec<Value> {
    let text = text.trim_start();
    if text.starts_with('{') {
        let stream = serde_json::Deserializer::from_str(text).into_iter();
        return stream.map(Result::unwrap).collect();
    }
    serde_norway::Deserializer::from_str(text)
        .map(|document| {
            let mut value = serde_norway::Value::deserialize(document).unwrap();
            value.apply_merge().unwrap();
            let mut value = serde_json::to_value(value).unwrap();
            as_kubectl_reads(&mut value);
            value
        })
        .collect()
}

/// The other parser knows YAML 1.2 alone; these are the fields of the corpus where it matters.
fn as_kubectl_reads(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(as_kubectl_reads),
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value.as_str()) {
                    ("mode" | "defaultMode", Some(octal)) => {
                        *value = i64::from_str_radix(octal, 8).unwrap().into();
                    }
                    ("optional", Some("yes")) => *value = true.into(),
                    _ => as_kubectl_reads(value),
                }
            }
        }
        _ => {}
    }
}

#[track_caller]
fn check_golden(name: &str, found: &str) {
    let path = tests().join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(
        found, expected,
        "{name} differs; UPDATE_GOLDEN=1 rewrites it"
    );
}

#[test]
fn the_corpus_is_injected_as_before() {
    for file in [accepted(), corpus("refused")].concat() {
        let output = fairlead(&INJECT, &fs::read(&file).unwrap());
        let name = file.file_name().unwrap().to_str().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let refused = file.parent().unwrap().ends_with("refused");
        assert_eq!(output.status.code(), Some(refused.into()), "{name}: {said}");
        let stem = file.file_stem().unwrap().to_str().unwrap();
        check_golden(&format!("{stem}.report"), &said);
        if refused {
            assert!(output.stdout.is_empty(), "{name}");
        } else {
            check_golden(name, std::str::from_utf8(&output.stdout).unwrap());
        }
    }
}

#[test]
fn a_mesh_that_says_something_of_everything_is_followed() {
    let directory = tests().join("corpus/configured");
    let config = directory.join("config.yaml");
    let mut inject = vec!["inject", "-f", "-", "--inject-config"];
    inject.push(config.to_str().unwrap());
    let text = fs::read_to_string(directory.join("pods.yaml")).unwrap();
    let output = fairlead(&inject, text.as_bytes());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    check_golden("configured.report", &said);
    let once = String::from_utf8(output.stdout).unwrap();
    check_golden("configured.yaml", &once);
    assert_eq!(through(&inject, &once), once, "a second injection");
    let back = through(&UNINJECT, &once);
    assert_eq!(values(&back), values(&text), "an uninjection");
}

#[test]
fn the_corpus_has_sixty_pods() {
    let mut pods = 0;
    for file in accepted() {
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let report = tests().join("golden").join(format!("{stem}.report"));
        let report = fs::read_to_string(report).unwrap();
        let is_verdict = |line: &&str| line.ends_with(": injected") || line.contains(": skipped: ");
        pods += report.lines().filter(is_verdict).count();
    }
    assert!(pods >= 60, "{pods}");
}

#[test]
fn uninjection_gives_back_what_was_injected() {
    for file in accepted() {
        let text = fs::read_to_string(&file).unwrap();
        let back = through(&UNINJECT, &through(&INJECT, &text));
        assert_eq!(values(&back), values(&text), "{}", file.display());
    }
}

#[test]
fn a_second_injection_changes_no_byte() {
    for file in accepted() {
        let text = fs::read_to_string(&file).unwrap();
        let once = through(&INJECT, &text);
        assert_eq!(through(&INJECT, &once), once, "{}", file.display());
    }
}

#[test]
fn an_injection_after_an_uninjection_is_the_same() {
    for file in accepted() {
        let text = fs::read_to_string(&file).unwrap();
        let once = through(&INJECT, &text);
        let again = through(&INJECT, &through(&UNINJECT, &once));
        assert_eq!(values(&again), values(&once), "{}", file.display());
    }
}

#[test]
fn what_was_not_injected_is_uninjected_without_change() {
    for file in [accepted(), corpus("refused")].concat() {
        let name = file.file_name().unwrap();
        if name == "shapes.yaml" {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(through(&UNINJECT, &text), text, "{}", file.display());
    }
}

#[test]
fn documents_that_are_not_injected_come_through_byte_by_byte() {
    let untouched = fs::read_to_string(tests().join("corpus/server/untouched.yaml")).unwrap();
    assert_eq!(through(&INJECT, &untouched), untouched);
    for (file, parts) in [
        (
            "decisions.yaml",
            [
                "---\n# Comes through as it stands,   with   its spaces.\n",
                "metadata: {name: label-false,   labels: {sidecar.istio.io/inject: \"false\"}}  # opted out\n",
            ],
        ),
        (
            "workloads.yaml",
            [
                "  name: cart   # comes through with this comment\n",
                "    - port: 80\n      targetPort: http\n---\n",
            ],
        ),
    ] {
        let text = fs::read_to_string(tests().join("corpus/server").join(file)).unwrap();
        let injected = through(&INJECT, &text);
        for part in parts {
            assert!(text.contains(part), "{part}");
            assert!(injected.contains(part), "{part}");
        }
    }
}

#[test]
fn a_newer_setting_is_followed_and_the_first_input_still_comes_back() {
    for file in accepted() {
        let text = fs::read_to_string(&file).unwrap();
        let mut canary = INJECT.to_vec();
        canary.extend(["--revision", "canary"]);
        let newer = through(&canary, &through(&INJECT, &text));
        assert_eq!(
            values(&through(&UNINJECT, &newer)),
            values(&text),
            "{}",
            file.display()
        );
        assert_eq!(through(&canary, &newer), newer, "{}", file.display());
    }
}

#[test]
fn ten_megabytes_go_through() {
    let pod = fs::read_to_string(tests().join("corpus/server/anchors.yaml")).unwrap();
    let data =
        "  \"key\": |\n".to_owned() + &"    some text, of which there is much\n".repeat(2000);
    let map = format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n{data}");
    let large = format!("{pod}{}", map.repeat(10 * 1024 * 1024 / map.len() + 1));
    assert!(large.len() > 10 << 20);
    let injected = through(&INJECT, &large);
    assert!(injected.ends_with(&large[pod.len()..]));
    assert!(injected.contains("istio-proxy"));
}

//! Pods that are made to keep the webhook busy: the API server looks at what is in a pod only after the
//! webhook.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use fairlead_webhook::{
    inject::{Place, inject},
    patch::additions,
    settings::Settings,
};
use serde_json::{Value, json};

/// Far more than one takes, unoptimized on a loaded machine, and far less than what grows with the square
/// of the size would.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of everything a pod has.
#[derive(Clone, Copy, Debug)]
struct Size {
    elements: usize,
    bytes: usize,
}

/// As much as the API server takes of a client.
const SENT: Size = Size {
    elements: 20_000,
    bytes: 3 << 20,
};
/// As much as is not refused for its size alone.
const ACCEPTED: Size = Size {
    elements: 1024,
    bytes: 250 << 10,
};

impl Size {
    fn list(self, element: impl Fn(usize) -> Value) -> Value {
        (0..self.elements).map(element).collect()
    }

    fn words(self, word: impl Fn(usize) -> String) -> String {
        let words = (0..).map(word).scan(0, |length, word| {
            *length += word.len() + 1;
            (*length < self.bytes).then_some(word)
        });
        words.collect::<Vec<_>>().join(",")
    }
}

#[track_caller]
fn check(pod: &Value) {
    let settings = Settings::parse("image: fairlead/proxy:0.1.0").unwrap();
    for native in [true, false] {
        let started = Instant::now();
        let injected = inject(pod, &Place::named("shop", native), &settings);
        let said = match &injected {
            Ok(injected) => {
                additions(pod, &injected.pod);
                injected.warnings.concat()
            }
            Err(refusal) => refusal.to_string(),
        };
        let (took, start) = (started.elapsed(), pod.to_string());
        let start: String = start.chars().take(200).collect();
        assert!(took < PATIENCE, "{took:?}: {start}");
        assert!(said.len() < 64 << 10, "{} bytes: {start}", said.len());
    }
}

fn spec(spec: &Value) -> Value {
    json!({ "spec": spec })
}

fn annotated(key: &str, value: &str) -> Value {
    json!({
        "metadata": { "annotations": { key: value, "prometheus.io/scrape": "true" } },
        "spec": { "containers": [{ "name": "app" }] },
    })
}

#[test]
fn many_elements_are_refused_or_looked_at_in_time() {
    let app = json!({ "name": "app" });
    let probe = json!({ "tcpSocket": { "port": 80 } });
    let element = |n| {
        json!({ "name": format!("n{n}"), "containerPort": n, "mountPath": format!("/{n}"),
                "livenessProbe": probe })
    };
    for size in [SENT, ACCEPTED] {
        let elements = size.list(element);
        check(&spec(&json!({ "containers": elements })));
        check(&spec(
            &json!({ "containers": [app], "initContainers": elements }),
        ));
        check(&spec(&json!({ "containers": [app], "volumes": elements })));
        let ports = json!({
            "name": "app",
            "ports": elements,
            "livenessProbe": { "tcpSocket": { "port": "x" } },
        });
        check(&spec(&json!({ "containers": [ports] })));
        for name in ["istio-proxy", "istio-init"] {
            let same = size.list(|_| json!({ "name": name, "image": "auto" }));
            check(&spec(&json!({ "containers": same })));
            check(&spec(
                &json!({ "containers": [app], "initContainers": same }),
            ));
            for list in ["env", "ports", "volumeMounts"] {
                let own = json!({ "name": name, list: elements });
                check(&spec(
                    &json!({ "containers": [app], "initContainers": [own] }),
                ));
                check(&spec(&json!({ "containers": [app, own] })));
            }
        }
    }
}

#[test]
fn long_annotations_are_refused_or_read_in_time() {
    for size in [SENT, ACCEPTED] {
        let ranges = size.words(|n| format!("{}-{}", n % 9000 + 1, 9001 + n / 9000));
        for kind in ["includeInbound", "excludeInbound", "excludeOutbound"] {
            let key = format!("traffic.sidecar.istio.io/{kind}Ports");
            check(&annotated(&key, &ranges));
        }
        let names = size.words(|n| format!("n{n}"));
        for key in [
            "inject.istio.io/templates",
            "traffic.sidecar.istio.io/excludeInterfaces",
        ] {
            check(&annotated(key, &names));
        }
        let pages = size.words(|n| format!("{}:/{n}", 20000 + n % 10000));
        check(&annotated("prometheus.istio.io/scrape-targets", &pages));
        let variables = size.words(|n| format!("V{n}: a"));
        let config = format!("proxyMetadata: {{{variables}}}");
        check(&annotated("proxy.istio.io/config", &config));
        let volumes = size.words(|n| format!("\"v{n}\":{{}}"));
        check(&annotated(
            "sidecar.istio.io/userVolume",
            &format!("{{{volumes}}}"),
        ));
        let mounts = size.words(|n| format!("\"v{n}\":{{\"mountPath\":\"/{n}\"}}"));
        check(&annotated(
            "sidecar.istio.io/userVolumeMount",
            &format!("{{{mounts}}}"),
        ));
        let variables = size.words(|n| format!("{{\"name\":\"v{n}\"}}"));
        let own =
            format!("{{\"containers\":[{{\"name\":\"istio-proxy\",\"env\":[{variables}]}}]}}");
        check(&annotated("proxy.istio.io/overrides", &own));
        let names = size.words(|n| format!("\"n{n}\""));
        let status = format!("{{\"containers\":[{names}]}}");
        let mut pod = annotated("sidecar.istio.io/status", &status);
        pod["spec"]["containers"] = size.list(|n| json!({ "name": format!("c{n}") }));
        check(&pod);
    }
}

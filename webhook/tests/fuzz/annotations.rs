//! The annotations of a pod and of its namespace.

use std::collections::BTreeMap;

use fairlead_api::annotations::table;
use fairlead_webhook::{
    inject::{Injected, Place, inject},
    patch::additions,
};
use json_patch::Patch;
use serde_json::{Value, json};

use super::{NAMESPACE, check_patch, fuzz, random::Random, settings};

/// Values that some annotation accepts.
const VALUES: &[&str] = &[
    "true",
    "false",
    "*",
    "80,6000-6010,443",
    "10.0.0.0/8,fd00::/64,192.168.1.1/32",
    "debug",
    "rbac:debug,info",
    "100m",
    "1.5Gi",
    "15020",
    "TPROXY",
    "NONE",
    "registry.example.com:5000/proxy:v1@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "eth1,net1",
    "sidecar,gateway",
    "/metrics?format=text",
    "http://127.0.0.1:9100/metrics",
    "concurrency: 3\nproxyMetadata: { A: b }\nterminationDrainDuration: 5s\n",
    "{\"concurrency\": 2, \"holdApplicationUntilProxyStarts\": true}",
    "[{\"name\": \"certs\", \"secret\": {\"secretName\": \"a\"}}]",
    "{\"certs\": {\"mountPath\": \"/certs\", \"readOnly\": true}}",
    "{\"initContainers\":[\"istio-init\"],\"containers\":[\"istio-proxy\"],\"volumes\":null}",
    "{\"containers\":[{\"name\":\"istio-proxy\",\"image\":\"auto\"}]}",
];

const PIECES: &[&str] = &[
    "",
    " ",
    ",",
    "-",
    "*",
    "0",
    "65536",
    "18446744073709551616",
    "-1",
    "/33",
    "::",
    ":",
    "\n",
    "\"",
    "{",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "a: &a [*a, *a]\n",
    "<<: *a\n",
    "!!binary ",
    "&a",
    "*a",
    "\t",
    "é",
    "\u{0}",
    "1e999",
    "@",
    "%",
    "null",
    "~",
];

#[derive(Debug)]
struct Case {
    pod: Value,
    of_namespace: BTreeMap<String, String>,
    native: bool,
}

#[test]
fn every_mutated_annotation_is_taken_or_refused() {
    let keys: Vec<&str> = table::all().map(|annotation| annotation.key).collect();
    let settings = settings();
    let make = |random: &mut Random| {
        let mut some = |most: usize| -> BTreeMap<String, String> {
            (0..random.below(most))
                .map(|_| annotation(random, &keys))
                .collect()
        };
        let (of_pod, of_namespace) = (some(5), some(3));
        let pod = json!({
            "metadata": { "name": "cart", "labels": { "app": "cart" }, "annotations": of_pod },
            "spec": {
                "containers": [{
                    "name": "app",
                    "ports": [{ "name": "http", "containerPort": 8080 }],
                    "readinessProbe": { "httpGet": { "port": "http" } },
                }],
                "volumes": [{ "name": "certs", "emptyDir": {} }],
            },
        });
        Case {
            pod,
            of_namespace,
            native: random.below(2) == 0,
        }
    };
    fuzz(6_000, make, |case| {
        let place = Place {
            annotations: &case.of_namespace,
            ..Place::named(NAMESPACE, case.native)
        };
        match inject(&case.pod, &place, &settings) {
            Ok(Injected { pod, .. }) => {
                check_patch(&case.pod, &pod);
                let again = inject(&pod, &place, &settings);
                let again =
                    again.unwrap_or_else(|refusal| panic!("refused at the second time: {refusal}"));
                let Patch(difference) = additions(&pod, &again.pod);
                assert_eq!(again.pod, pod, "a second injection makes {difference:?}");
            }
            Err(refusal) => assert!(!refusal.0.is_empty() && !refusal.to_string().is_empty()),
        }
    });
}

/// A known key with the value of some annotation, mostly mutated.
fn annotation(random: &mut Random, keys: &[&str]) -> (String, String) {
    let key = (*random.one_of(keys)).to_owned();
    let value = *random.one_of(VALUES);
    let value = match random.below(3) {
        0 => value.to_owned(),
        _ => String::from_utf8_lossy(&random.mutation(value.as_bytes(), PIECES)).into_owned(),
    };
    (key, value)
}

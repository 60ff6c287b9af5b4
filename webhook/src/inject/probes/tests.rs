use super::*;

/// The proxy's map and the pod, or the faults.
type Rewritten = Result<(Value, Value), Vec<String>>;

/// What becomes of a pod, and the warnings.
fn rewrite(pod: &Value, native: bool) -> (Rewritten, Vec<String>) {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let status = Status::read(pod).unwrap();
    let probes = Probes::of(pod, &status, native, 15020, &mut faults, &mut warnings);
    if !faults.is_empty() {
        let faults = faults.iter().map(ToString::to_string).collect();
        return (Err(faults), warnings);
    }
    let mut rewritten = pod.clone();
    probes.apply(&mut rewritten);
    let text = probes.text();
    let map = match text.as_str() {
        "" => json!({}),
        text => serde_json::from_str(text).unwrap(),
    };
    (Ok((map, rewritten)), warnings)
}

fn pod(container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("web");
    json!({ "spec": { "containers": [container] } })
}

#[track_caller]
fn check(probe: &Value, original: &Value, rewritten: &Value) {
    let ports = json!([
        { "name": "http", "containerPort": 8080 },
        { "name": "grpc", "containerPort": 9000 },
        { "containerPort": 7000 },
    ]);
    let (result, warnings) = rewrite(
        &pod(json!({ "ports": ports, "livenessProbe": probe })),
        true,
    );
    let (map, pod) = result.unwrap();
    let probe = &pod["spec"]["containers"][0]["livenessProbe"];
    assert_eq!(
        (&map["/app-health/web/livez"], probe),
        (original, rewritten)
    );
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn a_request_keeps_all_but_its_destination() {
    let headers = json!([{ "name": "Host", "value": "shop.example" }]);
    check(
        &json!({
            "httpGet": { "path": "/live?x=1", "port": "http", "scheme": "HTTPS", "httpHeaders": headers },
            "timeoutSeconds": 3,
            "periodSeconds": 5,
            "fromTheFuture": true,
        }),
        &json!({
            "httpGet": { "port": 8080, "path": "/live?x=1", "scheme": "HTTPS" },
            "timeoutSeconds": 3,
        }),
        &json!({
            "httpGet": {
                "path": "/app-health/web/livez",
                "port": 15020,
                "scheme": "HTTP",
                "httpHeaders": headers,
            },
            "timeoutSeconds": 3,
            "periodSeconds": 5,
            "fromTheFuture": true,
        }),
    );
}

#[test]
fn a_connection_and_a_health_check_become_requests() {
    let rewritten = json!({
        "httpGet": { "path": "/app-health/web/livez", "port": 15020, "scheme": "HTTP" },
    });
    for (probe, original) in [
        (
            json!({ "tcpSocket": { "port": "grpc" } }),
            json!({ "tcpSocket": { "port": 9000 } }),
        ),
        (
            json!({ "tcpSocket": { "port": "81" } }),
            json!({ "tcpSocket": { "port": 81 } }),
        ),
        (
            json!({ "grpc": { "port": 9000, "service": "cart" } }),
            json!({ "grpc": { "port": 9000, "service": "cart" } }),
        ),
        (
            json!({ "grpc": { "port": 9000, "service": null } }),
            json!({ "grpc": { "port": 9000 } }),
        ),
    ] {
        let mut original = original;
        original["timeoutSeconds"] = json!(1);
        check(&probe, &original, &rewritten);
    }
}

#[test]
fn every_probe_and_hook_of_every_application_container_is_taken_over() {
    let probe = json!({ "httpGet": { "port": 80 } });
    let container = |name: &str| {
        json!({
            "name": name,
            "startupProbe": probe, "readinessProbe": probe, "livenessProbe": probe,
            "lifecycle": { "postStart": probe, "preStop": { "tcpSocket": { "port": 81 } } },
        })
    };
    let pod = json!({ "spec": {
        "initContainers": [container("sidecar")],
        "containers": [container("web"), container("istio-proxy")],
    }});
    let (result, _) = rewrite(&pod, true);
    let (map, rewritten) = result.unwrap();
    let paths: Vec<&String> = map.as_object().unwrap().keys().collect();
    let mut expected = Vec::new();
    for name in ["sidecar", "web"] {
        expected.extend(Check::ALL.map(|check| check.path(name)));
    }
    expected.sort();
    assert_eq!(paths, expected.iter().collect::<Vec<_>>());
    assert_eq!(rewritten["spec"]["containers"][1], container("istio-proxy"));

    let (result, _) = rewrite(&pod, false);
    let (map, rewritten) = result.unwrap();
    assert_eq!(map.as_object().unwrap().len(), 5);
    // It starts before a proxy that is a plain container.
    assert_eq!(rewritten["spec"]["initContainers"][0], container("sidecar"));
}

#[test]
fn what_the_proxy_has_no_part_in_stays() {
    for (probe, warns) in [
        (json!({ "exec": { "command": ["true"] } }), false),
        (json!({ "sleep": { "seconds": 1 } }), false),
        (
            json!({ "httpGet": { "port": 80, "host": "other.example" } }),
            true,
        ),
        (
            json!({ "tcpSocket": { "port": 80, "host": "127.0.0.1" } }),
            true,
        ),
        (json!(null), false),
    ] {
        let pod = pod(json!({ "readinessProbe": probe }));
        let (result, warnings) = rewrite(&pod, true);
        assert_eq!(result.unwrap(), (json!({}), pod));
        assert_eq!(warnings.len(), usize::from(warns), "{warnings:?}");
    }
}

#[track_caller]
fn check_refused(container: Value, words: &[&str]) {
    let (result, _) = rewrite(&pod(container), true);
    let faults = result.unwrap_err();
    assert_eq!(faults.len(), words.len(), "{faults:?}");
    for (fault, words) in faults.iter().zip(words) {
        assert!(fault.contains(words), "{words} is not in {fault}");
    }
}

#[test]
fn a_port_that_nobody_knows_is_refused_with_those_that_exist() {
    check_refused(
        json!({
            "ports": [
                { "name": "web", "containerPort": 80 },
                { "containerPort": 81 },
                { "name": "admin", "containerPort": 82 },
            ],
            "readinessProbe": { "httpGet": { "port": "http" } },
            "livenessProbe": { "tcpSocket": { "port": 70000 } },
            "lifecycle": { "preStop": { "httpGet": { "port": "http" } } },
        }),
        &[
            "container 'web': readinessProbe names the port 'http', but its container declares the \
             names web, admin; name one of its ports, or write the number",
            "container 'web': livenessProbe has the port 70000; a number from 1 to 65535",
            "container 'web': lifecycle.preStop names the port 'http'",
        ],
    );
    check_refused(
        json!({ "startupProbe": { "httpGet": { "port": "http" } } }),
        &["declares no port with a name"],
    );
}

#[test]
fn a_probe_of_an_injected_pod_without_its_proxy_is_refused() {
    check_refused(
        json!({ "readinessProbe": { "httpGet": { "path": "/app-health/web/readyz", "port": 15020 } } }),
        &["does not know the original any more"],
    );
}

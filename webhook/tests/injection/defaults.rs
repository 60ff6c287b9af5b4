//! What the API server makes of a pod before it shows it to a webhook once more.

use serde_json::{Map, Value, json};

/// The pod with the API server's defaults, and with the service account's token mounted.
pub(crate) fn as_stored(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let spec = &mut pod["spec"];
    set(spec, "restartPolicy", json!("Always"));
    set(spec, "dnsPolicy", json!("ClusterFirst"));
    set(spec, "securityContext", json!({}));
    for field in ["initContainers", "containers"] {
        for container in elements(spec, field) {
            complete(container);
        }
    }
    for volume in elements(spec, "volumes") {
        let Some(source) = volume.get_mut("downwardAPI") else {
            continue;
        };
        set(source, "defaultMode", json!(420));
        for item in elements(source, "items") {
            set(&mut item["fieldRef"], "apiVersion", json!("v1"));
        }
    }
    pod
}

fn complete(container: &mut Value) {
    set(
        container,
        "terminationMessagePath",
        json!("/dev/termination-log"),
    );
    set(container, "terminationMessagePolicy", json!("File"));
    set(container, "imagePullPolicy", json!("IfNotPresent"));
    set(container, "resources", json!({}));
    for port in elements(container, "ports") {
        set(port, "protocol", json!("TCP"));
    }
    for variable in elements(container, "env") {
        match variable.get_mut("valueFrom").and_then(Value::as_object_mut) {
            Some(source) if source.contains_key("fieldRef") => {
                set(&mut source["fieldRef"], "apiVersion", json!("v1"));
            }
            Some(source) => set(&mut source["resourceFieldRef"], "divisor", json!("0")),
            None => {}
        }
    }
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let Some(probe) = container.get_mut(probe).filter(|probe| !probe.is_null()) else {
            continue;
        };
        set(probe, "successThreshold", json!(1));
        set(probe, "failureThreshold", json!(3));
        set(probe, "timeoutSeconds", json!(1));
        set(probe, "periodSeconds", json!(10));
        complete_request(probe);
    }
    if let Some(lifecycle) = container.get_mut("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.get_mut(hook) {
                complete_request(hook);
            }
        }
    }
    for field in ["requests", "limits"] {
        let quantities = container["resources"]
            .get_mut(field)
            .and_then(Value::as_object_mut);
        for (_, quantity) in quantities.into_iter().flatten() {
            if let Some(canonical) = canonical(quantity.as_str().unwrap_or_default()) {
                *quantity = json!(canonical);
            }
        }
    }
    let token = json!({
        "name": "kube-api-access-x7k2p",
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        "readOnly": true,
    });
    if container.get("volumeMounts").is_none() {
        container["volumeMounts"] = json!([]);
    }
    container["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .push(token);
}

fn complete_request(handler: &mut Value) {
    if let Some(request) = handler.get_mut("httpGet") {
        set(request, "path", json!("/"));
        set(request, "scheme", json!("HTTP"));
    }
    if let Some(grpc) = handler.get_mut("grpc") {
        set(grpc, "service", json!(""));
    }
}

/// The API server's notation of the quantities that the tests use.
fn canonical(quantity: &str) -> Option<&'static str> {
    match quantity {
        "0.05" => Some("50m"),
        "0.5" => Some("500m"),
        "1024Mi" => Some("1Gi"),
        _ => None,
    }
}

fn set(parent: &mut Value, field: &str, value: Value) {
    let object: &mut Map<String, Value> = parent.as_object_mut().unwrap();
    object.entry(field).or_insert(value);
}

fn elements<'a>(parent: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = parent.get_mut(field).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

//! Whether an injected pod still has all that the pod had.

use serde_json::{Map, Value};

/// The paths of what is missing or has changed, except where the design puts something in the place
/// of another: probes and hooks that the proxy asks, and Prometheus' annotations.
pub(crate) fn lost(pod: &Value, injected: &Value) -> Vec<String> {
    let mut lost = Vec::new();
    look(pod, injected, "", &mut lost);
    lost
}

fn look(before: &Value, after: &Value, path: &str, lost: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (member, value) in before {
                let path = format!("{path}/{member}");
                match after.get(member) {
                    _ if is_replaced(&path, before, member) => {}
                    Some(found) => look(value, found, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        // New elements may stand anywhere, but the old ones keep their order.
        (Value::Array(before), Value::Array(after)) => {
            let mut rest = after.iter();
            for (index, element) in before.iter().enumerate() {
                let path = format!("{path}/{index}");
                match rest.find(|found| is_same(element, found)) {
                    Some(found) => look(element, found, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        // As absent.
        (Value::Null, _) => {}
        (before, after) if before == after => {}
        _ => lost.push(path.to_owned()),
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    let name = |value: &Value| value.get("name").cloned();
    one == other || (one.is_object() && name(one).is_some() && name(one) == name(other))
}

fn is_replaced(path: &str, handlers: &Map<String, Value>, member: &str) -> bool {
    let asked = ["httpGet", "tcpSocket", "grpc"].contains(&member);
    let field = path.rsplit('/').nth(1).unwrap_or_default();
    let of_probe = [
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "postStart",
        "preStop",
    ];
    let by_prometheus = path.starts_with("/metadata/annotations/prometheus.io/");
    (asked && of_probe.contains(&field) && !handlers.contains_key("exec")) || by_prometheus
}

use serde_json::json;

use super::*;

#[track_caller]
fn check(mut existing: Value, wanted: &Value, expected: &Value) {
    renew(&mut existing, wanted);
    assert_eq!(&existing, expected);
    renew(&mut existing, wanted);
    assert_eq!(&existing, expected, "the second time");
}

#[track_caller]
fn check_laid(mut base: Value, over: &Value, expected: &Value) {
    lay(&mut base, over);
    assert_eq!(&base, expected);
    lay(&mut base, over);
    assert_eq!(&base, expected, "the second time");
}

#[test]
fn fields_that_are_not_wanted_stay() {
    check(
        json!({ "image": "a", "terminationMessagePath": "/dev/termination-log" }),
        &json!({ "image": "b", "name": "c" }),
        &json!({ "image": "b", "name": "c", "terminationMessagePath": "/dev/termination-log" }),
    );
}

#[test]
fn lists_with_a_key_are_merged_by_it() {
    check(
        json!({ "env": [{ "name": "MORE", "value": "1" }, { "name": "A", "value": "1" }] }),
        &json!({ "env": [{ "name": "A", "value": "2" }, { "name": "B", "value": "3" }] }),
        &json!({ "env": [
            { "name": "MORE", "value": "1" },
            { "name": "A", "value": "2" },
            { "name": "B", "value": "3" },
        ]}),
    );
}

#[test]
fn lists_without_a_key_are_replaced() {
    let existing = json!({ "args": ["x", "y"] });
    check(
        existing,
        &json!({ "args": ["x"] }),
        &json!({ "args": ["x"] }),
    );
}

#[test]
fn capabilities_that_are_not_wanted_go() {
    let drop = json!({ "capabilities": { "drop": ["ALL"] } });
    let emptied = json!({ "capabilities": { "add": [], "drop": ["ALL"] } });
    let add = json!({ "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] } });
    check(add.clone(), &drop, &emptied);
    check(emptied.clone(), &drop, &emptied);
    check(
        drop.clone(),
        &drop,
        &json!({ "capabilities": { "drop": ["ALL"] } }),
    );
    check(emptied, &add, &add);
}

#[test]
fn a_quantity_in_another_notation_stays() {
    check(
        json!({ "resources": { "limits": { "cpu": "500m", "memory": "1Gi" } } }),
        &json!({ "resources": { "limits": { "cpu": "0.5", "memory": "2048Mi" } } }),
        &json!({ "resources": { "limits": { "cpu": "500m", "memory": "2048Mi" } } }),
    );
}

#[test]
fn what_the_api_server_drops_does_not_come_back() {
    check(
        json!({ "name": "a" }),
        &json!({ "name": "a", "args": [], "resources": {}, "workingDir": "" }),
        &json!({ "name": "a" }),
    );
}

#[test]
fn a_probe_has_one_handler() {
    check_laid(
        json!({ "livenessProbe": { "httpGet": { "port": 1 }, "periodSeconds": 3 } }),
        &json!({ "livenessProbe": { "tcpSocket": { "port": 2 } } }),
        &json!({ "livenessProbe": { "tcpSocket": { "port": 2 }, "periodSeconds": 3 } }),
    );
}

#[test]
fn a_variable_and_a_volume_are_of_one_kind() {
    check_laid(
        json!({ "env": [{ "name": "A", "value": "1" }], "volumes": [{ "name": "v", "emptyDir": {} }] }),
        &json!({
            "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
            "volumes": [{ "name": "v", "secret": { "secretName": "s" } }],
        }),
        &json!({
            "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
            "volumes": [{ "name": "v", "secret": { "secretName": "s" } }],
        }),
    );
}

#[test]
fn tcp_and_udp_have_ports_of_their_own() {
    check_laid(
        json!({ "ports": [{ "containerPort": 53, "name": "dns-tcp" }] }),
        &json!({ "ports": [
            { "containerPort": 53, "protocol": "UDP", "name": "dns" },
            { "containerPort": 53, "protocol": "TCP", "name": "tcp" },
        ]}),
        &json!({ "ports": [
            { "containerPort": 53, "name": "tcp", "protocol": "TCP" },
            { "containerPort": 53, "protocol": "UDP", "name": "dns" },
        ]}),
    );
}

#[test]
fn a_list_that_the_api_server_has_completed_stays() {
    let source = json!({ "serviceAccountToken": { "path": "t", "expirationSeconds": 3600 } });
    check_laid(
        json!({ "projected": { "sources": [source] } }),
        &json!({ "projected": { "sources": [{ "serviceAccountToken": { "path": "t" } }] } }),
        &json!({ "projected": { "sources": [source] } }),
    );
}

#[test]
fn tolerations_come_on_top() {
    let kept = json!({ "key": "node.kubernetes.io/not-ready", "operator": "Exists" });
    let own = json!({ "key": "gpu", "operator": "Exists" });
    check_laid(
        json!({ "tolerations": [kept] }),
        &json!({ "tolerations": [own] }),
        &json!({ "tolerations": [kept, own] }),
    );
}

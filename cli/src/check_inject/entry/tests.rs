use serde_json::json;

use super::*;

fn webhook(fields: &Value) -> MutatingWebhook {
    let mut webhook = json!({
        "name": "x", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {},
    });
    for (key, value) in fields.as_object().unwrap() {
        webhook[key] = value.clone();
    }
    serde_json::from_value(webhook).unwrap()
}

#[track_caller]
fn check_rule(rule: &Value, expected: bool) {
    let mut whole = json!({
        "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
    });
    for (key, value) in rule.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let found = reviews_new_pods(&webhook(&json!({ "rules": [whole] })));
    assert_eq!(found, expected, "{rule}");
}

#[test]
fn rules_are_read_as_the_api_server_reads_them() {
    for (rule, expected) in [
        (json!({}), true),
        (json!({ "scope": "Namespaced" }), true),
        (json!({ "scope": "*" }), true),
        (json!({ "scope": "Cluster" }), false),
        (json!({ "operations": ["*"] }), true),
        (json!({ "operations": ["UPDATE", "CREATE"] }), true),
        (json!({ "operations": ["UPDATE"] }), false),
        (json!({ "apiGroups": ["*"] }), true),
        (json!({ "apiGroups": ["apps"] }), false),
        (json!({ "apiVersions": ["*"] }), true),
        (json!({ "apiVersions": ["v1beta1"] }), false),
        (json!({ "resources": ["*"] }), true),
        (json!({ "resources": ["*/*"] }), true),
        (json!({ "resources": ["services", "pods/*"] }), true),
        (json!({ "resources": ["pods/status"] }), false),
        (json!({ "resources": ["services"] }), false),
    ] {
        check_rule(&rule, expected);
    }
    assert!(!reviews_new_pods(&webhook(&json!({}))));
}

#[track_caller]
fn check(fields: &Value, labels: &Value, spec: &Value, expected: &str) {
    let mut namespace = Namespace::named("shop");
    namespace
        .labels
        .insert("istio-injection".to_owned(), "enabled".to_owned());
    let pod = json!({ "metadata": { "labels": labels }, "spec": spec });
    let found = match asked(&webhook(fields), &namespace, &pod) {
        Match::Asked => "asked".to_owned(),
        Match::NotAsked(unmet) => {
            let unmet: Vec<String> = unmet.iter().map(ToString::to_string).collect();
            unmet.join("; ")
        }
        Match::Unknown(why) => format!("unknown: {}", why.join("; ")),
    };
    assert_eq!(found, expected, "{fields}");
}

fn requirement(of: &str, key: &str, operator: &str, values: &[&str]) -> Value {
    let mut requirement = json!({ "key": key, "operator": operator });
    if !values.is_empty() {
        requirement["values"] = json!(values);
    }
    json!({ of: { "matchExpressions": [requirement] } })
}

#[test]
fn without_selectors_every_pod_is_asked_about() {
    let none = json!({});
    check(&none, &none, &none, "asked");
    let empty = json!({ "namespaceSelector": {}, "objectSelector": { "matchExpressions": [] } });
    check(&empty, &none, &none, "asked");
}

#[test]
fn each_requirement_that_is_not_met_is_told() {
    let none = json!({});
    let app = json!({ "app": "cart" });
    for (of, key, operator, values, labels, expected) in [
        (
            "objectSelector",
            "app",
            "In",
            &["a", "b"][..],
            &none,
            "the pod has no label app=a or b",
        ),
        (
            "objectSelector",
            "app",
            "In",
            &["a"],
            &app,
            "the pod has the label app=cart, not a",
        ),
        ("objectSelector", "app", "In", &["cart"], &app, "asked"),
        (
            "objectSelector",
            "app",
            "NotIn",
            &["cart"],
            &app,
            "the pod has the label app=cart, which rules it out",
        ),
        ("objectSelector", "app", "NotIn", &["cart"], &none, "asked"),
        (
            "objectSelector",
            "app",
            "Exists",
            &[],
            &none,
            "the pod has no label app",
        ),
        (
            "objectSelector",
            "app",
            "DoesNotExist",
            &[],
            &app,
            "the pod has the label app=cart, which rules it out",
        ),
        (
            "namespaceSelector",
            "istio-injection",
            "DoesNotExist",
            &[],
            &none,
            "the namespace has the label istio-injection=enabled, which rules it out",
        ),
        (
            "namespaceSelector",
            "kubernetes.io/metadata.name",
            "NotIn",
            &["kube-system", "shop"],
            &none,
            "the namespace shop is excluded by its name",
        ),
    ] {
        check(
            &requirement(of, key, operator, values),
            labels,
            &none,
            expected,
        );
    }
    let both = json!({
        "namespaceSelector": { "matchLabels": { "team": "a" } },
        "objectSelector": { "matchLabels": { "app": "a" } },
    });
    check(
        &both,
        &app,
        &none,
        "the namespace has no label team=a; the pod has the label app=cart, not a",
    );
}

fn conditions(expressions: &[&str]) -> Value {
    let conditions = expressions.iter().enumerate();
    let conditions: Vec<Value> = conditions
        .map(|(index, expression)| json!({ "name": format!("c{index}"), "expression": expression }))
        .collect();
    json!({ "matchConditions": conditions })
}

#[test]
fn the_charts_own_conditions_are_told() {
    let none = json!({});
    let both = conditions(&[NOT_ON_HOST_NETWORK, NOT_FOR_WINDOWS]);
    let host = "the pod uses the host's network (condition c0)";
    let windows = "the pod is for Windows (condition c1)";
    for (spec, expected) in [
        (json!({}), "asked"),
        (json!({ "hostNetwork": false }), "asked"),
        (json!({ "hostNetwork": true }), host),
        (json!({ "os": { "name": "linux" } }), "asked"),
        (json!({ "os": { "name": "windows" } }), windows),
    ] {
        check(&both, &none, &spec, expected);
    }
}

#[test]
fn an_unknown_condition_counts_only_where_nothing_else_decides() {
    let none = json!({});
    let foreign = "object.metadata.name.startsWith(\n  'a')";
    check(
        &conditions(&[foreign]),
        &none,
        &none,
        "unknown: whether its condition c0 holds: object.metadata.name.startsWith( 'a')",
    );
    // The API server asks nobody where one condition is false, whatever the others are.
    check(
        &conditions(&[foreign, NOT_ON_HOST_NETWORK]),
        &none,
        &json!({ "hostNetwork": true }),
        "the pod uses the host's network (condition c1)",
    );
    let mut excluded = conditions(&[foreign]);
    excluded["objectSelector"] = json!({ "matchLabels": { "app": "a" } });
    check(&excluded, &none, &none, "the pod has no label app=a");
}

#[test]
fn an_operator_of_the_future_cannot_be_told() {
    let none = json!({});
    check(
        &requirement("objectSelector", "app", "Like", &["a"]),
        &none,
        &none,
        "unknown: the selector of the pod: Invalid expression operator",
    );
}

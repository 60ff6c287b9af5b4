//! Wanted fields over existing ones: what is there and not contradicted stays.

use fairlead_api::values::Quantity;
use serde_json::Value;

/// Merges `wanted` into `existing`, which was injected before and has perhaps been completed by the
/// API server or by other webhooks since.
pub(super) fn merge(existing: &mut Value, wanted: Value) {
    match (existing, wanted) {
        (Value::Object(existing), Value::Object(wanted)) => {
            for (field, value) in wanted {
                match existing.get_mut(&field) {
                    Some(present) => merge_field(&field, present, value),
                    None => {
                        existing.insert(field, value);
                    }
                }
            }
        }
        (existing, wanted) => *existing = wanted,
    }
}

fn merge_field(field: &str, existing: &mut Value, wanted: Value) {
    match (existing, wanted) {
        (Value::Array(existing), Value::Array(wanted)) if merge_key(field).is_some() => {
            let key = merge_key(field).unwrap_or_default();
            for element in wanted {
                let same = |other: &&mut Value| other.get(key) == element.get(key);
                match existing.iter_mut().find(same) {
                    Some(present) => merge(present, element),
                    None => existing.push(element),
                }
            }
        }
        (Value::Object(existing), Value::Object(wanted))
            if field == "requests" || field == "limits" =>
        {
            for (resource, quantity) in wanted {
                let present = existing.get(&resource);
                if !present.is_some_and(|present| same_amount(present, &quantity)) {
                    existing.insert(resource, quantity);
                }
            }
        }
        (Value::Object(existing), Value::Object(wanted)) if field == "capabilities" => {
            // These are the injector's alone, lest a capability outlive its reason. A patch that
            // only adds cannot remove a list, but it can empty it.
            for (name, list) in existing.iter_mut() {
                if !wanted.contains_key(name) {
                    *list = Value::Array(Vec::new());
                }
            }
            existing.extend(wanted);
        }
        (existing, wanted) => merge(existing, wanted),
    }
}

/// The field that tells the elements of a list apart; lists without one are replaced whole.
fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        "env" => Some("name"),
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        "items" => Some("path"),
        _ => None,
    }
}

/// The API server writes quantities back in its own notation.
fn same_amount(one: &Value, other: &Value) -> bool {
    let quantity = |value: &Value| value.as_str()?.parse::<Quantity>().ok();
    match (quantity(one), quantity(other)) {
        (Some(one), Some(other)) => one.same_amount(&other),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(mut existing: Value, wanted: Value, expected: &Value) {
        merge(&mut existing, wanted);
        assert_eq!(&existing, expected);
    }

    #[test]
    fn fields_that_are_not_wanted_stay() {
        check(
            json!({ "image": "a", "terminationMessagePath": "/dev/termination-log" }),
            json!({ "image": "b", "name": "c" }),
            &json!({ "image": "b", "name": "c", "terminationMessagePath": "/dev/termination-log" }),
        );
    }

    #[test]
    fn lists_with_a_key_are_merged_by_it() {
        check(
            json!({ "env": [{ "name": "MORE", "value": "1" }, { "name": "A", "value": "1" }] }),
            json!({ "env": [{ "name": "A", "value": "2" }, { "name": "B", "value": "3" }] }),
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
            json!({ "args": ["x"] }),
            &json!({ "args": ["x"] }),
        );
    }

    #[test]
    fn capabilities_that_are_not_wanted_go() {
        let drop = json!({ "capabilities": { "drop": ["ALL"] } });
        let emptied = json!({ "capabilities": { "add": [], "drop": ["ALL"] } });
        let add = json!({ "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] } });
        check(add.clone(), drop.clone(), &emptied);
        check(emptied.clone(), drop.clone(), &emptied);
        check(
            drop.clone(),
            drop,
            &json!({ "capabilities": { "drop": ["ALL"] } }),
        );
        check(emptied, add.clone(), &add);
    }

    #[test]
    fn a_quantity_in_another_notation_stays() {
        check(
            json!({ "resources": { "limits": { "cpu": "500m", "memory": "1Gi" } } }),
            json!({ "resources": { "limits": { "cpu": "0.5", "memory": "2048Mi" } } }),
            &json!({ "resources": { "limits": { "cpu": "500m", "memory": "2048Mi" } } }),
        );
    }
}

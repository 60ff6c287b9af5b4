//! JSON Patch from a pod to the injected pod.
//!
//! Injection adds, and puts a few things in the place of others, so one kind of operation is nearly
//! enough: `add`, which also replaces the value of a member that exists. Elements that are new in a
//! list are inserted where they belong and the others are not mentioned, so that what another webhook
//! does to those in the meantime is not undone. An element that is another one altogether takes
//! `replace`, because `add` would insert it.

use json_patch::{AddOperation, Patch, PatchOperation, ReplaceOperation, jsonptr::PointerBuf};
use serde_json::Value;

/// The operations that turn `from` into `to`.
///
/// An object that loses a member is replaced whole, as is a list that loses an element.
pub fn additions(from: &Value, to: &Value) -> Patch {
    let mut operations = Vec::new();
    change(&mut operations, &mut PointerBuf::new(), from, to, put);
    Patch(operations)
}

/// `whole` puts the value in the place of the other where no smaller change will do.
fn change(
    operations: &mut Vec<PatchOperation>,
    path: &mut PointerBuf,
    from: &Value,
    to: &Value,
    whole: fn(&PointerBuf, &Value) -> PatchOperation,
) {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) if from.keys().all(|m| to.contains_key(m)) => {
            for (member, value) in to {
                let present = from.get(member);
                if present == Some(value) {
                    continue;
                }
                path.push_back(member.as_str());
                match present {
                    Some(present) => change(operations, path, present, value, put),
                    None => operations.push(put(path, value)),
                }
                path.pop_back();
            }
        }
        (Value::Array(from), Value::Array(to)) if is_kept_in_order(from, to) => {
            let mut rest = from.iter().peekable();
            for (index, element) in to.iter().enumerate() {
                let present = rest.next_if(|present| is_same(present, element));
                if present == Some(element) {
                    continue;
                }
                path.push_back(index);
                match present {
                    Some(present) => change(operations, path, present, element, replace),
                    None => operations.push(put(path, element)),
                }
                path.pop_back();
            }
        }
        (from, to) if from == to => {}
        (_, to) => operations.push(whole(path, to)),
    }
}

/// Sets a member, or inserts an element.
fn put(path: &PointerBuf, value: &Value) -> PatchOperation {
    PatchOperation::Add(AddOperation {
        path: path.clone(),
        value: value.clone(),
    })
}

fn replace(path: &PointerBuf, value: &Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation {
        path: path.clone(),
        value: value.clone(),
    })
}

/// Whether each element of `from` is found again in `to`, in the same order.
fn is_kept_in_order(from: &[Value], to: &[Value]) -> bool {
    let mut rest = from.iter().peekable();
    for element in to {
        rest.next_if(|present| is_same(present, element));
    }
    rest.next().is_none()
}

/// Whether two elements of a list are one and the same, perhaps changed: objects by the field that
/// names them in the Kubernetes API, everything else by value.
fn is_same(one: &Value, other: &Value) -> bool {
    // The first that an element has: a mount and a port may have a name too, which is not unique.
    const KEYS: [&str; 4] = ["mountPath", "containerPort", "name", "path"];
    let key = KEYS.into_iter().find(|key| one.get(key).is_some());
    match key {
        Some(key) => one.get(key) == other.get(key),
        None => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(from: &Value, to: &Value, paths: &[&str]) {
        let Patch(operations) = additions(from, to);
        let found: Vec<&str> = operations.iter().map(|op| op.path().as_str()).collect();
        assert_eq!(found, paths);
        let mut patched = from.clone();
        json_patch::patch(&mut patched, &operations).unwrap();
        assert_eq!(&patched, to);
    }

    #[test]
    fn equal_values_need_nothing() {
        let pod = json!({ "spec": { "containers": [{ "name": "a", "args": ["x"] }] } });
        check(&pod, &pod, &[]);
    }

    #[test]
    fn a_new_member_is_added_whole() {
        let from = json!({ "metadata": { "name": "a" } });
        let to = json!({ "metadata": { "name": "a", "labels": { "b": "c" } } });
        check(&from, &to, &["/metadata/labels"]);
    }

    #[test]
    fn an_object_that_loses_a_member_is_replaced() {
        let from = json!({ "a": { "probe": { "tcpSocket": { "port": 1 }, "periodSeconds": 3 } } });
        let to = json!({ "a": { "probe": { "httpGet": { "port": 2 }, "periodSeconds": 3 } } });
        check(&from, &to, &["/a/probe"]);
    }

    #[test]
    fn keys_are_escaped() {
        let from = json!({ "a": {} });
        let to = json!({ "a": { "istio.io/rev": "x", "a~b": "y" } });
        check(&from, &to, &["/a/a~0b", "/a/istio.io~1rev"]);
    }

    #[test]
    fn new_elements_are_inserted_where_they_belong() {
        let from = json!([{ "name": "a" }, { "name": "b" }]);
        let to = json!([{ "name": "i" }, { "name": "j" }, { "name": "a" }, { "name": "b" }, { "name": "k" }]);
        check(&from, &to, &["/0", "/1", "/4"]);
    }

    #[test]
    fn a_changed_element_is_changed_inside() {
        let from = json!([{ "name": "a", "image": "1", "env": [{ "name": "X", "value": "1" }] }]);
        let to = json!([{ "name": "a", "image": "2", "env": [{ "name": "X", "value": "2" }] }]);
        check(&from, &to, &["/0/env/0/value", "/0/image"]);
    }

    #[test]
    fn an_element_that_loses_a_member_is_replaced_not_inserted() {
        let from = json!([{ "name": "v", "emptyDir": {} }, { "name": "w" }]);
        let to = json!([{ "name": "v", "secret": {} }, { "name": "w" }, { "name": "x" }]);
        check(&from, &to, &["/0", "/2"]);
    }

    #[test]
    fn mounts_are_told_apart_by_path() {
        let from = json!([{ "name": "v", "mountPath": "/a" }]);
        let to = json!([{ "name": "v", "mountPath": "/b" }, { "name": "v", "mountPath": "/a" }]);
        check(&from, &to, &["/0"]);
    }

    #[test]
    fn a_list_that_loses_an_element_is_replaced() {
        check(
            &json!({ "args": ["x", "y"] }),
            &json!({ "args": ["y", "x"] }),
            &["/args"],
        );
    }
}

//! Wanted fields over existing ones, list elements by the field that names them, as Kubernetes'
//! strategic merge does: what is there and not contradicted stays.
//!
//! Nothing is taken away, but what cannot stand beside what is wanted: the other handlers of a probe.
//! What the API server has filled in meanwhile stays, so that laying the same over a pod twice is
//! laying it once.

use fairlead_api::values::Quantity;
use serde_json::{Map, Value};

/// Of which a probe or hook has only one.
const HANDLERS: [&str; 5] = ["exec", "grpc", "httpGet", "sleep", "tcpSocket"];

/// Lays `over` on what the pod's author or the injector wrote.
pub(super) fn lay(base: &mut Value, over: &Value) {
    Merge { renews: false }.value(base, over);
}

/// Merges `wanted` into `existing`, which was injected before and has perhaps been completed by the
/// API server or by other webhooks since.
pub(super) fn renew(existing: &mut Value, wanted: &Value) {
    Merge { renews: true }.value(existing, wanted);
}

/// The field that tells the elements of a list of a pod apart; lists without one are replaced whole.
pub(crate) fn key(field: &str) -> Option<&'static str> {
    match field {
        "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets"
        | "resourceClaims" | "schedulingGates" | "sysctls" => Some("name"),
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "hostAliases" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct Merge {
    /// Whether the base is of an earlier injection.
    renews: bool,
}

impl Merge {
    fn value(self, base: &mut Value, over: &Value) {
        match (base, over) {
            (Value::Object(base), Value::Object(over)) => self.object(base, over),
            (base, over) => base.clone_from(over),
        }
    }

    fn object(self, base: &mut Map<String, Value>, over: &Map<String, Value>) {
        if HANDLERS.iter().any(|kind| over.contains_key(*kind)) {
            base.retain(|field, _| !HANDLERS.contains(&field.as_str()) || over.contains_key(field));
        }
        for (field, value) in over {
            match base.get_mut(field) {
                Some(present) => self.field(field, present, value),
                // The API server drops what is empty: it would come back at each injection.
                None if self.renews && is_empty(value) => {}
                None => {
                    base.insert(field.clone(), fresh(Some(field), value));
                }
            }
        }
    }

    fn field(self, field: &str, base: &mut Value, over: &Value) {
        match (base, over) {
            // A further one does no harm, and the API server has added its own.
            (Value::Array(base), Value::Array(over)) if field == "tolerations" => {
                for element in over {
                    if !base.iter().any(|present| covers(present, element)) {
                        base.push(element.clone());
                    }
                }
            }
            (Value::Array(base), Value::Array(over)) => match key(field) {
                Some(key) => self.list(field, key, base, over),
                None => {
                    if !covers_list(base, over) {
                        base.clone_from(over);
                    }
                }
            },
            (Value::Object(base), Value::Object(over))
                if field == "requests" || field == "limits" =>
            {
                for (resource, amount) in over {
                    let present = base.get(resource);
                    if !present.is_some_and(|present| same_amount(present, amount)) {
                        base.insert(resource.clone(), amount.clone());
                    }
                }
            }
            (Value::Object(base), Value::Object(over))
                if self.renews && field == "capabilities" =>
            {
                // A capability must not outlive its reason. A patch that only adds cannot remove a
                // list, but it can empty it.
                for (name, list) in base.iter_mut() {
                    if !over.contains_key(name) {
                        *list = Value::Array(Vec::new());
                    }
                }
                base.extend(over.clone());
            }
            (base, over) => self.value(base, over),
        }
    }

    fn list(self, field: &str, key: &str, base: &mut Vec<Value>, over: &[Value]) {
        for element in over {
            let same = |other: &&mut Value| {
                other.get(key) == element.get(key) && protocol(other) == protocol(element)
            };
            match base.iter_mut().find(same) {
                // A volume or variable of another kind is another one: it cannot be both.
                Some(present) if self.is_of_other_kind(field, present, element) => {
                    *present = fresh(None, element);
                }
                Some(present) => self.value(present, element),
                None => base.push(fresh(None, element)),
            }
        }
    }

    /// Whether an element says what it is in another field than the one there.
    fn is_of_other_kind(self, field: &str, present: &Value, element: &Value) -> bool {
        let (Some(present), Some(element)) = (present.as_object(), element.as_object()) else {
            return true;
        };
        let adds = |(kind, value): (&String, &Value)| {
            !(present.contains_key(kind) || self.renews && is_empty(value) && value.is_string())
        };
        matches!(field, "env" | "volumes") && element.iter().any(adds)
    }
}

/// A copy in which each element of a list with a key is there once: the next time they would be
/// merged into one.
fn fresh(field: Option<&str>, value: &Value) -> Value {
    const LAY: Merge = Merge { renews: false };
    match value {
        Value::Object(object) => {
            let mut copy = Map::new();
            LAY.object(&mut copy, object);
            Value::Object(copy)
        }
        Value::Array(list) => match field.and_then(key) {
            Some(key) => {
                let mut copy = Vec::with_capacity(list.len());
                LAY.list(field.unwrap_or_default(), key, &mut copy, list);
                Value::Array(copy)
            }
            None => value.clone(),
        },
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// Of a port, which TCP and UDP may both have.
fn protocol(element: &Value) -> Option<&str> {
    element.get("containerPort")?;
    Some(
        element
            .get("protocol")
            .and_then(Value::as_str)
            .unwrap_or("TCP"),
    )
}

/// Whether a list without key is the wanted one, with what the API server adds to its elements.
fn covers_list(present: &[Value], wanted: &[Value]) -> bool {
    let mut pairs = present.iter().zip(wanted);
    present.len() == wanted.len() && pairs.all(|(p, w)| covers(p, w))
}

fn covers(present: &Value, wanted: &Value) -> bool {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => wanted
            .iter()
            .all(|(field, w)| present.get(field).is_some_and(|p| covers(p, w))),
        (Value::Array(present), Value::Array(wanted)) => covers_list(present, wanted),
        (present, wanted) => present == wanted,
    }
}

/// The API server writes quantities back in its own notation.
fn same_amount(one: &Value, other: &Value) -> bool {
    let quantity = |value: &Value| value.as_str()?.parse::<Quantity>().ok();
    one == other
        || matches!((quantity(one), quantity(other)), (Some(one), Some(other)) if one.same_amount(&other))
}

#[cfg(test)]
mod tests;

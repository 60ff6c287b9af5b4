//! `/runtime` and `/runtime_modify`

use std::collections::BTreeMap;

use axum::{http::StatusCode, response::Response};
use fairlead_xds::{
    envoy::config::bootstrap::v3::{LayeredRuntime, runtime_layer::LayerSpecifier},
    google::protobuf::{Struct, Value, value::Kind},
};
use serde_json::json;

use super::Served;
use crate::admin::handler::{self, Parameters, refuse};

const USAGE: &str = "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n       \
                     or send the parameters as form values\n\
                     use an empty value to remove a previously added override";

/// The values of all layers, and which of them holds.
pub(super) fn answer(served: &Served) -> Response {
    handler::json(&shown(
        &served.bootstrap().layered_runtime.unwrap_or_default(),
    ))
}

fn shown(runtime: &LayeredRuntime) -> serde_json::Value {
    let layers: Vec<(&str, BTreeMap<String, String>)> = runtime
        .layers
        .iter()
        .map(|layer| {
            let mut values = BTreeMap::new();
            if let Some(LayerSpecifier::StaticLayer(layer)) = &layer.layer_specifier {
                flatten("", layer, &mut values);
            }
            (layer.name.as_str(), values)
        })
        .collect();
    let keys = layers.iter().flat_map(|(_, values)| values.keys());
    let entries: serde_json::Map<String, serde_json::Value> = keys
        .map(|key| {
            let of = |(_, values): &(_, BTreeMap<String, String>)| {
                values.get(key).cloned().unwrap_or_default()
            };
            let values: Vec<String> = layers.iter().map(of).collect();
            let last = values.iter().rev().find(|value| !value.is_empty());
            let entry = json!({
                "final_value": last.cloned().unwrap_or_default(),
                "layer_values": values,
            });
            (key.clone(), entry)
        })
        .collect();
    let names: Vec<&str> = layers.iter().map(|(name, _)| *name).collect();
    json!({ "layers": names, "entries": entries })
}

/// `{a: {b: 1}}` is `a.b`.
fn flatten(prefix: &str, layer: &Struct, values: &mut BTreeMap<String, String>) {
    for (name, Value { kind }) in &layer.fields {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let value = match kind {
            Some(Kind::StructValue(inner)) => {
                flatten(&key, inner, values);
                continue;
            }
            Some(Kind::NumberValue(number)) => number.to_string(),
            Some(Kind::StringValue(text)) => text.clone(),
            Some(Kind::BoolValue(truth)) => truth.to_string(),
            Some(Kind::ListValue(_) | Kind::NullValue(_)) | None => continue,
        };
        values.insert(key, value);
    }
}

/// Why nothing is changed.
pub(super) fn modify(served: &Served, parameters: &Parameters) -> Response {
    if parameters.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, USAGE);
    }
    let runtime = served.bootstrap().layered_runtime.unwrap_or_default();
    let is_admin =
        |layer: &Option<LayerSpecifier>| matches!(layer, Some(LayerSpecifier::AdminLayer(_)));
    if !runtime
        .layers
        .iter()
        .any(|layer| is_admin(&layer.layer_specifier))
    {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "No admin layer specified");
    }
    refuse(
        StatusCode::NOT_IMPLEMENTED,
        "runtime values are read when a listener starts and at no other time: nothing would follow \
         an override; change a static layer of layered_runtime in the bootstrap instead\n",
    )
}

#[cfg(test)]
mod tests {
    use fairlead_xds::read::{Format, UnknownFields, read_message};

    use super::*;

    #[test]
    fn the_last_layer_that_has_a_value_holds() {
        let text = "
layers:
- name: one
  static_layer: {a: 1, b: {c: x, d: true}, e: 0.5, f: [1]}
- name: two
  static_layer: {a: 2}
- name: admin
  admin_layer: {}
";
        let read = read_message(text.as_bytes(), Format::Yaml, UnknownFields::Refuse);
        let entry = |value: &str, layers: [&str; 3]| json!({ "final_value": value, "layer_values": layers });
        assert_eq!(
            shown(&read.unwrap().message),
            json!({
                "layers": ["one", "two", "admin"],
                "entries": {
                    "a": entry("2", ["1", "2", ""]),
                    "b.c": entry("x", ["x", "", ""]),
                    "b.d": entry("true", ["true", "", ""]),
                    "e": entry("0.5", ["0.5", "", ""]),
                },
            })
        );
        assert_eq!(
            shown(&LayeredRuntime::default()),
            json!({ "layers": [], "entries": {} })
        );
    }
}

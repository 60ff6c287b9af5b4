//! Volumes and mounts of the user's own, as JSON.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::{
    nearest::nearest,
    values::{ValueError, check_count, is_dns_label, quoted},
};

/// Of the faults of one annotation.
const TOLD: usize = 5;

/// What a volume may be made of. Another one may be newer than this list.
const SOURCES: [&str; 30] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "projected",
    "quobyte",
    "rbd",
    "scaleIO",
    "secret",
    "storageos",
    "vsphereVolume",
];

/// What a mount may say.
const FIELDS: [&str; 6] = [
    "mountPath",
    "mountPropagation",
    "readOnly",
    "recursiveReadOnly",
    "subPath",
    "subPathExpr",
];

/// Reads the elements of `spec.volumes`.
///
/// # Errors
/// Names each volume that is not one.
pub(super) fn parse_volumes(text: &str) -> Result<Vec<Value>, ValueError> {
    let example = r#"{"cache": {"emptyDir": {}}}"#;
    parse_named(text, example, true, |name, volume| {
        let sources: Vec<&str> = volume.keys().map(String::as_str).collect();
        match sources[..] {
            [] => None,
            [source] if volume[source].is_object() => misspelt(source, &SOURCES)
                .map(|reason| format!("volume {}: {reason}", quoted(name))),
            [source] => Some(format!(
                "{} of volume {} is not an object",
                quoted(source),
                quoted(name)
            )),
            _ => Some(format!(
                "volume {} has several sources, {}",
                quoted(name),
                quoted(&sources.join(", "))
            )),
        }
    })
}

/// Reads the elements of `volumeMounts`.
///
/// # Errors
/// Names each mount that is not one.
pub(super) fn parse_mounts(text: &str) -> Result<Vec<Value>, ValueError> {
    let example = r#"{"cache": {"mountPath": "/cache"}}"#;
    parse_named(text, example, false, |name, mount| {
        let path = mount.get("mountPath").and_then(Value::as_str);
        let is_path = path.is_some_and(|path| !path.is_empty() && !path.contains(':'));
        if !is_path {
            let name = quoted(name);
            return Some(format!(
                "mount {name} has no mountPath, a path without colons"
            ));
        }
        let reason = mount.keys().find_map(|field| misspelt(field, &FIELDS))?;
        Some(format!("mount {}: {reason}", quoted(name)))
    })
}

/// A field that the API server would drop without a word.
fn misspelt(field: &str, known: &[&'static str]) -> Option<String> {
    if known.contains(&field) {
        return None;
    }
    let meant = nearest(field, known.iter().copied())?;
    Some(format!("{} is not known; is {meant} meant?", quoted(field)))
}

/// An object, name to element, or a list of elements with names → the elements with their names. One
/// volume may have several mounts, in a list.
fn parse_named(
    text: &str,
    example: &str,
    is_unique: bool,
    fault: impl Fn(&str, &Map<String, Value>) -> Option<String>,
) -> Result<Vec<Value>, ValueError> {
    let wrong = |reason: &str| {
        ValueError::new(format!(
            "{reason}; a JSON object such as {example} is accepted"
        ))
    };
    let Elements { pairs, is_object } = match serde_json::from_str(text) {
        Ok(elements) => elements,
        Err(error) if error.is_data() => {
            return Err(wrong("it is neither an object nor a list"));
        }
        Err(error) => return Err(wrong(&format!("it is not JSON ({error})"))),
    };
    check_count(pairs.len())?;
    let mut names = BTreeSet::new();
    let mut named: Vec<Value> = Vec::new();
    let mut faults = Vec::new();
    for (name, element) in pairs {
        let Value::Object(mut element) = element else {
            faults.push(format!("{} is not an object", quoted(&name)));
            continue;
        };
        if !is_dns_label(&name) {
            faults.push(format!("the name {} is not a DNS label", quoted(&name)));
        }
        let is_first = names.insert(name.clone());
        if !is_first && (is_object || is_unique) {
            faults.push(format!("{} is there twice", quoted(&name)));
        }
        if element.remove("name").is_some_and(|own| own != name) {
            faults.push(format!("{} has a second name", quoted(&name)));
        }
        faults.extend(fault(&name, &element));
        element.insert("name".to_owned(), Value::String(name));
        named.push(Value::Object(element));
    }
    if faults.is_empty() {
        return Ok(named);
    }
    faults.truncate(TOLD);
    Err(wrong(&faults.join("; ")))
}

/// What an object or a list has in it; of an object every key, also one that is there twice.
struct Elements {
    pairs: Vec<(String, Value)>,
    is_object: bool,
}

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Elements, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        let is_object = true;
        Ok(Elements { pairs, is_object })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Elements, A::Error> {
        let mut pairs = Vec::new();
        while let Some(mut element) = list.next_element::<Value>()? {
            let name = element.as_object_mut().and_then(|e| e.remove("name"));
            let name = name.and_then(|name| name.as_str().map(ToOwned::to_owned));
            pairs.push((name.unwrap_or_default(), element));
        }
        let is_object = false;
        Ok(Elements { pairs, is_object })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn volumes_are_named_by_their_keys_or_by_themselves() {
        for text in [
            r#"{"a": {"emptyDir": {}}, "b": {"name": "b"}}"#,
            r#"[{"name": "a", "emptyDir": {}}, {"name": "b"}]"#,
        ] {
            let volumes = parse_volumes(text).unwrap();
            let expected = [
                json!({ "name": "a", "emptyDir": {} }),
                json!({ "name": "b" }),
            ];
            assert_eq!(volumes, expected);
        }
        assert_eq!(parse_volumes("{}"), Ok(vec![]));
    }

    #[test]
    fn mounts_keep_what_is_not_looked_at() {
        let mounts = parse_mounts(r#"{"a": {"mountPath": "/a", "ownerOnly": true}}"#);
        let expected = json!({ "name": "a", "mountPath": "/a", "ownerOnly": true });
        assert_eq!(mounts, Ok(vec![expected]));
    }

    #[test]
    fn what_is_misspelt_would_be_dropped_by_the_api_server() {
        for (text, part) in [
            (
                r#"{"a": {"configmap": {"name": "b"}}}"#,
                "volume 'a': 'configmap' is not known; is configMap meant?",
            ),
            (r#"{"a": {"emptyDri": {}}}"#, "is emptyDir meant?"),
        ] {
            let error = parse_volumes(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(parse_volumes(r#"{"a": {"somethingNew": {}}}"#).is_ok());
        let mounts = r#"{"a": {"mountPath": "/a", "readonly": true}}"#;
        let error = parse_mounts(mounts).unwrap_err().to_string();
        assert!(
            error.starts_with("mount 'a': 'readonly' is not known; is readOnly meant?"),
            "{error}"
        );
    }

    #[test]
    fn a_volume_may_have_several_mounts_but_one_meaning() {
        let mounts = r#"[{"name": "a", "mountPath": "/a"}, {"name": "a", "mountPath": "/b"}]"#;
        assert_eq!(parse_mounts(mounts).unwrap().len(), 2);
        for text in [r#"{"a": {}, "a": {}}"#, r#"[{"name": "a"}, {"name": "a"}]"#] {
            let error = parse_volumes(text).unwrap_err().to_string();
            assert!(error.starts_with("'a' is there twice;"), "{error}");
        }
        let mounts = r#"{"a": {"mountPath": "/a"}, "a": {"mountPath": "/b"}}"#;
        assert!(parse_mounts(mounts).is_err());
    }

    #[test]
    fn each_element_that_is_wrong_is_told() {
        let error = parse_volumes(r#"{"A": {}, "b": 1, "c": {"x": {}, "y": {}}, "d": {"x": 1}}"#);
        let text = error.unwrap_err().to_string();
        for part in [
            "the name 'A' is not a DNS label",
            "'b' is not an object",
            "volume 'c' has several sources, 'x, y'",
            "'x' of volume 'd' is not an object",
            r#"such as {"cache": {"emptyDir": {}}}"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        for text in [
            r#"{"a": {}}"#,
            r#"{"a": {"mountPath": ""}}"#,
            r#"{"a": {"mountPath": "/a:/b"}}"#,
            r#"{"a": {"mountPath": 1}}"#,
            r#"[{"mountPath": "/a"}]"#,
            r#"{"a": {"mountPath": "/a", "name": "b"}}"#,
            "[1]",
            "1",
            "",
        ] {
            assert!(parse_mounts(text).is_err(), "{text}");
        }
    }
}

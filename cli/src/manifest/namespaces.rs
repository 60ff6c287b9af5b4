//! The Namespaces of a manifest, whose annotations are defaults of their pods'.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Manifest;

/// Annotations of each Namespace, by its name. Of several of one name the last counts, as for
/// `kubectl apply`.
pub(crate) fn namespaces(manifest: &Manifest<'_>) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for document in &manifest.documents {
        visit(&document.value, None, &mut found);
    }
    found
}

/// `listed`: the kind that the items of a list may leave out.
fn visit(
    object: &Value,
    listed: Option<&str>,
    found: &mut BTreeMap<String, BTreeMap<String, String>>,
) {
    let text = |field| object.get(field).and_then(Value::as_str);
    let kind = text("kind").or(listed).unwrap_or_default();
    if kind == "Namespace" && matches!(text("apiVersion"), Some("v1") | None) {
        let metadata = |field| object.get("metadata")?.get(field);
        if let Some(name) = metadata("name").and_then(Value::as_str) {
            let annotations = metadata("annotations").and_then(Value::as_object);
            let texts = annotations.into_iter().flatten();
            let texts = texts.filter_map(|(key, text)| Some((key.clone(), text.as_str()?.into())));
            found.insert(name.to_owned(), texts.collect());
        }
    } else if let Some(item) = kind.strip_suffix("List") {
        let items = object.get("items").and_then(Value::as_array);
        for object in items.into_iter().flatten() {
            visit(object, Some(item), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &[(&str, &str)])]) {
        let found = namespaces(&Manifest::parse(text).unwrap());
        let pairs = |pairs: &[(&str, &str)]| {
            let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            pairs.iter().map(own).collect()
        };
        let expected = expected.iter();
        let expected = expected.map(|(name, a)| ((*name).to_owned(), pairs(a)));
        assert_eq!(found, expected.collect());
    }

    #[test]
    fn namespaces_are_found_wherever_they_stand() {
        let shop = "metadata: {name: shop, annotations: {a: b}}";
        let expected: &[(&str, &[(&str, &str)])] = &[("shop", &[("a", "b")])];
        for text in [
            format!("kind: Namespace\napiVersion: v1\n{shop}\n"),
            format!("kind: List\napiVersion: v1\nitems:\n- {{kind: Namespace, {shop}}}\n"),
            format!("kind: NamespaceList\napiVersion: v1\nitems:\n- {{{shop}}}\n"),
            format!("kind: Namespace\nmetadata: {{name: shop}}\n---\nkind: Namespace\n{shop}\n"),
        ] {
            check(&text, expected);
        }
        check("kind: Pod\nmetadata: {name: shop}\n", &[]);
        check(
            "kind: Namespace\napiVersion: x/v1\nmetadata: {name: shop}\n",
            &[],
        );
        check(
            "kind: Namespace\nmetadata: {name: shop, annotations: [1]}\n",
            &[("shop", &[])],
        );
    }
}

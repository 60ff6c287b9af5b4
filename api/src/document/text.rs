//! The text of a document → its value, which is never much larger: in YAML a few lines can stand for more
//! than any memory holds.

use std::{cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// How much larger than its text a document may be, in bytes of text and nodes, and how large any may be.
/// Without aliases it is about as large.
const EXPANSION: usize = 4;
const SMALL: usize = 4096;

/// Reads YAML.
///
/// # Errors
/// It is not YAML, or becomes too large.
pub(super) fn yaml(text: &str) -> Result<Value, serde_norway::Error> {
    let left = Cell::new(text.len().saturating_mul(EXPANSION).saturating_add(SMALL));
    let value = Bounded { left: &left };
    value.deserialize(serde_norway::Deserializer::from_str(text))
}

/// A value that takes from what is left.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    left: &'a Cell<usize>,
}

impl Bounded<'_> {
    fn take<E: Error>(self, text: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(1 + text);
        let left = left.ok_or_else(|| E::custom("its aliases make it too large"))?;
        self.left.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.take(0)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    // Of an empty document.
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.take(value.len())?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.take(key.len())?;
            let value = entries.next_value_seed(self)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_that_of_its_text() {
        for (text, expected) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("[]", json!([])),
            (
                "a: &x { b: [1, -1, 0.5, true, null, text, 'é'] }\nc: *x\n1: \"\\L\"",
                json!({
                    "a": { "b": [1, -1, 0.5, true, null, "text", "é"] },
                    "c": { "b": [1, -1, 0.5, true, null, "text", "é"] },
                    "1": "\u{2028}",
                }),
            ),
        ] {
            assert_eq!(yaml(text).unwrap(), expected, "{text}");
        }
        for text in ["[", "a: !x b", "a: {[1]: 2}"] {
            assert!(yaml(text).is_err(), "{text}");
        }
        // What no alias repeats is never too large.
        for element in ["\"\\L\\L\"", "[]", "~", "a", "{a: }", "{\"\\L\": }"] {
            let text = format!("[{}]", vec![element; 5000].join(","));
            assert!(yaml(&text).is_ok(), "{element}");
        }
    }

    #[test]
    fn aliases_cannot_fill_the_memory() {
        let many = |element: &str| vec![element; 5000].join(",");
        let long = "x".repeat(50_000);
        for text in [
            format!("a: &a [{}]\nb: [{}]", many("1"), many("*a")),
            format!("a: &a {long}\nb: [{}]", many("*a")),
            format!("a: &a {{ ? {long} : 1 }}\nb: [{}]", many("*a")),
            format!(
                "a: &a [{}]\nb: &b [*a, *a]\nc: &c [*b, *b, *b]\nd: [*c, *c]",
                many("1")
            ),
        ] {
            let error = yaml(&text).unwrap_err().to_string();
            assert!(error.contains("too large"), "{error}");
        }
    }
}

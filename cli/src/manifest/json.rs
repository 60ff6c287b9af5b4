//! JSON text, one value after another → the values and where each stands.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::SyntaxError;

/// Reads all values of a text.
pub(super) fn read(text: &str) -> Result<Vec<(Value, Range<usize>)>, SyntaxError> {
    let mut values = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Strict>();
    let mut start = 0;
    while let Some(next) = stream.next() {
        let Strict(value) = next.map_err(|error| {
            let line = error.line().max(1);
            let words = error.to_string();
            // The line is told in another way.
            let reason = words.split(" at line ").next().unwrap_or(&words).to_owned();
            SyntaxError { line, reason }
        })?;
        let end = stream.byte_offset();
        let space = text[start..end].len() - text[start..end].trim_start().len();
        values.push((value, start + space..end));
        start = end;
    }
    Ok(values)
}

/// Whether a text that is neither JSON nor YAML was meant to be JSON.
pub(super) fn is_likely(text: &str) -> bool {
    let mut signs = text.chars().filter(|sign| !sign.is_whitespace());
    signs.next() == Some('{') && matches!(signs.next(), Some('"' | '}') | None)
}

/// A value none of whose objects has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
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

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(element)) = elements.next_element()? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key \"{key}\" is there twice"
                )));
            }
            let Strict(value) = entries.next_value()?;
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
    fn values_follow_each_other_with_or_without_space() {
        let text = " {\"a\": [1, -1, 0.5, null, true]}{}\n\n{\"b\": \"x\"}\n";
        let found = read(text).unwrap();
        let texts: Vec<&str> = found.iter().map(|(_, at)| &text[at.clone()]).collect();
        assert_eq!(
            texts,
            ["{\"a\": [1, -1, 0.5, null, true]}", "{}", "{\"b\": \"x\"}"]
        );
        assert_eq!(found[0].0, json!({ "a": [1, -1, 0.5, null, true] }));
    }

    #[test]
    fn a_fault_has_its_line() {
        for (text, line, part) in [
            ("{\n\"a\": 1,\n\"a\": 2}", 3, "the key \"a\" is there twice"),
            ("{\n\"a\": }", 2, "expected value"),
            ("{}\n{\"a\"", 2, "EOF"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.line, line, "{error:?}");
            assert!(error.reason.contains(part), "{error:?}");
            assert!(!error.reason.contains("line"), "{error:?}");
        }
    }
}

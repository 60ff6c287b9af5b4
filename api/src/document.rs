//! Configuration that people write, in YAML or JSON with Istio's field names: a wrong value is a
//! fault, and a field that has no effect here is warned of.

mod text;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    nearest::nearest,
    values::{ValueError, check_count, shown},
};

/// Of what is wrong with a document, and of the unknown fields of each of its objects, so many are told:
/// more than anybody writes by hand.
const MOST: usize = 32;

/// What a document says, and what whoever wrote it should know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document<T> {
    /// What it says.
    pub value: T,
    /// Fields that have no effect, one sentence each.
    pub warnings: Vec<String>,
}

/// Reads a document whose top is an object.
///
/// # Errors
/// Its form, or every value that is not accepted, each with its path.
pub(crate) fn read<T>(
    text: &str,
    from: impl FnOnce(&mut Fields<'_>) -> T,
) -> Result<Document<T>, ValueError> {
    let object = object(text)?;
    let mut findings = Findings::default();
    let mut fields = Fields::new(String::new(), &object, &mut findings);
    let value = from(&mut fields);
    fields.warn_of_others();
    let Findings {
        mut faults,
        warnings,
    } = findings;
    if faults.is_empty() {
        return Ok(Document { value, warnings });
    }
    let more = faults.len().saturating_sub(MOST);
    if more > 0 {
        faults.truncate(MOST);
        faults.push(format!("and {more} more"));
    }
    Err(ValueError::new(faults.join("; ")))
}

/// An empty document is an empty object.
fn object(text: &str) -> Result<Map<String, Value>, ValueError> {
    // JSON is nearly, but not quite, YAML.
    let value = serde_json::from_str(text).or_else(|_| text::yaml(text));
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(ValueError::new(
            "fields with values are accepted, such as concurrency: 2",
        )),
        Err(error) => Err(ValueError::new(format!("not YAML: {error}"))),
    }
}

#[derive(Debug, Default)]
struct Findings {
    faults: Vec<String>,
    warnings: Vec<String>,
}

/// The fields of one object of a document.
pub(crate) struct Fields<'a> {
    /// The object's own, with a dot at its end; empty at the top.
    path: String,
    object: &'a Map<String, Value>,
    known: Vec<&'static str>,
    /// Whether any field is known.
    is_map: bool,
    findings: &'a mut Findings,
}

impl<'a> Fields<'a> {
    fn new(path: String, object: &'a Map<String, Value>, findings: &'a mut Findings) -> Self {
        Self {
            path,
            object,
            known: Vec::new(),
            is_map: false,
            findings,
        }
    }

    /// A field's value; none if it is absent, null, or not accepted.
    pub(crate) fn take<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, ValueError>,
    ) -> Option<T> {
        let value = self.present(key)?;
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.fault(key, value, &reason);
                None
            }
        }
    }

    /// A field that is an object itself.
    pub(crate) fn nested<T>(
        &mut self,
        key: &'static str,
        from: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> Option<T> {
        let value = self.present(key)?;
        let Some(object) = value.as_object() else {
            let reason = ValueError::new("fields with values are accepted");
            self.fault(key, value, &reason);
            return None;
        };
        let path = format!("{}{key}.", self.path);
        let mut fields = Fields::new(path, object, self.findings);
        let value = from(&mut fields);
        fields.warn_of_others();
        Some(value)
    }

    /// Every field of an object that is a map.
    pub(crate) fn each<T>(
        &mut self,
        parse: impl Fn(&str, &Value) -> Result<T, ValueError>,
    ) -> BTreeMap<String, T> {
        self.is_map = true;
        if let Err(reason) = check_count(self.object.len()) {
            let path = self.path.trim_end_matches('.');
            self.findings.faults.push(format!("{path}: {reason}"));
            return BTreeMap::new();
        }
        let mut map = BTreeMap::new();
        for (key, value) in self.object {
            match parse(key, value) {
                Ok(parsed) => {
                    map.insert(key.clone(), parsed);
                }
                Err(reason) => self.fault(key, value, &reason),
            }
        }
        map
    }

    /// Fields of Istio's that nothing here reads.
    pub(crate) fn without_effect(&mut self, keys: &[&'static str]) {
        for key in keys {
            if self.present(key).is_some() {
                self.warn(key, "has no effect in this mesh");
            }
        }
    }

    /// Adds a warning of a field.
    pub(crate) fn warn(&mut self, key: &str, what: &str) {
        let path = &self.path;
        self.findings.warnings.push(format!("{path}{key} {what}"));
    }

    fn present(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn fault(&mut self, key: &str, value: &Value, reason: &ValueError) {
        let (path, key, value) = (&self.path, shown(key), shown(&value.to_string()));
        self.findings
            .faults
            .push(format!("{path}{key} is {value}: {reason}"));
    }

    fn warn_of_others(self) {
        let unknown = |key: &&String| !self.is_map && !self.known.contains(&key.as_str());
        let path = &self.path;
        for (index, key) in self.object.keys().filter(unknown).enumerate() {
            if index == MOST {
                let text = format!("further fields beside {path}{} are not known", shown(key));
                self.findings.warnings.push(text);
                break;
            }
            let meant = nearest(key, self.known.iter().copied());
            let meant = meant.map_or_else(String::new, |name| format!("; is {name} meant?"));
            let key = shown(key);
            self.findings
                .warnings
                .push(format!("{path}{key} is not known{meant}"));
        }
    }
}

/// Whether it is true or false.
pub(crate) fn boolean(value: &Value) -> Result<bool, ValueError> {
    value
        .as_bool()
        .ok_or_else(|| ValueError::new("true or false is accepted"))
}

/// A text that stands for a value.
pub(crate) fn text<T>(
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> impl FnOnce(&Value) -> Result<T, ValueError> {
    |value| match value.as_str() {
        Some(text) => parse(text),
        None => Err(ValueError::new("a text is accepted")),
    }
}

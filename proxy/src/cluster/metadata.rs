//! What is said of endpoints, beside where they are.

use std::cmp::Ordering;

use fairlead_xds::google::protobuf::{self, value::Kind};

/// A value of metadata, as in JSON.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(Box<str>),
    /// Several values.
    List(Box<[Value]>),
    /// Named values.
    Struct(Metadata),
}

/// Named values, sorted by their names.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Metadata(Box<[(Box<str>, Value)]>);

impl Metadata {
    /// The values of a message.
    pub fn new(message: &protobuf::Struct) -> Self {
        let protobuf::Struct { fields } = message;
        fields
            .iter()
            .map(|(key, value)| (key.as_str().into(), Value::new(value)))
            .collect()
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of that name.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let found = self.0.binary_search_by(|(name, _)| (**name).cmp(key));
        found.ok().map(|index| &self.0[index].1)
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// Whether each value of `self` is in `other`; with `list_as_any`, also as one of a list.
    pub fn is_part_of(&self, other: &Self, list_as_any: bool) -> bool {
        self.iter().all(|(key, value)| {
            other.get(key).is_some_and(|found| {
                found == value
                    || matches!(found, Value::List(list) if list_as_any && list.contains(value))
            })
        })
    }

    /// The same with the values of `other`, which win.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let kept = self.iter().filter(|(key, _)| other.get(key).is_none());
        kept.chain(other.iter())
            .map(|(key, value)| (key.into(), value.clone()))
            .collect()
    }

    /// The values whose names are accepted.
    #[must_use]
    pub fn filtered(&self, accepts: impl Fn(&str) -> bool) -> Self {
        self.iter()
            .filter(|(key, _)| accepts(key))
            .map(|(key, value)| (key.into(), value.clone()))
            .collect()
    }
}

impl FromIterator<(Box<str>, Value)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Value)>>(values: I) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(|(left, _), (right, _)| left.cmp(right));
        values.dedup_by(|(left, _), (right, _)| left == right);
        Self(values.into())
    }
}

impl Value {
    /// The value of a message.
    pub fn new(message: &protobuf::Value) -> Self {
        match &message.kind {
            None | Some(Kind::NullValue(_)) => Self::Null,
            Some(Kind::BoolValue(value)) => Self::Bool(*value),
            // Zero has a sign that nobody means.
            Some(Kind::NumberValue(value)) => Self::Number(value + 0.0),
            Some(Kind::StringValue(text)) => Self::Text(text.as_str().into()),
            Some(Kind::ListValue(list)) => Self::List(list.values.iter().map(Self::new).collect()),
            Some(Kind::StructValue(fields)) => Self::Struct(Metadata::new(fields)),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Text(_) => 3,
            Self::List(_) => 4,
            Self::Struct(_) => 5,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Number(left), Self::Number(right)) => left.total_cmp(right),
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::List(left), Self::List(right)) => left.cmp(right),
            (Self::Struct(left), Self::Struct(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(values: &[(&str, Value)]) -> Metadata {
        let values = values.iter().cloned();
        values.map(|(key, value)| (key.into(), value)).collect()
    }

    #[test]
    fn a_part_has_equal_values() {
        let list = Value::List([Value::from("v1"), Value::from("v2")].into());
        let whole = metadata(&[
            ("version", list.clone()),
            ("canary", Value::Bool(true)),
            ("share", Value::Number(0.5)),
        ]);
        for (part, exactly, any) in [
            (vec![], true, true),
            (vec![("canary", Value::Bool(true))], true, true),
            (vec![("canary", Value::Bool(false))], false, false),
            (vec![("canary", Value::from("true"))], false, false),
            (vec![("version", list)], true, true),
            (vec![("version", Value::from("v2"))], false, true),
            (vec![("version", Value::from("v3"))], false, false),
            (vec![("share", Value::Number(0.5))], true, true),
            (vec![("other", Value::Null)], false, false),
        ] {
            let part = metadata(&part);
            assert_eq!(part.is_part_of(&whole, false), exactly, "{part:?}");
            assert_eq!(part.is_part_of(&whole, true), any, "{part:?}");
        }
    }

    #[test]
    fn what_is_merged_wins() {
        let left = metadata(&[("a", Value::from("1")), ("b", Value::from("1"))]);
        let right = metadata(&[("b", Value::from("2")), ("c", Value::from("2"))]);
        let expected = [
            ("a", Value::from("1")),
            ("b", Value::from("2")),
            ("c", Value::from("2")),
        ];
        assert_eq!(left.merged(&right), metadata(&expected));
        assert_eq!(left.filtered(|key| key == "b").len(), 1);
    }
}

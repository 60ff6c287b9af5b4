//! What an endpoint's metadata must say for a subset balancer to choose it.

use fairlead_xds::{
    envoy::config::core::v3::Metadata,
    google::protobuf::{ListValue, Struct, Value, value::Kind},
};

/// The one filter whose metadata balancers look at.
const LOAD_BALANCER: &str = "envoy.lb";

/// Values by key, sorted by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataMatch(Box<[(Box<str>, MetadataValue)]>);

/// A value of metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataValue {
    /// Nothing.
    Null,
    /// A number.
    Number(f64),
    /// A text.
    Text(Box<str>),
    /// True or false.
    Bool(bool),
    /// Several values.
    List(Box<[MetadataValue]>),
    /// Values by key, sorted by key.
    Struct(MetadataMatch),
}

impl MetadataMatch {
    /// What the metadata says to balancers; nothing if it says nothing to them.
    pub fn of(metadata: Option<&Metadata>) -> Self {
        let metadata = metadata.and_then(|metadata| metadata.filter_metadata.get(LOAD_BALANCER));
        metadata.map(Self::of_struct).unwrap_or_default()
    }

    fn of_struct(of: &Struct) -> Self {
        let fields = of.fields.iter();
        let mut fields: Vec<_> = fields
            .map(|(key, value)| (key.as_str().into(), MetadataValue::of(value)))
            .collect();
        fields.sort_unstable_by(|(one, _): &(Box<str>, _), (other, _)| one.cmp(other));
        Self(fields.into())
    }

    /// Each key and its value, in the order of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &MetadataValue)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Both, with the other's values for the keys that both have.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let has = |key: &str| other.0.iter().any(|(of_other, _)| **of_other == *key);
        let mine = self.0.iter().filter(|(key, _)| !has(key));
        let mut fields: Vec<_> = mine.chain(&other.0).cloned().collect();
        fields.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self(fields.into())
    }
}

impl MetadataValue {
    fn of(value: &Value) -> Self {
        match &value.kind {
            None | Some(Kind::NullValue(_)) => Self::Null,
            Some(Kind::NumberValue(number)) => Self::Number(*number),
            Some(Kind::StringValue(text)) => Self::Text(text.as_str().into()),
            Some(Kind::BoolValue(bool)) => Self::Bool(*bool),
            Some(Kind::ListValue(ListValue { values })) => {
                Self::List(values.iter().map(Self::of).collect())
            }
            Some(Kind::StructValue(fields)) => Self::Struct(MetadataMatch::of_struct(fields)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::network_filter) fn metadata(fields: &[(&str, Kind)]) -> Metadata {
        let of_balancer = fields_of(fields);
        let of_others = fields_of(&[("ignored", Kind::BoolValue(true))]);
        Metadata {
            filter_metadata: [(LOAD_BALANCER, of_balancer), ("envoy.other", of_others)]
                .map(|(name, fields)| (name.to_owned(), fields))
                .into(),
            ..Metadata::default()
        }
    }

    fn fields_of(fields: &[(&str, Kind)]) -> Struct {
        let fields = fields.iter().cloned();
        Struct {
            fields: fields
                .map(|(key, kind)| (key.to_owned(), Value { kind: Some(kind) }))
                .collect(),
        }
    }

    pub(in crate::network_filter) fn text(text: &str) -> Kind {
        Kind::StringValue(text.to_owned())
    }

    #[test]
    fn values_are_read_in_the_order_of_their_keys() {
        let list = ListValue {
            values: vec![
                Value { kind: None },
                Value {
                    kind: Some(text("x")),
                },
            ],
        };
        let metadata = metadata(&[
            ("version", text("v1")),
            ("stage", Kind::NumberValue(1.5)),
            ("canary", Kind::BoolValue(true)),
            ("list", Kind::ListValue(list)),
            ("inner", Kind::StructValue(fields_of(&[("a", text("b"))]))),
        ]);
        let matched = MetadataMatch::of(Some(&metadata));
        let text = |text: &str| MetadataValue::Text(text.into());
        let inner = MetadataMatch([("a".into(), text("b"))].into());
        let expected = [
            ("canary", MetadataValue::Bool(true)),
            ("inner", MetadataValue::Struct(inner)),
            (
                "list",
                MetadataValue::List([MetadataValue::Null, text("x")].into()),
            ),
            ("stage", MetadataValue::Number(1.5)),
            ("version", text("v1")),
        ];
        let expected = expected.each_ref().map(|(key, value)| (*key, value));
        assert!(matched.iter().eq(expected));
        assert!(MetadataMatch::of(None).is_empty());
        assert!(MetadataMatch::of(Some(&Metadata::default())).is_empty());
    }

    #[test]
    fn the_other_goes_before() {
        let of = |fields: &[_]| MetadataMatch::of(Some(&metadata(fields)));
        let merged = of(&[("a", text("1")), ("c", text("1"))])
            .merged(&of(&[("b", text("2")), ("c", text("2"))]));
        let expected = of(&[("a", text("1")), ("b", text("2")), ("c", text("2"))]);
        assert_eq!(merged, expected);
    }
}

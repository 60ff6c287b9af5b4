//! The rules of Envoy's definitions (`validate.rules`), which Envoy checks before it runs anything.
//!
//! They are checked where a text is read. Each fault says what must be, after the field's path.

use std::time::Duration;

use envoy_types::pb::validate;
use prost::Message;

use crate::{
    descriptors::{MessageType, WellKnown},
    google::protobuf,
    scalar::Scalar,
    wire,
};

mod bounds;
mod enums;
mod text;

use self::{bounds::Bounds, enums::EnumRules, text::TextRules};

/// What is asked of one field, or of each element, key or value.
#[derive(Debug)]
pub(crate) struct FieldRules {
    required: bool,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    None,
    Integer(Bounds<i128>),
    Number(Bounds<f64>),
    Bool(Option<bool>),
    Text(Box<TextRules>),
    Bytes(Bounds<u64>),
    Enum(EnumRules),
    List(ListRules),
    Any(Vec<String>),
    Duration(Bounds<Seconds>),
}

/// What is asked of a list or a map.
#[derive(Debug)]
struct ListRules {
    count: Bounds<u64>,
    unique: bool,
    keys: Option<Box<FieldRules>>,
    /// Of a list: its elements.
    values: Option<Box<FieldRules>>,
}

/// A duration as durations are written.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Seconds {
    nanos: i128,
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = u64::try_from(self.nanos.unsigned_abs()).unwrap_or(u64::MAX);
        let sign = if self.nanos < 0 { "-" } else { "" };
        write!(f, "{sign}{}s", Duration::from_nanos(nanos).as_secs_f64())
    }
}

impl From<protobuf::Duration> for Seconds {
    fn from(duration: protobuf::Duration) -> Self {
        Self {
            nanos: i128::from(duration.seconds) * 1_000_000_000 + i128::from(duration.nanos),
        }
    }
}

impl FieldRules {
    /// The rules in the descriptors' own encoding.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let rules = validate::FieldRules::decode(bytes);
        Self::of(rules.expect("the descriptors are sound, as a test holds"))
    }

    fn of(rules: validate::FieldRules) -> Self {
        use validate::field_rules::Type;

        let message = rules.message.unwrap_or_default();
        let mut required = message.required();
        let rule = match rules.r#type {
            None | Some(Type::Timestamp(_)) => Rule::None,
            Some(Type::Float(rules)) => Rule::Number(bounds::of!(rules, f64::from)),
            Some(Type::Double(rules)) => Rule::Number(bounds::of!(rules, f64::from)),
            Some(Type::Int32(rules)) => Rule::Integer(bounds::of!(rules, i128::from)),
            Some(Type::Int64(rules)) => Rule::Integer(bounds::of!(rules, i128::from)),
            Some(Type::Uint32(rules)) => Rule::Integer(bounds::of!(rules, i128::from)),
            Some(Type::Uint64(rules)) => Rule::Integer(bounds::of!(rules, i128::from)),
            Some(Type::Sint32(rules)) => Rule::Integer(bounds::of!(rules, i128::from)),
            Some(Type::Sint64(rules)) => Rule::Integer(bounds::of!(rules, i128::from)),
            Some(Type::Fixed32(rules)) => Rule::Integer(bounds::of!(rules, i128::from)),
            Some(Type::Fixed64(rules)) => Rule::Integer(bounds::of!(rules, i128::from)),
            Some(Type::Sfixed32(rules)) => Rule::Integer(bounds::of!(rules, i128::from)),
            Some(Type::Sfixed64(rules)) => Rule::Integer(bounds::of!(rules, i128::from)),
            Some(Type::Bool(rules)) => Rule::Bool(rules.r#const),
            Some(Type::String(rules)) => Rule::Text(Box::new(TextRules::of(rules))),
            Some(Type::Bytes(rules)) => Rule::Bytes(Bounds::between(rules.min_len, rules.max_len)),
            Some(Type::Enum(rules)) => Rule::Enum(EnumRules::of(rules)),
            Some(Type::Repeated(rules)) => Rule::List(ListRules {
                count: Bounds {
                    ignore_empty: rules.ignore_empty(),
                    ..Bounds::between(rules.min_items, rules.max_items)
                },
                unique: rules.unique(),
                keys: None,
                values: rules.items.map(|rules| Box::new(Self::of(*rules))),
            }),
            Some(Type::Map(rules)) => Rule::List(ListRules {
                count: Bounds {
                    ignore_empty: rules.ignore_empty(),
                    ..Bounds::between(rules.min_pairs, rules.max_pairs)
                },
                unique: false,
                keys: rules.keys.map(|rules| Box::new(Self::of(*rules))),
                values: rules.values.map(|rules| Box::new(Self::of(*rules))),
            }),
            Some(Type::Any(rules)) => {
                required |= rules.required();
                Rule::Any(rules.r#in)
            }
            Some(Type::Duration(rules)) => {
                required |= rules.required();
                Rule::Duration(Bounds {
                    constant: rules.r#const.map(Seconds::from),
                    less: rules.lt.map(Seconds::from),
                    most: rules.lte.map(Seconds::from),
                    greater: rules.gt.map(Seconds::from),
                    least: rules.gte.map(Seconds::from),
                    ..Bounds::default()
                })
            }
        };
        Self { required, rule }
    }

    /// Whether the message must be given.
    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    /// What is asked of each element of the list.
    pub(crate) fn items(&self) -> Option<&Self> {
        self.values()
    }

    /// What is asked of each key of the map.
    pub(crate) fn keys(&self) -> Option<&Self> {
        match &self.rule {
            Rule::List(rules) => rules.keys.as_deref(),
            _ => None,
        }
    }

    /// What is asked of each value of the map.
    pub(crate) fn values(&self) -> Option<&Self> {
        match &self.rule {
            Rule::List(rules) => rules.values.as_deref(),
            _ => None,
        }
    }

    /// What is wrong with a value.
    pub(crate) fn check(&self, scalar: &Scalar) -> Option<String> {
        match (&self.rule, scalar) {
            (Rule::Integer(bounds), Scalar::Signed(value)) => bounds.check(&(*value).into()),
            (Rule::Integer(bounds), Scalar::Unsigned(value)) => bounds.check(&(*value).into()),
            (Rule::Number(bounds), Scalar::Float(value)) => bounds.check(&(*value).into()),
            (Rule::Number(bounds), Scalar::Double(value)) => bounds.check(value),
            (Rule::Bool(Some(constant)), Scalar::Bool(value)) => {
                (constant != value).then(|| format!("must be {constant}"))
            }
            (Rule::Text(rules), Scalar::String(text)) => rules.check(text),
            (Rule::Bytes(length), Scalar::Bytes(bytes)) => {
                let fault = length.check(&(bytes.len() as u64))?;
                Some(format!("has {} bytes; their number {fault}", bytes.len()))
            }
            (Rule::Enum(rules), Scalar::Enum(r#enum, value)) => rules.check(*r#enum, *value),
            _ => None,
        }
    }

    /// What is wrong with a list or a map of that many elements, of which `scalars` are the values.
    pub(crate) fn check_list(&self, count: usize, scalars: &[Scalar]) -> Option<String> {
        let Rule::List(rules) = &self.rule else {
            return None;
        };
        if let Some(fault) = rules.count.check(&(count as u64)) {
            return Some(format!("has {count} elements; their number {fault}"));
        }
        if rules.unique {
            let mut seen = std::collections::HashSet::new();
            let mut texts = scalars.iter().map(|scalar| format!("{scalar:?}"));
            if texts.any(|text| !seen.insert(text)) {
                return Some("must not have the same element twice".to_owned());
            }
        }
        None
    }

    /// What is wrong with a message that stands for one value.
    pub(crate) fn check_message(&self, message: MessageType, content: &[u8]) -> Option<String> {
        match (&self.rule, message.well_known()?) {
            (Rule::Duration(bounds), WellKnown::Duration) => {
                let duration = protobuf::Duration::decode(content).ok()?;
                bounds.check(&duration.into())
            }
            (Rule::Any(urls), WellKnown::Any) => {
                let any = protobuf::Any::decode(content).ok()?;
                (!urls.is_empty() && !urls.contains(&any.type_url))
                    .then(|| format!("must be one of {}", urls.join(", ")))
            }
            (_, WellKnown::Wrapper(field)) => {
                let mut scalar = Scalar::default_of(field.kind())?;
                for (number, raw) in wire::fields(content).flatten() {
                    if number == field.number() {
                        scalar = Scalar::of(field.kind(), raw)?;
                    }
                }
                self.check(&scalar)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

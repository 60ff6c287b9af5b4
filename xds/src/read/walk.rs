//! One walk over the tree beside the descriptors: it encodes what is sound and keeps what is not.

use std::{collections::HashMap, fmt::Display};

use crate::{
    descriptors::{EnumType, Field, MessageType, WellKnown},
    read::{Fault, UnknownFields, path::Path},
    rules::FieldRules,
    tree::Node,
};

/// How many faults are told: nobody reads more, and each costs a search for the word that was meant.
const MOST: usize = 1000;

/// What was found so far, and what the walk goes by.
pub(super) struct Walk {
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
    pub(super) unknown: UnknownFields,
    /// YAML has more words for true and false.
    pub(super) is_yaml: bool,
    /// The rules that were needed, decoded once.
    rules: HashMap<Field, Option<std::rc::Rc<FieldRules>>>,
}

impl Walk {
    pub(super) fn new(unknown: UnknownFields, is_yaml: bool) -> Self {
        Self {
            faults: Vec::new(),
            warnings: Vec::new(),
            unknown,
            is_yaml,
            rules: HashMap::new(),
        }
    }

    /// Keeps a fault, and returns nothing in the place of what cannot be made.
    pub(super) fn fault<T>(&mut self, path: Path<'_>, message: impl Into<String>) -> Option<T> {
        match self.faults.len() {
            MOST => self
                .faults
                .push(told(Path::Root, "there are more faults than these")),
            len if len > MOST => {}
            _ => self.faults.push(told(path, message)),
        }
        None
    }

    /// Whether more faults are not told.
    pub(super) fn is_full(&self) -> bool {
        self.faults.len() > MOST
    }

    pub(super) fn expected<T>(
        &mut self,
        path: Path<'_>,
        expected: impl Display,
        found: &Node,
    ) -> Option<T> {
        self.fault(path, format!("expected {expected}, found {found}"))
    }

    pub(super) fn warn(&mut self, path: Path<'_>, message: impl Into<String>) {
        if self.warnings.len() < MOST {
            self.warnings.push(told(path, message));
        }
    }

    /// What Envoy's definition demands of the field.
    pub(super) fn rules(&mut self, field: Field) -> Option<std::rc::Rc<FieldRules>> {
        let known = self.rules.entry(field);
        let rules = known.or_insert_with(|| {
            let rules = field.rules()?;
            Some(std::rc::Rc::new(FieldRules::decode(rules)))
        });
        rules.clone()
    }

    /// Encodes the message that `node` is written for.
    pub(super) fn message(
        &mut self,
        path: Path<'_>,
        message: MessageType,
        node: &Node,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let Some(well_known) = message.well_known() else {
            let entries = map(self, path, node)?;
            return self.fields(path, message, entries.iter(), out);
        };
        match well_known {
            WellKnown::Any => self.any(path, node, out),
            WellKnown::Duration => self.duration(path, node, out),
            WellKnown::Timestamp => self.timestamp(path, node, out),
            WellKnown::Struct => self.r#struct(path, node, out),
            WellKnown::Value => self.value(path, node, out),
            WellKnown::ListValue => self.list_value(path, node, out),
            WellKnown::Empty => match map(self, path, node)? {
                [] => Some(()),
                [(key, _), ..] => {
                    self.fault(Path::Field(&path, key), "unknown field; none is known")
                }
            },
            WellKnown::Wrapper(field) => {
                let scalar = self.scalar(path, field.kind(), node)?;
                scalar.put_unless_default(field, out);
                Some(())
            }
        }
    }

    /// The number that `node` names.
    pub(super) fn r#enum(&mut self, path: Path<'_>, r#enum: EnumType, node: &Node) -> Option<i32> {
        let number = match node {
            Node::String(name) => r#enum.number(name),
            // Proto3 keeps numbers that have no name; the rules say where they are refused.
            Node::Integer(number) => i32::try_from(*number).ok(),
            // It gets here where it is a value: of `NullValue`.
            Node::Null => Some(0),
            _ => None,
        };
        if number.is_some() {
            return number;
        }
        let names: Vec<_> = r#enum.values().map(|(name, _)| name).collect();
        self.expected(path, Accepted(&names), node)
    }
}

pub(super) fn told(path: Path<'_>, message: impl Into<String>) -> Fault {
    Fault {
        path: path.to_string(),
        message: message.into(),
    }
}

/// The entries of `node`, which must be a map.
pub(super) fn map<'n>(
    walk: &mut Walk,
    path: Path<'_>,
    node: &'n Node,
) -> Option<&'n [(String, Node)]> {
    match node {
        Node::Map(entries) => Some(entries),
        _ => walk.expected(path, "a map", node),
    }
}

/// `one of A, B, C`.
pub(super) struct Accepted<'a>(pub(super) &'a [&'a str]);

impl Display for Accepted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [one] => f.write_str(one),
            many => write!(f, "one of {}", many.join(", ")),
        }
    }
}

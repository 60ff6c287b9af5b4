//! The fields of a message: which of them are given, each once, and what the message asks for.

use crate::{
    descriptors::{Field, Kind, MessageType},
    read::{
        UnknownFields,
        path::Path,
        walk::{Accepted, Walk},
    },
    rules::FieldRules,
    scalar::Scalar,
    tree::Node,
    wire,
};

impl Walk {
    /// Encodes a message's fields in the order of their numbers.
    pub(super) fn fields<'n>(
        &mut self,
        path: Path<'_>,
        message: MessageType,
        entries: impl Iterator<Item = &'n (String, Node)>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let before = self.faults.len();
        if self.is_full() {
            return None;
        }
        let mut given: Vec<(Field, Vec<u8>)> = Vec::new();
        for (key, node) in entries {
            let here = Path::Field(&path, key);
            let Some(field) = message.field(key) else {
                self.unknown_field(here, message, key);
                continue;
            };
            if given.iter().any(|(other, _)| *other == field) {
                self.fault::<()>(here, "is given twice");
                continue;
            }
            if *node == Node::Null && !takes_null(field) {
                continue;
            }
            if let Some(other) = rival(field, &given) {
                let other = other.name();
                let fault = format!("excludes '{other}', which is given, too; keep one of them");
                self.fault::<()>(here, fault);
            }
            self.tell_of_age(here, field);
            let mut encoded = Vec::new();
            self.field(here, field, node, &mut encoded);
            given.push((field, encoded));
        }
        if !message.is_unchecked() {
            self.absent(path, message, &given);
        }
        given.sort_by_key(|(field, _)| field.number());
        for (_, encoded) in given {
            out.extend(encoded);
        }
        (self.faults.len() == before).then_some(())
    }

    /// Encodes a field that is given, with its tag.
    fn field(
        &mut self,
        path: Path<'_>,
        field: Field,
        node: &Node,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        if let Some((key, value)) = field.map_entry() {
            return self.map(path, field, (key, value), node, out);
        }
        if field.is_repeated() {
            return self.list(path, field, node, out);
        }
        let rules = self.rules(field);
        match field.kind() {
            Kind::Message(message) => {
                let mut content = Vec::new();
                self.message(path, message, node, &mut content)?;
                if let Some(rules) = rules {
                    self.obey_message(path, &rules, message, &content);
                }
                wire::put_bytes(out, field.number(), &content);
            }
            kind => {
                let scalar = self.scalar(path, kind, node)?;
                if let Some(rules) = rules {
                    self.obey(path, rules.check(&scalar));
                }
                if field.has_presence() {
                    scalar.put(field, out);
                } else {
                    scalar.put_unless_default(field, out);
                }
            }
        }
        Some(())
    }

    /// What the message asks for and is not given.
    fn absent(&mut self, path: Path<'_>, message: MessageType, given: &[(Field, Vec<u8>)]) {
        for oneof in message.oneofs().filter(|oneof| oneof.is_required()) {
            let inside = |field: &Field| field.oneof() == Some(oneof.index);
            if !given.iter().any(|(field, _)| inside(field)) {
                let names: Vec<_> = message.fields().filter(inside).map(Field::name).collect();
                self.fault::<()>(path, format!("needs {}", Accepted(&names)));
            }
        }
        for field in message.fields().filter(|field| field.rules().is_some()) {
            if field.oneof().is_some() || given.iter().any(|(other, _)| *other == field) {
                continue;
            }
            let Some(rules) = self.rules(field) else {
                continue;
            };
            let here = Path::Field(&path, field.name());
            if rules.is_required() {
                self.fault::<()>(here, "is missing");
            } else if field.is_repeated() {
                self.obey(here, rules.check_list(0, &[]));
            } else if !field.has_presence() {
                let default = Scalar::default_of(field.kind());
                if let Some(fault) = default.and_then(|default| rules.check(&default)) {
                    self.fault::<()>(here, format!("is missing; it {fault}"));
                }
            }
        }
    }

    pub(super) fn obey(&mut self, path: Path<'_>, fault: Option<String>) {
        if let Some(fault) = fault {
            self.fault::<()>(path, fault);
        }
    }

    pub(super) fn obey_message(
        &mut self,
        path: Path<'_>,
        rules: &FieldRules,
        message: MessageType,
        content: &[u8],
    ) {
        self.obey(path, rules.check_message(message, content));
    }

    fn unknown_field(&mut self, path: Path<'_>, message: MessageType, key: &str) {
        if self.is_full() {
            return;
        }
        if self.unknown == UnknownFields::Skip {
            return self.warn(
                path,
                format!("is unknown to {} and left out", message.name()),
            );
        }
        let names = message.fields().map(Field::name);
        let distance = |name: &str| strsim::osa_distance(key, name);
        let near = names.map(|name| (distance(name), name)).min();
        let hint = match near {
            Some((distance, name)) if distance * 3 <= key.len() => {
                format!("unknown field; did you mean '{name}'?")
            }
            _ => format!("unknown field of {}", message.name()),
        };
        self.fault::<()>(path, hint);
    }

    fn tell_of_age(&mut self, path: Path<'_>, field: Field) {
        if field.is_disallowed() {
            self.fault::<()>(
                path,
                "is deprecated, and Envoy refuses it unless its runtime allows it",
            );
        } else if field.is_deprecated() {
            self.warn(path, "is deprecated");
        }
    }
}

/// Whether null is a value of the field, not its absence.
pub(super) fn takes_null(field: Field) -> bool {
    match field.kind() {
        Kind::Message(message) => message.name() == "google.protobuf.Value",
        Kind::Enum(r#enum) => r#enum.name() == "google.protobuf.NullValue",
        _ => false,
    }
}

/// The field that is given and excludes this one.
fn rival(field: Field, given: &[(Field, Vec<u8>)]) -> Option<Field> {
    let oneof = field.oneof()?;
    let mut others = given.iter().map(|(other, _)| *other);
    others.find(|other| other.oneof() == Some(oneof))
}

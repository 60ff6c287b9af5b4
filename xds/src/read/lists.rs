//! Fields that hold many values: lists and maps.

use std::collections::HashSet;

use crate::{
    descriptors::{Field, Kind},
    read::{
        fields::takes_null,
        path::Path,
        walk::{Walk, map},
    },
    tree::Node,
    wire,
};

impl Walk {
    pub(super) fn list(
        &mut self,
        path: Path<'_>,
        field: Field,
        node: &Node,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let Node::List(nodes) = node else {
            return self.expected(path, "a list", node);
        };
        let rules = self.rules(field);
        let mut packed = Vec::new();
        let mut scalars = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let here = Path::Index(&path, index);
            if *node == Node::Null && !takes_null(field) {
                self.fault::<()>(here, "is null, which no element of this list can be");
                continue;
            }
            let items = rules.as_ref().and_then(|rules| rules.items());
            match field.kind() {
                Kind::Message(message) => {
                    let mut content = Vec::new();
                    if self.message(here, message, node, &mut content).is_none() {
                        continue;
                    }
                    if let Some(items) = items {
                        self.obey_message(here, items, message, &content);
                    }
                    wire::put_bytes(out, field.number(), &content);
                }
                kind => {
                    let Some(scalar) = self.scalar(here, kind, node) else {
                        continue;
                    };
                    if let Some(items) = items {
                        self.obey(here, items.check(&scalar));
                    }
                    if field.is_packed() {
                        wire::put_value(&mut packed, scalar.raw(kind));
                    } else {
                        scalar.put(field, out);
                    }
                    scalars.push(scalar);
                }
            }
        }
        if !packed.is_empty() {
            wire::put_bytes(out, field.number(), &packed);
        }
        if let Some(rules) = rules {
            self.obey(path, rules.check_list(nodes.len(), &scalars));
        }
        Some(())
    }

    pub(super) fn map(
        &mut self,
        path: Path<'_>,
        field: Field,
        (key_field, value_field): (Field, Field),
        node: &Node,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let entries = map(self, path, node)?;
        let rules = self.rules(field);
        let mut keys = HashSet::with_capacity(entries.len());
        for (key, node) in entries {
            let here = Path::Key(&path, key);
            if !keys.insert(key) {
                self.fault::<()>(here, "is given twice");
                continue;
            }
            let mut entry = Vec::new();
            let Some(key) = self.key(here, key_field.kind(), key) else {
                continue;
            };
            if let Some(keys) = rules.as_ref().and_then(|rules| rules.keys()) {
                self.obey(here, keys.check(&key));
            }
            key.put(key_field, &mut entry);
            if *node == Node::Null && !takes_null(value_field) {
                self.fault::<()>(here, "is null, which no value of this map can be");
                continue;
            }
            match value_field.kind() {
                Kind::Message(message) => {
                    let mut content = Vec::new();
                    if self.message(here, message, node, &mut content).is_none() {
                        continue;
                    }
                    if let Some(values) = rules.as_ref().and_then(|rules| rules.values()) {
                        self.obey_message(here, values, message, &content);
                    }
                    wire::put_bytes(&mut entry, value_field.number(), &content);
                }
                kind => {
                    let Some(scalar) = self.scalar(here, kind, node) else {
                        continue;
                    };
                    if let Some(values) = rules.as_ref().and_then(|rules| rules.values()) {
                        self.obey(here, values.check(&scalar));
                    }
                    scalar.put(value_field, &mut entry);
                }
            }
            wire::put_bytes(out, field.number(), &entry);
        }
        if let Some(rules) = rules {
            self.obey(path, rules.check_list(entries.len(), &[]));
        }
        Some(())
    }
}

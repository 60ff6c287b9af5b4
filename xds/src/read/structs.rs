//! Values that have no type: `Struct`, `Value`, `ListValue`.
//!
//! They are encoded by hand: their messages nest twice for each level of the text.

use crate::{
    read::{
        path::Path,
        walk::{Walk, map},
    },
    tree::Node,
    wire::{self, Raw},
};

/// The numbers of `Value`'s fields.
const NULL: u32 = 1;
const NUMBER: u32 = 2;
const STRING: u32 = 3;
const BOOL: u32 = 4;
const STRUCT: u32 = 5;
const LIST: u32 = 6;

/// The entries of a `Struct`, the elements of a `ListValue`; the key and the value of an entry.
const FIELDS: u32 = 1;
const VALUES: u32 = 1;
const KEY: u32 = 1;
const VALUE: u32 = 2;

impl Walk {
    pub(super) fn r#struct(
        &mut self,
        path: Path<'_>,
        node: &Node,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let mut keys = std::collections::HashSet::new();
        for (key, node) in map(self, path, node)? {
            let here = Path::Key(&path, key);
            if !keys.insert(key) {
                self.fault::<()>(here, "is given twice");
                continue;
            }
            let mut value = Vec::new();
            self.value(here, node, &mut value);
            let mut entry = Vec::new();
            wire::put_bytes(&mut entry, KEY, key.as_bytes());
            wire::put_bytes(&mut entry, VALUE, &value);
            wire::put_bytes(out, FIELDS, &entry);
        }
        Some(())
    }

    pub(super) fn list_value(
        &mut self,
        path: Path<'_>,
        node: &Node,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let Node::List(nodes) = node else {
            return self.expected(path, "a list", node);
        };
        for (index, node) in nodes.iter().enumerate() {
            let mut value = Vec::new();
            self.value(Path::Index(&path, index), node, &mut value);
            wire::put_bytes(out, VALUES, &value);
        }
        Some(())
    }

    pub(super) fn value(&mut self, path: Path<'_>, node: &Node, out: &mut Vec<u8>) -> Option<()> {
        let mut content = Vec::new();
        match node {
            Node::Null => wire::put(out, NULL, Raw::Varint(0)),
            Node::Bool(value) => wire::put(out, BOOL, Raw::Varint((*value).into())),
            #[expect(clippy::cast_precision_loss, reason = "a Value has no other numbers")]
            Node::Integer(value) => {
                wire::put(out, NUMBER, Raw::Fixed64((*value as f64).to_bits()));
            }
            Node::Float(value) if value.is_finite() => {
                wire::put(out, NUMBER, Raw::Fixed64(value.to_bits()));
            }
            Node::Float(_) => return self.expected(path, "a number that JSON has", node),
            Node::String(text) => wire::put_bytes(out, STRING, text.as_bytes()),
            Node::List(_) => {
                self.list_value(path, node, &mut content)?;
                wire::put_bytes(out, LIST, &content);
            }
            Node::Map(_) => {
                self.r#struct(path, node, &mut content)?;
                wire::put_bytes(out, STRUCT, &content);
            }
        }
        Some(())
    }
}

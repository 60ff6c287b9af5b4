//! YAML or JSON as a tree, with everything that was written: a key that is given twice stays twice.

mod nesting;

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Protobuf nests no deeper, either.
const DEPTH: usize = 100;

/// What all nodes may cost in memory, so that a short text whose aliases repeat one another stays short.
const BUDGET: usize = 256 << 20;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    /// An integer that is negative or fits 64 bits.
    Integer(i128),
    Float(f64),
    String(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl fmt::Display for Node {
    /// The value as a fault names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "{}", Quoted(value)),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a map"),
        }
    }
}

/// A text in quotes, cut short: it may be a whole certificate.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        let text = self.0.escape_debug();
        match self.0.char_indices().nth(SHOWN) {
            None => write!(f, "'{text}'"),
            Some((end, _)) => write!(f, "'{}…'", self.0[..end].escape_debug()),
        }
    }
}

/// Why a text is no tree; the message has line and column where these are known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    #[error("is no UTF-8 at byte {0}")]
    Utf8(usize),
    #[error("is no YAML: {0}")]
    Yaml(#[source] serde_norway::Error),
    #[error("is no JSON: {0}")]
    Json(#[source] serde_json::Error),
}

fn text(bytes: &[u8]) -> Result<&str, TreeError> {
    str::from_utf8(bytes).map_err(|error| TreeError::Utf8(error.valid_up_to()))
}

/// The tree of one YAML document.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Node, TreeError> {
    let text = text(bytes)?;
    if let Some(fault) = nesting::fault(text) {
        return Err(TreeError::Yaml(fault));
    }
    yaml_within(text, &Bounds::default()).map_err(TreeError::Yaml)
}

fn yaml_within(text: &str, bounds: &Bounds) -> Result<Node, serde_norway::Error> {
    Seed::root(bounds).deserialize(serde_norway::Deserializer::from_str(text))
}

/// The tree of one JSON text.
pub(crate) fn json(bytes: &[u8]) -> Result<Node, TreeError> {
    let text = text(bytes)?;
    let bounds = Bounds::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let tree = Seed::root(&bounds).deserialize(&mut deserializer);
    tree.and_then(|tree| deserializer.end().map(|()| tree))
        .map_err(TreeError::Json)
}

/// What a tree may be.
struct Bounds {
    /// Of [`BUDGET`].
    left: Cell<usize>,
    /// It is nested deeper than [`DEPTH`].
    too_deep: Cell<bool>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            left: Cell::new(BUDGET),
            too_deep: Cell::new(false),
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    bounds: &'a Bounds,
    depth: usize,
}

impl<'a> Seed<'a> {
    fn root(bounds: &'a Bounds) -> Self {
        Self { bounds, depth: 0 }
    }

    fn spend<E: Error>(&self, text: usize) -> Result<(), E> {
        let cost = size_of::<(String, Node)>() + text;
        let left = self.bounds.left.get().checked_sub(cost);
        self.bounds
            .left
            .set(left.ok_or_else(|| E::custom("it is too large, with its aliases written out"))?);
        Ok(())
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH {
            self.bounds.too_deep.set(true);
            return Err(E::custom(format!(
                "it is nested deeper than {DEPTH} levels"
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.spend(0)?;
        Ok(Node::Null)
    }

    /// A YAML text without a document.
    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.spend(0)?;
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.visit_i128(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.visit_i128(value.into())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        self.spend(0)?;
        Ok(Node::Integer(value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        match i128::try_from(value) {
            Ok(value) => self.visit_i128(value),
            Err(_) => Err(E::custom(format!("the number {value} is too large"))),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.spend(0)?;
        Ok(Node::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        self.spend(value.len())?;
        Ok(Node::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        self.spend(0)?;
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(node) = access.next_element_seed(inner)? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        self.spend(0)?;
        let inner = self.deeper()?;
        let mut map = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            self.spend(key.len())?;
            map.push((key, access.next_value_seed(inner)?));
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests;

//! What a value may be written as: proto3 JSON takes numbers in quotes, names of enums, base64.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::{
    descriptors::Kind,
    read::{path::Path, walk::Walk},
    scalar::Scalar,
    tree::Node,
};

/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Walk {
    /// The value that `node` is written for. `kind` is no message.
    pub(super) fn scalar(&mut self, path: Path<'_>, kind: Kind, node: &Node) -> Option<Scalar> {
        let scalar = match (kind, node) {
            (Kind::Enum(r#enum), _) => {
                let number = self.r#enum(path, r#enum, node)?;
                return Some(Scalar::Enum(r#enum, number));
            }
            (Kind::Bool, Node::Bool(value)) => Some(Scalar::Bool(*value)),
            (Kind::Bool, Node::String(word)) if self.is_yaml => truth(word).map(Scalar::Bool),
            (Kind::String, Node::String(text)) => Some(Scalar::String(text.clone())),
            (Kind::Bytes, Node::String(text)) => base64(text).map(Scalar::Bytes),
            (Kind::Double, _) => double(node).map(Scalar::Double),
            (Kind::Float, _) => double(node).and_then(float).map(Scalar::Float),
            (kind, _) => integer(node).and_then(|number| fitting(kind, number)),
        };
        match scalar {
            Some(scalar) => Some(scalar),
            None => self.expected(path, wanted(kind, node), node),
        }
    }

    /// The key that is written as `key`: all keys are texts.
    pub(super) fn key(&mut self, path: Path<'_>, kind: Kind, key: &str) -> Option<Scalar> {
        let node = match (kind, key) {
            (Kind::Bool, "true") => Node::Bool(true),
            (Kind::Bool, "false") => Node::Bool(false),
            _ => Node::String(key.to_owned()),
        };
        self.scalar(path, kind, &node)
    }
}

/// What is expected, in words that help with the usual mistakes.
fn wanted(kind: Kind, node: &Node) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::String => match node {
            Node::Bool(_) | Node::Integer(_) | Node::Float(_) => "a string (put it in quotes)",
            _ => "a string",
        },
        Kind::Bytes => "bytes in base64",
        Kind::Double | Kind::Float => "a number",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a whole number of 32 bits",
        Kind::Uint32 | Kind::Fixed32 => "a whole number from 0 to 4294967295",
        Kind::Uint64 | Kind::Fixed64 => "a whole number from 0 to 18446744073709551615",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number of 64 bits",
        Kind::Enum(_) | Kind::Message(_) => "a value",
    }
}

/// YAML 1.1's words, which Envoy takes.
fn truth(word: &str) -> Option<bool> {
    match word {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Both alphabets, as proto3 JSON has it.
fn base64(text: &str) -> Option<Vec<u8>> {
    let standard = text.replace('-', "+").replace('_', "/");
    BASE64.decode(standard).ok()
}

fn double(node: &Node) -> Option<f64> {
    match node {
        Node::Float(value) => Some(*value),
        // The nearest one is what is wanted.
        #[expect(clippy::cast_precision_loss, reason = "a double has no better")]
        Node::Integer(value) => Some(*value as f64),
        Node::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => number(text),
        },
        _ => None,
    }
}

/// A number in quotes; what Rust reads beyond JSON's forms (`inf`, `+1`) is none.
fn number(text: &str) -> Option<f64> {
    let mut characters = text.chars();
    let digits = characters.next()?.is_ascii_digit()
        || text.starts_with('-') && characters.next()?.is_ascii_digit();
    let value: f64 = text.parse().ok()?;
    (digits && value.is_finite()).then_some(value)
}

/// The nearest float, unless the number is beyond all of them.
fn float(value: f64) -> Option<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is out of range is seen"
    )]
    let float = value as f32;
    (float.is_finite() || !value.is_finite()).then_some(float)
}

/// A whole number, in quotes or not, also as `1e3` or `2.0`.
fn integer(node: &Node) -> Option<i128> {
    match node {
        Node::Integer(value) => Some(*value),
        Node::Float(value) => whole(*value),
        Node::String(text) if text.starts_with('+') => None,
        Node::String(text) => text.parse().ok().or_else(|| whole(number(text)?)),
        _ => None,
    }
}

fn whole(value: f64) -> Option<i128> {
    const LARGEST: f64 = 18_446_744_073_709_551_615.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
    (value.fract() == 0.0 && value.abs() <= LARGEST).then_some(value as i128)
}

fn fitting(kind: Kind, number: i128) -> Option<Scalar> {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            let number = i32::try_from(number).ok()?;
            Some(Scalar::Signed(number.into()))
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            i64::try_from(number).ok().map(Scalar::Signed)
        }
        Kind::Uint32 | Kind::Fixed32 => {
            let number = u32::try_from(number).ok()?;
            Some(Scalar::Unsigned(number.into()))
        }
        Kind::Uint64 | Kind::Fixed64 => u64::try_from(number).ok().map(Scalar::Unsigned),
        _ => None,
    }
}

//! Messages and their fields, from the wire straight into the text.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    descriptors::{Field, Kind, MessageType, WellKnown},
    json::{
        JsonError, Secrets,
        number::{Number, SingleNumber},
        out::Out,
        sent::{Sent, last, list, whole},
    },
    scalar::Scalar,
};

/// Protobuf reads no deeper, either.
pub(super) const DEPTH: usize = 100;

/// What Envoy prints in the place of a secret.
const REDACTED: &str = "[redacted]";

pub(super) struct Printer {
    pub(super) out: Out,
    pub(super) secrets: Secrets,
    /// Everything here is a secret: texts say so, the rest is left out.
    pub(super) is_hidden: bool,
}

impl Printer {
    /// Prints a message in its own form.
    pub(super) fn message(
        &mut self,
        message: MessageType,
        bytes: &[u8],
        depth: usize,
    ) -> Result<(), JsonError> {
        if depth == DEPTH {
            return Err(JsonError::Depth(message.name()));
        }
        let sent = Sent::of(message, bytes)?;
        match message.well_known() {
            None => {
                self.out.open('{');
                self.fields(&sent, depth)?;
                self.out.close('}');
                Ok(())
            }
            Some(WellKnown::Any) => self.any(&sent, depth),
            Some(WellKnown::Wrapper(field)) => {
                let raws = sent.raws(field.number());
                let scalar = last(message, field, raws)?;
                self.wrapped(field, scalar);
                Ok(())
            }
            Some(WellKnown::Empty) => {
                self.out.open('{');
                self.out.close('}');
                Ok(())
            }
            Some(WellKnown::Duration) => self.duration(message, bytes),
            Some(WellKnown::Timestamp) => self.timestamp(message, bytes),
            Some(WellKnown::Struct) => self.r#struct(&sent, depth),
            Some(WellKnown::Value) => self.value(&sent, depth),
            Some(WellKnown::ListValue) => self.list_value(&sent, depth),
        }
    }

    /// Prints the fields that there are, in the order of their numbers.
    pub(super) fn fields(&mut self, sent: &Sent<'_>, depth: usize) -> Result<(), JsonError> {
        for (field, raws) in sent.fields() {
            let was_hidden = self.is_hidden;
            self.is_hidden |= field.is_sensitive() && self.secrets == Secrets::Redact;
            self.field(sent.message, field, raws, depth)?;
            self.is_hidden = was_hidden;
        }
        Ok(())
    }

    fn field(
        &mut self,
        message: MessageType,
        field: Field,
        raws: &[crate::wire::Raw<'_>],
        depth: usize,
    ) -> Result<(), JsonError> {
        if let Some((key, value)) = field.map_entry() {
            return self.map(message, field, (key, value), raws, depth);
        }
        match field.kind() {
            Kind::Message(inner) if field.is_repeated() => {
                self.out.key(field.name());
                self.out.open('[');
                for raw in raws {
                    self.out.element();
                    let bytes = whole(message, field, std::slice::from_ref(raw))?;
                    self.message(inner, &bytes, depth + 1)?;
                }
                self.out.close(']');
            }
            Kind::Message(inner) => {
                self.out.key(field.name());
                self.message(inner, &whole(message, field, raws)?, depth + 1)?;
            }
            kind if self.is_hidden && !is_text(kind) => {}
            _ if field.is_repeated() => {
                let scalars = list(message, field, raws)?;
                if !scalars.is_empty() {
                    self.out.key(field.name());
                    self.out.open('[');
                    for scalar in scalars {
                        self.out.element();
                        self.scalar(field.kind(), &scalar);
                    }
                    self.out.close(']');
                }
            }
            kind => {
                let scalar = last(message, field, raws)?;
                if let Some(scalar) = scalar
                    && (field.has_presence() || !scalar.is_default())
                {
                    self.out.key(field.name());
                    self.scalar(kind, &scalar);
                }
            }
        }
        Ok(())
    }

    fn map(
        &mut self,
        message: MessageType,
        field: Field,
        (key_field, value_field): (Field, Field),
        raws: &[crate::wire::Raw<'_>],
        depth: usize,
    ) -> Result<(), JsonError> {
        let Kind::Message(entry) = field.kind() else {
            unreachable!("a map is a list of entries");
        };
        let mut pieces = Vec::new();
        for raw in raws {
            pieces.push(whole(message, field, std::slice::from_ref(raw))?);
        }
        let mut entries = BTreeMap::new();
        for piece in &pieces {
            let sent = Sent::of(entry, piece)?;
            let key = last(entry, key_field, sent.raws(key_field.number()))?;
            // Of a key that is sent twice, the last value holds.
            entries.insert(key_text(key, key_field), sent);
        }
        self.out.key(field.name());
        self.out.open('{');
        for (key, sent) in entries {
            self.out.key(&key);
            let raws = sent.raws(value_field.number());
            match value_field.kind() {
                Kind::Message(inner) => {
                    self.message(inner, &whole(entry, value_field, raws)?, depth + 1)?;
                }
                _ => self.wrapped(value_field, last(entry, value_field, raws)?),
            }
        }
        self.out.close('}');
        Ok(())
    }

    /// Prints a value that stands for itself, be it given or not.
    fn wrapped(&mut self, field: Field, scalar: Option<Scalar>) {
        let kind = field.kind();
        let given = scalar.filter(|_| !self.is_hidden || is_text(kind));
        if let Some(scalar) = given.or_else(|| Scalar::default_of(kind)) {
            self.scalar(kind, &scalar);
        }
    }

    fn scalar(&mut self, kind: Kind, scalar: &Scalar) {
        let is_long = matches!(
            kind,
            Kind::Int64 | Kind::Uint64 | Kind::Fixed64 | Kind::Sfixed64 | Kind::Sint64
        );
        match scalar {
            Scalar::Bool(value) => self.out.raw(value),
            // Numbers of 64 bits stand in quotes: what reads JSON may round them.
            Scalar::Signed(value) if is_long => self.out.quoted(value),
            Scalar::Unsigned(value) if is_long => self.out.quoted(value),
            Scalar::Signed(value) => self.out.raw(value),
            Scalar::Unsigned(value) => self.out.raw(value),
            Scalar::Float(value) => self.out.raw(SingleNumber(*value)),
            Scalar::Double(value) => self.out.raw(Number(*value)),
            Scalar::String(text) => {
                let text = self.shown(text);
                self.out.string(&text);
            }
            Scalar::Bytes(_) if self.is_hidden => {
                self.out.quoted(BASE64_STANDARD.encode(REDACTED));
            }
            Scalar::Bytes(bytes) => self.out.quoted(BASE64_STANDARD.encode(bytes)),
            Scalar::Enum(r#enum, _) if r#enum.name() == "google.protobuf.NullValue" => {
                self.out.raw("null");
            }
            Scalar::Enum(r#enum, number) => match r#enum.value_name(*number) {
                Some(name) => self.out.quoted(name),
                None => self.out.raw(number),
            },
        }
    }

    /// The text, or that it is a secret.
    pub(super) fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.is_hidden {
            true => REDACTED.into(),
            false => text.into(),
        }
    }
}

fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::String | Kind::Bytes)
}

fn key_text(key: Option<Scalar>, field: Field) -> String {
    match key.or_else(|| Scalar::default_of(field.kind())) {
        Some(Scalar::String(text)) => text,
        Some(Scalar::Bool(value)) => value.to_string(),
        Some(Scalar::Signed(value)) => value.to_string(),
        Some(Scalar::Unsigned(value)) => value.to_string(),
        other => unreachable!("no map has keys such as {other:?}"),
    }
}

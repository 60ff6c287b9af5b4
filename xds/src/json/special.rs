//! Messages that JSON has forms of their own for: times, and values without a type.

use std::collections::BTreeMap;

use prost::Message;

use crate::{
    descriptors::{Field, Kind, MessageType},
    google::protobuf::{Duration, Timestamp},
    json::{
        JsonError,
        number::Number,
        print::Printer,
        sent::{Sent, last, whole},
        time::{Instant, Seconds},
    },
    scalar::Scalar,
};

impl Printer {
    pub(super) fn duration(&mut self, message: MessageType, bytes: &[u8]) -> Result<(), JsonError> {
        let duration = if self.is_hidden {
            Duration::default()
        } else {
            decode(message, bytes)?
        };
        self.out.quoted(Seconds(duration));
        Ok(())
    }

    pub(super) fn timestamp(
        &mut self,
        message: MessageType,
        bytes: &[u8],
    ) -> Result<(), JsonError> {
        let timestamp = if self.is_hidden {
            Timestamp::default()
        } else {
            decode(message, bytes)?
        };
        self.out.quoted(Instant(timestamp));
        Ok(())
    }

    /// Prints `Struct`'s one field, which is a map.
    pub(super) fn r#struct(&mut self, sent: &Sent<'_>, depth: usize) -> Result<(), JsonError> {
        self.out.open('{');
        for (field, raws) in sent.fields() {
            let (Kind::Message(entry), Some((key_field, value_field))) =
                (field.kind(), field.map_entry())
            else {
                continue;
            };
            let mut entries = BTreeMap::new();
            for raw in raws {
                let bytes = whole(sent.message, field, std::slice::from_ref(raw))?.into_owned();
                let parts = Sent::of(entry, &bytes)?;
                let key = last(entry, key_field, parts.raws(key_field.number()))?;
                let value = parts.raws(value_field.number());
                let value = whole(entry, value_field, value)?.into_owned();
                let key = match key {
                    Some(Scalar::String(key)) => key,
                    _ => String::new(),
                };
                entries.insert(key, value);
            }
            for (key, value) in entries {
                self.out.key(&key);
                self.element(value_field, &value, depth)?;
            }
        }
        self.out.close('}');
        Ok(())
    }

    /// Prints `ListValue`'s one field, which is a list.
    pub(super) fn list_value(&mut self, sent: &Sent<'_>, depth: usize) -> Result<(), JsonError> {
        self.out.open('[');
        for (field, raws) in sent.fields() {
            for raw in raws {
                let bytes = whole(sent.message, field, std::slice::from_ref(raw))?;
                self.out.element();
                self.element(field, &bytes, depth)?;
            }
        }
        self.out.close(']');
        Ok(())
    }

    /// Prints the one field of a `Value` that is set.
    pub(super) fn value(&mut self, sent: &Sent<'_>, depth: usize) -> Result<(), JsonError> {
        let Some((field, raws)) = sent.fields().last() else {
            self.out.raw("null");
            return Ok(());
        };
        if matches!(field.kind(), Kind::Message(_)) {
            let bytes = whole(sent.message, field, raws)?;
            return self.element(field, &bytes, depth);
        }
        match last(sent.message, field, raws)? {
            Some(Scalar::String(text)) => {
                let text = self.shown(&text);
                self.out.string(&text);
            }
            Some(Scalar::Bool(value)) if !self.is_hidden => self.out.raw(value),
            Some(Scalar::Double(value)) if !self.is_hidden => self.out.raw(Number(value)),
            _ => self.out.raw("null"),
        }
        Ok(())
    }

    fn element(&mut self, field: Field, bytes: &[u8], depth: usize) -> Result<(), JsonError> {
        match field.kind() {
            Kind::Message(message) => self.message(message, bytes, depth + 1),
            _ => Ok(()),
        }
    }
}

fn decode<M: Message + Default>(message: MessageType, bytes: &[u8]) -> Result<M, JsonError> {
    M::decode(bytes).map_err(|_| JsonError::Malformed(message.name()))
}

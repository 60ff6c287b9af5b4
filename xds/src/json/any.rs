//! Messages that name their type.

use crate::{
    descriptors::{MessageType, WellKnown},
    google::protobuf::Any,
    json::{
        JsonError, Secrets,
        print::Printer,
        sent::{Sent, last, whole},
    },
    registry,
    scalar::Scalar,
};

const TYPE: &str = "@type";

/// The field that holds the type URL, and the one that holds the message.
const TYPE_URL: u32 = 1;
const CONTENT: u32 = 2;

impl Printer {
    /// Prints the message in an `Any`, with its type before its fields.
    pub(super) fn any(&mut self, sent: &Sent<'_>, depth: usize) -> Result<(), JsonError> {
        let mut url = String::new();
        let mut content = std::borrow::Cow::default();
        for (field, raws) in sent.fields() {
            match field.number() {
                TYPE_URL => {
                    if let Some(Scalar::String(text)) = last(sent.message, field, raws)? {
                        url = text;
                    }
                }
                CONTENT => content = whole(sent.message, field, &raws[raws.len() - 1..])?,
                _ => {}
            }
        }
        self.out.open('{');
        if !url.is_empty() {
            self.out.key(TYPE);
            self.out.string(&url);
        }
        if let Some(message) = MessageType::of_url(&url)
            && !self.hidden_struct(&url, &content, depth)?
        {
            self.content(message, &content, depth + 1)?;
        }
        self.out.close('}');
        Ok(())
    }

    /// Prints a `TypedStruct` as the message that it describes, whose secrets are known; if it describes
    /// none, nothing is printed, and the answer is false.
    fn hidden_struct(&mut self, url: &str, bytes: &[u8], depth: usize) -> Result<bool, JsonError> {
        if self.secrets == Secrets::Print {
            return Ok(false);
        }
        let outer = Any {
            type_url: url.to_owned(),
            value: bytes.to_owned(),
        };
        let Some(inner) = registry::described(&outer) else {
            return Ok(false);
        };
        let Some(message) = MessageType::of_url(&inner.type_url) else {
            return Ok(false);
        };
        self.out.key("type_url");
        self.out.string(&inner.type_url);
        self.out.key("value");
        self.message(message, &inner.value, depth + 1)?;
        Ok(true)
    }

    fn content(
        &mut self,
        message: MessageType,
        bytes: &[u8],
        depth: usize,
    ) -> Result<(), JsonError> {
        match message.well_known() {
            None | Some(WellKnown::Empty) if depth < super::print::DEPTH => {
                self.fields(&Sent::of(message, bytes)?, depth)
            }
            None => Err(JsonError::Depth(message.name())),
            Some(_) => {
                self.out.key("value");
                self.message(message, bytes, depth)
            }
        }
    }
}

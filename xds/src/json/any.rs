//! Messages that name their type.

use crate::{
    descriptors::{MessageType, WellKnown},
    json::{
        JsonError,
        print::Printer,
        sent::{Sent, last, whole},
    },
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
        if let Some(message) = MessageType::of_url(&url) {
            self.content(message, &content, depth + 1)?;
        }
        self.out.close('}');
        Ok(())
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

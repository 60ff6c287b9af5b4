//! Messages whose type the text names: `"@type": type.googleapis.com/…`.

use crate::{
    descriptors::{MessageType, WellKnown},
    read::{
        path::Path,
        walk::{Walk, map},
    },
    tree::{Node, Quoted},
    wire,
};

const TYPE: &str = "@type";

/// Where the content stands whose JSON is no map of its own fields.
const VALUE: &str = "value";

/// The numbers of `Any`'s fields.
const TYPE_URL: u32 = 1;
const CONTENT: u32 = 2;

impl Walk {
    pub(super) fn any(&mut self, path: Path<'_>, node: &Node, out: &mut Vec<u8>) -> Option<()> {
        let entries = map(self, path, node)?;
        let here = Path::Field(&path, TYPE);
        let mut types = entries.iter().filter(|(key, _)| key == TYPE);
        let url = match (types.next(), types.next()) {
            (None, _) => {
                let example = "type.googleapis.com/envoy.config.listener.v3.Listener";
                return self.fault(
                    here,
                    format!("is missing; it names the type as '{example}' does"),
                );
            }
            (Some(_), Some(_)) => return self.fault(here, "is given twice"),
            (Some((_, Node::String(url))), None) => url,
            (Some((_, node)), None) => return self.expected(here, "a type URL", node),
        };
        let Some(message) = MessageType::of_url(url) else {
            let quoted = Quoted(url);
            return match url.contains('/') {
                true => self.fault(here, format!("{quoted} is no message that is known")),
                false => self.fault(
                    here,
                    format!("{quoted} is no type URL; did you mean 'type.googleapis.com/{url}'?"),
                ),
            };
        };
        let mut content = Vec::new();
        if message.well_known().is_some() {
            let mut value = None;
            for (key, node) in entries.iter().filter(|(key, _)| key != TYPE) {
                if key != VALUE {
                    return self.fault(
                        Path::Field(&path, key),
                        format!("unknown field; a {} stands in 'value'", message.name()),
                    );
                }
                value = Some(node);
            }
            let here = Path::Field(&path, VALUE);
            match (value, message.well_known()) {
                (Some(value), _) => self.message(here, message, value, &mut content)?,
                (None, Some(WellKnown::Empty)) => {}
                (None, _) => return self.fault(here, "is missing"),
            }
        } else {
            let rest = entries.iter().filter(|(key, _)| key != TYPE);
            self.fields(path, message, rest, &mut content)?;
        }
        wire::put_bytes(out, TYPE_URL, url.as_bytes());
        if !content.is_empty() {
            wire::put_bytes(out, CONTENT, &content);
        }
        Some(())
    }
}

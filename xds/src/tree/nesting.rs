//! Looks for YAML that nests so deep that reading it would take too long.
//!
//! The library reads a whole document before the first value can be looked at, and at each bracket goes
//! through all that are open: a file of a hundred kilobytes can take it many seconds.

use super::{Bounds, DEPTH, yaml_within};

/// Fewer open brackets than these cost the library little.
const MANY: usize = 4 * DEPTH;

/// Why the text is not to be read as a whole, with line and column; nothing, if it may be.
///
/// What counts brackets takes some for brackets that are text. So the library itself says whether a text
/// nests too deep, from as much of it as that takes.
pub(super) fn fault(text: &str) -> Option<serde_norway::Error> {
    let mut look_from = 0;
    let mut brackets = Brackets::default();
    for (index, byte) in text.bytes().enumerate() {
        let opens = brackets.take(byte);
        if !opens || brackets.open < MANY || index < look_from {
            continue;
        }
        let bounds = Bounds::default();
        if let Err(error) = yaml_within(text.get(..=index)?, &bounds)
            && bounds.too_deep.get()
        {
            return Some(error);
        }
        // Each look costs as much as what was read: so few are taken.
        look_from = 2 * index;
        brackets = Brackets::default();
    }
    None
}

/// The brackets that are open.
#[derive(Default)]
struct Brackets {
    open: usize,
    /// What a text in quotes ends with.
    quote: Option<u8>,
    escaped: bool,
    comment: bool,
    before: u8,
}

impl Brackets {
    /// Says whether this opens one.
    fn take(&mut self, byte: u8) -> bool {
        let open = self.open;
        let before = std::mem::replace(&mut self.before, byte);
        // Where a value begins, whatever it is.
        let begins = matches!(
            before,
            0 | b' ' | b'\t' | b'\r' | b'\n' | b'[' | b'{' | b',' | b':'
        );
        match self.quote {
            _ if self.comment => self.comment = byte != b'\n',
            Some(b'"') if self.escaped => self.escaped = false,
            Some(b'"') if byte == b'\\' => self.escaped = true,
            Some(quote) => self.quote = Some(quote).filter(|quote| *quote != byte),
            None => match byte {
                b'#' if begins && before != b':' => self.comment = true,
                // Outside of brackets an apostrophe may stand alone; two in a text in quotes are one.
                b'"' | b'\'' if open > 0 && (begins || before == byte) => self.quote = Some(byte),
                b'[' | b'{' if begins || self.open > 0 => self.open += 1,
                b']' | b'}' => self.open = self.open.saturating_sub(1),
                _ => {}
            },
        }
        self.open > open
    }
}

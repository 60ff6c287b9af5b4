//! The text that grows: where commas, line ends and spaces stand.

use std::fmt::{Display, Write};

use crate::json::Layout;

pub(super) struct Out {
    text: String,
    layout: Layout,
    depth: usize,
    /// Nothing stands yet between the last bracket and here.
    is_first: bool,
}

impl Out {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            text: String::new(),
            layout,
            depth: 0,
            is_first: true,
        }
    }

    pub(super) fn into_string(self) -> String {
        self.text
    }

    pub(super) fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.depth += 1;
        self.is_first = true;
    }

    pub(super) fn close(&mut self, bracket: char) {
        self.depth -= 1;
        if !self.is_first {
            self.line();
        }
        self.text.push(bracket);
        self.is_first = false;
    }

    /// Begins an element of a list.
    pub(super) fn element(&mut self) {
        if !self.is_first {
            self.text.push(',');
        }
        self.line();
        self.is_first = false;
    }

    /// Begins an entry of a map.
    pub(super) fn key(&mut self, key: &str) {
        self.element();
        self.string(key);
        self.text.push(':');
        if self.layout == Layout::Pretty {
            self.text.push(' ');
        }
    }

    pub(super) fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                // The angle brackets, so that the text can stand in a page.
                '<' | '>' | '\0'..' ' | '\u{7f}' => {
                    self.raw(format_args!("\\u{:04x}", u32::from(character)));
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }

    /// Numbers and words, which need no quotes.
    pub(super) fn raw(&mut self, value: impl Display) {
        write!(self.text, "{value}").expect("a string takes every text");
    }

    /// Texts in which nothing needs an escape.
    pub(super) fn quoted(&mut self, value: impl Display) {
        self.raw(format_args!("\"{value}\""));
    }

    fn line(&mut self) {
        if self.layout == Layout::Pretty {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(' ', self.depth));
        }
    }
}

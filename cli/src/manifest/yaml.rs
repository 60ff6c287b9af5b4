//! The YAML text of one document → its value, as kubectl understands it.
//!
//! Read event by event, because what a word means depends on whether it is quoted, which the usual
//! way through serde does not tell.

use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::{SyntaxError, scalar};

/// What aliases may make of a document, in bytes of text and nodes: lest a few lines fill the memory.
const EXPANSION: usize = 16 << 20;
/// Deeper than any manifest, and shallow enough to be walked through recursively.
const DEPTH: usize = 256;

/// Reads a text that holds at most one document; null if there is none.
pub(super) fn read(text: &str) -> Result<Value, SyntaxError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut reader = Reader {
        text,
        events: Parser::new_from_str_with_options(text, options),
        anchors: BTreeMap::new(),
        weight: 0,
        expanded: 0,
    };
    let mut value = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => return Ok(value.unwrap_or(Value::Null)),
            _ if value.is_some() => {
                return Err(fault(&span, "a second document begins without ---"));
            }
            event => value = Some(reader.node(event, &span, 0)?),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    events: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Anchored>,
    /// Of all that has been read.
    weight: usize,
    /// Of what aliases have repeated.
    expanded: usize,
}

struct Anchored {
    value: Value,
    weight: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(SyntaxError {
                line: error.marker().line().max(1),
                reason: error.info(),
            }),
            None => Err(SyntaxError {
                line: 1,
                reason: "the text ends too early".to_owned(),
            }),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Value, SyntaxError> {
        if depth > DEPTH {
            return Err(fault(span, "lists and objects are nested too deep"));
        }
        let before = self.weight;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.weight += 1 + text.len();
                let text = self.without_invented_end(&text, style, span);
                let value = value_of(text, style, tag.as_deref(), span)?;
                (anchor, value)
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "seq", span)?;
                (anchor, self.sequence(depth)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "map", span)?;
                (anchor, self.mapping(depth)?)
            }
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            other => return Err(fault(span, &format!("{other:?} is out of place"))),
        };
        if anchor != 0 {
            let anchored = Anchored {
                value: value.clone(),
                weight: self.weight - before,
                depth: depth_of(&value),
            };
            self.expand(anchored.weight, span)?;
            self.anchors.insert(anchor, anchored);
        }
        Ok(value)
    }

    /// A block that ends with the input, in the middle of a line, ends so: the parser gives the line an
    /// end that it does not have.
    fn without_invented_end<'t>(&self, text: &'t str, style: ScalarStyle, span: &Span) -> &'t str {
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let is_last = span.end.byte_offset() == Some(self.text.len());
        let last_line = self.text.rsplit(['\n', '\r']).next().unwrap_or_default();
        match text.strip_suffix('\n') {
            Some(text) if is_block && is_last && !last_line.trim().is_empty() => text,
            _ => text,
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.weight += 1;
        let mut list = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(list));
            }
            list.push(self.node(event, &span, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.weight += 1;
        let mut object = Map::new();
        let mut merged = BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Value::Object(object));
            }
            let merges =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = if merges {
                String::new()
            } else {
                let key = self.node(event, &span, depth + 1)?;
                key_of(key).map_err(|what| {
                    fault(
                        &span,
                        &format!("{what} is a key; keys of manifests are text"),
                    )
                })?
            };
            let (event, value_span) = self.next()?;
            let value = self.node(event, &value_span, depth + 1)?;
            if merges {
                for (key, value) in merged_entries(value)
                    .ok_or_else(|| fault(&span, "<< takes an object or a list of objects"))?
                {
                    merged.insert(key.clone());
                    object.insert(key, value);
                }
            } else if object.contains_key(&key) && !merged.remove(&key) {
                return Err(fault(&span, &format!("the key \"{key}\" is there twice")));
            } else {
                object.insert(key, value);
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: &Span, depth: usize) -> Result<Value, SyntaxError> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(fault(span, "an alias stands within what it stands for"));
        };
        if depth + anchored.depth > DEPTH {
            return Err(fault(span, "lists and objects are nested too deep"));
        }
        let (value, weight) = (anchored.value.clone(), anchored.weight);
        self.expand(weight, span)?;
        self.weight += weight;
        Ok(value)
    }

    fn expand(&mut self, weight: usize, span: &Span) -> Result<(), SyntaxError> {
        self.expanded += weight;
        if self.expanded > EXPANSION {
            return Err(fault(span, "aliases make the document too large"));
        }
        Ok(())
    }
}

fn value_of(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Value, SyntaxError> {
    let resolved = || {
        scalar::resolve(text)
            .ok_or_else(|| fault(span, &format!("{text} is no number that JSON has")))
    };
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => resolved(),
            _ => Ok(text.into()),
        };
    };
    let wrong = |kind: &str| fault(span, &format!("\"{text}\" is no {kind}"));
    let kind = match (tag.core_suffix(), tag.parts()) {
        (Some("str"), _) | (None, ("" | "!", "" | "!")) => return Ok(text.into()),
        (Some(kind), _) => kind,
        (None, _) => return Err(foreign(tag, span)),
    };
    match (kind, resolved()?) {
        ("bool", value @ Value::Bool(_))
        | ("null", value @ Value::Null)
        | ("float", value @ Value::Number(_)) => Ok(value),
        ("int", Value::Number(number)) if !number.is_f64() => Ok(Value::Number(number)),
        _ => Err(wrong(kind)),
    }
}

fn check_tag(tag: Option<&Tag>, kind: &str, span: &Span) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(kind) => Err(foreign(tag, span)),
        _ => Ok(()),
    }
}

fn foreign(tag: &Tag, span: &Span) -> SyntaxError {
    let tag = tag.original();
    fault(span, &format!("the tag {tag} means nothing in a manifest"))
}

/// A key's text; what else it is.
fn key_of(key: Value) -> Result<String, &'static str> {
    match key {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null => Err("null"),
        Value::Array(_) => Err("a list"),
        Value::Object(_) => Err("an object"),
    }
}

/// What `<<` brings in; of several objects the earlier ones are stronger.
fn merged_entries(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        Value::Array(list) => {
            let mut merged = Map::new();
            for element in list.into_iter().rev() {
                let Value::Object(object) = element else {
                    return None;
                };
                merged.extend(object);
            }
            Some(merged)
        }
        _ => None,
    }
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

fn fault(span: &Span, reason: &str) -> SyntaxError {
    SyntaxError {
        line: span.start.line().max(1),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;

//! Manifests as users write them: a stream of YAML or JSON documents, some of which are changed
//! while all others come through byte by byte.
//!
//! - [`split`]: text → the texts of its documents
//! - [`yaml`], [`json`]: the text of a document → its value
//! - [`scalar`]: what a word means in YAML, to kubectl
//! - [`emit`]: a value → YAML
//! - [`pods`]: a value → the pods that it holds or describes
//! - [`namespaces`]: what Namespaces say of their pods

mod emit;
mod input;
mod json;
mod namespaces;
mod pods;
mod scalar;
mod split;
mod yaml;

use std::{fmt, ops::Range};

use serde_json::Value;

use self::split::Chunk;
pub(crate) use self::{
    input::{name, read},
    namespaces::namespaces,
    pods::{Subject, edit},
};

/// All documents of an input, in order.
#[derive(Debug)]
pub(crate) struct Manifest<'a> {
    /// Each as it was read.
    pub(crate) documents: Vec<Document<'a>>,
}

/// One document.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    /// Where it is.
    pub(crate) place: Place,
    /// What it says; null if it says nothing.
    pub(crate) value: Value,
    /// All of it, with what parts it from the documents around it.
    text: &'a str,
    form: Form<'a>,
}

/// How a document is written once more.
#[derive(Debug)]
enum Form<'a> {
    Yaml(Chunk<'a>),
    /// With what stands around the value, and whether that is one line.
    Json {
        before: &'a str,
        after: &'a str,
        compact: bool,
    },
}

/// A document's number, and a line of the input; both count from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) document: usize,
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}, line {}", self.document, self.line)
    }
}

/// Why a document cannot be read.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{place}: {reason}")]
pub(crate) struct DocumentError {
    pub(crate) place: Place,
    pub(crate) reason: String,
}

/// A fault of a document's text, before it is known where in the input that stands.
#[derive(Debug, Eq, PartialEq)]
struct SyntaxError {
    /// Counted from the text's first, which is 1.
    line: usize,
    reason: String,
}

impl<'a> Manifest<'a> {
    /// Reads every document.
    ///
    /// # Errors
    /// Those that cannot be read, each of them.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Vec<DocumentError>> {
        let mut documents = Vec::new();
        let mut errors = Vec::new();
        for chunk in split::split(text) {
            read_chunk(chunk, &mut documents, &mut errors);
        }
        if errors.is_empty() {
            Ok(Self { documents })
        } else {
            Err(errors)
        }
    }

    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        self.documents.iter().all(|found| found.value.is_null())
    }
}

fn read_chunk<'a>(
    chunk: Chunk<'a>,
    documents: &mut Vec<Document<'a>>,
    errors: &mut Vec<DocumentError>,
) {
    let first = documents.len() + errors.len() + 1;
    let content = chunk.content();
    let content_line = chunk.line + chunk.text[..content].lines().count();
    let body = &chunk.text[content..];
    let looks_like_json = body.trim_start().starts_with('{');
    let as_json = looks_like_json.then(|| json::read(body));
    let json_error = match as_json {
        Some(Ok(values)) => {
            push_json(chunk.text, content, content_line, values, documents, first);
            return;
        }
        Some(Err(error)) => Some(error),
        None => None,
    };
    // What begins as JSON may yet be YAML in braces.
    let (line, reason) = match (yaml::read(chunk.text), json_error) {
        (Ok(value), _) => {
            documents.push(Document {
                place: Place {
                    document: first,
                    line: content_line,
                },
                value,
                text: chunk.text,
                form: Form::Yaml(chunk),
            });
            return;
        }
        (Err(_), Some(error)) if json::is_likely(body) => {
            (content_line + error.line - 1, error.reason)
        }
        (Err(error), _) => (chunk.line + error.line - 1, error.reason),
    };
    let document = first;
    errors.push(DocumentError {
        place: Place { document, line },
        reason,
    });
}

/// Parts the text between the values: what is before one goes with it, the rest with the last.
fn push_json<'a>(
    text: &'a str,
    content: usize,
    content_line: usize,
    values: Vec<(Value, Range<usize>)>,
    documents: &mut Vec<Document<'a>>,
    first: usize,
) {
    let mut start = 0;
    let count = values.len();
    let mut line = content_line;
    for (index, (value, range)) in values.into_iter().enumerate() {
        let (from, to) = (content + range.start, content + range.end);
        let last = index + 1 == count;
        let end = if last { text.len() } else { to };
        line += newlines(&text[content.max(start)..from]);
        documents.push(Document {
            place: Place {
                document: first + index,
                line,
            },
            value,
            text: &text[start..end],
            form: Form::Json {
                before: &text[start..from],
                after: &text[to..end],
                compact: newlines(&text[from..to]) == 0,
            },
        });
        line += newlines(&text[from..to]);
        start = to;
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

impl Document<'_> {
    /// The document as it was read, or, if its value has been changed, with the new one.
    pub(crate) fn write(&self, changed: bool, out: &mut String) {
        if !changed {
            out.push_str(self.text);
            return;
        }
        let value = &self.value;
        match &self.form {
            Form::Yaml(chunk) => {
                chunk.write_before(out);
                out.push_str(&emit::yaml(value));
                out.push_str(chunk.after());
            }
            Form::Json {
                before,
                after,
                compact,
            } => {
                out.push_str(before);
                if *compact {
                    out.push_str(&value.to_string());
                } else {
                    out.push_str(&format!("{value:#}"));
                }
                out.push_str(after);
            }
        }
    }
}

#[cfg(test)]
mod tests;

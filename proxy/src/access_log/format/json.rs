//! Lines of JSON: an object whose texts have commands in them.

use std::fmt;

use fairlead_xds::google::protobuf::{Struct, Value as Message, value::Kind};
use fastrand::Rng;

use super::{
    Command, Compiler, Piece, Text,
    value::{Escaped, Limited, Value},
};
use crate::{
    access_log::fields::{Fields, number},
    compile::At,
};

/// An object, its keys sorted.
#[derive(Debug)]
pub(super) struct Object {
    members: Box<[(Box<str>, Node)]>,
    omit_empty: bool,
}

#[derive(Debug)]
enum Node {
    Null,
    /// As it is printed.
    Constant(Box<str>),
    /// A command alone: printed as JSON of its own type.
    Command(Command),
    Text(Text),
    Object(Object),
    List {
        elements: Box<[Node]>,
        omit_empty: bool,
    },
}

impl Object {
    pub(super) fn compile(at: &At<'_>, message: &Struct, compiler: &Compiler<'_>) -> Option<Self> {
        let mut fields: Vec<_> = message.fields.iter().collect();
        fields.sort_unstable_by_key(|(key, _)| *key);
        let members: Vec<_> = fields
            .iter()
            .map(|(key, value)| {
                let node = Node::compile(&at.field(key), value, compiler)?;
                // With what follows it, so that it is one write.
                let mut printed = quoted(key);
                printed.push(':');
                Some((printed.into(), node))
            })
            .collect();
        // After the first fault the others are kept, too.
        Some(Self {
            members: members.into_iter().collect::<Option<_>>()?,
            omit_empty: compiler.omit_empty,
        })
    }

    /// Writes the object and the end of the line.
    pub(super) fn write_line(
        &self,
        fields: &Fields<'_>,
        rng: &mut Rng,
        line: &mut String,
    ) -> fmt::Result {
        self.write(fields, rng, line)?;
        line.push('\n');
        Ok(())
    }

    /// Writes the object; says whether it has a member.
    fn write(
        &self,
        fields: &Fields<'_>,
        rng: &mut Rng,
        line: &mut String,
    ) -> Result<bool, fmt::Error> {
        line.push('{');
        let begin = line.len();
        for (key, node) in &self.members {
            let end = line.len();
            if end > begin {
                line.push(',');
            }
            line.push_str(key);
            if !node.write(fields, rng, line)? && self.omit_empty {
                line.truncate(end);
            }
        }
        let has_members = line.len() > begin;
        line.push('}');
        Ok(has_members)
    }
}

impl Node {
    fn compile(at: &At<'_>, message: &Message, compiler: &Compiler<'_>) -> Option<Self> {
        Some(match message.kind.as_ref() {
            None | Some(Kind::NullValue(_)) => Self::Null,
            Some(Kind::BoolValue(value)) => Self::Constant(value.to_string().into()),
            Some(Kind::NumberValue(value)) => Self::Constant(number(*value).to_string().into()),
            Some(Kind::StringValue(text)) => Self::text(compiler.pieces(at, text)?),
            Some(Kind::StructValue(object)) => Self::Object(Object::compile(at, object, compiler)?),
            Some(Kind::ListValue(list)) => {
                let elements = list.values.iter().enumerate();
                let elements: Vec<_> = elements
                    .map(|(index, element)| Self::compile(&at.index(index), element, compiler))
                    .collect();
                Self::List {
                    elements: elements.into_iter().collect::<Option<_>>()?,
                    omit_empty: compiler.omit_empty,
                }
            }
        })
    }

    fn text(text: Text) -> Self {
        let absent = text.absent;
        let mut pieces = text.pieces.into_vec();
        match pieces.pop() {
            None => Self::Constant("\"\"".into()),
            Some(Piece::Command(command)) if pieces.is_empty() => Self::Command(command),
            Some(Piece::Literal(literal)) if pieces.is_empty() => {
                Self::Constant(quoted(&literal).into())
            }
            Some(last) => {
                pieces.push(last);
                Self::Text(Text {
                    pieces: pieces.into(),
                    absent,
                })
            }
        }
    }

    /// Writes the node; says whether it is neither null nor an object without members.
    fn write(
        &self,
        fields: &Fields<'_>,
        rng: &mut Rng,
        line: &mut String,
    ) -> Result<bool, fmt::Error> {
        match self {
            Self::Null => {
                line.push_str("null");
                return Ok(false);
            }
            Self::Constant(printed) => line.push_str(printed),
            Self::Command(command) => {
                let value = command.value(fields, rng);
                write_command(&value, command.max_length, line)?;
                return Ok(!value.is_absent());
            }
            Self::Text(text) => {
                line.push('"');
                text.write_escaped(fields, rng, line)?;
                line.push('"');
            }
            Self::Object(object) => return object.write(fields, rng, line),
            Self::List {
                elements,
                omit_empty,
            } => {
                line.push('[');
                let begin = line.len();
                for element in elements {
                    let end = line.len();
                    if end > begin {
                        line.push(',');
                    }
                    if !element.write(fields, rng, line)? && *omit_empty {
                        line.truncate(end);
                    }
                }
                line.push(']');
            }
        }
        Ok(true)
    }
}

/// Only texts are cut off: the rest would be no JSON then.
fn write_command(value: &Value<'_>, max_length: Option<usize>, line: &mut String) -> fmt::Result {
    match (max_length, value) {
        (Some(left), value) if value.is_text() => {
            line.push('"');
            let mut escaped = Escaped(line);
            let out = &mut escaped;
            value.write_text(&mut Limited { out, left })?;
            line.push('"');
            Ok(())
        }
        _ => value.write_json(line),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    // A string takes everything.
    let _ = Value::Text(text).write_json(&mut quoted);
    quoted
}

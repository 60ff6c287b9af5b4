//! Envoy's formats of lines: text and JSON with commands such as `%DURATION%` in them
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/advanced/substitution_formatter>).
//!
//! A format is read once. To write a line is then to go through its pieces: each writes into the
//! line itself.
//!
//! Other than in Envoy:
//! - What errors and peers say cannot end or forge a line of text: quotation marks become
//!   apostrophes, control characters spaces. JSON has them unchanged, escaped.
//! - `%UPSTREAM_TRANSPORT_FAILURE_REASON%` keeps its spaces, and `%RESPONSE_CODE_DETAILS%` has the
//!   token of a failure of TCP, too.
//! - A length counts bytes, and never cuts a character in half.
//! - `%START_TIME_LOCAL%` and `%EMIT_TIME_LOCAL%` are in universal time.
//! - `%CEL%` and `%TYPED_CEL%` are absent.
//! - The length of a prefix has to be a number from 0 to 128.

mod certificate;
mod field;
mod json;
mod operator;
mod parse;
mod time;
mod value;

use std::fmt::Write;

use fairlead_xds::{
    envoy::config::core::v3::{
        DataSource, SubstitutionFormatString, TypedExtensionConfig, data_source::Specifier,
        substitution_format_string::Format as Message,
    },
    google::protobuf::Struct,
};
use fastrand::Rng;

pub use self::field::random_uuid;
use self::{
    json::Object,
    operator::{Command, Formatter, Outcome},
    parse::{Malformed, Token, tokens},
    value::{Escaped, Limited, Value},
};
use super::{Surroundings, fields::Fields};
use crate::compile::{At, Fault, Findings};

/// Envoy's format where none is configured.
pub const DEFAULT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n",
);

/// How a line is written.
#[derive(Debug)]
pub struct Format(Form);

#[derive(Debug)]
enum Form {
    Text(Text),
    Json(Object),
}

impl Format {
    /// The format that the message asks for.
    pub fn compile(
        at: &At<'_>,
        message: &SubstitutionFormatString,
        surroundings: &Surroundings<'_>,
    ) -> Option<Self> {
        // The content type is of HTTP responses, and keys are sorted in any case.
        let SubstitutionFormatString {
            omit_empty_values,
            content_type: _,
            formatters,
            json_format_options: _,
            format,
        } = message;
        let known = at.each("formatters", formatters, formatter);
        let sound = known.len() == formatters.len();
        let compiler = Compiler {
            surroundings,
            formatters: &known,
            omit_empty: *omit_empty_values,
        };
        #[expect(deprecated, reason = "Envoy still takes it")]
        let format = match at.required("format", format.as_ref())? {
            Message::TextFormat(text) => compiler.text(&at.field("text_format"), text),
            Message::TextFormatSource(source) => {
                let at = at.field("text_format_source");
                let text = inline(&at, source, surroundings)?;
                compiler.text(&at, &text)
            }
            Message::JsonFormat(object) => compiler.json(&at.field("json_format"), object),
        };
        format.filter(|_| sound)
    }

    /// A format of text.
    pub fn text(at: &At<'_>, format: &str, surroundings: &Surroundings<'_>) -> Option<Self> {
        Compiler::plain(surroundings).text(at, format)
    }

    /// A format of JSON.
    pub fn json(at: &At<'_>, format: &Struct, surroundings: &Surroundings<'_>) -> Option<Self> {
        Compiler::plain(surroundings).json(at, format)
    }

    /// Writes a line to the end of the text.
    pub fn write(&self, fields: &Fields<'_>, rng: &mut Rng, line: &mut String) {
        // A string takes everything.
        let _ = match &self.0 {
            Form::Text(text) => text.write_line(fields, rng, line),
            Form::Json(object) => object.write_line(fields, rng, line),
        };
    }
}

/// The faults of a text format. Takes any text.
///
/// # Errors
/// Each fault, with its place in the text.
pub fn check(format: &str) -> Result<(), Vec<Fault>> {
    let findings = Findings::default();
    match Format::text(&findings.at("format"), format, &Surroundings::none()) {
        Some(format) => {
            format.write(
                &Fields::default(),
                &mut Rng::with_seed(0),
                &mut String::new(),
            );
            Ok(())
        }
        None => Err(findings.faults()),
    }
}

fn formatter(at: &At<'_>, message: &TypedExtensionConfig) -> Option<Formatter> {
    let TypedExtensionConfig { name, typed_config } = message;
    let any = at.required("typed_config", typed_config.as_ref())?;
    let package = "type.googleapis.com/envoy.extensions.formatter.";
    let extension = match any.type_url.strip_prefix(package) {
        Some("req_without_query.v3.ReqWithoutQuery") => return Some(Formatter::ReqWithoutQuery),
        // Its operator is known without it.
        Some("metadata.v3.Metadata") => {
            return Some(Formatter::Unsupported("envoy.formatter.metadata"));
        }
        Some("cel.v3.Cel") => "envoy.formatter.cel",
        Some("dynamic_modules.v3.DynamicModuleFormatter") => "envoy.formatter.dynamic_modules",
        Some("file_content.v3.FileContent") => "envoy.formatter.file_content",
        Some("generic_secret.v3.GenericSecret") => "envoy.formatter.generic_secret",
        _ => {
            return at.fault(format!(
                "'{name}' of the type {} is no formatter that is known",
                any.type_url
            ));
        }
    };
    at.unsupported(format!("the formatter {extension} is not supported"));
    Some(Formatter::Unsupported(extension))
}

fn inline(at: &At<'_>, source: &DataSource, surroundings: &Surroundings<'_>) -> Option<String> {
    match at.required("specifier", source.specifier.as_ref())? {
        Specifier::InlineString(text) => Some(text.clone()),
        Specifier::InlineBytes(bytes) => String::from_utf8(bytes.clone())
            .map_or_else(|_| at.field("inline_bytes").fault("is no UTF-8"), Some),
        Specifier::EnvironmentVariable(name) => {
            let value = (surroundings.environment)(name);
            value.map_or_else(
                || {
                    at.field("environment_variable")
                        .fault(format!("{name} is not set"))
                },
                Some,
            )
        }
        Specifier::Filename(_) => at
            .field("filename")
            .fault("is not supported; write the format as an inline_string"),
    }
}

/// What the parts of one format are read with.
struct Compiler<'a> {
    surroundings: &'a Surroundings<'a>,
    formatters: &'a [Formatter],
    omit_empty: bool,
}

impl<'a> Compiler<'a> {
    fn plain(surroundings: &'a Surroundings<'a>) -> Self {
        Self {
            surroundings,
            formatters: &[],
            omit_empty: false,
        }
    }

    fn text(&self, at: &At<'_>, format: &str) -> Option<Format> {
        Some(Format(Form::Text(self.pieces(at, format)?)))
    }

    fn json(&self, at: &At<'_>, format: &Struct) -> Option<Format> {
        Some(Format(Form::Json(Object::compile(at, format, self)?)))
    }

    fn pieces(&self, at: &At<'_>, format: &str) -> Option<Text> {
        let tokens = match tokens(format) {
            Ok(tokens) => tokens,
            Err(Malformed { position }) => {
                return at.fault(format!(
                    "the percent sign at byte {position} begins no command such as %DURATION%; \
                     write %% for a percent sign"
                ));
            }
        };
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut sound = true;
        for token in tokens {
            let call = match token {
                Token::Literal(text) => {
                    literal.push_str(text);
                    continue;
                }
                Token::Command(call) => call,
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            let told = |message| format!("%{}% at byte {} {message}", call.name, call.position);
            match Command::compile(&call, self.surroundings, self.formatters) {
                Outcome::Sound(command) => pieces.push(Piece::Command(command)),
                Outcome::Unsupported(command, message) => {
                    at.unsupported(told(message));
                    pieces.push(Piece::Command(command));
                }
                Outcome::Faulty(message) => {
                    at.fault::<()>(told(message));
                    sound = false;
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        sound.then(|| Text {
            pieces: pieces.into(),
            absent: if self.omit_empty { "" } else { "-" },
        })
    }
}

/// Text with commands in it.
#[derive(Debug)]
struct Text {
    pieces: Box<[Piece]>,
    /// What stands for what is absent.
    absent: &'static str,
}

#[derive(Debug)]
enum Piece {
    Literal(Box<str>),
    Command(Command),
}

impl Text {
    /// Writes the text as a line of its own.
    fn write_line(
        &self,
        fields: &Fields<'_>,
        rng: &mut Rng,
        line: &mut String,
    ) -> std::fmt::Result {
        self.write(fields, rng, line, |value, out| value.write_line(out))
    }

    /// Writes the text as a part of a JSON string.
    fn write_escaped(
        &self,
        fields: &Fields<'_>,
        rng: &mut Rng,
        line: &mut String,
    ) -> std::fmt::Result {
        let mut escaped = Escaped(line);
        self.write(fields, rng, &mut escaped, |value, out| {
            value.write_text(out)
        })
    }

    fn write(
        &self,
        fields: &Fields<'_>,
        rng: &mut Rng,
        out: &mut dyn Write,
        write: impl Fn(&Value<'_>, &mut dyn Write) -> std::fmt::Result,
    ) -> std::fmt::Result {
        for piece in &self.pieces {
            let command = match piece {
                Piece::Literal(text) => {
                    out.write_str(text)?;
                    continue;
                }
                Piece::Command(command) => command,
            };
            let value = command.value(fields, rng);
            match command.max_length {
                _ if value.is_absent() => out.write_str(self.absent)?,
                None => write(&value, out)?,
                Some(left) => write(&value, &mut Limited { out, left })?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

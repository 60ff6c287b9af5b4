//! Paths and who answers them, and the forms that all answers share with Envoy's.

use std::{collections::BTreeMap, fmt::Write};

use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use fairlead_xds::json::{Layout, Secrets, message_to_json};
use serde::Serialize;
use serde_json::{Value, ser::PrettyFormatter};

/// The parameters of a request.
pub type Parameters = BTreeMap<String, String>;

const TEXT: &str = "text/plain; charset=UTF-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=UTF-8";

/// One path.
pub struct Handler<T: 'static> {
    /// What it answers to.
    pub path: &'static str,
    /// What the answer is.
    pub help: &'static str,
    /// What may be asked more exactly.
    pub parameters: &'static [Parameter],
    /// Something changes, which takes a POST.
    pub mutates: bool,
    /// What answers.
    pub answer: fn(&T, &Parameters) -> Response,
}

/// A parameter of a path.
pub struct Parameter {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// The values there are; any, if there are none here.
    pub values: &'static [&'static str],
}

/// A parameter of any value.
pub const fn parameter(name: &'static str, help: &'static str) -> Parameter {
    one_of(name, help, &[])
}

/// A parameter of one of these values.
pub const fn one_of(
    name: &'static str,
    help: &'static str,
    values: &'static [&'static str],
) -> Parameter {
    Parameter { name, help, values }
}

/// Has the handler of the path answer, or says why nobody does.
pub fn dispatch<T>(
    handlers: &[Handler<T>],
    shown: &T,
    method: &Method,
    path: &str,
    parameters: &Parameters,
) -> Response {
    let handler = handlers.iter().find(|handler| handler.path == path);
    let mut response = match handler {
        None => refuse(
            StatusCode::NOT_FOUND,
            format!("invalid path. {}", help(handlers)),
        ),
        Some(handler) if handler.mutates && method != Method::POST => refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("Method {method} not allowed, POST required."),
        ),
        Some(handler) => (handler.answer)(shown, parameters),
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, max-age=0"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// All paths with their parameters.
pub fn help<T>(handlers: &[Handler<T>]) -> String {
    let mut text = "admin commands are:\n".to_owned();
    for handler in handlers {
        let post = if handler.mutates { " (POST)" } else { "" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {}{post}: {}", handler.path, handler.help);
        for Parameter { name, help, values } in handler.parameters {
            let values = if values.is_empty() {
                String::new()
            } else {
                format!("; One of ({})", values.join(", "))
            };
            let _ = writeln!(text, "      {name}: {help}{values}");
        }
    }
    text
}

/// The same as a page to click on.
pub fn home<T>(handlers: &[Handler<T>]) -> Response {
    let mut page =
        "<!DOCTYPE html>\n<html lang='en'>\n<head><title>Fairlead Admin</title></head>\n\
                    <body>\n<table>\n<tr><th>Command</th><th>Description</th></tr>\n"
            .to_owned();
    for handler in handlers.iter().filter(|handler| handler.path != "/") {
        let (path, help) = (handler.path, escape(handler.help));
        let method = if handler.mutates { "post" } else { "get" };
        let _ = write!(
            page,
            "<tr><td><form action='{path}' method='{method}'><button>{}</button>",
            path.trim_start_matches('/')
        );
        for Parameter { name, help, values } in handler.parameters {
            let help = escape(help);
            if values.is_empty() {
                let _ = write!(page, " <input name='{name}' placeholder='{name}' title='");
                let _ = write!(page, "{help}'>");
            } else {
                let _ = write!(page, " <select name='{name}' title='{help}'>");
                for value in *values {
                    let _ = write!(page, "<option>{value}</option>");
                }
                page.push_str("</select>");
            }
        }
        let _ = writeln!(page, "</form></td><td>{help}</td></tr>");
    }
    page.push_str("</table>\n</body>\n</html>\n");
    html(page)
}

/// Text that stands in a page as it is.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// An answer in words.
pub fn text(words: impl Into<String>) -> Response {
    refuse(StatusCode::OK, words)
}

/// It is done.
pub fn ok() -> Response {
    text("OK\n")
}

/// Words, and the status that goes with them.
pub fn refuse(status: StatusCode, words: impl Into<String>) -> Response {
    (status, [(header::CONTENT_TYPE, TEXT)], words.into()).into_response()
}

fn html(page: String) -> Response {
    ([(header::CONTENT_TYPE, HTML)], page).into_response()
}

/// A message of Envoy's admin interface, without its secrets.
pub fn message<M: prost::Message + prost::Name>(message: &M) -> Response {
    match message_to_json(message, Layout::Pretty, Secrets::Redact) {
        Ok(text) => ([(header::CONTENT_TYPE, JSON)], text + "\n").into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// JSON of no message, or with more than a message's JSON has.
pub fn json(value: &Value) -> Response {
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    match value.serialize(&mut serializer) {
        Ok(()) => ([(header::CONTENT_TYPE, JSON)], text).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// Whether the `format` parameter asks for JSON; anything else is text.
pub fn is_json(parameters: &Parameters) -> bool {
    parameters
        .get("format")
        .is_some_and(|format| format == "json")
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    const HANDLERS: [Handler<u32>; 2] = [
        Handler {
            path: "/number",
            help: "show <it>",
            parameters: &[one_of("base", "of the digits", &["2", "10"])],
            mutates: false,
            answer: |number, _| text(number.to_string()),
        },
        Handler {
            path: "/forget",
            help: "forget it",
            parameters: &[parameter("why", "a reason")],
            mutates: true,
            answer: |_, _| ok(),
        },
    ];

    const HELP: &str = "admin commands are:\n  \
                        /number: show <it>\n      \
                        base: of the digits; One of (2, 10)\n  \
                        /forget (POST): forget it\n      \
                        why: a reason\n";

    #[tokio::test]
    async fn a_path_is_answered_or_refused_in_the_words_of_envoy() {
        for (method, path, status, expected) in [
            (Method::GET, "/number", 200, "7".to_owned()),
            (Method::POST, "/number", 200, "7".to_owned()),
            (Method::POST, "/forget", 200, "OK\n".to_owned()),
            (
                Method::GET,
                "/forget",
                405,
                "Method GET not allowed, POST required.".to_owned(),
            ),
            (
                Method::GET,
                "/number/",
                404,
                format!("invalid path. {HELP}"),
            ),
        ] {
            let response = dispatch(&HANDLERS, &7, &method, path, &Parameters::new());
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], TEXT);
            assert_eq!(
                response.headers()[header::CACHE_CONTROL],
                "no-cache, max-age=0"
            );
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(body, expected.as_bytes(), "{method} {path}");
        }
    }

    #[tokio::test]
    async fn the_home_page_has_a_form_for_each_path() {
        let body = home(&HANDLERS).into_body();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let page = str::from_utf8(&body).unwrap();
        assert!(page.contains("<form action='/number' method='get'>"));
        assert!(page.contains("<option>10</option>"));
        assert!(page.contains("<td>show &lt;it&gt;</td>"));
        assert!(page.contains("<form action='/forget' method='post'>"));
    }
}

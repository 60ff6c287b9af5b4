//! The admin port, for operators in the pod: Envoy's paths, and Envoy's forms of the answers.

mod logging;
pub mod served;

use std::{collections::BTreeMap, fmt::Write};

use axum::{
    extract::Request,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::lifecycle::Lifecycle;

/// The parameters of a path.
type Parameters = BTreeMap<String, String>;

/// One path.
struct Handler<T> {
    path: &'static str,
    help: &'static str,
    mutates: bool,
    answer: fn(&T, &Parameters) -> Response,
}

/// Has the handler of the path answer.
fn dispatch<T>(
    handlers: &[Handler<T>],
    shown: &T,
    parameters: &Parameters,
    request: &Request,
) -> Response {
    let path = request.uri().path();
    let Some(handler) = handlers.iter().find(|handler| handler.path == path) else {
        let words = format!("invalid path. {}", help(handlers));
        return (StatusCode::NOT_FOUND, words).into_response();
    };
    if handler.mutates && request.method() != Method::POST {
        let words = format!("Method {} not allowed, POST required.\n", request.method());
        return (StatusCode::METHOD_NOT_ALLOWED, words).into_response();
    }
    (handler.answer)(shown, parameters)
}

fn help<T>(handlers: &[Handler<T>]) -> String {
    let mut text = "admin commands are:\n".to_owned();
    for Handler {
        path,
        help,
        mutates,
        ..
    } in handlers
    {
        let post = if *mutates { " (POST)" } else { "" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {path}{post}: {help}");
    }
    text
}

fn ready(lifecycle: &Lifecycle) -> Response {
    let status = if lifecycle.readiness().is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, format!("{}\n", lifecycle.state())).into_response()
}

/// The `format` parameter of the paths that know text and JSON.
fn is_json(parameters: &Parameters) -> bool {
    parameters
        .get("format")
        .is_some_and(|format| format == "json")
}

fn json(value: &serde_json::Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        format!("{value:#}\n"),
    )
        .into_response()
}

//! `/logging`

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use fairlead_api::values::LogLevel;
use fairlead_runtime::log;

use super::Parameters;

const USAGE: &str = "usage: /logging?level=<level> (change the level)\n\
                     usage: /logging (print the level)\n\
                     level: trace, debug, info, warning, error, critical or off\n";

/// Shows the level, or puts another in force first. There is one logger for all parts.
pub(super) fn of(log: Option<&log::Control>, parameters: &Parameters) -> Response {
    let Some(log) = log else {
        return (StatusCode::NOT_FOUND, "this process has no log\n").into_response();
    };
    let fault = |words: String| (StatusCode::BAD_REQUEST, words + USAGE).into_response();
    if let Some(name) = parameters.keys().find(|name| *name != "level") {
        return fault(format!("there is no parameter or logger {name}\n"));
    }
    if let Some(text) = parameters.get("level") {
        match text.parse::<LogLevel>() {
            Ok(level) => log.set_level(level),
            Err(error) => return fault(format!("level {text}: {error}\n")),
        }
    }
    format!("active loggers:\n  fairlead: {}\n", log.level()).into_response()
}

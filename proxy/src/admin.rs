//! The admin port, for operators in the pod: Envoy's paths, and Envoy's forms of the answers.

mod clusters;
mod listeners;
mod logging;
pub mod served;
mod server_info;
pub mod stats;

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use axum::{
    Router,
    extract::{Query, Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use fairlead_runtime::log;

use crate::{
    config::Config,
    lifecycle::{Lifecycle, Stop},
    metrics::Sources,
};

/// What the answers are made of.
#[derive(Debug)]
pub struct Admin {
    /// The settings of the process.
    pub config: Config,
    /// Where statistics come from.
    pub sources: Sources,
    /// The process log; none where a test runs without.
    pub log: Option<log::Control>,
}

impl Admin {
    fn lifecycle(&self) -> &Lifecycle {
        &self.sources.lifecycle
    }
}

/// The parameters of a path.
type Parameters = BTreeMap<String, String>;

/// One path.
struct Handler<T> {
    path: &'static str,
    help: &'static str,
    mutates: bool,
    answer: fn(&T, &Parameters) -> Response,
}

const HANDLERS: [Handler<Admin>; 10] = [
    Handler {
        path: "/",
        help: "Admin home page",
        mutates: false,
        answer: |_, _| help(&HANDLERS).into_response(),
    },
    Handler {
        path: "/clusters",
        help: "upstream cluster status (?format=json)",
        mutates: false,
        answer: clusters::answer,
    },
    Handler {
        path: "/help",
        help: "print out list of admin commands",
        mutates: false,
        answer: |_, _| help(&HANDLERS).into_response(),
    },
    Handler {
        path: "/listeners",
        help: "print listener info (?format=json)",
        mutates: false,
        answer: listeners::answer,
    },
    Handler {
        path: "/logging",
        help: "query/change logging levels (?level=<level>)",
        mutates: true,
        answer: logging::answer,
    },
    Handler {
        path: "/quitquitquit",
        help: "exit the server",
        mutates: true,
        answer: |admin, _| {
            admin.lifecycle().stop(Stop::AtOnce);
            "OK\n".into_response()
        },
    },
    Handler {
        path: "/ready",
        help: "print server state, return 200 if LIVE, otherwise return 503",
        mutates: false,
        answer: |admin, _| ready(admin.lifecycle()),
    },
    Handler {
        path: "/server_info",
        help: "print server version/status information",
        mutates: false,
        answer: |admin, _| server_info::answer(admin),
    },
    Handler {
        path: "/stats",
        help: "print server stats (?filter=<regex>, ?usedonly, ?format=text|json|prometheus)",
        mutates: false,
        answer: |admin, parameters| stats::answer(&admin.sources, parameters),
    },
    Handler {
        path: "/stats/prometheus",
        help: "print server stats in prometheus format (?filter=<regex>, ?usedonly)",
        mutates: false,
        answer: |admin, parameters| stats::prometheus(&admin.sources, parameters),
    },
];

/// All paths.
pub fn router(admin: Arc<Admin>) -> Router {
    Router::new().fallback(answer).with_state(admin)
}

async fn answer(
    State(admin): State<Arc<Admin>>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    dispatch(&HANDLERS, &admin, &parameters, &request)
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

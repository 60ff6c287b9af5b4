//! `/logging`

use std::fmt::Write;

use axum::{http::StatusCode, response::Response};
use fairlead_api::values::LogLevel;
use fairlead_runtime::log;

use crate::admin::handler::{Parameters, refuse, text};

/// Envoy's names of loggers, and the parts of this program that write what Envoy's would.
const LOGGERS: [(&str, &[&str]); 15] = [
    (
        "admin",
        &["fairlead_proxy::admin", "fairlead_proxy::health"],
    ),
    ("client", &["fairlead_proxy::application"]),
    (
        "config",
        &["fairlead_proxy::configuration", "fairlead_proxy::server"],
    ),
    (
        "connection",
        &["fairlead_proxy::downstream", "fairlead_proxy::connect"],
    ),
    ("conn_handler", &["fairlead_proxy::listener"]),
    ("dns", &["fairlead_proxy::dns", "hickory_resolver"]),
    ("file", &["fairlead_proxy::access_log"]),
    (
        "filter",
        &[
            "fairlead_proxy::network_filter",
            "fairlead_proxy::inspector",
        ],
    ),
    ("hc", &["fairlead_proxy::health_check"]),
    ("http", &["hyper", "hyper_util", "h2"]),
    ("io", &["fairlead_proxy::tcp"]),
    (
        "main",
        &["fairlead_proxy::sidecar", "fairlead_proxy::descriptors"],
    ),
    ("rbac", &["fairlead_proxy::authorization"]),
    ("secret", &["fairlead_proxy::tls", "rustls"]),
    (
        "upstream",
        &["fairlead_proxy::cluster", "fairlead_proxy::upstream"],
    ),
];

const USAGE: &str = "usage: /logging?<name>=<level> (change single level)\n\
                     usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n\
                     usage: /logging?level=<level> (change all levels)\n\
                     levels: trace debug info warning error critical off \n";

/// What becomes of the levels.
#[derive(Debug, Eq, PartialEq)]
enum Change {
    Nothing,
    All(LogLevel),
    Some(Vec<(&'static [&'static str], LogLevel)>),
}

/// Changes what is asked for, and shows the levels.
pub(super) fn answer(log: Option<&log::Control>, parameters: &Parameters) -> Response {
    let Some(log) = log else {
        return refuse(StatusCode::NOT_FOUND, "this process has no log\n");
    };
    match change(parameters) {
        Ok(Change::Nothing) => {}
        Ok(Change::All(level)) => log.set_level(level),
        Ok(Change::Some(levels)) => {
            for (targets, level) in levels {
                for target in targets {
                    log.set_target_level(target, level);
                }
            }
        }
        Err(fault) => {
            let words = format!("error: {fault}\n\n{USAGE}{}", levels(log));
            return refuse(StatusCode::BAD_REQUEST, words);
        }
    }
    text(levels(log))
}

fn levels(log: &log::Control) -> String {
    let mut page = "active loggers:\n".to_owned();
    for (name, targets) in LOGGERS {
        let level = targets.first().map(|target| log.target_level(target));
        // Writing to a string does not fail.
        let _ = writeln!(page, "  {name}: {}", level.unwrap_or_else(|| log.level()));
    }
    page + "\n"
}

/// What the parameters ask for, or what is wrong with them in Envoy's words.
fn change(parameters: &Parameters) -> Result<Change, &'static str> {
    let mut parameters = parameters.iter();
    let Some((name, value)) = parameters.next() else {
        return Ok(Change::Nothing);
    };
    if parameters.next().is_some() {
        return Err("invalid number of parameters");
    }
    match name.as_str() {
        "level" | "paths" if value.is_empty() => Ok(Change::Nothing),
        "level" => level(value).map(Change::All),
        "group" => Err("group parameter requires fine-grain logging to be enabled"),
        "paths" => {
            let pairs = value.split(',').map(|pair| {
                let (name, value) = pair.split_once(':').unwrap_or((pair, ""));
                if name.is_empty() || value.is_empty() {
                    return Err("empty logger name or empty logger level");
                }
                Ok((logger(name)?, level(value)?))
            });
            pairs.collect::<Result<_, _>>().map(Change::Some)
        }
        name => Ok(Change::Some(vec![(logger(name)?, level(value)?)])),
    }
}

fn level(name: &str) -> Result<LogLevel, &'static str> {
    name.parse().map_err(|_| "unknown logger level")
}

fn logger(name: &str) -> Result<&'static [&'static str], &'static str> {
    let known = LOGGERS.iter().find(|(logger, _)| *logger == name);
    known
        .map(|(_, targets)| *targets)
        .ok_or("unknown logger name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_understood_or_refused_in_the_words_of_envoy() {
        let (dns, rbac) = (logger("dns").unwrap(), logger("rbac").unwrap());
        for (parameters, expected) in [
            (&[][..], Ok(Change::Nothing)),
            (&[("level", "")], Ok(Change::Nothing)),
            (&[("paths", "")], Ok(Change::Nothing)),
            (&[("level", "debug")], Ok(Change::All(LogLevel::Debug))),
            (&[("level", "foo")], Err("unknown logger level")),
            (
                &[("dns", "trace")],
                Ok(Change::Some(vec![(dns, LogLevel::Trace)])),
            ),
            (&[("dns", "foo")], Err("unknown logger level")),
            (&[("foo", "trace")], Err("unknown logger name")),
            (
                &[("paths", "dns:info,rbac:off")],
                Ok(Change::Some(vec![
                    (dns, LogLevel::Info),
                    (rbac, LogLevel::Off),
                ])),
            ),
            (
                &[("paths", "dns")],
                Err("empty logger name or empty logger level"),
            ),
            (
                &[("paths", "dns:info,foo:info")],
                Err("unknown logger name"),
            ),
            (
                &[("dns", "info"), ("level", "info")],
                Err("invalid number of parameters"),
            ),
            (
                &[("group", "dns:info")],
                Err("group parameter requires fine-grain logging to be enabled"),
            ),
        ] {
            let given = parameters.iter();
            let given = given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            assert_eq!(change(&given.collect()), expected, "{parameters:?}");
        }
    }
}

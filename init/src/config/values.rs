//! Single values: a flag's text → its type, or what is accepted instead.

use std::time::Duration;

use fairlead_api::values::{self, Selection};
use ipnet::{IpNet, Ipv4Net};

use super::{Backend, Ipv6, Mode, Verbosity};
use crate::rules::SELF_CALL_MARK;

pub(super) fn port(text: &str, default: u16) -> Result<u16, &'static str> {
    if text.is_empty() {
        return Ok(default);
    }
    values::parse_port(text).ok_or("a port from 1 to 65535 is accepted")
}

pub(super) fn ids(text: &str) -> Result<Vec<u32>, &'static str> {
    // The highest number stands for "no user" in the kernel's calls.
    let id = |word: &str| word.parse().ok().filter(|id| *id < u32::MAX);
    let words = text.split(',').filter(|word| !word.is_empty());
    words
        .map(id)
        .collect::<Option<Vec<u32>>>()
        .map(distinct)
        .ok_or("a comma list of numeric ids without spaces is accepted")
}

pub(super) fn mode(text: &str) -> Result<Mode, &'static str> {
    match text {
        "" | "REDIRECT" => Ok(Mode::Redirect),
        "TPROXY" => Ok(Mode::Tproxy),
        _ => Err("REDIRECT or TPROXY is accepted"),
    }
}

const MOST_GROUPS: usize = 64;

/// Our own mark of self-calls would be taken for it.
pub(super) fn mark(text: &str) -> Result<u32, String> {
    match text.parse() {
        _ if text.is_empty() => Ok(1337),
        Ok(mark) if mark != 0 && mark != SELF_CALL_MARK => Ok(mark),
        _ => Err(format!(
            "a number from 1 to 4294967295 other than {SELF_CALL_MARK} is accepted"
        )),
    }
}

/// The kernel's own tables are 253 to 255, and 0 is none.
pub(super) fn routing_table(text: &str) -> Result<u32, &'static str> {
    match text.parse() {
        _ if text.is_empty() => Ok(133),
        Ok(0 | 253..=255) | Err(_) => {
            Err("a number from 1 to 4294967295 other than 253, 254 and 255 is accepted")
        }
        Ok(table) => Ok(table),
    }
}

pub(super) fn groups(text: &str) -> Result<Selection<u32>, String> {
    if text == "*" {
        return Ok(Selection::All);
    }
    match ids(text) {
        Ok(groups) if groups.len() <= MOST_GROUPS => Ok(Selection::Only(groups)),
        Ok(groups) => Err(format!(
            "at most {MOST_GROUPS} groups are accepted, not {}",
            groups.len()
        )),
        Err(reason) => Err(format!("{reason}; or * for all")),
    }
}

pub(super) fn loopback_cidr(text: &str) -> Result<Ipv4Net, &'static str> {
    let localhost = Ipv4Net::from(std::net::Ipv4Addr::LOCALHOST);
    match text.parse::<Ipv4Net>() {
        _ if text.is_empty() => Ok(localhost),
        Ok(cidr) if cidr.addr().is_loopback() && cidr.prefix_len() >= 8 => Ok(cidr.trunc()),
        _ => Err("an IPv4 CIDR within 127.0.0.0/8 is accepted"),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    match humantime::parse_duration(text) {
        _ if text.is_empty() => Ok(Duration::from_secs(5)),
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a duration such as 5s or 500ms is accepted"),
    }
}

pub(super) fn ipv6(text: &str) -> Result<Ipv6, &'static str> {
    match text {
        "" | "auto" => Ok(Ipv6::Auto),
        "on" => Ok(Ipv6::On),
        "off" => Ok(Ipv6::Off),
        _ => Err("auto, on or off is accepted"),
    }
}

pub(super) fn backend(text: &str) -> Result<Option<Backend>, &'static str> {
    match text {
        "" => Ok(None),
        "legacy" => Ok(Some(Backend::Legacy)),
        "nft" => Ok(Some(Backend::Nft)),
        _ => Err("legacy or nft is accepted"),
    }
}

/// Reads `[scope:]level` pairs as Istio's programs take them; this one has a single scope.
pub(super) fn verbosity(text: &str) -> Result<Verbosity, &'static str> {
    let mut verbosity = Verbosity::Info;
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (scope, level) = pair.split_once(':').unwrap_or(("default", pair));
        let level = match level {
            "none" | "fatal" | "error" => Verbosity::Quiet,
            "warn" | "info" => Verbosity::Info,
            "debug" => Verbosity::Debug,
            _ => return Err("levels none, fatal, error, warn, info and debug are accepted"),
        };
        if matches!(scope, "default" | "all") {
            verbosity = level;
        }
    }
    Ok(verbosity)
}

pub(super) fn selection<T>(read: Option<Selection<T>>, tidy: fn(Vec<T>) -> Vec<T>) -> Selection<T> {
    match read {
        Some(Selection::Only(items)) => Selection::Only(tidy(items)),
        Some(Selection::All) | None => Selection::All,
    }
}

/// CIDRs as the kernel keeps them: without host bits.
pub(super) fn networks(cidrs: Vec<IpNet>) -> Vec<IpNet> {
    distinct(cidrs.into_iter().map(|cidr| cidr.trunc()).collect())
}

/// Drops repetitions, which would only cost a rule each.
pub(super) fn distinct<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut distinct = Vec::with_capacity(items.len());
    for item in items {
        if !distinct.contains(&item) {
            distinct.push(item);
        }
    }
    distinct
}

//! The values that annotations and flags take: port and CIDR lists, quantities, images, log levels,
//! interception modes.

mod image;
mod quantity;

use std::{fmt, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::{image::ImageReference, quantity::Quantity};
use crate::ports;

/// Why a text is not a value of its kind: a sentence that says what is accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

impl ValueError {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// More than any list of an annotation needs, and few enough to be compared with each other.
const MOST: usize = 1024;

/// Refuses a list of too many elements.
///
/// # Errors
/// Says how many are accepted.
pub(crate) fn check_count(count: usize) -> Result<(), ValueError> {
    if count > MOST {
        let words = format!("it has {count} elements, and at most {MOST} are accepted");
        return Err(ValueError(words));
    }
    Ok(())
}

/// Words that others wrote, in quotes: cut where they are long, with control characters spelt out.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", shown(text))
}

/// As above, without quotes.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut shown = String::new();
    for (index, letter) in text.chars().enumerate() {
        if index == LONGEST {
            shown.push('…');
            break;
        }
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Whether a text is a label of DNS, as Kubernetes wants the names of volumes to be (RFC 1123).
pub(crate) fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A list of which `*` means everything, as Istio's include lists take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selection<T> {
    /// `*`
    All,
    /// The listed items, in order; possibly none.
    Only(Vec<T>),
}

impl<T: fmt::Display> fmt::Display for Selection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Only(items) => f.write_str(&join(items)),
        }
    }
}

/// Items as the comma list that Istio's flags take.
pub fn join<T: fmt::Display>(items: &[T]) -> String {
    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
    words.join(",")
}

/// Consecutive ports, both ends included.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl Ports {
    /// Whether a port is among them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }
}

/// As `80` or `8000-8010`, the form of nftables and of our flags; iptables has a colon.
impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// Reads a comma list of ports, 1 to 65535, and of ranges such as `8000-8010`; empty items are dropped,
/// as in Istio. A range may have a colon, as iptables writes it.
///
/// # Errors
/// Names each item that is neither.
pub fn parse_ports(text: &str) -> Result<Vec<Ports>, ValueError> {
    let expected = "ports from 1 to 65535 and ranges such as 8000-8010";
    parse_list(text, expected, |item| {
        let (first, last) = item.split_once(['-', ':']).unwrap_or((item, item));
        let ports = Ports {
            first: parse_port(first)?,
            last: parse_port(last)?,
        };
        (ports.first <= ports.last).then_some(ports)
    })
}

/// Reads a port, 1 to 65535, written in digits alone.
pub fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// Reads the port on which the proxy answers the kubelet and Prometheus; 0 means none.
///
/// # Errors
/// It is no port, or one that the proxy has for something else.
pub fn parse_status_port(text: &str) -> Result<u16, ValueError> {
    let port = match text {
        "0" => Some(0),
        _ => parse_port(text).filter(|port| !ports::RESERVED.contains(port)),
    };
    match port {
        Some(port) => Ok(port),
        None => Err(ValueError(format!(
            "a port from 1 to 65535 that the mesh does not take ({}) is accepted, or 0 for none",
            join(&ports::RESERVED)
        ))),
    }
}

/// Reads what Istio takes for true and false.
///
/// # Errors
/// It is neither.
pub fn parse_bool(text: &str) -> Result<bool, ValueError> {
    match text {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
        _ => Err(ValueError("true or false is accepted".to_owned())),
    }
}

/// Reads a comma list of the names of network interfaces, as the kernel allows them (`dev_valid_name`);
/// iptables would take a + at the end for any rest.
///
/// # Errors
/// Names each item that is not one.
pub fn parse_interfaces(text: &str) -> Result<Vec<String>, ValueError> {
    parse_list(text, "interface names of at most 15 characters", |item| {
        let valid = item.len() <= 15
            && item
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"/:\"\\'+*!".contains(&byte))
            && !item.starts_with('-')
            && !matches!(item, "." | "..");
        valid.then(|| item.to_owned())
    })
}

/// Reads a comma list of CIDRs such as `10.0.0.0/8` or `fd00::/64`; an address alone is not one.
///
/// # Errors
/// Names each item that is not a CIDR.
pub fn parse_cidrs(text: &str) -> Result<Vec<IpNet>, ValueError> {
    parse_list(text, "CIDRs such as 10.0.0.0/8 or fd00::/64", |item| {
        item.parse().ok()
    })
}

/// Reads `*` or what `items` reads.
///
/// # Errors
/// Those of `items`, which also say that `*` is accepted.
pub fn parse_selection<T>(
    text: &str,
    items: impl FnOnce(&str) -> Result<Vec<T>, ValueError>,
) -> Result<Selection<T>, ValueError> {
    if text == "*" {
        return Ok(Selection::All);
    }
    match items(text) {
        Ok(items) => Ok(Selection::Only(items)),
        Err(ValueError(reason)) => Err(ValueError(format!("{reason}; or * for all"))),
    }
}

/// Reads a comma list of what `expected` describes; empty items are dropped, as in Istio.
///
/// # Errors
/// Names the first items that `item` does not read.
pub fn parse_list<T>(
    text: &str,
    expected: &str,
    item: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, ValueError> {
    const NAMED: usize = 5;
    let count = text.split(',').filter(|word| !word.is_empty()).count();
    check_count(count)?;
    let mut items = Vec::new();
    let mut named = Vec::new();
    let mut bad = 0;
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match item(word) {
            Some(value) => items.push(value),
            None => {
                bad += 1;
                if bad <= NAMED {
                    named.push(quoted(word));
                }
            }
        }
    }
    if bad == 0 {
        return Ok(items);
    }
    let more = match bad.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(ValueError(format!(
        "{}{more} {} wrong: a comma list of {expected} without spaces is accepted",
        named.join(", "),
        if bad == 1 { "is" } else { "are" },
    )))
}

/// The proxy's log level, with Envoy's names.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Every step of every connection.
    Trace,
    /// Each connection's life.
    Debug,
    /// What an operator wants to see.
    #[default]
    Info,
    /// What may need an operator.
    Warning,
    /// What failed.
    Error,
    /// What makes the process useless.
    Critical,
    /// Nothing.
    Off,
}

impl LogLevel {
    /// All levels with their names, most talkative first.
    pub const NAMES: [(Self, &str); 7] = [
        (Self::Trace, "trace"),
        (Self::Debug, "debug"),
        (Self::Info, "info"),
        (Self::Warning, "warning"),
        (Self::Error, "error"),
        (Self::Critical, "critical"),
        (Self::Off, "off"),
    ];
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(level, _)| level == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

/// Reads a level's name; `warn` is taken for `warning`, as Envoy does.
impl FromStr for LogLevel {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wanted = if text == "warn" { "warning" } else { text };
        match Self::NAMES.iter().find(|(_, name)| *name == wanted) {
            Some((level, _)) => Ok(*level),
            None => Err(ValueError(format!(
                "one of {} is accepted",
                Self::NAMES.map(|(_, name)| name).join(", ")
            ))),
        }
    }
}

/// How inbound connections come to the proxy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum InterceptionMode {
    /// Their destination is rewritten, and connection tracking remembers it.
    #[default]
    Redirect,
    /// They arrive as they are at a transparent socket.
    Tproxy,
    /// Nothing is captured, in either direction.
    None,
}

impl InterceptionMode {
    /// Istio's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "REDIRECT",
            Self::Tproxy => "TPROXY",
            Self::None => "NONE",
        }
    }
}

impl FromStr for InterceptionMode {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        [Self::Redirect, Self::Tproxy, Self::None]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| ValueError("REDIRECT, TPROXY or NONE is accepted".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_ports(text: &str, expected: Result<&[(u16, u16)], &str>) {
        match (parse_ports(text), expected) {
            (Ok(ports), Ok(expected)) => {
                let ports: Vec<_> = ports.iter().map(|p| (p.first, p.last)).collect();
                assert_eq!(ports, expected);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn ports_are_a_comma_list() {
        check_ports("", Ok(&[]));
        check_ports("80", Ok(&[(80, 80)]));
        check_ports("80,443,,65535", Ok(&[(80, 80), (443, 443), (65535, 65535)]));
        check_ports("6000-6010,8000:8001", Ok(&[(6000, 6010), (8000, 8001)]));
    }

    #[test]
    fn each_bad_port_is_named() {
        check_ports("80,70000,x", Err("'70000', 'x' are wrong"));
        check_ports("0", Err("'0' is wrong"));
        check_ports("80, 443", Err("' 443' is wrong"));
        check_ports("-1", Err("'-1' is wrong"));
        check_ports("10-9,1-2-3,5-", Err("'10-9', '1-2-3', '5-' are wrong"));
        check_ports("a,b,c,d,e,f,g", Err("'d', 'e' and 2 more are wrong"));
    }

    #[test]
    fn what_others_wrote_cannot_fill_or_command_a_terminal() {
        assert_eq!(quoted("a\u{1b}[2J\n"), "'a\\u{1b}[2J\\n'");
        assert_eq!(quoted(&"é".repeat(1000)), format!("'{}…'", "é".repeat(64)));
        assert_eq!(quoted(&"é".repeat(64)), format!("'{}'", "é".repeat(64)));
    }

    #[test]
    fn dns_labels_are_lower_case_and_short() {
        let longest = "a".repeat(63);
        for good in ["a", "0-a", &longest] {
            assert!(is_dns_label(good), "{good}");
        }
        let longer = "a".repeat(64);
        for bad in ["", "A", "-a", "a-", "a.b", "a_b", &longer] {
            assert!(!is_dns_label(bad), "{bad}");
        }
    }

    #[test]
    fn a_status_port_is_one_that_is_free_or_none() {
        for (text, port) in [("0", 0), ("15020", 15020), ("8888", 8888)] {
            assert_eq!(parse_status_port(text), Ok(port));
        }
        for text in ["", "-1", "+80", "65536", "http", "15021", "15090", "15000"] {
            let error = parse_status_port(text).unwrap_err().to_string();
            assert!(error.contains("or 0 for none"), "{text}: {error}");
        }
    }

    #[test]
    fn truth_has_gos_spellings() {
        for (text, value) in [("true", true), ("1", true), ("F", false), ("FALSE", false)] {
            assert_eq!(parse_bool(text), Ok(value));
        }
        for text in ["", "yes", "tRUE", " true"] {
            assert!(parse_bool(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_selection_is_a_star_or_a_list() {
        assert_eq!(parse_selection("*", parse_ports), Ok(Selection::All));
        assert_eq!(
            parse_selection("", parse_ports),
            Ok(Selection::Only(vec![]))
        );
        assert_eq!(
            parse_selection("7", parse_ports),
            Ok(Selection::Only(vec![7.into()]))
        );
        let error = parse_selection("*,80", parse_ports).unwrap_err();
        assert!(error.to_string().contains("or * for all"), "{error}");
    }

    #[test]
    fn cidrs_are_of_both_families() {
        let cidrs = parse_cidrs("10.0.0.0/8,fd00::/64").unwrap();
        assert_eq!(join(&cidrs), "10.0.0.0/8,fd00::/64");
        for bad in ["10.0.0.0/33", "10.0.0.0", "fd00::/129", "x", "10.0.0.0 /8"] {
            assert!(parse_cidrs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn levels_have_envoys_names() {
        for (level, name) in LogLevel::NAMES {
            assert_eq!(name.parse(), Ok(level));
            assert_eq!(level.to_string(), name);
        }
        assert_eq!("warn".parse(), Ok(LogLevel::Warning));
        assert!("loud".parse::<LogLevel>().is_err());
    }
}

//! What a text must be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use envoy_types::pb::validate::{self, KnownRegex, string_rules::WellKnown};
use regex::Regex;

use crate::{rules::bounds::Bounds, tree::Quoted};

#[derive(Debug)]
pub(super) struct TextRules {
    rules: validate::StringRules,
    pattern: Option<Regex>,
}

impl TextRules {
    pub(super) fn of(rules: validate::StringRules) -> Self {
        let pattern = rules.pattern.as_deref();
        let pattern = pattern.map(|pattern| {
            Regex::new(pattern).expect("Envoy's patterns are regular expressions, as a test holds")
        });
        Self { rules, pattern }
    }

    /// What is wrong with the text.
    pub(super) fn check(&self, text: &str) -> Option<String> {
        let rules = &self.rules;
        if text.is_empty() && rules.ignore_empty() {
            return None;
        }
        if rules.min_len == Some(1) && text.is_empty() {
            return Some("must be at least 1 character long".to_owned());
        }
        let characters = text.chars().count() as u64;
        let bounds = Bounds {
            constant: rules.len,
            ..Bounds::between(rules.min_len, rules.max_len)
        };
        if let Some(fault) = bounds.check(&characters) {
            return Some(format!("has {characters} characters; their number {fault}"));
        }
        let bytes = text.len() as u64;
        let bounds = Bounds {
            constant: rules.len_bytes,
            ..Bounds::between(rules.min_bytes, rules.max_bytes)
        };
        if let Some(fault) = bounds.check(&bytes) {
            return Some(format!("has {bytes} bytes; their number {fault}"));
        }
        self.words(text).or_else(|| self.well_known(text))
    }

    fn words(&self, text: &str) -> Option<String> {
        let rules = &self.rules;
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(text)
        {
            return Some(format!("must match {pattern}, unlike {}", Quoted(text)));
        }
        let broken = |word: &Option<String>, must: &str, holds: fn(&str, &str) -> bool| {
            let word = word.as_deref()?;
            (!holds(text, word)).then(|| format!("must {must} '{word}'"))
        };
        let list = |list: &[String]| list.join(", ");
        broken(&rules.r#const, "be", |text, word| text == word)
            .or_else(|| {
                broken(&rules.prefix, "begin with", |text, word| {
                    text.starts_with(word)
                })
            })
            .or_else(|| broken(&rules.suffix, "end with", |text, word| text.ends_with(word)))
            .or_else(|| broken(&rules.contains, "contain", |text, word| text.contains(word)))
            .or_else(|| {
                broken(&rules.not_contains, "not contain", |text, word| {
                    !text.contains(word)
                })
            })
            .or_else(|| {
                let foreign =
                    !rules.r#in.is_empty() && !rules.r#in.iter().any(|known| known == text);
                foreign.then(|| format!("must be one of {}", list(&rules.r#in)))
            })
            .or_else(|| {
                let refused = rules.not_in.iter().any(|known| known == text);
                refused.then(|| format!("must be none of {}", list(&rules.not_in)))
            })
    }

    fn well_known(&self, text: &str) -> Option<String> {
        let sound = match self.rules.well_known.as_ref()? {
            WellKnown::WellKnownRegex(known) => {
                return header(
                    KnownRegex::try_from(*known).ok()?,
                    self.rules.strict(),
                    text,
                );
            }
            WellKnown::Ip(true) => ("an IP address", text.parse::<IpAddr>().is_ok()),
            WellKnown::Ipv4(true) => ("an IPv4 address", text.parse::<Ipv4Addr>().is_ok()),
            WellKnown::Ipv6(true) => ("an IPv6 address", text.parse::<Ipv6Addr>().is_ok()),
            WellKnown::Hostname(true) => ("a host name", is_host(text)),
            WellKnown::Address(true) => (
                "an IP address or a host name",
                text.parse::<IpAddr>().is_ok() || is_host(text),
            ),
            WellKnown::Uri(true) => ("a URI with its scheme", text.contains(':')),
            // None of Envoy's definitions asks for the others.
            _ => return None,
        };
        let (what, sound) = sound;
        (!sound).then(|| format!("must be {what}, unlike {}", Quoted(text)))
    }
}

/// Names and values of headers; those that are not strict exclude what ends a line.
fn header(known: KnownRegex, strict: bool, text: &str) -> Option<String> {
    let ends_line = |character: char| matches!(character, '\0' | '\n' | '\r');
    let (what, sound) = match (known, strict) {
        (KnownRegex::Unknown, _) => return None,
        (KnownRegex::HttpHeaderName, true) => {
            let name = text.strip_prefix(':').unwrap_or(text);
            let token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~`".contains(&byte);
            (
                "the name of a header",
                !name.is_empty() && name.bytes().all(token),
            )
        }
        (KnownRegex::HttpHeaderName, false) => ("the name of a header", !text.contains(ends_line)),
        (KnownRegex::HttpHeaderValue, true) => (
            "the value of a header",
            !text.contains(|character: char| character.is_ascii_control() && character != '\t'),
        ),
        (KnownRegex::HttpHeaderValue, false) => {
            ("the value of a header", !text.contains(ends_line))
        }
    };
    (!sound).then(|| format!("must be {what}, unlike {}", Quoted(text)))
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253 && text.split('.').all(label)
}

//! Which subject alternative names are accepted
//! (`envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`).

use fairlead_xds::envoy::{
    extensions::transport_sockets::tls::v3::{
        SubjectAltNameMatcher as Message, subject_alt_name_matcher::SanType,
    },
    r#type::matcher::v3::{StringMatcher as TextMessage, string_matcher::MatchPattern},
};

use super::peer::ParsedCertificate;
use crate::{compile::At, matcher::StringMatcher};

/// Accepts one kind of name.
#[derive(Debug)]
pub(super) struct SanMatcher {
    kind: Kind,
    matcher: StringMatcher,
    /// A DNS name that is to be the certificate's, which may say it with a wildcard.
    dns_name: Option<Box<str>>,
    /// For messages: `URI exact 'spiffe://cluster.local/ns/shop/sa/cart'`.
    pub(super) words: Box<str>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Any,
    Email,
    Dns,
    Uri,
    Ip,
}

impl SanMatcher {
    /// The matcher that the message asks for.
    pub(super) fn compile(at: &At<'_>, message: &Message) -> Option<Self> {
        let Message {
            san_type,
            matcher,
            oid: _,
        } = message;
        let at_kind = at.field("san_type");
        let kind = match SanType::try_from(*san_type) {
            Ok(SanType::Email) => Some(Kind::Email),
            Ok(SanType::Dns) => Some(Kind::Dns),
            Ok(SanType::Uri) => Some(Kind::Uri),
            Ok(SanType::IpAddress) => Some(Kind::Ip),
            Ok(SanType::OtherName) => at_kind.fault("OTHER_NAME is not supported"),
            Ok(SanType::Unspecified) => at_kind.fault("is missing"),
            Err(_) => at_kind.fault(format!("{san_type} is no type")),
        };
        let matcher = at.required("matcher", matcher.as_ref())?;
        Self::new(&at.field("matcher"), kind?, matcher)
    }

    /// The matcher of names of any kind that the deprecated field asks for.
    pub(super) fn compile_untyped(at: &At<'_>, message: &TextMessage) -> Option<Self> {
        Self::new(at, Kind::Any, message)
    }

    fn new(at: &At<'_>, kind: Kind, message: &TextMessage) -> Option<Self> {
        let matcher = StringMatcher::compile(at, message)?;
        let (pattern, text) = match message.match_pattern.as_ref()? {
            MatchPattern::Exact(text) => ("exact", text.as_str()),
            MatchPattern::Prefix(text) => ("prefix", text.as_str()),
            MatchPattern::Suffix(text) => ("suffix", text.as_str()),
            MatchPattern::Contains(text) => ("contains", text.as_str()),
            MatchPattern::SafeRegex(regex) => ("regex", regex.regex.as_str()),
            MatchPattern::Custom(custom) => ("custom", custom.name.as_str()),
        };
        let is_name = pattern == "exact" && matches!(kind, Kind::Dns | Kind::Any);
        let kind_word = match kind {
            Kind::Any => "any",
            Kind::Email => "EMAIL",
            Kind::Dns => "DNS",
            Kind::Uri => "URI",
            Kind::Ip => "IP",
        };
        Some(Self {
            kind,
            matcher,
            dns_name: is_name.then(|| text.into()),
            words: format!("{kind_word} {pattern} '{text}'").into(),
        })
    }

    /// Whether one of the certificate's names is accepted.
    pub(super) fn matches(&self, certificate: &ParsedCertificate) -> bool {
        let is = |kind| self.kind == kind || self.kind == Kind::Any;
        let text = |name: &str| self.matcher.matches(name);
        (is(Kind::Uri) && certificate.uri_sans.iter().any(|name| text(name)))
            || (is(Kind::Email) && certificate.email_sans.iter().any(|name| text(name)))
            || (is(Kind::Ip) && certificate.ip_sans.iter().any(|ip| text(&ip.to_string())))
            || (is(Kind::Dns)
                && certificate
                    .dns_sans
                    .iter()
                    .any(|name| match &self.dns_name {
                        Some(wanted) => is_name_of(wanted, name),
                        None => text(name),
                    }))
    }

    /// Whether one of its URIs is accepted, whatever kind is asked for: SPIFFE knows no other.
    pub(super) fn matches_uri(&self, certificate: &ParsedCertificate) -> bool {
        matches!(self.kind, Kind::Uri | Kind::Any)
            && certificate
                .uri_sans
                .iter()
                .any(|name| self.matcher.matches(name))
    }
}

/// Whether a DNS name is what a certificate says, which may stand for any first label with `*`.
pub(super) fn is_name_of(name: &str, presented: &str) -> bool {
    if name.eq_ignore_ascii_case(presented) {
        return true;
    }
    let Some(domain) = presented.strip_prefix("*.") else {
        return false;
    };
    name.split_once('.').is_some_and(|(label, parent)| {
        // `*.com` stands for nothing.
        !label.is_empty() && domain.contains('.') && parent.eq_ignore_ascii_case(domain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_one_label() {
        for (name, presented, expected) in [
            ("api.example.com", "api.example.com", true),
            ("API.example.com", "api.Example.com", true),
            ("api.example.com", "*.example.com", true),
            ("a.api.example.com", "*.example.com", false),
            ("example.com", "*.example.com", false),
            (".example.com", "*.example.com", false),
            ("example.com", "*.com", false),
            ("api.example.com", "*", false),
            ("api.example.com", "a*.example.com", false),
        ] {
            assert_eq!(is_name_of(name, presented), expected, "{name} {presented}");
        }
    }
}

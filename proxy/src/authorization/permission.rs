//! Permissions: conditions on what is accessed.

use fairlead_xds::envoy::{
    config::rbac::v3::{
        Permission,
        permission::{Rule as Asked, Set},
    },
    r#type::v3::Int32Range,
};

use super::rule::{self, Rule, several};
use crate::{compile::At, matcher::StringMatcher};

/// The rule that the permission asks for.
#[expect(
    deprecated,
    reason = "what Envoy still reads is told from what it does not"
)]
pub(super) fn permission(at: &At<'_>, message: &Permission) -> Option<Rule> {
    let Permission { rule } = message;
    match at.required("rule", rule.as_ref())? {
        Asked::AndRules(Set { rules }) => {
            several(&at.field("and_rules"), "rules", rules, permission).map(Rule::All)
        }
        Asked::OrRules(Set { rules }) => {
            several(&at.field("or_rules"), "rules", rules, permission).map(Rule::OneOf)
        }
        Asked::NotRule(negated) => {
            permission(&at.field("not_rule"), negated).map(|rule| Rule::Not(rule.into()))
        }
        Asked::Any(any) => rule::any(at, *any),
        Asked::DestinationIp(range) => {
            rule::range(at, "destination_ip", range).map(Rule::DestinationIp)
        }
        Asked::DestinationPort(port) => destination_port(at, *port),
        Asked::DestinationPortRange(range) => {
            destination_port_range(&at.field("destination_port_range"), *range)
        }
        Asked::RequestedServerName(name) => {
            StringMatcher::compile(&at.field("requested_server_name"), name).map(Rule::ServerName)
        }
        Asked::Header(_) => rule::header(at),
        Asked::UrlPath(path) => rule::url_path(at, path),
        Asked::Metadata(_) => rule::metadata(at, "metadata"),
        Asked::SourcedMetadata(_) => rule::metadata(at, "sourced_metadata"),
        Asked::Matcher(matcher) => rule::extension(at, "matcher", &matcher.name),
        Asked::UriTemplate(template) => rule::extension(at, "uri_template", &template.name),
    }
}

fn destination_port(at: &At<'_>, port: u32) -> Option<Rule> {
    if port > u16::MAX.into() {
        let at = at.field("destination_port");
        return at.fault(format!("{port} is no port, which is at most 65535"));
    }
    Some(Rule::DestinationPort(port..port + 1))
}

fn destination_port_range(at: &At<'_>, range: Int32Range) -> Option<Rule> {
    let Int32Range { start, end } = range;
    let bound = |name: &str, bound: i32| {
        let bounds = 0..=65536;
        match u32::try_from(bound) {
            Ok(bound) if bounds.contains(&bound) => Some(bound),
            _ => {
                let at = at.field(name);
                at.fault(format!("{bound} is out of the bounds 0 and 65536"))
            }
        }
    };
    let (start, end) = (bound("start", start), bound("end", end));
    let (start, end) = (start?, end?);
    if start >= end {
        return at.fault(format!(
            "holds no port: its start {start} is not below its end {end}"
        ));
    }
    Some(Rule::DestinationPort(start..end))
}

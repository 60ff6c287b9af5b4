//! Principals: conditions on who accesses.

use fairlead_xds::envoy::config::rbac::v3::{
    Principal,
    principal::{Authenticated, Identifier as Asked, Set},
};

use super::rule::{self, Rule, several};
use crate::{compile::At, matcher::StringMatcher};

/// The rule that the principal asks for.
#[expect(
    deprecated,
    reason = "what Envoy still reads is told from what it does not"
)]
pub(super) fn principal(at: &At<'_>, message: &Principal) -> Option<Rule> {
    let Principal { identifier } = message;
    match at.required("identifier", identifier.as_ref())? {
        Asked::AndIds(Set { ids }) => {
            several(&at.field("and_ids"), "ids", ids, principal).map(Rule::All)
        }
        Asked::OrIds(Set { ids }) => {
            several(&at.field("or_ids"), "ids", ids, principal).map(Rule::OneOf)
        }
        Asked::NotId(negated) => {
            principal(&at.field("not_id"), negated).map(|rule| Rule::Not(rule.into()))
        }
        Asked::Any(any) => rule::any(at, *any),
        Asked::Authenticated(Authenticated { principal_name }) => match principal_name {
            Some(name) => {
                let at = at.field("authenticated").field("principal_name");
                StringMatcher::compile(&at, name).map(|name| Rule::Authenticated(Some(name)))
            }
            None => Some(Rule::Authenticated(None)),
        },
        // Envoy deprecated the first of the two in favour of the second, which means the same.
        Asked::SourceIp(range) => rule::range(at, "source_ip", range).map(Rule::RemoteIp),
        Asked::RemoteIp(range) => rule::range(at, "remote_ip", range).map(Rule::RemoteIp),
        Asked::DirectRemoteIp(range) => {
            rule::range(at, "direct_remote_ip", range).map(Rule::DirectRemoteIp)
        }
        Asked::Header(_) => rule::header(at),
        Asked::UrlPath(path) => rule::url_path(at, path),
        Asked::Metadata(_) => rule::metadata(at, "metadata"),
        Asked::SourcedMetadata(_) => rule::metadata(at, "sourced_metadata"),
        Asked::FilterState(_) => rule::metadata(at, "filter_state"),
        Asked::Custom(custom) => rule::extension(at, "custom", &custom.name),
    }
}

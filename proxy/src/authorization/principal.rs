//! Principals: conditions on who accesses.

use fairlead_xds::{
    envoy::{
        config::{
            core::v3::TypedExtensionConfig,
            rbac::v3::{
                Principal,
                principal::{Authenticated, Identifier as Asked, Set},
            },
        },
        extensions::{
            rbac::principals::mtls_authenticated::v3::Config as MtlsAuthenticated,
            transport_sockets::tls::v3::{
                SubjectAltNameMatcher, subject_alt_name_matcher::SanType,
            },
        },
    },
    prost::Name,
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
        Asked::Custom(custom) => self::custom(at, custom),
    }
}

/// The one extension there is, which Envoy recommends in the place of `authenticated`.
fn custom(at: &At<'_>, message: &TypedExtensionConfig) -> Option<Rule> {
    let TypedExtensionConfig { name, typed_config } = message;
    let is_known = |type_url: &str| {
        let of = type_url.rsplit('/').next();
        of == Some(&*MtlsAuthenticated::full_name())
    };
    match typed_config {
        Some(any) if is_known(&any.type_url) => {
            let at = at.field("custom").field("typed_config");
            mtls_authenticated(&at, &at.decode(any)?)
        }
        _ => rule::extension(at, "custom", name),
    }
}

fn mtls_authenticated(at: &At<'_>, message: &MtlsAuthenticated) -> Option<Rule> {
    let MtlsAuthenticated {
        san_matcher,
        any_validated_client_certificate,
    } = message;
    let Some(san_matcher) = san_matcher else {
        if *any_validated_client_certificate {
            return Some(Rule::Validated(None));
        }
        return at
            .fault("asks for nothing: it needs a san_matcher or any_validated_client_certificate");
    };
    let SubjectAltNameMatcher {
        san_type,
        matcher,
        // It is of names of other types alone.
        oid: _,
    } = san_matcher;
    let at = at.field("san_matcher");
    let matcher = at
        .required("matcher", matcher.as_ref())
        .and_then(|matcher| StringMatcher::compile(&at.field("matcher"), matcher));
    if SanType::try_from(*san_type) != Ok(SanType::Uri) {
        return at.field("san_type").fault("is not supported: only URI is");
    }
    matcher.map(|matcher| Rule::Validated(Some(matcher)))
}

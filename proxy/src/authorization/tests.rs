use std::collections::HashMap;

use fairlead_xds::{
    envoy::{
        config::{
            core::v3::{CidrRange, TypedExtensionConfig},
            rbac::v3::{
                Permission, Policy, Principal, Rbac, SourcedMetadata,
                permission::{self, Rule},
                principal::{self, Authenticated, Identifier},
                rbac::{Action, AuditLoggingOptions, audit_logging_options::AuditLoggerConfig},
            },
            route::v3::HeaderMatcher,
        },
        extensions::{
            rbac::principals::mtls_authenticated::v3::Config as MtlsAuthenticated,
            transport_sockets::tls::v3::{
                SubjectAltNameMatcher, subject_alt_name_matcher::SanType,
            },
        },
        r#type::{
            matcher::v3::{
                FilterStateMatcher, MetadataMatcher, PathMatcher, StringMatcher, path_matcher,
                string_matcher::MatchPattern,
            },
            v3::Int32Range,
        },
    },
    google::{
        api::expr::v1alpha1::{CheckedExpr, Expr},
        protobuf::{Any, UInt32Value},
    },
    prost::{Message, Name},
};

use super::*;
use crate::compile::{Fault, Findings};

mod agreement;
mod faults;

fn exact(text: &str) -> StringMatcher {
    StringMatcher {
        ignore_case: false,
        match_pattern: Some(MatchPattern::Exact(text.to_owned())),
    }
}

fn range(address: &str, length: u32) -> CidrRange {
    CidrRange {
        address_prefix: address.to_owned(),
        prefix_len: Some(UInt32Value { value: length }),
    }
}

fn path(text: &str) -> PathMatcher {
    PathMatcher {
        rule: Some(path_matcher::Rule::Path(exact(text))),
    }
}

fn permission(rule: Rule) -> Permission {
    Permission { rule: Some(rule) }
}

fn principal(identifier: Identifier) -> Principal {
    Principal {
        identifier: Some(identifier),
    }
}

fn rules(rules: &[Rule]) -> permission::Set {
    permission::Set {
        rules: rules.iter().cloned().map(permission).collect(),
    }
}

fn ids(ids: &[Identifier]) -> principal::Set {
    principal::Set {
        ids: ids.iter().cloned().map(principal).collect(),
    }
}

fn no_rule(rule: Rule) -> Rule {
    Rule::NotRule(permission(rule).into())
}

fn no_id(id: Identifier) -> Identifier {
    Identifier::NotId(principal(id).into())
}

fn named(name: &str) -> Identifier {
    Identifier::Authenticated(Authenticated {
        principal_name: Some(exact(name)),
    })
}

fn ports(start: i32, end: i32) -> Rule {
    Rule::DestinationPortRange(Int32Range { start, end })
}

fn policy(rule: Rule, identifier: Identifier) -> Policy {
    Policy {
        permissions: vec![permission(rule)],
        principals: vec![principal(identifier)],
        ..Policy::default()
    }
}

fn rbac(action: Action, policies: &[(&str, Policy)]) -> Rbac {
    let policies = policies.iter().cloned();
    Rbac {
        action: action.into(),
        policies: policies
            .map(|(name, policy)| (name.to_owned(), policy))
            .collect::<HashMap<_, _>>(),
        audit_logging_options: None,
    }
}

fn compile(message: &Rbac) -> Result<Engine, Vec<String>> {
    let findings = Findings::default();
    let engine = Engine::compile(&findings.at("rules"), message);
    let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
    match engine {
        Some(engine) if faults.is_empty() => Ok(engine),
        _ => Err(faults),
    }
}

fn peer() -> PeerIdentity {
    PeerIdentity {
        is_validated: true,
        uri_sans: ["spiffe://mesh/ns/shop/sa/cart", "urn:cart"]
            .map(Into::into)
            .into(),
        dns_sans: ["cart.shop"].map(Into::into).into(),
        subject: "CN=cart".into(),
    }
}

fn facts(peer: Option<&PeerIdentity>) -> Facts<'_> {
    Facts {
        remote: "10.1.0.1:40000".parse().unwrap(),
        direct_remote: "192.168.0.1:40000".parse().unwrap(),
        destination: "10.2.0.2:8080".parse().unwrap(),
        server_name: "cart.shop.svc",
        peer,
    }
}

#[track_caller]
fn check_permission(rule: Rule, expected: bool) {
    let message = rbac(Action::Allow, &[("p", policy(rule, Identifier::Any(true)))]);
    let engine = compile(&message).unwrap();
    let decision = engine.decide(&facts(None));
    assert_eq!(!decision.is_denied(), expected);
}

#[track_caller]
fn check_principal(identifier: Identifier, peer: Option<&PeerIdentity>, expected: bool) {
    let message = rbac(Action::Allow, &[("p", policy(Rule::Any(true), identifier))]);
    let engine = compile(&message).unwrap();
    let decision = engine.decide(&facts(peer));
    assert_eq!(!decision.is_denied(), expected);
}

#[test]
fn permissions_are_on_what_is_accessed() {
    check_permission(Rule::Any(true), true);
    check_permission(Rule::DestinationIp(range("10.2.0.0", 16)), true);
    check_permission(Rule::DestinationIp(range("10.1.0.0", 16)), false);
    check_permission(Rule::DestinationIp(range("::", 0)), false);
    check_permission(Rule::DestinationPort(8080), true);
    check_permission(Rule::DestinationPort(40000), false);
    check_permission(ports(8080, 8081), true);
    check_permission(ports(8000, 8080), false);
    check_permission(ports(8081, 65536), false);
    check_permission(Rule::RequestedServerName(exact("cart.shop.svc")), true);
    check_permission(Rule::RequestedServerName(exact("")), false);
    check_permission(Rule::UrlPath(path("/")), false);
}

#[test]
fn permissions_are_combined() {
    let (yes, no) = (Rule::Any(true), Rule::DestinationPort(1));
    check_permission(Rule::AndRules(rules(&[yes.clone(), no.clone()])), false);
    check_permission(Rule::AndRules(rules(&[yes.clone(), yes.clone()])), true);
    check_permission(Rule::OrRules(rules(&[no.clone(), yes.clone()])), true);
    check_permission(Rule::OrRules(rules(&[no.clone(), no.clone()])), false);
    check_permission(no_rule(yes), false);
    check_permission(no_rule(no), true);
    check_permission(no_rule(Rule::UrlPath(path("/"))), true);
}

#[expect(deprecated, reason = "Envoy still reads it")]
#[test]
fn principals_are_on_who_accesses() {
    check_principal(Identifier::Any(true), None, true);
    for of_remote in [Identifier::SourceIp, Identifier::RemoteIp] {
        check_principal(of_remote(range("10.1.0.0", 24)), None, true);
        check_principal(of_remote(range("192.168.0.0", 24)), None, false);
    }
    let direct = Identifier::DirectRemoteIp;
    check_principal(direct(range("192.168.0.0", 24)), None, true);
    check_principal(direct(range("10.1.0.0", 24)), None, false);
    check_principal(Identifier::UrlPath(path("/")), None, false);
}

#[test]
fn a_peer_has_each_of_its_names() {
    let (peer, nobody) = (peer(), PeerIdentity::default());
    let anybody = Identifier::Authenticated(Authenticated::default());
    check_principal(anybody.clone(), None, false);
    check_principal(anybody.clone(), Some(&peer), true);
    // As in Envoy: whoever the listener's TLS lets in.
    check_principal(anybody, Some(&nobody), true);
    for name in [
        "spiffe://mesh/ns/shop/sa/cart",
        "urn:cart",
        "cart.shop",
        "CN=cart",
    ] {
        check_principal(named(name), Some(&peer), true);
        check_principal(named(name), Some(&nobody), false);
        check_principal(named(name), None, false);
    }
    check_principal(named("cart"), Some(&peer), false);
    check_principal(named(""), None, false);
    check_principal(named(""), Some(&nobody), true);
}

fn mtls(san_type: SanType, uri: Option<&str>, any: bool) -> Identifier {
    let message = MtlsAuthenticated {
        san_matcher: uri.map(|uri| SubjectAltNameMatcher {
            san_type: san_type.into(),
            matcher: Some(exact(uri)),
            oid: String::new(),
        }),
        any_validated_client_certificate: any,
    };
    Identifier::Custom(TypedExtensionConfig {
        name: "mtls".to_owned(),
        typed_config: Some(Any {
            type_url: MtlsAuthenticated::type_url(),
            value: message.encode_to_vec(),
        }),
    })
}

#[test]
fn a_certificate_must_be_valid_if_that_is_asked_for() {
    let valid = peer();
    let invalid = PeerIdentity {
        is_validated: false,
        ..peer()
    };
    let uri = "spiffe://mesh/ns/shop/sa/cart";
    for (asked, expected) in [
        (mtls(SanType::Uri, None, true), true),
        (mtls(SanType::Uri, Some(uri), false), true),
        (mtls(SanType::Uri, Some(uri), true), true),
        (mtls(SanType::Uri, Some("cart.shop"), true), false),
    ] {
        check_principal(asked.clone(), Some(&valid), expected);
        check_principal(asked.clone(), Some(&invalid), false);
        check_principal(asked, None, false);
    }
}

#[test]
fn an_address_of_ipv4_is_one_however_it_is_told() {
    let message = policy(
        Rule::DestinationIp(range("10.2.0.0", 16)),
        Identifier::RemoteIp(range("10.1.0.0", 16)),
    );
    let engine = compile(&rbac(Action::Deny, &[("p", message)])).unwrap();
    let decision = engine.decide(&Facts {
        remote: "[::ffff:10.1.0.1]:1".parse().unwrap(),
        destination: "[::ffff:10.2.0.1]:1".parse().unwrap(),
        ..facts(None)
    });
    assert!(decision.is_denied());
}

#[test]
fn principals_are_combined() {
    let (yes, no) = (Identifier::Any(true), named("x"));
    let (and, or) = (Identifier::AndIds, Identifier::OrIds);
    check_principal(and(ids(&[yes.clone(), no.clone()])), None, false);
    check_principal(and(ids(&[yes.clone(), yes.clone()])), None, true);
    check_principal(or(ids(&[no.clone(), yes.clone()])), None, true);
    check_principal(or(ids(&[no.clone(), no.clone()])), None, false);
    check_principal(no_id(yes), None, false);
    check_principal(no_id(no), None, true);
}

#[track_caller]
fn check(action: Action, policies: &[(&str, Policy)], expected: Decision<'_>) {
    let engine = compile(&rbac(action, policies)).unwrap();
    assert_eq!(engine.decide(&facts(None)), expected);
}

#[test]
fn the_first_policy_by_name_decides() {
    let yes = || policy(Rule::Any(true), Identifier::Any(true));
    let no_permission = policy(Rule::DestinationPort(1), Identifier::Any(true));
    let no_principal = policy(Rule::Any(true), named("x"));
    let policies = [
        ("c", yes()),
        ("b", yes()),
        ("a", no_principal.clone()),
        ("A", no_permission.clone()),
    ];
    let policy = Some("b");
    check(Action::Allow, &policies, Decision::Allow { policy });
    check(Action::Deny, &policies, Decision::Deny { policy });
    check(Action::Log, &policies, Decision::Log { policy });
    let policies = [("a", no_principal), ("b", no_permission)];
    let policy = None;
    for policies in [&policies[..], &[]] {
        check(Action::Allow, policies, Decision::Deny { policy });
        check(Action::Deny, policies, Decision::Allow { policy });
        check(Action::Log, policies, Decision::Log { policy });
    }
    assert!(Engine::deny_all().decide(&facts(None)).is_denied());
}

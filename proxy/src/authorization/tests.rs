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
        protobuf::UInt32Value,
    },
};

use super::*;
use crate::compile::{Fault, Findings};

mod agreement;

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

#[track_caller]
fn check_faults(message: &Rbac, expected: &[&str]) {
    assert_eq!(compile(message).unwrap_err(), expected);
}

#[track_caller]
fn check_permission_fault(rule: Option<Rule>, fault: &str) {
    let message = Policy {
        permissions: vec![Permission { rule }],
        principals: vec![principal(Identifier::Any(true))],
        ..Policy::default()
    };
    let fault = format!("rules.policies[\"p\"].permissions[0].{fault}");
    check_faults(&rbac(Action::Allow, &[("p", message)]), &[&fault]);
}

#[track_caller]
fn check_principal_fault(identifier: Option<Identifier>, fault: &str) {
    let message = Policy {
        permissions: vec![permission(Rule::Any(true))],
        principals: vec![Principal { identifier }],
        ..Policy::default()
    };
    let fault = format!("rules.policies[\"p\"].principals[0].{fault}");
    check_faults(&rbac(Action::Deny, &[("p", message)]), &[&fault]);
}

fn extension() -> TypedExtensionConfig {
    TypedExtensionConfig {
        name: "envoy.x".to_owned(),
        typed_config: None,
    }
}

const NO_METADATA: &str =
    "is not supported: no network filter of this proxy sets metadata or filter state";

#[expect(deprecated, reason = "what is refused is refused in its old form, too")]
#[test]
fn what_a_permission_asks_for_in_vain_is_a_fault() {
    let check = check_permission_fault;
    check(None, "rule: is missing");
    check(Some(Rule::Any(false)), "any: must be true");
    let none = permission::Set::default();
    check(
        Some(Rule::AndRules(none.clone())),
        "and_rules.rules: is empty",
    );
    check(Some(Rule::OrRules(none)), "or_rules.rules: is empty");
    let port = Some(Rule::DestinationPort(65536));
    check(
        port,
        "destination_port: 65536 is no port, which is at most 65535",
    );
    for (start, end, fault) in [
        (-1, 1, ".start: -1 is out of the bounds 0 and 65536"),
        (1, 65537, ".end: 65537 is out of the bounds 0 and 65536"),
        (5, 5, ": holds no port: its start 5 is not below its end 5"),
    ] {
        check(
            Some(ports(start, end)),
            &format!("destination_port_range{fault}"),
        );
    }
    let address = Some(Rule::DestinationIp(range("ten", 8)));
    check(
        address,
        "destination_ip.address_prefix: 'ten' is no IP address",
    );
    let name = Some(Rule::RequestedServerName(StringMatcher::default()));
    check(name, "requested_server_name.match_pattern: is missing");
    let header = Some(Rule::Header(HeaderMatcher::default()));
    check(header, "header: a network filter sees no headers of HTTP");
    let no_path = Some(Rule::UrlPath(PathMatcher::default()));
    check(no_path, "url_path.rule: is missing");
    let metadata = Some(Rule::Metadata(MetadataMatcher::default()));
    check(metadata, &format!("metadata: {NO_METADATA}"));
    let metadata = Some(Rule::SourcedMetadata(SourcedMetadata::default()));
    check(metadata, &format!("sourced_metadata: {NO_METADATA}"));
    let matcher = Some(Rule::Matcher(extension()));
    check(matcher, "matcher: the extension 'envoy.x' is not supported");
    let template = Some(Rule::UriTemplate(extension()));
    check(
        template,
        "uri_template: the extension 'envoy.x' is not supported",
    );
    let deep = rules(&[no_rule(Rule::Any(false))]);
    check(
        Some(Rule::OrRules(deep)),
        "or_rules.rules[0].not_rule.any: must be true",
    );
}

#[expect(deprecated, reason = "what is refused is refused in its old form, too")]
#[test]
fn what_a_principal_asks_for_in_vain_is_a_fault() {
    let check = check_principal_fault;
    check(None, "identifier: is missing");
    check(Some(Identifier::Any(false)), "any: must be true");
    let none = principal::Set::default();
    check(
        Some(Identifier::AndIds(none.clone())),
        "and_ids.ids: is empty",
    );
    check(Some(Identifier::OrIds(none)), "or_ids.ids: is empty");
    let name = Identifier::Authenticated(Authenticated {
        principal_name: Some(StringMatcher::default()),
    });
    let fault = "authenticated.principal_name.match_pattern: is missing";
    check(Some(name), fault);
    for (name, of_range) in [
        ("source_ip", Identifier::SourceIp as fn(_) -> _),
        ("remote_ip", Identifier::RemoteIp),
        ("direct_remote_ip", Identifier::DirectRemoteIp),
    ] {
        let fault = format!("{name}.prefix_len: 33 is longer than an address is");
        check(Some(of_range(range("10.0.0.0", 33))), &fault);
    }
    let header = Some(Identifier::Header(HeaderMatcher::default()));
    check(header, "header: a network filter sees no headers of HTTP");
    let no_path = Some(Identifier::UrlPath(PathMatcher::default()));
    check(no_path, "url_path.rule: is missing");
    let metadata = Some(Identifier::Metadata(MetadataMatcher::default()));
    check(metadata, &format!("metadata: {NO_METADATA}"));
    let metadata = Some(Identifier::SourcedMetadata(SourcedMetadata::default()));
    check(metadata, &format!("sourced_metadata: {NO_METADATA}"));
    let state = Some(Identifier::FilterState(FilterStateMatcher::default()));
    check(state, &format!("filter_state: {NO_METADATA}"));
    let custom = Some(Identifier::Custom(extension()));
    check(custom, "custom: the extension 'envoy.x' is not supported");
    let deep = ids(&[no_id(Identifier::Any(false))]);
    check(
        Some(Identifier::AndIds(deep)),
        "and_ids.ids[0].not_id.any: must be true",
    );
}

#[test]
fn each_fault_of_the_policies_is_told() {
    let logger = |is_optional| AuditLoggerConfig {
        audit_logger: Some(extension()),
        is_optional,
    };
    let message = Rbac {
        action: 7,
        policies: [
            ("b", Policy::default()),
            (
                "a",
                Policy {
                    condition: Some(Expr::default()),
                    checked_condition: Some(CheckedExpr::default()),
                    ..policy(Rule::Any(true), Identifier::Any(false))
                },
            ),
        ]
        .map(|(name, policy)| (name.to_owned(), policy))
        .into(),
        audit_logging_options: Some(AuditLoggingOptions {
            audit_condition: 9,
            logger_configs: vec![logger(true), logger(false)],
        }),
    };
    check_faults(
        &message,
        &[
            "rules.action: 7 is no action",
            "rules.audit_logging_options.audit_condition: 9 is no condition",
            "rules.audit_logging_options.logger_configs[1]: the audit logger 'envoy.x' is not supported",
            "rules.policies[\"a\"].principals[0].any: must be true",
            "rules.policies[\"a\"].condition: expressions of CEL are not supported",
            "rules.policies[\"a\"].checked_condition: expressions of CEL are not supported",
            "rules.policies[\"b\"].permissions: is empty",
            "rules.policies[\"b\"].principals: is empty",
        ],
    );
}

#[test]
fn an_audit_logger_that_is_optional_is_left_out() {
    let message = Rbac {
        audit_logging_options: Some(AuditLoggingOptions {
            audit_condition: 0,
            logger_configs: vec![AuditLoggerConfig {
                audit_logger: Some(extension()),
                is_optional: true,
            }],
        }),
        ..rbac(Action::Deny, &[])
    };
    let findings = Findings::default();
    assert!(Engine::compile(&findings.at("rules"), &message).is_some());
    assert_eq!(findings.faults(), []);
    assert_eq!(findings.unsupported().len(), 1);
}

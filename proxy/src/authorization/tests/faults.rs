//! What is asked for in vain.

use super::*;

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
    let nothing = Some(mtls(SanType::Uri, None, false));
    check(
        nothing,
        "custom.typed_config: asks for nothing: it needs a san_matcher or any_validated_client_certificate",
    );
    let dns = Some(mtls(SanType::Dns, Some("x"), true));
    let fault = "custom.typed_config.san_matcher.san_type: is not supported: only URI is";
    check(dns, fault);
    let deep = ids(&[no_id(Identifier::Any(false))]);
    check(
        Some(Identifier::AndIds(deep)),
        "and_ids.ids[0].not_id.any: must be true",
    );
}

#[test]
fn each_fault_of_the_policies_is_told() {
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
            logger_configs: Vec::new(),
        }),
    };
    check_faults(
        &message,
        &[
            "rules.action: 7 is no action",
            "rules.audit_logging_options.audit_condition: 9 is no condition",
            "rules.policies[\"a\"].principals[0].any: must be true",
            "rules.policies[\"a\"].condition: expressions of CEL are not supported",
            "rules.policies[\"a\"].checked_condition: expressions of CEL are not supported",
            "rules.policies[\"b\"].permissions: is empty",
            "rules.policies[\"b\"].principals: is empty",
        ],
    );
}

#[test]
fn an_audit_logger_is_left_out_and_told() {
    let message = Rbac {
        audit_logging_options: Some(AuditLoggingOptions {
            audit_condition: 0,
            logger_configs: vec![AuditLoggerConfig {
                audit_logger: Some(extension()),
                is_optional: false,
            }],
        }),
        ..rbac(Action::Deny, &[])
    };
    let findings = Findings::default();
    assert!(Engine::compile(&findings.at("rules"), &message).is_some());
    assert_eq!(findings.faults(), []);
    let told: Vec<_> = findings
        .unsupported()
        .iter()
        .map(Fault::to_string)
        .collect();
    let path = "rules.audit_logging_options.logger_configs[0]";
    assert_eq!(
        told,
        [format!("{path}: the audit logger 'envoy.x' is not run")]
    );
}

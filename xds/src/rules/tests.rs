use std::collections::HashSet;

use super::*;
use crate::descriptors::{Field, Kind};

/// All messages below `message`, itself included.
fn below(message: MessageType, seen: &mut HashSet<MessageType>) {
    if !seen.insert(message) {
        return;
    }
    for field in message.fields() {
        if let Kind::Message(inner) = field.kind() {
            below(inner, seen);
        }
    }
}

fn all_fields() -> Vec<Field> {
    let bytes = std::fs::read(env!("FAIRLEAD_ENVOY_DESCRIPTORS")).expect("the build found them");
    let pool = prost_reflect::DescriptorPool::decode(&*bytes).expect("they are sound");
    let messages = pool.all_messages();
    let messages = messages.map(|message| MessageType::named(message.full_name()).expect("known"));
    messages.flat_map(MessageType::fields).collect()
}

#[test]
fn all_rules_of_the_definitions_are_read() {
    // Patterns that are no regular expressions would panic here.
    let fields = all_fields();
    let rules = fields.iter().filter_map(|field| field.rules());
    assert!(rules.map(FieldRules::decode).count() > 1000);
}

#[test]
fn no_definition_asks_for_what_is_not_checked() {
    for field in all_fields() {
        let Some(bytes) = field.rules() else { continue };
        let rules = validate::FieldRules::decode(bytes).expect("sound");
        let checked = match rules.r#type {
            Some(validate::field_rules::Type::Bytes(rules)) => {
                validate::BytesRules {
                    min_len: None,
                    max_len: None,
                    ..rules
                } == validate::BytesRules::default()
            }
            Some(validate::field_rules::Type::Duration(rules)) => {
                rules.r#in.is_empty() && rules.not_in.is_empty()
            }
            Some(validate::field_rules::Type::Any(rules)) => rules.not_in.is_empty(),
            Some(validate::field_rules::Type::Timestamp(_)) => false,
            _ => true,
        };
        assert!(checked, "{field:?}");
    }
}

#[track_caller]
fn check(rules: validate::field_rules::Type, scalar: &Scalar, expected: Option<&str>) {
    let rules = FieldRules::of(validate::FieldRules {
        message: None,
        r#type: Some(rules),
    });
    assert_eq!(rules.check(scalar).as_deref(), expected);
}

#[test]
fn each_fault_says_what_must_be() {
    use validate::field_rules::Type;

    let number = |rules| Type::Uint32(rules);
    let five = Scalar::Unsigned(5);
    let rules = validate::UInt32Rules {
        gt: Some(5),
        lte: Some(9),
        ..Default::default()
    };
    check(
        number(rules),
        &five,
        Some("must be greater than 5 and at most 9"),
    );
    let rules = validate::UInt32Rules {
        r#in: vec![1, 2],
        ..Default::default()
    };
    check(number(rules), &five, Some("must be one of 1, 2"));
    let rules = validate::UInt32Rules {
        gte: Some(100),
        ignore_empty: Some(true),
        ..Default::default()
    };
    check(number(rules.clone()), &Scalar::Unsigned(0), None);
    check(number(rules), &five, Some("must be at least 100"));

    let text = |rules| Type::String(rules);
    let string = |text: &str| Scalar::String(text.to_owned());
    let rules = validate::StringRules {
        min_len: Some(1),
        max_len: Some(3),
        ..Default::default()
    };
    check(
        text(rules.clone()),
        &string(""),
        Some("must be at least 1 character long"),
    );
    check(
        text(rules.clone()),
        &string("äöüß"),
        Some("has 4 characters; their number must be at least 1 and at most 3"),
    );
    check(text(rules), &string("äöü"), None);
    let rules = validate::StringRules {
        pattern: Some("^[a-z]*$".to_owned()),
        ..Default::default()
    };
    check(
        text(rules),
        &string("A"),
        Some("must match ^[a-z]*$, unlike 'A'"),
    );
    let rules = validate::StringRules {
        r#in: vec!["UF".to_owned(), "UH".to_owned()],
        ..Default::default()
    };
    check(text(rules), &string("A"), Some("must be one of UF, UH"));
    let rules = validate::StringRules {
        prefix: Some("%".to_owned()),
        ..Default::default()
    };
    check(text(rules), &string("A"), Some("must begin with '%'"));
    let rules = validate::BoolRules {
        r#const: Some(true),
    };
    check(
        Type::Bool(rules),
        &Scalar::Bool(false),
        Some("must be true"),
    );
}

#[test]
fn the_messages_of_a_bootstrap_are_all_in_the_tables() {
    let bootstrap = MessageType::named("envoy.config.bootstrap.v3.Bootstrap").expect("known");
    let mut seen = HashSet::new();
    below(bootstrap, &mut seen);
    assert!(seen.len() > 200);
}

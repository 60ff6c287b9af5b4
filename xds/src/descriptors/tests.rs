use prost_reflect::{Cardinality, DescriptorPool};

use super::*;

/// The same descriptors, as another program reads them.
fn pool() -> DescriptorPool {
    let bytes = std::fs::read(env!("FAIRLEAD_ENVOY_DESCRIPTORS")).expect("the build found them");
    DescriptorPool::decode(&*bytes).expect("they are sound")
}

#[test]
fn the_tables_say_what_the_descriptors_say() {
    let mut messages = 0;
    for expected in pool().all_messages() {
        let name = expected.full_name();
        let message = MessageType::named(name).expect(name);
        assert_eq!(message.name(), name);
        assert_eq!(message.is_map_entry(), expected.is_map_entry());
        let oneofs: Vec<_> = message.oneofs().map(Oneof::name).collect();
        let real = expected.oneofs().filter(|oneof| !oneof.is_synthetic());
        let real: Vec<_> = real.map(|oneof| oneof.name().to_owned()).collect();
        assert_eq!(oneofs, real, "{name}");
        assert_eq!(message.fields().count(), expected.fields().len(), "{name}");
        for expected in expected.fields() {
            let field = message.numbered(expected.number()).expect(name);
            let full = expected.full_name();
            assert_eq!(field.name(), expected.name());
            assert_eq!(message.field(expected.json_name()), Some(field), "{full}");
            assert_eq!(message.field(expected.name()), Some(field), "{full}");
            assert_eq!(
                field.is_repeated(),
                expected.cardinality() == Cardinality::Repeated
            );
            assert_eq!(field.is_packed(), expected.is_packed(), "{full}");
            let present = expected.supports_presence();
            assert_eq!(field.has_presence(), present, "{full}");
            assert_eq!(field.map_entry().is_some(), expected.is_map(), "{full}");
            check_kind(field.kind(), &expected.kind());
        }
        messages += 1;
    }
    // And the two that are added.
    assert_eq!(MESSAGES.rows(), messages + 2);
}

#[track_caller]
fn check_kind(kind: Kind, expected: &prost_reflect::Kind) {
    match (kind, expected) {
        (Kind::Message(message), prost_reflect::Kind::Message(expected)) => {
            assert_eq!(message.name(), expected.full_name());
        }
        (Kind::Enum(r#enum), prost_reflect::Kind::Enum(expected)) => {
            assert_eq!(r#enum.name(), expected.full_name());
            let values: Vec<_> = r#enum.values().collect();
            let mut known: Vec<_> = expected.values().collect();
            known.sort_by_key(prost_reflect::EnumValueDescriptor::number);
            for value in &known {
                assert_eq!(r#enum.number(value.name()), Some(value.number()));
            }
            assert_eq!(values.len(), known.len());
            assert_eq!(values[0].1, expected.default_value().number());
        }
        _ => {
            let name = format!("{kind:?}").to_lowercase();
            assert_eq!(name, format!("{expected:?}"));
        }
    }
}

#[test]
fn a_message_is_found_by_its_url() {
    let check = |url, expected: Option<&str>| {
        assert_eq!(MessageType::of_url(url).map(MessageType::name), expected);
    };
    check(
        "type.googleapis.com/udpa.type.v1.TypedStruct",
        Some("udpa.type.v1.TypedStruct"),
    );
    check("xds.type.v3.TypedStruct", None);
    check("type.googleapis.com/stats.PluginConfig", None);
    check("", None);
}

#[test]
fn the_options_that_envoy_adds_are_known() {
    let field = |message, name| {
        let message = MessageType::named(message).expect("a message");
        message.field(name).expect("a field")
    };
    let tls = "envoy.extensions.transport_sockets.tls.v3.TlsCertificate";
    assert!(field(tls, "private_key").is_sensitive());
    assert!(!field(tls, "certificate_chain").is_sensitive());
    let cluster = "envoy.config.cluster.v3.Cluster";
    assert!(field(cluster, "name").rules().is_some());
    assert!(field(cluster, "max_requests_per_connection").is_deprecated());
    let tracer = "envoy.config.trace.v3.DynamicOtConfig";
    assert!(field(tracer, "library").is_disallowed());
    let address = MessageType::named("envoy.config.core.v3.Address").expect("a message");
    let oneof = address.oneofs().next().expect("a oneof");
    assert_eq!((oneof.name(), oneof.is_required()), ("address", true));
}

use std::sync::LazyLock;

use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use super::*;
use crate::{
    envoy::{
        config::{cluster::v3::Cluster, core::v3 as core},
        extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret},
    },
    google::protobuf::{self, Any},
    prost::{Message, Name},
    read::{self, Format, UnknownFields, read_message},
};

#[track_caller]
fn check<M: Message + Name>(message: &M, expected: &str) {
    let json = message_to_json(message, Layout::Compact, Secrets::Redact);
    assert_eq!(json.expect("it is sound"), expected);
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

fn cluster(text: &str) -> Cluster {
    let read = read_message(text.as_bytes(), Format::Yaml, UnknownFields::Refuse);
    read.expect("it is sound").message
}

#[test]
fn a_message_prints_as_envoy_prints_it() {
    check(&Cluster::default(), "{}");
    let text = "
type: STRICT_DNS
name: a
connect_timeout: 0.25s
ring_hash_lb_config: {minimum_ring_size: 8, hash_function: MURMUR_HASH_2}
common_lb_config: {healthy_panic_threshold: {value: 50.0}}
metadata: {filter_metadata: {z: {b: [1, null, x]}, a: {}}}
upstream_connection_options: {tcp_keepalive: {keepalive_time: 10}}
";
    check(
        &cluster(text),
        concat!(
            r#"{"name":"a","type":"STRICT_DNS","connect_timeout":"0.250s","#,
            r#""ring_hash_lb_config":{"minimum_ring_size":"8","hash_function":"MURMUR_HASH_2"},"#,
            r#""metadata":{"filter_metadata":{"a":{},"z":{"b":[1,null,"x"]}}},"#,
            r#""common_lb_config":{"healthy_panic_threshold":{"value":50}},"#,
            r#""upstream_connection_options":{"tcp_keepalive":{"keepalive_time":10}}}"#
        ),
    );
}

#[test]
fn the_pretty_form_has_one_space_for_each_level() {
    let cluster = cluster("name: a\nmetadata: {filter_metadata: {b: {}}}");
    let json = message_to_json(&cluster, Layout::Pretty, Secrets::Redact);
    let expected = "{\n \"name\": \"a\",\n \"metadata\": {\n  \"filter_metadata\": {\n   \"b\": {}\n  }\n }\n}";
    assert_eq!(json.expect("it is sound"), expected);
}

#[test]
fn a_nested_message_prints_its_type_first() {
    let socket = |config| core::TransportSocket {
        name: "a".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(config)),
    };
    let typed = |config, expected: &str| {
        let expected = format!(r#"{{"name":"a","typed_config":{expected}}}"#);
        check(&socket(config), &expected);
    };
    typed(
        any(&Cluster {
            name: "b".to_owned(),
            ..Cluster::default()
        }),
        r#"{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"b"}"#,
    );
    typed(
        any(&protobuf::Duration {
            seconds: 1,
            nanos: 0,
        }),
        r#"{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}"#,
    );
    typed(
        Any {
            type_url: "type.googleapis.com/stats.PluginConfig".to_owned(),
            value: vec![255],
        },
        r#"{"@type":"type.googleapis.com/stats.PluginConfig"}"#,
    );
    typed(Any::default(), "{}");
}

#[test]
fn the_old_name_of_a_struct_with_a_type_is_known() {
    let text = r#"{
      "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
      "type_url": "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange",
      "value": {"protocol": "istio-peer-exchange"}
    }"#;
    let read: Any = read_message(text.as_bytes(), Format::Json, UnknownFields::Refuse)
        .expect("it is sound")
        .message;
    let expected: String = text.split_whitespace().collect();
    check(&read, &expected);
}

#[test]
fn secrets_are_redacted() {
    let inline = |text: &str| core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(text.to_owned())),
        ..core::DataSource::default()
    };
    let bytes = core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineBytes(vec![1])),
        ..core::DataSource::default()
    };
    let secret = Secret {
        name: "a".to_owned(),
        r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline("public")),
            private_key: Some(inline("private")),
            password: Some(bytes),
            ..TlsCertificate::default()
        })),
    };
    let expected = concat!(
        r#"{"name":"a","tls_certificate":{"certificate_chain":{"inline_string":"public"},"#,
        r#""private_key":{"inline_string":"[redacted]"},"#,
        r#""password":{"inline_bytes":"W3JlZGFjdGVkXQ=="}}}"#
    );
    check(&secret, expected);
    let open = message_to_json(&secret, Layout::Compact, Secrets::Print);
    assert!(
        open.expect("it is sound")
            .contains(r#""inline_string":"private""#)
    );
}

#[test]
fn secrets_are_redacted_in_values_of_a_named_type() {
    let text = r#"{
      "@type": "type.googleapis.com/xds.type.v3.TypedStruct",
      "type_url": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
      "value": {"name": "a", "tls_certificate": {"private_key": {"inline_string": "private"}}}
    }"#;
    let read: Any = read_message(text.as_bytes(), Format::Json, UnknownFields::Refuse)
        .expect("it is sound")
        .message;
    let expected: String = text.replace("private\"}", "[redacted]\"}");
    let expected: String = expected.split_whitespace().collect();
    check(&read, &expected);
}

#[track_caller]
fn refused(type_url: &str, bytes: &[u8], expected: &str) {
    let json = to_json(type_url, bytes, Layout::Compact, Secrets::Redact);
    assert_eq!(json.expect_err("it has a fault").to_string(), expected);
}

#[test]
fn bytes_that_are_no_message_are_told_with_its_type() {
    refused("a.B", &[], "'a.B' is no message that is known");
    let cluster = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    refused(
        cluster,
        &[0x0a],
        "the bytes are no envoy.config.cluster.v3.Cluster: they end inside a field",
    );
    refused(
        cluster,
        &[0x0a, 1, 255],
        "the bytes are no envoy.config.cluster.v3.Cluster: its field 'name' has another type",
    );
    refused(
        cluster,
        &[0x08, 1],
        "the bytes are no envoy.config.cluster.v3.Cluster: its field 'name' has another type",
    );
    let mut deep = Vec::new();
    for _ in 0..150 {
        let mut outer = vec![];
        crate::wire::put_bytes(&mut outer, 6, &{
            let mut list = vec![];
            crate::wire::put_bytes(&mut list, 1, &deep);
            list
        });
        deep = outer;
    }
    refused(
        "google.protobuf.Value",
        &deep,
        "the bytes of google.protobuf.Value nest deeper than 100 messages",
    );
}

#[test]
fn of_a_field_that_is_sent_twice_the_last_holds_and_messages_are_merged() {
    let first = cluster("name: a\nmetadata: {filter_metadata: {a: {}}}\ntype: EDS");
    let second = cluster("name: b\nmetadata: {filter_metadata: {b: {}}}\ncluster_type: {name: c}");
    let bytes = [first.encode_to_vec(), second.encode_to_vec()].concat();
    let json = to_json(
        &Cluster::full_name(),
        &bytes,
        Layout::Compact,
        Secrets::Redact,
    );
    assert_eq!(
        json.expect("it is sound"),
        r#"{"name":"b","metadata":{"filter_metadata":{"a":{},"b":{}}},"cluster_type":{"name":"c"}}"#
    );
}

static POOL: LazyLock<DescriptorPool> = LazyLock::new(read::tests::pool);

/// With all numbers of one kind, which is how JSON sees them.
fn floats(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => serde_json::json!(number.as_f64().map(|number| number + 0.0)),
        Value::Array(list) => list.into_iter().map(floats).collect(),
        Value::Object(map) => {
            let entries = map.into_iter().map(|(key, value)| (key, floats(value)));
            Value::Object(entries.collect())
        }
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn another_writer_prints_the_same(seed: u64) {
        let mut generator = read::tests::Generator::new(seed);
        for name in read::tests::SAMPLES {
            let message = MessageType::named(name).expect("a message");
            let text = generator.text(message);
            let read = read::read_encoded(name, text.as_bytes(), Format::Json, UnknownFields::Refuse);
            let Ok(read) = read else { continue };
            let json = to_json(name, &read.message, Layout::Pretty, Secrets::Print);
            let json = json.expect("what was read is sound");
            let ours: serde_json::Value = serde_json::from_str(&json).expect("JSON");

            let descriptor = POOL.get_message_by_name(name).expect("a message");
            let judge = DynamicMessage::decode(descriptor, &*read.message).expect("sound");
            let options = SerializeOptions::new().use_proto_field_name(true);
            let expected = judge.serialize_with_options(serde_json::value::Serializer, &options);
            // It has no form for numbers without an end in wrappers.
            prop_assert_eq!(floats(ours), floats(expected.expect("JSON")), "{}", text);

            let again = read::read_encoded(name, json.as_bytes(), Format::Json, UnknownFields::Refuse);
            prop_assert_eq!(again.map(|read| read.message), Ok(read.message), "{}", json);
        }
    }

    #[test]
    fn any_bytes_are_printed_without_a_panic(bytes: Vec<u8>) {
        for name in read::tests::SAMPLES {
            let _ = to_json(name, &bytes, Layout::Pretty, Secrets::Redact);
        }
    }
}

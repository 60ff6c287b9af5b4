use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage};

use super::*;
use crate::{
    envoy::config::{cluster::v3::Cluster, core::v3 as core, listener::v3::Listener},
    google::protobuf,
};

mod generator;

pub(crate) use generator::Generator;

/// The faults of a text for a message, in lines.
#[track_caller]
fn faults(message: &str, text: &str) -> Vec<String> {
    let read = read_encoded(
        message,
        text.as_bytes(),
        Format::Unknown,
        UnknownFields::Refuse,
    );
    let faults = read.expect_err("it has a fault");
    faults.iter().map(Fault::to_string).collect()
}

#[track_caller]
fn listener(text: &str, expected: &[&str]) {
    assert_eq!(faults("envoy.config.listener.v3.Listener", text), expected);
}

#[track_caller]
fn cluster(text: &str, expected: &[&str]) {
    let text = format!("name: a\n{text}");
    assert_eq!(faults("envoy.config.cluster.v3.Cluster", &text), expected);
}

#[track_caller]
fn read<M: Message + Name + Default>(text: &str) -> M {
    let read = read_message(text.as_bytes(), Format::Unknown, UnknownFields::Refuse);
    read.expect("it is sound").message
}

#[test]
fn both_spellings_of_a_name_are_read() {
    let snake: Listener = read("stat_prefix: a\nper_connection_buffer_limit_bytes: 5");
    let camel: Listener = read(r#"{"statPrefix":"a","perConnectionBufferLimitBytes":"5"}"#);
    assert_eq!(snake, camel);
    let limit = snake.per_connection_buffer_limit_bytes;
    assert_eq!(limit, Some(protobuf::UInt32Value { value: 5 }));
}

#[test]
fn an_unknown_field_is_a_fault_with_its_path() {
    listener(
        "stat_prefx: a",
        &["stat_prefx: unknown field; did you mean 'stat_prefix'?"],
    );
    listener(
        "bananas: 1",
        &["bananas: unknown field of envoy.config.listener.v3.Listener"],
    );
    let text = "
filter_chains:
- filters:
  - name: tcp
    typed_config:
      '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
      stat_prefx: ingress
      cluster: a
      idle_timeout: 5
";
    listener(
        text,
        &[
            "filter_chains[0].filters[0].typed_config.stat_prefx: unknown field; did you mean 'stat_prefix'?",
            "filter_chains[0].filters[0].typed_config.idle_timeout: expected a duration in seconds such as '1.5s', found 5",
            "filter_chains[0].filters[0].typed_config.stat_prefix: is missing; it must be at least 1 character long",
        ],
    );
}

#[test]
fn an_unknown_field_can_be_skipped() {
    let text = b"name: a\nbananas: 1";
    let read = read_message::<Cluster>(text, Format::Yaml, UnknownFields::Skip);
    let read = read.expect("it is sound");
    assert_eq!(read.message.name, "a");
    let warnings: Vec<_> = read.warnings.iter().map(Fault::to_string).collect();
    let warning = "bananas: is unknown to envoy.config.cluster.v3.Cluster and left out";
    assert_eq!(warnings, [warning]);
}

#[test]
fn a_deprecated_field_is_warned_of() {
    let text = b"{name: a, max_requests_per_connection: 1}";
    let read = read_message::<Cluster>(text, Format::Yaml, UnknownFields::Refuse);
    let warnings = read.expect("it is sound").warnings;
    let expected = "max_requests_per_connection: is deprecated";
    assert_eq!(warnings[0].to_string(), expected);
}

#[test]
fn a_value_of_another_type_is_a_fault() {
    listener(
        "name: 3",
        &["name: expected a string (put it in quotes), found 3"],
    );
    listener("name: [a]", &["name: expected a string, found a list"]);
    listener("name: {a: 1}", &["name: expected a string, found a map"]);
    listener(
        "ignore_global_conn_limit: 'true'",
        &["ignore_global_conn_limit: expected true or false, found 'true'"],
    );
    listener(
        "filter_chains: {}",
        &["filter_chains: expected a list, found a map"],
    );
    listener(
        "filter_chains: [null]",
        &["filter_chains[0]: is null, which no element of this list can be"],
    );
    listener(
        "filter_chains: [5]",
        &["filter_chains[0]: expected a map, found 5"],
    );
    listener(
        "tcp_fast_open_queue_length: -1",
        &["tcp_fast_open_queue_length: expected a whole number from 0 to 4294967295, found -1"],
    );
    listener(
        "tcp_fast_open_queue_length: 1.5",
        &["tcp_fast_open_queue_length: expected a whole number from 0 to 4294967295, found 1.5"],
    );
    listener(
        "tcp_fast_open_queue_length: 4294967296",
        &[
            "tcp_fast_open_queue_length: expected a whole number from 0 to 4294967295, found 4294967296",
        ],
    );
    listener("[]", &["expected a map, found a list"]);
    listener(
        "traffic_direction: INWARDS",
        &["traffic_direction: expected one of UNSPECIFIED, INBOUND, OUTBOUND, found 'INWARDS'"],
    );
    listener(
        "listener_filters_timeout: 5m",
        &["listener_filters_timeout: expected a duration in seconds such as '1.5s', found '5m'"],
    );
    cluster(
        "metadata: {filter_metadata: {a: 1}}",
        &["metadata.filter_metadata[\"a\"]: expected a map, found 1"],
    );
    assert_eq!(
        faults("envoy.config.core.v3.DataSource", "inline_bytes: '*'"),
        ["inline_bytes: expected bytes in base64, found '*'"]
    );
    assert_eq!(
        faults(
            "envoy.data.accesslog.v3.AccessLogCommon",
            "{sample_rate: 1, start_time: noon}"
        ),
        ["start_time: expected a time such as '2026-11-21T08:30:00Z', found 'noon'"]
    );
}

#[test]
fn what_is_given_twice_is_a_fault() {
    listener("name: a\nname: b", &["name: is given twice"]);
    listener(
        "stat_prefix: a\nstatPrefix: b",
        &["statPrefix: is given twice"],
    );
    cluster(
        "metadata: {filter_metadata: {a: {b: 1, b: 2}, a: {}}}",
        &[
            "metadata.filter_metadata[\"a\"][\"b\"]: is given twice",
            "metadata.filter_metadata[\"a\"]: is given twice",
        ],
    );
    cluster(
        "type: STATIC\ncluster_type: {name: a}",
        &["cluster_type: excludes 'type', which is given, too; keep one of them"],
    );
}

#[test]
fn the_type_of_a_nested_message_must_be_known() {
    let check = |config: &str, expected: &str| {
        let text = format!("listener_filters: [{{name: a, typed_config: {config}}}]");
        listener(
            &text,
            &[&format!("listener_filters[0].typed_config.{expected}")],
        );
    };
    check(
        "{}",
        "@type: is missing; it names the type as 'type.googleapis.com/envoy.config.listener.v3.Listener' does",
    );
    check("{'@type': 1}", "@type: expected a type URL, found 1");
    check(
        "{'@type': envoy.admin.v3.Clusters}",
        "@type: 'envoy.admin.v3.Clusters' is no type URL; did you mean 'type.googleapis.com/envoy.admin.v3.Clusters'?",
    );
    check(
        "{'@type': type.googleapis.com/a.B}",
        "@type: 'type.googleapis.com/a.B' is no message that is known",
    );
    check(
        "{'@type': type.googleapis.com/a.B, '@type': type.googleapis.com/a.B}",
        "@type: is given twice",
    );
    check(
        "{'@type': type.googleapis.com/google.protobuf.Duration}",
        "value: is missing",
    );
    check(
        "{'@type': type.googleapis.com/google.protobuf.Duration, seconds: 1}",
        "seconds: unknown field; a google.protobuf.Duration stands in 'value'",
    );
}

#[test]
fn the_rules_of_the_definitions_are_checked() {
    assert_eq!(
        faults("envoy.config.cluster.v3.Cluster", "{}"),
        ["name: is missing; it must be at least 1 character long"]
    );
    cluster(
        "connect_timeout: 0s",
        &["connect_timeout: must be greater than 0s"],
    );
    cluster(
        "type: 77",
        &["type: must be one of STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST"],
    );
    cluster(
        "common_lb_config: {healthy_panic_threshold: {value: 101}}",
        &["common_lb_config.healthy_panic_threshold.value: must be at least 0 and at most 100"],
    );
    cluster(
        "ring_hash_lb_config: {minimum_ring_size: 8388609}",
        &["ring_hash_lb_config.minimum_ring_size: must be at most 8388608"],
    );
    cluster(
        "load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {}}}]}]}",
        &[
            "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address: needs one of socket_address, pipe, envoy_internal_address",
        ],
    );
    listener(
        "filter_chains: [{transport_socket: {}}]",
        &[
            "filter_chains[0].transport_socket.name: is missing; it must be at least 1 character long",
        ],
    );
    assert_eq!(
        faults(
            "envoy.config.core.v3.SocketAddress",
            "address: a\nport_value: 65536"
        ),
        ["port_value: must be at most 65535"]
    );
    assert_eq!(
        faults("envoy.config.core.v3.HeaderValue", "key: \"a\\nb\""),
        ["key: must be the name of a header, unlike 'a\\nb'"]
    );
    assert_eq!(
        faults("envoy.config.core.v3.HealthCheck", "timeout: 1s"),
        [
            "needs one of http_health_check, tcp_health_check, grpc_health_check, custom_health_check",
            "interval: is missing",
            "unhealthy_threshold: is missing",
            "healthy_threshold: is missing",
        ]
    );
}

#[test]
fn null_is_nothing() {
    let cluster: Cluster = read(r#"{"name":"a","connect_timeout":null,"metadata":null}"#);
    assert_eq!(cluster.connect_timeout, None);
    let value: protobuf::Struct = read("a: null");
    let kind = value.fields["a"].kind.clone();
    assert_eq!(kind, Some(protobuf::value::Kind::NullValue(0)));
}

#[test]
fn numbers_may_stand_in_quotes() {
    let address: core::SocketAddress = read("{address: a, port_value: '80'}");
    let same: core::SocketAddress = read("{address: a, port_value: 8e1}");
    assert_eq!(address, same);
    let wrong = faults(
        "envoy.config.core.v3.SocketAddress",
        "{address: a, port_value: '+80'}",
    );
    assert_eq!(wrong.len(), 1);
}

#[test]
fn an_enum_is_named_or_numbered() {
    let direction = |text: &str| read::<Listener>(&format!("traffic_direction: {text}"));
    assert_eq!(direction("OUTBOUND").traffic_direction, 2);
    assert_eq!(direction("2").traffic_direction, 2);
    listener(
        "traffic_direction: '2'",
        &["traffic_direction: expected one of UNSPECIFIED, INBOUND, OUTBOUND, found '2'"],
    );
}

#[test]
fn the_words_of_yaml_for_true_and_false_are_read() {
    let listener: Listener = read("ignore_global_conn_limit: yes");
    assert!(listener.ignore_global_conn_limit);
    let json = faults(
        "envoy.config.listener.v3.Listener",
        r#"{"ignore_global_conn_limit":"yes"}"#,
    );
    assert_eq!(json.len(), 1);
}

#[test]
fn a_message_that_does_not_exist_is_told() {
    assert_eq!(faults("a.B", "{}"), ["there is no message a.B"]);
}

#[test]
fn an_empty_text_is_told() {
    listener("", &["is empty"]);
    listener("# nothing", &["is empty"]);
}

#[test]
fn the_format_is_seen() {
    let check = |path: &str, expected| assert_eq!(Format::of_path(Path::new(path)), expected);
    check("a.json", Format::Json);
    check("a.b/envoy.yaml", Format::Yaml);
    check("envoy.yml", Format::Yaml);
    check("envoy", Format::Unknown);
    let _: Listener = read(" {name: a}");
    let faults = faults("envoy.config.listener.v3.Listener", "{\"a\": 1,\n]");
    assert_eq!(
        faults,
        ["is no JSON: key must be a string at line 2 column 1"]
    );
}

#[test]
fn the_number_of_faults_is_bounded() {
    let fields: Vec<_> = (0..5000)
        .map(|number| format!("unknown{number}: 1"))
        .collect();
    let faults = faults("envoy.config.listener.v3.Listener", &fields.join("\n"));
    assert_eq!(faults.len(), 1001);
    assert_eq!(faults[1000], "there are more faults than these");
}

#[test]
fn deep_values_are_told_not_overrun() {
    let deep = format!("{}1{}", "[".repeat(90), "]".repeat(90));
    let text = format!("{{\"a\": {deep}}}");
    let read =
        read_message::<protobuf::Struct>(text.as_bytes(), Format::Json, UnknownFields::Refuse);
    let faults = read.expect_err("prost reads no deeper");
    assert!(faults[0].message.contains("recursion limit"), "{faults:?}");
}

/// Messages with few rules, so that much of what is made up is sound.
pub(crate) const SAMPLES: &[&str] = &[
    "envoy.admin.v3.ClusterStatus",
    "envoy.admin.v3.ServerInfo",
    "envoy.config.core.v3.Metadata",
    "envoy.config.core.v3.Node",
    "envoy.config.endpoint.v3.LbEndpoint",
    "envoy.config.listener.v3.Listener",
    "envoy.data.accesslog.v3.TCPAccessLogEntry",
    "envoy.service.discovery.v3.DiscoveryResponse",
    "google.protobuf.Struct",
    "io.prometheus.client.MetricFamily",
];

pub(crate) fn pool() -> DescriptorPool {
    let bytes = std::fs::read(env!("FAIRLEAD_ENVOY_DESCRIPTORS")).expect("the build found them");
    DescriptorPool::decode(&*bytes).expect("they are sound")
}

thread_local! {
    static POOL: DescriptorPool = pool();
}

/// What another reader of the same descriptors makes of the text.
fn judge(message: &str, text: &str) -> Result<DynamicMessage, serde_json::Error> {
    let descriptor = POOL.with(|pool| pool.get_message_by_name(message).expect("a message"));
    let mut deserializer = serde_json::Deserializer::from_str(text);
    DynamicMessage::deserialize(descriptor, &mut deserializer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_accepted_another_reader_accepts(seed: u64) {
        let mut generator = Generator::new(seed);
        for name in SAMPLES {
            let message = MessageType::named(name).expect("a message");
            let text = generator.text(message);
            let read = read_encoded(name, text.as_bytes(), Format::Json, UnknownFields::Refuse);
            let Ok(read) = read else { continue };
            let judged = judge(name, &text);
            let judged = judged.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            let ours = DynamicMessage::decode(judged.descriptor(), &*read.message);
            // In bytes: what is no number does not equal itself.
            let ours = ours.expect("sound bytes").encode_to_vec();
            prop_assert_eq!(ours, judged.encode_to_vec(), "{}", text);
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(
        text in "(name|type|metadata|'@type'|load_assignment|[-?:,{}&*!|>'\"%@`# \n\\[\\]]|[a-c]|[0-9]){0,60}"
    ) {
        for format in [Format::Yaml, Format::Json, Format::Unknown] {
            let _ = read_message::<Cluster>(text.as_bytes(), format, UnknownFields::Refuse);
        }
    }
}

/// That the property above does not hold for want of anything that is accepted.
#[test]
fn much_of_what_is_made_up_is_accepted() {
    let mut accepted = 0;
    for seed in 0..200 {
        let mut generator = Generator::new(seed);
        for name in SAMPLES {
            let text = generator.text(MessageType::named(name).expect("a message"));
            let read = read_encoded(name, text.as_bytes(), Format::Json, UnknownFields::Refuse);
            accepted += usize::from(read.is_ok());
        }
    }
    assert!(accepted > 400, "only {accepted} of 2000");
}

#[test]
fn the_deepest_message_fits_the_stack() {
    let nested = |levels: usize| {
        let (open, close) = (r#"{"not_rule":"#.repeat(levels), "}".repeat(levels));
        format!(r#"{open}{{"any":true}}{close}"#)
    };
    let name = "envoy.config.rbac.v3.Permission";
    let read =
        |text: String| read_encoded(name, text.as_bytes(), Format::Json, UnknownFields::Refuse);
    assert!(read(nested(98)).is_ok());
    let faults = read(nested(100)).expect_err("it is too deep");
    assert!(faults[0].message.contains("deeper than 100"), "{faults:?}");
    let any = r#"{"@type":"type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig","name":"a","typed_config":"#;
    let (open, close) = (any.repeat(48), "}".repeat(48));
    let text = format!(r#"{{"resources":[{open}{{}}{close}]}}"#);
    let name = "envoy.service.discovery.v3.DiscoveryResponse";
    let read = read_encoded(name, text.as_bytes(), Format::Json, UnknownFields::Refuse);
    assert!(read.is_err());
}

use std::{
    net::SocketAddr,
    time::{Duration, Instant, UNIX_EPOCH},
};

use fairlead_xds::google::protobuf::{self, value::Kind};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde_json::json;

use super::*;
use crate::{
    access_log::{Attempt, CloseType, FilterState, KeptMetadata, LogType, Metadata, Times, Tls},
    ending::ResponseFlag,
};

fn socket(address: &str) -> Option<SocketAddr> {
    address.parse().ok()
}

#[derive(Debug)]
struct State(serde_json::Value);

impl FilterState for State {
    fn plain(&self, key: &str) -> Option<&str> {
        (key == "key").then_some("plain \"value\"")
    }

    fn typed(&self, key: &str) -> Option<&serde_json::Value> {
        (key == "key").then_some(&self.0)
    }

    fn field(&self, key: &str, field: &str) -> Option<&str> {
        (key == "key" && field == "a:b").then_some("inside")
    }
}

fn metadata() -> Metadata {
    let value = json!({
        "com.test": {
            "b": "bee", "big": 1e20, "f": false, "i": 3, "l": [1, "x", null, true], "n": 1.5,
            "o": {"n": 5, "z": null}, "q": "q\"\n",
        }
    });
    value.as_object().cloned().unwrap()
}

fn environment(name: &str) -> Option<String> {
    (name == "HOME").then(|| "/root".to_owned())
}

fn surroundings() -> Surroundings<'static> {
    Surroundings {
        environment: &environment,
        hostname: "vm",
        ..Surroundings::none()
    }
}

/// Calls the function with all fields of a connection that went well.
fn with_fields<T>(call: impl FnOnce(&Fields<'_>) -> T) -> T {
    let begin = Instant::now();
    let after = |micros| Some(begin + Duration::from_micros(micros));
    let metadata = metadata();
    let kept = KeptMetadata::from(metadata.clone());
    let tls = Tls {
        version: Some("TLSv1.3"),
        cipher: Some("TLS_AES_256_GCM_SHA384"),
        group: Some("X25519"),
        session_id: &[0xea, 0x0c],
        server_name: Some("up.example"),
        ..Tls::default()
    };
    let attempts = [
        Attempt {
            host: "10.0.0.9:80".parse().unwrap(),
            name: None,
            connection_id: None,
        },
        Attempt {
            host: "[fd00::2]:80".parse().unwrap(),
            name: Some("host.example:80"),
            connection_id: Some(1),
        },
    ];
    call(&Fields {
        log_type: LogType::TcpConnectionEnd,
        start: UNIX_EPOCH + Duration::new(1_795_300_103, 487_688_000),
        now: UNIX_EPOCH + Duration::new(1_795_300_104, 1_000_000),
        duration: Duration::from_micros(42_900),
        times: Times {
            downstream_begin: Some(begin),
            downstream_handshake_end: after(3_500),
            downstream_end: after(42_900),
            upstream_connect_begin: after(4_000),
            upstream_connect_end: after(4_077),
            upstream_handshake_end: after(6_830),
            pool_asked: after(4_000),
            pool_ready: after(6_999),
        },
        flags: [
            ResponseFlag::UpstreamRetryLimitExceeded,
            ResponseFlag::UpstreamConnectionFailure,
        ]
        .into_iter()
        .collect(),
        details: Some("some detail"),
        termination_details: Some("rbac_access_denied"),
        upstream_failure: Some("connect to [fd00::2]:80: \"refused\"\nthere"),
        downstream_failure: Some("tls: bad"),
        upstream_close_reason: Some("up"),
        downstream_close_reason: Some("down"),
        upstream_close: CloseType::RemoteReset,
        downstream_close: CloseType::LocalReset,
        bytes_received: 2,
        bytes_sent: 11,
        upstream_bytes_received: 12,
        upstream_bytes_sent: 3,
        attempts: 2,
        attempted: &attempts,
        connection_id: Some(7),
        upstream_connection_id: Some(8),
        stream_id: Some(0xce01_eb72_b91c_4e39_90c5_42f4_edbc_4a49),
        upstream_host: socket("[fd00::2]:80"),
        upstream_host_name: Some("host.example:80"),
        upstream_cluster: Some("alt_good"),
        upstream_cluster_raw: Some("good"),
        upstream_local: socket("10.1.2.3:56734"),
        upstream_remote: socket("[fd00::2]:81"),
        downstream_local: socket("127.0.0.1:19871"),
        downstream_remote: socket("127.1.2.3:37446"),
        downstream_direct_local: None,
        downstream_direct_remote: socket("127.0.0.9:5"),
        downstream_round_trip: Some(Duration::from_micros(1_900)),
        requested_server_name: Some("server.example"),
        ja3: None,
        ja4: Some("t13d"),
        route_name: None,
        filter_chain_name: Some("chain1"),
        listener_name: Some("ok"),
        downstream_tls: Some(tls),
        upstream_tls: Some(tls),
        dynamic_metadata: None,
        cluster_metadata: Some(&kept),
        upstream_metadata: Some(&metadata),
        route_metadata: None,
        listener_metadata: Some(&kept),
        filter_chain_metadata: Some(&kept),
        filter_state: Some(&State(json!("va\"l ue"))),
        upstream_filter_state: None,
    })
}

fn line(format: &Format, fields: &Fields<'_>) -> String {
    let mut line = String::new();
    format.write(fields, &mut Rng::with_seed(1), &mut line);
    line
}

fn json_format(members: &serde_json::Value) -> Struct {
    fn value(json: &serde_json::Value) -> protobuf::Value {
        let kind = match json {
            serde_json::Value::Null => Kind::NullValue(0),
            serde_json::Value::Bool(value) => Kind::BoolValue(*value),
            serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            serde_json::Value::String(text) => Kind::StringValue(text.clone()),
            serde_json::Value::Array(list) => Kind::ListValue(protobuf::ListValue {
                values: list.iter().map(value).collect(),
            }),
            serde_json::Value::Object(_) => Kind::StructValue(json_format(json)),
        };
        protobuf::Value { kind: Some(kind) }
    }
    let members = members.as_object().unwrap().iter();
    Struct {
        fields: members
            .map(|(key, member)| (key.clone(), value(member)))
            .collect(),
    }
}

#[track_caller]
fn check_text(format: &str, expected: &str) {
    let findings = Findings::default();
    let compiled = Format::text(&findings.at("format"), format, &surroundings());
    let compiled = compiled.unwrap_or_else(|| panic!("{format}: {:?}", findings.faults()));
    assert_eq!(
        with_fields(|fields| line(&compiled, fields)),
        expected,
        "{format}"
    );
}

#[track_caller]
fn check_json(format: &str, expected: &str) {
    let findings = Findings::default();
    let object = json_format(&json!({"a": format}));
    let compiled = Format::json(&findings.at("format"), &object, &surroundings());
    let compiled = compiled.unwrap_or_else(|| panic!("{format}: {:?}", findings.faults()));
    let line = with_fields(|fields| line(&compiled, fields));
    assert_eq!(line, format!("{{\"a\":{expected}}}\n"), "{format}");
}

#[test]
fn each_operator_of_a_connection_is_printed() {
    for (operator, text, json) in [
        (
            "START_TIME",
            "2026-11-21T22:28:23.487Z",
            "\"2026-11-21T22:28:23.487Z\"",
        ),
        (
            "START_TIME()",
            "2026-11-21T22:28:23.487Z",
            "\"2026-11-21T22:28:23.487Z\"",
        ),
        ("START_TIME(%s.%3f)", "1795300103.487", "\"1795300103.487\""),
        ("START_TIME(a)b)", "a)b", "\"a)b\""),
        (
            "START_TIME_LOCAL",
            "2026-11-21T22:28:23.487+0000",
            "\"2026-11-21T22:28:23.487+0000\"",
        ),
        (
            "EMIT_TIME",
            "2026-11-21T22:28:24.001Z",
            "\"2026-11-21T22:28:24.001Z\"",
        ),
        (
            "EMIT_TIME_LOCAL(%H:%M%z|%Z)",
            "22:28+0000|UTC",
            "\"22:28+0000|UTC\"",
        ),
        ("BYTES_RECEIVED", "2", "2"),
        ("BYTES_SENT", "11", "11"),
        ("UPSTREAM_WIRE_BYTES_SENT", "3", "3"),
        ("UPSTREAM_WIRE_BYTES_RECEIVED", "12", "12"),
        ("DOWNSTREAM_WIRE_BYTES_SENT", "11", "11"),
        ("DOWNSTREAM_WIRE_BYTES_RECEIVED", "2", "2"),
        ("UPSTREAM_REQUEST_ATTEMPT_COUNT", "2", "2"),
        ("DURATION", "42", "42"),
        (
            "COMMON_DURATION(DS_CX_BEG:DS_CX_END:ns)",
            "42900000",
            "42900000",
        ),
        ("COMMON_DURATION(DS_RX_BEG:US_CX_END:us)", "4077", "4077"),
        ("COMMON_DURATION(US_CX_BEG:US_HS_END)", "2", "2"),
        ("COMMON_DURATION(US_CX_END:DS_RX_BEG:us)", "-", "null"),
        ("COMMON_DURATION(DS_RX_BEG:whatever:ms)", "-", "null"),
        ("DOWNSTREAM_HANDSHAKE_DURATION", "3", "3"),
        ("UPSTREAM_CONNECTION_POOL_READY_DURATION", "2", "2"),
        ("DOWNSTREAM_CX_RTT", "1", "1"),
        ("RESPONSE_FLAGS", "UF,URX", "\"UF,URX\""),
        (
            "RESPONSE_FLAGS_LONG",
            "UpstreamConnectionFailure,UpstreamRetryLimitExceeded",
            "\"UpstreamConnectionFailure,UpstreamRetryLimitExceeded\"",
        ),
        ("RESPONSE_CODE", "0", "0"),
        ("RESPONSE_CODE_DETAILS", "some_detail", "\"some_detail\""),
        (
            "RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)",
            "some detail",
            "\"some detail\"",
        ),
        (
            "CONNECTION_TERMINATION_DETAILS",
            "rbac_access_denied",
            "\"rbac_access_denied\"",
        ),
        (
            "UPSTREAM_TRANSPORT_FAILURE_REASON",
            "connect to [fd00::2]:80: 'refused' there",
            "\"connect to [fd00::2]:80: \\\"refused\\\"\\nthere\"",
        ),
        (
            "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
            "tls: bad",
            "\"tls: bad\"",
        ),
        ("UPSTREAM_LOCAL_CLOSE_REASON", "up", "\"up\""),
        ("DOWNSTREAM_LOCAL_CLOSE_REASON", "down", "\"down\""),
        (
            "UPSTREAM_DETECTED_CLOSE_TYPE",
            "RemoteReset",
            "\"RemoteReset\"",
        ),
        (
            "DOWNSTREAM_DETECTED_CLOSE_TYPE",
            "LocalReset",
            "\"LocalReset\"",
        ),
        ("UPSTREAM_HOST", "[fd00::2]:80", "\"[fd00::2]:80\""),
        (
            "UPSTREAM_HOST_NAME",
            "host.example:80",
            "\"host.example:80\"",
        ),
        (
            "UPSTREAM_HOST_NAME_WITHOUT_PORT",
            "host.example",
            "\"host.example\"",
        ),
        (
            "UPSTREAM_HOSTS_ATTEMPTED",
            "10.0.0.9:80,[fd00::2]:80",
            "\"10.0.0.9:80,[fd00::2]:80\"",
        ),
        (
            "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
            "10.0.0.9,fd00::2",
            "\"10.0.0.9,fd00::2\"",
        ),
        (
            "UPSTREAM_HOST_NAMES_ATTEMPTED",
            "10.0.0.9:80,host.example:80",
            "\"10.0.0.9:80,host.example:80\"",
        ),
        (
            "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
            "10.0.0.9,host.example",
            "\"10.0.0.9,host.example\"",
        ),
        ("UPSTREAM_CONNECTION_IDS_ATTEMPTED", "1", "\"1\""),
        ("UPSTREAM_CLUSTER", "alt_good", "\"alt_good\""),
        ("UPSTREAM_CLUSTER_RAW", "good", "\"good\""),
        (
            "UPSTREAM_LOCAL_ADDRESS",
            "10.1.2.3:56734",
            "\"10.1.2.3:56734\"",
        ),
        (
            "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
            "10.1.2.3",
            "\"10.1.2.3\"",
        ),
        (
            "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(16)",
            "10.1.0.0/16",
            "\"10.1.0.0/16\"",
        ),
        (
            "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(0)",
            "0.0.0.0/0",
            "\"0.0.0.0/0\"",
        ),
        (
            "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(64)",
            "10.1.2.3/32",
            "\"10.1.2.3/32\"",
        ),
        ("UPSTREAM_LOCAL_PORT", "56734", "56734"),
        (
            "UPSTREAM_REMOTE_ADDRESS",
            "[fd00::2]:81",
            "\"[fd00::2]:81\"",
        ),
        (
            "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
            "fd00::2",
            "\"fd00::2\"",
        ),
        (
            "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8)",
            "fd00::/8",
            "\"fd00::/8\"",
        ),
        ("UPSTREAM_REMOTE_PORT", "81", "81"),
        (
            "DOWNSTREAM_LOCAL_ADDRESS",
            "127.0.0.1:19871",
            "\"127.0.0.1:19871\"",
        ),
        (
            "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
            "127.0.0.1",
            "\"127.0.0.1\"",
        ),
        ("DOWNSTREAM_LOCAL_PORT", "19871", "19871"),
        (
            "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
            "127.0.0.1:19871",
            "\"127.0.0.1:19871\"",
        ),
        (
            "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
            "127.0.0.1",
            "\"127.0.0.1\"",
        ),
        ("DOWNSTREAM_DIRECT_LOCAL_PORT", "19871", "19871"),
        (
            "DOWNSTREAM_REMOTE_ADDRESS",
            "127.1.2.3:37446",
            "\"127.1.2.3:37446\"",
        ),
        (
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(9)",
            "127.0.0.0/9",
            "\"127.0.0.0/9\"",
        ),
        ("DOWNSTREAM_REMOTE_PORT", "37446", "37446"),
        (
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
            "127.0.0.9:5",
            "\"127.0.0.9:5\"",
        ),
        (
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
            "127.0.0.9",
            "\"127.0.0.9\"",
        ),
        ("DOWNSTREAM_DIRECT_REMOTE_PORT", "5", "5"),
        ("CONNECTION_ID", "7", "7"),
        ("UPSTREAM_CONNECTION_ID", "8", "8"),
        (
            "STREAM_ID",
            "ce01eb72-b91c-4e39-90c5-42f4edbc4a49",
            "\"ce01eb72-b91c-4e39-90c5-42f4edbc4a49\"",
        ),
        (
            "REQUESTED_SERVER_NAME",
            "server.example",
            "\"server.example\"",
        ),
        (
            "REQUESTED_SERVER_NAME(SNI_FIRST:ORIG)",
            "server.example",
            "\"server.example\"",
        ),
        ("TLS_JA3_FINGERPRINT", "-", "null"),
        ("TLS_JA4_FINGERPRINT", "t13d", "\"t13d\""),
        ("FILTER_CHAIN_NAME", "chain1", "\"chain1\""),
        ("LISTENER_NAME", "ok", "\"ok\""),
        ("ROUTE_NAME", "-", "null"),
        (
            "ACCESS_LOG_TYPE",
            "TcpConnectionEnd",
            "\"TcpConnectionEnd\"",
        ),
        ("HOSTNAME", "vm", "\"vm\""),
        ("ENVIRONMENT(HOME)", "/root", "\"/root\""),
        ("ENVIRONMENT(HOME):3", "/ro", "\"/ro\""),
        ("ENVIRONMENT(HOME):0", "", "\"\""),
        ("ENVIRONMENT(NOPE)", "-", "\"-\""),
        ("DOWNSTREAM_TLS_VERSION", "TLSv1.3", "\"TLSv1.3\""),
        (
            "DOWNSTREAM_TLS_CIPHER",
            "TLS_AES_256_GCM_SHA384",
            "\"TLS_AES_256_GCM_SHA384\"",
        ),
        ("DOWNSTREAM_TLS_GROUP", "X25519", "\"X25519\""),
        ("DOWNSTREAM_TLS_SESSION_ID", "ea0c", "\"ea0c\""),
        ("UPSTREAM_TLS_VERSION", "TLSv1.3", "\"TLSv1.3\""),
        (
            "UPSTREAM_TLS_CIPHER",
            "TLS_AES_256_GCM_SHA384",
            "\"TLS_AES_256_GCM_SHA384\"",
        ),
        ("UPSTREAM_TLS_GROUP", "X25519", "\"X25519\""),
        ("UPSTREAM_TLS_SESSION_ID", "ea0c", "\"ea0c\""),
        ("UPSTREAM_SERVER_NAME", "up.example", "\"up.example\""),
        ("DOWNSTREAM_PEER_SUBJECT", "-", "null"),
        ("DOWNSTREAM_PEER_CERT_V_START(%s)", "-", "null"),
        ("DOWNSTREAM_PEER_CHAIN_SERIALS", "-", "null"),
        ("UPSTREAM_PEER_CERT_V_END", "-", "null"),
        ("FILTER_STATE(key)", "\"va\\\"l ue\"", "\"va\\\"l ue\""),
        ("FILTER_STATE(key:TYPED):4", "\"va\\", "\"va\\\"l ue\""),
        (
            "FILTER_STATE(key:PLAIN)",
            "plain 'value'",
            "\"plain \\\"value\\\"\"",
        ),
        ("FILTER_STATE(key:PLAIN):5", "plain", "\"plain\""),
        ("FILTER_STATE(key:FIELD:a:b)", "inside", "\"inside\""),
        ("FILTER_STATE(other:PLAIN)", "-", "null"),
        ("UPSTREAM_FILTER_STATE(key)", "-", "null"),
        ("CLUSTER_METADATA(com.test:b)", "bee", "\"bee\""),
        (
            "CLUSTER_METADATA(com.test:o)",
            "{\"n\":5,\"z\":null}",
            "{\"n\":5,\"z\":null}",
        ),
        ("CLUSTER_METADATA(com.test:o:n)", "5", "5"),
        ("CLUSTER_METADATA(com.test:o:z)", "-", "null"),
        (
            "CLUSTER_METADATA(com.test:l)",
            "[1,\"x\",null,true]",
            "[1,\"x\",null,true]",
        ),
        ("CLUSTER_METADATA(com.test:f)", "false", "false"),
        ("CLUSTER_METADATA(com.test:b:c)", "-", "null"),
        ("CLUSTER_METADATA(com.other)", "-", "null"),
        ("UPSTREAM_METADATA(com.test:n)", "1.5", "1.5"),
        ("DYNAMIC_METADATA(com.test:b)", "-", "null"),
        ("METADATA(CLUSTER:com.test:b):2", "be", "\"be\""),
        (
            "METADATA(CLUSTER:com.test:o):6",
            "{\"n\":5",
            "{\"n\":5,\"z\":null}",
        ),
        ("METADATA(CLUSTER:com.test:q)", "q' ", "\"q\\\"\\n\""),
        ("METADATA(LISTENER:com.test:i)", "3", "3"),
        (
            "METADATA(LISTENER_FILTER_CHAIN:com.test:b)",
            "bee",
            "\"bee\"",
        ),
        ("METADATA(UPSTREAM_HOST:com.test:b)", "bee", "\"bee\""),
        ("METADATA(ROUTE:com.test:b)", "-", "null"),
        ("METADATA(VIRTUAL_HOST:com.test:b)", "-", "null"),
        (
            "COALESCE({\"operators\":[\"ROUTE_NAME\",\"UPSTREAM_CLUSTER\"]})",
            "alt_good",
            "\"alt_good\"",
        ),
        (
            "COALESCE({\"operators\":[\"CUSTOM_FLAGS\",\"DURATION\"]})",
            "42",
            "42",
        ),
        ("COALESCE({\"operators\":[\"PROTOCOL\"]})", "-", "null"),
        (
            "COALESCE({\"operators\":[{\"command\":\"UPSTREAM_CLUSTER\"}]}):4",
            "alt_",
            "\"alt_\"",
        ),
        (
            "COALESCE({\"operators\":[{\"command\":\"ENVIRONMENT\",\"param\":\"HOME\",\"max_length\":2}]})",
            "/r",
            "\"/r\"",
        ),
    ] {
        check_text(&format!("%{operator}%"), text);
        check_json(&format!("%{operator}%"), json);
    }
}

#[test]
fn certificates_are_printed_for_each_side() {
    const FINGERPRINT_256: &str =
        "3d92d92b2a371f53a907550f624b1b82d22835195d9a236a1b53f56085ec447a";
    const FINGERPRINT_1: &str = "32595fcaafe3781a90a8ec83c6832826be18254b";
    const URIS: &str = "spiffe://td/ns/a/sa/client,urn:two";
    const DNS: &str = "client.example,localhost";
    const IPS: &str = "127.0.0.1,::1";
    // In a line quotation marks are apostrophes.
    const SUBJECT: &str = "emailAddress=x@y.z,CN=client,OU=\\ b#,O=Test\\, Org,ST=California,C=US";
    const ISSUER: &str = "CN=root,O=Test\\, \\'Root\\'";
    let certificate = certificate::tests::certificate();
    let chain = [certificate.clone(), certificate.clone()];
    let tls = Tls {
        peer: &chain,
        issuer: Some(&certificate),
        local: Some(&certificate),
        ..Tls::default()
    };
    let fields = Fields {
        downstream_tls: Some(tls),
        upstream_tls: Some(tls),
        ..Fields::default()
    };
    let twice = |text: &str| format!("{text},{text}");
    for (operator, expected) in [
        ("DOWNSTREAM_PEER_URI_SAN", URIS),
        ("DOWNSTREAM_PEER_DNS_SAN", DNS),
        ("DOWNSTREAM_PEER_IP_SAN", IPS),
        ("DOWNSTREAM_PEER_EMAIL_SAN", "m@x.y"),
        ("DOWNSTREAM_PEER_OTHERNAME_SAN", "upn@x"),
        ("DOWNSTREAM_PEER_SUBJECT", SUBJECT),
        ("DOWNSTREAM_PEER_ISSUER", ISSUER),
        ("DOWNSTREAM_PEER_SERIAL", "06ab12cd"),
        ("DOWNSTREAM_PEER_FINGERPRINT_256", FINGERPRINT_256),
        ("DOWNSTREAM_PEER_FINGERPRINT_1", FINGERPRINT_1),
        ("DOWNSTREAM_PEER_CHAIN_SERIALS", &twice("06ab12cd")),
        (
            "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
            &twice(FINGERPRINT_256),
        ),
        (
            "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
            &twice(FINGERPRINT_1),
        ),
        ("DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256", FINGERPRINT_256),
        ("DOWNSTREAM_PEER_ISSUER_SERIAL", "06ab12cd"),
        ("DOWNSTREAM_PEER_CERT", certificate::tests::PEM),
        ("DOWNSTREAM_PEER_CERT_V_START", "2026-11-21T22:32:50.000Z"),
        ("DOWNSTREAM_PEER_CERT_V_START(%s)", "1795300370"),
        ("DOWNSTREAM_PEER_CERT_V_END", "2027-03-01T22:32:50.000Z"),
        ("DOWNSTREAM_LOCAL_URI_SAN", URIS),
        ("DOWNSTREAM_LOCAL_DNS_SAN", DNS),
        ("DOWNSTREAM_LOCAL_IP_SAN", IPS),
        ("DOWNSTREAM_LOCAL_EMAIL_SAN", "m@x.y"),
        ("DOWNSTREAM_LOCAL_OTHERNAME_SAN", "upn@x"),
        ("DOWNSTREAM_LOCAL_SUBJECT", SUBJECT),
        ("UPSTREAM_PEER_URI_SAN", URIS),
        ("UPSTREAM_PEER_DNS_SAN", DNS),
        ("UPSTREAM_PEER_IP_SAN", IPS),
        ("UPSTREAM_PEER_SUBJECT", SUBJECT),
        ("UPSTREAM_PEER_ISSUER", ISSUER),
        ("UPSTREAM_PEER_CERT", certificate::tests::PEM),
        ("UPSTREAM_PEER_CERT_V_START", "2026-11-21T22:32:50.000Z"),
        ("UPSTREAM_PEER_CERT_V_END(%s)", "1803940370"),
        ("UPSTREAM_LOCAL_URI_SAN", URIS),
        ("UPSTREAM_LOCAL_DNS_SAN", DNS),
        ("UPSTREAM_LOCAL_IP_SAN", IPS),
    ] {
        let findings = Findings::default();
        let format = format!("%{operator}%");
        let format = Format::text(&findings.at("format"), &format, &surroundings()).unwrap();
        assert_eq!(line(&format, &fields), expected, "{operator}");
    }
}

#[test]
fn what_only_http_has_is_absent() {
    for operator in [
        "PROTOCOL",
        "UPSTREAM_PROTOCOL",
        "REQUEST_DURATION",
        "REQUEST_TX_DURATION",
        "RESPONSE_DURATION",
        "RESPONSE_TX_DURATION",
        "ROUNDTRIP_DURATION",
        "VIRTUAL_CLUSTER_NAME",
        "GRPC_STATUS",
        "GRPC_STATUS(NUMBER)",
        "GRPC_STATUS_NUMBER",
        "REQ(:AUTHORITY)",
        "REQ(a?b):3",
        "REQUEST_HEADER(a)",
        "RESP(a)",
        "RESPONSE_HEADER(a)",
        "TRAILER(a)",
        "RESPONSE_TRAILER(a)",
        "TRACE_ID",
        "SPAN_ID",
        "QUERY_PARAM(a)",
        "QUERY_PARAMS(DECODED):2",
        "PATH(NQ:PATH):4",
        "CEL(1)",
        "TYPED_CEL(1)",
    ] {
        check_text(&format!("%{operator}%"), "-");
        check_json(&format!("%{operator}%"), "null");
    }
    for operator in [
        "REQUEST_HEADERS_BYTES",
        "RESPONSE_HEADERS_BYTES",
        "RESPONSE_TRAILERS_BYTES",
        "BYTES_RETRANSMITTED",
        "PACKETS_RETRANSMITTED",
        "UPSTREAM_HEADER_BYTES_RECEIVED",
        "UPSTREAM_HEADER_BYTES_SENT",
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
        "DOWNSTREAM_HEADER_BYTES_SENT",
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
        "DOWNSTREAM_HEADER_BYTES_RECEIVED",
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    ] {
        check_text(&format!("%{operator}%"), "0");
        check_json(&format!("%{operator}%"), "0");
    }
    for operator in [
        "LOCAL_REPLY_BODY",
        "CUSTOM_FLAGS",
        "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",
        "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
    ] {
        check_text(&format!("%{operator}%"), "");
        check_json(&format!("%{operator}%"), "\"\"");
    }
}

#[test]
fn each_operator_can_be_asked_of_a_connection_of_which_nothing_is_known() {
    let findings = Findings::default();
    let with = |format: &str| {
        let format = Format::text(&findings.at("format"), format, &surroundings()).unwrap();
        line(&format, &Fields::default())
    };
    assert_eq!(with("%UPSTREAM_HOST% %CONNECTION_ID% %STREAM_ID%"), "- - -");
    assert_eq!(with("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%"), "- -");
    assert_eq!(
        with("%UPSTREAM_DETECTED_CLOSE_TYPE% %ACCESS_LOG_TYPE%"),
        "Normal NotSet"
    );
    assert_eq!(
        with("%DOWNSTREAM_PEER_URI_SAN% %UPSTREAM_TLS_SESSION_ID%"),
        "- -"
    );
    assert_eq!(
        with("%UPSTREAM_HOST_NAME% %UPSTREAM_HOSTS_ATTEMPTED%"),
        "- -"
    );
    assert_eq!(with("%DOWNSTREAM_REMOTE_PORT% %DOWNSTREAM_CX_RTT%"), "- -");
}

#[test]
fn an_endpoint_without_a_name_goes_by_its_address() {
    let findings = Findings::default();
    let format = "%UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT%";
    let format = Format::text(&findings.at("format"), format, &surroundings()).unwrap();
    let fields = Fields {
        upstream_host: socket("10.0.0.9:80"),
        ..Fields::default()
    };
    assert_eq!(line(&format, &fields), "10.0.0.9:80 10.0.0.9");
}

#[test]
fn a_peer_cannot_forge_a_server_name() {
    let findings = Findings::default();
    let format = Format::text(
        &findings.at("format"),
        "%REQUESTED_SERVER_NAME%",
        &surroundings(),
    );
    let fields = Fields {
        requested_server_name: Some("a\" b\n[2026] é"),
        ..Fields::default()
    };
    assert_eq!(line(&format.unwrap(), &fields), "a__b__2026___");
}

#[test]
fn identifiers_are_drawn_anew_each_time() {
    let findings = Findings::default();
    let format = Format::text(
        &findings.at("format"),
        "%UNIQUE_ID% %UNIQUE_ID%",
        &surroundings(),
    );
    let line = line(&format.unwrap(), &Fields::default());
    let (one, other) = line.split_once(' ').unwrap();
    assert_ne!(one, other);
    for uuid in [one, other] {
        let groups: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert_eq!(&uuid[14..15], "4");
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
    }
}

#[test]
fn text_and_commands_are_mixed() {
    check_text("", "");
    check_text("100%% of %BYTES_SENT%\n", "100% of 11\n");
    check_text("%PROTOCOL%%PROTOCOL%-%DURATION%", "---42");
    check_json("", "\"\"");
    check_json("%%", "\"%\"");
    check_json("%DURATION%ms", "\"42ms\"");
    check_json("%PROTOCOL%-%DURATION%", "\"--42\"");
    check_json(
        "x%METADATA(CLUSTER:com.test:l)%",
        "\"x[1,\\\"x\\\",null,true]\"",
    );
    check_json(
        "q\" \\ é \u{2028} \x7f / < \t\x01",
        "\"q\\\" \\\\ é \u{2028} \x7f / < \\t\\u0001\"",
    );
}

#[track_caller]
fn check_fault(format: &str, expected: &[&str]) {
    let findings = Findings::default();
    let format = Format::text(&findings.at("format"), format, &surroundings());
    assert!(format.is_none());
    let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|fault| format!("format: {fault}"))
        .collect();
    assert_eq!(faults, expected);
}

#[test]
fn each_fault_of_a_format_is_told_with_its_place() {
    let stray = |position: usize| {
        format!(
            "the percent sign at byte {position} begins no command such as %DURATION%; write %% for a \
             percent sign"
        )
    };
    check_fault("a % b", &[&stray(2)]);
    check_fault("%bytes_sent%", &[&stray(0)]);
    check_fault("%REQ(a):x%", &[&stray(0)]);
    check_fault(
        "%BYTES_RECIEVED% %XYZ%",
        &[
            "%BYTES_RECIEVED% at byte 0 is not known; did you mean %BYTES_RECEIVED%?",
            "%XYZ% at byte 17 is not known",
        ],
    );
    for (command, message) in [
        ("BYTES_SENT:3", "takes neither a parameter nor a length"),
        ("BYTES_SENT(a)", "takes neither a parameter nor a length"),
        ("HOSTNAME(a)", "takes neither a parameter nor a length"),
        ("START_TIME:3", "takes no length"),
        (
            "START_TIME(%n)",
            "has %n in its time, which has to stay on one line",
        ),
        (
            "DOWNSTREAM_PEER_CERT_V_END(%En)",
            "has %n in its time, which has to stay on one line",
        ),
        ("CLUSTER_METADATA(a):3", "takes no length"),
        ("RESPONSE_CODE_DETAILS():3", "takes no length"),
        ("REQ", "needs a parameter in brackets"),
        ("REQ()", "needs a parameter in brackets"),
        ("REQ(a?b?c)", "has more than one alternative header"),
        ("REQ(a b)", "has 'a b', which is no name of a header"),
        ("DYNAMIC_METADATA()", "needs a parameter in brackets"),
        ("ENVIRONMENT", "needs a parameter in brackets"),
        ("QUERY_PARAM", "needs a parameter in brackets"),
        ("COALESCE", "needs a parameter in brackets"),
        ("FILTER_STATE", "needs the key of an object"),
        (
            "FILTER_STATE(a:WRONG)",
            "has the option 'WRONG'; accepted are PLAIN, TYPED, FIELD",
        ),
        (
            "FILTER_STATE(a:FIELD)",
            "is written KEY:FIELD:NAME for a field, and without a name else",
        ),
        (
            "FILTER_STATE(a:PLAIN:x)",
            "is written KEY:FIELD:NAME for a field, and without a name else",
        ),
        ("COMMON_DURATION", "needs a parameter in brackets"),
        ("COMMON_DURATION(a)", "is written START:END:PRECISION"),
        (
            "COMMON_DURATION(a:b:ms:c)",
            "is written START:END:PRECISION",
        ),
        (
            "COMMON_DURATION(a:b:s)",
            "has the precision 's'; accepted are ms, us and ns",
        ),
        (
            "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(129)",
            "has the prefix length '129'; accepted are 0 to 128",
        ),
        (
            "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(a)",
            "has the prefix length 'a'; accepted are 0 to 128",
        ),
        (
            "REQUESTED_SERVER_NAME(X)",
            "has the option 'X'; accepted are SNI_ONLY, SNI_FIRST, HOST_FIRST",
        ),
        (
            "REQUESTED_SERVER_NAME(SNI_ONLY:X)",
            "has the option 'X'; accepted are ORIG, HOST, ORIG_OR_HOST",
        ),
        (
            "GRPC_STATUS(X)",
            "has the option 'X'; accepted are CAMEL_STRING, SNAKE_STRING, NUMBER",
        ),
        ("PATH(X)", "has the option 'X'; accepted are WQ, NQ"),
        (
            "PATH(NQ:X)",
            "has the option 'X'; accepted are ORIG, PATH, ORIG_OR_PATH",
        ),
        (
            "QUERY_PARAMS(X)",
            "has the option 'X'; accepted are ORIG, DECODED",
        ),
        (
            "METADATA(X:a)",
            "has the metadata 'X'; accepted are DYNAMIC, CLUSTER, ROUTE, UPSTREAM_HOST, LISTENER, \
             LISTENER_FILTER_CHAIN and VIRTUAL_HOST",
        ),
        ("COALESCE({})", "needs a list of the name 'operators'"),
        (
            "COALESCE({\"operators\":[]})",
            "has an empty list of operators",
        ),
        (
            "COALESCE({\"operators\":[\"NOPE\"]})",
            "has in operators[0] %NOPE%, which is not known",
        ),
        (
            "COALESCE({\"operators\":[\"DURATION\",3]})",
            "has in operators[1] neither a name nor an object with a 'command'",
        ),
        (
            "COALESCE({\"operators\":[{\"command\":\"REQ\",\"param\":3}]})",
            "has in operators[0] a 'param' that is no text",
        ),
        (
            "COALESCE({\"operators\":[{\"command\":\"REQ\",\"param\":\"x\",\"max_length\":0}]})",
            "has in operators[0] a 'max_length' that is no positive number",
        ),
        (
            "REQ_WITHOUT_QUERY(a)",
            "needs the formatter envoy.formatter.req_without_query",
        ),
        (
            "DYNAMIC_MODULE(a)",
            "needs the formatter envoy.formatter.dynamic_modules",
        ),
        (
            "FILE_CONTENT(a)",
            "needs the formatter envoy.formatter.file_content",
        ),
        (
            "SECRET(a)",
            "needs the formatter envoy.formatter.generic_secret",
        ),
    ] {
        let name = command.split(['(', ':']).next().unwrap_or_default();
        check_fault(
            &format!("%{command}%"),
            &[&format!("%{name}% at byte 0 {message}")],
        );
    }
    let findings = Findings::default();
    assert!(Format::text(&findings.at(""), "%COALESCE({)%", &surroundings()).is_none());
    assert!(
        findings.faults()[0]
            .message
            .contains("has a parameter that is no JSON: ")
    );
}

#[test]
fn what_is_left_undone_is_told() {
    let findings = Findings::default();
    let format = "%CEL(1)% %START_TIME_LOCAL%";
    assert!(Format::text(&findings.at("format"), format, &surroundings()).is_some());
    let told: Vec<_> = findings
        .unsupported()
        .iter()
        .map(Fault::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "format: %CEL% at byte 0 is not supported, and is always -",
            "format: %START_TIME_LOCAL% at byte 9 does not know the local time zone, and is in universal \
             time"
        ]
    );
}

fn compiled(message: &SubstitutionFormatString) -> Result<Format, Vec<String>> {
    let findings = Findings::default();
    let format = Format::compile(&findings.at("log_format"), message, &surroundings());
    format.ok_or_else(|| findings.faults().iter().map(Fault::to_string).collect())
}

fn json_message(members: &serde_json::Value, omit_empty_values: bool) -> SubstitutionFormatString {
    SubstitutionFormatString {
        format: Some(Message::JsonFormat(json_format(members))),
        omit_empty_values,
        ..SubstitutionFormatString::default()
    }
}

#[test]
fn json_nests_and_leaves_out_what_is_empty_if_asked_to() {
    let members = json!({
        "z": "%DURATION%", "num": 1.5, "int": 7, "neg": -3, "b": true, "nul": null,
        "nest": {"o": "%PROTOCOL%", "p": {"q": "%PROTOCOL%"}},
        "list": ["%PROTOCOL%", "x", 3, {"o": "%PROTOCOL%"}, [], ["%PROTOCOL%"], null],
        "e": "", "two": "%PROTOCOL%-%DURATION%", "emptyobj": {}, "emptylist": [], "k\"": "%PROTOCOL%",
        "flags": "%RESPONSE_FLAGS%",
    });
    let printed = |omit| {
        line(
            &compiled(&json_message(&members, omit)).unwrap(),
            &Fields::default(),
        )
    };
    assert_eq!(
        printed(false),
        "{\"b\":true,\"e\":\"\",\"emptylist\":[],\"emptyobj\":{},\"flags\":\"-\",\"int\":7,\"k\\\"\":null,\
         \"list\":[null,\"x\",3,{\"o\":null},[],[null],null],\"neg\":-3,\
         \"nest\":{\"o\":null,\"p\":{\"q\":null}},\"nul\":null,\"num\":1.5,\"two\":\"--0\",\"z\":0}\n"
    );
    assert_eq!(
        printed(true),
        "{\"b\":true,\"e\":\"\",\"emptylist\":[],\"flags\":\"-\",\"int\":7,\"list\":[\"x\",3,[],[]],\
         \"neg\":-3,\"num\":1.5,\"two\":\"-0\",\"z\":0}\n"
    );
    let nothing = compiled(&json_message(&json!({"a": null}), true)).unwrap();
    assert_eq!(line(&nothing, &Fields::default()), "{}\n");
}

#[test]
fn faults_in_json_are_named_by_their_keys() {
    let members = json!({"a": ["x", {"b": "%NOPE%"}], "c": "%", "d": "%PROTOCOL%"});
    assert_eq!(
        compiled(&json_message(&members, false)).unwrap_err(),
        [
            "log_format.json_format.a[1].b: %NOPE% at byte 0 is not known",
            "log_format.json_format.c: the percent sign at byte 0 begins no command such as %DURATION%; \
             write %% for a percent sign"
        ]
    );
}

#[test]
fn each_source_of_a_text_is_read() {
    let of = |format| SubstitutionFormatString {
        format,
        ..SubstitutionFormatString::default()
    };
    let source = |specifier| {
        of(Some(Message::TextFormatSource(DataSource {
            specifier,
            ..DataSource::default()
        })))
    };
    #[expect(deprecated, reason = "Envoy still takes it")]
    let texts = [
        of(Some(Message::TextFormat("%HOSTNAME%".to_owned()))),
        source(Some(Specifier::InlineString("%HOSTNAME%".to_owned()))),
        source(Some(Specifier::InlineBytes(b"%HOSTNAME%".to_vec()))),
    ];
    for message in texts {
        assert_eq!(line(&compiled(&message).unwrap(), &Fields::default()), "vm");
    }
    let variable = source(Some(Specifier::EnvironmentVariable("HOME".to_owned())));
    assert_eq!(
        line(&compiled(&variable).unwrap(), &Fields::default()),
        "/root"
    );
    for (message, fault) in [
        (of(None), "log_format.format: is missing"),
        (
            source(None),
            "log_format.text_format_source.specifier: is missing",
        ),
        (
            source(Some(Specifier::InlineBytes(vec![0xff]))),
            "log_format.text_format_source.inline_bytes: is no UTF-8",
        ),
        (
            source(Some(Specifier::EnvironmentVariable("NOPE".to_owned()))),
            "log_format.text_format_source.environment_variable: NOPE is not set",
        ),
        (
            source(Some(Specifier::Filename("/etc/format".to_owned()))),
            "log_format.text_format_source.filename: is not supported; write the format as an \
             inline_string",
        ),
    ] {
        assert_eq!(compiled(&message).unwrap_err(), [fault]);
    }
}

#[test]
fn an_empty_text_stands_for_what_is_absent_if_asked_to() {
    let message = |omit_empty_values, formatters| {
        #[expect(deprecated, reason = "Envoy still takes it")]
        let format =
            Message::TextFormat("[%PROTOCOL%] %RESPONSE_FLAGS% %REQ_WITHOUT_QUERY(a)%".to_owned());
        SubstitutionFormatString {
            format: Some(format),
            omit_empty_values,
            formatters,
            ..SubstitutionFormatString::default()
        }
    };
    let formatter = |name: &str| TypedExtensionConfig {
        name: name.to_owned(),
        typed_config: Some(protobuf::Any {
            type_url: format!("type.googleapis.com/envoy.extensions.formatter.{name}"),
            value: Vec::new(),
        }),
    };
    let known = vec![
        formatter("req_without_query.v3.ReqWithoutQuery"),
        formatter("cel.v3.Cel"),
    ];
    let printed = |omit| {
        line(
            &compiled(&message(omit, known.clone())).unwrap(),
            &Fields::default(),
        )
    };
    assert_eq!(printed(false), "[-] - -");
    assert_eq!(printed(true), "[] - ");
    let unnamed = TypedExtensionConfig {
        name: "x".to_owned(),
        typed_config: None,
    };
    assert_eq!(
        compiled(&message(false, vec![formatter("x"), unnamed])).unwrap_err(),
        [
            "log_format.formatters[0]: 'x' of the type \
             type.googleapis.com/envoy.extensions.formatter.x is no formatter that is known",
            "log_format.formatters[1].typed_config: is missing",
            "log_format.text_format: %REQ_WITHOUT_QUERY% at byte 30 needs the formatter \
             envoy.formatter.req_without_query"
        ]
    );
}

#[test]
fn the_default_is_envoys() {
    check_text(
        DEFAULT,
        "[2026-11-21T22:28:23.487Z] \"- - -\" 0 UF,URX 2 11 42 - \"-\" \"-\" \"-\" \"-\" \
         \"[fd00::2]:80\"\n",
    );
}

proptest! {
    #[test]
    fn no_format_is_too_strange(text in any::<String>(), command in "(%[A-Z_0-9]{1,12}(\\([^%]{0,8}\\))?(:[0-9]{1,3})?%){0,4}") {
        for format in [text, command] {
            let _ = check(&format);
        }
    }

    #[test]
    fn no_parameter_is_too_strange(
        operator in proptest::sample::select(vec![
            "START_TIME", "COMMON_DURATION", "METADATA", "FILTER_STATE", "COALESCE", "PATH", "REQ",
            "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "REQUESTED_SERVER_NAME", "ENVIRONMENT",
        ]),
        parameter in any::<String>(),
        length in any::<Option<u8>>(),
    ) {
        let length = length.map_or_else(String::new, |length| format!(":{length}"));
        let _ = check(&format!("%{operator}({parameter}){length}%"));
    }

    #[test]
    fn a_line_of_json_is_json(text in any::<String>(), length in 0_usize..20) {
        let format = json!({"a": format!("%FILTER_STATE(k:PLAIN):{length}%"), "b": "x%FILTER_STATE(k:PLAIN)%"});
        #[derive(Debug)]
        struct One(String);
        impl FilterState for One {
            fn plain(&self, _: &str) -> Option<&str> {
                Some(&self.0)
            }
            fn typed(&self, _: &str) -> Option<&serde_json::Value> {
                None
            }
            fn field(&self, _: &str, _: &str) -> Option<&str> {
                None
            }
        }
        let state = One(text.clone());
        let fields = Fields { filter_state: Some(&state), ..Fields::default() };
        let line = line(&compiled(&json_message(&format, false)).unwrap(), &fields);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        if !text.is_empty() {
            prop_assert_eq!(parsed["b"].as_str().unwrap(), format!("x{text}"));
            prop_assert!(text.starts_with(parsed["a"].as_str().unwrap()));
        }
    }
}

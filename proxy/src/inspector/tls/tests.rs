use std::sync::Arc;

use fairlead_xds::google::protobuf::{BoolValue, UInt32Value};
use proptest::{collection::vec, prelude::*, test_runner::Config};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version};

use super::*;
use crate::compile::{Fault, Findings};

/// What rustls sends first, in one record.
fn rustls_hello(name: &str, protocols: &[&str], of: &'static SupportedProtocolVersion) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[of])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.enable_sni = !name.starts_with("10.");
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let name = name.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// A hello that is made by hand, so that each part can be wrong.
struct Hello {
    version: u16,
    ciphers: &'static [u8],
    compression: &'static [u8],
    extensions: Option<Vec<u8>>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            version: 0x0303,
            ciphers: b"\x00\x02\x13\x01",
            compression: b"\x01\x00",
            extensions: None,
        }
    }
}

impl Hello {
    fn body(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend(self.ciphers);
        body.extend(self.compression);
        if let Some(extensions) = &self.extensions {
            body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
            body.extend(extensions);
        }
        body
    }

    fn bytes(&self) -> Vec<u8> {
        record(&message_of(1, &self.body()))
    }
}

fn message_of(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
    [&[22, 3, 1], &length[..], fragment].concat()
}

/// The same message in records of that length.
fn fragmented(hello: &[u8], length: usize) -> Vec<u8> {
    let fragments = hello[RECORD_HEADER..].chunks(length);
    fragments.flat_map(record).collect()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [&kind.to_be_bytes(), &length, data].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap();
    let list = (length + 3).to_be_bytes();
    let data = [&list[..], &[0], &length.to_be_bytes(), name].concat();
    extension(0, &data)
}

fn with_extensions(extensions: Vec<u8>) -> Vec<u8> {
    Hello {
        extensions: Some(extensions),
        ..Hello::default()
    }
    .bytes()
}

#[track_caller]
fn check_hello(bytes: &[u8], name: Option<&str>, protocols: &str) {
    let Verdict::Tls { hello, processed } = inspect(bytes) else {
        panic!("{:?}", inspect(bytes));
    };
    assert_eq!(hello.server_name.as_deref(), name);
    assert_eq!(hello.application_protocols.to_string(), protocols);
    assert_eq!(processed, bytes.len());
}

#[track_caller]
fn check(bytes: &[u8], expected: &Verdict) {
    assert_eq!(inspect(bytes), *expected);
}

#[track_caller]
fn check_not_tls(bytes: &[u8], processed: usize) {
    check(bytes, &Verdict::NotTls { processed });
}

#[track_caller]
fn check_need(bytes: &[u8], at_least: usize) {
    check(bytes, &Verdict::NeedMore { at_least });
}

#[test]
fn a_hello_tells_the_server_and_the_protocols() {
    let name = "outbound_.8080_._.httpbin.foo.svc.cluster.local";
    let offered = ["istio-http/1.1", "istio", "http/1.1"];
    let hello = rustls_hello(name, &offered, &version::TLS13);
    check_hello(&hello, Some(name), "istio-http/1.1,istio,http/1.1");
    let hello = rustls_hello("WWW.Example.com", &["h2"], &version::TLS12);
    check_hello(&hello, Some("www.example.com"), "h2");
    let hello = rustls_hello("10.0.0.1", &[], &version::TLS13);
    check_hello(&hello, None, "");
}

#[test]
fn hellos_of_all_versions_are_tls() {
    for version in [0x0301, 0x0302, 0x0303, 0x0304] {
        let hello = Hello {
            version,
            ..Hello::default()
        };
        check_hello(&hello.bytes(), None, "");
    }
    for version in [0x0002, 0x0203, 0x0300, 0x0305, 0x0309, 0x0403] {
        let bytes = Hello {
            version,
            ..Hello::default()
        }
        .bytes();
        let processed = bytes.len();
        check(&bytes, &Verdict::UnknownVersion { version, processed });
    }
}

#[test]
fn a_hello_may_lie_in_many_records() {
    let hello = rustls_hello("example.com", &["h2"], &version::TLS13);
    for length in [1, 3, 50, 1000] {
        let bytes = fragmented(&hello, length);
        check_hello(&bytes, Some("example.com"), "h2");
        check_need(&bytes[..bytes.len() - 1], bytes.len());
    }
    let empty_first = [record(b""), hello.clone()].concat();
    check_hello(&empty_first, Some("example.com"), "h2");
    // What follows is not looked at.
    let more = [&hello[..], b"\x14\x03\x03\x00\x01\x01"].concat();
    assert!(matches!(
        inspect(&more),
        Verdict::Tls { processed, .. } if processed == hello.len()
    ));
}

#[test]
fn other_bytes_are_told_by_the_first_that_fits_not() {
    check_not_tls(b"h", 1);
    check_not_tls(b"GET / HTTP/1.1\r\n", 5);
    check_not_tls(b"\x16G", 2);
    check_not_tls(b"\x16\x04\x01\x00\x10", 5);
    check_not_tls(b"\x17\x03\x01\x00\x10", 5);
    // The hello of SSL 2.
    check_not_tls(b"\x80\x2e\x01\x03\x01", 5);
    check_not_tls(b"\x16\x03\x01\x50\x00aaaa", 5);
    check_not_tls(&record(b"aaaa"), 9);
    check_not_tls(&record(&message_of(2, b"a")), 10);
}

#[test]
fn what_is_no_whole_hello_is_not_tls() {
    let hello = rustls_hello("example.com", &[], &version::TLS13);
    let message = &hello[RECORD_HEADER..];
    let followed = record(&[message, b"abcd"].concat());
    check_not_tls(&followed, followed.len());
    check_not_tls(&record(b"\x01\xff\xff\xffaaaa"), 13);
    check_not_tls(&record(b"\x01\x00\x40\x01aaaa"), 13);
    let whole = Hello::default().body();
    for length in 0..whole.len() {
        let cut = record(&message_of(1, &whole[..length]));
        check_not_tls(&cut, cut.len());
    }
    let no_ciphers = Hello {
        ciphers: b"\x00\x00",
        ..Hello::default()
    };
    check_not_tls(&no_ciphers.bytes(), no_ciphers.bytes().len());
    let no_compression = Hello {
        compression: b"\x00",
        ..Hello::default()
    };
    check_not_tls(&no_compression.bytes(), no_compression.bytes().len());
}

#[test]
fn broken_extensions_are_not_tls() {
    for extensions in [
        b"\x00".to_vec(),
        b"\x00\x17\x00\x05abc".to_vec(),
        extension(0, b""),
        sni(b""),
        sni(b"a\0b"),
        sni(&[b'a'; 256]),
        [sni(b"a"), sni(b"a")].concat(),
        [extension(10, b""), sni(b"a"), extension(10, b"")].concat(),
        extension(0, b"\x00\x08\x00\x00\x01a\x00\x00\x01b"),
        extension(0, b"\x00\x05\x00\x00\x01ab"),
        extension(0, b"\x00\x04\x01\x00\x01a"),
    ] {
        let bytes = with_extensions(extensions);
        check_not_tls(&bytes, bytes.len());
    }
}

#[test]
fn names_and_protocols_are_taken_as_they_are() {
    check_hello(&with_extensions(vec![]), None, "");
    check_hello(&with_extensions(sni(b"Two Words")), Some("two words"), "");
    check_hello(
        &with_extensions(sni(&[b'a'; 255])),
        Some(&"a".repeat(255)),
        "",
    );
    check_hello(
        &with_extensions(extension(16, b"\x00\x03\x02h2")),
        None,
        "h2",
    );
    for broken in [
        &b""[..],
        b"\x00\x02\x02h2",
        b"\x00\x00",
        b"\x00\x04\x02h2\x00",
    ] {
        check_hello(&with_extensions(extension(16, broken)), None, "");
    }
    let both = [
        extension(0x0a0a, b""),
        sni(b"a.b"),
        extension(16, b"\x00\x03\x02h2"),
    ]
    .concat();
    check_hello(&with_extensions(both), Some("a.b"), "h2");
}

#[test]
fn what_is_missing_is_asked_for() {
    let hello = rustls_hello("example.com", &[], &version::TLS13);
    check_need(b"", 1);
    check_need(&hello[..1], 2);
    check_need(&hello[..2], RECORD_HEADER);
    check_need(&hello[..5], hello.len());
    check_need(&hello[..hello.len() - 1], hello.len());
}

#[test]
fn a_hello_must_end_within_the_limit() {
    let hello = rustls_hello("example.com", &[], &version::TLS13);
    let limit = hello.len() - 1;
    assert_eq!(inspect_within(&hello, limit), Verdict::TooLarge);
    assert_eq!(inspect_within(&hello[..limit], limit), Verdict::TooLarge);
    assert_eq!(
        inspect_within(&hello[..limit - 1], limit),
        Verdict::NeedMore { at_least: limit }
    );
    assert!(matches!(
        inspect_within(&hello, hello.len()),
        Verdict::Tls { .. }
    ));
    let large = record(&message_of(1, &[0; 16370]));
    check(&large, &Verdict::NotTls { processed: 16379 });
    let larger = [record(&message_of(1, &[0; 16380])), vec![0; 100]].concat();
    check(&larger, &Verdict::TooLarge);
    // Plaintext is plaintext however long it is.
    check_not_tls(&[b'a'; 20000], 5);
}

#[track_caller]
fn check_compiled(message: &proto::TlsInspector, expected: Result<(usize, bool), &[&str]>) {
    let findings = Findings::default();
    let compiled = TlsInspector::compile(&findings.at("tls"), message);
    let compiled = compiled.map(|tls| (tls.max_client_hello_size, tls.close_on_errors));
    let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
    assert_eq!(compiled, expected.ok());
    assert_eq!(faults, expected.err().unwrap_or_default());
}

#[test]
fn limits_are_those_of_the_message() {
    check_compiled(&proto::TlsInspector::default(), Ok((16384, false)));
    let message = proto::TlsInspector {
        enable_ja3_fingerprinting: Some(BoolValue { value: false }),
        enable_ja4_fingerprinting: None,
        initial_read_buffer_size: Some(UInt32Value { value: 65536 }),
        close_connection_on_client_hello_parsing_errors: true,
        max_client_hello_size: Some(UInt32Value { value: 256 }),
    };
    check_compiled(&message, Ok((256, true)));
    let message = proto::TlsInspector {
        initial_read_buffer_size: Some(UInt32Value { value: 255 }),
        max_client_hello_size: Some(UInt32Value { value: 16385 }),
        ..proto::TlsInspector::default()
    };
    check_compiled(
        &message,
        Err(&[
            "tls.initial_read_buffer_size: 255 is not accepted; 256 to 65536 is",
            "tls.max_client_hello_size: 16385 is not accepted; 256 to 16384 is",
        ]),
    );
}

#[test]
fn fingerprints_are_told_to_be_missing() {
    let findings = Findings::default();
    let message = proto::TlsInspector {
        enable_ja3_fingerprinting: Some(BoolValue { value: true }),
        enable_ja4_fingerprinting: Some(BoolValue { value: true }),
        ..proto::TlsInspector::default()
    };
    assert!(TlsInspector::compile(&findings.at("tls"), &message).is_some());
    let told: Vec<_> = findings
        .unsupported()
        .into_iter()
        .map(|told| told.path)
        .collect();
    assert_eq!(
        told,
        [
            "tls.enable_ja3_fingerprinting",
            "tls.enable_ja4_fingerprinting"
        ]
    );
}

/// Bytes that come close to a hello.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let hello = rustls_hello("example.com", &["h2", "http/1.1"], &version::TLS13);
    let changed = (
        vec((0..hello.len(), any::<u8>()), 0..4),
        1..700usize,
        0..700usize,
    );
    let changed = changed.prop_map(move |(changes, fragment, length)| {
        let mut hello = hello.clone();
        for (index, byte) in changes {
            hello[index] = byte;
        }
        let mut bytes = fragmented(&hello, fragment);
        bytes.truncate(length.max(1));
        bytes
    });
    prop_oneof![changed, vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(Config::with_cases(300))]

    #[test]
    fn byte_by_byte_is_as_at_once(bytes in hostile(), limit in 1..700usize) {
        let at_once = inspect_within(&bytes, limit);
        for length in 0..bytes.len() {
            match inspect_within(&bytes[..length], limit) {
                Verdict::NeedMore { at_least } => prop_assert!(at_least > length),
                Verdict::NotTls { processed } => {
                    prop_assert!(processed <= length);
                    let agree = matches!(at_once, Verdict::NotTls { .. });
                    prop_assert!(agree);
                    break;
                }
                verdict => {
                    prop_assert_eq!(verdict, at_once);
                    break;
                }
            }
        }
    }
}

use proptest::{collection::vec, prelude::*, sample::select};

use super::{super::filters::ListenerFilter, *};
use crate::inspector::{Predicate, proxy_protocol::PassThrough};

fn filters(kinds: impl IntoIterator<Item = (Kind, Option<Predicate>)>) -> ListenerFilters {
    let filters = kinds.into_iter();
    ListenerFilters {
        filters: filters
            .map(|(kind, disabled)| ListenerFilter { kind, disabled })
            .collect(),
        timeout: None,
        continue_on_timeout: false,
    }
}

fn all(kinds: &[Kind]) -> ListenerFilters {
    filters(kinds.iter().map(|kind| (kind.clone(), None)))
}

fn tls(close_on_errors: bool) -> Kind {
    Kind::Tls(TlsInspector {
        max_client_hello_size: 300,
        close_on_errors,
    })
}

fn proxy(allow_without: bool, disallowed: &[Version]) -> Kind {
    Kind::ProxyProtocol(ProxyProtocol {
        allow_without,
        disallowed: disallowed.into(),
        stat_prefix: None,
        pass_through: PassThrough::All,
    })
}

/// A ClientHello for `a.b` that offers `h2`.
fn hello() -> Vec<u8> {
    let sni = b"\x00\x00\x00\x08\x00\x06\x00\x00\x03A.b";
    let alpn = b"\x00\x10\x00\x05\x00\x03\x02h2";
    let mut body = b"\x03\x03".to_vec();
    body.extend([7; 32]);
    body.extend(b"\x00\x00\x02\x13\x01\x01\x00\x00\x15");
    body.extend([&sni[..], alpn].concat());
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    hello
}

fn run(filters: &ListenerFilters, bytes: &[u8]) -> (Progress, Vec<String>, Option<usize>) {
    let mut inspection = Inspection::new(filters, 15006, Some(80));
    let progress = inspection.step(bytes);
    let counted = inspection.statistics().iter();
    let counted = counted.map(|statistic| statistic.name(None).into_owned());
    (
        progress,
        counted.collect(),
        inspection.tls_bytes_processed(),
    )
}

#[track_caller]
fn check_done(filters: &ListenerFilters, bytes: &[u8], counted: &[&str]) -> Inspected {
    let (progress, told, _) = run(filters, bytes);
    assert_eq!(told, counted);
    let Progress::Done(inspected) = progress else {
        panic!("{progress:?}");
    };
    inspected
}

#[track_caller]
fn check_failed(filters: &ListenerFilters, bytes: &[u8], reason: &str, counted: &[&str]) {
    let (progress, told, _) = run(filters, bytes);
    assert_eq!(told, counted);
    let Progress::Failed(failure) = progress else {
        panic!("{progress:?}");
    };
    assert_eq!(failure.to_string(), reason);
}

#[track_caller]
fn check_waits(filters: &ListenerFilters, bytes: &[u8], at_least: usize) {
    assert_eq!(run(filters, bytes).0, Progress::NeedMore { at_least });
}

#[test]
fn where_no_filter_needs_bytes_none_are_waited_for() {
    for kinds in [&[][..], &[Kind::OriginalDst]] {
        let inspected = check_done(&all(kinds), b"", &[]);
        assert_eq!(inspected, Inspected::default());
        assert_eq!(inspected.transport_protocol(), "raw_buffer");
    }
    for kind in [tls(false), Kind::Http, proxy(true, &[])] {
        check_waits(&all(&[kind]), b"", 1);
    }
}

#[test]
fn tls_is_told_with_its_server_and_protocols() {
    let hello = hello();
    let filters = all(&[Kind::OriginalDst, tls(false), Kind::Http]);
    let counted = [
        "tls_inspector.tls_found",
        "tls_inspector.alpn_found",
        "tls_inspector.sni_found",
    ];
    let inspected = check_done(&filters, &hello, &counted);
    assert_eq!(inspected.transport_protocol(), "tls");
    assert_eq!(inspected.server_name.as_deref(), Some("a.b"));
    assert_eq!(inspected.application_protocols.to_string(), "h2");
    assert_eq!(inspected.consumed, 0);
    assert_eq!(run(&filters, &hello).2, Some(hello.len()));
    check_waits(&filters, &hello[..20], hello.len());
}

#[test]
fn plaintext_is_told_with_its_version_of_http() {
    let filters = all(&[tls(false), Kind::Http]);
    for (bytes, protocol, counted) in [
        (&b"GET / HTTP/1.1\r\n"[..], "http/1.1", "http11_found"),
        (b"GET / HTTP/1.0\r\n", "http/1.0", "http10_found"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "h2c", "http2_found"),
        (b"{}", "", "http_not_found"),
    ] {
        let http = format!("http_inspector.{counted}");
        let inspected = check_done(&filters, bytes, &["tls_inspector.tls_not_found", &http]);
        assert_eq!(inspected.transport_protocol(), "raw_buffer");
        assert_eq!(inspected.application_protocols.to_string(), protocol);
    }
    check_waits(&filters, b"GET", 4);
    check_failed(
        &filters,
        &[b'a'; http::MAX_REQUEST_LINE],
        "the request line does not end within 65536 bytes",
        &["tls_inspector.tls_not_found", "http_inspector.read_error"],
    );
}

#[test]
fn a_listener_may_take_nothing_but_tls() {
    let filters = all(&[tls(true)]);
    let reason = "the first bytes are no ClientHello that could be read, and the listener takes \
                  nothing else";
    check_failed(&filters, b"GET / HTTP/1.1\r\n", reason, &[]);
    let too_large = ["tls_inspector.client_hello_too_large"];
    check_failed(&filters, &[b'a'; 300], reason, &too_large);
}

#[test]
fn broken_hellos_end_the_connection() {
    let filters = all(&[tls(false)]);
    let mut hello = hello();
    hello[10] = 9;
    check_failed(
        &filters,
        &hello,
        "the ClientHello is of version 0x0309, which is none",
        &["tls_inspector.tls_not_found"],
    );
    let mut large = b"\x16\x03\x01\x10\x00\x01\x00\x0f\xfc".to_vec();
    large.resize(300, 0);
    check_waits(&filters, &large[..299], 300);
    check_failed(
        &filters,
        &large,
        "the ClientHello does not end within 300 bytes",
        &["tls_inspector.client_hello_too_large"],
    );
    assert_eq!(run(&filters, &large).2, Some(300));
}

#[test]
fn what_follows_a_proxy_header_is_inspected() {
    let filters = all(&[proxy(false, &[]), tls(false), Kind::Http]);
    let header = b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n";
    let bytes = [&header[..], &hello()].concat();
    let counted = [
        "tls_inspector.tls_found",
        "tls_inspector.alpn_found",
        "tls_inspector.sni_found",
        "proxy_proto.versions.v1.found",
    ];
    let inspected = check_done(&filters, &bytes, &counted);
    assert_eq!(inspected.consumed, header.len());
    assert_eq!(inspected.server_name.as_deref(), Some("a.b"));
    let proxied = inspected.proxied.unwrap();
    let addresses = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    assert_eq!(proxied.addresses, Some(addresses));
    check_waits(&filters, header, header.len() + 1);
}

#[test]
fn proxy_headers_are_taken_as_the_listener_has_it() {
    const V1: &[u8] = b"PROXY UNKNOWN\r\n";
    const V2: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0f\x0a\0\0\x01\x0a\0\0\x02\0\x01\0\x02\xe0\0\0";
    let inspected = check_done(
        &all(&[proxy(false, &[])]),
        V2,
        &["proxy_proto.versions.v2.found"],
    );
    assert_eq!(inspected.proxied.unwrap().tlvs.len(), 1);
    let needed = "the connection does not start with a PROXY header, which the listener needs";
    let counted = [
        "downstream_cx_proxy_proto_error",
        "proxy_proto.not_found_disallowed",
    ];
    check_failed(&all(&[proxy(false, &[])]), b"GET", needed, &counted);
    let allowed = ["proxy_proto.not_found_allowed"];
    check_done(&all(&[proxy(true, &[])]), b"GET", &allowed);
    check_done(&all(&[proxy(true, &[Version::V1])]), V1, &allowed);
    check_done(&all(&[proxy(true, &[Version::V1])]), b"PRO", &allowed);
    check_failed(
        &all(&[proxy(false, &[Version::V1])]),
        V1,
        "PROXY headers of version 1 are disallowed by the listener",
        &[
            "proxy_proto.versions.v1.found",
            "proxy_proto.versions.v1.disallowed",
        ],
    );
    check_failed(
        &all(&[proxy(true, &[])]),
        b"PROXY TCP4 \r\n",
        "the PROXY header of version 1 is malformed: Header missing source port.",
        &[
            "downstream_cx_proxy_proto_error",
            "proxy_proto.versions.v1.error",
        ],
    );
}

#[test]
fn filters_are_left_out_by_the_port_known_at_their_place() {
    let at_80 = Some(Predicate::Ports(80, 81));
    let after = filters([(Kind::OriginalDst, None), (tls(false), at_80.clone())]);
    check_done(&after, b"", &[]);
    let before = filters([(tls(false), at_80), (Kind::OriginalDst, None)]);
    check_waits(&before, b"", 1);
    let at_2 = Some(Predicate::Ports(2, 3));
    let proxied = filters([(proxy(false, &[]), None), (Kind::Http, at_2)]);
    let header = b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n";
    check_done(&proxied, header, &["proxy_proto.versions.v1.found"]);
}

#[test]
fn when_the_time_is_over_the_listener_decides() {
    let mut filters = all(&[tls(false), Kind::Http]);
    let mut inspection = Inspection::new(&filters, 80, None);
    inspection.step(b"GET");
    let Progress::Failed(failure) = inspection.timed_out() else {
        panic!("the listener does not go on");
    };
    assert_eq!(
        failure.to_string(),
        "the client did not send what the listener filters need in time"
    );
    filters.continue_on_timeout = true;
    let mut inspection = Inspection::new(&filters, 80, None);
    inspection.step(b"GET");
    assert_eq!(inspection.timed_out(), Progress::Done(Inspected::default()));
    let counted: Vec<_> = inspection.statistics().iter().collect();
    assert_eq!(
        counted,
        [Statistic::TlsNotFound, Statistic::PreConnectionTimeout]
    );
}

#[test]
fn a_client_that_goes_is_counted() {
    let filters = all(&[tls(false)]);
    let mut inspection = Inspection::new(&filters, 80, None);
    let failure = inspection.closed();
    assert_eq!(
        failure.to_string(),
        "the client closed before it sent what the listener filters need"
    );
    let error = std::io::Error::other("reset");
    assert_eq!(
        inspection.broken(&error).to_string(),
        "the connection failed before the listener filters were done: reset"
    );
    let counted: Vec<_> = inspection.statistics().iter().collect();
    assert_eq!(counted, [Statistic::RemoteClose, Statistic::FilterError]);
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n".to_vec()),
        Just(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x02ab".to_vec()),
        Just(hello()),
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        vec(any::<u8>(), 0..20),
    ];
    (vec(part, 0..4), 0..200usize).prop_map(|(parts, length)| {
        let mut bytes = parts.concat();
        bytes.truncate(length);
        bytes
    })
}

proptest! {
    #[test]
    fn byte_by_byte_is_as_at_once(
        bytes in hostile(),
        kinds in vec(
            select(vec![
                Kind::OriginalDst,
                tls(false),
                tls(true),
                Kind::Http,
                proxy(false, &[]),
                proxy(true, &[Version::V2]),
            ]),
            0..4,
        ),
    ) {
        let filters = all(&kinds);
        let (at_once, counted, _) = run(&filters, &bytes);
        let mut inspection = Inspection::new(&filters, 15006, Some(80));
        let mut progress = inspection.step(b"");
        let mut length = 0;
        while let Progress::NeedMore { at_least } = progress {
            prop_assert!(at_least > length);
            if length == bytes.len() {
                break;
            }
            length += 1;
            progress = inspection.step(&bytes[..length]);
        }
        prop_assert_eq!(progress, at_once);
        let told = inspection.statistics().iter();
        let told: Vec<_> = told.map(|statistic| statistic.name(None).into_owned()).collect();
        prop_assert_eq!(told, counted);
    }
}

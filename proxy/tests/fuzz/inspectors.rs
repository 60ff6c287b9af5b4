//! The listener filters one after the other, over bytes that come in pieces.

use fairlead_proxy::{
    compile::Findings,
    inspector::{Inspection, ListenerFilters, Progress, http},
};
use fairlead_xds::{
    envoy::config::listener::v3::Listener,
    read::{Format, UnknownFields, read_message},
};
use fastrand::Rng;

use crate::{
    fuzz,
    mutation::{mutation, one_of},
};

/// What the data path peeks at, at most.
const MOST: usize = 128 * 1024;

const STARTS: &[&[u8]] = &[
    b"GET /index.html HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST http://a.b/ HTTP/1.0\r\n\r\n",
    b"CONNECT a.b:443 HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET / HTTP/1.1\r\n\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbbPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET / HTTP/1.1\r\n",
    // A ClientHello with the name a.b and the protocol h2.
    b"\x16\x03\x01\0\x4d\x01\0\0\x49\x03\x03\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\
      \x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\0\0\x02\x13\x01\x01\0\0\x1e\
      \0\0\0\x08\0\x06\0\0\x03a.b\0\x10\0\x05\0\x03\x02h2\0\x0a\0\x05\0\x03\0\0\0rest",
];

const PIECES: &[&[u8]] = &[
    b"",
    b" ",
    b"\t",
    b"\r\n",
    b"\n",
    b"/",
    b"HTTP/1.1",
    b"HTTP/9.9",
    b"PRI * HTTP/2.0",
    b"\x16\x03\x01\0\0",
    b"\x16\x03\x03\x40\0",
    b"\0",
    b"\xff",
    b"PROXY ",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"::1",
];

/// In the orders in which they stand in a listener, and alone.
const FILTERS: &[&[&str]] = &[
    &["proxy_protocol", "tls_inspector", "http_inspector"],
    &["tls_inspector", "http_inspector"],
    &["original_dst", "http_inspector", "tls_inspector"],
    &["http_inspector", "proxy_protocol"],
    &["http_inspector"],
    &["tls_inspector"],
    &[],
];

/// The same with a filter that says no more than it must, and one that refuses.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "proxy_protocol",
        &[
            "",
            "allow_requests_without_proxy_protocol: true",
            "disallowed_versions: [V1], allow_requests_without_proxy_protocol: true",
        ],
    ),
    (
        "tls_inspector",
        &[
            "",
            "max_client_hello_size: 256",
            "close_connection_on_client_hello_parsing_errors: true",
        ],
    ),
];

fn filters(rng: &mut Rng) -> String {
    let filters = FILTERS[rng.usize(..FILTERS.len())].iter().map(|name| {
        let fields = FIELDS.iter().find(|(of, _)| of == name);
        let fields = fields.map_or("", |(_, fields)| one_of(rng, fields));
        let message = match *name {
            "proxy_protocol" => "ProxyProtocol",
            "tls_inspector" => "TlsInspector",
            "http_inspector" => "HttpInspector",
            _ => "OriginalDst",
        };
        format!(
            "{{name: {name}, typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.listener.{name}.v3.{message}, {fields}}}}}"
        )
    });
    let filters: Vec<String> = filters.collect();
    format!("listener_filters: [{}]", filters.join(", "))
}

#[derive(Debug)]
struct Case {
    listener: String,
    bytes: Vec<u8>,
    /// The lengths of the pieces.
    pieces: Vec<usize>,
}

fn case(rng: &mut Rng) -> Case {
    let start = one_of(rng, STARTS);
    let mut bytes = match rng.u8(..6) {
        0 => start.to_vec(),
        _ => mutation(rng, start, PIECES),
    };
    if rng.u8(..50) == 0 {
        // Past every limit.
        let more = vec![rng.u8(b' '..=b'z'); rng.usize(10_000..MOST)];
        bytes.splice(bytes.len() / 2..bytes.len() / 2, more);
    }
    let most = bytes.len() / 8 + 2;
    Case {
        listener: filters(rng),
        pieces: (0..64).map(|_| rng.usize(1..=most)).collect(),
        bytes,
    }
}

/// What comes of the inspection, and how many bytes were there then.
fn inspect(filters: &ListenerFilters, ends: impl Iterator<Item = usize>, bytes: &[u8]) -> Progress {
    let mut inspection = Inspection::new(filters, 15006, Some(443));
    let mut last = Progress::NeedMore { at_least: 0 };
    for end in ends {
        let end = end.min(bytes.len());
        last = inspection.step(&bytes[..end]);
        match &last {
            Progress::NeedMore { at_least } => {
                assert!(*at_least > end, "{at_least} bytes are there");
                assert!(*at_least <= MOST, "{at_least} bytes are never looked at");
            }
            Progress::Done(inspected) => {
                assert!(inspected.consumed <= end);
                return last;
            }
            Progress::Failed(failure) => {
                assert!(!failure.reason.is_empty());
                return last;
            }
        }
    }
    last
}

#[test]
fn what_is_found_does_not_depend_on_how_the_bytes_arrive() {
    fuzz(6_000, case, |case| {
        let read = read_message::<Listener>(
            case.listener.as_bytes(),
            Format::Yaml,
            UnknownFields::Refuse,
        );
        let findings = Findings::default();
        let filters = ListenerFilters::compile(&findings.at(""), &read.unwrap().message).unwrap();
        let whole = inspect(&filters, [case.bytes.len()].into_iter(), &case.bytes);
        let ends = case.pieces.iter().scan(0, |end, piece| {
            *end += piece;
            Some(*end)
        });
        let pieces = inspect(&filters, ends.chain([case.bytes.len()]), &case.bytes);
        match (whole, pieces) {
            (Progress::NeedMore { .. }, Progress::NeedMore { .. }) => {}
            (whole, pieces) => assert_eq!(whole, pieces),
        }
    });
}

#[test]
fn a_request_line_means_the_same_however_its_bytes_arrive() {
    let make = |rng: &mut Rng| {
        let start = one_of(rng, STARTS);
        mutation(rng, start, PIECES)
    };
    fuzz(5_000, make, |bytes| {
        let mut decided = None;
        for end in 0..=bytes.len() {
            let now = http::inspect(&bytes[..end]);
            match decided {
                None if now == http::Verdict::NeedMore => {}
                None => decided = Some(now),
                Some(before) => assert_eq!(before, now, "at {end} bytes"),
            }
        }
    });
}

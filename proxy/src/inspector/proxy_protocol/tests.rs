use fairlead_xds::envoy::config::core::v3::{
    ProxyProtocolConfig, ProxyProtocolPassThroughTlVs, SubstitutionFormatString, TlvEntry,
};
use proptest::{collection::vec, prelude::*};
use proto::proxy_protocol::{KeyValuePair, Rule};

use super::*;
use crate::compile::{Fault, Findings};

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [SIGNATURE_V2, &[command, family], &length, payload].concat()
}

/// From 10.8.0.1:80 to 10.9.0.1:90.
const IPV4: &[u8] = &[10, 8, 0, 1, 10, 9, 0, 1, 0, 80, 0, 90];

#[track_caller]
fn check_found(bytes: &[u8], version: Version, expected: Option<(&str, &str)>) {
    let expected = expected
        .map(|(source, destination)| (source.parse().unwrap(), destination.parse().unwrap()));
    for bytes in [bytes.to_vec(), [bytes, b"GET /"].concat()] {
        let Verdict::Found(header) = inspect(&bytes) else {
            panic!("{:?}", inspect(&bytes));
        };
        assert_eq!(header.version, version);
        assert_eq!(header.addresses, expected);
    }
    let Verdict::Found(header) = inspect(bytes) else {
        unreachable!("it was found above");
    };
    assert_eq!(header.length, bytes.len());
}

#[track_caller]
fn check_malformed(bytes: &[u8], message: &str) {
    let Verdict::Malformed(_, error) = inspect(bytes) else {
        panic!("{:?}", inspect(bytes));
    };
    assert_eq!(error.to_string(), message);
}

#[track_caller]
fn check_need(bytes: &[u8], expected: Option<Version>, at_least: usize) {
    let version = expected;
    assert_eq!(inspect(bytes), Verdict::NeedMore { version, at_least });
}

#[test]
fn lines_tell_addresses() {
    check_found(
        b"PROXY TCP4 10.8.1.1 10.9.1.1 1 2\r\n",
        Version::V1,
        Some(("10.8.1.1:1", "10.9.1.1:2")),
    );
    check_found(
        b"PROXY TCP6 fd00::1 fd00::2 1 65535\r\n",
        Version::V1,
        Some(("[fd00::1]:1", "[fd00::2]:65535")),
    );
    check_found(
        b"PROXY TCP4 10.8.1.1 10.9.1.1 0 2\r\n",
        Version::V1,
        Some(("10.8.1.1:0", "10.9.1.1:2")),
    );
}

#[test]
fn unknown_connections_tell_none() {
    check_found(b"PROXY UNKNOWN\r\n", Version::V1, None);
    check_found(b"PROXY UNKNOWN a b c d e f g h\r\n", Version::V1, None);
    let longest = [&b"PROXY UNKNOWN "[..], &[b'a'; 92], b"\r\n"].concat();
    check_found(&longest, Version::V1, None);
}

#[test]
fn malformed_lines_are_told_apart() {
    let long = [&b"PROXY UNKNOWN "[..], &[b'a'; 93], b"\r\n"].concat();
    check_malformed(
        &long,
        "the line of the PROXY header does not end within 108 bytes",
    );
    let malformed = "the PROXY header of version 1 is malformed";
    for (line, message) in [
        (
            &b"PROXY UNKNOWNX\r\n"[..],
            "Header has an invalid protocol.",
        ),
        (
            b"PROXY UDP4 10.8.1.1 10.9.1.1 1 2\r\n",
            "Header has an invalid protocol.",
        ),
        (
            b"PROXY TCP4  10.8.1.1 10.9.1.1 1 2\r\n",
            "Header contains invalid IP address for the source.",
        ),
        (
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            "Header contains invalid IP address for the source.",
        ),
        (
            b"PROXY TCP4 10.8.1.1 10.09.1.1 1 2\r\n",
            "Header contains invalid IP address for the destination.",
        ),
        (
            b"PROXY TCP4 10.8.1.1 10.9.1.1 1 65536\r\n",
            "Header contains invalid TCP port for the destination.",
        ),
        (
            b"PROXY TCP4 10.8.1.1 10.9.1.1 -1 2\r\n",
            "Header contains invalid TCP port for the source.",
        ),
        (
            b"PROXY TCP4 10.8.1.1\xff 10.9.1.1 1 2\r\n",
            "Header is not valid UTF-8.",
        ),
    ] {
        check_malformed(line, &format!("{malformed}: {message}"));
    }
}

#[test]
fn addresses_that_no_connection_has_are_malformed() {
    for address in ["0.0.0.0", "255.255.255.255", "224.0.0.1"] {
        let told = format!("the PROXY header tells the address {address}, which no connection has");
        let line = format!("PROXY TCP4 {address} 10.9.1.1 1 2\r\n");
        check_malformed(line.as_bytes(), &told);
        let line = format!("PROXY TCP4 10.9.1.1 {address} 1 2\r\n");
        check_malformed(line.as_bytes(), &told);
    }
    check_malformed(
        &v2(0x21, 0x21, &[0; 36]),
        "the PROXY header tells the address ::, which no connection has",
    );
}

#[test]
fn binary_headers_tell_addresses() {
    let ipv4 = Some(("10.8.0.1:80", "10.9.0.1:90"));
    check_found(&v2(0x21, 0x11, IPV4), Version::V2, ipv4);
    check_found(&v2(0x21, 0x12, IPV4), Version::V2, ipv4);
    let mut ipv6 = [0; 36];
    ipv6[15] = 1;
    ipv6[31] = 2;
    ipv6[35] = 7;
    check_found(
        &v2(0x21, 0x21, &ipv6),
        Version::V2,
        Some(("[::1]:0", "[::2]:7")),
    );
    let extended = [IPV4, b"\x01\x00\x00\x05\x00\x02ab"].concat();
    check_found(&v2(0x21, 0x11, &extended), Version::V2, ipv4);
}

#[test]
fn local_connections_tell_none() {
    check_found(&v2(0x20, 0, b""), Version::V2, None);
    check_found(&v2(0x20, 0x11, IPV4), Version::V2, None);
    check_found(&v2(0x20, 0, b"abcde"), Version::V2, None);
    check_found(&v2(0x20, 0x11, b"a"), Version::V2, None);
}

#[test]
fn malformed_binary_headers_are_told_apart() {
    let malformed = "the PROXY header of version 2 is malformed";
    for (header, message) in [
        (
            v2(0x11, 0x11, IPV4),
            "Expected version 10 to be equal to 2.",
        ),
        (
            v2(0x22, 0x11, IPV4),
            "Invalid command 2. Command must be one of: Local, Proxy.",
        ),
        (
            v2(0x21, 0x11, &IPV4[..11]),
            "Header length of 11 bytes cannot store the 12 bytes required for the address family.",
        ),
        (
            v2(0x21, 0x11, &[IPV4, b"\x01\x00\x05a"].concat()),
            "Header is not long enough to contain TLV 1 with length 5.",
        ),
        (
            v2(0x21, 0x11, &[IPV4, b"\x01\x00"].concat()),
            "Header contains leftover 2 bytes not accounted for by the address family or TLVs.",
        ),
    ] {
        check_malformed(&header, &format!("{malformed}: {message}"));
    }
    check_malformed(
        &v2(0x21, 0x01, b""),
        "the PROXY header tells addresses of the family UNSPEC; IPv4 and IPv6 are supported",
    );
    check_malformed(
        &v2(0x21, 0x31, &[0; 216]),
        "the PROXY header tells addresses of the family UNIX; IPv4 and IPv6 are supported",
    );
    check_malformed(
        &v2(0x21, 0x10, IPV4),
        "the PROXY header tells neither of a stream nor of datagrams",
    );
}

#[test]
fn other_bytes_are_no_header() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"h",
        b"PROXYX",
        b"PROXY\r\n",
        b"\r\n\r\n\0\r\nQUIX",
    ] {
        assert_eq!(inspect(bytes), Verdict::Absent, "{bytes:?}");
    }
}

#[test]
fn what_is_missing_is_asked_for() {
    check_need(b"", None, 1);
    check_need(b"P", Some(Version::V1), 2);
    check_need(b"PROXY TCP4 10.", Some(Version::V1), 15);
    check_need(b"\r", Some(Version::V2), 2);
    let header = v2(0x21, 0x11, IPV4);
    check_need(&header[..12], Some(Version::V2), 16);
    check_need(&header[..15], Some(Version::V2), 16);
    check_need(&header[..16], Some(Version::V2), 28);
    check_need(&header[..27], Some(Version::V2), 28);
    check_need(&v2(0x20, 0, b"abcde")[..20], Some(Version::V2), 21);
}

#[track_caller]
fn check_compiled(message: &proto::ProxyProtocol, expected: Result<ProxyProtocol, &[&str]>) {
    let findings = Findings::default();
    let compiled = ProxyProtocol::compile(&findings.at("proxy"), message);
    let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
    assert_eq!(faults, *expected.as_ref().err().unwrap_or(&&[][..]));
    assert_eq!(compiled, expected.ok());
}

#[test]
fn the_filter_does_as_its_message_says() {
    check_compiled(
        &proto::ProxyProtocol::default(),
        Ok(ProxyProtocol::default()),
    );
    let message = proto::ProxyProtocol {
        rules: vec![],
        allow_requests_without_proxy_protocol: true,
        pass_through_tlvs: Some(ProxyProtocolPassThroughTlVs {
            match_type: 1,
            tlv_type: vec![5],
        }),
        disallowed_versions: vec![1],
        stat_prefix: "edge".to_owned(),
        tlv_location: 1,
    };
    check_compiled(
        &message,
        Ok(ProxyProtocol {
            allow_without: true,
            disallowed: [Version::V2].into(),
            stat_prefix: Some("edge".into()),
            pass_through: PassThrough::These([5].into()),
        }),
    );
    let message = proto::ProxyProtocol {
        disallowed_versions: vec![0, 7],
        tlv_location: 9,
        pass_through_tlvs: Some(ProxyProtocolPassThroughTlVs {
            match_type: 1,
            tlv_type: vec![255, 256],
        }),
        ..proto::ProxyProtocol::default()
    };
    check_compiled(
        &message,
        Err(&[
            "proxy.tlv_location: 9 is no location",
            "proxy.disallowed_versions[1]: 7 is no version of the PROXY protocol",
            "proxy.pass_through_tlvs.tlv_type[1]: 256 is no type of an extension; 0 to 255 is",
        ]),
    );
    let message = proto::ProxyProtocol {
        pass_through_tlvs: Some(ProxyProtocolPassThroughTlVs {
            match_type: 2,
            tlv_type: vec![],
        }),
        ..proto::ProxyProtocol::default()
    };
    check_compiled(
        &message,
        Err(&["proxy.pass_through_tlvs.match_type: 2 is no match type"]),
    );
}

#[test]
fn rules_are_told_to_be_left_out() {
    let findings = Findings::default();
    let message = proto::ProxyProtocol {
        rules: vec![Rule {
            tlv_type: 1,
            on_tlv_present: Some(KeyValuePair::default()),
        }],
        ..proto::ProxyProtocol::default()
    };
    assert!(ProxyProtocol::compile(&findings.at("proxy"), &message).is_some());
    assert_eq!(findings.unsupported()[0].path, "proxy.rules");
}

fn tlv(kind: u8, value: &[u8]) -> Tlv {
    Tlv {
        kind,
        value: value.into(),
    }
}

fn upstream(version: Version, pass_through: PassThrough, added: &[Tlv]) -> Upstream {
    Upstream {
        version,
        pass_through,
        added: added.into(),
    }
}

#[track_caller]
fn check_encoded(upstream: &Upstream, addresses: (&str, &str), told: &[Tlv], expected: &[u8]) {
    let header = upstream.encode(parsed(addresses), told).unwrap();
    assert_eq!(
        header.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

fn parsed((source, destination): (&str, &str)) -> (SocketAddr, SocketAddr) {
    (source.parse().unwrap(), destination.parse().unwrap())
}

#[test]
fn upstream_headers_tell_the_connection() {
    let ipv4 = ("10.8.0.1:80", "10.9.0.1:90");
    let line = upstream(Version::V1, PassThrough::All, &[]);
    check_encoded(
        &line,
        ipv4,
        &[tlv(1, b"a")],
        b"PROXY TCP4 10.8.0.1 10.9.0.1 80 90\r\n",
    );
    check_encoded(
        &line,
        ("[::1]:1", "[::2]:2"),
        &[],
        b"PROXY TCP6 ::1 ::2 1 2\r\n",
    );
    check_encoded(
        &line,
        ("10.8.0.1:1", "[fd00::2]:2"),
        &[],
        b"PROXY TCP6 ::ffff:10.8.0.1 fd00::2 1 2\r\n",
    );
    let binary = upstream(Version::V2, PassThrough::Nothing, &[]);
    check_encoded(&binary, ipv4, &[tlv(1, b"a")], &v2(0x21, 0x11, IPV4));
}

#[test]
fn headers_of_the_proxys_own_connections_tell_no_downstream() {
    let addresses = parsed(("10.8.0.1:80", "10.9.0.1:90"));
    for (version, expected) in [
        (
            Version::V1,
            b"PROXY TCP4 10.8.0.1 10.9.0.1 80 90\r\n".to_vec(),
        ),
        (Version::V2, v2(0x20, 0, b"")),
    ] {
        let header = upstream(version, PassThrough::All, &[tlv(1, b"a")]).encode_own(addresses);
        assert_eq!(header, expected, "{version:?}");
    }
}

#[test]
fn upstream_headers_have_the_extensions_that_are_asked_for() {
    let ipv4 = ("10.8.0.1:80", "10.9.0.1:90");
    let downstream = [tlv(1, b"a"), tlv(2, b"b"), tlv(3, b"c")];
    let these = PassThrough::These([1, 2].into());
    let binary = upstream(Version::V2, these, &[tlv(2, b"new")]);
    let expected = [IPV4, b"\x02\x00\x03new\x01\x00\x01a"].concat();
    check_encoded(&binary, ipv4, &downstream, &v2(0x21, 0x11, &expected));
    let long = [tlv(1, &[0; 40000]), tlv(2, &[0; 40000])];
    let all = upstream(Version::V2, PassThrough::All, &[]);
    let error = all.encode(parsed(ipv4), &long).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the extensions are longer than a PROXY header holds, which is 65,535 bytes"
    );
}

#[track_caller]
fn check_upstream(message: Option<&ProxyProtocolConfig>, expected: Result<Upstream, &[&str]>) {
    let findings = Findings::default();
    let compiled = Upstream::compile(&findings.at("config"), message);
    let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
    assert_eq!(faults, *expected.as_ref().err().unwrap_or(&&[][..]));
    assert_eq!(compiled, expected.ok());
}

#[test]
fn the_upstream_header_is_as_its_message_says() {
    check_upstream(None, Ok(upstream(Version::V1, PassThrough::Nothing, &[])));
    let message = ProxyProtocolConfig {
        version: 1,
        pass_through_tlvs: Some(ProxyProtocolPassThroughTlVs::default()),
        added_tlvs: vec![TlvEntry {
            r#type: 224,
            value: b"v".to_vec(),
            format_string: None,
        }],
    };
    let expected = upstream(Version::V2, PassThrough::All, &[tlv(224, b"v")]);
    check_upstream(Some(&message), Ok(expected));
    let entry = |r#type, value, format_string| TlvEntry {
        r#type,
        value,
        format_string,
    };
    let message = ProxyProtocolConfig {
        version: 2,
        pass_through_tlvs: None,
        added_tlvs: vec![
            entry(256, vec![], None),
            entry(1, vec![], Some(SubstitutionFormatString::default())),
            entry(1, vec![0; 65536], None),
        ],
    };
    check_upstream(
        Some(&message),
        Err(&[
            "config.version: 2 is no version of the PROXY protocol",
            "config.added_tlvs[0].type: 256 is no type of an extension; 0 to 255 is",
            "config.added_tlvs[1].format_string: is not supported; a value is",
            "config.added_tlvs[2].value: has 65536 bytes; 65535 is the most",
        ]),
    );
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let line = "PROXY (TCP4|TCP6|UNKNOWN|TCP) ?[0-9.:f]{0,12} [0-9.:f]{0,12} [0-9]{0,6} [0-9]{0,6}\r?\n?.{0,9}";
    let binary = (
        0x1f..0x23_u8,
        0..0x33_u8,
        vec(any::<u8>(), 0..60),
        0..90usize,
    );
    let binary = binary.prop_map(|(command, family, payload, length)| {
        let mut header = v2(command, family, &payload);
        header.truncate(length);
        header
    });
    prop_oneof![
        line.prop_map(String::into_bytes),
        binary,
        vec(any::<u8>(), 0..40)
    ]
}

proptest! {
    #[test]
    fn byte_by_byte_is_as_at_once(bytes in hostile()) {
        let at_once = inspect(&bytes);
        for length in 0..bytes.len() {
            match inspect(&bytes[..length]) {
                Verdict::NeedMore { at_least, .. } => prop_assert!(at_least > length),
                verdict => {
                    prop_assert_eq!(verdict, at_once);
                    break;
                }
            }
        }
    }

    #[test]
    fn what_is_written_can_be_read(
        ips in any::<(std::net::Ipv6Addr, std::net::Ipv6Addr)>(),
        ports in any::<(u16, u16)>(),
        value in vec(any::<u8>(), 0..40),
        binary in any::<bool>(),
    ) {
        let source = SocketAddr::from((ips.0, ports.0));
        let destination = SocketAddr::from((ips.1, ports.1));
        prop_assume!(unicast((source.ip(), 0), (destination.ip(), 0)).is_ok());
        let version = if binary { Version::V2 } else { Version::V1 };
        let header = upstream(version, PassThrough::Nothing, &[tlv(9, &value)]);
        let header = header.encode((source, destination), &[]).unwrap();
        let Verdict::Found(read) = inspect(&header) else {
            panic!("{:?}", inspect(&header));
        };
        prop_assert_eq!(read.addresses, Some((source, destination)));
        if binary {
            prop_assert_eq!(&*read.tlvs(&PassThrough::All), &[tlv(9, &value)]);
        }
    }
}

//! Headers of the PROXY protocol.

use std::net::SocketAddr;

use fairlead_proxy::inspector::proxy_protocol::{PassThrough, Verdict, Version, inspect};
use fastrand::Rng;

use crate::{
    fuzz,
    mutation::{mutation, one_of},
};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

const LINES: &[&[u8]] = &[
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET / HTTP/1.1\r\n\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8:ffff::9 65535 1\r\n\x16\x03\x01",
    b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n",
    b"PROXY UNKNOWN\r\nhello",
    b"PROXY UNKNOWN a b c d\r\n",
];

const PIECES: &[&[u8]] = &[
    b"",
    b" ",
    b"\r",
    b"\n",
    b"\r\n",
    b"PROXY ",
    b"TCP4",
    b"TCP6",
    b"UNKNOWN",
    b"::",
    b"::ffff:1.2.3.4",
    b"0.0.0.0",
    b"255.255.255.255",
    b"-1",
    b"65536",
    b"\xff\xff",
    b"\0\0",
    SIGNATURE,
    b"\x20\x00",
    b"\x21\x11\x00\x0c",
    b"\x21\x21\x00\x24",
    b"\x21\x31\x00\xd8",
    b"\x03\x00\x04crc!",
    b"\x20\x00\x05\x01\0\0\0\0",
];

/// A line, or a binary header with extensions, mostly mutated.
fn header(rng: &mut Rng) -> Vec<u8> {
    let sound = if rng.bool() {
        one_of(rng, LINES).to_vec()
    } else {
        binary(rng)
    };
    match rng.u8(..8) {
        0 => sound,
        _ => mutation(rng, &sound, PIECES),
    }
}

fn binary(rng: &mut Rng) -> Vec<u8> {
    let (family, length) =
        [(0x11, 12), (0x12, 12), (0x21, 36), (0x31, 216), (0, 0)][rng.usize(..5)];
    let mut rest: Vec<u8> = (0..length).map(|_| rng.u8(1..224)).collect();
    for _ in 0..rng.usize(..4) {
        let value = rng.u8(..40);
        rest.extend([rng.u8(..), 0, value]);
        rest.extend((0..value).map(|_| rng.u8(..)));
    }
    let mut header = SIGNATURE.to_vec();
    header.extend([0x20 | rng.u8(..2), family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header.extend(b"the connection's own bytes");
    header
}

/// The verdict, of which nothing depends on what comes after the header.
#[derive(Debug, PartialEq)]
enum Told {
    NeedMore,
    Absent,
    Malformed(Version),
    Found(Version, usize, Option<(SocketAddr, SocketAddr)>, usize),
}

fn told(bytes: &[u8]) -> Told {
    match inspect(bytes) {
        Verdict::NeedMore { at_least, .. } => {
            assert!(at_least > bytes.len(), "{at_least} bytes are there");
            // What a header tells of its length is at most two bytes.
            assert!(at_least <= 16 + usize::from(u16::MAX));
            Told::NeedMore
        }
        Verdict::Absent => Told::Absent,
        Verdict::Malformed(version, error) => {
            assert!(!error.to_string().is_empty());
            Told::Malformed(version)
        }
        Verdict::Found(header) => {
            assert!(header.length <= bytes.len());
            let tlvs = header.tlvs(&PassThrough::All);
            Told::Found(header.version, header.length, header.addresses, tlvs.len())
        }
    }
}

#[test]
fn a_header_means_the_same_however_its_bytes_arrive() {
    fuzz(10_000, header, |bytes| {
        let whole = told(bytes);
        let mut decided = None;
        for end in 0..=bytes.len() {
            let now = told(&bytes[..end]);
            match &decided {
                None if now == Told::NeedMore => {}
                None => decided = Some(now),
                Some(before) => assert_eq!(before, &now, "at {end} bytes"),
            }
        }
        assert_eq!(decided.unwrap_or(Told::NeedMore), whole);
    });
}

//! The first message of TLS.

use std::{io::Cursor, sync::Arc};

use fairlead_proxy::inspector::tls::{ClientHello, Verdict, inspect, inspect_within};
use fastrand::Rng;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    server::Acceptor,
    version::{TLS12, TLS13},
};

use crate::{fuzz, mutation::mutation};

const PIECES: &[&[u8]] = &[
    b"",
    b"\0",
    b"\xff\xff",
    b"\x16\x03\x01\x00\x01",
    b"\x16\x03\x03\x00\x00",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x01\x00\x00\x10",
    b"\x03\x03",
    b"\0\0\0\x08\0\x06\0\0\x03a.b",
    b"\0\x10\0\x05\0\x03\x02h2",
    b"\0\x10\0\x02\0\0",
    b"\x0a\x0a\0\0",
];

/// A hello as a client sends it.
fn sound(rng: &mut Rng) -> Vec<u8> {
    let versions: &[&SupportedProtocolVersion] = match rng.u8(..3) {
        0 => &[&TLS13],
        1 => &[&TLS12],
        _ => &[&TLS12, &TLS13],
    };
    let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.enable_sni = rng.bool();
    for _ in 0..rng.usize(..3) {
        config.alpn_protocols.push(vec![b'a'; rng.usize(1..256)]);
    }
    let name = [
        "a.b",
        "Cart.Shop.Example",
        "192.0.2.1",
        "xn--bcher-kva.example",
    ][rng.usize(..4)];
    let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The message in records of other lengths, some of them empty.
fn in_records(rng: &mut Rng, hello: &[u8]) -> Vec<u8> {
    let (header, mut message) = hello.split_at(5);
    let mut records = Vec::new();
    while !message.is_empty() {
        let (fragment, rest) = message.split_at(rng.usize(..=message.len().min(200)));
        records.extend(&header[..3]);
        records.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
        records.extend(fragment);
        message = rest;
    }
    records
}

fn hello(rng: &mut Rng) -> Vec<u8> {
    let mut hello = sound(rng);
    if rng.bool() {
        hello = in_records(rng, &hello);
    }
    match rng.u8(..8) {
        0 => hello,
        _ => mutation(rng, &hello, PIECES),
    }
}

#[derive(Debug, PartialEq)]
enum Told {
    NeedMore,
    NotTls,
    Tls(ClientHello),
    UnknownVersion(u16),
    TooLarge,
}

fn told(verdict: Verdict, bytes: &[u8], limit: usize) -> Told {
    match verdict {
        Verdict::NeedMore { at_least } => {
            assert!(at_least > bytes.len() && at_least <= limit, "{at_least}");
            Told::NeedMore
        }
        Verdict::NotTls { processed } => {
            assert!(processed <= bytes.len());
            Told::NotTls
        }
        Verdict::Tls { hello, processed } => {
            assert!(processed <= bytes.len());
            Told::Tls(hello)
        }
        Verdict::UnknownVersion { version, processed } => {
            assert!(processed <= bytes.len());
            Told::UnknownVersion(version)
        }
        Verdict::TooLarge => Told::TooLarge,
    }
}

#[test]
fn a_hello_means_the_same_however_its_bytes_arrive() {
    let make = |rng: &mut Rng| (hello(rng), rng.usize(256..2_000));
    fuzz(1_000, make, |(bytes, limit)| {
        let mut decided = None;
        for end in 0..=bytes.len() {
            let window = &bytes[..end];
            let now = told(inspect_within(window, *limit), window, *limit);
            match &decided {
                None if now == Told::NeedMore => {}
                None => decided = Some(now),
                Some(before) => assert_eq!(before, &now, "at {end} bytes"),
            }
        }
    });
}

#[test]
fn every_sound_hello_is_recognised() {
    let make = |rng: &mut Rng| {
        let hello = sound(rng);
        in_records(rng, &hello)
    };
    fuzz(500, make, |bytes| {
        assert!(matches!(inspect(bytes), Verdict::Tls { .. }));
    });
}

#[test]
fn a_hello_is_recognised_with_the_names_that_the_handshake_finds() {
    fuzz(5_000, hello, |bytes| {
        let mut acceptor = Acceptor::default();
        let mut rest = Cursor::new(bytes);
        let accepted = loop {
            match acceptor.read_tls(&mut rest) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => break accepted,
                Ok(None) => {}
                Err(_) => return,
            }
        };
        let accepted = accepted.client_hello();
        match inspect(bytes) {
            Verdict::Tls { hello, .. } => {
                if let Some(name) = accepted.server_name() {
                    assert_eq!(hello.server_name.as_deref(), Some(name));
                }
                let offered: Vec<&[u8]> = accepted.alpn().into_iter().flatten().collect();
                let seen: Vec<&[u8]> = hello.application_protocols.iter().collect();
                assert_eq!(seen, offered);
            }
            // What Envoy does not take either: such as a version that is none, or a list of names in
            // which more follows the one.
            Verdict::UnknownVersion { .. } | Verdict::NotTls { .. } => {}
            other => panic!("{other:?}"),
        }
    });
}

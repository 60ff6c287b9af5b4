use super::*;

/// A client's certificate. What is expected of it is what Envoy prints.
const CLIENT: &str = "\
    MIICSDCCAe6gAwIBAgIEBqsSzTAKBggqhkjOPQQDAjAmMRUwEwYDVQQKDAxUZXN0\
    LCAiUm9vdCIxDTALBgNVBAMMBHJvb3QwHhcNMjYxMTIxMjIzMjUwWhcNMjcwMzAx\
    MjIzMjUwWjBrMQswCQYDVQQGEwJVUzETMBEGA1UECAwKQ2FsaWZvcm5pYTESMBAG\
    A1UECgwJVGVzdCwgT3JnMQwwCgYDVQQLDAMgYiMxDzANBgNVBAMMBmNsaWVudDEU\
    MBIGCSqGSIb3DQEJARYFeEB5LnowWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT5\
    KSASQH23a5X05rGJ09+KQMAwPY7aiuLej0fsQUR8jT2Szb+9/PC6Poks2z7fkgGD\
    OjOcP53mjvWQ3siOVQT0o4HEMIHBMH8GA1UdEQR4MHaGGnNwaWZmZTovL3RkL25z\
    L2Evc2EvY2xpZW50hgd1cm46dHdvgg5jbGllbnQuZXhhbXBsZYIJbG9jYWxob3N0\
    hwR/AAABhxAAAAAAAAAAAAAAAAAAAAABgQVtQHgueaAVBgorBgEEAYI3FAIDoAcM\
    BXVwbkB4MB0GA1UdDgQWBBRZRSG1yJTqfGcza3mpdRq2HAOiUDAfBgNVHSMEGDAW\
    gBQjXwMJRw5UbTAHXi6ve4+H1rJrgDAKBggqhkjOPQQDAgNIADBFAiEAzXMK65xe\
    c85BxdMbPE5PLHr/D3N1GyEK2OE9QvGiio0CICGBvOU/fd5z7z3LO2yK/wAdU6iD\
    CzrPQioLIxpPEOqi\
";

pub(in crate::access_log::format) const PEM: &str = "-----BEGIN%20CERTIFICATE-----%0A\
    MIICSDCCAe6gAwIBAgIEBqsSzTAKBggqhkjOPQQDAjAmMRUwEwYDVQQKDAxUZXN0%0A\
    LCAiUm9vdCIxDTALBgNVBAMMBHJvb3QwHhcNMjYxMTIxMjIzMjUwWhcNMjcwMzAx%0A\
    MjIzMjUwWjBrMQswCQYDVQQGEwJVUzETMBEGA1UECAwKQ2FsaWZvcm5pYTESMBAG%0A\
    A1UECgwJVGVzdCwgT3JnMQwwCgYDVQQLDAMgYiMxDzANBgNVBAMMBmNsaWVudDEU%0A\
    MBIGCSqGSIb3DQEJARYFeEB5LnowWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT5%0A\
    KSASQH23a5X05rGJ09%2BKQMAwPY7aiuLej0fsQUR8jT2Szb%2B9%2FPC6Poks2z7fkgGD%0A\
    OjOcP53mjvWQ3siOVQT0o4HEMIHBMH8GA1UdEQR4MHaGGnNwaWZmZTovL3RkL25z%0A\
    L2Evc2EvY2xpZW50hgd1cm46dHdvgg5jbGllbnQuZXhhbXBsZYIJbG9jYWxob3N0%0A\
    hwR%2FAAABhxAAAAAAAAAAAAAAAAAAAAABgQVtQHgueaAVBgorBgEEAYI3FAIDoAcM%0A\
    BXVwbkB4MB0GA1UdDgQWBBRZRSG1yJTqfGcza3mpdRq2HAOiUDAfBgNVHSMEGDAW%0A\
    gBQjXwMJRw5UbTAHXi6ve4%2BH1rJrgDAKBggqhkjOPQQDAgNIADBFAiEAzXMK65xe%0A\
    c85BxdMbPE5PLHr%2FD3N1GyEK2OE9QvGiio0CICGBvOU%2Ffd5z7z3LO2yK%2FwAdU6iD%0A\
    CzrPQioLIxpPEOqi%0A\
    -----END%20CERTIFICATE-----%0A";

pub(in crate::access_log::format) fn certificate() -> CertificateDer<'static> {
    let digit = |byte| {
        BASE64
            .iter()
            .position(|digit| *digit == byte)
            .unwrap_or_default()
    };
    let digits: Vec<_> = CLIENT
        .bytes()
        .filter(|byte| BASE64.contains(byte))
        .collect();
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let bits =
            group.iter().fold(0, |bits, byte| bits << 6 | digit(*byte)) << (6 * (4 - group.len()));
        let three = [bits >> 16, bits >> 8, bits].map(|bits| bits as u8);
        bytes.extend_from_slice(&three[..group.len() - 1]);
    }
    bytes.into()
}

#[test]
fn a_certificate_is_printed_as_envoy_prints_it() {
    for (attribute, expected) in [
        (Attribute::UriNames, "spiffe://td/ns/a/sa/client,urn:two"),
        (Attribute::DnsNames, "client.example,localhost"),
        (Attribute::IpNames, "127.0.0.1,::1"),
        (Attribute::EmailNames, "m@x.y"),
        (Attribute::OtherNames, "upn@x"),
        (
            Attribute::Subject,
            "emailAddress=x@y.z,CN=client,OU=\\ b#,O=Test\\, Org,ST=California,C=US",
        ),
        (Attribute::Issuer, "CN=root,O=Test\\, \\\"Root\\\""),
        (Attribute::Serial, "06ab12cd"),
        (
            Attribute::Fingerprint256,
            "3d92d92b2a371f53a907550f624b1b82d22835195d9a236a1b53f56085ec447a",
        ),
        (
            Attribute::Fingerprint1,
            "32595fcaafe3781a90a8ec83c6832826be18254b",
        ),
        (Attribute::Pem, PEM),
    ] {
        let text = text(&certificate(), attribute);
        assert_eq!(text.as_deref(), Some(expected), "{attribute:?}");
    }
    let seconds = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(
        validity(&certificate()),
        Some((seconds(1_795_300_370), seconds(1_803_940_370)))
    );
}

#[test]
fn what_is_no_certificate_has_only_a_fingerprint() {
    for bytes in [&b""[..], b"abc", &[0x30, 0x82, 0xff, 0xff], &[0x30; 40]] {
        let certificate = CertificateDer::from(bytes.to_vec());
        assert_eq!(text(&certificate, Attribute::Subject), None);
        assert_eq!(text(&certificate, Attribute::UriNames), None);
        assert_eq!(
            text(&certificate, Attribute::Fingerprint1).map(|text| text.len()),
            Some(40)
        );
        assert_eq!(validity(&certificate), None);
    }
}

#[test]
fn what_is_special_in_a_name_is_escaped() {
    let check = |value: &[u8], expected| {
        let mut text = String::new();
        escape(value, &mut text);
        assert_eq!(text, expected);
    };
    check(b"", "");
    check(b"plain text", "plain text");
    check(b" both ", "\\ both\\ ");
    check(b"#1#", "\\#1#");
    check(b"a,b+c\"d\\e<f>g;h=i", "a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=i");
    check("é\n".as_bytes(), "\\C3\\A9\\0A");
}

#[test]
fn serials_are_whole_bytes() {
    assert_eq!(serial(&[0]), "00");
    assert_eq!(serial(&[1]), "01");
    assert_eq!(serial(&[0, 0xab]), "ab");
    assert_eq!(serial(&[]), "");
}

proptest::proptest! {
    #[test]
    fn no_certificate_is_too_broken(
        place in 0_usize..588,
        byte in proptest::prelude::any::<u8>(),
        length in 0_usize..=588,
    ) {
        let mut bytes = certificate().to_vec();
        bytes[place] = byte;
        bytes.truncate(length);
        let certificate = CertificateDer::from(bytes);
        for attribute in [Attribute::Subject, Attribute::OtherNames, Attribute::IpNames, Attribute::Serial] {
            text(&certificate, attribute);
        }
        validity(&certificate);
    }
}

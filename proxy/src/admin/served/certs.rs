//! `/certs`

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use axum::response::Response;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use x509_parser::{
    extensions::GeneralName,
    prelude::{ASN1Time, FromDer, X509Certificate},
};

use super::Served;
use crate::{admin::handler, tls::HeldCertificates};

/// What stands for a file where there is none.
const INLINE: &str = "<inline>";

const DAY: u64 = 24 * 60 * 60;

/// The certificates that are in use, and the files that they lie in.
pub(super) fn answer(served: &Served) -> Response {
    let now = SystemTime::now();
    let certificates: Vec<Value> = served
        .contexts
        .certificates()
        .iter()
        .filter(|held| !held.chains.is_empty() || !held.trusted.is_empty())
        .map(|held| of_context(held, now))
        .collect();
    handler::json(&json!({ "certificates": certificates }))
}

fn of_context(held: &HeldCertificates, now: SystemTime) -> Value {
    let files: Vec<(&Path, Vec<CertificateDer<'static>>)> =
        held.files.iter().filter_map(|path| in_file(path)).collect();
    let told = |certificate: &CertificateDer<'_>| {
        let found = files
            .iter()
            .find(|(_, inside)| inside.iter().any(|one| one == certificate));
        let path = found.map_or(INLINE.to_owned(), |(path, _)| path.display().to_string());
        details(certificate, &path, now)
    };
    // Of a chain, Envoy tells of the leaf.
    let chains = held.chains.iter().filter_map(|chain| chain.first());
    json!({
        "ca_cert": held.trusted.iter().map(told).collect::<Vec<_>>(),
        "cert_chain": chains.map(told).collect::<Vec<_>>(),
    })
}

/// None where a file has no certificates, as that of a key.
fn in_file(path: &PathBuf) -> Option<(&Path, Vec<CertificateDer<'static>>)> {
    let text = fs::read(path).ok()?;
    let inside: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .filter_map(Result::ok)
        .collect();
    (!inside.is_empty()).then_some((path, inside))
}

fn details(certificate: &CertificateDer<'_>, path: &str, now: SystemTime) -> Value {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return json!({ "path": path });
    };
    let validity = parsed.validity();
    let until = moment(&validity.not_after);
    let left = until.duration_since(now).unwrap_or_default();
    json!({
        "path": path,
        "serial_number": format!("{:x}", parsed.serial),
        "subject_alt_names": alternative_names(&parsed),
        "days_until_expiration": (left.as_secs() / DAY).to_string(),
        "valid_from": stamp(moment(&validity.not_before)),
        "expiration_time": stamp(until),
    })
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<Value> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(json!({ "dns": name })),
            GeneralName::URI(uri) => Some(json!({ "uri": uri })),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
                let v6 = || <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
                let ip = v4.or_else(|_| v6()).ok()?;
                Some(json!({ "ip_address": ip.to_string() }))
            }
            _ => None,
        })
        .collect()
}

fn moment(time: &ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn stamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, SerialNumber, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_is_told_as_envoy_tells_it() {
        let mut params = CertificateParams::new(vec!["a.b".to_owned()]).unwrap();
        let uri = SanType::URI("spiffe://x/y".try_into().unwrap());
        params.subject_alt_names.push(uri);
        let ip = SanType::IpAddress([1, 2, 3, 4].into());
        params.subject_alt_names.push(ip);
        params.serial_number = Some(SerialNumber::from(vec![0x01, 0xab]));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_801);
        assert_eq!(
            details(certificate.der(), "/a", now),
            json!({
                "path": "/a",
                "serial_number": "1ab",
                "subject_alt_names":
                    [{ "dns": "a.b" }, { "uri": "spiffe://x/y" }, { "ip_address": "1.2.3.4" }],
                "days_until_expiration": "29",
                "valid_from": "2020-01-01T00:00:00Z",
                "expiration_time": "2020-01-31T00:00:00Z",
            })
        );
        let later = now + Duration::from_secs(365 * DAY);
        assert_eq!(
            details(certificate.der(), "/a", later)["days_until_expiration"],
            "0"
        );
    }
}

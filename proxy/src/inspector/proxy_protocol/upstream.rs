//! The PROXY header of an upstream connection (`envoy.config.core.v3.ProxyProtocolConfig`).

use std::net::{IpAddr, SocketAddr};

use fairlead_xds::envoy::config::core::v3::{ProxyProtocolConfig, TlvEntry};
use ppp::{v1, v2};

use super::{PassThrough, SIGNATURE_V2, Tlv, Version, tlv::kind_of};
use crate::compile::At;

/// Which header an upstream connection starts with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// Of the protocol.
    pub version: Version,
    /// Which extensions of the downstream header are in this one, too.
    pub pass_through: PassThrough,
    /// Further extensions. They take the place of those of their type that are passed through.
    pub added: Box<[Tlv]>,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The length of a header is told in two bytes.
    #[error("the extensions are longer than a PROXY header holds, which is 65,535 bytes")]
    TooLong,
}

impl Upstream {
    /// What the message asks for. Without a message it is version 1, as in Envoy.
    pub fn compile(at: &At<'_>, message: Option<&ProxyProtocolConfig>) -> Option<Self> {
        let Some(ProxyProtocolConfig {
            version,
            pass_through_tlvs,
            added_tlvs,
        }) = message
        else {
            return Some(Self {
                version: Version::V1,
                pass_through: PassThrough::Nothing,
                added: Box::default(),
            });
        };
        let version = Version::compile(&at.field("version"), *version);
        let pass_through =
            PassThrough::compile(&at.field("pass_through_tlvs"), pass_through_tlvs.as_ref());
        let added = at.each("added_tlvs", added_tlvs, added);
        if added.len() != added_tlvs.len() {
            return None;
        }
        Some(Self {
            version: version?,
            pass_through: pass_through?,
            added: added.into(),
        })
    }

    /// The header that tells of a connection from the first address to the second, with extensions
    /// of its own header.
    ///
    /// Addresses of two families are told as those of IPv6.
    ///
    /// # Errors
    ///
    /// Where there is more in it than a header holds.
    pub fn encode(
        &self,
        addresses: (SocketAddr, SocketAddr),
        downstream: &[Tlv],
    ) -> Result<Vec<u8>, EncodeError> {
        let (source, destination) = addresses;
        let addresses = if source.is_ipv4() == destination.is_ipv4() {
            addresses
        } else {
            (mapped(source), mapped(destination))
        };
        match self.version {
            Version::V1 => Ok(line(addresses)),
            Version::V2 => self.extend(
                v2::Builder::with_addresses(
                    v2::Version::Two | v2::Command::Proxy,
                    v2::Protocol::Stream,
                    addresses,
                ),
                downstream,
            ),
        }
    }

    /// The header of a connection that the proxy makes for itself, as to check the health of the
    /// upstream: version 1 tells its own two addresses, version 2 nothing but that, as Envoy does.
    pub fn encode_own(&self, addresses: (SocketAddr, SocketAddr)) -> Vec<u8> {
        match self.version {
            Version::V1 => line(addresses),
            Version::V2 => [
                SIGNATURE_V2,
                &[v2::Version::Two | v2::Command::Local, 0, 0, 0],
            ]
            .concat(),
        }
    }

    fn extend(&self, header: v2::Builder, downstream: &[Tlv]) -> Result<Vec<u8>, EncodeError> {
        let replaced = |tlv: &&Tlv| self.added.iter().any(|added| added.kind == tlv.kind);
        let passed = downstream
            .iter()
            .filter(|tlv| self.pass_through.passes(tlv.kind))
            .filter(|tlv| !replaced(tlv));
        let mut header = header;
        for tlv in self.added.iter().chain(passed) {
            header = header
                .write_tlv(tlv.kind, &tlv.value)
                .map_err(|_| EncodeError::TooLong)?;
        }
        header.build().map_err(|_| EncodeError::TooLong)
    }
}

fn line(addresses: (SocketAddr, SocketAddr)) -> Vec<u8> {
    v1::Addresses::from(addresses).to_string().into_bytes()
}

fn added(at: &At<'_>, message: &TlvEntry) -> Option<Tlv> {
    let TlvEntry {
        r#type,
        value,
        format_string,
    } = message;
    let kind = kind_of(&at.field("type"), *r#type);
    if format_string.is_some() {
        return at
            .field("format_string")
            .fault("is not supported; a value is");
    }
    if value.len() > usize::from(u16::MAX) {
        return at
            .field("value")
            .fault(format!("has {} bytes; 65535 is the most", value.len()));
    }
    Some(Tlv {
        kind: kind?,
        value: value.as_slice().into(),
    })
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped(), address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

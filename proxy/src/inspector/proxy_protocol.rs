//! The PROXY protocol: a load balancer tells, before the first byte of the connection it passes on,
//! whose connection it is (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).
//!
//! [`inspect`] reads the header of a downstream connection, as Envoy's listener filter does
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/proxy_protocol>);
//! [`Upstream::encode`] writes the one of an upstream connection. The formats are `ppp`'s business,
//! but for what Envoy leaves out: local connections and unknown addresses have nothing to read.

mod tlv;
mod upstream;

use std::net::{IpAddr, SocketAddr};

use fairlead_xds::envoy::{
    config::core::v3::proxy_protocol_config,
    extensions::filters::listener::proxy_protocol::v3::{
        self as proto, proxy_protocol::TlvLocation,
    },
};
use ppp::{v1, v2};

pub use self::{
    tlv::{PassThrough, Tlv},
    upstream::{EncodeError, Upstream},
};
use crate::compile::At;

/// The line of version 1, with its end. One more byte than the specification has it, as in Envoy.
const MAX_LINE: usize = 108;
const SIGNATURE_V1: &[u8] = b"PROXY ";
const SIGNATURE_V2: &[u8] = v2::PROTOCOL_PREFIX;
/// The signature, the version and command, the family, and the length of the rest.
const FIXED_V2: usize = SIGNATURE_V2.len() + 4;

/// What is asked of the inspection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProxyProtocol {
    /// Whether a connection without a header is taken as it is.
    pub allow_without: bool,
    /// The versions that are refused.
    pub disallowed: Box<[Version]>,
    /// Part of the names of the filter's statistics.
    pub stat_prefix: Option<Box<str>>,
    /// Which extensions are kept for the upstream connection.
    pub pass_through: PassThrough,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyProtocol {
    /// What the message asks for.
    pub fn compile(at: &At<'_>, message: &proto::ProxyProtocol) -> Option<Self> {
        let proto::ProxyProtocol {
            rules,
            allow_requests_without_proxy_protocol,
            pass_through_tlvs,
            disallowed_versions,
            stat_prefix,
            tlv_location,
        } = message;
        if !rules.is_empty() {
            at.field("rules")
                .unsupported("no metadata is made of extensions (TLVs)");
        }
        let located = TlvLocation::try_from(*tlv_location).is_ok();
        if !located {
            at.field("tlv_location")
                .fault::<()>(format!("{tlv_location} is no location"));
        }
        let disallowed = at.each("disallowed_versions", disallowed_versions, |at, version| {
            Version::compile(at, *version)
        });
        let pass_through =
            PassThrough::compile(&at.field("pass_through_tlvs"), pass_through_tlvs.as_ref());
        if !located || disallowed.len() != disallowed_versions.len() {
            return None;
        }
        Some(Self {
            allow_without: *allow_requests_without_proxy_protocol,
            disallowed: disallowed.into(),
            stat_prefix: (!stat_prefix.is_empty()).then(|| stat_prefix.as_str().into()),
            pass_through: pass_through?,
        })
    }

    /// Whether headers of the version are taken.
    pub fn allows(&self, version: Version) -> bool {
        !self.disallowed.contains(&version)
    }
}

impl Version {
    fn compile(at: &At<'_>, version: i32) -> Option<Self> {
        match proxy_protocol_config::Version::try_from(version) {
            Ok(proxy_protocol_config::Version::V1) => Some(Self::V1),
            Ok(proxy_protocol_config::Version::V2) => Some(Self::V2),
            Err(_) => at.fault(format!("{version} is no version of the PROXY protocol")),
        }
    }
}

/// What the bytes are.
#[derive(Debug, PartialEq)]
pub enum Verdict<'a> {
    /// It cannot be told, whatever comes, before there are this many bytes.
    NeedMore {
        /// The version that the bytes can only be of.
        version: Option<Version>,
        /// Of the whole connection.
        at_least: usize,
    },
    /// No header.
    Absent,
    /// A header.
    Found(Header<'a>),
    /// A header that says nothing sound.
    Malformed(Version, HeaderError),
}

/// What a header tells.
#[derive(Debug, PartialEq)]
pub struct Header<'a> {
    /// Of the protocol.
    pub version: Version,
    /// The source and the destination of the connection that is passed on. A load balancer's own
    /// connection, such as a health check, has none.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// The bytes of the header, which are not the connection's own.
    pub length: usize,
    extensions: &'a [u8],
}

impl Header<'_> {
    /// The extensions that are to be passed through.
    pub fn tlvs(&self, pass_through: &PassThrough) -> Box<[Tlv]> {
        let sound = v2::TypeLengthValues::from(self.extensions).flatten();
        let passed = sound.filter(|tlv| pass_through.passes(tlv.kind));
        passed
            .map(|tlv| Tlv {
                kind: tlv.kind,
                value: (&*tlv.value).into(),
            })
            .collect()
    }
}

/// Why a header is malformed.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum HeaderError {
    /// A line without an end.
    #[error("the line of the PROXY header does not end within {MAX_LINE} bytes")]
    LineTooLong,
    /// A line that cannot be read.
    #[error("the PROXY header of version 1 is malformed: {0}")]
    Line(v1::BinaryParseError),
    /// A binary header that cannot be read.
    #[error("the PROXY header of version 2 is malformed: {0}")]
    Binary(v2::ParseError),
    /// Addresses that are none of IP.
    #[error("the PROXY header tells addresses of the family {0}; IPv4 and IPv6 are supported")]
    Family(&'static str),
    /// Neither of TCP nor of UDP.
    #[error("the PROXY header tells neither of a stream nor of datagrams")]
    Transport,
    /// An address that no connection has.
    #[error("the PROXY header tells the address {0}, which no connection has")]
    NotUnicast(IpAddr),
}

/// Looks for a PROXY header in the first bytes of a connection.
pub fn inspect(bytes: &[u8]) -> Verdict<'_> {
    let fits = |signature: &[u8]| {
        let length = bytes.len().min(signature.len());
        bytes[..length] == signature[..length]
    };
    match (fits(SIGNATURE_V1), fits(SIGNATURE_V2)) {
        (true, true) => Verdict::NeedMore {
            version: None,
            at_least: 1,
        },
        (true, false) => inspect_v1(bytes),
        (false, true) => inspect_v2(bytes),
        (false, false) => Verdict::Absent,
    }
}

fn inspect_v1(bytes: &[u8]) -> Verdict<'_> {
    let version = Version::V1;
    let window = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if window.len() < MAX_LINE {
            Verdict::NeedMore {
                version: Some(version),
                at_least: window.len() + 1,
            }
        } else {
            Verdict::Malformed(version, HeaderError::LineTooLong)
        };
    };
    let line = &window[..end + 2];
    let found = |addresses| Header {
        version,
        addresses,
        length: line.len(),
        extensions: &[],
    };
    let protocol = line[SIGNATURE_V1.len()..]
        .split(|byte| matches!(byte, b' ' | b'\r'))
        .next();
    // What follows the word is for nobody to read.
    if protocol == Some(b"UNKNOWN") {
        return Verdict::Found(found(None));
    }
    let addresses = match v1::Header::try_from(line) {
        Ok(header) => match header.addresses {
            v1::Addresses::Unknown => Ok(None),
            v1::Addresses::Tcp4(told) => unicast(
                (told.source_address.into(), told.source_port),
                (told.destination_address.into(), told.destination_port),
            ),
            v1::Addresses::Tcp6(told) => unicast(
                (told.source_address.into(), told.source_port),
                (told.destination_address.into(), told.destination_port),
            ),
        },
        Err(error) => Err(HeaderError::Line(error)),
    };
    match addresses {
        Ok(addresses) => Verdict::Found(found(addresses)),
        Err(error) => Verdict::Malformed(version, error),
    }
}

fn inspect_v2(bytes: &[u8]) -> Verdict<'_> {
    let version = Version::V2;
    let need = |at_least| Verdict::NeedMore {
        version: Some(version),
        at_least,
    };
    let Some([.., command, _, high, low]) = bytes.first_chunk::<FIXED_V2>() else {
        // Each byte of the signature can tell that it is something else.
        let signature = bytes.len() < SIGNATURE_V2.len();
        return need(if signature { bytes.len() + 1 } else { FIXED_V2 });
    };
    let length = FIXED_V2 + usize::from(u16::from_be_bytes([*high, *low]));
    // The load balancer's own connection: whatever else is in the header is passed over.
    if *command == 0x20 {
        if bytes.len() < length {
            return need(length);
        }
        return Verdict::Found(Header {
            version,
            addresses: None,
            length,
            extensions: &[],
        });
    }
    let header = match v2::Header::try_from(bytes) {
        Ok(header) => header,
        Err(v2::ParseError::Incomplete(_) | v2::ParseError::Partial(..)) => return need(length),
        Err(error) => return Verdict::Malformed(version, HeaderError::Binary(error)),
    };
    match told_v2(&header) {
        Ok(addresses) => Verdict::Found(Header {
            version,
            addresses,
            length,
            extensions: &bytes[FIXED_V2 + header.address_bytes().len()..length],
        }),
        Err(error) => Verdict::Malformed(version, error),
    }
}

type Addresses = Option<(SocketAddr, SocketAddr)>;

fn told_v2(header: &v2::Header<'_>) -> Result<Addresses, HeaderError> {
    if header.protocol == v2::Protocol::Unspecified {
        return Err(HeaderError::Transport);
    }
    if let Some(error) = header.tlvs().find_map(Result::err) {
        return Err(HeaderError::Binary(error));
    }
    match &header.addresses {
        v2::Addresses::IPv4(told) => unicast(
            (told.source_address.into(), told.source_port),
            (told.destination_address.into(), told.destination_port),
        ),
        v2::Addresses::IPv6(told) => unicast(
            (told.source_address.into(), told.source_port),
            (told.destination_address.into(), told.destination_port),
        ),
        v2::Addresses::Unspecified => Err(HeaderError::Family("UNSPEC")),
        v2::Addresses::Unix(_) => Err(HeaderError::Family("UNIX")),
    }
}

fn unicast(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Result<Addresses, HeaderError> {
    for (ip, _) in [source, destination] {
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(HeaderError::NotUnicast(ip));
        }
    }
    Ok(Some((source.into(), destination.into())))
}

#[cfg(test)]
mod tests;

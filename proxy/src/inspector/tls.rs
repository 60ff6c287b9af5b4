//! Is this TLS, and which server does the client ask for
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/tls_inspector>).
//!
//! What a ClientHello holds is read by `tls-parser`. rustls could do it, too; for the hello of a
//! sidecar it takes 1.6 µs where `tls-parser` takes 0.3 µs, it keeps a copy of all bytes, and it
//! refuses hellos that Envoy takes and that are not for us to end: without signature algorithms, or
//! with a server name that is no DNS name. Lengths, order and limits are checked here.

use fairlead_xds::envoy::extensions::filters::listener::tls_inspector::v3 as proto;
use tls_parser::{
    SNIType, TlsClientHelloContents, TlsExtension, TlsExtensionType,
    parse_tls_extension_sni_content, parse_tls_extension_unknown, parse_tls_handshake_client_hello,
    parse_tls_record_header,
};

use super::ApplicationProtocols;
use crate::compile::At;

/// Envoy's own limit, and the most that it can be set to.
const MAX_CLIENT_HELLO_SIZE: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// RFC 8446, section 5.2.
const MAX_RECORD: u16 = (1 << 14) + 256;
/// The legacy versions of TLS 1.0 to 1.3. A record has any version of SSL 3 and later.
const VERSIONS: std::ops::RangeInclusive<u16> = 0x0301..=0x0304;

/// What is asked of the inspection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsInspector {
    /// The bytes in which a ClientHello must end, with the headers of its records.
    pub max_client_hello_size: usize,
    /// Whether a connection that does not start with a ClientHello ends.
    pub close_on_errors: bool,
}

impl TlsInspector {
    /// What the message asks for.
    pub fn compile(at: &At<'_>, message: &proto::TlsInspector) -> Option<Self> {
        let proto::TlsInspector {
            enable_ja3_fingerprinting,
            enable_ja4_fingerprinting,
            initial_read_buffer_size,
            close_connection_on_client_hello_parsing_errors,
            max_client_hello_size,
        } = message;
        for (name, enabled) in [
            ("enable_ja3_fingerprinting", enable_ja3_fingerprinting),
            ("enable_ja4_fingerprinting", enable_ja4_fingerprinting),
        ] {
            if enabled.is_some_and(|enabled| enabled.value) {
                at.field(name)
                    .unsupported("no fingerprint is made of the ClientHello");
            }
        }
        let size = |name: &str, value: &Option<_>, max: u32| {
            let Some(fairlead_xds::google::protobuf::UInt32Value { value }) = *value else {
                return Some(MAX_CLIENT_HELLO_SIZE);
            };
            if !(256..=max).contains(&value) {
                return at
                    .field(name)
                    .fault(format!("{value} is not accepted; 256 to {max} is"));
            }
            usize::try_from(value).ok()
        };
        // Only how many bytes Envoy reads at once depends on it.
        let initial = size("initial_read_buffer_size", initial_read_buffer_size, 65536);
        let max_client_hello_size = size("max_client_hello_size", max_client_hello_size, 16384)?;
        initial.map(|_| Self {
            max_client_hello_size,
            close_on_errors: *close_connection_on_client_hello_parsing_errors,
        })
    }
}

/// What the bytes are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It cannot be told, whatever comes, before there are this many bytes.
    NeedMore {
        /// Of the whole connection.
        at_least: usize,
    },
    /// Not the start of TLS.
    NotTls {
        /// The bytes that were looked at to see it.
        processed: usize,
    },
    /// A ClientHello.
    Tls {
        /// What it asks for.
        hello: ClientHello,
        /// Its bytes, with the headers of its records.
        processed: usize,
    },
    /// A ClientHello of a version that is none.
    UnknownVersion {
        /// As it stands in the hello.
        version: u16,
        /// Its bytes, with the headers of its records.
        processed: usize,
    },
    /// It did not end within the limit.
    TooLarge,
}

/// What a client asks for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientHello {
    /// In lower case.
    pub server_name: Option<Box<str>>,
    /// In the client's order.
    pub application_protocols: ApplicationProtocols,
}

/// Looks for a ClientHello in the first bytes of a connection, with Envoy's own limit.
pub fn inspect(bytes: &[u8]) -> Verdict {
    inspect_within(bytes, MAX_CLIENT_HELLO_SIZE)
}

/// As [`inspect`], with another limit.
pub fn inspect_within(bytes: &[u8], limit: usize) -> Verdict {
    let window = &bytes[..bytes.len().min(limit)];
    match message(window) {
        Message::Partial { .. } if window.len() >= limit => Verdict::TooLarge,
        Message::Partial { at_least } => Verdict::NeedMore {
            at_least: at_least.min(limit),
        },
        Message::None { processed } => Verdict::NotTls { processed },
        Message::InOneRecord { body, processed } => judge(body, processed),
        Message::InRecords { body, processed } => judge(&body, processed),
    }
}

/// The first handshake message.
enum Message<'a> {
    Partial { at_least: usize },
    None { processed: usize },
    InOneRecord { body: &'a [u8], processed: usize },
    InRecords { body: Box<[u8]>, processed: usize },
}

/// Takes the message out of the records that carry it. Nothing else may be in them.
fn message(bytes: &[u8]) -> Message<'_> {
    let mut position = 0;
    let mut gathered = Vec::new();
    loop {
        let rest = &bytes[position..];
        let none = |length: usize| Message::None {
            processed: position + rest.len().min(length),
        };
        // A byte is enough where it fits nothing: a client that sends fewer than a record's header
        // and waits for an answer would wait for ever.
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE)
            || rest.get(1).is_some_and(|major| *major != 3)
        {
            return none(RECORD_HEADER);
        }
        let Ok((after, header)) = parse_tls_record_header(rest) else {
            // Each of the first two bytes can tell that it is something else.
            let needed = if rest.len() < 2 {
                rest.len() + 1
            } else {
                RECORD_HEADER
            };
            return Message::Partial {
                at_least: position + needed,
            };
        };
        if header.len > MAX_RECORD {
            return none(RECORD_HEADER);
        }
        let length = usize::from(header.len);
        let end = RECORD_HEADER + length;
        let Some(fragment) = after.get(..length) else {
            return Message::Partial {
                at_least: position + end,
            };
        };
        if !gathered.is_empty() || !is_whole(fragment) {
            gathered.extend_from_slice(fragment);
        }
        let so_far = if gathered.is_empty() {
            fragment
        } else {
            &gathered
        };
        if so_far.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return none(end);
        }
        let Some(body_length) = body_length(so_far) else {
            position += end;
            continue;
        };
        let whole = MESSAGE_HEADER + body_length;
        if body_length > MAX_CLIENT_HELLO_SIZE || so_far.len() > whole {
            return none(end);
        }
        let processed = position + end;
        if so_far.len() < whole {
            position = processed;
            continue;
        }
        if gathered.is_empty() {
            let body = &fragment[MESSAGE_HEADER..];
            return Message::InOneRecord { body, processed };
        }
        let body = gathered.split_off(MESSAGE_HEADER).into();
        return Message::InRecords { body, processed };
    }
}

/// The length that the header of a handshake message tells.
fn body_length(message: &[u8]) -> Option<usize> {
    let [_, length @ ..] = message.first_chunk::<MESSAGE_HEADER>()?;
    let [high, middle, low] = length.map(usize::from);
    Some(high << 16 | middle << 8 | low)
}

fn is_whole(message: &[u8]) -> bool {
    body_length(message).is_some_and(|length| message.len() >= MESSAGE_HEADER + length)
}

fn judge(body: &[u8], processed: usize) -> Verdict {
    let Ok((&[], contents)) = parse_tls_handshake_client_hello(body) else {
        return Verdict::NotTls { processed };
    };
    let hello = client_hello(&contents);
    let version = contents.version.0;
    match hello {
        None => Verdict::NotTls { processed },
        Some(_) if !VERSIONS.contains(&version) => Verdict::UnknownVersion { version, processed },
        Some(hello) => Verdict::Tls { hello, processed },
    }
}

fn client_hello(contents: &TlsClientHelloContents<'_>) -> Option<ClientHello> {
    if contents.ciphers.is_empty() || contents.comp.is_empty() {
        return None;
    }
    let mut hello = ClientHello::default();
    let mut kinds = Vec::new();
    let mut rest = contents.ext.unwrap_or_default();
    while !rest.is_empty() {
        let Ok((after, TlsExtension::Unknown(kind, data))) = parse_tls_extension_unknown(rest)
        else {
            return None;
        };
        match kind {
            TlsExtensionType::ServerName => hello.server_name = Some(server_name(data)?),
            TlsExtensionType::ApplicationLayerProtocolNegotiation => {
                // The TLS stack complains where it is broken.
                hello.application_protocols = protocols(data).unwrap_or_default();
            }
            _ => {}
        }
        kinds.push(kind.0);
        rest = after;
    }
    kinds.sort_unstable();
    let different = kinds.windows(2).all(|pair| pair[0] != pair[1]);
    different.then_some(hello)
}

/// The one name of the extension.
fn server_name(data: &[u8]) -> Option<Box<str>> {
    let Ok((&[], TlsExtension::SNI(names))) = parse_tls_extension_sni_content(data) else {
        return None;
    };
    let [(SNIType::HostName, name)] = names[..] else {
        return None;
    };
    // The parser passes over what follows the last whole name.
    let alone = data.len() == name.len() + 5;
    if !alone || name.is_empty() || name.len() > 255 || name.contains(&0) {
        return None;
    }
    let mut name = String::from_utf8_lossy(name).into_owned();
    name.make_ascii_lowercase();
    Some(name.into())
}

fn protocols(data: &[u8]) -> Option<ApplicationProtocols> {
    let (length, list) = data.split_first_chunk::<2>()?;
    if usize::from(u16::from_be_bytes(*length)) != list.len() {
        return None;
    }
    ApplicationProtocols::offered(list)
}

#[cfg(test)]
mod tests;

//! What is spoken with the endpoints of a cluster, below the traffic itself.

use fairlead_xds::envoy::{
    config::{
        cluster::v3::cluster::TransportSocketMatch,
        core::v3::{TransportSocket as Message, transport_socket::ConfigType},
    },
    extensions::transport_sockets::{
        proxy_protocol::v3::ProxyProtocolUpstreamTransport, tls::v3::UpstreamTlsContext,
    },
};

use super::{endpoint::Endpoint, metadata::Metadata};
use crate::{
    compile::At,
    inspector::proxy_protocol::Upstream as ProxyHeader,
    tls::{Contexts, UpstreamTls},
};

/// A transport socket.
#[derive(Clone, Debug)]
pub enum TransportSocket {
    /// The bytes as they are.
    RawBuffer,
    /// TLS.
    Tls(Box<UpstreamTls>),
    /// A header that tells who is connecting, and then another.
    ProxyProtocol(Box<(ProxyHeader, TransportSocket)>),
}

/// The transport sockets of a cluster: the first whose metadata an endpoint has, or else the last.
#[derive(Clone, Debug)]
pub struct TransportSockets {
    matches: Box<[Match]>,
    default: TransportSocket,
}

#[derive(Clone, Debug)]
struct Match {
    name: Box<str>,
    metadata: Metadata,
    socket: TransportSocket,
}

impl TransportSockets {
    /// What the fields `transport_socket_matches` and `transport_socket` of a cluster say.
    pub fn compile(
        at: &At<'_>,
        matches: &[TransportSocketMatch],
        default: Option<&Message>,
        contexts: &Contexts,
    ) -> Option<Self> {
        let compiled = at.each("transport_socket_matches", matches, |at, message| {
            let TransportSocketMatch {
                name,
                r#match,
                transport_socket,
            } = message;
            if name.is_empty() {
                at.field("name").fault::<()>("is empty");
            }
            let socket = transport_socket.as_ref();
            Some(Match {
                name: name.as_str().into(),
                // Without anything to be matched it is for every endpoint.
                metadata: r#match.as_ref().map(Metadata::new).unwrap_or_default(),
                socket: TransportSocket::compile(&at.field("transport_socket"), socket, contexts)?,
            })
        });
        let default = TransportSocket::compile(&at.field("transport_socket"), default, contexts)?;
        (compiled.len() == matches.len()).then(|| Self {
            matches: compiled.into(),
            default,
        })
    }

    /// The socket for an endpoint, and the name of the match if one decided.
    pub fn of(&self, endpoint: &Endpoint) -> (&TransportSocket, Option<&str>) {
        let has = &endpoint.attributes.transport_socket_match;
        let found = self
            .matches
            .iter()
            .find(|one| one.metadata.is_part_of(has, false));
        match found {
            Some(found) => (&found.socket, Some(&found.name)),
            None => (&self.default, None),
        }
    }

    /// The socket for an endpoint of which nothing is known but its address.
    pub fn default(&self) -> &TransportSocket {
        let any = self.matches.iter().find(|one| one.metadata.is_empty());
        any.map_or(&self.default, |found| &found.socket)
    }

    /// The names of the matches.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.matches.iter().map(|one| &*one.name)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &TransportSocket> {
        let matches = self.matches.iter().map(|one| &one.socket);
        matches.chain([&self.default])
    }
}

impl TransportSocket {
    /// Whether it is TLS, perhaps behind a header.
    pub fn is_encrypted(&self) -> bool {
        match self {
            Self::RawBuffer => false,
            Self::Tls(_) => true,
            Self::ProxyProtocol(both) => both.1.is_encrypted(),
        }
    }

    /// The socket that the message names; none names raw bytes.
    pub fn compile(at: &At<'_>, message: Option<&Message>, contexts: &Contexts) -> Option<Self> {
        let Some(Message { name, config_type }) = message else {
            return Some(Self::RawBuffer);
        };
        let Some(ConfigType::TypedConfig(any)) = config_type else {
            if matches!(&**name, "envoy.transport_sockets.raw_buffer" | "raw_buffer") {
                return Some(Self::RawBuffer);
            }
            return at.required("typed_config", None);
        };
        let at = at.field("typed_config");
        match any.type_url.rsplit('/').next().unwrap_or_default() {
            "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer" => Some(Self::RawBuffer),
            "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" => {
                let context = at.decode::<UpstreamTlsContext>(any)?;
                UpstreamTls::compile(&at, &context, contexts).map(|tls| Self::Tls(tls.into()))
            }
            "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport" =>
            {
                let transport = at.decode(any)?;
                proxy_protocol(&at, &transport, contexts)
            }
            // Anything else may be what keeps the traffic secret.
            other => at.fault(format!("the transport socket {other} is not supported")),
        }
    }
}

fn proxy_protocol(
    at: &At<'_>,
    message: &ProxyProtocolUpstreamTransport,
    contexts: &Contexts,
) -> Option<TransportSocket> {
    let ProxyProtocolUpstreamTransport {
        config,
        transport_socket,
        // Where the addresses are not known, the header says so in any case.
        allow_unspecified_address: _,
        // Connections are shared by nobody.
        tlv_as_pool_key: _,
    } = message;
    let header = ProxyHeader::compile(&at.field("config"), config.as_ref());
    let inner = at.required("transport_socket", transport_socket.as_ref());
    let inner = inner.and_then(|inner| {
        TransportSocket::compile(&at.field("transport_socket"), Some(inner), contexts)
    });
    Some(TransportSocket::ProxyProtocol(Box::new((header?, inner?))))
}

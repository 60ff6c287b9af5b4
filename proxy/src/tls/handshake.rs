//! Makes a connection an encrypted one.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use rustls::{
    CommonState, HandshakeKind, ProtocolVersion,
    client::ClientSessionStore,
    pki_types::{DnsName, ServerName, UnixTime},
    server::{Accepted, Acceptor, ClientHello},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::{StartHandshake, TlsConnector, server::TlsStream as ServerStream};

use super::{
    context::{DownstreamTls, Server, UpstreamTls},
    error::{Ends, HTTP, TlsCause, TlsError},
    parameters::{Role, suite_name},
    peer::PeerCertificate,
    stream::Stream,
    verifier::Verifier,
    verify_error::VerifyError,
};

/// What a handshake agreed on.
#[derive(Debug)]
pub struct Handshaked {
    /// `TLSv1.3`
    pub version: &'static str,
    /// `TLS_AES_128_GCM_SHA256`
    pub cipher: &'static str,
    /// `X25519`; a resumed session of TLS 1.2 has none.
    pub curve: Option<&'static str>,
    /// The protocol that is spoken inside.
    pub alpn: Option<Box<[u8]>>,
    /// The name that the client asked for.
    pub sni: Option<Box<str>>,
    /// The certificate of the other side.
    pub peer: Option<PeerCertificate>,
    /// Whether that certificate was held against a CA, or a hash, and passed.
    pub validated: bool,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// What one upstream connection asks for.
#[derive(Clone, Copy, Debug)]
pub struct Connect<'a> {
    /// The two ends; the peer is the endpoint.
    pub ends: Ends,
    /// The endpoint's own name, for contexts that ask for it.
    pub host: Option<&'a str>,
    /// A name in place of the context's.
    pub sni: Option<&'a str>,
    /// Protocols in place of the context's.
    pub alpn: Option<&'a [Vec<u8>]>,
}

/// Speaks TLS to a client that was accepted, of which nothing was read.
///
/// # Errors
/// The cause, after the client was told by an alert.
pub async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(
    context: &DownstreamTls,
    io: IO,
    ends: Ends,
    within: Duration,
) -> Result<(Stream<IO>, Handshaked), TlsError> {
    let server = context.current();
    let accepting = accept_in_time(&server, io, ends);
    let accepted = match timeout(within, accepting).await {
        Ok(accepted) => accepted,
        Err(_) => Err(TlsCause::TimedOut { within }),
    };
    let role = Role::Server;
    accepted.map_err(|cause| TlsError { role, ends, cause })
}

async fn accept_in_time<IO: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    mut io: IO,
    ends: Ends,
) -> Result<(Stream<IO>, Handshaked), TlsCause> {
    let accepted = client_hello(&mut io, server.require_certificate).await?;
    let hello = accepted.client_hello();
    let sni = hello.server_name().map(Box::<str>::from);
    let config = match has_common_protocol(&hello, &server.config.alpn_protocols) {
        true => server.config.clone(),
        false => server.without_alpn.clone(),
    };
    let of_io = |error| TlsCause::of_io(error, Role::Server, true);
    let started = StartHandshake::from_parts(accepted, io);
    let stream: ServerStream<IO> = started.into_stream(config).await.map_err(of_io)?;
    let state: &CommonState = stream.get_ref().1;
    let mut handshaked = Handshaked::of(state, sni);
    handshaked.validate(server.verifier.as_deref(), state, None)?;
    let stream = Stream::new(stream.into(), ends, true);
    Ok((stream, handshaked))
}

/// Whether the client offers a protocol that we have. One that offers none is content with any.
fn has_common_protocol(hello: &ClientHello<'_>, own: &[Vec<u8>]) -> bool {
    match hello.alpn() {
        Some(mut offered) => offered.any(|offered| own.iter().any(|own| own == offered)),
        None => true,
    }
}

/// Handshakes begin with a record of this type.
const HANDSHAKE: u8 = 0x16;

/// A fatal alert `protocol_version`, by which a caller of plaintext learns whom it called.
const NO_TLS: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 70];

async fn client_hello<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut IO,
    mtls: bool,
) -> Result<Accepted, TlsCause> {
    let of_io = |error| TlsCause::of_io(error, Role::Server, true);
    let mut acceptor = Acceptor::default();
    // On the heap, for as long as it takes: a future's own bytes stay with the connection.
    let mut buffer = vec![0; 4096];
    let mut is_first = true;
    loop {
        let length = io.read(&mut buffer).await.map_err(of_io)?;
        let mut received = &buffer[..length];
        if received.is_empty() {
            return Err(TlsCause::Closed);
        }
        if is_first && received[0] != HANDSHAKE {
            let looks_like = looks_like(received);
            // The peer may be gone: what counts is what it sent.
            let _ = io.write_all(&NO_TLS).await;
            let _ = io.shutdown().await;
            drain(io, &mut buffer).await;
            return Err(TlsCause::Plaintext { looks_like, mtls });
        }
        is_first = false;
        while !received.is_empty() {
            if acceptor.read_tls(&mut received).map_err(of_io)? == 0 {
                break;
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                // Writing to a vector does not fail, and the peer may be gone.
                let _ = alert.write_all(&mut bytes);
                let _ = io.write_all(&bytes).await;
                let _ = io.shutdown().await;
                return Err(TlsCause::of(error, Role::Server, true));
            }
        }
    }
}

/// Takes what has already arrived: a socket that is closed with unread bytes is reset, and the alert
/// may be lost with it.
async fn drain<IO: AsyncRead + Unpin>(io: &mut IO, buffer: &mut [u8]) {
    for _ in 0..DRAINED_READS {
        match timeout(Duration::ZERO, io.read(buffer)).await {
            Ok(Ok(length)) if length > 0 => {}
            _ => return,
        }
    }
}

/// With the buffer of the handshake: 64 KiB.
const DRAINED_READS: usize = 16;

/// What plaintext seems to be.
fn looks_like(first: &[u8]) -> &'static str {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"DELETE ",
        b"PATCH ",
        b"OPTIONS ",
        b"CONNECT ",
        b"PRI * HTTP/2",
    ];
    let begins = |method: &&[u8]| first.starts_with(method) || method.starts_with(first);
    if METHODS.iter().any(begins) {
        HTTP
    } else if first
        .iter()
        .take(16)
        .all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t'))
    {
        "text"
    } else {
        "bytes that are no TLS"
    }
}

/// Speaks TLS to a server that was connected to.
///
/// # Errors
/// The cause.
pub async fn connect<IO: AsyncRead + AsyncWrite + Unpin>(
    context: &UpstreamTls,
    io: IO,
    what: Connect<'_>,
    within: Duration,
) -> Result<(Stream<IO>, Handshaked), TlsError> {
    let connected = match timeout(within, connect_in_time(context, io, what)).await {
        Ok(connected) => connected,
        Err(_) => Err(TlsCause::TimedOut { within }),
    };
    connected.map_err(|cause| TlsError {
        role: Role::Client,
        ends: what.ends,
        cause,
    })
}

async fn connect_in_time<IO: AsyncRead + AsyncWrite + Unpin>(
    context: &UpstreamTls,
    io: IO,
    what: Connect<'_>,
) -> Result<(Stream<IO>, Handshaked), TlsCause> {
    let endpoint = what.ends.peer;
    let client = context.client().map_err(TlsCause::Protocol)?;
    let sni = context.server_name(what.sni, what.host);
    let name = server_name(sni, endpoint)?;
    let (config, sessions) = context.config(&client, endpoint, what.alpn);
    let has_certificate = client.has_certificate();
    let stream = TlsConnector::from(config)
        .connect(name.clone(), io)
        .await
        .map_err(|error| TlsCause::of_io(error, Role::Client, has_certificate))?;
    let state: &CommonState = stream.get_ref().1;
    let asked = matches!(name, ServerName::DnsName(_))
        .then_some(sni)
        .flatten();
    let mut handshaked = Handshaked::of(state, asked.map(Box::from));
    if let Err(cause) = handshaked.validate(Some(&client.verifier), state, asked) {
        sessions.remove_tls12_session(&name);
        return Err(cause);
    }
    let stream = Stream::new(stream.into(), what.ends, has_certificate);
    Ok((stream, handshaked))
}

/// What is asked for: a name, or nothing, which the library writes as an address.
fn server_name(sni: Option<&str>, endpoint: SocketAddr) -> Result<ServerName<'static>, TlsCause> {
    match sni {
        None => Ok(ServerName::IpAddress(endpoint.ip().into())),
        // An endpoint's name may be its address, which is no name to ask for.
        Some(name) if name.parse::<std::net::IpAddr>().is_ok() => {
            Ok(ServerName::IpAddress(endpoint.ip().into()))
        }
        Some(name) => DnsName::try_from(name)
            .map(|name| ServerName::DnsName(name.to_owned()))
            .map_err(|_| TlsCause::Name(name.to_owned())),
    }
}

impl Handshaked {
    fn of(state: &CommonState, sni: Option<Box<str>>) -> Self {
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let leaf = state.peer_certificates().and_then(<[_]>::first);
        let curve = state.negotiated_key_exchange_group();
        Self {
            version,
            cipher: state
                .negotiated_cipher_suite()
                .map_or("unknown", suite_name),
            curve: curve.and_then(|group| curve_name(group.name())),
            alpn: state.alpn_protocol().map(Box::from),
            sni,
            peer: leaf.map(PeerCertificate::new),
            validated: false,
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Finds whether the peer's certificate is good, which the handshake did only if it had to.
    fn validate(
        &mut self,
        verifier: Option<&Verifier>,
        state: &CommonState,
        name: Option<&str>,
    ) -> Result<(), TlsCause> {
        let (Some(verifier), Some(peer)) = (verifier, &self.peer) else {
            return Ok(());
        };
        if !verifier.trust.verifies() {
            return Ok(());
        }
        if verifier.trust.accept_untrusted {
            if let Some([leaf, above @ ..]) = state.peer_certificates() {
                let verified = verifier.verify(leaf, above, name, UnixTime::now());
                self.validated = verified.is_ok();
            }
            return Ok(());
        }
        // A session outlives the certificate it began with.
        if self.resumed
            && !verifier.trust.allow_expired
            && let Some(parsed) = peer.parsed()
            && parsed.not_after < SystemTime::now()
        {
            let end = parsed.not_after.duration_since(SystemTime::UNIX_EPOCH);
            let at = UnixTime::since_unix_epoch(end.unwrap_or_default());
            return Err(TlsCause::Verify(VerifyError::Expired { at }));
        }
        self.validated = true;
        Ok(())
    }
}

/// The name that Envoy gives a curve.
fn curve_name(group: rustls::NamedGroup) -> Option<&'static str> {
    match group {
        rustls::NamedGroup::X25519 => Some("X25519"),
        rustls::NamedGroup::secp256r1 => Some("P-256"),
        rustls::NamedGroup::secp384r1 => Some("P-384"),
        rustls::NamedGroup::X25519MLKEM768 => Some("X25519MLKEM768"),
        other => other.as_str(),
    }
}

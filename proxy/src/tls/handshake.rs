//! Makes a connection an encrypted one.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConnection, CommonState, HandshakeKind, ProtocolVersion, SignatureScheme,
    client::ClientSessionStore,
    pki_types::{DnsName, ServerName, UnixTime},
    server::{Accepted, AcceptedAlert, Acceptor, ServerConnection},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, error::Elapsed, timeout, timeout_at},
};

use super::{
    context::{DownstreamTls, Server, UpstreamTls},
    error::{Ends, HTTP, TlsCause, TlsError},
    parameters::{Role, suite_name},
    peer::PeerCertificate,
    stream::Stream,
    verifier::Verifier,
    verify_error::VerifyError,
    witness::{Seen, observe},
};
use crate::stream::LINGER;

/// What a handshake agreed on, or one that failed had by then.
#[derive(Debug)]
pub struct Handshaked {
    /// `TLSv1.3`
    pub version: &'static str,
    /// `TLS_AES_128_GCM_SHA256`; nothing before that is chosen.
    pub cipher: Option<&'static str>,
    /// `X25519`; a resumed session of TLS 1.2 has none.
    pub curve: Option<&'static str>,
    /// The protocol that is spoken inside.
    pub alpn: Option<Box<[u8]>>,
    /// The name that the client asked for.
    pub sni: Option<Box<str>>,
    /// How the other side proved that it has the key of its certificate; not in a resumed session.
    pub scheme: Option<SignatureScheme>,
    /// The certificate of the other side.
    pub peer: Option<Arc<PeerCertificate>>,
    /// Our own.
    pub own: Option<Arc<CertifiedKey>>,
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
    let role = Role::Server;
    let deadline = Instant::now() + within;
    let timed_out = |_: Elapsed| TlsCause::TimedOut { within };
    let mut io = io;
    let mut seen = Seen::default();
    let begun = timeout_at(deadline, begin(&server, &mut io, &mut seen)).await;
    let (connection, sni) = match begun.map_err(timed_out).flatten() {
        Ok(begun) => begun,
        Err(cause) => {
            seen.own = seen.own.or_else(|| server.first_certificate());
            let known = Handshaked::of(None, None, None, seen);
            close(io, &cause).await;
            return Err(TlsError::new(role, ends, cause).knowing(known));
        }
    };
    let mut stream = Stream::new(connection.into(), io, ends, true);
    let done = timeout_at(deadline, stream.shake_hands(&mut seen)).await;
    let done = done.map_err(timed_out).flatten();
    let state: &CommonState = stream.connection();
    let verifier = server.verifier.as_deref();
    let mut handshaked = Handshaked::of(Some(state), verifier, sni, seen);
    match done.and_then(|()| handshaked.validate(verifier, state, None)) {
        Ok(()) => Ok((stream, handshaked)),
        Err(cause) => {
            close(stream.into_io(), &cause).await;
            Err(TlsError::new(role, ends, cause).knowing(handshaked))
        }
    }
}

/// Reads what the client asks for, and chooses the configuration for it.
async fn begin<IO: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    io: &mut IO,
    seen: &mut Seen,
) -> Result<(ServerConnection, Option<Box<str>>), TlsCause> {
    let accepted = client_hello(io, server.require_certificate).await?;
    let hello = accepted.client_hello();
    let sni = hello.server_name().map(Box::<str>::from);
    let config = server.config(&hello).clone();
    match observe(seen, || accepted.into_connection(config)) {
        Ok(connection) => Ok((connection, sni)),
        Err((error, alert)) => {
            send(io, alert).await;
            Err(TlsCause::of(error, Role::Server, true))
        }
    }
}

async fn send<IO: AsyncWrite + Unpin>(io: &mut IO, mut alert: AcceptedAlert) {
    let mut bytes = Vec::new();
    // Writing to a vector does not fail, and the peer may be gone.
    let _ = alert.write_all(&mut bytes);
    let _ = io.write_all(&bytes).await;
}

/// Closes a connection that failed, so that its peer reads what it was told: a socket that is closed
/// with unread bytes is reset, and the alert may be lost with it.
async fn close<IO: AsyncRead + AsyncWrite + Unpin>(mut io: IO, cause: &TlsCause) {
    if matches!(cause, TlsCause::TimedOut { .. } | TlsCause::Closed) {
        // It was told nothing.
        return;
    }
    let draining = async {
        io.shutdown().await?;
        let mut buffer = vec![0; 4096];
        for _ in 0..DRAINED_READS {
            if io.read(&mut buffer).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    // It may be gone, and may stay longer than it is waited for.
    let _ = timeout(LINGER, draining).await;
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
            Err((error, alert)) => {
                send(io, alert).await;
                return Err(TlsCause::of(error, Role::Server, true));
            }
        }
    }
}

/// Of 4 KiB each: more than the kernel holds of one who had to wait for our answer.
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
    let fail = |cause| TlsError::new(Role::Client, what.ends, cause);
    let endpoint = what.ends.peer;
    let client = context
        .client()
        .map_err(|error| fail(TlsCause::Protocol(error)))?;
    let sni = context.server_name(what.sni, what.host);
    let name = server_name(sni, endpoint).map_err(fail)?;
    let (config, sessions) = context.config(&client, endpoint, what.alpn);
    let has_certificate = client.has_certificate();
    let connection = ClientConnection::new(config, name.clone())
        .map_err(|error| fail(TlsCause::of(error, Role::Client, has_certificate)))?;
    let mut stream = Stream::new(connection.into(), io, what.ends, has_certificate);
    let mut seen = Seen {
        own: client.certificate(),
        ..Seen::default()
    };
    let done = match timeout(within, stream.shake_hands(&mut seen)).await {
        Ok(done) => done,
        Err(_) => Err(TlsCause::TimedOut { within }),
    };
    let asked = matches!(name, ServerName::DnsName(_))
        .then_some(sni)
        .flatten();
    let state: &CommonState = stream.connection();
    let verifier = Some(&*client.verifier);
    let mut handshaked = Handshaked::of(Some(state), verifier, asked.map(Box::from), seen);
    let validated = done.and_then(|()| {
        let validated = handshaked.validate(verifier, state, asked);
        if validated.is_err() {
            sessions.remove_tls12_session(&name);
        }
        validated
    });
    match validated {
        Ok(()) => Ok((stream, handshaked)),
        Err(cause) => Err(fail(cause).knowing(handshaked)),
    }
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
    /// `state`: of a connection, if it came to one.
    fn of(
        state: Option<&CommonState>,
        verifier: Option<&Verifier>,
        sni: Option<Box<str>>,
        seen: Seen,
    ) -> Self {
        let version = match state.and_then(CommonState::protocol_version) {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            // Also of none, as BoringSSL does.
            _ => "TLSv1.2",
        };
        // In a resumed session nobody has looked at it.
        let unseen = || match state.and_then(CommonState::peer_certificates)? {
            [leaf, above @ ..] => verifier
                .and_then(|verifier| verifier.known(leaf, above, UnixTime::now()))
                .or_else(|| Some(Arc::new(PeerCertificate::new(leaf)))),
            [] => None,
        };
        let curve = state.and_then(CommonState::negotiated_key_exchange_group);
        let resumed = |state: &CommonState| state.handshake_kind() == Some(HandshakeKind::Resumed);
        Self {
            version,
            cipher: state
                .and_then(CommonState::negotiated_cipher_suite)
                .map(suite_name),
            curve: curve.and_then(|group| curve_name(group.name())),
            alpn: state.and_then(CommonState::alpn_protocol).map(Box::from),
            sni,
            scheme: seen.scheme,
            peer: seen.peer.or_else(unseen),
            own: seen.own,
            validated: false,
            resumed: state.is_some_and(resumed),
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

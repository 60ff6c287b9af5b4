//! TLS of both sides, as Envoy's contexts ask for it.
//!
//! [`DownstreamTls`] and [`UpstreamTls`] are compiled from their messages; [`Contexts`] holds what equal
//! ones share. [`accept`] and [`connect`] make a connection an encrypted [`Stream`], and say what was
//! agreed on ([`Handshaked`]) or why nothing was ([`TlsError`]). [`watch`] reads certificates again when
//! their files change.

mod certificate;
mod certificates;
mod context;
mod error;
mod events;
mod files;
mod handshake;
mod inputs;
mod parameters;
mod peer;
mod pins;
mod san;
mod sessions;
mod stream;
#[cfg(test)]
mod tests;
mod trust;
mod verifier;
mod verify_error;

pub use self::{
    context::{Contexts, DownstreamTls, Reloaded, UpstreamTls},
    error::{Ends, PEER_REQUIRES_MTLS, TlsCause, TlsError, is_answer_to_plaintext},
    events::Event,
    files::{POLL, watch},
    handshake::{Connect, Handshaked, accept, connect},
    inputs::ReadSecrets,
    parameters::Role,
    peer::{ParsedCertificate, PeerCertificate},
    stream::{Stream, tls_error},
    verify_error::VerifyError,
};

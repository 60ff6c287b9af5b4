//! TLS of both sides, as Envoy's contexts ask for it.
//!
//! [`DownstreamTls`] and [`UpstreamTls`] are compiled from their messages; [`Contexts`] holds what equal
//! ones share. [`accept`] and [`connect`] make a connection an encrypted [`Stream`], and say what was
//! agreed on ([`Handshaked`]) or why nothing was ([`TlsError`]). [`watch`] reads certificates again when
//! their files change. [`PlaintextRefused`] is how a caller without TLS learns that it needed it.

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
mod plaintext;
mod san;
mod sessions;
mod stream;
#[cfg(test)]
mod tests;
mod trust;
mod verified;
mod verifier;
mod verify_error;
mod watched;
mod witness;

pub use self::{
    context::{Contexts, DownstreamTls, HeldCertificates, Reloaded, UpstreamTls},
    error::{Ends, TlsCause, TlsError},
    events::Event,
    files::{POLL, log, watch},
    handshake::{Connect, Handshaked, accept, connect},
    inputs::ReadSecrets,
    parameters::Role,
    peer::{ParsedCertificate, PeerCertificate},
    plaintext::{PlaintextRefused, is_answer_to_plaintext},
    stream::{Stream, tls_error},
    verify_error::VerifyError,
    watched::Watched,
};

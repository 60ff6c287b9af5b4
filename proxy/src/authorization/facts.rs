//! What is known of a connection when it is decided upon.

use std::net::SocketAddr;

/// What policies may ask of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Where the connection comes from, as the PROXY protocol says if the listener speaks it.
    pub remote: SocketAddr,
    /// Who is at the other end of the socket.
    pub direct_remote: SocketAddr,
    /// Where the connection was to go: its original destination, if that was restored.
    pub destination: SocketAddr,
    /// The server name that the downstream asked for; empty if it asked for none.
    pub server_name: &'a str,
    /// What the downstream's certificate says; none for a connection without TLS. With TLS but
    /// without a certificate there is an identity, and it is empty.
    pub peer: Option<&'a PeerIdentity>,
}

/// What a certificate says of who has it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PeerIdentity {
    /// Whether there is a certificate, and it was found valid by the listener's authorities.
    pub is_validated: bool,
    /// Alternative names that are URIs; a SPIFFE identity is one.
    pub uri_sans: Box<[Box<str>]>,
    /// Alternative names that are DNS names.
    pub dns_sans: Box<[Box<str>]>,
    /// The subject, as RFC 2253 writes it.
    pub subject: Box<str>,
}

impl PeerIdentity {
    /// The names, in the order in which Envoy tries them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let sans = self.uri_sans.iter().chain(&self.dns_sans);
        sans.map(|name| &**name).chain([&*self.subject])
    }
}

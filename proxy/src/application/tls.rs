//! HTTPS as the kubelet speaks it: encrypted, with nobody's identity checked.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Accepts any certificate, also one that is expired, of another name or badly formed.
///
/// The kubelet does so with the probes that the proxy makes in its place, since applications serve
/// them with certificates of their own making. Nothing is lost by it: the connection does not leave
/// the pod, carries no secret of the mesh, and its answer says only whether the application is well.
/// The proxy uses it for probes, hooks and scrapes alone, never for traffic.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature by the key of a certificate that nobody vouches for proves nothing, and to check it
    // would refuse certificates that the parser does not know, such as those of X.509 version 1.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Made by the first HTTPS probe: most pods have none.
static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    // Each probe is a connection of its own, which is to show that a handshake succeeds.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
});

const H2: &[u8] = b"h2";

/// Speaks TLS on a connection to the application.
pub(super) async fn connect(ip: IpAddr, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    // An address is no name: like the kubelet's, this handshake tells the server none.
    let server = ServerName::IpAddress(ip.into());
    TlsConnector::from(CONFIG.clone())
        .connect(server, tcp)
        .await
}

/// Whether both sides chose HTTP/2.
pub(super) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(H2)
}

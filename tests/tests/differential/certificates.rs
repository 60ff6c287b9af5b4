//! Who is who in TLS: one set of certificates for all cases of a run.

use std::{path::Path, sync::Arc, sync::OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::WebPkiClientVerifier,
};

/// Somebody's certificate and key.
struct Identity {
    name: String,
    pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

/// Two authorities, and who they vouch for.
pub(crate) struct Certificates {
    authority_pem: String,
    authority: CertificateDer<'static>,
    stranger_pem: String,
    identities: Vec<Identity>,
}

/// The certificates of this run.
pub(crate) fn certificates() -> &'static Certificates {
    static ALL: OnceLock<Certificates> = OnceLock::new();
    ALL.get_or_init(|| make().expect("make the certificates"))
}

fn make() -> Result<Certificates, rcgen::Error> {
    let ours = authority("authority")?;
    let strangers = authority("stranger")?;
    let spiffe = |name: &str| {
        SanType::URI(
            format!("spiffe://mesh.example/{name}")
                .as_str()
                .try_into()
                .expect("a URI"),
        )
    };
    let dns = |name: &str| SanType::DnsName(name.try_into().expect("a name"));
    let ip = SanType::IpAddress([127, 0, 0, 1].into());
    let mail = SanType::Rfc822Name("who@a.example".try_into().expect("an address"));
    let identities = vec![
        identity(
            "server",
            vec![dns("a.example"), spiffe("server"), ip],
            &ours,
            2100,
        )?,
        identity(
            "other",
            vec![dns("b.example"), dns("*.wild.example"), spiffe("other")],
            &ours,
            2100,
        )?,
        identity(
            "client",
            vec![spiffe("client"), dns("client.example"), mail],
            &ours,
            2100,
        )?,
        identity("nameless", vec![], &ours, 2100)?,
        identity(
            "expired",
            vec![spiffe("client"), dns("a.example")],
            &ours,
            2001,
        )?,
        identity(
            "stranger",
            vec![spiffe("client"), dns("a.example")],
            &strangers,
            2100,
        )?,
    ];
    Ok(Certificates {
        authority_pem: ours.pem(),
        authority: ours.der().clone(),
        stranger_pem: strangers.pem(),
        identities,
    })
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(authority, KeyPair::generate()?)
}

fn identity(
    name: &str,
    names: Vec<SanType>,
    authority: &CertifiedIssuer<'static, KeyPair>,
    until: i32,
) -> Result<Identity, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name.push(DnType::CommonName, name);
    leaf.subject_alt_names = names;
    leaf.not_before = date_time_ymd(2000, 1, 1);
    leaf.not_after = date_time_ymd(until, 1, 1);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let leaf = leaf.signed_by(&key, authority)?;
    Ok(Identity {
        name: name.to_owned(),
        pem: leaf.pem(),
        key_pem: key.serialize_pem(),
        der: leaf.der().clone(),
        key_der: key.serialize_der(),
    })
}

impl Certificates {
    /// Writes `ca.pem`, `strangers.pem`, and of each `NAME.pem` and `NAME.key`.
    pub(crate) fn write(&self, directory: &Path) {
        let write = |name: &str, text: &str| {
            std::fs::write(directory.join(name), text).expect("write a certificate");
        };
        write("ca.pem", &self.authority_pem);
        write("strangers.pem", &self.stranger_pem);
        for identity in &self.identities {
            write(&format!("{}.pem", identity.name), &identity.pem);
            write(&format!("{}.key", identity.name), &identity.key_pem);
        }
    }

    /// The text of `NAME.pem` or `NAME.key`.
    pub(crate) fn text(&self, file: &str) -> &str {
        self.identities
            .iter()
            .find_map(|identity| match file.strip_prefix(&identity.name)? {
                ".pem" => Some(identity.pem.as_str()),
                ".key" => Some(identity.key_pem.as_str()),
                _ => None,
            })
            .unwrap_or_else(|| panic!("nobody has {file}"))
    }

    /// Whose certificate this is.
    pub(crate) fn whose(&self, certificates: Option<&[CertificateDer<'_>]>) -> &str {
        let Some(first) = certificates.and_then(<[_]>::first) else {
            return "nobody";
        };
        self.identities
            .iter()
            .find(|identity| identity.der.as_ref() == first.as_ref())
            .map_or("unknown", |identity| identity.name.as_str())
    }

    fn find(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let identity = self
            .identities
            .iter()
            .find(|identity| identity.name == name)
            .unwrap_or_else(|| panic!("nobody is called {name}"));
        let key = PrivatePkcs8KeyDer::from(identity.key_der.clone());
        (vec![identity.der.clone()], key.into())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).expect("the authority");
        roots
    }

    /// A client that takes any server, is somebody or nobody, and speaks these versions.
    pub(crate) fn client(
        &self,
        who: Option<&str>,
        versions: &[&'static rustls::SupportedProtocolVersion],
        alpn: &[&str],
    ) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("versions of the provider")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = match who {
            None => builder.with_no_client_auth(),
            Some(who) => {
                let (chain, key) = self.find(who);
                builder
                    .with_client_auth_cert(chain, key)
                    .expect("a certificate")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = rustls::client::Resumption::disabled();
        config.into()
    }

    /// A server that is somebody, asks clients for certificates if it may, and speaks by ALPN.
    pub(crate) fn server(&self, who: &str, mutual: bool, alpn: &[&str]) -> Arc<ServerConfig> {
        let (chain, key) = self.find(who);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .expect("versions of the provider");
        let builder = if mutual {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(self.roots().into(), provider())
                    .build()
                    .expect("an authority");
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(chain, key).expect("a certificate");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.into()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    rustls::crypto::aws_lc_rs::default_provider().into()
}

/// A client's verifier that takes any server: who it was is what the cases compare.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

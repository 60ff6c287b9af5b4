//! One certificate of our own with its key
//! (`envoy.extensions.transport_sockets.tls.v3.TlsCertificate`).

use std::sync::Arc;

use fairlead_xds::envoy::extensions::transport_sockets::tls::v3::TlsCertificate as Message;
use rustls::{
    Error, InconsistentKeys, SignatureAlgorithm,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::{
    inputs::{Inputs, watched},
    peer::PeerCertificate,
};
use crate::compile::At;

/// A certificate that we show, and the names it is for.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// In lower case: the DNS names, or the common name if there are none.
    pub(super) names: Box<[Box<str>]>,
    pub(super) is_ecdsa: bool,
}

impl Certificate {
    /// Reads the certificate that the message names.
    pub(super) fn compile(
        at: &At<'_>,
        message: &Message,
        inputs: &Inputs<'_>,
        provider: &CryptoProvider,
    ) -> Option<Self> {
        let Message {
            certificate_chain,
            private_key,
            pkcs12,
            watched_directory,
            private_key_provider,
            password,
            ocsp_staple,
            signed_certificate_timestamp,
            tls_params,
        } = message;
        let mut refused = false;
        let mut refuse = |is_asked: bool, field: &str, why: &str| {
            if is_asked {
                refused = true;
                at.field(field).fault::<()>(why);
            }
        };
        refuse(
            pkcs12.is_some(),
            "pkcs12",
            "is not supported: give certificate_chain and private_key as PEM",
        );
        refuse(
            private_key_provider.is_some(),
            "private_key_provider",
            "is not supported",
        );
        refuse(
            password.is_some(),
            "password",
            "encrypted keys are not supported: give the key without a password",
        );
        refuse(
            tls_params.is_some(),
            "tls_params",
            "parameters of one certificate are not supported: give them for all",
        );
        if !signed_certificate_timestamp.is_empty() {
            at.field("signed_certificate_timestamp")
                .unsupported("is not supported: no time stamps are sent");
        }
        watched(at, watched_directory.as_ref())?;
        let staple = match ocsp_staple {
            Some(source) => Some(inputs.read(&at.field("ocsp_staple"), source)?),
            None => None,
        };
        if refused {
            return None;
        }
        let chain = at
            .required("certificate_chain", certificate_chain.as_ref())
            .and_then(|source| {
                let at = at.field("certificate_chain");
                chain(&at, &inputs.read(&at, source)?)
            });
        let key = at
            .required("private_key", private_key.as_ref())
            .and_then(|source| {
                let at = at.field("private_key");
                key(&at, &inputs.read(&at, source)?)
            });
        let (chain, key) = (chain?, key?);
        let leaf = PeerCertificate::new(&chain[0]);
        let Some(parsed) = leaf.parsed() else {
            return at
                .field("certificate_chain")
                .fault("is no X.509 certificate");
        };
        let names = if parsed.dns_sans.is_empty() {
            parsed.common_name.iter().cloned().collect()
        } else {
            parsed.dns_sans.clone()
        };
        let names = names.iter().map(|name| name.to_ascii_lowercase().into());
        let names = names.collect();
        let mut key = match CertifiedKey::from_der(chain, key, provider) {
            Ok(key) => key,
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return at
                    .field("private_key")
                    .fault("is not the key of the certificate");
            }
            Err(error) => return at.field("private_key").fault(error.to_string()),
        };
        key.ocsp = staple;
        Some(Self {
            is_ecdsa: key.key.algorithm() == SignatureAlgorithm::ECDSA,
            key: Arc::new(key),
            names,
        })
    }
}

/// The certificates in a PEM text, at least one.
pub(super) fn chain(at: &At<'_>, pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if chain.is_empty() => at.fault("holds no certificate in PEM"),
        Ok(chain) => Some(chain),
        Err(error) => at.fault(format!("is no PEM: {error}")),
    }
}

fn key(at: &At<'_>, pem: &[u8]) -> Option<PrivateKeyDer<'static>> {
    if pem
        .windows(ENCRYPTED.len())
        .any(|window| window == ENCRYPTED)
    {
        return at.fault("encrypted keys are not supported: give the key without a password");
    }
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Some(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => at.fault("holds no key in PEM"),
        Err(error) => at.fault(format!("is no PEM: {error}")),
    }
}

/// In the label of PKCS#8, and in the header of the older form.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

//! Upstream contexts.

use std::{
    mem,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use fairlead_xds::{
    envoy::{
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher,
            UpstreamTlsContext as Message, common_tls_context::ValidationContextType,
        },
        r#type::matcher::v3::StringMatcher as TextMessage,
    },
    prost::Message as _,
};
use rustls::{ClientConfig, client::Resumption, pki_types::DnsName, sign::CertifiedKey};

use super::{
    super::{
        certificates::OwnCertificate,
        files::{Files, Reload},
        inputs::Inputs,
        parameters::Role,
        peer::sha256,
        san::SanMatcher,
        sessions::{EndpointSessions, Sessions},
        trust::{Trust, sans},
        verifier::Verifier,
    },
    Contexts, Digest, HeldCertificates,
    common::Common,
    files,
};
use crate::compile::{At, Fault, Findings};

/// How the upstream connections of a cluster are encrypted. All but the name is shared with clusters
/// that are told the same.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    expectation: Arc<Expectation>,
    sni: Option<Box<str>>,
    auto_host_sni: bool,
}

/// Certificate, CA and parameters.
#[derive(Debug)]
pub(in super::super) struct Identity {
    /// The message without the names that are expected, from which all is made again when a file
    /// changes.
    message: Box<[u8]>,
    has_sans: bool,
    current: ArcSwap<Common>,
    files: Mutex<Files>,
}

/// Whom the peers of an identity must be.
#[derive(Debug)]
pub(in super::super) struct Expectation {
    identity: Arc<Identity>,
    sans: Arc<[SanMatcher]>,
    /// The name that is asked for, in place of those above.
    name_is_expected: bool,
    max_sessions: usize,
    sessions: Arc<Sessions>,
    /// Made by the first connection, and anew when the certificates are.
    client: ArcSwapOption<Client>,
}

/// What connections of one expectation share.
#[derive(Debug)]
pub(in super::super) struct Client {
    common: Arc<Common>,
    pub(in super::super) verifier: Arc<Verifier>,
    config: ClientConfig,
    /// Sessions are of this client alone.
    id: u64,
}

impl UpstreamTls {
    /// The context that the message asks for, with its certificates read.
    pub fn compile(at: &At<'_>, message: &Message, contexts: &Contexts) -> Option<Self> {
        #[expect(deprecated, reason = "what is deprecated is still sent")]
        let Message {
            common_tls_context,
            sni,
            auto_host_sni,
            auto_sni_san_validation,
            allow_renegotiation,
            max_session_keys,
            // Key usage is checked in any case, as in Envoy, which ignores this.
            enforce_rsa_key_usage: _,
        } = message;
        if *allow_renegotiation {
            at.field("allow_renegotiation")
                .unsupported("is not supported: renegotiation is refused");
        }
        let at_sni = at.field("sni");
        let sni_is_sound = if sni.len() > 255 {
            at_sni.fault("is longer than 255 bytes")
        } else if !sni.is_empty() && DnsName::try_from(sni.as_str()).is_err() {
            at_sni.fault(format!("'{sni}' is no DNS name"))
        } else {
            Some(())
        };
        let expectation = Expectation::compile(
            at,
            common_tls_context.clone().unwrap_or_default(),
            *auto_sni_san_validation,
            max_session_keys
                .as_ref()
                .map_or(1, |keys| keys.value as usize),
            contexts,
        );
        sni_is_sound?;
        Some(Self {
            expectation: expectation?,
            sni: (!sni.is_empty()).then(|| sni.as_str().into()),
            auto_host_sni: *auto_host_sni,
        })
    }

    /// The name that a connection asks for: the one that the caller insists on, the endpoint's own if
    /// the context says so, or the context's.
    pub(in super::super) fn server_name<'a>(
        &'a self,
        asked: Option<&'a str>,
        host: Option<&'a str>,
    ) -> Option<&'a str> {
        let host = host.filter(|_| self.auto_host_sni);
        asked.or(host).or(self.sni.as_deref())
    }

    pub(in super::super) fn client(&self) -> Result<Arc<Client>, rustls::Error> {
        self.expectation.client()
    }

    pub(in super::super) fn config(
        &self,
        client: &Client,
        endpoint: SocketAddr,
        alpn: Option<&[Vec<u8>]>,
    ) -> (Arc<ClientConfig>, Arc<EndpointSessions>) {
        let sessions = Arc::new(EndpointSessions {
            sessions: self.expectation.sessions.clone(),
            client: client.id,
            endpoint,
            most: self.expectation.max_sessions,
        });
        let mut config = client.config.clone();
        if self.expectation.max_sessions > 0 {
            config.resumption = Resumption::store(sessions.clone());
        }
        if let Some(alpn) = alpn {
            config.alpn_protocols = alpn.to_vec();
        }
        (Arc::new(config), sessions)
    }

    /// The certificates that are shown, and those that servers' are held against.
    pub fn certificates(&self) -> HeldCertificates {
        self.expectation.identity.certificates()
    }
}

impl Client {
    /// Whether a certificate is shown to those who ask for one.
    pub(in super::super) fn has_certificate(&self) -> bool {
        !self.common.certificates.is_empty()
    }

    /// The one that is shown.
    pub(in super::super) fn certificate(&self) -> Option<Arc<CertifiedKey>> {
        self.common.certificates.first().map(|own| own.key.clone())
    }
}

impl Expectation {
    fn compile(
        at: &At<'_>,
        mut common: CommonTlsContext,
        name_is_expected: bool,
        max_sessions: usize,
        contexts: &Contexts,
    ) -> Option<Arc<Self>> {
        let at_common = at.field("common_tls_context");
        let (field, typed, untyped) = take_sans(&mut common);
        let has_sans = name_is_expected || !typed.is_empty() || !untyped.is_empty();
        let names = Names {
            typed,
            untyped,
            name_is_expected,
            max_sessions,
        };
        let (identity, identity_digest) =
            Identity::compile(&at_common, &common, has_sans, contexts)?;
        let digest = names.digest(identity_digest);
        if let Some(known) = contexts.shared().expectations.find(&digest) {
            return Some(known);
        }
        let sans = sans(&at_common.field(field), &names.typed, &names.untyped)?;
        let made = Arc::new(Self {
            identity,
            sans: sans.into(),
            name_is_expected,
            max_sessions,
            sessions: contexts.sessions.clone(),
            client: ArcSwapOption::empty(),
        });
        contexts.shared().expectations.keep(digest, &made);
        Some(made)
    }

    fn client(&self) -> Result<Arc<Client>, rustls::Error> {
        let common = self.identity.current.load_full();
        if let Some(client) = self.client.load_full()
            && Arc::ptr_eq(&client.common, &common)
        {
            return Ok(client);
        }
        let client = Arc::new(self.build(common)?);
        self.client.store(Some(client.clone()));
        Ok(client)
    }

    fn build(&self, common: Arc<Common>) -> Result<Client, rustls::Error> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let trust: Arc<Trust> = common.trust.clone().unwrap_or_default();
        let sans = self.sans.clone();
        let mut verifier = Verifier::new(trust, sans, &common.parameters, Role::Client);
        verifier.name_is_expected = self.name_is_expected;
        let verifier = Arc::new(verifier);
        let own = common.certificates.first().map(|own| own.key.clone());
        let mut config = ClientConfig::builder_with_provider(common.parameters.provider.clone())
            .with_protocol_versions(common.parameters.versions)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(Arc::new(OwnCertificate(own)));
        config.alpn_protocols = common.alpn.clone();
        config.resumption = Resumption::disabled();
        Ok(Client {
            common,
            verifier,
            config,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        })
    }
}

struct Names {
    typed: Vec<SubjectAltNameMatcher>,
    untyped: Vec<TextMessage>,
    name_is_expected: bool,
    max_sessions: usize,
}

impl Names {
    fn digest(&self, identity: Digest) -> Digest {
        let mut bytes = identity.to_vec();
        bytes.push(self.name_is_expected.into());
        bytes.extend_from_slice(&self.max_sessions.to_le_bytes());
        for san in &self.typed {
            bytes.push(0);
            bytes.extend_from_slice(&san.encode_length_delimited_to_vec());
        }
        for san in &self.untyped {
            bytes.push(1);
            bytes.extend_from_slice(&san.encode_length_delimited_to_vec());
        }
        sha256(&bytes)
    }
}

/// Takes out the names that the cluster itself expects, and says where they stood.
fn take_sans(
    common: &mut CommonTlsContext,
) -> (&'static str, Vec<SubjectAltNameMatcher>, Vec<TextMessage>) {
    let (field, context): (_, Option<&mut CertificateValidationContext>) =
        match &mut common.validation_context_type {
            Some(ValidationContextType::ValidationContext(context)) => {
                ("validation_context", Some(context))
            }
            Some(ValidationContextType::CombinedValidationContext(combined)) => (
                "combined_validation_context.default_validation_context",
                combined.default_validation_context.as_mut(),
            ),
            _ => ("validation_context", None),
        };
    let Some(context) = context else {
        return (field, Vec::new(), Vec::new());
    };
    #[expect(deprecated, reason = "what is deprecated is still sent")]
    let untyped = mem::take(&mut context.match_subject_alt_names);
    (
        field,
        mem::take(&mut context.match_typed_subject_alt_names),
        untyped,
    )
}

impl Identity {
    pub(super) fn certificates(&self) -> HeldCertificates {
        let common = self.current.load();
        let trust = common.trust.as_ref();
        let own = common.certificates.iter();
        HeldCertificates {
            role: Role::Client,
            chains: own.map(|own| own.key.cert.clone()).collect(),
            trusted: trust.map_or_else(Vec::new, |trust| trust.certificates.to_vec()),
            files: self.files().paths(),
        }
    }

    fn compile(
        at: &At<'_>,
        message: &CommonTlsContext,
        has_sans: bool,
        contexts: &Contexts,
    ) -> Option<(Arc<Self>, Digest)> {
        let mut bytes = message.encode_to_vec();
        let message_length = bytes.len();
        bytes.push(has_sans.into());
        let digest = sha256(&bytes);
        bytes.truncate(message_length);
        let known = contexts.shared().identities.find(&digest);
        if let Some(known) = &known
            && !contexts.is_doubtful(&digest)
        {
            return Some((known.clone(), digest));
        }
        let inputs = contexts.inputs();
        let common = Common::compile(at, message, has_sans, Role::Client, &inputs)?;
        // It takes over by itself what its files hold.
        if let Some(known) = known {
            return Some((known, digest));
        }
        if !common.trust.as_ref().is_some_and(|trust| trust.verifies()) {
            at.field("validation_context")
                .unsupported("has no trusted_ca: any certificate of a server is accepted");
        }
        let made = Arc::new(Self {
            message: bytes.into(),
            has_sans,
            current: ArcSwap::from_pointee(common),
            files: files(inputs),
        });
        contexts.shared().identities.keep(digest, &made);
        Some((made, digest))
    }
}

impl Reload for Identity {
    fn role(&self) -> Role {
        Role::Client
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self, inputs: &Inputs<'_>) -> Result<(), Vec<Fault>> {
        let findings = Findings::default();
        let at = findings.at("common_tls_context");
        let common = CommonTlsContext::decode(&*self.message)
            .map_or_else(|error| at.fault(error.to_string()), Some)
            .and_then(|message| {
                Common::compile(&at, &message, self.has_sans, Role::Client, inputs)
            });
        let common = common.ok_or_else(|| findings.faults())?;
        self.current.store(Arc::new(common));
        Ok(())
    }
}

//! Downstream contexts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use fairlead_xds::{
    envoy::extensions::transport_sockets::tls::v3::{
        DownstreamTlsContext as Message, TlsSessionTicketKeys,
        downstream_tls_context::{OcspStaplePolicy, SessionTicketKeysType},
        secret::Type,
    },
    prost::Message as _,
};
use rustls::{
    CipherSuite, ServerConfig, SupportedCipherSuite, TicketRotator,
    crypto::{
        CryptoProvider,
        aws_lc_rs::cipher_suite::{
            TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
        },
    },
    pki_types::CertificateDer,
    server::{
        ClientHello, NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache,
        StoresServerSessions,
    },
    sign::CertifiedKey,
};

use super::{
    super::{
        certificate::Certificate,
        certificates::Certificates,
        files::{Files, Reload},
        inputs::Inputs,
        parameters::Role,
        peer::{PeerCertificate, sha256},
        sessions::{TICKET_KEY_BYTES, Tickets},
        trust::Trust,
        verifier::Verifier,
        watched::{Ends, Watched, Watchers},
    },
    Contexts, Digest, HeldCertificates,
    common::{Common, secret},
    files,
};
use crate::{
    compile::{At, Fault, Findings},
    stats::Store,
};

/// How downstream connections are encrypted.
#[derive(Debug)]
pub struct DownstreamTls {
    /// The message, from which all is made again when a file changes.
    message: Box<[u8]>,
    current: ArcSwap<Server>,
    files: Mutex<Files>,
    watchers: Watchers,
}

/// What is made of the message and the files it names.
#[derive(Debug)]
pub(in super::super) struct Server {
    /// For clients that offer a protocol that we have, or none.
    config: Configs,
    /// For clients that offer other protocols alone: they are answered with none, where the library
    /// would refuse them.
    without_alpn: Configs,
    pub(in super::super) verifier: Option<Arc<Verifier>>,
    pub(in super::super) require_certificate: bool,
    first: Option<Arc<CertifiedKey>>,
    /// Those that are shown, leaf first.
    chains: Vec<Vec<CertificateDer<'static>>>,
}

/// One for each suite of TLS 1.3 that a client may have put first. As BoringSSL, which there follows the
/// client, and in TLS 1.2 the server.
type Configs = [Arc<ServerConfig>; SUITES_13.len()];

const SUITES_13: [SupportedCipherSuite; 3] = [
    TLS13_AES_128_GCM_SHA256,
    TLS13_AES_256_GCM_SHA384,
    TLS13_CHACHA20_POLY1305_SHA256,
];

/// Sessions of TLS 1.2 that are held for clients without tickets.
const STORED_SESSIONS: usize = 256;

/// How long a session may be resumed, as in Envoy.
const SESSION_SECONDS: u32 = 2 * 60 * 60;

impl DownstreamTls {
    /// The context that the message asks for, with its certificates read.
    pub fn compile(at: &At<'_>, message: &Message, contexts: &Contexts) -> Option<Arc<Self>> {
        let message_bytes = message.encode_to_vec();
        let digest = sha256(&message_bytes);
        let known = contexts.shared().servers.find(&digest);
        if let Some(known) = &known
            && !contexts.is_doubtful(&digest)
        {
            return Some(known.clone());
        }
        let inputs = contexts.inputs();
        let server = Server::compile(at, message, digest, &inputs)?;
        // It takes over by itself what its files hold.
        if let Some(known) = known {
            return Some(known);
        }
        let made = Arc::new(Self {
            message: message_bytes.into(),
            current: ArcSwap::from_pointee(server),
            files: files(inputs),
            watchers: Watchers::default(),
        });
        contexts.shared().servers.keep(digest, &made);
        Some(made)
    }

    /// Whether its files were found to hold something else than what is in use, or to be gone.
    pub fn is_doubtful(&self, contexts: &Contexts) -> bool {
        contexts.is_doubtful(&sha256(&self.message))
    }

    pub(in super::super) fn current(&self) -> Arc<Server> {
        self.current.load_full()
    }

    /// Keeps the statistics of a listener's certificates, for as long as they are held.
    pub fn watch(&self, store: &Store, listener: &str) -> Arc<Watched> {
        // It was encoded by us.
        let message = Message::decode(&*self.message).unwrap_or_default();
        let common = message.common_tls_context.unwrap_or_default();
        let watched = Watched::new(&common, store, listener);
        self.watchers.add(watched, &self.current.load().ends())
    }

    /// The certificates that are shown, and those that clients' are held against.
    pub fn certificates(&self) -> HeldCertificates {
        let current = self.current.load();
        let verifier = current.verifier.as_ref();
        let trusted = verifier.map(|verifier| verifier.trust.certificates.to_vec());
        HeldCertificates {
            role: Role::Server,
            chains: current.chains.clone(),
            trusted: trusted.unwrap_or_default(),
            files: self.files().paths(),
        }
    }
}

impl Reload for DownstreamTls {
    fn role(&self) -> Role {
        Role::Server
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self, inputs: &Inputs<'_>) -> Result<(), Vec<Fault>> {
        let findings = Findings::default();
        let at = findings.at("");
        let digest = sha256(&self.message);
        let server = Message::decode(&*self.message)
            .map_or_else(|error| at.fault(error.to_string()), Some)
            .and_then(|message| Server::compile(&at, &message, digest, inputs));
        let server = server.ok_or_else(|| findings.faults())?;
        self.watchers.updated(&server.ends());
        self.current.store(Arc::new(server));
        Ok(())
    }
}

impl Server {
    /// What a client is answered by.
    pub(in super::super) fn config(&self, hello: &ClientHello<'_>) -> &Arc<ServerConfig> {
        let own = &self.config[0].alpn_protocols;
        let is_own = |offered| own.iter().any(|own| own == offered);
        // One that offers none is content with any.
        let suits = hello.alpn().is_none_or(|mut offered| offered.any(is_own));
        let configs = if suits {
            &self.config
        } else {
            &self.without_alpn
        };
        let place =
            |offered: &CipherSuite| SUITES_13.iter().position(|own| own.suite() == *offered);
        let first = hello.cipher_suites().iter().find_map(place);
        &configs[first.unwrap_or_default()]
    }

    fn ends(&self) -> Ends {
        let end = |certificate: &CertificateDer<'_>| {
            let parsed = PeerCertificate::new(certificate);
            parsed.parsed().map(|parsed| parsed.not_after)
        };
        let trust = self.verifier.as_ref().map(|verifier| &verifier.trust);
        Ends {
            own: self
                .chains
                .iter()
                .filter_map(|chain| end(chain.first()?))
                .collect(),
            trusted: trust.and_then(|trust| trust.certificates.iter().filter_map(end).min()),
        }
    }

    /// The one that is shown unless a name asks for another.
    pub(in super::super) fn first_certificate(&self) -> Option<Arc<CertifiedKey>> {
        self.first.clone()
    }

    fn compile(
        at: &At<'_>,
        message: &Message,
        digest: Digest,
        inputs: &Inputs<'_>,
    ) -> Option<Self> {
        let Message {
            common_tls_context,
            require_client_certificate,
            require_sni,
            disable_stateful_session_resumption,
            session_timeout,
            ocsp_staple_policy,
            full_scan_certs_on_sni_mismatch,
            prefer_client_ciphers,
            session_ticket_keys_type,
        } = message;
        let at_policy = at.field("ocsp_staple_policy");
        let policy = match OcspStaplePolicy::try_from(*ocsp_staple_policy) {
            Ok(OcspStaplePolicy::LenientStapling) => Some(()),
            Ok(policy) => at_policy.fault(format!(
                "{} is not supported, only LENIENT_STAPLING",
                policy.as_str_name()
            )),
            Err(_) => at_policy.fault(format!("{ocsp_staple_policy} is no policy")),
        };
        let lifetime = match session_timeout {
            Some(timeout) => match u32::try_from(timeout.seconds) {
                Ok(0) => Some(SESSION_SECONDS),
                Ok(seconds) => Some(seconds),
                Err(_) => at
                    .field("session_timeout")
                    .fault("must be at least 0 and less than 2^32 seconds"),
            },
            None => Some(SESSION_SECONDS),
        };
        let common = at
            .required("common_tls_context", common_tls_context.as_ref())
            .and_then(|common| {
                let at = at.field("common_tls_context");
                Common::compile(&at, common, false, Role::Server, inputs)
            });
        let keys = ticket_keys(at, session_ticket_keys_type.as_ref(), inputs)?;
        let (
            Common {
                parameters,
                certificates,
                trust,
                alpn,
            },
            lifetime,
        ) = (common?, lifetime?);
        policy?;

        let require_certificate = require_client_certificate.is_some_and(|value| value.value);
        let asks = require_certificate || trust.as_ref().is_some_and(|trust| trust.verifies());
        // Who may use a ticket again depends on all that was read, too.
        let context = context_of(digest, &certificates, trust.as_deref());
        let verifier = asks.then(|| {
            let trust = trust.unwrap_or_default();
            let mut verifier = Verifier::new(trust, Arc::default(), &parameters, Role::Server);
            verifier.mandatory = require_certificate;
            Arc::new(verifier)
        });
        let first = certificates.first().map(|own| own.key.clone());
        let chains = certificates
            .iter()
            .map(|own| own.key.cert.clone())
            .collect();
        let resolver = Arc::new(Certificates {
            list: certificates,
            full_scan: full_scan_certs_on_sni_mismatch.is_some_and(|value| value.value),
            require_sni: require_sni.is_some_and(|value| value.value),
        });
        let storage = if *disable_stateful_session_resumption {
            Arc::new(NoServerSessionStorage {}) as Arc<dyn StoresServerSessions>
        } else {
            ServerSessionMemoryCache::new(STORED_SESSIONS)
        };
        let tickets = match keys {
            // TLS 1.3 knows no other way.
            TicketKeys::Disabled => 0,
            _ => 1,
        };
        let ticketer = match keys {
            TicketKeys::Disabled => None,
            TicketKeys::Random => match TicketRotator::new(lifetime, Tickets::random) {
                Ok(tickets) => Some(Arc::new(tickets) as Arc<dyn ProducesTickets>),
                Err(error) => return at.fault(format!("no ticket keys: {error}")),
            },
            TicketKeys::Given(keys) => match Tickets::new(keys.iter(), lifetime, context) {
                Some(tickets) => Some(Arc::new(tickets) as Arc<dyn ProducesTickets>),
                None => return at.field("session_ticket_keys").fault("cannot be used"),
            },
        };
        let config = |first: SupportedCipherSuite| -> Result<ServerConfig, rustls::Error> {
            let mut provider = CryptoProvider::clone(&parameters.provider);
            provider.cipher_suites.sort_by_key(|suite| *suite != first);
            let builder = ServerConfig::builder_with_provider(Arc::new(provider))
                .with_protocol_versions(parameters.versions)?;
            let builder = match &verifier {
                Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
                None => builder.with_no_client_auth(),
            };
            let mut config = builder.with_cert_resolver(resolver.clone());
            config.ignore_client_order = !prefer_client_ciphers;
            config.session_storage = storage.clone();
            config.send_tls13_tickets = tickets;
            if let Some(ticketer) = &ticketer {
                config.ticketer = ticketer.clone();
            }
            Ok(config)
        };
        let [first_128, first_256, first_chacha] = SUITES_13.map(config);
        let configs = match (first_128, first_256, first_chacha) {
            (Ok(first_128), Ok(first_256), Ok(first_chacha)) => {
                [first_128, first_256, first_chacha]
            }
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
                return at.field("common_tls_context").fault(error.to_string());
            }
        };
        let with_alpn = |mut config: ServerConfig| {
            config.alpn_protocols.clone_from(&alpn);
            Arc::new(config)
        };
        Some(Self {
            config: configs.clone().map(with_alpn),
            without_alpn: configs.map(Arc::new),
            first,
            verifier,
            require_certificate,
            chains,
        })
    }
}

fn context_of(digest: Digest, certificates: &[Certificate], trust: Option<&Trust>) -> Digest {
    let mut bytes = digest.to_vec();
    for certificate in certificates {
        for part in &certificate.key.cert {
            bytes.extend_from_slice(&sha256(part));
        }
    }
    bytes.extend_from_slice(&trust.map_or([0; 32], Trust::digest));
    sha256(&bytes)
}

enum TicketKeys {
    Random,
    Given(Box<[[u8; TICKET_KEY_BYTES]]>),
    Disabled,
}

fn ticket_keys(
    at: &At<'_>,
    keys: Option<&SessionTicketKeysType>,
    inputs: &Inputs<'_>,
) -> Option<TicketKeys> {
    let (at, keys) = match keys {
        None | Some(SessionTicketKeysType::DisableStatelessSessionResumption(false)) => {
            return Some(TicketKeys::Random);
        }
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(true)) => {
            return Some(TicketKeys::Disabled);
        }
        Some(SessionTicketKeysType::SessionTicketKeys(keys)) => {
            (at.field("session_ticket_keys"), keys.clone())
        }
        Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(config)) => {
            let at = at.field("session_ticket_keys_sds_secret_config");
            match secret(&at, config, inputs)? {
                Type::SessionTicketKeys(keys) => (at.field("secret"), keys),
                _ => return at.fault(format!("the secret '{}' is no ticket key", config.name)),
            }
        }
    };
    let TlsSessionTicketKeys { keys } = keys;
    if keys.is_empty() {
        return at.field("keys").fault("is empty");
    }
    let sound = at.each("keys", &keys, |at, source| {
        let key = inputs.read(at, source)?;
        let length = key.len();
        <[u8; TICKET_KEY_BYTES]>::try_from(key).map_or_else(
            |_| at.fault(format!("has {length} bytes, not {TICKET_KEY_BYTES}")),
            Some,
        )
    });
    (sound.len() == keys.len()).then(|| TicketKeys::Given(sound.into()))
}

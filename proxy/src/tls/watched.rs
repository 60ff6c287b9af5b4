//! What a listener tells of its certificates: when they end, and how often they were read again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::SystemTime,
};

use fairlead_xds::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, CommonTlsContext,
        common_tls_context::ValidationContextType as Validation,
    },
};

use super::peer::sha256;
use crate::stats::{
    Scope, Shared, Store,
    sets::{
        Side,
        tls::{CertificateStatistics, SocketFactoryStatistics},
    },
};

/// The statistics of one listener's certificates, for as long as somebody holds them.
#[derive(Debug)]
pub struct Watched {
    secrets: u64,
    factory: Arc<Scope<Shared<SocketFactoryStatistics>>>,
    own: Box<[Arc<Scope<Shared<CertificateStatistics>>>]>,
    trusted: Option<Arc<Scope<Shared<CertificateStatistics>>>>,
}

/// When certificates end.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) own: Vec<SystemTime>,
    /// The first of those that peers' are held against.
    pub(super) trusted: Option<SystemTime>,
}

impl Watched {
    pub(super) fn new(context: &CommonTlsContext, store: &Store, listener: &str) -> Self {
        let names = Names::of(context);
        let scope = |name: &String| store.certificate(Side::Listener, listener, name);
        let factory = store.socket_factory(Side::Listener, listener);
        let updates = &factory.set().ssl_context_update_by_sds;
        // One that is there is of the listener before it was told anew.
        if updates.value() == 0 {
            updates.add(names.secrets);
        }
        Self {
            secrets: names.secrets,
            own: names.own.iter().map(scope).collect(),
            trusted: names.trusted.as_ref().map(scope),
            factory,
        }
    }

    fn show(&self, ends: &Ends) {
        let seconds = |time: &SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap_or_default().as_secs()
        };
        let own = self.own.iter().zip(&ends.own);
        for (scope, end) in own.chain(self.trusted.iter().zip(&ends.trusted)) {
            scope.set().expiration_unix_time_seconds.set(seconds(end));
        }
    }
}

/// The statistics of all listeners that have one context.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<Vec<Weak<Watched>>>);

impl Watchers {
    fn list(&self) -> MutexGuard<'_, Vec<Weak<Watched>>> {
        // Each change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, watched: Watched, ends: &Ends) -> Arc<Watched> {
        watched.show(ends);
        let watched = Arc::new(watched);
        let mut list = self.list();
        list.retain(|one| one.strong_count() > 0);
        list.push(Arc::downgrade(&watched));
        watched
    }

    /// The files were read again.
    pub(super) fn updated(&self, ends: &Ends) {
        for watched in self.list().iter().filter_map(Weak::upgrade) {
            watched.show(ends);
            if watched.secrets > 0 {
                watched.factory.set().ssl_context_update_by_sds.increment();
            }
        }
    }
}

/// What Envoy calls the certificates of a context: by their secrets, or by what stands in line.
#[derive(Debug)]
struct Names {
    own: Vec<String>,
    trusted: Option<String>,
    secrets: u64,
}

impl Names {
    fn of(context: &CommonTlsContext) -> Self {
        let mut own: Vec<_> = context
            .tls_certificates
            .iter()
            .map(|one| unnamed("cert", one.certificate_chain.as_ref()))
            .collect();
        let mut secrets = 0;
        if own.is_empty() {
            let named = context.tls_certificate_sds_secret_configs.iter();
            own = named.map(|config| config.name.clone()).collect();
            secrets = own.len() as u64;
        }
        let unnamed_ca = |message: &CertificateValidationContext| {
            if message.custom_validator_config.is_some() {
                return Some("unnamed_ca_cert_0".to_owned());
            }
            let source = message.trusted_ca.as_ref()?;
            Some(unnamed("ca_cert", Some(source)))
        };
        let by_secret = match &context.validation_context_type {
            Some(Validation::ValidationContextSdsSecretConfig(config)) => Some(config),
            Some(Validation::CombinedValidationContext(combined)) => {
                combined.validation_context_sds_secret_config.as_ref()
            }
            _ => None,
        };
        secrets += u64::from(by_secret.is_some());
        let trusted = match &context.validation_context_type {
            Some(Validation::ValidationContext(message)) => unnamed_ca(message),
            _ => by_secret.map(|config| config.name.clone()),
        };
        Self {
            own,
            trusted,
            secrets,
        }
    }
}

/// Only bytes in line tell one from another.
fn unnamed(kind: &str, source: Option<&DataSource>) -> String {
    let bytes = match source.and_then(|source| source.specifier.as_ref()) {
        Some(Specifier::InlineBytes(bytes)) => &**bytes,
        _ => &[],
    };
    let hash = sha256(bytes);
    let [first, second, third, fourth, ..] = hash;
    format!("unnamed_{kind}_{first:02x}{second:02x}{third:02x}{fourth:02x}")
}

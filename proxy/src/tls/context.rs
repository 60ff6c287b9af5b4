//! Compiles the contexts of both sides, and shares what is equal among them.
//!
//! Thousands of clusters have the same certificate, CA and parameters. These are held once, in an
//! [`Identity`]; the names that a cluster's peers must have are an [`Expectation`] over it, held once for
//! all clusters that have the same. What a connection needs of the library is made when the first
//! connection is.

mod client;
mod common;
mod server;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::SystemTime,
};

use fairlead_xds::envoy::extensions::transport_sockets::tls::v3::Secret;
use rustls::pki_types::CertificateDer;

pub use self::{client::UpstreamTls, server::DownstreamTls};
pub(super) use self::{
    client::{Expectation, Identity},
    server::Server,
};
use super::{
    files::{Files, Reload},
    inputs::{Inputs, ReadSecrets},
    parameters::Role,
    sessions::Sessions,
};
use crate::compile::Fault;

/// The hash of a message, by which equal ones are found.
pub(super) type Digest = [u8; 32];

/// What the contexts of a process share.
#[derive(Debug)]
pub struct Contexts {
    environment: fn(&str) -> Option<String>,
    read_secrets: ReadSecrets,
    secrets: Box<[Secret]>,
    sessions: Arc<Sessions>,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    servers: Interned<DownstreamTls>,
    identities: Interned<Identity>,
    expectations: Interned<Expectation>,
    /// Of servers and identities whose files do not hold what they were made of.
    doubtful: HashSet<Digest>,
}

/// Values that are found by their hash while somebody holds them.
#[derive(Debug)]
struct Interned<T> {
    values: HashMap<Digest, Weak<T>>,
    prune_at: usize,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self {
            values: HashMap::new(),
            prune_at: 16,
        }
    }
}

impl<T> Interned<T> {
    fn find(&self, digest: &Digest) -> Option<Arc<T>> {
        self.values.get(digest).and_then(Weak::upgrade)
    }

    fn keep(&mut self, digest: Digest, value: &Arc<T>) {
        if self.values.len() >= self.prune_at {
            self.values.retain(|_, value| value.strong_count() > 0);
            self.prune_at = 16 + 2 * self.values.len();
        }
        self.values.insert(digest, Arc::downgrade(value));
    }

    fn all(&self) -> impl Iterator<Item = Arc<T>> {
        self.entries().map(|(_, value)| value)
    }

    fn entries(&self) -> impl Iterator<Item = (Digest, Arc<T>)> {
        let held = |(digest, value): (&Digest, &Weak<T>)| Some((*digest, value.upgrade()?));
        self.values.iter().filter_map(held)
    }
}

impl Contexts {
    /// Nothing yet. `environment` looks up variables, `read_secrets` reads files of SDS, and `secrets`
    /// are those of the bootstrap.
    pub fn new(
        environment: fn(&str) -> Option<String>,
        read_secrets: ReadSecrets,
        secrets: Box<[Secret]>,
    ) -> Self {
        Self {
            environment,
            read_secrets,
            secrets,
            sessions: Arc::default(),
            shared: Mutex::default(),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            environment: self.environment,
            read_secrets: self.read_secrets,
            secrets: &self.secrets,
            files: Vec::new().into(),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // Each change is whole before anything can panic.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads again what lies in files that have changed since. What is broken is left out, and what was
    /// there before stays.
    pub fn reload(&self, now: SystemTime) -> Vec<Reloaded> {
        let all: Vec<Arc<dyn Reload>> = {
            let shared = self.shared();
            let servers = shared.servers.all().map(|server| server as Arc<dyn Reload>);
            let identities = shared.identities.all();
            servers
                .chain(identities.map(|identity| identity as Arc<dyn Reload>))
                .collect()
        };
        all.iter()
            .filter_map(|context| self.reload_one(&**context, now))
            .collect()
    }

    /// Looks which files hold something else than what is in use, or are gone, so that a configuration
    /// that is compiled next is not accepted for what they held once.
    pub fn look_at_files(&self) {
        let mut shared = self.shared();
        let servers = shared.servers.entries();
        let servers = servers.map(|(digest, server)| (digest, server as Arc<dyn Reload>));
        let identities = shared.identities.entries();
        let identities = identities.map(|(digest, identity)| (digest, identity as Arc<dyn Reload>));
        shared.doubtful = servers
            .chain(identities)
            .filter(|(_, context)| !context.files().are_in_use())
            .map(|(digest, _)| digest)
            .collect();
    }

    fn is_doubtful(&self, digest: &Digest) -> bool {
        self.shared().doubtful.contains(digest)
    }

    /// The certificates of all contexts in use, for operators; those of equal ones once.
    pub fn certificates(&self) -> Vec<HeldCertificates> {
        let shared = self.shared();
        let servers = shared.servers.all().map(|server| server.certificates());
        let identities = shared.identities.all();
        servers
            .chain(identities.map(|identity| identity.certificates()))
            .collect()
    }

    /// How many servers, identities and expectations are in use.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize, usize) {
        let shared = self.shared();
        (
            shared.servers.all().count(),
            shared.identities.all().count(),
            shared.expectations.all().count(),
        )
    }

    fn reload_one(&self, context: &dyn Reload, now: SystemTime) -> Option<Reloaded> {
        let mut files = context.files();
        let changed = files.changed(now);
        if changed.is_empty() {
            return None;
        }
        let inputs = self.inputs();
        let outcome = context.reload(&inputs);
        files.update(inputs.files.into_inner(), outcome.is_ok());
        Some(Reloaded {
            role: context.role(),
            files: changed,
            outcome,
        })
    }
}

/// The certificates of one context.
#[derive(Clone, Debug)]
pub struct HeldCertificates {
    /// Whose they are.
    pub role: Role,
    /// Those that are shown, leaf first.
    pub chains: Vec<Vec<CertificateDer<'static>>>,
    /// Those that a peer's are held against.
    pub trusted: Vec<CertificateDer<'static>>,
    /// What they were read from, as far as they lie in files, and their keys.
    pub files: Vec<PathBuf>,
}

/// Files changed.
#[derive(Debug)]
pub struct Reloaded {
    /// Whose they are.
    pub role: Role,
    /// Those that did.
    pub files: Vec<PathBuf>,
    /// Whether what they hold is in use now; if not, why.
    pub outcome: Result<(), Vec<Fault>>,
}

/// The files that something was read from.
fn files(inputs: Inputs<'_>) -> Mutex<Files> {
    Mutex::new(Files::new(inputs.files.into_inner()))
}

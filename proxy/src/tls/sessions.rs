//! Sessions that are resumed: those we hold as a client, and the keys of those we gave out.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    rand,
};
use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    crypto::GetRandomFailed,
    pki_types::ServerName,
    server::ProducesTickets,
};

use super::peer::sha256;

/// The most endpoints of which sessions are held: about 4 MB of them.
const MAX_ENDPOINTS: usize = 1024;

/// What a session may be used for again: the same identity and expectations, the same name, the same
/// endpoint.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    /// Made anew when certificates are.
    client: u64,
    name: ServerName<'static>,
    endpoint: SocketAddr,
}

/// The sessions of all upstream connections, the oldest endpoint forgotten first.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    order: VecDeque<Key>,
}

#[derive(Default)]
struct Entry {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secrets.
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Each change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn edit(&mut self, key: Key, edit: impl FnOnce(&mut Entry)) {
        if !self.by_key.contains_key(&key) {
            if self.order.len() >= MAX_ENDPOINTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_key.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        edit(self.by_key.entry(key).or_default());
    }
}

/// The sessions of one connection's kind.
#[derive(Debug)]
pub(super) struct EndpointSessions {
    pub(super) sessions: Arc<Sessions>,
    pub(super) client: u64,
    pub(super) endpoint: SocketAddr,
    pub(super) most: usize,
}

impl EndpointSessions {
    fn key(&self, name: &ServerName<'_>) -> Key {
        Key {
            client: self.client,
            name: name.to_owned(),
            endpoint: self.endpoint,
        }
    }

    fn read<T>(
        &self,
        name: &ServerName<'_>,
        read: impl FnOnce(&mut Entry) -> Option<T>,
    ) -> Option<T> {
        let key = self.key(name);
        self.sessions.entries().by_key.get_mut(&key).and_then(read)
    }
}

impl ClientSessionStore for EndpointSessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        let key = self.key(&server_name);
        let mut entries = self.sessions.entries();
        entries.edit(key, |entry| entry.group = Some(group));
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.read(server_name, |entry| entry.group)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        let key = self.key(&server_name);
        let mut entries = self.sessions.entries();
        entries.edit(key, |entry| entry.tls12 = Some(value));
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.read(server_name, |entry| entry.tls12.clone())
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.read(server_name, |entry| entry.tls12.take());
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        let key = self.key(&server_name);
        let mut entries = self.sessions.entries();
        entries.edit(key, |entry| {
            while entry.tls13.len() >= self.most {
                entry.tls13.pop_front();
            }
            entry.tls13.push_back(value);
        });
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        // Used once, so that nobody can tell by it that two connections are of one client.
        self.read(server_name, |entry| entry.tls13.pop_back())
    }
}

/// The length of a ticket key in Envoy's configuration: a name and two keys.
pub(super) const TICKET_KEY_BYTES: usize = 80;

const NAME_BYTES: usize = 16;

/// Seals tickets with the first key, and opens those of each.
#[derive(Debug)]
pub(super) struct Tickets {
    keys: Box<[TicketKey]>,
    lifetime_seconds: u32,
    /// Who may use a ticket again: those with the same certificates and expectations.
    context: [u8; 32],
}

#[derive(Debug)]
struct TicketKey {
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl Tickets {
    /// Of keys that several proxies share.
    pub(super) fn new<'a>(
        keys: impl Iterator<Item = &'a [u8; TICKET_KEY_BYTES]>,
        lifetime_seconds: u32,
        context: [u8; 32],
    ) -> Option<Self> {
        let keys = keys.map(|key| {
            let (name, secret) = key.split_first_chunk()?;
            let key = RandomizedNonceKey::new(&AES_256_GCM, &sha256(secret)).ok()?;
            Some(TicketKey { name: *name, key })
        });
        Some(Self {
            keys: keys.collect::<Option<_>>()?,
            lifetime_seconds,
            context,
        })
    }

    /// Of one key that nobody else knows.
    pub(super) fn random() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
        let mut key = [0; TICKET_KEY_BYTES];
        rand::fill(&mut key).map_err(|_| GetRandomFailed)?;
        let tickets = Self::new([&key].into_iter(), 0, [0; 32]).ok_or(GetRandomFailed)?;
        Ok(Box::new(tickets))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_seconds
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key
            .key
            .seal_in_place_append_tag(Aad::from(self.context), &mut sealed)
            .ok()?;
        let mut ticket = Vec::with_capacity(NAME_BYTES + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = cipher.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.keys.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key
            .key
            .open_in_place(nonce, Aad::from(self.context), &mut sealed)
            .ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_opened_by_any_of_the_keys_and_of_their_context_alone() {
        let (old, new) = ([1; TICKET_KEY_BYTES], [2; TICKET_KEY_BYTES]);
        let before = Tickets::new([&old].into_iter(), 60, [0; 32]).unwrap();
        let after = Tickets::new([&new, &old].into_iter(), 60, [0; 32]).unwrap();
        let other = Tickets::new([&old].into_iter(), 60, [1; 32]).unwrap();
        let ticket = before.encrypt(b"session").unwrap();
        assert_eq!(after.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(other.decrypt(&ticket), None);
        let newer = after.encrypt(b"session").unwrap();
        assert_eq!(before.decrypt(&newer), None);
        for length in 0..ticket.len() {
            assert_eq!(before.decrypt(&ticket[..length]), None);
        }
    }
}

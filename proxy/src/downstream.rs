//! One downstream connection, from accept to its lines in the access logs.
//!
//! It is handed to the listener of its original destination, looked at by the listener's filters, and
//! taken by a filter chain, which decrypts it, refuses it or passes its bytes to an upstream.

mod answer;
mod filter;
mod inspect;
mod meanwhile;
mod part;
mod proxy;
mod record;

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpStream, select};

use self::record::Record;
use crate::{
    destination::{self, canonical},
    ending::Ending,
    filter_chain::Facts,
    listener::active::Active,
    plane::{HANDSHAKE_TIMEOUT, Worker},
    stream::Stream,
    tls::{self, Ends},
    upstream::Transport,
};

/// Carries one connection to its end.
pub async fn serve(worker: Arc<Worker>, active: Arc<Active>, tcp: TcpStream, peer: SocketAddr) {
    let overall = active.current().counts_overall;
    let _overall = match overall.then(|| worker.plane.overall.enter()) {
        Some(Err(full)) => return active.reject_overall(worker.number, peer, &full),
        Some(Ok(counted)) => counted,
        None => None,
    };
    let restored = restore(&worker, &active, &tcp);
    let active = hand_over(&worker, active, &restored);
    let Some(_counted) = active.enter() else {
        return active.reject(worker.number, peer);
    };
    let mut record = Record::new(worker, active, &tcp, canonical(peer));
    record.restored(restored);
    let ending = record.carry(Stream::silent(tcp)).await;
    record.ended(&ending);
}

/// Where the connection was going before it was redirected, if its listener wants to know.
fn restore(worker: &Worker, active: &Active, tcp: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let listener = active.current();
    if !listener.restores() {
        return Ok(None);
    }
    let original = destination::restored(
        tcp.local_addr()?,
        listener.is_transparent(),
        |port| active.addresses.iter().any(|own| own.port() == port),
        || worker.plane.redirect.original_dst(tcp),
    );
    original.map(Some)
}

/// The listener of the original destination, if this one hands connections over and there is one.
fn hand_over(
    worker: &Worker,
    active: Arc<Active>,
    restored: &io::Result<Option<SocketAddr>>,
) -> Arc<Active> {
    let Ok(Some(original)) = restored else {
        return active;
    };
    if !active.current().hands_over {
        return active;
    }
    let listeners = worker.plane.listeners.load();
    match listeners.find(*original) {
        Some(other) if !Arc::ptr_eq(other, &active) => other.clone(),
        _ => active,
    }
}

impl Record {
    async fn carry(&mut self, mut stream: Stream) -> Ending {
        let inspected = match self.inspect(&mut stream).await {
            Ok(inspected) => inspected,
            Err(reason) => {
                return Ending::NotInspected {
                    downstream: self.peer,
                    reason: reason.into(),
                };
            }
        };
        let facts = Facts::new(&inspected, self.local, self.peer);
        self.remote = facts.source.unwrap_or(self.peer);
        self.local = facts.destination.unwrap_or(self.local);
        let chain = self.listener.chains.find(&facts).cloned();
        self.server_name = inspected.server_name;
        let Some(chain) = chain else {
            self.listener_statistics().no_filter_chain_match.increment();
            return Ending::NoFilterChain {
                listener: self.listener.name.clone(),
                destination: self.local,
            };
        };
        self.took(chain.clone());
        let transport = match &chain.tls {
            None => Transport::Raw(stream),
            Some(context) => {
                let within = chain.handshake_timeout.unwrap_or(HANDSHAKE_TIMEOUT);
                let ends = Ends {
                    peer: self.remote,
                    local: self.local,
                };
                match Box::pin(tls::accept(context, stream, ends, within)).await {
                    Ok((stream, handshaked)) => {
                        self.handshaken(handshaked);
                        Transport::Tls(Box::new(stream))
                    }
                    Err(error) => {
                        self.not_handshaken(&error);
                        return Ending::DownstreamTls(Box::new(error));
                    }
                }
            }
        };
        select! {
            ending = self.filter(&chain, transport) => ending,
            () = chain.closing.closed() => Ending::Drained,
        }
    }
}

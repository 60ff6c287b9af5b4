//! As whom a socket is made: that is what the rules' owner match sees, for as long as it lives.

use std::{io, thread};

use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::Redirect;

/// A user and a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// What this process may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Credentials {
    pub(super) own: Identity,
    /// It may make a socket as anybody.
    pub(super) anybody: bool,
    /// It may make a socket transparent, and give it a mark.
    pub(super) net_admin: bool,
}

impl Credentials {
    pub(super) fn of_process(redirect: &Redirect) -> Self {
        let own = Identity {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        // By trial: whether an id can be taken depends on the user namespace, too.
        let proxy = redirect.proxy_uids.first().map(|uid| Identity {
            uid: *uid,
            gid: redirect.proxy_gids.first().copied().unwrap_or(*uid),
        });
        let anybody = proxy.is_some_and(|proxy| as_identity(proxy, || Ok(())).is_ok());
        let transparent = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))
            .and_then(|socket| socket.set_ip_transparent_v4(true));
        Self {
            own,
            anybody,
            net_admin: transparent.is_ok(),
        }
    }

    /// Makes a socket as somebody.
    pub(super) fn socket(
        &self,
        identity: Identity,
        domain: Domain,
        kind: Type,
    ) -> io::Result<Socket> {
        let make = || Socket::new(domain, kind, None);
        if identity == self.own {
            make()
        } else {
            as_identity(identity, make)
        }
    }
}

/// Does something on a thread that belongs to somebody else; the process stays what it is.
fn as_identity<T: Send>(
    identity: Identity,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let work = || {
        let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        work()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

//! Binds the captured ports, and accepts.

pub mod active;
pub mod config;
pub mod sockets;

use std::{io, net::SocketAddr};

use fairlead_api::annotations::INTERCEPTION_MODE;
use fairlead_runtime::server::BindError;

/// A port could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It is taken, or not ours.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The kernel does not let this process have connections to other addresses.
    #[error(
        "make {purpose} on {address} transparent, as interception mode TPROXY needs it: add the \
         capability NET_ADMIN to the container istio-proxy, which then runs as user 0 (the \
         injector does so), or set the annotation {INTERCEPTION_MODE}: REDIRECT and create the pod \
         again"
    )]
    Transparent {
        /// What the port is for.
        purpose: Box<str>,
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's words.
        source: io::Error,
    },
}

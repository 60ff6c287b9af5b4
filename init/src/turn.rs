//! One run at a time in a network namespace.
//!
//! What is installed is read, and then changed by another program; the lock of legacy iptables
//! covers only each, and nft has none.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::io::FdFlags;

/// A name in the abstract namespace of Unix sockets (`unix(7)`), which belongs to the network
/// namespace, needs no file, and is free again when its holder ends in whatever way.
const NAME: &[u8] = b"fairlead-init";
/// A run takes milliseconds, so one that waits this long waits for something else.
const DEADLINE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);

/// The right to change the rules; given back on drop.
///
/// The programs that a run starts inherit it, so that the next run sees what they have done even
/// when this one is killed.
#[derive(Debug)]
pub struct Turn {
    _name: UnixListener,
}

/// The turn did not come.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// Another run holds it.
    #[error(
        "another run of fairlead-init has this network namespace for {} s: end it, or wait",
        DEADLINE.as_secs()
    )]
    Held,
    /// The kernel refuses the socket.
    #[error("take the turn of this network namespace")]
    Socket(#[source] io::Error),
}

impl Turn {
    /// Waits until no other run is under way.
    ///
    /// # Errors
    /// The deadline is over, or the kernel has no such sockets.
    pub fn take() -> Result<Self, TurnError> {
        let address = SocketAddr::from_abstract_name(NAME).map_err(TurnError::Socket)?;
        let end = Instant::now() + DEADLINE;
        loop {
            match UnixListener::bind_addr(&address) {
                Ok(name) => {
                    rustix::io::fcntl_setfd(&name, FdFlags::empty())
                        .map_err(|errno| TurnError::Socket(errno.into()))?;
                    return Ok(Self { _name: name });
                }
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    return Err(TurnError::Socket(error));
                }
                Err(_) if Instant::now() > end => return Err(TurnError::Held),
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TurnError;

    #[test]
    fn each_fault_says_what_was_waited_for() {
        let refused = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        for (error, expected) in [
            (
                TurnError::Held,
                "another run of fairlead-init has this network namespace for 10 s: end it, or wait",
            ),
            (
                TurnError::Socket(refused),
                "take the turn of this network namespace",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}

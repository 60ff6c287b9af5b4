//! Work in another network namespace, as a node agent asks for.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    thread::LinkNameSpaceType,
};

/// Why the process is not in the namespace.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The path leads nowhere.
    #[error(
        "{} does not exist: give --network-namespace a file such as /var/run/netns/NAME or \
         /proc/PID/ns/net; the pod may have ended", path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file stands for something else.
    #[error(
        "{} is not the file of a network namespace: give --network-namespace a file such as \
         /var/run/netns/NAME or /proc/PID/ns/net, and mount the host's /var/run/netns with \
         mountPropagation HostToContainer", path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
    },
    /// The process may not read the file.
    #[error(
        "open {}: run as root, and with the capability SYS_PTRACE for a file under /proc",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No SYS_ADMIN.
    #[error(
        "enter {}: the capability SYS_ADMIN is missing: add it to \
         securityContext.capabilities of the container, which must run as root", path.display()
    )]
    Privilege {
        /// The file.
        path: PathBuf,
    },
    /// The kernel refused for another reason.
    #[error("enter {}", path.display())]
    Enter {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Moves the calling thread, and what it starts from now on, into the network namespace that a
/// file stands for.
///
/// It shall be the first thread, and no other one be there: /proc/net shows the namespace of the
/// first one.
///
/// # Errors
/// The file is no network namespace, or a privilege is missing.
pub fn enter(path: &Path) -> Result<(), NamespaceError> {
    let namespace = open(path).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => NamespaceError::Missing { path: path.into() },
        _ => NamespaceError::Unreadable {
            path: path.into(),
            source: errno.into(),
        },
    })?;
    let kind = Some(LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).map_err(|errno| {
        match errno {
            // No namespace, or one of another kind.
            Errno::INVAL | Errno::BADF => NamespaceError::Other { path: path.into() },
            Errno::PERM => NamespaceError::Privilege { path: path.into() },
            _ => NamespaceError::Enter {
                path: path.into(),
                source: errno.into(),
            },
        }
    })
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    // A pipe must not make us wait for somebody to write.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{NamespaceError, enter};

    #[test]
    fn each_fault_names_the_file_and_a_remedy() {
        let path = || std::path::PathBuf::from("/run/netns/pod");
        let refused = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        for (error, expected) in [
            (
                NamespaceError::Missing { path: path() },
                "/run/netns/pod does not exist: give --network-namespace a file such as \
                 /var/run/netns/NAME or /proc/PID/ns/net; the pod may have ended",
            ),
            (
                NamespaceError::Other { path: path() },
                "/run/netns/pod is not the file of a network namespace: give --network-namespace \
                 a file such as /var/run/netns/NAME or /proc/PID/ns/net, and mount the host's \
                 /var/run/netns with mountPropagation HostToContainer",
            ),
            (
                NamespaceError::Unreadable {
                    path: path(),
                    source: refused(),
                },
                "open /run/netns/pod: run as root, and with the capability SYS_PTRACE for a file \
                 under /proc",
            ),
            (
                NamespaceError::Privilege { path: path() },
                "enter /run/netns/pod: the capability SYS_ADMIN is missing: add it to \
                 securityContext.capabilities of the container, which must run as root",
            ),
            (
                NamespaceError::Enter {
                    path: path(),
                    source: refused(),
                },
                "enter /run/netns/pod",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_file_that_is_no_network_namespace_is_told_apart() {
        let missing = enter(Path::new("/proc/self/ns/no-such-file"));
        assert!(matches!(missing, Err(NamespaceError::Missing { .. })));
        let below_a_file = enter(Path::new("/proc/self/status/net"));
        assert!(matches!(below_a_file, Err(NamespaceError::Missing { .. })));
        for other in ["/proc/self/status", "/proc/self/ns/uts", "/proc/self/ns"] {
            let outcome = enter(Path::new(other));
            assert!(
                matches!(outcome, Err(NamespaceError::Other { .. })),
                "{other}: {outcome:?}"
            );
        }
    }
}

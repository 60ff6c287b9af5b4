//! File descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Each connection takes two descriptors, and container runtimes often start with a soft limit of
/// 1024 below a hard one of a million.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, limit = ?limit.current, "the limit of file descriptors stays as it is");
    }
}

//! Takes another configuration while the process runs.

use fairlead_xds::bootstrap::Pieces;
use tracing::{error, info, warn};

use super::{Server, StartError, apply::ApplyError, next::Next};
use crate::configuration::{self, Source, Stamp};

/// A configuration that is in force as soon as its clusters have found their endpoints.
pub(super) struct Pending {
    pub(super) next: Next,
    /// What it was read from, if that is not shown yet.
    pub(super) bootstrap: Option<Pieces>,
}

impl Server {
    /// Takes the configuration as it is now; a faulty one changes nothing.
    pub(super) fn reload(&mut self) {
        self.seen = stamp(&self.options.source);
        if let (Some(path), None) = (&self.options.source.path, &self.seen) {
            error!(
                "the configuration in use stays: {} is no file that can be read",
                path.display()
            );
            return;
        }
        match self.prepare() {
            Ok(next) => self.pending = Some(next),
            Err(cause) => error!("the configuration in use stays: {cause}"),
        }
    }

    fn prepare(&self) -> Result<Pending, StartError> {
        let (bootstrap, warnings) = self.options.source.read()?;
        for warning in warnings {
            warn!("{warning}");
        }
        let running = &self.running;
        for field in self.at_start.changed(&bootstrap) {
            warn!("{field} has changed, which needs a restart: the one in use stays");
        }
        let snapshot = self.compiler.compile(&bootstrap, &running.listeners())?;
        let earlier = self.pending.as_ref().map(|pending| &pending.next);
        let next = running.prepare(&snapshot, &bootstrap.bootstrap, earlier)?;
        Ok(Pending {
            next,
            bootstrap: Some(bootstrap),
        })
    }

    pub(super) fn put(&mut self, pending: Pending) -> Result<(), ApplyError> {
        let Pending { next, bootstrap } = pending;
        match self.running.put(&self.threads, next) {
            Ok(()) => {
                if let Some(bootstrap) = &bootstrap {
                    self.running.showing(bootstrap);
                }
                if self.is_live() {
                    info!("another configuration is in use");
                } else {
                    self.lifecycle.workers_started();
                    self.tell_state();
                }
            }
            Err(cause) if self.is_live() => error!("the configuration in use stays: {cause}"),
            Err(cause) => return Err(cause),
        }
        Ok(())
    }
}

pub(super) async fn warm(pending: Option<&Pending>) {
    match pending {
        Some(pending) => pending.next.warm().await,
        None => std::future::pending().await,
    }
}

pub(super) fn stamp(source: &Source) -> Stamp {
    configuration::stamp(source.path.as_ref()?)
}

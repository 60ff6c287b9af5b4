//! The authority in the Secret, on which the replicas agree by writing only what they have read.

use std::sync::Arc;

use kube::api::PostParams;
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::info;

use super::{FIELD_MANAGER, Keeper, Source, error::KeepError};
use crate::{
    api_server::call,
    certificate::{
        authority::Authority,
        contents::{Contents, open_request, with_authority, with_bundle, with_successor},
        rotation::{Step, next_step},
    },
};

/// How often replicas may take the Secret from under each other before a pause.
const CONFLICTS: usize = 5;

impl Keeper {
    /// Settles on one authority with the other replicas: the one in the Secret.
    pub(super) async fn keep_authority(&mut self, now: OffsetDateTime) -> Result<(), KeepError> {
        let (namespace, name) = (self.names.namespace.clone(), self.names.secret.clone());
        for _ in 0..CONFLICTS {
            let Some(seen) = &self.secret else {
                return Ok(());
            };
            let Some(secret) = seen else {
                return Err(KeepError::SecretMissing { namespace, name });
            };
            let (written, action) = match Contents::of(secret) {
                Contents::Complete(stored) => {
                    let requested = open_request(secret).is_some();
                    let bundle = &stored.authority.bundle;
                    let settled = self.trust.is_settled(bundle, Instant::now());
                    let step = next_step(&stored, requested, settled, now);
                    match (step, stored.successor) {
                        (Step::Announce, _) => {
                            let successor = stored.authority.successor(now)?;
                            (with_successor(secret, &successor), "announced a successor")
                        }
                        (Step::Promote, Some(successor)) => {
                            (with_authority(secret, &successor), "promoted the successor")
                        }
                        (Step::Retire(bundle), _) => {
                            (with_bundle(secret, &bundle), "retired predecessors")
                        }
                        (Step::Nothing | Step::Promote, _) => {
                            self.adopt(Arc::new(stored.authority));
                            return Ok(());
                        }
                    }
                }
                Contents::Empty => {
                    if !self.secret_pace.is_free(Instant::now()) {
                        return Err(KeepError::SecretContested { namespace, name });
                    }
                    self.secret_pace.note(Instant::now());
                    let authority = self.known_or_new(now)?;
                    (with_authority(secret, &authority), "wrote an authority")
                }
                Contents::Broken(reason) => {
                    return Err(KeepError::SecretBroken {
                        namespace,
                        name,
                        reason: reason.to_string(),
                    });
                }
            };
            let found = match call(self.secrets.replace(&name, &as_manager(), &written)).await {
                Ok(written) => {
                    info!(secret = name, "{action}");
                    Ok(Some(written))
                }
                // Another replica was faster: what it wrote is as good.
                Err(error) if error.is_conflict() => call(self.secrets.get_opt(&name)).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(found) => self.secret = Some(found),
                Err(source) => {
                    return Err(KeepError::WriteSecret {
                        namespace,
                        name,
                        source,
                    });
                }
            }
        }
        Err(KeepError::Contended { namespace, name })
    }

    /// Where somebody has emptied the Secret, what the API server trusts goes back into it.
    fn known_or_new(&self, now: OffsetDateTime) -> Result<Arc<Authority>, KeepError> {
        match &self.source {
            Some(Source::Authority(known)) if !known.needs_successor(now) => Ok(Arc::clone(known)),
            _ => Ok(Arc::new(Authority::generate(now)?)),
        }
    }

    fn adopt(&mut self, authority: Arc<Authority>) {
        let same = |known: &Source| known.identity() == [authority.certificate.der.clone()];
        if !self.source.as_ref().is_some_and(same) {
            let expires = authority.not_after();
            info!(%expires, "use the authority of the Secret");
            self.metrics.authority_expires(expires.unix_timestamp());
        }
        self.source = Some(Source::Authority(authority));
    }
}

fn as_manager() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

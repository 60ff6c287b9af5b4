//! Watches the Secret and the MutatingWebhookConfiguration and keeps both true.

mod complaints;
mod error;
mod own;
mod pace;

use std::{error::Error, pin::pin, sync::Arc, time::Duration};

use fairlead_runtime::readiness::Gate;
use futures_util::StreamExt;
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, utils::Backoff as _, watcher::watch_object},
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use self::{
    complaints::{Complaints, RECOVERY, Task},
    error::KeepError,
    pace::Pace,
};
use super::{
    authority::{Authority, Leaf},
    brought::{self, Brought},
    bundle, contents,
    rotation::{QUIET, Serving, Trust},
};
use crate::{
    api_server::{Backoff, call, words},
    metrics::Metrics,
    server::Certificate,
};

/// The name under which the API server records our field.
const FIELD_MANAGER: &str = "fairlead-webhook";
/// How often the clock is looked at: timers stand still while a machine sleeps.
const CLOCK_CHECK: Duration = Duration::from_secs(3600);

/// The objects that belong to this installation.
#[derive(Clone, Debug)]
pub struct Names {
    /// The namespace of the Secret and the Service.
    pub namespace: String,
    /// The Secret that holds the authority, or the certificate that is brought.
    pub secret: String,
    /// The MutatingWebhookConfiguration.
    pub configuration: String,
    /// The Service through which the API server calls.
    pub service: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
}

impl Names {
    /// The names that the API server and others call the Service by.
    fn dns(&self) -> [String; 2] {
        let called = self.called();
        let whole = format!("{called}.{}", self.cluster_domain);
        [called, whole]
    }

    /// The name by which API servers call.
    fn called(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

/// Where the serving certificate comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// An authority of our own, in the Secret.
    Own,
    /// Somebody else issues it into the Secret.
    Brought {
        /// Whether the `caBundle` is made of the Secret's `ca.crt`; otherwise it is somebody else's.
        keep_bundle: bool,
    },
}

impl Origin {
    fn keeps_bundle(self) -> bool {
        !matches!(self, Self::Brought { keep_bundle: false })
    }
}

/// What a certificate can be had of.
#[derive(Clone, Debug)]
enum Source {
    Authority(Arc<Authority>),
    Brought(Arc<Brought>),
}

impl Source {
    /// What API servers have to trust.
    fn bundle(&self) -> &str {
        match self {
            Self::Authority(authority) => &authority.bundle,
            Self::Brought(brought) => &brought.bundle,
        }
    }

    /// The certificates that tell it from another one.
    fn identity(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Authority(authority) => std::slice::from_ref(&authority.certificate.der),
            Self::Brought(brought) => &brought.certified_key.cert,
        }
    }
}

/// The certificate that is served.
#[derive(Debug)]
struct Served {
    leaf: Leaf,
    /// The [`Source::identity`] of its source.
    source: Vec<CertificateDer<'static>>,
    /// The request for a new one that stood when it was made.
    request: Option<String>,
}

/// Keeps the serving certificate valid and the API server trusting it.
#[derive(Debug)]
pub struct Keeper {
    names: Names,
    origin: Origin,
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
    certificate: Certificate,
    gate: Gate,
    metrics: Metrics,
    /// What the watches told last; absent until they told anything.
    secret: Option<Option<Secret>>,
    configuration: Option<Option<MutatingWebhookConfiguration>>,
    /// When either changed last.
    changed: Instant,
    /// Of the writes of each that somebody else may undo.
    secret_pace: Pace,
    configuration_pace: Pace,
    /// The last good one.
    source: Option<Source>,
    trust: Trust,
    served: Option<Served>,
    complaints: Complaints,
}

impl Keeper {
    /// `gate` opens when the API server trusts the certificate that is served.
    pub fn new(
        client: Client,
        names: Names,
        origin: Origin,
        certificate: Certificate,
        gate: Gate,
        metrics: Metrics,
    ) -> Self {
        Self {
            origin,
            secrets: Api::namespaced(client.clone(), &names.namespace),
            configurations: Api::all(client),
            names,
            certificate,
            gate,
            metrics,
            secret: None,
            configuration: None,
            changed: Instant::now(),
            secret_pace: Pace::default(),
            configuration_pace: Pace::default(),
            source: None,
            trust: Trust::default(),
            served: None,
            complaints: Complaints::default(),
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let secrets = watch_object(self.secrets.clone(), &self.names.secret);
        let configurations = watch_object(self.configurations.clone(), &self.names.configuration);
        let mut secrets = pin!(secrets.backoff(Backoff::default()));
        let mut configurations = pin!(configurations.backoff(Backoff::default()));
        let mut retries = Backoff::default();
        // Whatever the watches do, the clock goes on: certificates expire.
        let mut due = Instant::now() + CLOCK_CHECK;
        loop {
            tokio::select! {
                Some(event) = secrets.next() => match event {
                    Ok(secret) => {
                        remember(&mut self.secret, secret, &mut self.changed);
                        self.complaints.settle(Task::WatchSecret);
                    }
                    Err(error) => {
                        let action = format!("watch Secret {}", self.names.secret);
                        self.complain(Task::WatchSecret, &action, &error);
                        due = due.min(Instant::now() + RECOVERY);
                        continue;
                    }
                },
                Some(event) = configurations.next() => match event {
                    Ok(configuration) => {
                        remember(&mut self.configuration, configuration, &mut self.changed);
                        self.complaints.settle(Task::WatchConfiguration);
                    }
                    Err(error) => {
                        let action = format!("watch {}", self.names.configuration);
                        self.complain(Task::WatchConfiguration, &action, &error);
                        due = due.min(Instant::now() + RECOVERY);
                        continue;
                    }
                },
                () = sleep_until(due) => {}
            }
            let kept = self.keep(OffsetDateTime::now_utc().truncate_to_second());
            let pause = match kept.await {
                Ok(()) => {
                    self.complaints.settle(Task::Keep);
                    retries.reset();
                    let settles = self.trust.settles_in(Instant::now());
                    settles.map_or(CLOCK_CHECK, |left| left.min(CLOCK_CHECK))
                }
                Err(error) => {
                    self.complain(Task::Keep, "keep the certificate trusted", &error);
                    retries.next().unwrap_or(CLOCK_CHECK)
                }
            };
            due = Instant::now() + pause;
            self.complaints.settle_watches(Instant::now());
            if self.tell_complaints() {
                due = due.min(Instant::now() + RECOVERY);
            }
        }
    }

    fn complain(&mut self, task: Task, action: &str, error: &(dyn Error + 'static)) {
        let complaint = format!("{action}: {}", words(error));
        self.complaints.raise(task, complaint, Instant::now());
        self.tell_complaints();
    }

    /// Shows operators what is wrong; whether anything is.
    fn tell_complaints(&self) -> bool {
        let note = self.complaints.note();
        let is_faulty = note.is_some();
        self.gate.set_note(note);
        self.metrics.certificate_faulty(is_faulty);
        is_faulty
    }

    /// Compares what is with what should be, and does what is missing.
    async fn keep(&mut self, now: OffsetDateTime) -> Result<(), KeepError> {
        let source = match self.origin {
            Origin::Own => self.keep_authority(now).await,
            Origin::Brought { keep_bundle } => self.read_brought(keep_bundle, now),
        };
        let bundle = self.keep_bundle(now).await;
        // What is in memory goes on serving, whatever has become of the objects.
        self.keep_served(now)?;
        source.and(bundle)
    }

    /// Takes the certificate of the Secret if it is good.
    fn read_brought(&mut self, with_bundle: bool, now: OffsetDateTime) -> Result<(), KeepError> {
        let Some(seen) = &self.secret else {
            return Ok(());
        };
        let (namespace, name) = (&self.names.namespace, &self.names.secret);
        let Some(secret) = seen else {
            return Err(KeepError::BroughtMissing {
                namespace: namespace.clone(),
                name: name.clone(),
            });
        };
        match brought::read(secret, &self.names.called(), with_bundle, now) {
            Ok(brought) => {
                self.source = Some(Source::Brought(Arc::new(brought)));
                Ok(())
            }
            Err(reason) => Err(KeepError::BroughtBroken {
                namespace: namespace.clone(),
                name: name.clone(),
                reason,
            }),
        }
    }

    /// Makes the API server trust the source.
    async fn keep_bundle(&mut self, now: OffsetDateTime) -> Result<(), KeepError> {
        let name = &self.names.configuration;
        let (Some(source), Some(seen)) = (&self.source, &self.configuration) else {
            return Ok(());
        };
        let Some(configuration) = seen else {
            let name = name.clone();
            return Err(KeepError::ConfigurationMissing { name });
        };
        if !self.origin.keeps_bundle() {
            return Ok(());
        }
        let wanted = source.bundle();
        let next = if !bundle::is_trusted(configuration, wanted) {
            bundle::grown(configuration, wanted, now)
        } else if self.changed.elapsed() >= QUIET && bundle::has_more(configuration, wanted) {
            wanted.to_owned()
        } else {
            return Ok(());
        };
        if !self.configuration_pace.is_free(Instant::now()) {
            let name = name.clone();
            return Err(KeepError::BundleContested { name });
        }
        self.configuration_pace.note(Instant::now());
        let patch = bundle::apply(configuration, &next);
        // Forced, because the field may still belong to whoever wrote a stale bundle.
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let written = call(
            self.configurations
                .patch(name, &params, &Patch::Apply(patch)),
        )
        .await;
        self.metrics.bundle_written(written.is_ok());
        match written {
            Ok(written) => {
                info!(configuration = name, "wrote the caBundle");
                self.configuration = Some(Some(written));
                Ok(())
            }
            Err(source) => {
                let name = name.clone();
                Err(KeepError::WriteBundle { name, source })
            }
        }
    }

    /// Serves a valid certificate that the API server trusts, if there is any.
    fn keep_served(&mut self, now: OffsetDateTime) -> Result<(), KeepError> {
        let Some(source) = self.source.clone() else {
            return Ok(());
        };
        let trusted = self.is_trusted(&source, now);
        self.trust.note(source.bundle(), trusted, Instant::now());
        let secret = self.secret.as_ref().and_then(Option::as_ref);
        let request = secret.and_then(contents::leaf_request);
        let is_over = self.served.as_ref().is_none_or(|served| {
            let serving = Serving {
                same_origin: served.source == source.identity(),
                requested: served.request.as_deref() != request,
                settled: self.trust.is_settled(source.bundle(), Instant::now()),
                renew_at: served.leaf.renew_at,
                not_after: served.leaf.not_after,
            };
            serving.is_over(now)
        });
        if is_over {
            let leaf = match &source {
                Source::Authority(authority) => authority.issue(&self.names.dns(), now)?,
                Source::Brought(brought) => brought.leaf(),
            };
            let replaced = self.served.replace(Served {
                source: source.identity().to_vec(),
                request: request.map(str::to_owned),
                leaf: leaf.clone(),
            });
            if replaced.is_none_or(|old| old.leaf.certified_key.cert != leaf.certified_key.cert) {
                info!(expires = %leaf.not_after, "serve a new certificate");
                self.metrics.leaf_expires(leaf.not_after.unix_timestamp());
                self.certificate.replace(leaf.certified_key);
            }
        }
        let expired = |served: &Served| served.leaf.not_after <= now;
        if self.trust.is_seen() && !self.served.as_ref().is_none_or(expired) {
            self.gate.open();
        } else {
            self.gate.close();
        }
        Ok(())
    }

    /// Whether each entry of ours trusts the source as far as this replica sees.
    fn is_trusted(&self, source: &Source, now: OffsetDateTime) -> bool {
        let Some(Some(configuration)) = &self.configuration else {
            return false;
        };
        match source {
            // Somebody else may write anything that leads to the certificate.
            Source::Brought(brought) if !self.origin.keeps_bundle() => brought::is_accepted_by(
                brought,
                &self.names.called(),
                bundle::present(configuration),
                now,
            ),
            _ => bundle::is_trusted(configuration, source.bundle()),
        }
    }
}

/// Takes over what a watch tells. It tells what it has told before when it starts anew, and that is no
/// change.
fn remember<T: Resource>(known: &mut Option<Option<T>>, told: Option<T>, changed: &mut Instant) {
    let version = |object: &T| object.meta().resource_version.clone();
    let before = known.as_ref().map(|known| known.as_ref().map(version));
    if before != Some(told.as_ref().map(version)) {
        *changed = Instant::now();
    }
    *known = Some(told);
}

#[cfg(test)]
mod tests;

//! Watches the Secret and the MutatingWebhookConfiguration and keeps both true.

use std::{error::Error, pin::pin, sync::Arc, time::Duration};

use fairlead_runtime::readiness::Gate;
use futures_util::StreamExt;
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, utils::Backoff as _, watcher::watch_object},
};
use time::OffsetDateTime;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    authority::{Authority, IssueError, Leaf},
    bundle,
    contents::{Contents, with_authority},
};
use crate::{
    api_server::{Backoff, CallError, call, words},
    metrics::Metrics,
    server::Certificate,
};

/// The name under which the API server records our field.
const FIELD_MANAGER: &str = "fairlead-webhook";
/// How often the clock is looked at: timers stand still while a machine sleeps.
const CLOCK_CHECK: Duration = Duration::from_secs(3600);
/// How often replicas may take the Secret from under each other before a pause.
const CONFLICTS: usize = 5;

/// The objects that belong to this installation.
#[derive(Clone, Debug)]
pub struct Names {
    /// The namespace of the Secret and the Service.
    pub namespace: String,
    /// The Secret that holds the authority.
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
    fn dns(&self) -> Vec<String> {
        let Self {
            namespace,
            service,
            cluster_domain,
            ..
        } = self;
        vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.{cluster_domain}"),
        ]
    }
}

/// Keeps the serving certificate valid and the API server trusting it.
#[derive(Debug)]
pub struct Keeper {
    names: Names,
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
    certificate: Certificate,
    gate: Gate,
    metrics: Metrics,
    /// What the watches told last; absent until they told anything.
    secret: Option<Option<Secret>>,
    configuration: Option<Option<MutatingWebhookConfiguration>>,
    authority: Option<Arc<Authority>>,
    leaf: Option<Leaf>,
    /// The last complaint, so that it is not repeated at each event.
    complaint: Option<String>,
}

/// What keeps the certificate from being trusted.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("make an authority or a certificate")]
    Issue(#[from] IssueError),
    #[error(
        "Secret {namespace}/{name} does not exist; the chart makes it: run helm upgrade, or \
         kubectl -n {namespace} create secret generic {name}"
    )]
    SecretMissing { namespace: String, name: String },
    #[error(
        "Secret {namespace}/{name} holds no usable authority: {reason}; remove its keys ca.crt and \
         ca.key, and a new authority is made"
    )]
    SecretBroken {
        namespace: String,
        name: String,
        reason: String,
    },
    #[error("write the authority into Secret {namespace}/{name}")]
    WriteSecret {
        namespace: String,
        name: String,
        source: CallError,
    },
    #[error("other replicas keep writing Secret {namespace}/{name}")]
    Contended { namespace: String, name: String },
    #[error(
        "MutatingWebhookConfiguration {name} does not exist; the chart makes it: run helm upgrade"
    )]
    ConfigurationMissing { name: String },
    #[error("write the caBundle into MutatingWebhookConfiguration {name}")]
    WriteBundle { name: String, source: CallError },
}

impl Keeper {
    /// `gate` opens when the API server trusts the certificate that is served.
    pub fn new(
        client: Client,
        names: Names,
        certificate: Certificate,
        gate: Gate,
        metrics: Metrics,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), &names.namespace),
            configurations: Api::all(client),
            names,
            certificate,
            gate,
            metrics,
            secret: None,
            configuration: None,
            authority: None,
            leaf: None,
            complaint: None,
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let secrets = watch_object(self.secrets.clone(), &self.names.secret);
        let configurations = watch_object(self.configurations.clone(), &self.names.configuration);
        let mut secrets = pin!(secrets.backoff(Backoff::default()));
        let mut configurations = pin!(configurations.backoff(Backoff::default()));
        let mut retries = Backoff::default();
        let mut pause = CLOCK_CHECK;
        loop {
            tokio::select! {
                Some(event) = secrets.next() => match event {
                    Ok(secret) => self.secret = Some(secret),
                    Err(error) => {
                        self.complain(&format!("watch Secret {}", self.names.secret), &error);
                        continue;
                    }
                },
                Some(event) = configurations.next() => match event {
                    Ok(configuration) => self.configuration = Some(configuration),
                    Err(error) => {
                        let name = &self.names.configuration;
                        self.complain(&format!("watch {name}"), &error);
                        continue;
                    }
                },
                () = sleep(pause) => {}
            }
            pause = match self
                .keep(OffsetDateTime::now_utc().truncate_to_second())
                .await
            {
                Ok(()) => {
                    self.complaint = None;
                    retries.reset();
                    CLOCK_CHECK
                }
                Err(error) => {
                    self.complain("keep the certificate trusted", &error);
                    retries.next().unwrap_or(CLOCK_CHECK)
                }
            };
        }
    }

    fn complain(&mut self, action: &str, error: &(dyn Error + 'static)) {
        let complaint = format!("{action}: {}", words(error));
        if self.complaint.as_ref() != Some(&complaint) {
            warn!("{complaint}");
            self.complaint = Some(complaint);
        }
    }

    /// Compares what is with what should be, and does what is missing.
    async fn keep(&mut self, now: OffsetDateTime) -> Result<(), KeepError> {
        let authority = self.keep_authority(now).await;
        let bundle = self.keep_bundle().await;
        // What is in memory goes on serving, whatever has become of the objects.
        self.keep_leaf(now)?;
        authority.and(bundle)
    }

    /// Settles on one authority with the other replicas: the one in the Secret.
    async fn keep_authority(&mut self, now: OffsetDateTime) -> Result<(), KeepError> {
        let (namespace, name) = (self.names.namespace.clone(), self.names.secret.clone());
        for _ in 0..CONFLICTS {
            let Some(seen) = &self.secret else {
                return Ok(());
            };
            let Some(secret) = seen else {
                return Err(KeepError::SecretMissing { namespace, name });
            };
            let wanted = match Contents::of(secret) {
                Contents::Complete(found) if !found.needs_successor(now) => {
                    self.adopt(Arc::new(*found));
                    return Ok(());
                }
                Contents::Complete(found) => Arc::new(found.successor(now)?),
                // Somebody has emptied the Secret: what the API server trusts goes back into it.
                Contents::Empty => match &self.authority {
                    Some(known) if !known.needs_successor(now) => Arc::clone(known),
                    _ => Arc::new(Authority::generate(now)?),
                },
                Contents::Broken(reason) => {
                    return Err(KeepError::SecretBroken {
                        namespace,
                        name,
                        reason: reason.to_string(),
                    });
                }
            };
            let filled = with_authority(secret, &wanted);
            let found = match call(self.secrets.replace(&name, &as_manager(), &filled)).await {
                Ok(written) => {
                    info!(secret = name, "wrote an authority");
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

    fn adopt(&mut self, authority: Arc<Authority>) {
        let same = |known: &Arc<Authority>| known.bundle == authority.bundle;
        if !self.authority.as_ref().is_some_and(same) {
            info!(expires = %authority.not_after, "use the authority of the Secret");
            self.metrics
                .authority_expires(authority.not_after.unix_timestamp());
        }
        self.authority = Some(authority);
    }

    /// Makes the API server trust the authority.
    async fn keep_bundle(&mut self) -> Result<(), KeepError> {
        let name = &self.names.configuration;
        let (Some(authority), Some(seen)) = (&self.authority, &self.configuration) else {
            return Ok(());
        };
        let Some(configuration) = seen else {
            let name = name.clone();
            return Err(KeepError::ConfigurationMissing { name });
        };
        if bundle::is_trusted(configuration, &authority.bundle) {
            return Ok(());
        }
        let patch = bundle::apply(configuration, &authority.bundle);
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
    fn keep_leaf(&mut self, now: OffsetDateTime) -> Result<(), KeepError> {
        let Some(authority) = &self.authority else {
            return Ok(());
        };
        let seen = self.configuration.as_ref().and_then(Option::as_ref);
        let trusted = seen.is_some_and(|seen| bundle::is_trusted(seen, &authority.bundle));
        let due = match &self.leaf {
            None => true,
            Some(leaf) if leaf.bundle == authority.bundle => now >= leaf.renew_at,
            // The successor's certificate is served only when the successor is trusted.
            Some(leaf) => trusted || now >= leaf.not_after,
        };
        if due {
            let leaf = authority.issue(&self.names.dns(), now)?;
            info!(expires = %leaf.not_after, "serve a new certificate");
            self.metrics.leaf_expires(leaf.not_after.unix_timestamp());
            self.certificate.replace(Arc::clone(&leaf.certified_key));
            self.leaf = Some(leaf);
        }
        if trusted {
            self.gate.open();
        } else {
            self.gate.close();
        }
        Ok(())
    }
}

fn as_manager() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

#[cfg(test)]
mod tests;

//! Why the certificate is not kept.

use super::super::{authority::IssueError, brought::BroughtError};
use crate::api_server::CallError;

/// What keeps the certificate from being trusted.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error("make an authority or a certificate")]
    Issue(#[from] IssueError),
    #[error(
        "Secret {namespace}/{name} does not exist; the chart makes it: run helm upgrade, or \
         kubectl -n {namespace} create secret generic {name}"
    )]
    SecretMissing { namespace: String, name: String },
    #[error(
        "Secret {namespace}/{name} holds no usable authority: {reason}; remove its keys ca.crt, \
         ca.key and next.key, and a new authority is made"
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
        "somebody else keeps emptying Secret {namespace}/{name}; whatever it is, a GitOps controller \
         perhaps, has to leave the data of that Secret alone"
    )]
    SecretContested { namespace: String, name: String },
    #[error(
        "Secret {namespace}/{name}, which webhook.certificate.secretName names, does not exist; make \
         it, of type kubernetes.io/tls with tls.crt, tls.key and ca.crt"
    )]
    BroughtMissing { namespace: String, name: String },
    #[error("the certificate in Secret {namespace}/{name} cannot be used: {reason}")]
    BroughtBroken {
        namespace: String,
        name: String,
        reason: BroughtError,
    },
    #[error(
        "MutatingWebhookConfiguration {name} does not exist; the chart makes it: run helm upgrade"
    )]
    ConfigurationMissing { name: String },
    #[error(
        "somebody else keeps changing the caBundle of MutatingWebhookConfiguration {name}; whatever \
         it is, an injector of authorities perhaps, has to leave that field alone"
    )]
    BundleContested { name: String },
    #[error("write the caBundle into MutatingWebhookConfiguration {name}")]
    WriteBundle { name: String, source: CallError },
}

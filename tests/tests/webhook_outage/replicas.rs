//! What the webhook's replicas say of their certificates, and how they are asked for others.

use std::collections::BTreeMap;

use fairlead_tests::kube::{RELEASE_NAMESPACE, kubectl, try_kubectl, webhook_pods};

/// How many serving certificates came into use.
pub(crate) const CERTIFICATES: &str = "fairlead_webhook_certificates_total";
/// When the authority that issues it expires.
pub(crate) const AUTHORITY_EXPIRY: &str = "fairlead_webhook_authority_expiry_timestamp_seconds";

/// A metric by the name of the replica.
pub(crate) type Figures = BTreeMap<String, String>;

/// One metric of each ready replica.
pub(crate) fn figures(metric: &str) -> Figures {
    let figure = |pod: &serde_json::Value| {
        let name = pod["metadata"]["name"].as_str()?;
        let page = format!(
            "get --raw /api/v1/namespaces/{RELEASE_NAMESPACE}/pods/{name}:15014/proxy/metrics"
        );
        // A replica may end while it is asked.
        let page = try_kubectl(&page, None).ok()?;
        let line = page.lines().find(|line| line.starts_with(metric))?;
        Some((name.to_owned(), line.rsplit(' ').next()?.to_owned()))
    };
    webhook_pods().iter().filter_map(figure).collect()
}

/// Asks for a rotation as an operator would.
pub(crate) fn annotate_secret(request: &str, turn: u32) {
    let unique = std::process::id();
    kubectl(&format!(
        "annotate secret fairlead-webhook-ca --namespace={RELEASE_NAMESPACE} --overwrite \
         fairlead.io/{request}={unique}-{turn}"
    ));
}

//! The product's webhook as `injection.matchConditions=[]` renders it, for one namespace of the benchmark.
//!
//! Istio's entries have no match conditions, and evaluating them is work of the API server.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use k8s_openapi::{
    api::admissionregistration::v1::MutatingWebhookConfiguration,
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use tokio::time::sleep;

use super::{CONFIGURATION, admit};
use crate::kubernetes::{Bench, Kind, pod, within};

const NAME: &str = "fairlead-bench-unconditional";
/// How often a pod is tried until the API server knows the entry.
const PAUSE: Duration = Duration::from_millis(50);

/// Creates it and waits until the API server heeds it.
pub(super) async fn create(bench: &Bench) -> anyhow::Result<()> {
    // What a killed run left calls another certificate.
    delete(&bench.client).await?;
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(bench.client.clone());
    let installed = configurations.get(CONFIGURATION).await?;
    let only = unconditional(installed).context("the webhook configuration has no entry")?;
    configurations
        .create(&PostParams::default(), &only)
        .await
        .with_context(|| format!("create the webhook configuration {NAME}"))?;
    let (pods, pod) = (bench.pods(Kind::Unconditional), pod("bench")?);
    let heeded = async {
        while admit(&pods, &pod, Kind::Unconditional).await.is_err() {
            sleep(PAUSE).await;
        }
    };
    within(heeded, "a pod that is injected without match conditions").await
}

pub(super) async fn delete(client: &Client) -> anyhow::Result<()> {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    if configurations.get_opt(NAME).await?.is_some() {
        configurations
            .delete(NAME, &DeleteParams::default())
            .await?;
    }
    Ok(())
}

/// One of the installed entries, which are alike but for what they select.
fn unconditional(installed: MutatingWebhookConfiguration) -> Option<MutatingWebhookConfiguration> {
    let mut entry = installed.webhooks?.into_iter().next()?;
    let namespace = Kind::Unconditional.namespace().to_owned();
    entry.namespace_selector = Some(LabelSelector {
        match_labels: Some(BTreeMap::from([(
            "kubernetes.io/metadata.name".to_owned(),
            namespace,
        )])),
        match_expressions: None,
    });
    entry.object_selector = None;
    entry.match_conditions = None;
    Some(MutatingWebhookConfiguration {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            ..ObjectMeta::default()
        },
        webhooks: Some(vec![entry]),
    })
}

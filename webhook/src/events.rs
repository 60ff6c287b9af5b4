//! Kubernetes Events: what became of the pods, where their owners look.
//!
//! Telling never delays a review. What is told again and again is one Event with a count; what
//! exceeds the queue or the rate is dropped, and counted.
//!
//! - [`message`]: what is told of a review: pure
//! - [`recent`]: what was told lately
//! - [`publish`]: the calls to the API server

mod message;
mod publish;
mod recent;

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use self::{
    message::{Message, Reason},
    publish::Publisher,
    recent::{Answer, Recent, Turn},
};
use crate::{metrics::Metrics, review};

/// Messages that wait to be published.
const QUEUE: usize = 256;
/// How many are published at once, and how many a second after that.
const BURST: u32 = 25;
const PER_SECOND: u32 = 5;

/// Which pods an Event tells of.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// Each that was reviewed.
    #[default]
    All,
    /// Those that were refused or warned of.
    Failures,
    /// None.
    Off,
}

/// Where Events are told; cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    selection: Selection,
    revision: String,
    recent: Mutex<Recent>,
    queue: mpsc::Sender<Told>,
    metrics: Metrics,
}

/// A message whose turn has come.
#[derive(Debug)]
struct Told {
    message: Message,
    turn: Turn,
}

impl Events {
    /// `instance` is the name of this process's pod. The future publishes until it is dropped.
    pub fn new(
        client: Client,
        instance: &str,
        selection: Selection,
        revision: &str,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, told) = mpsc::channel(QUEUE);
        let publisher = Publisher::new(client, instance.to_owned());
        let publishing = publish(told, publisher, metrics.clone());
        let inner = Inner {
            selection,
            revision: revision.to_owned(),
            recent: Mutex::new(Recent::new(instance)),
            queue,
            metrics,
        };
        let events = Self {
            inner: Arc::new(inner),
        };
        (events, publishing)
    }

    /// Tells what became of a pod. A dry run leaves nothing.
    pub(crate) fn reviewed(&self, review: &review::Request, answer: &review::Answer) {
        let inner = &*self.inner;
        if inner.selection == Selection::Off || review.is_dry_run() {
            return;
        }
        for message in message::of(review, answer, &inner.revision) {
            if inner.selection == Selection::All || message.reason.is_warning() {
                self.tell(message);
            }
        }
    }

    /// Tells that the mesh's configuration is not accepted.
    pub(crate) fn mesh_rejected(&self, map: &ConfigMap, note: String) {
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            name: Some(map.name_any()),
            namespace: map.namespace(),
            uid: map.uid(),
            ..ObjectReference::default()
        };
        self.tell(Message::new(regarding, Reason::MeshConfigRejected, note));
    }

    fn tell(&self, message: Message) {
        let inner = &*self.inner;
        let answer = {
            let mut recent = inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.turn(&message, Instant::now())
        };
        let dropped = match answer {
            Answer::Tell(turn) => inner.queue.try_send(Told { message, turn }).is_err(),
            Answer::Known => false,
            Answer::NoRoom => true,
        };
        if dropped {
            inner.metrics.event("dropped");
        }
    }
}

async fn publish(mut told: mpsc::Receiver<Told>, publisher: Publisher, metrics: Metrics) {
    let step = std::time::Duration::from_secs(1) / PER_SECOND;
    // When the next may be published if no burst were allowed.
    let mut due = Instant::now();
    while let Some(Told { message, turn }) = told.recv().await {
        due = due.max(Instant::now());
        sleep_until(due - step * (BURST - 1)).await;
        due += step;
        let published = publisher.publish(&message, &turn).await;
        metrics.event(if published { "published" } else { "failed" });
    }
}

#[cfg(test)]
mod tests;

//! The calls to the API server.

use k8s_openapi::{
    api::events::v1::Event,
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tracing::debug;

use super::{message::Message, recent::Turn};
use crate::api_server::{CallError, call, words};

/// The name under which Events show who reported them.
const CONTROLLER: &str = "fairlead-webhook";

/// Makes Events, and counts up those that are there.
pub(super) struct Publisher {
    client: Client,
    instance: String,
}

impl Publisher {
    pub(super) fn new(client: Client, instance: String) -> Self {
        Self { client, instance }
    }

    /// Whether the Event is there now, with its count.
    pub(super) async fn publish(&self, message: &Message, turn: &Turn) -> bool {
        let namespace = message.regarding.namespace.as_deref().unwrap_or("default");
        let events = Api::<Event>::namespaced(self.client.clone(), namespace);
        let now = MicroTime(Timestamp::now());
        let create = async || {
            let event = self.event(message, turn, now.clone());
            call(events.create(&PostParams::default(), &event)).await
        };
        let count_up = async || {
            // A series of one is none.
            let count = turn.count.max(2);
            let series = json!({ "series": { "count": count, "lastObservedTime": now } });
            let patch = Patch::Merge(series);
            call(events.patch(&turn.name, &PatchParams::default(), &patch)).await
        };
        let published = if turn.count == 1 {
            match create().await {
                // An earlier process of this name has told the same.
                Err(error) if is(&error, 409) => count_up().await,
                created => created,
            }
        } else {
            match count_up().await {
                Err(error) if is(&error, 404) => create().await,
                counted => counted,
            }
        };
        if let Err(error) = &published {
            debug!("publish an Event: {}", words(error));
        }
        published.is_ok()
    }

    fn event(&self, message: &Message, turn: &Turn, now: MicroTime) -> Event {
        let Message {
            regarding,
            reason,
            note,
        } = message;
        let kind = if reason.is_warning() {
            "Warning"
        } else {
            "Normal"
        };
        Event {
            metadata: ObjectMeta {
                name: Some(turn.name.clone()),
                namespace: regarding.namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(now),
            regarding: Some(regarding.clone()),
            type_: Some(kind.to_owned()),
            reason: Some(reason.as_str().to_owned()),
            action: Some(reason.action().to_owned()),
            note: Some(note.clone()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

fn is(error: &CallError, code: u16) -> bool {
    matches!(error, CallError::Kube(kube::Error::Api(status)) if status.code == code)
}

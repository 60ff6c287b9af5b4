//! Following every object of a kind, and keeping an extract of each.

use std::fmt::Debug;

use fairlead_runtime::readiness::Gate;
use futures_util::{StreamExt, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::api_server::{Backoff, words};

/// Something that objects are put into.
pub(super) trait Sink<K> {
    /// The object is there, or has changed.
    fn apply(&mut self, object: K);
    /// The object is gone.
    fn delete(&mut self, object: K);
    /// All objects follow, each once.
    fn restart(&mut self);
    /// That was all.
    fn complete(&mut self);
}

/// Follows until it is dropped. The gate opens when all objects are known, or when they cannot be
/// had: then what depends on them falls back to something, and the gate's note says why. What was
/// known once goes on counting.
pub(super) async fn follow<K>(
    api: Api<K>,
    page_size: u32,
    what: &'static str,
    gate: Gate,
    mut sink: impl Sink<K>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default().page_size(page_size);
    let mut events: BoxStream<'_, _> = watcher(api, config).backoff(Backoff::default()).boxed();
    let mut complaint = None;
    let mut listed = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                complaint = None;
                let done = matches!(event, Event::InitDone);
                match event {
                    Event::Init => sink.restart(),
                    Event::InitApply(object) | Event::Apply(object) => sink.apply(object),
                    Event::Delete(object) => sink.delete(object),
                    Event::InitDone => sink.complete(),
                }
                if done {
                    listed = true;
                    gate.set_note(None);
                    gate.open();
                }
            }
            Err(error) => {
                let text = format!("watch {what}: {}", words(&error));
                if complaint.as_ref() != Some(&text) {
                    warn!("{text}");
                    if !listed {
                        gate.set_note(Some(text.clone()));
                    }
                    complaint = Some(text);
                }
                gate.open();
            }
        }
    }
}

//! The annotations of namespaces, which give defaults to their pods.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock, Mutex, PoisonError, RwLock},
    time::Duration,
};

use fairlead_runtime::readiness::Gate;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::PartialObjectMeta};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::watching::{self, Sink};

/// Metadata of a namespace with everything that tools write into it is a few KiB.
const PAGE: u32 = 50;
/// How long a review waits for a namespace that the watch has not told of yet.
const LOOK: Duration = Duration::from_millis(200);
/// How long none waits again after one has waited in vain.
const PAUSE: Duration = Duration::from_secs(5);

type Annotations = Arc<BTreeMap<String, String>>;
type Meta = PartialObjectMeta<Namespace>;

static NONE: LazyLock<Annotations> = LazyLock::new(Annotations::default);

/// The annotations of each namespace that may mean something to its pods.
#[derive(Clone, Debug)]
pub struct Namespaces {
    api: Option<Api<Meta>>,
    known: Arc<RwLock<Map>>,
    waited_in_vain: Arc<Mutex<Option<Instant>>>,
}

type Map = HashMap<Box<str>, Annotations>;

impl Namespaces {
    /// Nothing is known until [`Self::follow`] runs; meanwhile the API server is asked.
    pub fn new(client: Client) -> Self {
        Self {
            api: Some(Api::all(client)),
            ..Self::unknown()
        }
    }

    /// No namespace says anything.
    pub fn unknown() -> Self {
        Self {
            api: None,
            known: Arc::default(),
            waited_in_vain: Arc::default(),
        }
    }

    /// Keeps the annotations until it is dropped.
    pub async fn follow(self, gate: Gate) {
        let Some(api) = self.api.clone() else {
            return;
        };
        let sink = Collect {
            known: self.known,
            fresh: None,
        };
        watching::follow(api, PAGE, "namespaces", gate, sink).await;
    }

    /// The annotations of a namespace. One that was made a moment ago is asked for; if the API
    /// server does not answer at once, the pod goes without its defaults.
    pub(crate) async fn annotations(&self, name: &str) -> Annotations {
        let cached = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.get(name).cloned()
        };
        match (cached, &self.api) {
            (Some(annotations), _) => annotations,
            (None, Some(api)) if !self.is_pausing() => self.ask(api, name).await,
            (None, _) => Arc::clone(&NONE),
        }
    }

    async fn ask(&self, api: &Api<Meta>, name: &str) -> Annotations {
        match timeout(LOOK, api.get(name)).await {
            Ok(Ok(namespace)) => {
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                // What the watch has told meanwhile is newer.
                let known = known.entry(name.into());
                Arc::clone(known.or_insert_with(|| relevant(namespace)))
            }
            answer => {
                debug!(namespace = name, ?answer, "its annotations are not known");
                let mut last = self
                    .waited_in_vain
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *last = Some(Instant::now());
                Arc::clone(&NONE)
            }
        }
    }

    fn is_pausing(&self) -> bool {
        let last = self
            .waited_in_vain
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < PAUSE)
    }
}

/// Without those that mean nothing to pods, such as what was applied last.
fn relevant(namespace: Meta) -> Annotations {
    let mut annotations = namespace.metadata.annotations.unwrap_or_default();
    annotations.retain(|key, _| {
        let domain = key.split('/').next().unwrap_or_default();
        let is_of = |known: &str| domain == known || domain.ends_with(&format!(".{known}"));
        is_of("istio.io") || is_of("fairlead.io") || key.starts_with("openshift.io/sa.scc.")
    });
    if annotations.is_empty() {
        return Arc::clone(&NONE);
    }
    Arc::new(annotations)
}

struct Collect {
    known: Arc<RwLock<Map>>,
    /// Those of a list that is not complete yet.
    fresh: Option<Map>,
}

impl Collect {
    fn change(&mut self, change: impl FnOnce(&mut Map)) {
        match &mut self.fresh {
            Some(fresh) => change(fresh),
            None => change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

impl Sink<Meta> for Collect {
    fn apply(&mut self, namespace: Meta) {
        let Some(name) = namespace.metadata.name.clone() else {
            return;
        };
        self.change(|map| {
            map.insert(name.into(), relevant(namespace));
        });
    }

    fn delete(&mut self, namespace: Meta) {
        let name = namespace.metadata.name.unwrap_or_default();
        self.change(|map| {
            map.remove(name.as_str());
        });
    }

    fn restart(&mut self) {
        self.fresh = Some(Map::new());
    }

    fn complete(&mut self) {
        if let Some(mut fresh) = self.fresh.take() {
            fresh.shrink_to_fit();
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

#[cfg(test)]
mod tests;

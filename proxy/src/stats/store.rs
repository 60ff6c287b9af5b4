//! All statistics of the process.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{
    config::StatsConfig,
    given::Given,
    scope::{Group, Scope, Source},
};

/// The scopes by their names. A scope is there as long as somebody holds it: the configuration that
/// names it, a connection that it counts. Asked for again in this time it is the same one, with its
/// values.
pub struct Store {
    config: StatsConfig,
    scopes: Mutex<Scopes>,
    providers: Mutex<Vec<Provider>>,
}

/// What is counted elsewhere.
type Provider = Box<dyn Fn() -> Vec<Given> + Send + Sync>;

/// Two kinds of statistics may have the same prefix, by the names that users choose.
type Scopes = BTreeMap<(Arc<str>, TypeId), Weak<dyn Source>>;

impl Store {
    /// No statistics yet, to be shown as configured.
    pub fn new(config: StatsConfig) -> Self {
        Self {
            config,
            scopes: Mutex::default(),
            providers: Mutex::default(),
        }
    }

    /// How statistics are shown.
    pub fn config(&self) -> &StatsConfig {
        &self.config
    }

    /// The statistics whose names begin so; the prefix ends in a dot.
    pub fn scope<G: Group>(&self, prefix: &str) -> Arc<Scope<G>> {
        let key = (Arc::from(sound(prefix)), TypeId::of::<Scope<G>>());
        let mut scopes = self.scopes();
        let known = scopes.get(&key).and_then(Weak::upgrade);
        let known = known.and_then(|source| {
            let any: Arc<dyn Any + Send + Sync> = source;
            any.downcast::<Scope<G>>().ok()
        });
        if let Some(scope) = known {
            return scope;
        }
        let scope = Arc::new(Scope::<G>::new(key.0.clone()));
        let source: Arc<dyn Source> = scope.clone();
        scopes.insert(key, Arc::downgrade(&source));
        scope
    }

    /// Shows also what is counted elsewhere, as it is when it is asked for.
    pub fn provide(&self, provider: impl Fn() -> Vec<Given> + Send + Sync + 'static) {
        self.providers().push(Box::new(provider));
    }

    /// All that is counted: the scopes that are held, by prefix, and what is counted elsewhere.
    pub fn sources(&self) -> Vec<Arc<dyn Source>> {
        let given = self.providers().iter().flat_map(|given| given()).collect();
        let mut sources = self.held();
        sources.extend(Given::sources(given));
        sources
    }

    /// All scopes that are held, by prefix.
    fn held(&self) -> Vec<Arc<dyn Source>> {
        self.scopes().values().filter_map(Weak::upgrade).collect()
    }

    /// Ends the interval of the histograms, and forgets scopes that nobody holds. To be called every
    /// `stats_flush_interval`.
    pub fn latch(&self) {
        self.scopes().retain(|_, scope| scope.strong_count() > 0);
        for source in self.held() {
            source.latch(&|name| self.config.rejects(name));
        }
    }

    /// Makes all counters begin again at zero.
    pub fn reset_counters(&self) {
        for source in self.held() {
            source.reset_counters();
        }
    }

    fn providers(&self) -> MutexGuard<'_, Vec<Provider>> {
        self.providers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn scopes(&self) -> MutexGuard<'_, Scopes> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A prefix in which an underscore stands for what is not in names.
fn sound(prefix: &str) -> String {
    let prefix = prefix.replace("://", "_").replace(":/", "_");
    prefix.replace([':', '\0', '\n', '\r'], "_")
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("scopes", &self.scopes().len())
            .finish_non_exhaustive()
    }
}

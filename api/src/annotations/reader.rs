//! One annotation after the other → a typed value, or a fault.

use std::collections::BTreeMap;

use super::{
    Fault, Faults, KUBEVIRT_INTERFACES, PROXY_CPU, PROXY_CPU_LIMIT, PROXY_MEMORY,
    PROXY_MEMORY_LIMIT, REROUTE_VIRTUAL_INTERFACES, table,
};
use crate::values::ValueError;

/// Annotations that say one thing together: where a pod has one of them, its namespace's count for
/// nothing.
const SETS: [&[&str]; 2] = [
    &[PROXY_CPU, PROXY_CPU_LIMIT, PROXY_MEMORY, PROXY_MEMORY_LIMIT],
    &[REROUTE_VIRTUAL_INTERFACES, KUBEVIRT_INTERFACES],
];

/// What an annotation says, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    pub(super) value: &'a str,
    /// None: the pod's own.
    pub(super) namespace: Option<&'a str>,
}

/// A pod's annotations over those of its namespace.
pub(super) struct Layers<'a> {
    pub(super) pod: &'a BTreeMap<String, String>,
    pub(super) namespace: &'a str,
    pub(super) defaults: &'a BTreeMap<String, String>,
}

impl<'a> Layers<'a> {
    /// The pod's word, or else the namespace's if it has one there.
    pub(super) fn find(&self, key: &str) -> Option<Given<'a>> {
        if let Some(value) = self.pod.get(key) {
            let namespace = None;
            return Some(Given { value, namespace });
        }
        let value = self.defaults.get(key)?;
        let is_default = table::find(key).is_some_and(|known| known.usage.is_default());
        let set = SETS.iter().find(|set| set.contains(&key));
        let is_settled = set.is_some_and(|set| set.iter().any(|key| self.pod.contains_key(*key)));
        (is_default && !is_settled).then_some(Given {
            value,
            namespace: Some(self.namespace),
        })
    }
}

/// Reads annotations from where a function finds them, and keeps the faults.
pub(super) struct Reader<L> {
    lookup: L,
    faults: Vec<Fault>,
}

impl<'a, L: FnMut(&'static str) -> Option<Given<'a>>> Reader<L> {
    pub(super) fn new(lookup: L) -> Self {
        let faults = Vec::new();
        Self { lookup, faults }
    }

    /// An annotation of one line.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        self.read_without(key, char::is_control, parse)
    }

    /// An annotation that may have several lines.
    pub(super) fn read_document<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        self.read_without(key, is_odd, parse)
    }

    fn read_without<T>(
        &mut self,
        key: &'static str,
        is_odd: impl Fn(char) -> bool,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let Given { value, namespace } = (self.lookup)(key)?;
        let parsed = if value.contains(is_odd) {
            Err(ValueError::new(
                "a text without control characters is accepted",
            ))
        } else {
            parse(value)
        };
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.faults.push(Fault {
                    key,
                    namespace: namespace.map(ToOwned::to_owned),
                    value: value.to_owned(),
                    reason,
                });
                None
            }
        }
    }

    /// What was read, unless there were faults.
    pub(super) fn finish<T>(self, read: T) -> Result<T, Faults> {
        if self.faults.is_empty() {
            Ok(read)
        } else {
            Err(Faults(self.faults))
        }
    }
}

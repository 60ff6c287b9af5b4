//! Every annotation that is known, in words.
//!
//! The users' reference and the warnings are made of this table. Tests hold the parsers to it: what
//! they read is listed here, and what is listed as read they read.

mod entries;

use std::collections::BTreeSet;

pub use self::entries::SECTIONS;

/// Annotations about one thing.
#[derive(Debug)]
pub struct Section {
    /// Of what, in a few words.
    pub title: &'static str,
    /// In the order in which they are told.
    pub annotations: &'static [Annotation],
}

/// What whoever writes an annotation should know of it. Words in backticks are literal.
#[derive(Debug)]
pub struct Annotation {
    /// Its name.
    pub key: &'static str,
    /// Who reads it, and where.
    pub usage: Usage,
    /// Which values.
    pub accepts: &'static str,
    /// What counts where it is absent; empty: nothing.
    pub default: &'static str,
    /// What it does; of one without effect, why it has none.
    pub effect: &'static str,
}

/// Who reads an annotation, and where.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Usage {
    /// [`PodSettings`](super::PodSettings), on the pod or else on its namespace.
    Setting,
    /// The same, of both; the pod's is laid over the namespace's field by field.
    Layer,
    /// [`prometheus`](super::prometheus), on the pod.
    Metrics,
    /// The decision whether the pod is injected, on the pod.
    Decision,
    /// Nobody but those who wrote it: the injector, or `fairlead inject`.
    Record,
    /// Nobody, though Istio knows it.
    NoEffect,
}

impl Usage {
    /// Whether a namespace's annotation counts where the pod has none.
    pub(super) fn is_default(self) -> bool {
        self == Self::Setting
    }

    /// Whether the annotation is of use on a namespace.
    pub fn is_for_namespaces(self) -> bool {
        matches!(self, Self::Setting | Self::Layer)
    }
}

/// Every annotation, section by section.
pub fn all() -> impl Iterator<Item = &'static Annotation> {
    SECTIONS.iter().flat_map(|section| section.annotations)
}

/// The annotation of a name.
pub fn find(key: &str) -> Option<&'static Annotation> {
    all().find(|annotation| annotation.key == key)
}

/// The names of all annotations of a usage.
pub fn keys(usage: Usage) -> BTreeSet<&'static str> {
    let of_usage = all().filter(|annotation| annotation.usage == usage);
    of_usage.map(|annotation| annotation.key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_annotation_is_told_once_and_in_full() {
        let keys: BTreeSet<_> = all().map(|annotation| annotation.key).collect();
        assert_eq!(keys.len(), all().count());
        for Annotation {
            key,
            accepts,
            effect,
            ..
        } in all()
        {
            assert!(!accepts.is_empty() && !effect.is_empty(), "{key}");
            for text in [accepts, effect] {
                assert!(!text.contains('|') && !text.ends_with('.'), "{key}: {text}");
                assert!(text.matches('`').count().is_multiple_of(2), "{key}: {text}");
            }
        }
    }
}

//! What is asked about, as kubectl's users write it: `NAME`, `deploy/NAME`, `deploy NAME`, `ns/NAME`.

use kube::core::{ApiResource, GroupVersionKind};

/// What is asked about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Target {
    /// Pods of a namespace that do not exist yet.
    Namespace(String),
    Object {
        kind: &'static Kind,
        name: String,
    },
}

/// A kind of object that is a pod, or makes pods.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Kind {
    pub(super) kind: &'static str,
    pub(super) group: &'static str,
    plural: &'static str,
    short: &'static str,
}

const NAMESPACE: [&str; 3] = ["ns", "namespace", "namespaces"];

/// The kinds that kubectl knows everywhere.
static KINDS: [Kind; 8] = [
    kind("Pod", "", "pods", "po"),
    kind("Deployment", "apps", "deployments", "deploy"),
    kind("StatefulSet", "apps", "statefulsets", "sts"),
    kind("DaemonSet", "apps", "daemonsets", "ds"),
    kind("ReplicaSet", "apps", "replicasets", "rs"),
    kind("ReplicationController", "", "replicationcontrollers", "rc"),
    kind("Job", "batch", "jobs", "job"),
    kind("CronJob", "batch", "cronjobs", "cj"),
];

const fn kind(
    kind: &'static str,
    group: &'static str,
    plural: &'static str,
    short: &'static str,
) -> Kind {
    Kind {
        kind,
        group,
        plural,
        short,
    }
}

/// Why nothing can be asked.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum TargetError {
    #[error(
        "{0:?} is no kind that pods come from; pod, deploy, sts, ds, rs, rc, job, cronjob and ns are"
    )]
    Kind(String),
    #[error("{0:?} has no name after it; write KIND/NAME")]
    NoName(String),
    #[error("{0:?} names a kind already; {1:?} is too much")]
    Much(String, String),
}

impl Kind {
    pub(super) fn pod() -> &'static Self {
        &KINDS[0]
    }

    pub(super) fn is_pod(&self) -> bool {
        self.kind == "Pod"
    }

    pub(super) fn resource(&self) -> ApiResource {
        let version = GroupVersionKind::gvk(self.group, "v1", self.kind);
        ApiResource::from_gvk_with_plural(&version, self.plural)
    }

    /// As an object names it.
    pub(super) fn of(kind: &str, api_version: &str) -> Option<&'static Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let mut kinds = KINDS.iter();
        kinds.find(|known| known.kind == kind && known.group == group)
    }

    /// By any of its names, also with its group, as `kubectl get -o name` prints it.
    fn find(word: &str) -> Option<&'static Self> {
        let word = word.to_ascii_lowercase();
        KINDS.iter().find(|kind| {
            let mut names = [kind.short, kind.plural, kind.plural.trim_end_matches('s')]
                .into_iter()
                .map(ToOwned::to_owned);
            let with_group = |name: &str| format!("{name}.{}", kind.group);
            names.any(|name| word == name || (!kind.group.is_empty() && word == with_group(&name)))
        })
    }
}

impl Target {
    /// Reads one word or two.
    ///
    /// # Errors
    /// It is no kind that is known, or has no name.
    pub(super) fn parse(words: &[String]) -> Result<Option<Self>, TargetError> {
        let (kind, name) = match words {
            [] => return Ok(None),
            [word, more @ ..] => match (word.split_once('/'), more) {
                (Some((kind, name)), []) => (kind, name),
                (Some(_), [more, ..]) => return Err(TargetError::Much(word.clone(), more.clone())),
                (None, [name, ..]) => (word.as_str(), name.as_str()),
                (None, []) => ("pod", word.as_str()),
            },
        };
        if name.is_empty() || name.contains('/') {
            return Err(TargetError::NoName(kind.to_owned()));
        }
        if NAMESPACE.contains(&kind.to_ascii_lowercase().as_str()) {
            return Ok(Some(Self::Namespace(name.to_owned())));
        }
        let name = name.to_owned();
        match Kind::find(kind) {
            Some(kind) => Ok(Some(Self::Object { kind, name })),
            None => Err(TargetError::Kind(kind.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Option<Target>, TargetError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Target::parse(&words)
    }

    #[test]
    fn kinds_have_kubectls_names() {
        for (words, expected) in [
            (&["cart"][..], "Pod"),
            (&["pod/cart"], "Pod"),
            (&["po", "cart"], "Pod"),
            (&["deploy/cart"], "Deployment"),
            (&["deployment.apps/cart"], "Deployment"),
            (&["Deployments", "cart"], "Deployment"),
            (&["sts/cart"], "StatefulSet"),
            (&["ds/cart"], "DaemonSet"),
            (&["rs/cart"], "ReplicaSet"),
            (&["rc/cart"], "ReplicationController"),
            (&["job/cart"], "Job"),
            (&["job.batch/cart"], "Job"),
            (&["cj/cart"], "CronJob"),
            (&["cronjob/cart"], "CronJob"),
        ] {
            let found = parse(words).unwrap();
            let Some(Target::Object { kind, name }) = found else {
                panic!("{words:?}: {found:?}");
            };
            assert_eq!((kind.kind, name.as_str()), (expected, "cart"));
        }
        for words in [&["ns/shop"][..], &["namespace", "shop"]] {
            let expected = Target::Namespace("shop".to_owned());
            assert_eq!(parse(words), Ok(Some(expected)));
        }
        assert_eq!(parse(&[]), Ok(None));
    }

    #[test]
    fn what_is_no_target_is_told() {
        for (words, expected) in [
            (
                &["service/cart"][..],
                "\"service\" is no kind that pods come from",
            ),
            (&["deploy/"], "\"deploy\" has no name after it"),
            (&["deploy/a/b"], "\"deploy\" has no name after it"),
            (&["deploy/a", "b"], "\"deploy/a\" names a kind already"),
        ] {
            let error = parse(words).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected} in {error}");
        }
    }
}

//! What a pod and its namespace have of the mesh's annotations and labels, and nobody reads.

use std::collections::BTreeMap;

use super::{
    fault::owner,
    table::{self, Annotation, Usage},
};
use crate::{
    names::{INJECT, REVISION},
    nearest::nearest,
    values::quoted,
};

/// Those of [`PodSettings`](super::PodSettings)' keys and their neighbours: under them every unknown
/// key is told. Others of Istio's belong to its other objects and its other mode.
const PREFIXES: [&str; 9] = [
    "sidecar.istio.io",
    "traffic.sidecar.istio.io",
    "status.sidecar.istio.io",
    "readiness.status.sidecar.istio.io",
    "inject.istio.io",
    "proxy.istio.io",
    "prometheus.istio.io",
    "istio.io",
    "fairlead.io",
];
/// Labels and annotations under those prefixes that mean something to others.
const OTHERS: [&str; 13] = [
    "istio.io/autoRegistrationGroup",
    "istio.io/connectedAt",
    "istio.io/dataplane-mode",
    "istio.io/disconnectedAt",
    "istio.io/dry-run",
    "istio.io/gateway-name",
    "istio.io/global",
    "istio.io/ingress-use-waypoint",
    "istio.io/tag",
    "istio.io/use-waypoint",
    "istio.io/use-waypoint-namespace",
    "istio.io/waypoint-for",
    "istio.io/workloadController",
];
/// The API server cuts warnings beyond 4096 bytes in all.
const MOST: usize = 8;
/// Unknown keys that are compared with the known ones: more than anybody writes by hand.
const COMPARED: usize = 100;
/// What the API server allows on either side of a key's slash; it sees to it after the webhook.
const LONGEST_PREFIX: usize = 253;
const LONGEST_NAME: usize = 63;

/// What people wrote.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The pod's labels.
    pub labels: &'a BTreeMap<String, String>,
    /// The pod's annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// The name of its namespace.
    pub namespace: &'a str,
    /// The namespace's annotations.
    pub namespace_annotations: &'a BTreeMap<String, String>,
}

/// One sentence for each annotation and label that has no effect, of at most 256 bytes, where the
/// API server cuts.
pub fn warnings(written: &Written<'_>) -> Vec<String> {
    let Written {
        labels,
        annotations,
        namespace,
        namespace_annotations,
    } = written;
    let keys = labels.keys().map(|key| (key, Kind::Label));
    let keys = keys.chain(annotations.keys().map(|key| (key, Kind::Annotation)));
    let of_namespace = namespace_annotations.keys();
    let keys = keys.chain(of_namespace.map(|key| (key, Kind::OfNamespace(namespace))));
    let mut compared = 0;
    let mut told = Vec::new();
    for (key, kind) in keys {
        let words = match table::find(key) {
            Some(known) => idle(known, kind),
            None => {
                compared += 1;
                if compared > COMPARED {
                    continue;
                }
                unknown(key)
            }
        };
        let Some(words) = words else { continue };
        if told.len() == MOST {
            told.push("further annotations and labels have no effect, too".to_owned());
            break;
        }
        let (what, owner) = match kind {
            Kind::Label => ("label", String::new()),
            Kind::Annotation => ("annotation", String::new()),
            Kind::OfNamespace(name) => ("annotation", owner(Some(name))),
        };
        told.push(format!("{what} {}{owner} {words}", quoted(key)));
    }
    told
}

/// Where a key stands.
#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Label,
    Annotation,
    OfNamespace(&'a str),
}

/// Why a known annotation has no effect.
fn idle(known: &Annotation, kind: Kind<'_>) -> Option<String> {
    let parts = known.key.split_once('/');
    let is_ours = parts.is_some_and(|(prefix, _)| PREFIXES.contains(&prefix));
    let is_label = [INJECT, REVISION].contains(&known.key);
    match kind {
        Kind::Label if is_ours && !is_label => {
            let words = "has no effect: it is an annotation, not a label";
            Some(words.to_owned())
        }
        Kind::Annotation | Kind::OfNamespace(_) if known.usage == Usage::NoEffect => {
            let reason = known.effect.replace('`', "");
            Some(format!("has no effect: {reason}"))
        }
        Kind::OfNamespace(_) if is_ours && !known.usage.is_for_namespaces() => {
            let remedy = match known.key {
                INJECT => "namespaces have the label istio-injection",
                REVISION => "namespaces have a label of this name",
                _ => "it is for pods",
            };
            Some(format!("has no effect there: {remedy}"))
        }
        _ => None,
    }
}

fn unknown(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/')?;
    if OTHERS.contains(&key) || !is_like_ours(prefix) {
        return None;
    }
    match meant(prefix, name) {
        Some(meant) => Some(format!("is not known; is {meant} meant?")),
        None if PREFIXES.contains(&prefix) => Some("is not known and has no effect".to_owned()),
        None => None,
    }
}

/// Whether a prefix may be one of ours, perhaps misspelt.
fn is_like_ours(prefix: &str) -> bool {
    // Whatever stands before it, Istio's own is near enough.
    prefix.ends_with(".istio.io") || PREFIXES.iter().any(|known| is_slip(prefix, known))
}

/// Whether one word is the other but for a letter or two.
fn is_slip(word: &str, known: &str) -> bool {
    word.len().abs_diff(known.len()) <= 2 && strsim::osa_distance(word, known) <= 2
}

/// The known key whose name is most like this one, and of several the one whose prefix is.
fn meant(prefix: &str, name: &str) -> Option<&'static str> {
    if prefix.len() > LONGEST_PREFIX || name.len() > LONGEST_NAME {
        return None;
    }
    let ours = || {
        let keys = table::all().map(|annotation| annotation.key);
        let parts = keys.filter_map(|key| Some((key, key.split_once('/')?)));
        parts.filter(|(_, (prefix, _))| PREFIXES.contains(prefix))
    };
    let near = nearest(name, ours().map(|(_, (_, name))| name))?;
    let same = ours().filter(|(_, (_, name))| *name == near);
    let (key, _) = same.min_by_key(|(_, (known, _))| strsim::osa_distance(prefix, known))?;
    Some(key)
}

#[cfg(test)]
mod tests;

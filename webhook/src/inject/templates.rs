//! Which templates a pod has: the built-in one, which the injector builds, and the mesh's overlays.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{CONTAINERS, Fault, INIT_CONTAINERS, merge, status::Status};
use crate::{
    pod,
    settings::{self, GATEWAY, SIDECAR, Settings, Template},
};

/// What the injector builds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Base {
    /// The redirect and the proxy, beside the application.
    Sidecar,
    /// The proxy alone, to which nothing is redirected.
    Gateway,
    /// Nothing: the overlays say all.
    Nothing,
}

/// The templates of one pod.
#[derive(Debug)]
pub(super) struct Chosen<'a> {
    pub(super) base: Base,
    overlays: Vec<&'a Template>,
}

impl<'a> Chosen<'a> {
    /// By the names that the pod gives, or else the mesh.
    pub(super) fn of(
        names: Option<&[String]>,
        settings: &'a Settings,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let names = names.filter(|names| !names.is_empty());
        let names = names.unwrap_or(&settings.default_templates);
        let mut is_known = true;
        let mut chosen = Self {
            base: Base::Nothing,
            overlays: Vec::new(),
        };
        for name in names {
            let base = match name.as_str() {
                SIDECAR => Base::Sidecar,
                GATEWAY => Base::Gateway,
                _ => {
                    match settings.templates.get(name) {
                        Some(template) => chosen.overlays.push(template),
                        None => {
                            is_known = false;
                            faults.push(Fault::UnknownTemplate {
                                name: name.clone(),
                                known: settings::known_templates(&settings.templates),
                            });
                        }
                    }
                    continue;
                }
            };
            if ![Base::Nothing, base].contains(&chosen.base) {
                faults.push(Fault::TwoTemplates);
            }
            chosen.base = base;
        }
        if !is_known && chosen.base == Base::Nothing {
            // What else is wrong with the pod is told as of an ordinary one.
            chosen.base = Base::Sidecar;
        }
        chosen
    }

    /// The pod with the overlays, but for those of the injected containers.
    pub(super) fn lay_over<'p>(&self, pod: &'p Value) -> Cow<'p, Value> {
        if self.overlays.is_empty() {
            return Cow::Borrowed(pod);
        }
        let mut laid = pod.clone();
        for overlay in &self.overlays {
            merge::lay(&mut laid, overlay.pod());
            if self.base == Base::Nothing {
                for (list, container) in overlay.own() {
                    let mut spec = Map::new();
                    spec.insert(list.to_owned(), Value::Array(vec![container.clone()]));
                    let mut over = Map::new();
                    over.insert("spec".to_owned(), Value::Object(spec));
                    merge::lay(&mut laid, &Value::Object(over));
                }
            }
        }
        Cow::Owned(laid)
    }

    /// What the overlays say of an injected container, in order.
    pub(super) fn of_container(&self, name: &str) -> impl Iterator<Item = &'a Value> {
        let own = self.overlays.iter().flat_map(|overlay| overlay.own());
        own.map(|(_, container)| container)
            .filter(move |container| pod::name(container) == name)
    }

    /// Adds to the status what the overlays add to the pod, by an earlier injection or this one.
    pub(super) fn note(&self, pod: &Value, previous: &Status, added: &mut Status) {
        for overlay in &self.overlays {
            let fragment = overlay.pod();
            let nothing = self.base == Base::Nothing;
            let own = overlay.own().filter(|_| nothing);
            let own = own.map(|(list, container)| (list, pod::name(container)));
            for (list, name) in named(fragment).chain(own) {
                let has = |names: &[String]| names.iter().any(|listed| listed == name);
                let (before, now) = match list {
                    INIT_CONTAINERS => (&previous.init_containers, &mut added.init_containers),
                    CONTAINERS => (&previous.containers, &mut added.containers),
                    "volumes" => (&previous.volumes, &mut added.volumes),
                    _ => (&previous.image_pull_secrets, &mut added.image_pull_secrets),
                };
                let is_pods = pod::list(pod, list).iter().any(|e| pod::name(e) == name);
                if (!is_pods || has(before)) && !has(now) {
                    now.push(name.to_owned());
                }
            }
        }
    }
}

/// The named elements of a fragment that a status lists.
fn named(fragment: &Value) -> impl Iterator<Item = (&'static str, &str)> {
    const LISTS: [&str; 4] = [INIT_CONTAINERS, CONTAINERS, "volumes", "imagePullSecrets"];
    LISTS.into_iter().flat_map(|list| {
        let elements = pod::list(fragment, list).iter();
        elements.map(move |element| (list, pod::name(element)))
    })
}

//! Containers that the pod's author wrote under the names of the injected ones: field by field, what
//! they say is stronger.
//!
//! The first injection keeps them in an annotation. Later ones take them from there: by then the pod
//! holds what was made of them.

use std::borrow::Cow;

use fairlead_api::names::{OVERRIDES, PROXY_CONTAINER, env};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    CONTAINERS, Fault, INIT_CONTAINERS,
    check::too_many_elements,
    status::{Own, Status},
};
use crate::pod;

/// As an image: that of the mesh.
const AUTO: &str = "auto";

/// The author's containers.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Overrides {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Value>,
    /// Whether the pod itself has some, which the annotation does not.
    #[serde(skip)]
    is_new: bool,
}

impl Overrides {
    /// Reads the annotation, and the pod's containers that are named like one of the injector's but
    /// are of no earlier injection.
    pub(super) fn of(pod: &Value, previous: &Status, own: &Own, faults: &mut Vec<Fault>) -> Self {
        let mut overrides = Self::read(pod, faults);
        for list in [INIT_CONTAINERS, CONTAINERS] {
            for container in pod::list(pod, list) {
                let name = pod::name(container);
                if !own.has(name) || previous.has_container(name) {
                    continue;
                }
                if list == CONTAINERS && name != PROXY_CONTAINER {
                    faults.push(Fault::Override {
                        container: name.to_owned(),
                        reason: "belongs into spec.initContainers".to_owned(),
                    });
                    continue;
                }
                overrides.keep(list, container.clone());
            }
        }
        for container in overrides.all() {
            check(container, faults);
        }
        overrides
    }

    fn read(pod: &Value, faults: &mut Vec<Fault>) -> Self {
        let Some(text) = pod::annotation(pod, OVERRIDES).filter(|text| !text.is_empty()) else {
            return Self::default();
        };
        match serde_json::from_str::<Self>(text) {
            Ok(overrides) if overrides.all().all(Value::is_object) => overrides,
            Ok(_) => {
                let reason = "a container is no object".to_owned();
                faults.push(Fault::Overrides { reason });
                Self::default()
            }
            Err(error) => {
                let reason = error.to_string();
                faults.push(Fault::Overrides { reason });
                Self::default()
            }
        }
    }

    fn keep(&mut self, list: &str, mut container: Value) {
        drop_nulls(&mut container);
        let name = pod::name(&container).to_owned();
        for containers in [&mut self.init_containers, &mut self.containers] {
            containers.retain(|other| pod::name(other) != name);
        }
        if list == INIT_CONTAINERS {
            self.init_containers.push(container);
        } else {
            self.containers.push(container);
        }
        self.is_new = true;
    }

    fn all(&self) -> impl Iterator<Item = &Value> {
        self.init_containers.iter().chain(&self.containers)
    }

    /// What the author says of a container.
    pub(super) fn of_container(&self, name: &str) -> Option<&Value> {
        self.all().find(|container| pod::name(container) == name)
    }

    /// As above, to be changed.
    pub(super) fn of_container_mut(&mut self, name: &str) -> Option<&mut Value> {
        let all = self.init_containers.iter_mut().chain(&mut self.containers);
        all.into_iter()
            .find(|container| pod::name(container) == name)
    }

    /// Whether the author put a container among those that run before the others.
    pub(super) fn is_init_container(&self, name: &str) -> bool {
        self.init_containers.iter().any(|c| pod::name(c) == name)
    }

    /// The annotation's text, where it is not there yet.
    pub(super) fn text(&self) -> Option<String> {
        let text = || serde_json::to_string(self).expect("lists of values have a JSON form");
        self.is_new.then(text)
    }
}

/// What a container says that the injector leaves to its author: all but `auto`.
pub(super) fn without_auto(container: &Value) -> Cow<'_, Value> {
    let image = container.get("image").and_then(Value::as_str);
    if !matches!(image, Some(AUTO | "")) {
        return Cow::Borrowed(container);
    }
    let mut container = container.clone();
    if let Some(fields) = container.as_object_mut() {
        fields.remove("image");
        // The API server's default for an image without tag, which `auto` seems to be.
        if fields
            .get("imagePullPolicy")
            .is_some_and(|policy| policy == "Always")
        {
            fields.remove("imagePullPolicy");
        }
    }
    Cow::Owned(container)
}

/// Whether a container leaves its image to the injector.
pub(super) fn is_auto(container: &Value) -> bool {
    container.get("image").is_some_and(|image| image == AUTO)
}

fn check(container: &Value, faults: &mut Vec<Fault>) {
    faults.extend(too_many_elements(container));
    let variables = container.get("env").and_then(Value::as_array);
    for variable in variables.into_iter().flatten() {
        let name = pod::name(variable);
        if [env::APP_PROBERS, env::PROMETHEUS_ANNOTATIONS].contains(&name) {
            faults.push(Fault::Override {
                container: pod::name(container).to_owned(),
                reason: format!(
                    "sets {name}, in which the injector tells the proxy of the application's \
                     probes and metrics; remove it"
                ),
            });
        }
    }
}

/// A null says nothing, as everywhere in a pod.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

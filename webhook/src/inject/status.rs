//! The status annotation: the names of what was injected, as JSON with Istio's keys.

use fairlead_api::{
    names::{INIT_CONTAINER, POD_INFO_VOLUME, PROXY_CONTAINER, STATUS, VALIDATION_CONTAINER},
    values::InterceptionMode,
};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::Value;

use super::{CONTAINERS, INIT_CONTAINERS, init, sidecar, templates::Base};
use crate::{
    pod,
    settings::{Cni, Settings},
};

/// More names than overlays add to a pod; each element of the pod is looked for among them.
const NAMES: usize = 1024;

/// The containers that the injector builds for a pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    /// What programs the redirect, or proves it.
    pub(super) init: Option<&'static str>,
    pub(super) proxy: Option<&'static str>,
}

impl Own {
    pub(super) fn of(base: Base, mode: InterceptionMode, cni: Cni) -> Self {
        let init = if cni.enabled {
            VALIDATION_CONTAINER
        } else {
            INIT_CONTAINER
        };
        Self {
            init: (mode != InterceptionMode::None).then_some(init),
            proxy: (base != Base::Nothing).then_some(PROXY_CONTAINER),
        }
    }

    /// Whether one has this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.init == Some(name) || self.proxy == Some(name)
    }
}

/// What an injection has added to a pod.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    #[serde(deserialize_with = "null_is_empty")]
    pub(super) init_containers: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(super) containers: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(super) volumes: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub(super) image_pull_secrets: Vec<String>,
    pub(super) revision: String,
}

/// Whether a container runs this program, and not one of its author's.
fn runs(container: &Value, program: &str) -> bool {
    let command = container.get("command").and_then(Value::as_array);
    command.is_some_and(|command| command.first().is_some_and(|first| first == program))
}

/// Istio writes `null` for a list without elements.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Status {
    /// What is added by the injector itself.
    pub(super) fn of(own: &Own, native: bool, settings: &Settings) -> Self {
        let mut status = Self {
            revision: settings.revision.clone(),
            ..Self::default()
        };
        status.init_containers.extend(own.init.map(str::to_owned));
        if let Some(proxy) = own.proxy {
            let list = if native {
                &mut status.init_containers
            } else {
                &mut status.containers
            };
            list.push(proxy.to_owned());
            status.volumes.push(POD_INFO_VOLUME.to_owned());
            status
                .image_pull_secrets
                .clone_from(&settings.image_pull_secrets);
        }
        status
    }

    /// Reads a pod's annotation; a pod without it was never injected, or is a copy of one that was.
    pub(super) fn read(pod: &Value) -> Result<Self, serde_json::Error> {
        match pod::annotation(pod, STATUS) {
            None | Some("") => Ok(Self::of_copy(pod).unwrap_or_default()),
            Some(text) => {
                let status: Self = serde_json::from_str(text)?;
                let names = status.containers.len() + status.init_containers.len();
                if names + status.volumes.len() > NAMES {
                    return Err(Error::custom("more names than an injection gives"));
                }
                Ok(status)
            }
        }
    }

    /// What was injected into the pod whose spec this one has without its annotations, as
    /// `kubectl debug --copy-to` leaves it: the injector's proxy with its volume, and what programs
    /// the redirect. Otherwise they would be the author's own.
    fn of_copy(pod: &Value) -> Option<Self> {
        let volumes = pod::list(pod, "volumes");
        volumes.iter().find(|v| pod::name(v) == POD_INFO_VOLUME)?;
        let named = |list, name, program| {
            let is_ours = |c: &&Value| pod::name(c) == name && runs(c, program);
            pod::list(pod, list).iter().find(is_ours)
        };
        let proxy = |list| named(list, PROXY_CONTAINER, sidecar::PROGRAM);
        let (list, found) = [INIT_CONTAINERS, CONTAINERS]
            .into_iter()
            .find_map(|list| Some((list, proxy(list)?)))?;
        let mounts = found.get("volumeMounts")?.as_array()?;
        mounts.iter().find(|m| pod::name(m) == POD_INFO_VOLUME)?;
        let mut status = Self {
            volumes: vec![POD_INFO_VOLUME.to_owned()],
            ..Self::default()
        };
        let init = [INIT_CONTAINER, VALIDATION_CONTAINER].into_iter();
        let init = init.filter(|name| named(INIT_CONTAINERS, name, init::PROGRAM).is_some());
        status.init_containers.extend(init.map(str::to_owned));
        let containers = if list == INIT_CONTAINERS {
            &mut status.init_containers
        } else {
            &mut status.containers
        };
        containers.push(PROXY_CONTAINER.to_owned());
        Some(status)
    }

    /// The annotation's text.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("lists of text have a JSON form")
    }

    /// Whether a container of this name was injected, into either list.
    pub(super) fn has_container(&self, name: &str) -> bool {
        self.init_containers
            .iter()
            .chain(&self.containers)
            .any(|listed| listed == name)
    }

    /// The name of what programs the redirect, or proves it.
    pub(super) fn init_container(&self) -> Option<&str> {
        let mut names = self.init_containers.iter().map(String::as_str);
        names.find(|name| [INIT_CONTAINER, VALIDATION_CONTAINER].contains(name))
    }

    /// Whether a volume of this name was injected.
    pub(super) fn has_volume(&self, name: &str) -> bool {
        self.volumes.iter().any(|listed| listed == name)
    }

    /// The list of the pod that holds an injected container.
    pub(super) fn place(&self, pod: &Value, name: &str) -> Option<&'static str> {
        if !self.has_container(name) {
            return None;
        }
        let holds = |field: &&str| pod::list(pod, field).iter().any(|c| pod::name(c) == name);
        [INIT_CONTAINERS, CONTAINERS].into_iter().find(holds)
    }
}

//! The status annotation: the names of what was injected, as JSON with Istio's keys.

use fairlead_api::{
    names::{INIT_CONTAINER, POD_INFO_VOLUME, PROXY_CONTAINER, STATUS, VALIDATION_CONTAINER},
    values::InterceptionMode,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{CONTAINERS, INIT_CONTAINERS, templates::Base};
use crate::{
    pod,
    settings::{Cni, Settings},
};

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

    /// Reads a pod's annotation; a pod without it was never injected.
    pub(super) fn read(pod: &Value) -> Result<Self, serde_json::Error> {
        match pod::annotation(pod, STATUS) {
            None | Some("") => Ok(Self::default()),
            Some(text) => serde_json::from_str(text),
        }
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

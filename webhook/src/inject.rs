//! A pod → the same pod with the redirect and the proxy: pure.
//!
//! Nothing of the pod is taken away, and injecting an injected pod changes nothing, also when the
//! API server has filled in its defaults meanwhile. For that, what an earlier injection left (it
//! is listed in the status annotation) is kept and only the wanted fields are merged over it.
//!
//! - [`fault`]: what makes a pod refused
//! - [`check`]: whether it is, and what is only warned of
//! - [`status`]: the annotation that lists what was injected
//! - [`workload`]: who owns the pod
//! - [`init`], [`sidecar`]: the two containers
//! - [`probes`]: the application's probes and hooks, which the proxy asks in the kubelet's place
//! - [`metrics`]: the application's metrics, which the proxy merges with its own
//! - [`metadata`]: labels and annotations
//! - [`merge`]: wanted fields over existing ones

mod check;
mod fault;
mod init;
mod merge;
mod metadata;
mod metrics;
mod probes;
mod sidecar;
mod status;
mod workload;

use std::collections::BTreeMap;

use fairlead_api::{
    annotations::PodSettings,
    names::{INIT_CONTAINER, POD_INFO_VOLUME, PROXY_CONTAINER},
    values::InterceptionMode,
};
use serde_json::{Map, Value, json};

pub use self::fault::{Fault, Refusal};
use self::{metrics::Metrics, probes::Probes, status::Status, workload::Workload};
use crate::{pod, settings::Settings};

/// Where a pod is created: what is decided outside of it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The name of its namespace.
    pub namespace: &'a str,
    /// The namespace's annotations: defaults of the pod's.
    pub annotations: &'a BTreeMap<String, String>,
    /// Whether the proxy is a restartable init container unless the pod says otherwise.
    pub native: bool,
}

impl<'a> Place<'a> {
    /// A namespace of which nothing but the name is known.
    pub fn named(namespace: &'a str, native: bool) -> Self {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        Self {
            namespace,
            annotations: &NONE,
            native,
        }
    }
}

/// An injected pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    /// The whole pod.
    pub pod: Value,
    /// What whoever creates the pod should know.
    pub warnings: Vec<String>,
}

/// Injects a pod.
///
/// # Errors
/// Everything that speaks against it, at once.
pub fn inject(pod: &Value, place: &Place<'_>, settings: &Settings) -> Result<Injected, Refusal> {
    let check::Checked {
        previous,
        wishes,
        native,
        status_port,
        probes,
        metrics,
        warnings,
    } = check::check(pod, settings, place)?;
    let workload = Workload::of(pod, place.namespace);
    let plan = Plan {
        settings,
        wishes: &wishes,
        workload: &workload,
        app_containers: app_containers(pod, &previous),
        native,
        status_port,
        probes: &probes,
        metrics: &metrics,
    };

    let mut injected = pod.clone();
    let spec = object(&mut injected, "spec");
    let (init_index, proxy_field, proxy_index) = if native {
        (0, INIT_CONTAINERS, 1)
    } else {
        (usize::MAX, CONTAINERS, usize::MAX)
    };
    if plan.interception_mode() != InterceptionMode::None {
        put(spec, INIT_CONTAINERS, init_index, init::container(&plan));
    }
    put(spec, proxy_field, proxy_index, sidecar::container(&plan));
    put(spec, "volumes", usize::MAX, sidecar::volume());
    for name in &settings.image_pull_secrets {
        let secret = json!({ "name": name });
        put(spec, "imagePullSecrets", usize::MAX, secret);
    }
    probes.apply(&mut injected);
    metadata::write(&mut injected, &plan, &status(&plan));
    Ok(Injected {
        pod: injected,
        warnings,
    })
}

const INIT_CONTAINERS: &str = "initContainers";
const CONTAINERS: &str = "containers";

/// All that the parts of the injection are made from.
struct Plan<'a> {
    settings: &'a Settings,
    wishes: &'a PodSettings,
    workload: &'a Workload,
    app_containers: Vec<&'a str>,
    native: bool,
    status_port: Option<u16>,
    probes: &'a Probes,
    metrics: &'a Metrics,
}

impl Plan<'_> {
    fn interception_mode(&self) -> InterceptionMode {
        let wish = self.wishes.interception_mode;
        wish.unwrap_or(self.settings.interception_mode)
    }
}

fn app_containers<'a>(pod: &'a Value, previous: &Status) -> Vec<&'a str> {
    let containers = pod::list(pod, CONTAINERS).iter();
    containers
        .map(pod::name)
        .filter(|name| !previous.has_container(name))
        .collect()
}

/// A variable that an earlier injection gave to the proxy.
fn variable<'a>(pod: &'a Value, previous: &Status, name: &str) -> Option<&'a str> {
    let list = previous.place(pod, PROXY_CONTAINER)?;
    let mut containers = pod::list(pod, list).iter();
    let proxy = containers.find(|c| pod::name(c) == PROXY_CONTAINER)?;
    let mut variables = proxy.get("env")?.as_array()?.iter();
    let variable = variables.find(|v| pod::name(v) == name)?;
    variable.get("value")?.as_str()
}

fn status(plan: &Plan<'_>) -> Status {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let (init_containers, containers) = if plan.native {
        (own(&[INIT_CONTAINER, PROXY_CONTAINER]), Vec::new())
    } else {
        (own(&[INIT_CONTAINER]), own(&[PROXY_CONTAINER]))
    };
    Status {
        init_containers,
        containers,
        volumes: own(&[POD_INFO_VOLUME]),
        image_pull_secrets: plan.settings.image_pull_secrets.clone(),
        revision: plan.settings.revision.clone(),
    }
}

/// Merges a named element over the one of its name, or puts it into the list at an index; past the
/// end means last.
fn put(spec: &mut Map<String, Value>, field: &str, index: usize, wanted: Value) {
    let list = array(spec, field);
    let name = pod::name(&wanted);
    match list.iter_mut().find(|element| pod::name(element) == name) {
        Some(existing) => merge::merge(existing, wanted),
        None => list.insert(index.min(list.len()), wanted),
    }
}

/// The object at a field, made if it is absent; [`check`] has seen that it is nothing else.
fn object<'a>(parent: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if parent.get(field).is_none_or(|value| !value.is_object()) {
        parent[field] = Value::Object(Map::new());
    }
    parent[field].as_object_mut().expect("made an object above")
}

fn array<'a>(parent: &'a mut Map<String, Value>, field: &str) -> &'a mut Vec<Value> {
    let value = parent.entry(field).or_insert(Value::Null);
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut().expect("made an array above")
}

//! A pod → the same pod with the redirect and the proxy: pure.
//!
//! Nothing of the pod is taken away, and injecting an injected pod changes nothing, also when the
//! API server has filled in its defaults meanwhile. For that, what an earlier injection left (it
//! is listed in the status annotation) is kept and only the wanted fields are merged over it.
//!
//! - [`fault`]: what makes a pod refused
//! - [`check`]: whether it is, and what is only warned of
//! - [`templates`]: what is laid over the pod
//! - [`overrides`]: what the pod's author wrote under the injector's names
//! - [`status`]: the annotation that lists what was injected
//! - [`identity`]: who the proxy runs as
//! - [`applications`]: the containers beside it
//! - [`workload`]: who owns the pod
//! - [`layers`]: what the mesh, the namespace and the pod say of the proxy
//! - [`init`], [`sidecar`], [`environment`], [`resources`]: the two containers
//! - [`probes`]: the application's probes and hooks, which the proxy asks in the kubelet's place
//! - [`metrics`]: the application's metrics, which the proxy merges with its own
//! - [`assemble`]: where in the pod everything goes
//! - [`metadata`], [`cni`]: labels and annotations
//! - [`merge`]: wanted fields over existing ones

mod applications;
mod assemble;
mod check;
mod cni;
mod environment;
mod fault;
mod identity;
mod init;
mod layers;
pub(crate) mod merge;
mod metadata;
mod metrics;
mod overrides;
mod probes;
mod resources;
mod sidecar;
mod status;
mod templates;
mod workload;

use std::{collections::BTreeMap, sync::LazyLock};

use fairlead_api::{
    annotations::PodSettings, mesh_config::MeshConfig, names::PROXY_CONTAINER, proxy_config::Layer,
    values::InterceptionMode,
};
use serde_json::{Map, Value};

pub use self::fault::{Fault, Refusal};
use self::{
    identity::Identity,
    metrics::Metrics,
    overrides::Overrides,
    probes::Probes,
    status::Status,
    templates::{Base, Chosen},
    workload::Workload,
};
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
    /// What holds for the whole mesh.
    pub mesh: &'a MeshConfig,
}

impl<'a> Place<'a> {
    /// A namespace of which nothing but the name is known, in a mesh that leaves everything to the
    /// code's defaults.
    pub fn named(namespace: &'a str, native: bool) -> Self {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        static MESH: LazyLock<MeshConfig> = LazyLock::new(MeshConfig::default);
        Self {
            namespace,
            annotations: &NONE,
            native,
            mesh: &MESH,
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
    let checked = check::check(pod, settings, place)?;
    let workload = Workload::of(&checked.pod, place.namespace);
    let plan = Plan {
        pod: &checked.pod,
        settings,
        base: checked.templates.base,
        templates: &checked.templates,
        overrides: &checked.overrides,
        previous: &checked.previous,
        added: &checked.added,
        wishes: &checked.wishes,
        workload: &workload,
        app_containers: applications::names(&checked.pod, &checked.added),
        mode: checked.mode,
        native: checked.native,
        identity: checked.identity,
        proxy: &checked.proxy,
        status_port: checked.status_port,
        probes: &checked.probes,
        metrics: &checked.metrics,
    };
    let mut injected = Value::clone(&checked.pod);
    if plan.base != Base::Nothing {
        assemble::containers(object(&mut injected, "spec"), &plan);
        plan.probes.apply(&mut injected);
    }
    metadata::write(&mut injected, &plan);
    Ok(Injected {
        pod: injected,
        warnings: checked.warnings,
    })
}

const INIT_CONTAINERS: &str = "initContainers";
const CONTAINERS: &str = "containers";

/// All that the parts of the injection are made from.
struct Plan<'a> {
    /// The pod with the mesh's overlays.
    pod: &'a Value,
    settings: &'a Settings,
    base: Base,
    templates: &'a Chosen<'a>,
    overrides: &'a Overrides,
    previous: &'a Status,
    added: &'a Status,
    wishes: &'a PodSettings,
    workload: &'a Workload,
    app_containers: Vec<&'a str>,
    mode: InterceptionMode,
    native: bool,
    identity: Identity,
    proxy: &'a Layer,
    status_port: Option<u16>,
    probes: &'a Probes,
    metrics: &'a Metrics,
}

impl Plan<'_> {
    /// Whether the application starts when the proxy is ready, also beside a plain container.
    fn holds_application(&self) -> bool {
        let wish = self.proxy.hold_application_until_proxy_starts;
        self.base == Base::Sidecar && wish == Some(true)
    }
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

/// The object at a field, made if it is absent; [`check`] has seen that it is nothing else.
fn object<'a>(parent: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if parent.get(field).is_none_or(|value| !value.is_object()) {
        parent[field] = Value::Object(Map::new());
    }
    parent[field].as_object_mut().expect("made an object above")
}

/// As above, of an object.
fn object_in<'a>(parent: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    let value = parent.entry(field).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object above")
}

fn array<'a>(parent: &'a mut Map<String, Value>, field: &str) -> &'a mut Vec<Value> {
    let value = parent.entry(field).or_insert(Value::Null);
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut().expect("made an array above")
}

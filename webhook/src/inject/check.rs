//! Whether a pod is refused, and what is only warned of.

use std::{borrow::Cow, collections::BTreeMap};

use fairlead_api::{
    annotations::{
        self, MERGE_METRICS, PodSettings, REWRITE_PROBES,
        warnings::{Written, warnings},
    },
    names::{INIT_CONTAINER, POD_INFO_VOLUME, PROXY_CONTAINER, VALIDATION_CONTAINER},
    ports,
    proxy_config::Layer,
    values::InterceptionMode,
};
use serde_json::Value;

use super::{
    CONTAINERS, Fault, INIT_CONTAINERS, Place, Refusal,
    applications::{applications, reserved_ports},
    identity::{self, Identity, Needs},
    layers::layers,
    metrics::Metrics,
    overrides::{self, Overrides},
    probes::Probes,
    status::{Own, Status},
    templates::{Base, Chosen},
};
use crate::{
    pod,
    settings::{Platform, Settings},
};

/// A pod that is not refused: what it asks for, and what follows from that.
pub(super) struct Checked<'a> {
    /// The pod with the mesh's overlays.
    pub(super) pod: Cow<'a, Value>,
    pub(super) templates: Chosen<'a>,
    pub(super) previous: Status,
    pub(super) added: Status,
    pub(super) overrides: Overrides,
    pub(super) wishes: PodSettings,
    pub(super) mode: InterceptionMode,
    /// Whether the proxy is a restartable init container.
    pub(super) native: bool,
    pub(super) identity: Identity,
    /// What the mesh, the namespace and the pod say of the proxy.
    pub(super) proxy: Layer,
    /// Where the proxy answers the kubelet and Prometheus.
    pub(super) status_port: Option<u16>,
    pub(super) probes: Probes,
    pub(super) metrics: Metrics,
    pub(super) warnings: Vec<String>,
}

/// Looks at a pod as a whole.
pub(super) fn check<'a>(
    pod: &'a Value,
    settings: &'a Settings,
    place: &Place<'_>,
) -> Result<Checked<'a>, Refusal> {
    let mut faults = shape(pod);
    faults.extend(too_much(pod));
    if !faults.is_empty() {
        return Err(Refusal(faults));
    }
    let of_pod = pod::annotations(pod);
    let mut warnings = warnings(&Written {
        labels: &pod::labels(pod),
        annotations: &of_pod,
        namespace: place.namespace,
        namespace_annotations: place.annotations,
    });
    let mut wishes = read(&of_pod, place);
    let names = wishes.as_ref().ok().and_then(|w| w.templates.as_deref());
    let templates = Chosen::of(names, settings, &mut faults);
    let laid = templates.lay_over(pod);
    if let Cow::Owned(laid) = &laid {
        // An overlay may say what the pod could have said.
        wishes = read(&pod::annotations(laid), place);
    }
    let wishes = wishes.unwrap_or_else(|bad| {
        faults.push(Fault::Annotations(bad));
        PodSettings::default()
    });
    let previous = Status::read(pod).unwrap_or_else(|error| {
        let reason = error.to_string();
        faults.push(Fault::Status { reason });
        Status::default()
    });
    let proxy = layers(place, &wishes, &mut faults, &mut warnings);
    let base = templates.base;
    let mode = match base {
        Base::Sidecar => {
            let wish = wishes.interception_mode.or(proxy.interception_mode);
            wish.unwrap_or(settings.interception_mode)
        }
        Base::Gateway | Base::Nothing => InterceptionMode::None,
    };
    let own = Own::of(base, mode, settings.cni);
    let mut overrides = Overrides::of(pod, &previous, &own, &mut faults);
    let native = match previous.place(pod, PROXY_CONTAINER) {
        // An earlier injection's container stays where it is: moving it would take it away.
        Some(field) => field == INIT_CONTAINERS,
        None if base == Base::Sidecar => {
            let written = overrides.is_init_container(PROXY_CONTAINER);
            let wish = wishes.native_sidecar.unwrap_or(written || place.native);
            // A pod of init containers alone is none.
            let mut containers = pod::list(&laid, CONTAINERS).iter();
            wish && containers.any(|container| pod::name(container) != PROXY_CONTAINER)
        }
        None => false,
    };
    let mut added = Status::of(&own, native, settings);
    let user_volumes = wishes.user_volumes.iter().flatten();
    let user_volumes: Vec<String> = user_volumes.map(|v| pod::name(v).to_owned()).collect();
    names_taken(&laid, &previous, &own, &user_volumes, &mut faults);
    if own.proxy.is_some() {
        added.volumes.extend(user_volumes);
    }
    templates.note(pod, &previous, &mut added);

    let given = match identity::of_platform(settings.platform, place.annotations) {
        Ok(given) => given,
        Err(fault) => {
            faults.push(fault);
            Identity::DEFAULT
        }
    };
    if settings.platform == Platform::OpenShift
        && let Some(written) = overrides.of_container_mut(PROXY_CONTAINER)
    {
        identity::clear_given(written, &laid, &added);
    }
    let said = templates.of_container(PROXY_CONTAINER);
    let said = said.chain(overrides.of_container(PROXY_CONTAINER));
    let needs = Needs::of(mode, &wishes);
    let identity = given.with_wishes(said, needs, &mut faults, &mut warnings);
    if needs.is_redirected {
        identity.check(&laid, applications(&laid, &added), &mut faults);
    }

    let status_port = wishes.status_port.or(proxy.status_port);
    let status_port = Some(status_port.unwrap_or(ports::STATUS))
        .filter(|port| *port != 0 && base != Base::Nothing);
    if base != Base::Nothing {
        warnings.extend(reserved_ports(&laid, &added, status_port));
    }
    let rewrites = wishes.rewrite_probes;
    let probes = match status_port {
        Some(port) if rewrites.unwrap_or(settings.rewrite_app_http_probe) => {
            Probes::of(&laid, &previous, native, port, &mut faults, &mut warnings)
        }
        _ => Probes::default(),
    };
    let merges = wishes.merge_metrics;
    let metrics = match status_port {
        Some(port) if merges.unwrap_or(place.mesh.enable_prometheus_merge) => {
            Metrics::of(&laid, &previous, port).unwrap_or_else(|bad| {
                faults.push(Fault::Annotations(bad));
                Metrics::default()
            })
        }
        _ => Metrics::default(),
    };
    if status_port.is_none() && base != Base::Nothing {
        for (key, wish) in [(REWRITE_PROBES, rewrites), (MERGE_METRICS, merges)] {
            if wish == Some(true) {
                faults.push(Fault::NoStatusPort { key });
            }
        }
    }
    if !faults.is_empty() {
        return Err(Refusal(faults));
    }
    Ok(Checked {
        pod: laid,
        templates,
        previous,
        added,
        overrides,
        wishes,
        mode,
        native,
        identity,
        proxy,
        status_port,
        probes,
        metrics,
        warnings,
    })
}

fn read(
    annotations: &BTreeMap<String, String>,
    place: &Place<'_>,
) -> Result<PodSettings, annotations::Faults> {
    PodSettings::parse(annotations, place.namespace, place.annotations)
}

fn shape(pod: &Value) -> Vec<Fault> {
    const OBJECTS: [&str; 4] = [
        "/metadata",
        "/metadata/labels",
        "/metadata/annotations",
        "/spec",
    ];
    const LISTS: [&str; 4] = [
        "/spec/containers",
        "/spec/initContainers",
        "/spec/volumes",
        "/spec/imagePullSecrets",
    ];
    let odd = |path: &&str, fits: fn(&Value) -> bool| {
        let mut fields = path.split('/').skip(1);
        let value = fields.try_fold(pod, |value, field| value.get(field));
        value.is_some_and(|value| !value.is_null() && !fits(value))
    };
    let mut faults = Vec::new();
    if pod.get("spec").is_none_or(|spec| !spec.is_object()) {
        let (path, expected) = ("/spec", "an object");
        faults.push(Fault::Shape { path, expected });
        return faults;
    }
    for path in OBJECTS
        .into_iter()
        .filter(|path| odd(path, Value::is_object))
    {
        let expected = "an object";
        faults.push(Fault::Shape { path, expected });
    }
    for path in LISTS.into_iter().filter(|path| odd(path, Value::is_array)) {
        let expected = "a list";
        faults.push(Fault::Shape { path, expected });
    }
    faults
}

/// More elements than any list of a pod needs; everything that has a name is compared with the others.
const ELEMENTS: usize = 1024;
/// What the API server accepts in all of a pod's annotations. It looks only after the webhook.
const ANNOTATIONS: usize = 256 << 10;

/// What is so much of that deciding would take long, while other pods wait.
fn too_much(pod: &Value) -> Vec<Fault> {
    let annotations = pod::at(pod, &["metadata", "annotations"]).and_then(Value::as_object);
    let texts = annotations.into_iter().flatten();
    let bytes = texts.map(|(key, text)| key.len() + text.as_str().map_or(0, str::len));
    let what = "metadata.annotations".to_owned();
    let annotations = fault(what, bytes.sum(), "bytes", ANNOTATIONS);
    let mut faults = Vec::from_iter(annotations);
    for list in [INIT_CONTAINERS, CONTAINERS, "volumes", "imagePullSecrets"] {
        let count = pod::list(pod, list).len();
        faults.extend(fault(format!("spec.{list}"), count, "elements", ELEMENTS));
    }
    // Of the others' lists the elements are not compared with each other.
    let all = [INIT_CONTAINERS, CONTAINERS].into_iter();
    for container in all.flat_map(|list| pod::list(pod, list)) {
        let name = pod::name(container);
        if ![INIT_CONTAINER, VALIDATION_CONTAINER, PROXY_CONTAINER].contains(&name) {
            continue;
        }
        faults.extend(too_many_elements(container));
    }
    faults
}

/// The lists of a container of the injector's name that are too long to be merged.
pub(super) fn too_many_elements(container: &Value) -> impl Iterator<Item = Fault> {
    let fields = container.as_object().into_iter().flatten();
    fields.filter_map(|(field, value)| {
        let count = value.as_array().map_or(0, Vec::len);
        let what = format!("{field} of container '{}'", pod::name(container));
        fault(what, count, "elements", ELEMENTS)
    })
}

fn fault(what: String, count: usize, of: &'static str, most: usize) -> Option<Fault> {
    (count > most).then_some(Fault::TooMuch {
        what,
        count,
        of,
        most,
    })
}

/// The mesh's own names, and those of volumes that the pod's annotations add.
fn names_taken(
    pod: &Value,
    previous: &Status,
    own: &Own,
    user: &[String],
    faults: &mut Vec<Fault>,
) {
    let added = user.iter().map(String::as_str);
    let added = added.filter(|name| *name == POD_INFO_VOLUME);
    for name in pod::list(pod, "volumes").iter().map(pod::name).chain(added) {
        let is_ours = own.proxy.is_some() && name == POD_INFO_VOLUME;
        let is_users = user.iter().any(|volume| volume == name);
        let is_earlier = previous.has_volume(name) && !(is_ours && is_users);
        if is_earlier || !(is_ours || is_users) {
            continue;
        }
        let name = name.to_owned();
        let field = "volumes";
        faults.push(if is_ours {
            Fault::NameTaken { field, name }
        } else {
            Fault::VolumeTaken { name }
        });
    }
    let not_ours = |name: &str| {
        [INIT_CONTAINER, VALIDATION_CONTAINER, PROXY_CONTAINER].contains(&name) && !own.has(name)
    };
    for container in [INIT_CONTAINERS, CONTAINERS]
        .iter()
        .flat_map(|list| pod::list(pod, list))
    {
        let name = pod::name(container);
        if not_ours(name) && !previous.has_container(name) && overrides::is_auto(container) {
            faults.push(Fault::Override {
                container: name.to_owned(),
                reason: "has the image auto, which stands for that of an injected container, and \
                         none of this name is injected into this pod; remove it"
                    .to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests;

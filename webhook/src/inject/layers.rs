//! What the mesh, the namespace and the pod say of the proxy, laid one over the other.

use fairlead_api::{
    annotations::{PROXY_CONFIG, PodSettings, namespace_proxy_config},
    document::Document,
    proxy_config::Layer,
};

use super::{Fault, Place};

/// The pod's layer over its namespace's over the mesh's.
pub(super) fn layers(
    place: &Place<'_>,
    wishes: &PodSettings,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<String>,
) -> Layer {
    let mut whole = place.mesh.default_config.clone();
    match namespace_proxy_config(place.namespace, place.annotations) {
        Ok(None) => {}
        Ok(Some(read)) => {
            let of = format!(" of namespace {}", place.namespace);
            lay(&read, &of, &mut whole, warnings);
        }
        Err(bad) => faults.push(Fault::Annotations(bad)),
    }
    if let Some(read) = &wishes.proxy_config {
        lay(read, "", &mut whole, warnings);
    }
    whole
}

fn lay(read: &Document<Layer>, of: &str, whole: &mut Layer, warnings: &mut Vec<String>) {
    *whole = read.value.over(whole);
    let warned = read.warnings.iter();
    warnings.extend(warned.map(|text| format!("annotation {PROXY_CONFIG}{of}: {text}")));
}

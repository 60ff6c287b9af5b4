//! What the mesh, the namespace and the pod say of the proxy, laid one over the other.

use fairlead_api::{
    annotations::{PROXY_CONFIG, PodSettings},
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
    if let Some(text) = place.annotations.get(PROXY_CONFIG) {
        match Layer::parse(text) {
            Ok(read) => lay(&read, " of the pod's namespace", &mut whole, warnings),
            Err(reason) => faults.push(Fault::NamespaceAnnotation {
                key: PROXY_CONFIG,
                value: text.clone(),
                reason,
            }),
        }
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

//! Where in the pod everything goes.

use std::iter;

use fairlead_api::names::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER};
use serde_json::{Map, Value, json};

use super::{
    CONTAINERS, INIT_CONTAINERS, Plan, array, init, merge, object_in, overrides, sidecar,
    templates::Base,
};
use crate::pod;

/// With which a process may listen on any port without being root.
const UNPRIVILEGED_PORTS: &str = "net.ipv4.ip_unprivileged_port_start";

/// Puts the containers, their volumes and secrets into the pod's spec.
///
/// A restartable init container starts before the author's init containers, which then have the mesh.
/// A plain proxy starts after all of them, so the redirect comes last, lest it lead nowhere.
pub(super) fn containers(spec: &mut Map<String, Value>, plan: &Plan<'_>) {
    clear(spec, plan);
    let mut first = 0;
    if let Some(name) = plan.added.init_container() {
        let wanted = finished(name, init::container(plan), plan);
        let early = plan.native || name == VALIDATION_CONTAINER;
        let index = if early { 0 } else { usize::MAX };
        put(spec, INIT_CONTAINERS, index, wanted);
        first = 1;
    }
    let mut proxy = finished(PROXY_CONTAINER, sidecar::container(plan), plan);
    sidecar::settle(&mut proxy, plan);
    if plan.native {
        put(spec, INIT_CONTAINERS, first, proxy);
    } else {
        // The kubelet starts containers in order, each after the other's hook has ended.
        let index = if plan.holds_application() {
            0
        } else {
            usize::MAX
        };
        put(spec, CONTAINERS, index, proxy);
    }
    let user_volumes = plan.wishes.user_volumes.iter().flatten();
    for volume in iter::once(sidecar::volume()).chain(user_volumes.cloned()) {
        put(spec, "volumes", usize::MAX, volume);
    }
    for name in &plan.settings.image_pull_secrets {
        let secret = json!({ "name": name });
        put(spec, "imagePullSecrets", usize::MAX, secret);
    }
    if plan.base == Base::Gateway {
        let sysctls = array(object_in(spec, "securityContext"), "sysctls");
        if !sysctls.iter().any(|s| pod::name(s) == UNPRIVILEGED_PORTS) {
            sysctls.push(json!({ "name": UNPRIVILEGED_PORTS, "value": "0" }));
        }
    }
}

/// Takes out what the author wrote under the names of containers that are put in, and what an earlier
/// injection has put in that this one does not.
fn clear(spec: &mut Map<String, Value>, plan: &Plan<'_>) {
    const OWN: [&str; 3] = [INIT_CONTAINER, VALIDATION_CONTAINER, PROXY_CONTAINER];
    let is_stale = |container: &Value| {
        let name = pod::name(container);
        OWN.contains(&name) && plan.previous.has_container(name) != plan.added.has_container(name)
    };
    for list in [INIT_CONTAINERS, CONTAINERS] {
        if let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) {
            containers.retain(|container| !is_stale(container));
        }
    }
}

/// A container with what overlays and the author say of it.
fn finished(name: &str, mut container: Value, plan: &Plan<'_>) -> Value {
    let said = plan.templates.of_container(name);
    for over in said.chain(plan.overrides.of_container(name)) {
        merge::lay(&mut container, &overrides::without_auto(over));
    }
    container
}

/// Merges a named element over the one of its name, or puts it into the list at an index; past the
/// end means last.
fn put(spec: &mut Map<String, Value>, field: &str, index: usize, wanted: Value) {
    let list = array(spec, field);
    let name = pod::name(&wanted);
    match list.iter_mut().find(|element| pod::name(element) == name) {
        Some(existing) => merge::renew(existing, &wanted),
        None => list.insert(index.min(list.len()), wanted),
    }
}

//! The image of the injected containers, and how much of the node is theirs.

use std::collections::BTreeMap;

use fairlead_api::values::Quantity;
use serde_json::{Value, json};

use super::Plan;

/// Writes what both containers have in common.
pub(super) fn write(container: &mut Value, plan: &Plan<'_>) {
    let image = plan.wishes.image.as_ref().unwrap_or(&plan.settings.image);
    container["image"] = json!(image.as_str());
    if let Some(policy) = plan.settings.image_pull_policy {
        container["imagePullPolicy"] = json!(policy.as_str());
    }
    let (requests, limits) = of(plan);
    let texts = |quantities: &BTreeMap<&str, &Quantity>| -> Value {
        quantities
            .iter()
            .map(|(name, quantity)| (*name, quantity.as_str()))
            .collect()
    };
    for (field, quantities) in [("requests", requests), ("limits", limits)] {
        if !quantities.is_empty() {
            container["resources"][field] = texts(&quantities);
        }
    }
}

type Quantities<'a> = BTreeMap<&'a str, &'a Quantity>;

/// Requests and limits: the mesh's, or those of the pod's annotations, never a mix.
pub(super) fn of<'a>(plan: &Plan<'a>) -> (Quantities<'a>, Quantities<'a>) {
    if plan.wishes.sets_resources() {
        let own = |cpu: &'a Option<Quantity>, memory: &'a Option<Quantity>| {
            let pairs = [("cpu", cpu), ("memory", memory)].into_iter();
            pairs
                .filter_map(|(name, quantity)| Some((name, quantity.as_ref()?)))
                .collect()
        };
        let wishes = plan.wishes;
        return (
            own(&wishes.cpu_request, &wishes.memory_request),
            own(&wishes.cpu_limit, &wishes.memory_limit),
        );
    }
    let mesh = |quantities: &'a BTreeMap<String, Quantity>| {
        quantities
            .iter()
            .map(|(name, quantity)| (name.as_str(), quantity))
            .collect()
    };
    let resources = &plan.settings.resources;
    (mesh(&resources.requests), mesh(&resources.limits))
}

//! What a webhook of ours answers: its own code, with the settings that it has.

use fairlead_webhook::{
    decide::{self, decide},
    inject::{Place, inject},
};
use serde_json::Value;

use super::{
    facts::{Known, Namespace},
    mesh::Decision,
};
use crate::inject::fault_lines;

/// Decides and injects as the webhook does; with what it would warn of.
pub(super) fn answer(known: &Known, namespace: &Namespace, pod: &Value) -> (Decision, Vec<String>) {
    let mut place = Place::named(&namespace.name, known.native);
    place.annotations = &namespace.annotations;
    place.mesh = &known.mesh;
    let (decision, warning) = decide(pod, place.namespace, &known.settings);
    let mut warnings = known.unsure.clone();
    warnings.extend(warning);
    if let decide::Decision::Skip(reason) = decision {
        return (Decision::Skip(reason.to_string()), warnings);
    }
    match inject(pod, &place, &known.settings) {
        Ok(injected) => {
            warnings.extend(injected.warnings);
            (Decision::Inject, warnings)
        }
        Err(refusal) => (Decision::Refuse(fault_lines(&refusal)), warnings),
    }
}

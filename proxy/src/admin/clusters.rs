//! `/clusters`

use std::fmt::Write;

use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Admin, Parameters, is_json, json};
use crate::direction::{BLACK_HOLE_CLUSTER, Direction};

/// The clusters alone: those that lead to the original destination have as many endpoints as there
/// are addresses, and none is kept.
pub(super) fn answer(_: &Admin, parameters: &Parameters) -> Response {
    let clusters = [
        BLACK_HOLE_CLUSTER,
        Direction::Inbound.cluster(),
        Direction::Outbound.cluster(),
    ];
    if is_json(parameters) {
        let statuses = clusters.map(
            |name| json!({ "name": name, "added_via_api": false, "observability_name": name }),
        );
        return json(&json!({ "cluster_statuses": statuses }));
    }
    let mut text = String::new();
    for name in clusters {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}::observability_name::{name}");
        for priority in ["default_priority", "high_priority"] {
            for limit in ["connections", "pending_requests", "requests", "retries"] {
                let _ = writeln!(text, "{name}::{priority}::max_{limit}::4294967295");
            }
        }
        let _ = writeln!(text, "{name}::added_via_api::false");
    }
    text.into_response()
}

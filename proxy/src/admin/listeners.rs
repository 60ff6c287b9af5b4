//! `/listeners`

use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Admin, Parameters, is_json, json};
use crate::direction::Direction;

pub(super) fn answer(admin: &Admin, parameters: &Parameters) -> Response {
    let ports = [
        (Direction::Outbound, admin.config.ports.outbound),
        (Direction::Inbound, admin.config.ports.inbound),
    ];
    if is_json(parameters) {
        let statuses: Vec<Value> = ports
            .map(|(direction, port)| {
                json!({
                    "name": direction.listener(),
                    "local_address": {
                        "socket_address": { "address": "0.0.0.0", "port_value": port },
                    },
                })
            })
            .into();
        return json(&json!({ "listener_statuses": statuses }));
    }
    let lines =
        ports.map(|(direction, port)| format!("{}::0.0.0.0:{port}\n", direction.listener()));
    lines.concat().into_response()
}

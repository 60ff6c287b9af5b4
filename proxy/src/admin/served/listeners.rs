//! `/listeners` and `/drain_listeners`

use std::{fmt::Write, sync::Arc};

use axum::response::Response;
use fairlead_xds::envoy::admin::v3::{ListenerStatus, Listeners};
use tokio::time::sleep;
use tracing::info;

use super::{Served, address};
use crate::{
    admin::handler::{Parameters, is_json, message, ok, text},
    direction::Direction,
    listener::active::Active,
};

pub(super) fn answer(served: &Served, parameters: &Parameters) -> Response {
    let listeners = served.plane.listeners.load();
    if is_json(parameters) {
        let statuses = listeners.all.iter().map(|active| {
            let mut addresses = active.addresses.iter().copied().map(address);
            ListenerStatus {
                name: active.current().name.to_string(),
                local_address: addresses.next(),
                additional_local_addresses: addresses.collect(),
            }
        });
        return message(&Listeners {
            listener_statuses: statuses.collect(),
        });
    }
    let mut page = String::new();
    for active in &listeners.all {
        for bound in &active.addresses {
            // Writing to a string does not fail.
            let _ = writeln!(page, "{}::{bound}", active.current().name);
        }
    }
    text(page)
}

/// Listeners accept no more, at once or after the drain time; their connections go on.
pub(super) fn drain(served: &Served, parameters: &Parameters) -> Response {
    // At layer 4 nothing can tell a client to come no more: without an end there is nothing to do.
    if parameters.contains_key("skip_exit") {
        return ok();
    }
    let inbound_only = parameters.contains_key("inboundonly");
    let listeners = served.plane.listeners.load();
    let concerned = listeners
        .all
        .iter()
        .filter(|active| !inbound_only || active.current().direction == Some(Direction::Inbound));
    let concerned: Vec<Arc<Active>> = concerned.cloned().collect();
    let counted = served.store.listener_manager();
    let stop = move || {
        for active in concerned {
            active.close();
            counted.set().listener_stopped.increment();
            info!(
                listener = &*active.current().name,
                "accepts no more, as an operator asked"
            );
        }
    };
    if parameters.contains_key("graceful") {
        let after = served.options.drain_time;
        tokio::spawn(async move {
            sleep(after).await;
            stop();
        });
    } else {
        stop();
    }
    ok()
}

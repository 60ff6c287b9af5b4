//! `/server_info`

use axum::response::Response;
use serde_json::json;

use super::{Admin, json};

pub(super) fn answer(admin: &Admin) -> Response {
    let config = &admin.config;
    let uptime = format!("{}s", admin.lifecycle().started().elapsed().as_secs());
    json(&json!({
        "version": concat!("fairlead-proxy/", env!("CARGO_PKG_VERSION")),
        "state": admin.lifecycle().state().to_string(),
        "hot_restart_version": "disabled",
        "command_line_options": {
            "concurrency": config.workers,
            "mode": "Serve",
            "log_level": config.log_level.to_string(),
            "service_cluster": config.node.cluster(),
            "service_node": config.node.id(),
            "drain_time": format!("{}s", config.proxy.termination_drain_duration.as_secs_f64()),
            "drain_strategy": "Immediate",
        },
        "node": {
            "id": config.node.id(),
            "cluster": config.node.cluster(),
            "metadata": config.node.metadata(),
            "user_agent_name": "fairlead-proxy",
            "user_agent_version": env!("CARGO_PKG_VERSION"),
        },
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
    }))
}

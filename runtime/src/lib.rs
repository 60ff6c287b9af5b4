//! What every long-running process needs: logs, readiness, drain, metrics, plain HTTP servers.
//!
//! Nothing here knows pods or traffic.
//!
//! - [`log`]: the process log, whose level can change while it runs
//! - [`readiness`]: what is still missing before the process may be sent work
//! - [`drain`]: tell every task to finish, and wait until each has
//! - [`signal`]: SIGTERM and SIGINT
//! - [`server`]: bind and serve an axum router
//! - [`metrics`]: a registry as a Prometheus page

pub mod drain;
pub mod log;
pub mod metrics;
pub mod readiness;
pub mod server;
pub mod signal;

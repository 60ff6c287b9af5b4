//! The admin port of a proxy that runs a bootstrap: Envoy's paths, and Envoy's forms of the answers.

mod certs;
mod clusters;
mod config_dump;
mod listeners;
mod logging;
mod paths;
mod process;
mod runtime;

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use axum::{
    Router,
    extract::{Query, Request, State},
    response::Response,
};
use fairlead_runtime::log;
use fairlead_xds::{
    envoy::config::{
        bootstrap::v3::Bootstrap,
        core::v3::{Address, SocketAddress, address, socket_address::PortSpecifier},
    },
    google::protobuf::Timestamp,
};

use self::paths::HANDLERS;
use super::handler::{Parameters, dispatch};
use crate::{
    access_log::Reopen,
    configuration::KeptBootstrap,
    lifecycle::Lifecycle,
    plane::Plane,
    server::Options,
    stats::{Flush, Store},
    tls::Contexts,
};

/// What the admin port shows and changes.
pub struct Served {
    /// All that is counted.
    pub store: Arc<Store>,
    /// The state of the process.
    pub lifecycle: Lifecycle,
    /// The process' own log.
    pub log: Option<log::Control>,
    /// Certificates.
    pub contexts: Arc<Contexts>,
    /// Listeners and clusters.
    pub plane: Arc<Plane>,
    /// What is in force.
    pub bootstrap: KeptBootstrap,
    /// The files of access logs.
    pub reopen: Reopen,
    /// When intervals of histograms end.
    pub flush: Flush,
    /// How the process was started.
    pub options: Options,
    /// When the process started.
    pub started: SystemTime,
}

impl Served {
    /// What is in force, without its listeners, clusters and secrets.
    fn bootstrap(&self) -> Bootstrap {
        self.bootstrap.pieces().bootstrap
    }

    /// Ends the intervals of histograms, if that is to be done when statistics are asked for.
    fn flush_if_asked(&self) {
        if self.flush == Flush::OnAdmin {
            self.store.latch();
        }
    }
}

/// The pages.
pub fn router(served: Arc<Served>) -> Router {
    Router::new().fallback(answer).with_state(served)
}

async fn answer(
    State(served): State<Arc<Served>>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    dispatch(&HANDLERS, &served, method, path, &parameters)
}

fn address(address: SocketAddr) -> Address {
    let socket = SocketAddress {
        address: address.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
        ..SocketAddress::default()
    };
    Address {
        address: Some(address::Address::SocketAddress(socket)),
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // Milliseconds, as Envoy has them.
        nanos: i32::try_from(since.subsec_millis()).unwrap_or_default() * 1_000_000,
    }
}

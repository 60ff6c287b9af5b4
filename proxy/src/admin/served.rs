//! The admin port of a proxy that runs a bootstrap: Envoy's paths, and Envoy's forms of the answers.

use std::{fmt::Write, sync::Arc, time::SystemTime};

use axum::{
    Router,
    extract::{Query, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use fairlead_runtime::log;
use fairlead_xds::{
    envoy::admin::v3::{
        BootstrapConfigDump, ClustersConfigDump, ConfigDump, ListenersConfigDump,
        clusters_config_dump::StaticCluster, listeners_config_dump::StaticListener,
    },
    google::protobuf::{Any, Timestamp},
    json::{Layout, Secrets, message_to_json},
};
use prost::{Message, Name};
use serde_json::{Value, json};

use super::{Handler, Parameters, dispatch, help, is_json, json as json_page, ready};
use crate::{
    access_log::Reopen,
    configuration::KeptBootstrap,
    lifecycle::{Lifecycle, Stop},
    plane::Plane,
    stats::{Flush, Store, export},
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
    /// How many workers.
    pub concurrency: usize,
    /// When the process started.
    pub started: SystemTime,
}

const HANDLERS: [Handler<Served>; 14] = [
    Handler {
        path: "/",
        help: "Admin home page",
        mutates: false,
        answer: |_, _| help(&HANDLERS).into_response(),
    },
    Handler {
        path: "/clusters",
        help: "upstream cluster status (?format=json)",
        mutates: false,
        answer: clusters,
    },
    Handler {
        path: "/config_dump",
        help: "dump current Envoy configs",
        mutates: false,
        answer: |served, _| config_dump(served),
    },
    Handler {
        path: "/help",
        help: "print out list of admin commands",
        mutates: false,
        answer: |_, _| help(&HANDLERS).into_response(),
    },
    Handler {
        path: "/listeners",
        help: "print listener info (?format=json)",
        mutates: false,
        answer: listeners,
    },
    Handler {
        path: "/quitquitquit",
        help: "exit the server",
        mutates: true,
        answer: |served, _| {
            served.lifecycle.stop(Stop::AtOnce);
            "OK\n".into_response()
        },
    },
    Handler {
        path: "/ready",
        help: "print server state, return 200 if LIVE, otherwise return 503",
        mutates: false,
        answer: |served, _| ready(&served.lifecycle),
    },
    Handler {
        path: "/reopen_logs",
        help: "reopen access logs",
        mutates: true,
        answer: |served, _| {
            served.reopen.ask();
            "OK\n".into_response()
        },
    },
    Handler {
        path: "/reset_counters",
        help: "reset all counters to zero",
        mutates: true,
        answer: |served, _| export::reset_counters(&served.store),
    },
    Handler {
        path: "/server_info",
        help: "print server version/status information",
        mutates: false,
        answer: |served, _| server_info(served),
    },
    Handler {
        path: "/stats",
        help: "print server stats",
        mutates: false,
        answer: |served, parameters| {
            served.flush_if_asked();
            export::answer(&served.store, Vec::new(), parameters)
        },
    },
    Handler {
        path: "/stats/prometheus",
        help: "print server stats in prometheus format",
        mutates: false,
        answer: |served, parameters| {
            served.flush_if_asked();
            export::prometheus(&served.store, Vec::new(), parameters)
        },
    },
    Handler {
        path: "/stats/recentlookups",
        help: "Show recent stat-name lookups",
        mutates: false,
        answer: |_, _| export::recent_lookups(None),
    },
    Handler {
        path: "/logging",
        help: "query/change logging levels (?level=<level>)",
        mutates: true,
        answer: |served, parameters| super::logging::of(served.log.as_ref(), parameters),
    },
];

impl Served {
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
    dispatch(&HANDLERS, &served, &parameters, &request)
}

fn page(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn server_info(served: &Served) -> Response {
    let uptime = format!("{}s", served.lifecycle.started().elapsed().as_secs());
    let value = json!({
        "version": concat!("fairlead-proxy/", env!("CARGO_PKG_VERSION")),
        "state": served.lifecycle.state().to_string(),
        "hot_restart_version": "disabled",
        "command_line_options": { "concurrency": served.concurrency, "mode": "Serve" },
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
    });
    json_page(&value)
}

fn listeners(served: &Served, parameters: &Parameters) -> Response {
    let listeners = served.plane.listeners.load();
    if is_json(parameters) {
        let statuses: Vec<Value> = listeners
            .all
            .iter()
            .map(|active| {
                let addresses: Vec<Value> = active.addresses.iter().map(address).collect();
                let mut status = json!({
                    "name": &*active.current().name,
                    "local_address": addresses.first(),
                });
                if addresses.len() > 1 {
                    status["additional_local_addresses"] = addresses[1..].into();
                }
                status
            })
            .collect();
        return json_page(&json!({ "listener_statuses": statuses }));
    }
    let mut text = String::new();
    for active in &listeners.all {
        for address in &active.addresses {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}::{address}", active.current().name);
        }
    }
    text.into_response()
}

fn address(address: &std::net::SocketAddr) -> Value {
    json!({
        "socket_address": { "address": address.ip().to_string(), "port_value": address.port() },
    })
}

fn clusters(served: &Served, parameters: &Parameters) -> Response {
    let clusters = served.plane.clusters.load();
    let mut names: Vec<_> = clusters.keys().collect();
    names.sort();
    if is_json(parameters) {
        let statuses: Vec<Value> = names
            .iter()
            .map(|name| {
                let cluster = &clusters[*name];
                let endpoints = cluster.endpoints();
                let hosts: Vec<Value> = endpoints
                    .endpoints()
                    .map(|endpoint| {
                        let status = endpoint.health_status().name();
                        let mut host = json!({
                            "address": address(&endpoint.address),
                            "health_status": { "eds_health_status": status },
                            "weight": endpoint.attributes.weight,
                            "locality": {},
                        });
                        if !endpoint.attributes.hostname.is_empty() {
                            host["hostname"] = (&*endpoint.attributes.hostname).into();
                        }
                        if endpoint.priority > 0 {
                            host["priority"] = endpoint.priority.into();
                        }
                        host
                    })
                    .collect();
                let mut status = json!({
                    "name": &**name,
                    "observability_name": &*cluster.config.stat_name,
                });
                if !hosts.is_empty() {
                    status["host_statuses"] = hosts.into();
                }
                status
            })
            .collect();
        return json_page(&json!({ "cluster_statuses": statuses }));
    }
    let mut text = String::new();
    for name in names {
        let cluster = &clusters[name];
        let stat_name = &cluster.config.stat_name;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}::observability_name::{stat_name}");
        for endpoint in cluster.endpoints().endpoints() {
            let at = format!("{name}::{}", endpoint.address);
            let flags: String = endpoint.health_flags().collect();
            let flags = if flags.is_empty() { "healthy" } else { &flags };
            let attributes = &endpoint.attributes;
            let _ = writeln!(text, "{at}::cx_active::{}", endpoint.state().active());
            let _ = writeln!(text, "{at}::hostname::{}", attributes.hostname);
            let _ = writeln!(text, "{at}::health_flags::{flags}");
            let _ = writeln!(text, "{at}::weight::{}", attributes.weight);
            let _ = writeln!(text, "{at}::region::{}", endpoint.locality.region);
            let _ = writeln!(text, "{at}::zone::{}", endpoint.locality.zone);
            let _ = writeln!(text, "{at}::sub_zone::{}", endpoint.locality.sub_zone);
            let _ = writeln!(text, "{at}::canary::false");
            let _ = writeln!(text, "{at}::priority::{}", endpoint.priority);
        }
        let _ = writeln!(text, "{name}::added_via_api::false");
    }
    text.into_response()
}

fn config_dump(served: &Served) -> Response {
    let bootstrap = served.bootstrap.decoded();
    let since = served.started.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    let updated = Some(Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: 0,
    });
    let resources = bootstrap.static_resources.clone().unwrap_or_default();
    let clusters = resources.clusters.iter().map(|cluster| StaticCluster {
        cluster: Some(any(cluster)),
        last_updated: updated,
    });
    let clusters = ClustersConfigDump {
        static_clusters: clusters.collect(),
        ..ClustersConfigDump::default()
    };
    let listeners = resources.listeners.iter().map(|listener| StaticListener {
        listener: Some(any(listener)),
        last_updated: updated,
    });
    let listeners = ListenersConfigDump {
        static_listeners: listeners.collect(),
        ..ListenersConfigDump::default()
    };
    let whole = BootstrapConfigDump {
        bootstrap: Some(bootstrap),
        last_updated: updated,
    };
    let dump = ConfigDump {
        configs: vec![any(&whole), any(&clusters), any(&listeners)],
    };
    match message_to_json(&dump, Layout::Pretty, Secrets::Redact) {
        Ok(text) => page(text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

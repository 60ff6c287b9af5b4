//! The application's probes and hooks → requests to the proxy's status port.
//!
//! The kubelet cannot pass the redirect as the application's peers do, so it asks the proxy, which
//! asks the application: it gets each original, with the port as a number, in its environment.
//! `exec` runs inside of the container and `sleep` asks nobody; both stay, as does a probe of another
//! host, which never meets this pod.

use std::collections::BTreeMap;

use fairlead_api::{
    app_probes::{self, AppProbe, Check, Grpc, Handler, HttpGet, Scheme, TcpSocket},
    names::{INIT_CONTAINER, PROXY_CONTAINER, env},
};
use serde_json::{Map, Value, json};

use super::{CONTAINERS, Fault, INIT_CONTAINERS, Status, variable};
use crate::pod;

/// Of the names of a container's ports.
const NAMED: usize = 16;

/// What becomes of a pod's probes and hooks.
#[derive(Debug, Default)]
pub(super) struct Probes {
    originals: BTreeMap<String, AppProbe>,
    changes: Vec<Change>,
}

/// One that is to ask the status port.
#[derive(Debug)]
struct Change {
    list: &'static str,
    container: String,
    check: Check,
    http_get: Value,
}

impl Probes {
    /// Looks at all containers that are not ours.
    pub(super) fn of(
        pod: &Value,
        previous: &Status,
        native: bool,
        status_port: u16,
        faults: &mut Vec<Fault>,
        warnings: &mut Vec<String>,
    ) -> Self {
        let earlier = earlier(pod, previous);
        let mut probes = Self::default();
        for (list, container) in asked_after_the_proxy(pod, previous, native) {
            for check in Check::ALL {
                let Some(handler) = handler(container, check) else {
                    continue;
                };
                let name = pod::name(container);
                let rewriter = Rewriter {
                    container,
                    status_port,
                    path: check.path(name),
                    earlier: &earlier,
                };
                match rewriter.rewrite(handler) {
                    Ok(Outcome::Stays) => {}
                    Ok(Outcome::OtherHost(host)) => warnings.push(format!(
                        "container {name}: {} asks the host {host} from the node, not this pod; \
                         remove the host to ask the container",
                        check.fields().join(".")
                    )),
                    Ok(Outcome::Rewritten { handler, http_get }) => {
                        let timeout_seconds = timeout_seconds(container, check);
                        let probe = AppProbe {
                            handler,
                            timeout_seconds,
                        };
                        probes.originals.insert(rewriter.path, probe);
                        probes.changes.push(Change {
                            list,
                            container: name.to_owned(),
                            check,
                            http_get,
                        });
                    }
                    Err(reason) => faults.push(Fault::Probe {
                        container: name.to_owned(),
                        probe: check.fields().join("."),
                        reason,
                    }),
                }
            }
        }
        probes
    }

    /// What the proxy reads; empty if there is nothing to ask.
    pub(super) fn text(&self) -> String {
        if self.originals.is_empty() {
            return String::new();
        }
        app_probes::text(&self.originals)
    }

    /// Points them at the status port.
    pub(super) fn apply(&self, pod: &mut Value) {
        for change in &self.changes {
            let containers = pod
                .pointer_mut(&format!("/spec/{}", change.list))
                .and_then(Value::as_array_mut);
            let mut containers = containers.into_iter().flatten();
            let container = containers.find(|c| pod::name(c) == change.container);
            let path = format!("/{}", change.check.fields().join("/"));
            let found = container.and_then(|c| c.pointer_mut(&path)?.as_object_mut());
            if let Some(handler) = found {
                for kind in ["tcpSocket", "grpc"] {
                    handler.remove(kind);
                }
                handler.insert("httpGet".to_owned(), change.http_get.clone());
            }
        }
    }
}

/// The containers whose probes begin when the proxy runs, each with its list. An init container that
/// starts before the proxy would wait for an answer that cannot come; nothing is captured then yet.
fn asked_after_the_proxy<'a>(
    pod: &'a Value,
    previous: &Status,
    native: bool,
) -> impl Iterator<Item = (&'static str, &'a Value)> {
    let init_containers = pod::list(pod, INIT_CONTAINERS);
    let first = if native {
        // One of the author's own goes to the front.
        let proxy =
            |c: &Value| pod::name(c) == PROXY_CONTAINER && previous.has_container(PROXY_CONTAINER);
        init_containers.iter().position(proxy).map_or(0, |p| p + 1)
    } else {
        init_containers.len()
    };
    let init_containers = init_containers[first..].iter();
    let containers = pod::list(pod, CONTAINERS).iter();
    init_containers
        .map(|container| (INIT_CONTAINERS, container))
        .chain(containers.map(|container| (CONTAINERS, container)))
        .filter(|(_, c)| ![INIT_CONTAINER, PROXY_CONTAINER].contains(&pod::name(c)))
}

fn handler(container: &Value, check: Check) -> Option<&Map<String, Value>> {
    pod::at(container, check.fields())?.as_object()
}

/// Written out, so that it is the same when the API server has filled in the default of a second. A
/// hook has none.
fn timeout_seconds(container: &Value, check: Check) -> Option<u32> {
    if check.is_hook() {
        return None;
    }
    let seconds = handler(container, check)?.get("timeoutSeconds");
    let seconds = seconds.and_then(Value::as_u64).unwrap_or_default();
    Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
}

/// The originals that an earlier injection has handed to the proxy.
fn earlier(pod: &Value, previous: &Status) -> BTreeMap<String, AppProbe> {
    let text = variable(pod, previous, env::APP_PROBERS);
    text.and_then(|text| app_probes::parse(text).ok())
        .unwrap_or_default()
}

/// What becomes of one probe.
enum Outcome {
    Stays,
    OtherHost(String),
    Rewritten { handler: Handler, http_get: Value },
}

struct Rewriter<'a> {
    container: &'a Value,
    status_port: u16,
    path: String,
    earlier: &'a BTreeMap<String, AppProbe>,
}

impl Rewriter<'_> {
    fn rewrite(&self, handler: &Map<String, Value>) -> Result<Outcome, String> {
        if let Some(http) = object(handler, "httpGet") {
            return self.http(http);
        }
        if let Some(tcp) = object(handler, "tcpSocket") {
            if let Some(host) = host(tcp) {
                return Ok(Outcome::OtherHost(host.to_owned()));
            }
            let port = self.port(tcp)?;
            return Ok(self.ask(Handler::TcpSocket(TcpSocket { port }), Map::new()));
        }
        if let Some(grpc) = object(handler, "grpc") {
            let service = text(grpc, "service").to_owned();
            let port = self.port(grpc)?;
            return Ok(self.ask(Handler::Grpc(Grpc { port, service }), Map::new()));
        }
        Ok(Outcome::Stays)
    }

    fn http(&self, http: &Map<String, Value>) -> Result<Outcome, String> {
        if let Some(host) = host(http) {
            return Ok(Outcome::OtherHost(host.to_owned()));
        }
        let path = text(http, "path");
        if path == self.path {
            let Some(probe) = self.earlier.get(path) else {
                return Err(format!(
                    "asks {path} of the proxy, which does not know the original any more (copied \
                     from an injected pod?); write the original"
                ));
            };
            return Ok(self.ask(probe.handler.clone(), http.clone()));
        }
        let original = HttpGet {
            port: self.port(http)?,
            path: path.to_owned(),
            scheme: match text(http, "scheme") {
                "HTTPS" => Scheme::Https,
                _ => Scheme::Http,
            },
        };
        Ok(self.ask(Handler::HttpGet(original), http.clone()))
    }

    /// The headers go to the proxy, which passes them on.
    fn ask(&self, handler: Handler, mut http_get: Map<String, Value>) -> Outcome {
        http_get.insert("path".to_owned(), json!(self.path));
        http_get.insert("port".to_owned(), json!(self.status_port));
        http_get.insert("scheme".to_owned(), json!("HTTP"));
        let http_get = Value::Object(http_get);
        Outcome::Rewritten { handler, http_get }
    }

    /// A number, or the name of a port of the same container, as the kubelet reads it.
    fn port(&self, handler: &Map<String, Value>) -> Result<u16, String> {
        let number = |number: u64| u16::try_from(number).ok().filter(|port| *port > 0);
        let port = handler.get("port").unwrap_or(&Value::Null);
        if let Some(found) = port.as_u64().and_then(number) {
            return Ok(found);
        }
        let Some(name) = port.as_str() else {
            return Err(format!(
                "has the port {port}; a number from 1 to 65535 or the name of a port is accepted"
            ));
        };
        let ports = self.container.get("ports").and_then(Value::as_array);
        let ports = ports.map_or(&[][..], Vec::as_slice);
        let declared = ports.iter().find(|port| pod::name(port) == name);
        let declared = declared.and_then(|port| port.get("containerPort")?.as_u64());
        let written = || name.parse().ok();
        if let Some(found) = declared.or_else(written).and_then(number) {
            return Ok(found);
        }
        let names: Vec<&str> = ports
            .iter()
            .map(pod::name)
            .filter(|name| !name.is_empty())
            .take(NAMED)
            .collect();
        let known = if names.is_empty() {
            "no port with a name".to_owned()
        } else {
            format!("the names {}", names.join(", "))
        };
        Err(format!(
            "names the port '{name}', but its container declares {known}; name one of its ports, \
             or write the number"
        ))
    }
}

fn object<'a>(handler: &'a Map<String, Value>, kind: &str) -> Option<&'a Map<String, Value>> {
    handler.get(kind)?.as_object()
}

fn text<'a>(object: &'a Map<String, Value>, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or("")
}

/// The host that the kubelet asks in place of the pod.
fn host(handler: &Map<String, Value>) -> Option<&str> {
    Some(text(handler, "host")).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests;

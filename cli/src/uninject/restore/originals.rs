//! What an injection has not added but changed. Of probes, hooks and the pages of metrics the proxy is
//! told in its environment, and from there they come back; containers of the author's own that were
//! merged with the injected ones are in an annotation.

use std::collections::BTreeMap;

use fairlead_api::{
    annotations::prometheus,
    app_metrics::{AppMetrics, DEFAULT_PATH, MERGED_PATH, Target},
    app_probes::{self, AppProbe, Check, Handler, Scheme},
    names::{OVERRIDES, PROXY_CONTAINER, env},
};
use serde_json::{Map, Value, json};

use super::{annotation, object};

const LISTS: [&str; 2] = ["initContainers", "containers"];

/// Points probes, hooks and metrics of a pod back at the application; tells whether it has metrics.
pub(super) fn bring_back(pod: &mut Value) -> bool {
    let probes = variable(pod, env::APP_PROBERS).map(app_probes::parse);
    let metrics = variable(pod, env::PROMETHEUS_ANNOTATIONS).map(AppMetrics::parse);
    if let Some(Ok(probes)) = probes {
        bring_probes_back(pod, &probes);
    }
    matches!(metrics, Some(Ok(metrics)) if bring_metrics_back(pod, &metrics))
}

/// The network that the proxy was told to be in.
pub(super) fn network(pod: &Value) -> Option<&str> {
    variable(pod, &format!("{}NETWORK", env::META_PREFIX))
}

/// Puts the author's own containers back, last in their lists.
pub(super) fn bring_overrides_back(pod: &mut Value) {
    let overrides = annotation(pod, OVERRIDES).map(serde_json::from_str::<Value>);
    let Some(Ok(overrides)) = overrides else {
        return;
    };
    let Some(spec) = object(pod, "/spec") else {
        return;
    };
    for list in LISTS {
        let own = overrides.get(list).and_then(Value::as_array);
        let Some(own) = own.filter(|own| !own.is_empty()) else {
            continue;
        };
        match spec.get_mut(list).and_then(Value::as_array_mut) {
            Some(containers) => containers.extend(own.iter().cloned()),
            None => {
                spec.insert(list.to_owned(), json!(own));
            }
        }
    }
}

/// A variable of the proxy's.
fn variable<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    let spec = pod.get("spec")?;
    let lists = LISTS.iter().filter_map(|list| spec.get(list)?.as_array());
    let proxy = lists.flatten().find(|c| is_named(c, PROXY_CONTAINER))?;
    let variables = proxy.get("env")?.as_array()?;
    let variable = variables.iter().find(|variable| is_named(variable, name))?;
    variable.get("value")?.as_str()
}

fn is_named(element: &Value, name: &str) -> bool {
    element.get("name").is_some_and(|found| found == name)
}

fn bring_probes_back(pod: &mut Value, originals: &BTreeMap<String, AppProbe>) {
    for list in LISTS {
        let path = format!("/spec/{list}");
        let containers = pod.pointer_mut(&path).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = container.get("name").and_then(Value::as_str);
            let name = name.unwrap_or_default().to_owned();
            for check in Check::ALL {
                let Some(original) = originals.get(&check.path(&name)) else {
                    continue;
                };
                let handler = format!("/{}", check.fields().join("/"));
                if let Some(handler) = object(container, &handler)
                    && asks(handler, &check.path(&name))
                {
                    replace(handler, &original.handler);
                }
            }
        }
    }
}

fn asks(handler: &Map<String, Value>, path: &str) -> bool {
    let asked = handler.get("httpGet").and_then(|http| http.get("path"));
    asked.is_some_and(|asked| asked == path)
}

fn replace(handler: &mut Map<String, Value>, original: &Handler) {
    let (kind, value) = match original {
        Handler::HttpGet(http) => {
            // Headers and what else is there were never moved.
            let mut value = handler.get("httpGet").cloned().unwrap_or_default();
            value["port"] = json!(http.port);
            value["path"] = json!(http.path);
            value["scheme"] = json!("HTTPS");
            if let Some(fields) = value.as_object_mut() {
                if http.path.is_empty() {
                    fields.remove("path");
                }
                if http.scheme == Scheme::Http {
                    fields.remove("scheme");
                }
            }
            ("httpGet", value)
        }
        Handler::TcpSocket(tcp) => ("tcpSocket", json!({ "port": tcp.port })),
        Handler::Grpc(grpc) if grpc.service.is_empty() => ("grpc", json!({ "port": grpc.port })),
        Handler::Grpc(grpc) => (
            "grpc",
            json!({ "port": grpc.port, "service": grpc.service }),
        ),
    };
    handler.remove("httpGet");
    handler.insert(kind.to_owned(), value);
}

/// Those that are in an annotation of their own have stayed.
fn bring_metrics_back(pod: &mut Value, metrics: &AppMetrics) -> bool {
    let [Target { port, path, scheme }] = metrics.targets.as_slice() else {
        return false;
    };
    let merged = annotation(pod, prometheus::PATH) == Some(MERGED_PATH);
    if !merged || annotation(pod, prometheus::SCRAPE_TARGETS).is_some() {
        return false;
    }
    let Some(annotations) = object(pod, "/metadata/annotations") else {
        return false;
    };
    annotations.insert(prometheus::PORT.to_owned(), json!(port.to_string()));
    if path == DEFAULT_PATH {
        annotations.remove(prometheus::PATH);
    } else {
        annotations.insert(prometheus::PATH.to_owned(), json!(path));
    }
    if *scheme == Scheme::Https {
        annotations.insert(prometheus::SCHEME.to_owned(), json!(scheme.as_str()));
    }
    true
}

//! The configuration that both are given, in the one language that both speak.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    clusters::Sizes,
    identity::{self, SPIFFE},
    scratch::Scratch,
};

const SIDECAR: &str = include_str!("sidecar.yaml");

/// The files of the run.
#[derive(Debug)]
pub(super) struct Bootstraps {
    sidecar: PathBuf,
    clusters: Vec<(usize, bool, PathBuf)>,
}

impl Bootstraps {
    pub(super) fn write(scratch: &Scratch) -> anyhow::Result<Self> {
        identity::write(scratch)?;
        let tls = common_tls_context(scratch.path());
        // What is JSON is YAML.
        let sidecar = SIDECAR.replace("COMMON_TLS_CONTEXT", &tls.to_string());
        let mut clusters = Vec::new();
        for count in Sizes::ALL {
            for with_tls in [false, true] {
                let content = with_clusters(count, with_tls.then_some(&tls));
                let name = format!("clusters-{count}-{with_tls}.json");
                clusters.push((count, with_tls, scratch.write(&name, &content.to_string())?));
            }
        }
        Ok(Self {
            sidecar: scratch.write("sidecar.yaml", &sidecar)?,
            clusters,
        })
    }

    /// Captured traffic, with and without mutual TLS.
    pub(super) fn sidecar(&self) -> &Path {
        &self.sidecar
    }

    /// So many clusters and no listener. Each number of [`Sizes`] is there.
    pub(super) fn clusters(&self, count: usize, with_tls: bool) -> &Path {
        let mut each = self.clusters.iter();
        each.find_map(|(size, tls, path)| {
            (*size == count && *tls == with_tls).then_some(path.as_path())
        })
        .expect("a file was written for each size")
    }
}

fn common_tls_context(directory: &Path) -> Value {
    let file = |name: &str| json!({ "filename": directory.join(name) });
    json!({
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            // A client's default is 1.2, which Istio raises.
            "tls_maximum_protocol_version": "TLSv1_3",
            // What Envoy offers unless it is told otherwise; said, so that both agree on the same.
            "ecdh_curves": ["X25519MLKEM768", "X25519", "P-256"],
        },
        "tls_certificates": [{
            "certificate_chain": file("certificate.pem"),
            "private_key": file("key.pem"),
        }],
        "validation_context": {
            "trusted_ca": file("ca.pem"),
            "match_typed_subject_alt_names": [
                { "san_type": "URI", "matcher": { "exact": SPIFFE } },
            ],
        },
    })
}

/// JSON, because it is read in a fraction of the time that YAML takes.
fn with_clusters(count: usize, tls: Option<&Value>) -> Value {
    let clusters: Vec<Value> = (0..count).map(|index| cluster(index, tls)).collect();
    json!({
        "admin": {
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": 15000 } },
        },
        "static_resources": { "clusters": clusters },
    })
}

/// As istiod writes them: two endpoints, circuit breakers, keepalive.
fn cluster(index: usize, tls: Option<&Value>) -> Value {
    let service = format!("service-{index}.bench.svc.cluster.local");
    let name = format!("outbound|8080||{service}");
    let endpoint = |host: usize| {
        let number = 2 * index + host;
        let address = format!("10.{}.{}.1", number / 256, number % 256);
        json!({ "endpoint": {
            "address": { "socket_address": { "address": address, "port_value": 8080 } },
        } })
    };
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": { "thresholds": [{
            "max_connections": 4_294_967_295_u32,
            "max_pending_requests": 4_294_967_295_u32,
            "max_requests": 4_294_967_295_u32,
            "max_retries": 4_294_967_295_u32,
        }] },
        "upstream_connection_options": { "tcp_keepalive": { "keepalive_time": 300 } },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [endpoint(0), endpoint(1)] }],
        },
    });
    if let Some(tls) = tls {
        cluster["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": format!("outbound_.8080_._.{service}"),
                "common_tls_context": tls,
            },
        });
    }
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cluster_has_a_name_and_endpoints_of_its_own() {
        let clusters = [0, 4_999].map(|index| cluster(index, None));
        let address = |cluster: &Value, host: usize| {
            let pointer = format!(
                "/load_assignment/endpoints/0/lb_endpoints/{host}/endpoint/address/socket_address/address"
            );
            cluster.pointer(&pointer).cloned()
        };
        assert_eq!(address(&clusters[0], 1), Some("10.0.1.1".into()));
        assert_eq!(address(&clusters[1], 1), Some("10.39.15.1".into()));
        assert_ne!(clusters[0]["name"], clusters[1]["name"]);
        assert!(clusters[0].get("transport_socket").is_none());
    }

    #[test]
    fn nothing_of_the_template_is_left_open() {
        let tls = common_tls_context(Path::new("/run"));
        let filled = SIDECAR.replace("COMMON_TLS_CONTEXT", &tls.to_string());
        let open = filled
            .lines()
            .filter(|line| !line.starts_with('#'))
            .any(|line| line.contains("COMMON_TLS"));
        assert!(!open);
    }
}

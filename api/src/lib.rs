//! What the parts of Fairlead must agree on: names, ports, annotations, configuration.
//!
//! The webhook writes these into a pod; the init program and the proxy read them there. Names and
//! meanings are Istio's wherever Istio has one, so that manifests, dashboards and habits carry over.
//!
//! - [`names`]: labels, annotations, containers, volumes, environment variables
//! - [`ports`]: the ports that the mesh takes in a pod
//! - [`values`]: port and CIDR lists, quantities, image references, log levels
//! - [`annotations`]: a pod's annotations → typed settings, or every fault at once
//! - [`mesh_config`], [`proxy_config`]: what holds for the mesh and for one proxy, and what of it travels in
//!   `PROXY_CONFIG`
//! - [`document`]: how such configuration is read and what is warned of
//! - [`nearest`]: what a misspelt name may have meant
//! - [`app_probes`], [`app_metrics`]: what the proxy asks the application on behalf of the kubelet and
//!   of Prometheus

pub mod annotations;
pub mod app_metrics;
pub mod app_probes;
pub mod document;
pub mod mesh_config;
pub mod names;
pub mod nearest;
pub mod ports;
pub mod proxy_config;
pub mod values;

//! The mesh's configuration: what Istio keeps in the ConfigMap `istio` under the key `mesh`.

use crate::{
    document::{self, Document, Fields, boolean, text},
    proxy_config::{AccessLog, Layer, choice, positive_duration},
    values::ValueError,
};

/// The key of the ConfigMap.
pub const KEY: &str = "mesh";

/// The name of the ConfigMap of a revision.
pub fn config_map(revision: &str) -> String {
    if revision == crate::names::DEFAULT_REVISION {
        "istio".to_owned()
    } else {
        format!("istio-{revision}")
    }
}

/// What holds for every pod of the mesh unless its namespace or itself says otherwise.
///
/// Of Istio's fields those that mean something to this mesh's programs; others are warned of.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshConfig {
    /// `defaultConfig` of the proxies. Below it lie `accessLogFile`, `accessLogEncoding` and
    /// `connectTimeout`, which say the same for the mesh.
    pub default_config: Layer,
    /// Whether the proxy adds the application's metrics to its own.
    pub enable_prometheus_merge: bool,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            default_config: Layer::default(),
            enable_prometheus_merge: true,
        }
    }
}

/// Istio's fields that nothing here reads.
const WITHOUT_EFFECT: [&str; 47] = [
    "accessLogFormat",
    "ca",
    "caCertificates",
    "certificates",
    "configSources",
    "defaultDestinationRuleExportTo",
    "defaultHttpRetryPolicy",
    "defaultProviders",
    "defaultServiceExportTo",
    "defaultVirtualServiceExportTo",
    "disableEnvoyListenerLog",
    "discoverySelectors",
    "dnsRefreshRate",
    "enableAutoMtls",
    "enableEnvoyAccessLogService",
    "enableTracing",
    "extensionProviders",
    "h2UpgradePolicy",
    "inboundClusterStatName",
    "inboundTrafficPolicy",
    "ingressClass",
    "ingressControllerMode",
    "ingressSelector",
    "ingressService",
    "localityLbSetting",
    "meshMTLS",
    "mixerCheckServer",
    "mixerReportServer",
    "networks",
    "outboundClusterStatName",
    "outboundTrafficPolicy",
    "pathNormalization",
    "protocolDetectionTimeout",
    "proxyHttpPort",
    "proxyInboundListenPort",
    "proxyListenPort",
    "reportBatchMaxEntries",
    "rootNamespace",
    "sdsUdsPath",
    "serviceScopeConfigs",
    "serviceSettings",
    "tcpKeepalive",
    "thriftConfig",
    "tlsDefaults",
    "trustDomain",
    "trustDomainAliases",
    "verifyCertificateAtClient",
];

impl MeshConfig {
    /// Reads the mesh's configuration.
    ///
    /// # Errors
    /// Its form, or every value that is not accepted.
    pub fn parse(text: &str) -> Result<Document<Self>, ValueError> {
        document::read(text, Self::from_fields)
    }

    fn from_fields(fields: &mut Fields<'_>) -> Self {
        let below = Layer {
            access_log: fields.take("accessLogFile", text(access_log)),
            access_log_encoding: fields.take("accessLogEncoding", choice),
            connect_timeout: fields.take("connectTimeout", positive_duration),
            ..Layer::default()
        };
        let stated = fields.nested("defaultConfig", Layer::from_fields);
        let merge = fields.take("enablePrometheusMerge", boolean);
        fields.without_effect(&WITHOUT_EFFECT);
        Self {
            default_config: stated.unwrap_or_default().over(&below),
            enable_prometheus_merge: merge.unwrap_or(true),
        }
    }
}

/// The proxy writes its log nowhere else: the node keeps it, and `kubectl logs` shows it.
fn access_log(file: &str) -> Result<AccessLog, ValueError> {
    match file {
        "" => Ok(AccessLog::Off),
        "/dev/stdout" => Ok(AccessLog::All),
        _ => Err(ValueError::new(
            "/dev/stdout (every connection) or an empty text (none) is accepted; \
             defaultConfig.accessLog knows failures, too",
        )),
    }
}

#[cfg(test)]
mod tests;

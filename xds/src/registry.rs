//! The extensions that the proxy knows by the types of their configuration, and what to do about others.
//!
//! An extension that is not known is left out with a warning, unless that could let something pass that
//! was to be refused, or send it where it was not to go: then the resource is refused.

use crate::google::protobuf::Any;

mod table;
mod typed_struct;

pub(crate) use self::typed_struct::described;
pub use self::typed_struct::unwrapped;

/// Where in the configuration an extension stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Category {
    /// `listener_filters` of a listener.
    ListenerFilter,
    /// `filters` of a filter chain.
    NetworkFilter,
    /// `http_filters` of a connection manager.
    HttpFilter,
    /// `transport_socket` of a filter chain or a cluster.
    TransportSocket,
    /// `custom_validator_config` of a TLS context.
    CertificateValidator,
    /// `cluster_type` of a cluster.
    Cluster,
    /// `load_balancing_policy` of a cluster; the first one that is known is taken.
    LoadBalancer,
    /// `typed_extension_protocol_options` of a cluster.
    ProtocolOptions,
    /// `access_log`.
    AccessLogger,
    /// `extension_filter` of an access log.
    AccessLogFilter,
    /// `custom_health_check` of a cluster.
    HealthChecker,
    /// `typed_dns_resolver_config`.
    DnsResolver,
    /// Inputs, matchers and actions of a matcher, and matchers of RBAC.
    Matcher,
    /// `bootstrap_extensions`, sinks of statistics and what else stands beside the traffic.
    Other,
}

/// An extension that the proxy knows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "the extensions are Envoy's, by their names")]
pub enum Extension {
    OriginalDst,
    OriginalSrc,
    TlsInspector,
    HttpInspector,
    ProxyProtocol,
    TcpProxy,
    SniCluster,
    Echo,
    DirectResponse,
    NetworkRbac,
    ConnectionLimit,
    NetworkLocalRateLimit,
    /// Accepted, and does nothing: what it tells others is not needed.
    MetadataExchange,
    HttpConnectionManager,
    RawBuffer,
    UpstreamTls,
    DownstreamTls,
    UpstreamProxyProtocol,
    SpiffeValidator,
    DnsCluster,
    OriginalDstCluster,
    RoundRobin,
    LeastRequest,
    Random,
    RingHash,
    Maglev,
    Subset,
    ClusterProvided,
    WrrLocality,
    HttpProtocolOptions,
    TcpProtocolOptions,
    FileAccessLog,
    StdoutAccessLog,
    StderrAccessLog,
    HickoryResolver,
    CaresResolver,
    GetaddrinfoResolver,
}

/// What to do about an extension that is not known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unknown {
    /// Refuse the resource, and keep the one before it.
    Refuse,
    /// Leave the extension out, warn once and count it.
    Warn,
}

/// The extension whose configuration `type_url` names, in this place.
#[must_use]
pub fn find(category: Category, type_url: &str) -> Option<Extension> {
    let name = message_name(type_url);
    let mut known = table::KNOWN.iter();
    known
        .find(|(place, message, _)| *place == category && *message == name)
        .map(|(_, _, extension)| *extension)
}

/// What to do about an extension of that name and type, which [`find`] does not know.
#[must_use]
pub fn unknown(category: Category, name: &str, type_url: &str) -> Unknown {
    match category {
        // Without it traffic would be readable, come from anybody, or go elsewhere.
        Category::TransportSocket
        | Category::CertificateValidator
        | Category::Cluster
        | Category::Matcher => Unknown::Refuse,
        Category::ListenerFilter | Category::NetworkFilter | Category::HttpFilter => {
            if guards(name) || guards(message_name(type_url)) {
                Unknown::Refuse
            } else {
                Unknown::Warn
            }
        }
        Category::LoadBalancer
        | Category::ProtocolOptions
        | Category::AccessLogger
        | Category::AccessLogFilter
        | Category::HealthChecker
        | Category::DnsResolver
        | Category::Other => Unknown::Warn,
    }
}

/// What a filter's name has when it decides who may pass, or runs a program that may decide it.
const GUARDS: [&str; 8] = [
    "rbac", "jwt", "wasm", "lua", "csrf", "golang", "security", "firewall",
];
const GUARD_PARTS: [&str; 4] = ["auth", "ext_proc", "externalprocessor", "dynamic_module"];

fn guards(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(['.', '_', '-']);
    words.any(|word| GUARDS.contains(&word)) || GUARD_PARTS.iter().any(|part| name.contains(part))
}

/// The name behind the last slash of a type URL.
fn message_name(type_url: &str) -> &str {
    type_url.rsplit_once('/').map_or(type_url, |(_, name)| name)
}

/// The extension in this place whose configuration `any` is, with what a `TypedStruct` holds.
#[must_use]
pub fn find_any(category: Category, any: &Any) -> Option<Extension> {
    match typed_struct::inner(any) {
        Some(inner) => find(category, &inner.type_url),
        None => find(category, &any.type_url),
    }
}

#[cfg(test)]
mod tests;

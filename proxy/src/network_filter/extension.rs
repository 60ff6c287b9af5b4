//! One filter: which it is, by the type of its configuration, and whether it may be left out.

use std::sync::Arc;

use fairlead_xds::{
    envoy::{
        config::listener::v3::{Filter, filter::ConfigType},
        extensions::filters::{
            common::set_filter_state::v3::{FilterStateValue, filter_state_value::Key},
            network::{
                connection_limit::v3::ConnectionLimit as ConnectionLimitMessage,
                direct_response::v3::Config as DirectResponseMessage, echo::v3::Echo,
                local_ratelimit::v3::LocalRateLimit as LocalRateLimitMessage,
                rbac::v3::Rbac as RbacMessage, set_filter_state::v3::Config as SetFilterState,
                sni_cluster::v3::SniCluster, tcp_proxy::v3::TcpProxy as TcpProxyMessage,
            },
        },
    },
    google::protobuf::Any,
    prost,
};

use super::{
    NetworkFilter, Surroundings, TerminalFilter,
    connection_limit::ConnectionLimit,
    direct_response::DirectResponse,
    local_ratelimit::LocalRateLimit,
    rbac::Rbac,
    tcp_proxy::TcpProxy,
    typed_struct::{TypeName, type_name},
};
use crate::compile::At;

/// A filter of a chain.
pub(super) enum Compiled<L> {
    /// It looks at connections.
    Filter(NetworkFilter),
    /// It takes them.
    Terminal(TerminalFilter<L>),
    /// It is accepted, and there is nothing to do.
    WithoutEffect,
}

/// The filter that the message asks for.
pub(super) fn compile<L>(
    at: &At<'_>,
    message: &Filter,
    surroundings: &Surroundings<'_, L>,
) -> Option<Compiled<L>> {
    let Filter { name, config_type } = message;
    let named = match name.as_str() {
        "" => at.field("name").fault("is empty"),
        _ => Some(()),
    };
    let any = match config_type {
        Some(ConfigType::TypedConfig(any)) => any,
        Some(ConfigType::ConfigDiscovery(_)) => {
            let at = at.field("config_discovery");
            return at.fault("is not supported: give the configuration as typed_config");
        }
        None => return at.required("typed_config", None),
    };
    let at = at.field("typed_config");
    let of = type_name(&at, any)?;
    let known = Known::of(&of.name);
    let compiled = match known {
        Some(known @ Known::OfIstio) => known.compile(&at, any, surroundings),
        Some(_) if of.is_structure => at.fault(format!(
            "'{}' as a structure is not supported: give it as its own type",
            of.name
        )),
        Some(known) => known.compile(&at, any, surroundings),
        None => unknown(&at, name, &of),
    };
    named.and(compiled)
}

/// The filters that are known, by the types of their configurations.
#[derive(Clone, Copy)]
enum Known {
    TcpProxy,
    SniCluster,
    Echo,
    Rbac,
    ConnectionLimit,
    LocalRateLimit,
    DirectResponse,
    /// Tells peers apart or counts what they do, which the proxy does by itself.
    OfIstio,
    SetFilterState,
    /// It counts what a protocol says, and lets it pass.
    Observer,
    Postgres,
    Http,
}

impl Known {
    fn of(type_name: &str) -> Option<Self> {
        let of_envoy = type_name.strip_prefix("envoy.extensions.filters.network.");
        Some(match of_envoy.unwrap_or(type_name) {
            "tcp_proxy.v3.TcpProxy" => Self::TcpProxy,
            "sni_cluster.v3.SniCluster" => Self::SniCluster,
            "echo.v3.Echo" => Self::Echo,
            "rbac.v3.RBAC" => Self::Rbac,
            "connection_limit.v3.ConnectionLimit" => Self::ConnectionLimit,
            "local_ratelimit.v3.LocalRateLimit" => Self::LocalRateLimit,
            "direct_response.v3.Config" => Self::DirectResponse,
            "set_filter_state.v3.Config" => Self::SetFilterState,
            "http_connection_manager.v3.HttpConnectionManager" => Self::Http,
            "postgres_proxy.v3alpha.PostgresProxy" => Self::Postgres,
            "mongo_proxy.v3.MongoProxy"
            | "mysql_proxy.v3.MySQLProxy"
            | "zookeeper_proxy.v3.ZooKeeperProxy" => Self::Observer,
            "envoy.tcp.metadataexchange.config.MetadataExchange" | "stats.PluginConfig" => {
                Self::OfIstio
            }
            _ => return None,
        })
    }

    fn compile<L>(
        self,
        at: &At<'_>,
        any: &Any,
        surroundings: &Surroundings<'_, L>,
    ) -> Option<Compiled<L>> {
        match self {
            Self::TcpProxy => {
                let message: TcpProxyMessage = at.decode(any)?;
                let filter = TcpProxy::compile(at, &message, surroundings.access_log)?;
                Some(Compiled::Terminal(TerminalFilter::TcpProxy(filter.into())))
            }
            Self::Echo => {
                let Echo {} = at.decode(any)?;
                Some(Compiled::Terminal(TerminalFilter::Echo))
            }
            Self::DirectResponse => {
                let message: DirectResponseMessage = at.decode(any)?;
                let filter = DirectResponse::compile(at, &message)?;
                Some(Compiled::Terminal(TerminalFilter::DirectResponse(filter)))
            }
            Self::SniCluster => {
                let SniCluster {} = at.decode(any)?;
                Some(Compiled::Filter(NetworkFilter::SniCluster))
            }
            Self::Rbac => {
                let message: RbacMessage = at.decode(any)?;
                let filter = Rbac::compile(at, &message)?;
                Some(Compiled::Filter(NetworkFilter::Rbac(filter.into())))
            }
            Self::ConnectionLimit => {
                let message: ConnectionLimitMessage = at.decode(any)?;
                let filter = Arc::new(ConnectionLimit::compile(at, &message)?);
                Some(Compiled::Filter(NetworkFilter::ConnectionLimit(filter)))
            }
            Self::LocalRateLimit => {
                let message: LocalRateLimitMessage = at.decode(any)?;
                let (shared, now) = (surroundings.token_buckets, surroundings.now);
                let filter = LocalRateLimit::compile(at, &message, shared, now)?;
                Some(Compiled::Filter(NetworkFilter::LocalRateLimit(filter)))
            }
            Self::OfIstio => Some(Compiled::WithoutEffect),
            Self::SetFilterState => set_filter_state(at, &at.decode(any)?),
            Self::Observer => {
                at.unsupported("is left out: what the protocol says is not counted");
                Some(Compiled::WithoutEffect)
            }
            Self::Postgres => postgres(at, &at.decode(any)?),
            Self::Http => at.fault(
                "HTTP is not carried out yet: until it is, connections can be passed on by tcp_proxy",
            ),
        }
    }
}

/// Values for other filters. Those of Envoy's own keys say where a connection goes, and how.
fn set_filter_state<L>(at: &At<'_>, message: &SetFilterState) -> Option<Compiled<L>> {
    let SetFilterState {
        on_new_connection,
        on_downstream_tls_handshake,
        on_downstream_data,
    } = message;
    let mut sound = true;
    for (name, values) in [
        ("on_new_connection", on_new_connection),
        ("on_downstream_tls_handshake", on_downstream_tls_handshake),
        ("on_downstream_data", on_downstream_data),
    ] {
        let left_out = at.each(name, values, |at, value| {
            let FilterStateValue { key, .. } = value;
            match at.required("object_key", key.as_ref())? {
                Key::ObjectKey(key) if key.starts_with("envoy.") => at.fault(format!(
                    "'{key}' is not supported: without it connections would go elsewhere"
                )),
                Key::ObjectKey(key) => {
                    at.unsupported(format!("'{key}' is not set: there is no filter state"));
                    Some(())
                }
            }
        });
        sound &= left_out.len() == values.len();
    }
    sound.then_some(Compiled::WithoutEffect)
}

/// What of `PostgresProxy` does more than to count. By hand: the crate of Envoy's messages has it not.
#[derive(Clone, Copy, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
struct PostgresProxy {
    #[prost(bool, tag = "3")]
    terminate_ssl: bool,
    #[prost(int32, tag = "4")]
    upstream_ssl: i32,
    #[prost(int32, tag = "5")]
    downstream_ssl: i32,
}

fn postgres<L>(at: &At<'_>, message: &PostgresProxy) -> Option<Compiled<L>> {
    let PostgresProxy {
        terminate_ssl,
        upstream_ssl,
        downstream_ssl,
    } = *message;
    if terminate_ssl || upstream_ssl != 0 || downstream_ssl != 0 {
        return at.fault("TLS that is begun within the protocol of Postgres is not supported");
    }
    at.unsupported("is left out: what the protocol says is not counted");
    Some(Compiled::WithoutEffect)
}

/// Filters that send connections somewhere, and cannot be left out.
const ROUTING: [&str; 9] = [
    "dubbo_proxy",
    "forward_proxy",
    "generic_proxy",
    "kafka",
    "meta_protocol",
    "redis_proxy",
    "reverse_tunnel",
    "thrift_proxy",
    "tcp_cluster_rewrite",
];

/// What the name of a filter has in it that enforces something, or that does whatever its author
/// likes.
const ENFORCING: [&str; 24] = [
    "access",
    "allow",
    "auth",
    "block",
    "cert",
    "deny",
    "dynamic_modules",
    "ext_proc",
    "firewall",
    "golang",
    "guard",
    "jwt",
    "limit",
    "lua",
    "policy",
    "quota",
    "rbac",
    "security",
    "spiffe",
    "tls",
    "token",
    "verif",
    "waf",
    "wasm",
];

/// A filter that is not known is left out only if nothing says that it may be missed.
fn unknown<L>(at: &At<'_>, name: &str, of: &TypeName) -> Option<Compiled<L>> {
    let TypeName {
        name: type_name, ..
    } = of;
    let names = [name, type_name].map(str::to_ascii_lowercase);
    let has = |parts: &[&str]| {
        let mut parts = parts.iter();
        parts.any(|part| names.iter().any(|name| name.contains(part)))
    };
    if has(&ENFORCING) {
        return at.fault(format!(
            "the filter '{name}' ({type_name}) is not supported, and may enforce security"
        ));
    }
    if has(&ROUTING) {
        return at.fault(format!(
            "the filter '{name}' ({type_name}) is not supported, and says where connections go"
        ));
    }
    at.unsupported(format!(
        "the filter '{name}' ({type_name}) is not known, and is left out"
    ));
    Some(Compiled::WithoutEffect)
}

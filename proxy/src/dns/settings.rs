//! What a cluster says of its names.

use std::{net::SocketAddr, time::Duration};

use fairlead_xds::{
    envoy::{
        config::{
            cluster::v3::{Cluster, cluster::DnsLookupFamily, cluster::RefreshRate},
            core::v3::{Address, DnsResolutionConfig, DnsResolverOptions, TypedExtensionConfig},
        },
        extensions::{
            clusters::dns::v3::{DnsCluster, dns_cluster},
            network::dns_resolver::cares::v3::CaresDnsResolverConfig,
        },
    },
    google::protobuf,
};

use super::refresh::{Backoff, Refresh};
use crate::compile::{
    At,
    values::{duration, duration_or, positive, socket_address},
};

/// Where no rate is given.
const RATE: Duration = Duration::from_secs(5);

/// How names are asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The families of addresses wanted.
    pub family: Family,
    /// Who is asked.
    pub servers: Servers,
    /// When again.
    pub refresh: Refresh,
}

/// Families of addresses, as `envoy.config.cluster.v3.Cluster.DnsLookupFamily`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// IPv6; if there is none, IPv4.
    Auto,
    /// IPv4 alone.
    V4Only,
    /// IPv6 alone.
    V6Only,
    /// IPv4; if there is none, IPv6.
    V4Preferred,
    /// Both.
    All,
}

/// Name servers.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Servers {
    /// Their addresses; none: those of `/etc/resolv.conf`.
    pub addresses: Box<[SocketAddr]>,
    /// Not over UDP.
    pub over_tcp: bool,
    /// Names are whole: the search list is not tried.
    pub no_search: bool,
    /// For the answer to one question.
    pub time_out: Option<Duration>,
    /// Questions until the name counts as not resolved.
    pub tries: Option<usize>,
}

impl Settings {
    /// Of a cluster of type STRICT_DNS or LOGICAL_DNS.
    #[expect(deprecated, reason = "control planes still say it in the older fields")]
    pub fn of_cluster(at: &At<'_>, cluster: &Cluster) -> Option<Self> {
        let servers = if let Some(resolver) = &cluster.typed_dns_resolver_config {
            servers(&at.field("typed_dns_resolver_config"), resolver)
        } else if let Some(resolution) = &cluster.dns_resolution_config {
            resolution_config(&at.field("dns_resolution_config"), resolution)
        } else {
            Some(Servers {
                addresses: addresses(at, "dns_resolvers", &cluster.dns_resolvers),
                over_tcp: cluster.use_tcp_for_dns_lookups,
                ..Servers::default()
            })
        };
        let family = family(&at.field("dns_lookup_family"), cluster.dns_lookup_family);
        let failure = cluster.dns_failure_refresh_rate.as_ref().map(
            |RefreshRate {
                 base_interval,
                 max_interval,
             }| (base_interval.as_ref(), max_interval.as_ref()),
        );
        let refresh = refresh(
            at,
            cluster.dns_refresh_rate.as_ref(),
            None,
            cluster.dns_jitter.as_ref(),
            failure,
            cluster.respect_dns_ttl,
        );
        Some(Self {
            family: family?,
            servers: servers?,
            refresh: refresh?,
        })
    }

    /// Of the cluster type `envoy.cluster.dns`; second, whether a name is one endpoint whatever its
    /// addresses, as in LOGICAL_DNS.
    pub fn of_extension(at: &At<'_>, message: &DnsCluster) -> Option<(Self, bool)> {
        let DnsCluster {
            dns_refresh_rate,
            dns_failure_refresh_rate,
            respect_dns_ttl,
            dns_jitter,
            typed_dns_resolver_config,
            dns_lookup_family,
            all_addresses_in_single_endpoint,
            dns_min_refresh_rate,
        } = message;
        let servers = match typed_dns_resolver_config {
            Some(resolver) => servers(&at.field("typed_dns_resolver_config"), resolver),
            None => Some(Servers::default()),
        };
        let family = match dns_lookup_family {
            // Unspecified, which the older field does not have; then in its order.
            0 => Some(Family::Auto),
            other => family(&at.field("dns_lookup_family"), other - 1),
        };
        let failure = dns_failure_refresh_rate.as_ref().map(
            |dns_cluster::RefreshRate {
                 base_interval,
                 max_interval,
             }| (base_interval.as_ref(), max_interval.as_ref()),
        );
        let refresh = refresh(
            at,
            dns_refresh_rate.as_ref(),
            dns_min_refresh_rate.as_ref(),
            dns_jitter.as_ref(),
            failure,
            *respect_dns_ttl,
        );
        let settings = Self {
            family: family?,
            servers: servers?,
            refresh: refresh?,
        };
        Some((settings, *all_addresses_in_single_endpoint))
    }
}

impl Servers {
    /// What a bootstrap says of all clusters is not done: where it names servers, or how these are asked,
    /// names would lead elsewhere.
    pub fn refuse_for_all(
        at: &At<'_>,
        resolver: Option<&TypedExtensionConfig>,
        resolution: Option<&DnsResolutionConfig>,
        over_tcp: bool,
    ) {
        let (at, servers) = if let Some(resolver) = resolver {
            let at = at.field("typed_dns_resolver_config");
            let servers = servers(&at, resolver);
            (at, servers)
        } else if let Some(resolution) = resolution {
            let at = at.field("dns_resolution_config");
            let servers = resolution_config(&at, resolution);
            (at, servers)
        } else {
            let servers = Self {
                over_tcp,
                ..Self::default()
            };
            (at.field("use_tcp_for_dns_lookups"), Some(servers))
        };
        match servers {
            Some(Self {
                addresses,
                over_tcp,
                no_search,
                time_out: _,
                tries: _,
            }) if !addresses.is_empty() || over_tcp || no_search => at.fault(
                "is not supported for all clusters: give each that asks for names its own \
                 typed_dns_resolver_config",
            ),
            Some(servers) if servers != Self::default() => {
                at.unsupported(
                    "is not done for all clusters, but for those that say it themselves",
                );
                None
            }
            _ => None::<()>,
        };
    }
}

fn family(at: &At<'_>, number: i32) -> Option<Family> {
    match DnsLookupFamily::try_from(number) {
        Ok(DnsLookupFamily::Auto) => Some(Family::Auto),
        Ok(DnsLookupFamily::V4Only) => Some(Family::V4Only),
        Ok(DnsLookupFamily::V6Only) => Some(Family::V6Only),
        Ok(DnsLookupFamily::V4Preferred) => Some(Family::V4Preferred),
        Ok(DnsLookupFamily::All) => Some(Family::All),
        Err(_) => at.fault(format!("{number} is no family")),
    }
}

type FailureRate<'a> = (
    Option<&'a protobuf::Duration>,
    Option<&'a protobuf::Duration>,
);

fn refresh(
    at: &At<'_>,
    rate: Option<&protobuf::Duration>,
    least: Option<&protobuf::Duration>,
    jitter: Option<&protobuf::Duration>,
    failure: Option<FailureRate<'_>>,
    respect_ttl: bool,
) -> Option<Refresh> {
    let at_least = |name: &str, value: Option<&protobuf::Duration>, least, default| {
        let Some(value) = value else {
            return Some(default);
        };
        let at = at.field(name);
        match duration(&at, value)? {
            short if short < least => at.fault(format!("is shorter than {least:?}")),
            rate => Some(rate),
        }
    };
    let rate = at_least("dns_refresh_rate", rate, Duration::from_millis(1), RATE);
    let second = Duration::from_secs(1);
    let least = at_least("dns_min_refresh_rate", least, second, RATE);
    let jitter = duration_or(at, "dns_jitter", jitter, Duration::ZERO);
    let failure = match failure {
        Some((base, most)) => backoff(&at.field("dns_failure_refresh_rate"), base, most).map(Some),
        None => Some(None),
    };
    Some(Refresh {
        rate: rate?,
        respect_ttl,
        least: least?,
        jitter: jitter?,
        failure: failure?,
    })
}

fn backoff(
    at: &At<'_>,
    base: Option<&protobuf::Duration>,
    most: Option<&protobuf::Duration>,
) -> Option<Backoff> {
    let base = at.required("base_interval", base);
    let base = base.and_then(|base| positive(&at.field("base_interval"), base));
    let most = match most {
        Some(most) => Some(positive(&at.field("max_interval"), most)?),
        None => None,
    };
    let base = base?;
    let most = most.unwrap_or(base * 10);
    if most < base {
        return at
            .field("max_interval")
            .fault("is shorter than base_interval");
    }
    Some(Backoff { base, most })
}

fn addresses(at: &At<'_>, name: &str, messages: &[Address]) -> Box<[SocketAddr]> {
    at.each(name, messages, socket_address).into()
}

fn resolution_config(at: &At<'_>, message: &DnsResolutionConfig) -> Option<Servers> {
    let DnsResolutionConfig {
        resolvers,
        dns_resolver_options,
    } = message;
    let options = dns_resolver_options.as_ref();
    Some(with_options(addresses(at, "resolvers", resolvers), options))
}

fn with_options(addresses: Box<[SocketAddr]>, options: Option<&DnsResolverOptions>) -> Servers {
    let DnsResolverOptions {
        use_tcp_for_dns_lookups,
        no_default_search_domain,
    } = options.copied().unwrap_or_default();
    Servers {
        addresses,
        over_tcp: use_tcp_for_dns_lookups,
        no_search: no_default_search_domain,
        ..Servers::default()
    }
}

/// Envoy's resolvers differ in the library that asks; here there is one.
fn servers(at: &At<'_>, resolver: &TypedExtensionConfig) -> Option<Servers> {
    let any = at.required("typed_config", resolver.typed_config.as_ref())?;
    let at = at.field("typed_config");
    let kind = any.type_url.rsplit('/').next().unwrap_or_default();
    match kind {
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig" => {
            cares(&at, &at.decode::<CaresDnsResolverConfig>(any)?)
        }
        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
        | "envoy.extensions.network.dns_resolver.hickory.v3.HickoryDnsResolverConfig"
        | "envoy.extensions.network.dns_resolver.apple.v3.AppleDnsResolverConfig" => {
            at.unsupported(format!("{kind}: the servers of /etc/resolv.conf are asked"));
            Some(Servers::default())
        }
        _ => at.fault(format!("the resolver {kind} is not supported")),
    }
}

fn cares(at: &At<'_>, message: &CaresDnsResolverConfig) -> Option<Servers> {
    let CaresDnsResolverConfig {
        resolvers,
        use_resolvers_as_fallback,
        // Families that the host cannot route to fail when they are connected to.
        filter_unroutable_families: _,
        dns_resolver_options,
        // How the library has its sockets.
        udp_max_queries: _,
        query_timeout_seconds,
        query_tries,
        rotate_nameservers,
        edns0_max_payload_size: _,
        max_udp_channel_duration: _,
        reinit_channel_on_timeout: _,
        qcache_max_ttl: _,
    } = message;
    if *use_resolvers_as_fallback {
        at.field("use_resolvers_as_fallback")
            .unsupported("the servers named here are asked alone");
    }
    if *rotate_nameservers {
        at.field("rotate_nameservers")
            .unsupported("the server that answers fastest is asked");
    }
    let addresses = addresses(at, "resolvers", resolvers);
    Some(Servers {
        time_out: query_timeout_seconds.map(|seconds| Duration::from_secs(seconds.value.max(1))),
        tries: query_tries.map(|tries| usize::try_from(tries.value).unwrap_or(usize::MAX).max(1)),
        ..with_options(addresses, dns_resolver_options.as_ref())
    })
}

#[cfg(test)]
mod tests;

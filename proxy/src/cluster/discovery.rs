//! Where the endpoints of a cluster come from.

use std::{net::SocketAddr, path::PathBuf};

use fairlead_xds::{
    envoy::{
        config::{
            cluster::v3::{
                Cluster,
                cluster::{
                    ClusterDiscoveryType, CustomClusterType, DiscoveryType, EdsClusterConfig,
                    LbConfig, OriginalDstLbConfig,
                },
            },
            core::v3::{ConfigSource, PathConfigSource, config_source::ConfigSourceSpecifier},
        },
        extensions::clusters::{dns::v3::DnsCluster, original_dst::v3::OriginalDstCluster},
        r#type::metadata::v3::MetadataKey,
    },
    google::protobuf::UInt32Value,
};

use super::assignment::{Address, Assignment};
use crate::{compile::At, dns};

/// The extension that goes wherever connections went to.
const ORIGINAL_DST: &str = "envoy.extensions.clusters.original_dst.v3.OriginalDstCluster";

/// Where the endpoints come from.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// They are given.
    Static(Assignment),
    /// They are given by names, of which each address is an endpoint.
    StrictDns(Box<(Assignment, dns::settings::Settings)>),
    /// One is given by a name, and is wherever that leads at the time.
    LogicalDns(Box<(Assignment, dns::settings::Settings)>),
    /// A connection goes where its downstream was going.
    OriginalDst {
        /// The port, if not the one that the downstream meant.
        port: Option<u16>,
    },
    /// They stand in a file.
    File {
        /// The file.
        path: PathBuf,
        /// The directory that is swapped as a whole, if that is how the file changes.
        directory: Option<PathBuf>,
        /// The name of the assignment in it.
        name: Box<str>,
    },
}

impl Discovery {
    /// What the cluster says.
    pub fn compile(at: &At<'_>, cluster: &Cluster) -> Option<Self> {
        let assigned = || {
            let at = at.field("load_assignment");
            match &cluster.load_assignment {
                Some(message) => Assignment::compile(&at, message),
                None => Some(Assignment::default()),
            }
        };
        let by_name = || Some((named(at, assigned()?)?, cluster_dns(at, cluster)?));
        let kind = match &cluster.cluster_discovery_type {
            Some(ClusterDiscoveryType::Type(kind)) => *kind,
            Some(ClusterDiscoveryType::ClusterType(custom)) => {
                return extension(at, custom, assigned);
            }
            None => 0,
        };
        match DiscoveryType::try_from(kind) {
            Ok(DiscoveryType::Static) => numeric(at, assigned()?).map(Self::Static),
            Ok(DiscoveryType::StrictDns) => by_name().map(|pair| Self::StrictDns(pair.into())),
            Ok(DiscoveryType::LogicalDns) => {
                let (assignment, settings) = by_name()?;
                logical(at, assignment).map(|one| Self::LogicalDns((one, settings).into()))
            }
            Ok(DiscoveryType::OriginalDst) => {
                none_assigned(at, cluster)?;
                match &cluster.lb_config {
                    Some(LbConfig::OriginalDstLbConfig(config)) => {
                        let OriginalDstLbConfig {
                            use_http_header,
                            http_header_name,
                            upstream_port_override,
                            metadata_key,
                        } = config;
                        original_dst(
                            &at.field("original_dst_lb_config"),
                            *use_http_header,
                            http_header_name,
                            *upstream_port_override,
                            metadata_key.as_ref(),
                        )
                    }
                    _ => Some(Self::OriginalDst { port: None }),
                }
            }
            Ok(DiscoveryType::Eds) => {
                none_assigned(at, cluster)?;
                let eds = at.required("eds_cluster_config", cluster.eds_cluster_config.as_ref())?;
                file(&at.field("eds_cluster_config"), &cluster.name, eds)
            }
            Err(_) => at
                .field("type")
                .fault(format!("{kind} is no type of a cluster")),
        }
    }

    /// Whether the cluster knows its endpoints only from the connections to them.
    pub fn is_original_dst(&self) -> bool {
        matches!(self, Self::OriginalDst { .. })
    }
}

/// Whether the message is of a cluster that goes wherever connections went to.
pub fn is_original_dst(cluster: &Cluster) -> bool {
    match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => *kind == DiscoveryType::OriginalDst as i32,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            let config = custom.typed_config.as_ref();
            config.is_some_and(|any| any.type_url.rsplit('/').next() == Some(ORIGINAL_DST))
        }
        None => false,
    }
}

fn cluster_dns(at: &At<'_>, cluster: &Cluster) -> Option<dns::settings::Settings> {
    dns::settings::Settings::of_cluster(at, cluster)
}

fn none_assigned(at: &At<'_>, cluster: &Cluster) -> Option<()> {
    match &cluster.load_assignment {
        Some(_) => at
            .field("load_assignment")
            .fault("is not for a cluster of this type"),
        None => Some(()),
    }
}

/// Endpoints of a cluster that asks nobody.
fn numeric(at: &At<'_>, assignment: Assignment) -> Option<Assignment> {
    for endpoint in assignment.localities.iter().flat_map(|one| &one.endpoints) {
        if let Address::Name(name, _) = &endpoint.address {
            return at.field("load_assignment").fault(format!(
                "'{name}' is no IP address; clusters of type STRICT_DNS and LOGICAL_DNS take names"
            ));
        }
    }
    Some(assignment)
}

/// Endpoints of a cluster that asks; addresses among them need no answer.
fn named(at: &At<'_>, assignment: Assignment) -> Option<Assignment> {
    if assignment
        .localities
        .iter()
        .all(|one| one.endpoints.is_empty())
    {
        return at.field("load_assignment").fault("names no endpoint");
    }
    Some(assignment)
}

fn logical(at: &At<'_>, assignment: Assignment) -> Option<Assignment> {
    let endpoints = assignment.localities.iter().flat_map(|one| &one.endpoints);
    if endpoints.count() != 1 {
        return at
            .field("load_assignment")
            .fault("must name one endpoint for a cluster of type LOGICAL_DNS");
    }
    Some(assignment)
}

fn extension(
    at: &At<'_>,
    custom: &CustomClusterType,
    assigned: impl Fn() -> Option<Assignment>,
) -> Option<Discovery> {
    let at_type = at.field("cluster_type");
    let any = at_type.required("typed_config", custom.typed_config.as_ref())?;
    let at_config = at_type.field("typed_config");
    match any.type_url.rsplit('/').next().unwrap_or_default() {
        "envoy.extensions.clusters.dns.v3.DnsCluster" => {
            let message = at_config.decode::<DnsCluster>(any)?;
            let settings = dns::settings::Settings::of_extension(&at_config, &message);
            let assignment = named(at, assigned()?)?;
            let (settings, single) = settings?;
            if single {
                let one = logical(at, assignment)?;
                return Some(Discovery::LogicalDns((one, settings).into()));
            }
            Some(Discovery::StrictDns((assignment, settings).into()))
        }
        ORIGINAL_DST => {
            let OriginalDstCluster {
                use_http_header,
                http_header_name,
                upstream_port_override,
                metadata_key,
            } = at_config.decode(any)?;
            original_dst(
                &at_config,
                use_http_header,
                &http_header_name,
                upstream_port_override,
                metadata_key.as_ref(),
            )
        }
        other => at_config.fault(format!("the type of cluster {other} is not supported")),
    }
}

fn original_dst(
    at: &At<'_>,
    use_http_header: bool,
    http_header_name: &str,
    port: Option<UInt32Value>,
    metadata_key: Option<&MetadataKey>,
) -> Option<Discovery> {
    if metadata_key.is_some() {
        at.field("metadata_key").fault::<()>("is not supported")?;
    }
    if use_http_header || !http_header_name.is_empty() {
        at.field("use_http_header")
            .unsupported("connections that carry no HTTP have no header");
    }
    let port = match port.map(|port| u16::try_from(port.value)) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return at.field("upstream_port_override").fault("is no port"),
    };
    Some(Discovery::OriginalDst { port })
}

fn file(at: &At<'_>, cluster: &str, message: &EdsClusterConfig) -> Option<Discovery> {
    let EdsClusterConfig {
        eds_config,
        service_name,
    } = message;
    let source = at.required("eds_config", eds_config.as_ref())?;
    let at = at.field("eds_config");
    let (path, directory) = path(&at, source)?;
    // As in Envoy: a name that is misspelt would be waited for without end.
    if !path.exists() {
        return at.field("path_config_source").field("path").fault(format!(
            "'{}' does not exist: write the endpoints there first, or none of them",
            path.display()
        ));
    }
    let name = if service_name.is_empty() {
        cluster
    } else {
        service_name
    };
    Some(Discovery::File {
        path,
        directory,
        name: name.into(),
    })
}

/// The file that a source of configuration is.
#[expect(deprecated, reason = "the older field is still written")]
fn path(at: &At<'_>, source: &ConfigSource) -> Option<(PathBuf, Option<PathBuf>)> {
    match at.required(
        "path_config_source",
        source.config_source_specifier.as_ref(),
    )? {
        ConfigSourceSpecifier::PathConfigSource(PathConfigSource {
            path,
            watched_directory,
            poll_interval: _,
        }) => {
            if path.is_empty() {
                return at
                    .field("path_config_source")
                    .field("path")
                    .fault("is empty");
            }
            let directory = watched_directory.as_ref();
            Some((
                path.into(),
                directory.map(|directory| directory.path.clone().into()),
            ))
        }
        ConfigSourceSpecifier::Path(path) if !path.is_empty() => Some((path.into(), None)),
        ConfigSourceSpecifier::Path(_) => at.field("path").fault("is empty"),
        ConfigSourceSpecifier::ApiConfigSource(_)
        | ConfigSourceSpecifier::Ads(_)
        | ConfigSourceSpecifier::Self_(_) => {
            at.fault("only files are supported yet: path_config_source")
        }
    }
}

/// The address that a connection to `original` goes to, in a cluster of type ORIGINAL_DST.
pub fn original(original: SocketAddr, port: Option<u16>) -> SocketAddr {
    SocketAddr::new(original.ip(), port.unwrap_or(original.port()))
}

#[cfg(test)]
mod tests {
    use fairlead_xds::read::{Format, UnknownFields, read_message};

    use super::*;
    use crate::compile::Findings;

    #[test]
    fn a_file_of_endpoints_must_be_there() {
        let check = |file: &str, expected: &[&str]| {
            let text = format!(
                "{{name: a, type: EDS, eds_cluster_config: {{eds_config: \
                 {{path_config_source: {{path: {file}}}}}}}}}"
            );
            let read = read_message(text.as_bytes(), Format::Yaml, UnknownFields::Refuse);
            let findings = Findings::default();
            let compiled = Discovery::compile(&findings.at("c"), &read.expect("a cluster").message);
            let told: Vec<_> = findings.faults().iter().map(ToString::to_string).collect();
            assert_eq!(told, expected);
            assert_eq!(compiled.is_some(), expected.is_empty());
        };
        check("/dev/null", &[]);
        check(
            "/nowhere/endpoints.yaml",
            &["c.eds_cluster_config.eds_config.path_config_source.path: \
                 '/nowhere/endpoints.yaml' does not exist: write the endpoints there first, or none \
                 of them"],
        );
    }
}

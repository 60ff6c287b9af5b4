//! The endpoints that clusters have now.

use std::{collections::HashMap, sync::Arc};

use fairlead_xds::{
    envoy::{
        admin::v3::{EndpointsConfigDump, endpoints_config_dump::StaticEndpointConfig},
        config::{
            core::v3::{HealthStatus, Locality, Metadata as MetadataMessage},
            endpoint::v3::{
                ClusterLoadAssignment, Endpoint as EndpointMessage, LbEndpoint,
                LocalityLbEndpoints, cluster_load_assignment::Policy, endpoint::HealthCheckConfig,
                lb_endpoint::HostIdentifier,
            },
        },
    },
    google::protobuf::{self, ListValue, Struct, UInt32Value, value::Kind},
};

use super::{super::address, any};
use crate::cluster::{
    discovery::Discovery,
    endpoint::{Endpoint, Health},
    metadata::{Metadata, Value},
    running::Cluster,
};

/// The endpoints of the clusters whose assignments are called so.
pub(super) fn dump(
    clusters: &HashMap<Box<str>, Arc<Cluster>>,
    wanted: impl Fn(&str) -> bool,
) -> EndpointsConfigDump {
    let mut clusters: Vec<&Arc<Cluster>> = clusters.values().collect();
    clusters.retain(|cluster| wanted(assignment_name(cluster)));
    clusters.sort_by(|one, other| one.config.name.cmp(&other.config.name));
    let configs = clusters.into_iter().map(|cluster| StaticEndpointConfig {
        endpoint_config: Some(any(&assignment(cluster))),
        last_updated: None,
    });
    EndpointsConfigDump {
        static_endpoint_configs: configs.collect(),
        ..EndpointsConfigDump::default()
    }
}

fn assignment_name(cluster: &Cluster) -> &str {
    match &cluster.config.discovery {
        Discovery::File { name, .. } => name,
        _ => &cluster.config.name,
    }
}

fn assignment(cluster: &Cluster) -> ClusterLoadAssignment {
    let set = cluster.endpoints();
    let mut endpoints = Vec::new();
    for (priority, of_priority) in (0..).zip(set.priorities()) {
        for here in &of_priority.localities {
            endpoints.push(LocalityLbEndpoints {
                locality: Some(Locality {
                    region: here.locality.region.to_string(),
                    zone: here.locality.zone.to_string(),
                    sub_zone: here.locality.sub_zone.to_string(),
                }),
                lb_endpoints: here.endpoints.iter().map(|one| endpoint(one)).collect(),
                load_balancing_weight: Some(UInt32Value { value: here.weight }),
                priority,
                ..LocalityLbEndpoints::default()
            });
        }
    }
    ClusterLoadAssignment {
        cluster_name: assignment_name(cluster).to_owned(),
        endpoints,
        policy: Some(Policy {
            overprovisioning_factor: Some(UInt32Value {
                value: set.overprovisioning_factor(),
            }),
            ..Policy::default()
        }),
        ..ClusterLoadAssignment::default()
    }
}

fn endpoint(endpoint: &Endpoint) -> LbEndpoint {
    let status = match endpoint.health() {
        Health::Healthy => HealthStatus::Healthy,
        Health::Degraded => HealthStatus::Degraded,
        Health::Unhealthy => HealthStatus::Unhealthy,
    };
    let attributes = &endpoint.attributes;
    let check = attributes.health_check.as_ref();
    let check = check.map(|check| HealthCheckConfig {
        address: check.address.map(address),
        hostname: check.hostname.to_string(),
        disable_active_health_check: check.disabled,
        ..HealthCheckConfig::default()
    });
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(EndpointMessage {
            address: Some(address(endpoint.address)),
            health_check_config: Some(check.unwrap_or_default()),
            hostname: attributes.hostname.to_string(),
            ..EndpointMessage::default()
        })),
        health_status: status.into(),
        metadata: metadata(endpoint),
        load_balancing_weight: Some(UInt32Value {
            value: attributes.weight,
        }),
    }
}

/// What is kept of it, which is what decides anything.
fn metadata(endpoint: &Endpoint) -> Option<MetadataMessage> {
    let attributes = &endpoint.attributes;
    let filter_metadata: HashMap<String, Struct> = [
        ("envoy.lb", &attributes.metadata),
        (
            "envoy.transport_socket_match",
            &attributes.transport_socket_match,
        ),
    ]
    .into_iter()
    .filter(|(_, metadata)| !metadata.is_empty())
    .map(|(name, metadata)| (name.to_owned(), to_struct(metadata)))
    .collect();
    (!filter_metadata.is_empty()).then(|| MetadataMessage {
        filter_metadata,
        ..MetadataMessage::default()
    })
}

fn to_struct(metadata: &Metadata) -> Struct {
    let fields = metadata.iter();
    Struct {
        fields: fields
            .map(|(name, value)| (name.to_owned(), to_value(value)))
            .collect(),
    }
}

fn to_value(value: &Value) -> protobuf::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        Value::Number(number) => Kind::NumberValue(*number),
        Value::Text(text) => Kind::StringValue(text.to_string()),
        Value::List(list) => Kind::ListValue(ListValue {
            values: list.iter().map(to_value).collect(),
        }),
        Value::Struct(metadata) => Kind::StructValue(to_struct(metadata)),
    };
    protobuf::Value { kind: Some(kind) }
}

use std::{net::SocketAddr, time::Duration};

use fairlead_xds::{
    envoy::config::{
        cluster::v3::{Cluster as Message, OutlierDetection},
        core::v3::{
            Address, HealthCheck, SocketAddress,
            address::Address as AddressKind,
            health_check::{HealthChecker, TcpHealthCheck},
            socket_address::PortSpecifier,
        },
        endpoint::v3::{
            ClusterLoadAssignment, Endpoint as EndpointMessage, LbEndpoint, LocalityLbEndpoints,
            lb_endpoint::HostIdentifier,
        },
    },
    google::protobuf::{Duration as Seconds, UInt32Value},
};
use tokio::{
    net::TcpListener,
    time::{Instant as Deadline, sleep},
};

use super::*;
use crate::{
    cluster::{
        endpoint::{Endpoint, Health},
        outlier::Outcome,
    },
    compile::Findings,
    stats::StatsConfig,
    tls::Contexts,
};

/// A sound cluster.
pub(super) fn config(message: &Message) -> ClusterConfig {
    let findings = Findings::default();
    let contexts = Contexts::new(
        |_| None,
        |_, _| Err("no secrets are read here".to_owned()),
        Box::default(),
    );
    let config = ClusterConfig::compile(&findings.at("stock"), message, None, &contexts);
    config.unwrap_or_else(|| panic!("{:?}", findings.faults()))
}

/// One endpoint, which is checked ten times a second, if at all, and ejected for an hour.
fn compiled(address: SocketAddr, checked: bool) -> Arc<ClusterConfig> {
    let seconds = |seconds| Some(Seconds { seconds, nanos: 0 });
    let interval = Some(Seconds {
        seconds: 0,
        nanos: 100_000_000,
    });
    let once = Some(UInt32Value { value: 1 });
    let address = Address {
        address: Some(AddressKind::SocketAddress(SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
            ..SocketAddress::default()
        })),
    };
    let endpoint = LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(EndpointMessage {
            address: Some(address),
            ..EndpointMessage::default()
        })),
        ..LbEndpoint::default()
    };
    let check = checked.then(|| HealthCheck {
        timeout: seconds(1),
        interval,
        no_traffic_interval: interval,
        unhealthy_threshold: once,
        healthy_threshold: once,
        health_checker: Some(HealthChecker::TcpHealthCheck(TcpHealthCheck::default())),
        ..HealthCheck::default()
    });
    let message = Message {
        name: "stock".to_owned(),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: "stock".to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: vec![endpoint],
                ..LocalityLbEndpoints::default()
            }],
            ..ClusterLoadAssignment::default()
        }),
        outlier_detection: Some(OutlierDetection {
            base_ejection_time: seconds(3600),
            max_ejection_time: seconds(3600),
            max_ejection_percent: Some(UInt32Value { value: 100 }),
            ..OutlierDetection::default()
        }),
        health_checks: check.into_iter().collect(),
        ..Message::default()
    };
    Arc::new(config(&message))
}

fn only(cluster: &Cluster) -> Arc<Endpoint> {
    cluster.endpoints().endpoints().next().unwrap().clone()
}

/// Has the endpoint fail as often as it takes.
fn fail(cluster: &Cluster) {
    for _ in 0..5 {
        cluster.outcome(&only(cluster), Outcome::ConnectFailed);
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Deadline::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Deadline::now() < deadline, "never {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_check_that_succeeds_brings_back_who_was_ejected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let store = Store::new(StatsConfig::default());
    let config = compiled(address, true);
    let kept = start(&config, None, &store);
    let endpoint = only(&kept.cluster);
    let healthy = || endpoint.health() == Health::Healthy;
    until("checked", healthy).await;
    fail(&kept.cluster);
    let counted = store.outlier_detection(&config.stat_name);
    until("ejected", || {
        counted.set().ejections_enforced_total.value() == 1
    })
    .await;
    until("back", healthy).await;
    assert_eq!(counted.set().ejections_active.value(), 0);
}

#[tokio::test]
async fn what_is_told_anew_takes_no_ejection_over_but_what_checks_found() {
    // Nobody listens there.
    let address = "127.91.7.3:9".parse().unwrap();
    let store = Store::new(StatsConfig::default());
    let (checked, unchecked) = (compiled(address, true), compiled(address, false));
    let before = start(&unchecked, None, &store);
    let endpoint = only(&before.cluster);
    fail(&before.cluster);
    until("ejected", || endpoint.health() == Health::Unhealthy).await;
    let now = start(&checked, Some(&before.cluster), &store);
    // Without a check yet: as before, but for the ejection.
    assert_eq!(only(&now.cluster).health(), Health::Healthy);
    let endpoint = only(&now.cluster);
    until("checked", || endpoint.health() == Health::Unhealthy).await;
    let again = start(&checked, Some(&now.cluster), &store);
    assert_eq!(only(&again.cluster).health(), Health::Unhealthy);
    let unwatched = start(&unchecked, Some(&again.cluster), &store);
    assert_eq!(only(&unwatched.cluster).health(), Health::Healthy);
}

use fairlead_xds::{
    envoy::{
        config::core::v3::{BackoffStrategy, ExtensionConfigSource},
        config::listener::v3::filter::ConfigType,
        extensions::filters::{
            common::set_filter_state::v3::{FilterStateValue, filter_state_value::Key},
            network::{
                connection_limit::v3::ConnectionLimit as ConnectionLimitMessage,
                direct_response::v3::Config as DirectResponseMessage,
                echo::v3::Echo,
                local_ratelimit::v3::LocalRateLimit as LocalRateLimitMessage,
                mongo_proxy::v3::MongoProxy,
                rbac::v3::Rbac as RbacMessage,
                redis_proxy::v3::RedisProxy,
                set_filter_state::v3::Config as SetFilterState,
                sni_cluster::v3::SniCluster,
                tcp_proxy::v3::{TcpProxy as TcpProxyMessage, tcp_proxy::ClusterSpecifier},
                wasm::v3::Wasm,
                zookeeper_proxy::v3::ZooKeeperProxy,
            },
        },
        r#type::v3::{Percent, TokenBucket},
    },
    google::protobuf::{Any, Duration, UInt32Value, UInt64Value},
    prost::{self, Name},
};

use super::{typed_struct::tests::structure, *};
use crate::compile::{Fault, Findings};

mod hostile;

fn packed(message: &impl Name) -> Any {
    Any {
        value: message.encode_to_vec(),
        ..of_type(&message_name(message))
    }
}

fn message_name<M: Name>(_: &M) -> String {
    M::full_name()
}

fn of_type(type_name: &str) -> Any {
    Any {
        type_url: format!("type.googleapis.com/{type_name}"),
        value: Vec::new(),
    }
}

/// A filter with the last part of its type for a name.
fn filter(any: Any) -> Filter {
    Filter {
        name: any.type_url.rsplit(['.', '/']).next().unwrap().to_owned(),
        config_type: Some(ConfigType::TypedConfig(any)),
    }
}

fn tcp_proxy() -> Filter {
    filter(packed(&TcpProxyMessage {
        stat_prefix: "p".to_owned(),
        cluster_specifier: Some(ClusterSpecifier::Cluster("c".to_owned())),
        ..TcpProxyMessage::default()
    }))
}

fn rbac() -> Filter {
    filter(packed(&RbacMessage {
        stat_prefix: "p".to_owned(),
        ..RbacMessage::default()
    }))
}

fn run(filters: &[Filter]) -> (Option<NetworkFilters<()>>, Vec<String>, Vec<String>) {
    let findings = Findings::default();
    let surroundings = Surroundings {
        access_log: &|_, _| Some(()),
        token_buckets: &SharedTokenBuckets::default(),
        now: Instant::now(),
    };
    let compiled = compile(&findings.at(""), filters, &surroundings);
    let faults = findings.faults().iter().map(Fault::to_string).collect();
    let told = findings.unsupported();
    (
        compiled,
        faults,
        told.iter().map(Fault::to_string).collect(),
    )
}

/// The names of the filters, in their order, and of the one that takes connections.
#[track_caller]
fn check(filters: &[Filter], expected: &[&str], unsupported: &[&str]) {
    let (compiled, faults, told) = run(filters);
    assert_eq!(faults, [""; 0]);
    assert_eq!(told, unsupported);
    let compiled = compiled.unwrap();
    let names = compiled.filters.iter().map(|filter| match filter {
        NetworkFilter::SniCluster => "sni_cluster",
        NetworkFilter::Rbac(_) => "rbac",
        NetworkFilter::ConnectionLimit(_) => "connection_limit",
        NetworkFilter::LocalRateLimit(_) => "local_ratelimit",
    });
    let terminal = compiled.terminal.as_ref().map(|terminal| match terminal {
        TerminalFilter::TcpProxy(_) => "tcp_proxy",
        TerminalFilter::Echo => "echo",
        TerminalFilter::DirectResponse(_) => "direct_response",
    });
    assert_eq!(names.chain(terminal).collect::<Vec<_>>(), expected);
}

#[track_caller]
fn check_faults(filters: &[Filter], expected: &[&str]) {
    let (compiled, faults, _) = run(filters);
    assert!(compiled.is_none());
    assert_eq!(faults, expected);
}

#[test]
fn filters_keep_their_order() {
    let limit = ConnectionLimitMessage {
        stat_prefix: "p".to_owned(),
        max_connections: Some(UInt64Value { value: 1 }),
        ..ConnectionLimitMessage::default()
    };
    let rate = LocalRateLimitMessage {
        stat_prefix: "p".to_owned(),
        token_bucket: Some(TokenBucket {
            max_tokens: 1,
            tokens_per_fill: None,
            fill_interval: Some(Duration {
                seconds: 1,
                nanos: 0,
            }),
        }),
        ..LocalRateLimitMessage::default()
    };
    check(
        &[
            filter(packed(&limit)),
            rbac(),
            filter(packed(&rate)),
            filter(packed(&SniCluster {})),
            tcp_proxy(),
        ],
        &[
            "connection_limit",
            "rbac",
            "local_ratelimit",
            "sni_cluster",
            "tcp_proxy",
        ],
        &[],
    );
    check(&[filter(packed(&Echo {}))], &["echo"], &[]);
    let response = filter(packed(&DirectResponseMessage::default()));
    check(&[response], &["direct_response"], &[]);
    check(&[], &[], &[]);
}

#[test]
fn the_last_filter_and_no_other_takes_the_connection() {
    let echo = || filter(packed(&Echo {}));
    check_faults(
        &[echo(), tcp_proxy()],
        &["filters[0]: the filter 'Echo' takes the connection, and must be the last of its chain"],
    );
    check_faults(
        &[rbac()],
        &["filters[0]: the filter 'RBAC' is the last of its chain, but takes no connection"],
    );
    check_faults(
        &[echo(), rbac()],
        &[
            "filters[0]: the filter 'Echo' takes the connection, and must be the last of its chain",
            "filters[1]: the filter 'RBAC' is the last of its chain, but takes no connection",
        ],
    );
    // Nobody knows whether a filter that is not known would have taken it.
    check_faults(
        &[filter(of_type("acme.Tap"))],
        &["filters[0]: the filter 'Tap' is the last of its chain, but takes no connection"],
    );
}

#[test]
fn filters_of_istio_are_accepted() {
    let of_istio = [
        "envoy.tcp.metadataexchange.config.MetadataExchange",
        "stats.PluginConfig",
    ];
    for name in of_istio {
        let structures = ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"];
        let structures = structures.map(|of| structure(of, name));
        for any in structures.into_iter().chain([of_type(name)]) {
            check(&[filter(any), tcp_proxy()], &["tcp_proxy"], &[]);
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(prost_path = "prost")]
struct Postgres {
    #[prost(string, tag = "1")]
    stat_prefix: String,
    #[prost(int32, tag = "4")]
    upstream_ssl: i32,
}

fn postgres(upstream_ssl: i32) -> Filter {
    let message = Postgres {
        stat_prefix: "p".to_owned(),
        upstream_ssl,
    };
    let name = "envoy.extensions.filters.network.postgres_proxy.v3alpha.PostgresProxy";
    filter(Any {
        value: prost::Message::encode_to_vec(&message),
        ..of_type(name)
    })
}

#[test]
fn filters_that_only_look_are_left_out_and_told() {
    let told = "filters[0].typed_config: is left out: what the protocol says is not counted";
    let mysql = of_type("envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy");
    for observer in [
        filter(packed(&MongoProxy::default())),
        filter(packed(&ZooKeeperProxy::default())),
        filter(mysql),
        postgres(0),
    ] {
        check(&[observer, tcp_proxy()], &["tcp_proxy"], &[told]);
    }
    for unknown in [
        of_type("acme.Tap"),
        structure("xds.type.v3.TypedStruct", "acme.Tap"),
    ] {
        let name = unknown.type_url.rsplit('.').next().unwrap().to_owned();
        let told = format!(
            "filters[0].typed_config: the filter '{name}' (acme.Tap) is not known, and is left out"
        );
        check(&[filter(unknown), tcp_proxy()], &["tcp_proxy"], &[&told]);
    }
}

#[track_caller]
fn check_fault(message: Filter, fault: &str) {
    check_faults(&[message, tcp_proxy()], &[&format!("filters[0].{fault}")]);
}

#[test]
fn filters_that_may_enforce_something_are_refused() {
    let named = |name: &str, type_name: &str| Filter {
        name: name.to_owned(),
        ..filter(of_type(type_name))
    };
    for (name, type_name) in [
        (
            "x",
            "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
        ),
        (
            "x",
            "envoy.extensions.filters.network.ratelimit.v3.RateLimit",
        ),
        ("x", "envoy.config.filter.network.rbac.v2.RBAC"),
        ("acme.Firewall", "acme.Config"),
        ("istio.sni_verifier", "google.protobuf.Struct"),
    ] {
        let fault = format!(
            "typed_config: the filter '{name}' ({type_name}) is not supported, and may enforce security"
        );
        check_fault(named(name, type_name), &fault);
    }
    let fault = "typed_config: the filter 'Wasm' (envoy.extensions.filters.network.wasm.v3.Wasm) is not supported, and may enforce security";
    check_fault(filter(packed(&Wasm::default())), fault);
    let wasm = "envoy.extensions.filters.network.wasm.v3.Wasm";
    let mut wasm = filter(structure("udpa.type.v1.TypedStruct", wasm));
    wasm.name = "Wasm".to_owned();
    check_fault(wasm, fault);
}

#[test]
fn filters_that_route_are_refused() {
    let fault = "typed_config: the filter 'RedisProxy' (envoy.extensions.filters.network.redis_proxy.v3.RedisProxy) is not supported, and says where connections go";
    check_fault(filter(packed(&RedisProxy::default())), fault);
    let http = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let fault = "typed_config: HTTP is not carried out yet: until it is, connections can be passed on by tcp_proxy";
    check_fault(filter(of_type(http)), fault);
    let fault = "typed_config: TLS that is begun within the protocol of Postgres is not supported";
    check_fault(postgres(1), fault);
}

#[test]
fn filter_state_of_envoy_is_refused_and_other_is_left_out() {
    let value = |key: &str| FilterStateValue {
        key: Some(Key::ObjectKey(key.to_owned())),
        ..FilterStateValue::default()
    };
    let sets = |values: Vec<_>| {
        filter(packed(&SetFilterState {
            on_new_connection: values,
            ..SetFilterState::default()
        }))
    };
    let told = "filters[0].typed_config.on_new_connection[0]: 'io.istio.x' is not set: there is no filter state";
    let of_istio = sets(vec![value("io.istio.x")]);
    check(&[of_istio, tcp_proxy()], &["tcp_proxy"], &[told]);
    let of_envoy = sets(vec![
        value("envoy.tcp_proxy.cluster"),
        FilterStateValue::default(),
    ]);
    check_faults(
        &[of_envoy, tcp_proxy()],
        &[
            "filters[0].typed_config.on_new_connection[0]: 'envoy.tcp_proxy.cluster' is not supported: without it connections would go elsewhere",
            "filters[0].typed_config.on_new_connection[1].object_key: is missing",
        ],
    );
}

#[test]
fn a_filter_has_a_name_and_a_configuration() {
    let discovered = Filter {
        name: "x".to_owned(),
        config_type: Some(ConfigType::ConfigDiscovery(ExtensionConfigSource::default())),
    };
    let fault = "config_discovery: is not supported: give the configuration as typed_config";
    check_fault(discovered, fault);
    check_faults(
        &[Filter::default(), tcp_proxy()],
        &[
            "filters[0].name: is empty",
            "filters[0].typed_config: is missing",
        ],
    );
    let structure = structure(
        "xds.type.v3.TypedStruct",
        "envoy.extensions.filters.network.rbac.v3.RBAC",
    );
    let fault = "typed_config: 'envoy.extensions.filters.network.rbac.v3.RBAC' as a structure is not supported: give it as its own type";
    check_fault(filter(structure), fault);
}

#[test]
fn the_faults_of_each_filter_are_told() {
    let broken = filter(Any {
        value: vec![0xff],
        ..packed(&Echo {})
    });
    let nothing = |any: Any| {
        filter(Any {
            value: Vec::new(),
            ..any
        })
    };
    let filters = [
        nothing(packed(&RbacMessage::default())),
        nothing(packed(&ConnectionLimitMessage::default())),
        broken,
        nothing(packed(&TcpProxyMessage::default())),
    ];
    let (compiled, faults, _) = run(&filters);
    assert!(compiled.is_none());
    let paths: Vec<_> = faults
        .iter()
        .filter_map(|fault| fault.split(": ").next())
        .collect();
    assert_eq!(
        paths,
        [
            "filters[0].typed_config.stat_prefix",
            "filters[1].typed_config.stat_prefix",
            "filters[1].typed_config.max_connections",
            "filters[2].typed_config",
            "filters[3].typed_config.stat_prefix",
            "filters[3].typed_config.cluster_specifier",
        ]
    );
}

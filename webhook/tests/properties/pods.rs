//! Pods that the API server's schema accepts and that ask for nothing impossible.

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::{select, subsequence},
};
use serde_json::{Map, Value, json};

/// A pod as the API server hands it over.
pub(crate) fn pod() -> impl Strategy<Value = Value> {
    (metadata(), spec(), unknown()).prop_map(|(metadata, spec, more)| {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {} });
        with(pod, more)
    })
}

/// Something that has some of a pod's fields, with any JSON in them.
pub(crate) fn malformed() -> impl Strategy<Value = Value> {
    (pod(), vec((select(PLACES), json_value()), 1..4)).prop_map(|(mut pod, changes)| {
        for (place, value) in changes {
            if let Some(found) = pod.pointer_mut(place) {
                *found = value;
            }
        }
        pod
    })
}

const PLACES: &[&str] = &[
    "",
    "/metadata",
    "/metadata/labels",
    "/metadata/labels/app",
    "/metadata/annotations",
    "/metadata/ownerReferences",
    "/metadata/ownerReferences/0",
    "/metadata/name",
    "/metadata/generateName",
    "/spec",
    "/spec/containers",
    "/spec/containers/0",
    "/spec/containers/0/name",
    "/spec/containers/0/ports",
    "/spec/containers/0/ports/0",
    "/spec/containers/0/env",
    "/spec/containers/0/livenessProbe",
    "/spec/containers/0/livenessProbe/httpGet",
    "/spec/containers/0/livenessProbe/httpGet/port",
    "/spec/containers/0/lifecycle",
    "/spec/containers/0/lifecycle/preStop",
    "/spec/containers/0/securityContext",
    "/spec/initContainers",
    "/spec/volumes",
    "/spec/volumes/0",
    "/spec/securityContext",
    "/spec/imagePullSecrets",
];

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = prop_oneof![
            any::<String>(),
            select(
                &[
                    "name",
                    "httpGet",
                    "port",
                    "containerPort",
                    "path",
                    "exec",
                    "value"
                ][..]
            )
            .prop_map(str::to_owned),
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(key, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn metadata() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        name().prop_map(|name| json!({ "name": name })),
        name().prop_map(|name| json!({ "generateName": format!("{name}-") })),
    ];
    let more = fields(vec![
        ("labels", labels().boxed()),
        ("annotations", annotations().boxed()),
        ("ownerReferences", owner().boxed()),
        ("creationTimestamp", Just(Value::Null).boxed()),
        ("finalizers", Just(json!(["example.com/wait"])).boxed()),
        (
            "managedFields",
            Just(json!([{ "manager": "kubectl", "fieldsV1": { "f:spec": {} } }])).boxed(),
        ),
    ]);
    (name, more, unknown()).prop_map(|(name, more, unknown)| with(with(name, more), unknown))
}

fn labels() -> impl Strategy<Value = Value> {
    let known = [
        "app",
        "version",
        "app.kubernetes.io/name",
        "app.kubernetes.io/version",
        "service.istio.io/canonical-name",
        "pod-template-hash",
        "team",
    ];
    let known = subsequence(known.to_vec(), 0..=known.len());
    (known, name())
        .prop_map(|(keys, value)| keys.into_iter().map(|key| (key, value.clone())).collect())
}

/// Each at most once, so that no two of them contradict each other.
fn annotations() -> impl Strategy<Value = Value> {
    let known = vec![
        ("sidecar.istio.io/logLevel", "debug"),
        ("sidecar.istio.io/proxyCPU", "100m"),
        ("sidecar.istio.io/proxyMemoryLimit", "1Gi"),
        (
            "sidecar.istio.io/proxyImage",
            "registry.example.com:5000/proxy:v2",
        ),
        ("sidecar.istio.io/interceptionMode", "TPROXY"),
        ("sidecar.istio.io/nativeSidecar", "false"),
        ("sidecar.istio.io/rewriteAppHTTPProbers", "false"),
        ("status.sidecar.istio.io/port", "15099"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "*"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "9090,9091"),
        (
            "traffic.sidecar.istio.io/includeOutboundIPRanges",
            "10.0.0.0/8,fd00::/8",
        ),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "25"),
        ("prometheus.istio.io/merge-metrics", "true"),
        ("kubectl.kubernetes.io/default-container", "app-0"),
        ("sidecar.istio.io/inject", "true"),
        ("example.com/note", "with \"quotes\" and ~/tildes"),
    ];
    let count = known.len();
    let prometheus = select(vec![
        json!({}),
        json!({ "prometheus.io/scrape": "true" }),
        json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "9100", "prometheus.io/path": "/m" }),
        json!({ "prometheus.io/scrape": "false", "prometheus.io/port": "9100" }),
    ]);
    (subsequence(known, 0..=count), prometheus)
        .prop_map(|(known, prometheus)| with(known.into_iter().collect(), prometheus))
}

fn owner() -> impl Strategy<Value = Value> {
    (select(&["ReplicaSet", "Job", "StatefulSet", "DaemonSet"][..]), name(), any::<bool>())
        .prop_map(|(kind, name, controller)| {
            json!([{ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "1", "controller": controller }])
        })
}

fn spec() -> impl Strategy<Value = Value> {
    let containers = vec(any::<prop::sample::Index>(), 1..4).prop_flat_map(|list| {
        (0..list.len())
            .map(|index| container("app", index))
            .collect::<Vec<_>>()
    });
    let initial = vec(any::<bool>(), 0..3).prop_flat_map(|restart| {
        let of = |(index, restart): (usize, bool)| {
            container("first", index).prop_map(move |mut container| {
                if restart {
                    container["restartPolicy"] = json!("Always");
                } else if let Some(fields) = container.as_object_mut() {
                    // Only containers that go on running have them.
                    fields.retain(|field, _| !field.ends_with("Probe") && field != "lifecycle");
                }
                container
            })
        };
        restart.into_iter().enumerate().map(of).collect::<Vec<_>>()
    });
    let more = fields(vec![
        ("initContainers", initial.prop_map(Value::from).boxed()),
        ("volumes", volumes().boxed()),
        (
            "securityContext",
            select(vec![
                json!({}),
                json!({ "runAsUser": 1000, "fsGroup": 2000 }),
            ])
            .boxed(),
        ),
        (
            "imagePullSecrets",
            select(vec![
                json!([]),
                json!([{ "name": "a" }]),
                json!([{ "name": "mesh-registry" }]),
            ])
            .boxed(),
        ),
        ("nodeSelector", Just(json!({ "disk": "fast" })).boxed()),
        (
            "tolerations",
            Just(json!([{ "operator": "Exists" }])).boxed(),
        ),
        (
            "hostAliases",
            Just(json!([{ "ip": "10.0.0.1", "hostnames": ["a", "b"] }])).boxed(),
        ),
        (
            "dnsPolicy",
            select(vec![json!("ClusterFirst"), json!("Default")]).boxed(),
        ),
        (
            "dnsConfig",
            Just(json!({ "options": [{ "name": "ndots", "value": "2" }] })).boxed(),
        ),
        ("hostNetwork", Just(json!(false)).boxed()),
        (
            "restartPolicy",
            select(vec![json!("Always"), json!("Never")]).boxed(),
        ),
        (
            "terminationGracePeriodSeconds",
            (0..600_u32).prop_map(Value::from).boxed(),
        ),
    ]);
    (containers, more, unknown()).prop_map(|(containers, more, unknown)| {
        with(with(json!({ "containers": containers }), more), unknown)
    })
}

fn volumes() -> impl Strategy<Value = Value> {
    let sources = [
        json!({ "emptyDir": {} }),
        json!({ "configMap": { "name": "a", "items": [{ "key": "k", "path": "p" }] } }),
        json!({ "downwardAPI": { "items": [{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }] } }),
        json!({ "fromTheFuture": { "a": [null, 1] } }),
    ];
    subsequence(sources.to_vec(), 0..=4).prop_map(|sources| {
        let volume = |(index, source)| with(json!({ "name": format!("volume-{index}") }), source);
        sources.into_iter().enumerate().map(volume).collect()
    })
}

/// A container with some of its fields.
pub(crate) fn container(prefix: &'static str, index: usize) -> impl Strategy<Value = Value> {
    let texts = || vec(any::<String>(), 0..3).prop_map(Value::from);
    let more = fields(vec![
        ("image", Just(json!("registry.example.com/app:1")).boxed()),
        ("command", texts().boxed()),
        ("args", texts().boxed()),
        ("env", env().boxed()),
        (
            "resources",
            select(vec![
                json!({}),
                json!({ "limits": { "cpu": "0.5", "memory": "1024Mi" } }),
            ])
            .boxed(),
        ),
        (
            "volumeMounts",
            Just(json!([
                { "name": "volume-0", "mountPath": "/a" },
                { "name": "volume-0", "mountPath": "/b", "subPath": "c" },
            ]))
            .boxed(),
        ),
        (
            "securityContext",
            select(vec![
                json!({}),
                json!({ "runAsUser": 1000, "runAsNonRoot": true }),
            ])
            .boxed(),
        ),
        ("livenessProbe", probe().boxed()),
        ("readinessProbe", probe().boxed()),
        ("startupProbe", probe().boxed()),
        ("lifecycle", lifecycle().boxed()),
        ("tty", any::<bool>().prop_map(Value::from).boxed()),
    ]);
    (more, unknown()).prop_map(move |(more, unknown)| {
        // Two ports may have one number, for two protocols.
        let container = json!({
            "name": format!("{prefix}-{index}"),
            "ports": [
                { "containerPort": 8080 + index, "name": "web" },
                { "containerPort": 53, "protocol": "UDP" },
                { "containerPort": 53, "protocol": "TCP" },
            ],
        });
        with(with(container, more), unknown)
    })
}

fn env() -> impl Strategy<Value = Value> {
    let source = select(vec![
        json!({ "value": "$(A) and more" }),
        json!({ "value": "" }),
        json!({}),
        json!({ "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }),
        json!({ "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } }),
    ]);
    vec(("[A-C]", source), 0..4).prop_map(|variables| {
        // A name may come twice: the last wins.
        variables
            .into_iter()
            .map(|(name, source)| with(json!({ "name": name }), source))
            .collect()
    })
}

fn probe() -> impl Strategy<Value = Value> {
    let timing = fields(vec![
        ("timeoutSeconds", (1..100_u32).prop_map(Value::from).boxed()),
        ("periodSeconds", (1..100_u32).prop_map(Value::from).boxed()),
        (
            "failureThreshold",
            (1..100_u32).prop_map(Value::from).boxed(),
        ),
        ("terminationGracePeriodSeconds", Just(json!(3)).boxed()),
    ]);
    let grpc = (
        port_number(),
        select(vec![json!({}), json!({ "service": "live" })]),
    )
        .prop_map(|(port, service)| json!({ "grpc": with(json!({ "port": port }), service) }));
    (prop_oneof![handler(), grpc], timing).prop_map(|(handler, timing)| with(handler, timing))
}

fn lifecycle() -> impl Strategy<Value = Value> {
    fields(vec![
        ("postStart", handler().boxed()),
        (
            "preStop",
            prop_oneof![handler(), Just(json!({ "sleep": { "seconds": 3 } }))].boxed(),
        ),
    ])
}

fn handler() -> impl Strategy<Value = Value> {
    let http = fields(vec![
        ("path", "/[a-z]{0,5}".prop_map(Value::from).boxed()),
        (
            "scheme",
            select(vec![json!("HTTP"), json!("HTTPS")]).boxed(),
        ),
        (
            "httpHeaders",
            Just(json!([{ "name": "X-A", "value": "b" }, { "name": "X-A", "value": "c" }])).boxed(),
        ),
        ("host", select(vec![json!(""), json!("10.0.0.9")]).boxed()),
    ]);
    prop_oneof![
        (port(), http)
            .prop_map(|(port, http)| json!({ "httpGet": with(json!({ "port": port }), http) })),
        port().prop_map(|port| json!({ "tcpSocket": { "port": port } })),
        Just(json!({ "exec": { "command": ["true"] } })),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    prop_oneof![port_number(), Just(json!("web")), Just(json!("8081"))]
}

fn port_number() -> impl Strategy<Value = Value> {
    (1..=u16::MAX).prop_map(Value::from)
}

fn name() -> impl Strategy<Value = String> {
    "[a-z]([-a-z0-9]{0,70}[a-z0-9])?"
}

/// Fields of a Kubernetes that is newer than this program.
fn unknown() -> impl Strategy<Value = Value> {
    option::of(json_value()).prop_map(|value| match value {
        Some(value) => json!({ "fromTheFuture": value }),
        None => json!({}),
    })
}

/// Some of these fields.
fn fields(of: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Value> {
    let maybe = |(name, value)| {
        option::of(value).prop_map(move |value: Option<Value>| value.map(|value| (name, value)))
    };
    let each: Vec<_> = of.into_iter().map(maybe).collect();
    each.prop_map(|found| found.into_iter().flatten().collect())
}

/// The fields of both objects.
fn with(mut one: Value, other: Value) -> Value {
    let other: Map<String, Value> = match other {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    if let Some(fields) = one.as_object_mut() {
        fields.extend(other);
    }
    one
}

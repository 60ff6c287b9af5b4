//! The table's rows.

use super::{
    Annotation, Section,
    Usage::{self, Decision, Layer, Metrics, NoEffect, Record, Setting},
};
use crate::{
    annotations::{
        CAP_NET_BIND_SERVICE, EXCLUDE_INBOUND_PORTS, EXCLUDE_INTERFACES,
        EXCLUDE_OUTBOUND_IP_RANGES, EXCLUDE_OUTBOUND_PORTS, INCLUDE_INBOUND_PORTS,
        INCLUDE_OUTBOUND_IP_RANGES, INCLUDE_OUTBOUND_PORTS, INTERCEPTION_MODE, KUBEVIRT_INTERFACES,
        LOG_LEVEL, MERGE_METRICS, NATIVE_SIDECAR, PROXY_CONFIG, PROXY_CPU, PROXY_CPU_LIMIT,
        PROXY_IMAGE, PROXY_MEMORY, PROXY_MEMORY_LIMIT, READINESS_FAILURES, READINESS_INITIAL_DELAY,
        READINESS_PERIOD, REROUTE_VIRTUAL_INTERFACES, REWRITE_PROBES, STATUS_PORT, TEMPLATES,
        USER_VOLUME, USER_VOLUME_MOUNT,
        prometheus::{PATH, PORT, SCHEME, SCRAPE, SCRAPE_TARGETS},
    },
    names::{
        DEFAULT_CONTAINER, DEFAULT_LOGS_CONTAINER, INJECT, MULTUS_NETWORKS, OVERRIDES, REVISION,
        STATUS,
    },
};

const BOOLEAN: &str = "`true` or `false`";
const PORTS: &str = "ports and ranges: `80,6000-6010`";
const PORTS_OR_ALL: &str = "ports and ranges: `80,6000-6010`; or `*`";
const CIDRS: &str = "CIDRs: `10.0.0.0/8,fd00::/64`";
const CIDRS_OR_ALL: &str = "CIDRs: `10.0.0.0/8,fd00::/64`; or `*`";
const INTERFACES: &str = "names of network interfaces: `eth1,net1`";
const CPU: &str = "a quantity: `100m`, `0.5`, `2`";
const MEMORY: &str = "a quantity: `64Mi`, `1Gi`";
const RESOURCES: &str = "`proxy.resources`, if the pod has none of these four";

/// Annotations by what they are about.
pub static SECTIONS: [Section; 6] = [
    Section {
        title: "Injection",
        annotations: &[
            Annotation {
                key: INJECT,
                usage: Decision,
                accepts: BOOLEAN,
                default: "by the selectors and `injection.policy`",
                effect: "whether the pod gets the sidecar; a label of the same name is stronger",
            },
            Annotation {
                key: TEMPLATES,
                usage: Setting,
                accepts: "`sidecar` or `gateway`, and overlays of `injection.templates`: `sidecar,audit`",
                default: "`injection.defaultTemplates`",
                effect: "what is laid over the pod, in this order; a gateway has the proxy, to which \
                         nothing is redirected",
            },
            Annotation {
                key: NATIVE_SIDECAR,
                usage: Setting,
                accepts: BOOLEAN,
                default: "`injection.nativeSidecar`",
                effect: "whether the proxy is a restartable init container (`true`), or stands beside \
                         the application's containers",
            },
            Annotation {
                key: PROXY_IMAGE,
                usage: Setting,
                accepts: "an image: `registry/fairlead/proxy:0.1.0`; or `auto`",
                default: "`auto`: `image.proxy`",
                effect: "the image of both injected containers",
            },
            Annotation {
                key: USER_VOLUME,
                usage: Setting,
                accepts: r#"a JSON object, name to volume: `{"cache": {"emptyDir": {}}}`"#,
                default: "",
                effect: "further volumes of the pod",
            },
            Annotation {
                key: USER_VOLUME_MOUNT,
                usage: Setting,
                accepts: r#"a JSON object, name to mount: `{"cache": {"mountPath": "/cache"}}`"#,
                default: "",
                effect: "further mounts of the proxy",
            },
        ],
    },
    Section {
        title: "Which traffic is captured",
        annotations: &[
            Annotation {
                key: INTERCEPTION_MODE,
                usage: Setting,
                accepts: "`REDIRECT`, `TPROXY` or `NONE`",
                default: "as in the proxy's configuration, or else `proxy.interceptionMode`",
                effect: "how inbound connections come to the proxy: with another destination, or \
                         unchanged; with `NONE` nothing is captured in either direction",
            },
            Annotation {
                key: INCLUDE_INBOUND_PORTS,
                usage: Setting,
                accepts: PORTS_OR_ALL,
                default: "`proxy.traffic.includeInboundPorts`",
                effect: "inbound ports that are captured; an empty list captures none",
            },
            Annotation {
                key: EXCLUDE_INBOUND_PORTS,
                usage: Setting,
                accepts: PORTS,
                default: "`proxy.traffic.excludeInboundPorts`",
                effect: "inbound ports that are not captured, where all others are",
            },
            Annotation {
                key: INCLUDE_OUTBOUND_IP_RANGES,
                usage: Setting,
                accepts: CIDRS_OR_ALL,
                default: "`proxy.traffic.includeOutboundIPRanges`",
                effect: "destinations that are captured; an empty list captures none",
            },
            Annotation {
                key: EXCLUDE_OUTBOUND_IP_RANGES,
                usage: Setting,
                accepts: CIDRS,
                default: "`proxy.traffic.excludeOutboundIPRanges`",
                effect: "destinations that are not captured",
            },
            Annotation {
                key: INCLUDE_OUTBOUND_PORTS,
                usage: Setting,
                accepts: PORTS_OR_ALL,
                default: "`proxy.traffic.includeOutboundPorts`",
                effect: "destination ports that are captured whatever the address",
            },
            Annotation {
                key: EXCLUDE_OUTBOUND_PORTS,
                usage: Setting,
                accepts: PORTS,
                default: "`proxy.traffic.excludeOutboundPorts`",
                effect: "destination ports that are not captured",
            },
            Annotation {
                key: EXCLUDE_INTERFACES,
                usage: Setting,
                accepts: INTERFACES,
                default: "",
                effect: "interfaces on which nothing is captured",
            },
            Annotation {
                key: REROUTE_VIRTUAL_INTERFACES,
                usage: Setting,
                accepts: INTERFACES,
                default: "",
                effect: "interfaces of virtual machines, whose packets are captured as outbound",
            },
            Annotation {
                key: KUBEVIRT_INTERFACES,
                usage: Setting,
                accepts: INTERFACES,
                default: "",
                effect: "the older name of `istio.io/reroute-virtual-interfaces`, which is stronger",
            },
        ],
    },
    Section {
        title: "The proxy",
        annotations: &[
            Annotation {
                key: PROXY_CONFIG,
                usage: Layer,
                accepts: "YAML or JSON: `concurrency: 4`",
                default: "`meshConfig.defaultConfig`",
                effect: "the proxy's configuration, field by field",
            },
            Annotation {
                key: LOG_LEVEL,
                usage: Setting,
                accepts: "`trace`, `debug`, `info`, `warning`, `error`, `critical` or `off`",
                default: "`proxy.logLevel`",
                effect: "the proxy's log level",
            },
            Annotation {
                key: PROXY_CPU,
                usage: Setting,
                accepts: CPU,
                default: RESOURCES,
                effect: "the CPU request of both injected containers",
            },
            Annotation {
                key: PROXY_CPU_LIMIT,
                usage: Setting,
                accepts: CPU,
                default: RESOURCES,
                effect: "their CPU limit; rounded up, the number of the proxy's threads",
            },
            Annotation {
                key: PROXY_MEMORY,
                usage: Setting,
                accepts: MEMORY,
                default: RESOURCES,
                effect: "their memory request",
            },
            Annotation {
                key: PROXY_MEMORY_LIMIT,
                usage: Setting,
                accepts: MEMORY,
                default: RESOURCES,
                effect: "their memory limit",
            },
            Annotation {
                key: CAP_NET_BIND_SERVICE,
                usage: Setting,
                accepts: BOOLEAN,
                default: "`false`",
                effect: "whether the proxy may listen on ports below 1024",
            },
        ],
    },
    Section {
        title: "Probes and metrics",
        annotations: &[
            Annotation {
                key: STATUS_PORT,
                usage: Setting,
                accepts: "a port that the mesh does not take otherwise; `0` for none",
                default: "as in the proxy's configuration, or else `15020`",
                effect: "where the proxy answers the kubelet and Prometheus",
            },
            Annotation {
                key: REWRITE_PROBES,
                usage: Setting,
                accepts: BOOLEAN,
                default: "`injection.rewriteAppHTTPProbe`",
                effect: "whether the kubelet asks the proxy in the application's place",
            },
            Annotation {
                key: READINESS_INITIAL_DELAY,
                usage: Setting,
                accepts: "a whole number",
                default: "`proxy.readinessProbe.initialDelaySeconds`",
                effect: "seconds before the proxy's first readiness probe",
            },
            Annotation {
                key: READINESS_PERIOD,
                usage: Setting,
                accepts: "a whole number above 0",
                default: "`proxy.readinessProbe.periodSeconds`",
                effect: "seconds between the proxy's readiness probes",
            },
            Annotation {
                key: READINESS_FAILURES,
                usage: Setting,
                accepts: "a whole number above 0",
                default: "`proxy.readinessProbe.failureThreshold`",
                effect: "readiness probes that fail in a row until the proxy is not ready",
            },
            Annotation {
                key: MERGE_METRICS,
                usage: Setting,
                accepts: BOOLEAN,
                default: "`meshConfig.enablePrometheusMerge`",
                effect: "whether the proxy adds the application's metrics to its own, and Prometheus \
                         is led to both",
            },
            Annotation {
                key: SCRAPE,
                usage: Metrics,
                accepts: BOOLEAN,
                default: "`false`",
                effect: "whether the application has a page of metrics to merge",
            },
            Annotation {
                key: PORT,
                usage: Metrics,
                accepts: "a port of the application",
                default: "`80`",
                effect: "the port of that page",
            },
            Annotation {
                key: PATH,
                usage: Metrics,
                accepts: "a path: `/metrics`",
                default: "`/metrics`",
                effect: "the path of that page",
            },
            Annotation {
                key: SCHEME,
                usage: Metrics,
                accepts: "`http` or `https`",
                default: "`http`",
                effect: "whether that page is served over TLS",
            },
            Annotation {
                key: SCRAPE_TARGETS,
                usage: Metrics,
                accepts: "ports with paths: `8080:/metrics,9090:/more`",
                default: "",
                effect: "further pages of metrics to merge",
            },
        ],
    },
    Section {
        title: "Written by the injector",
        annotations: &[
            record(STATUS, "what was injected, as JSON"),
            record(
                OVERRIDES,
                "what the pod's author wrote for the injected containers, as JSON",
            ),
            record(
                REVISION,
                "the revision that injected the pod; to choose one takes a label",
            ),
            record(
                MULTUS_NETWORKS,
                "of a node agent that Multus calls, the network; those of the pod's own stay",
            ),
            record(
                DEFAULT_CONTAINER,
                "the container that `kubectl exec` takes, unless the pod says it",
            ),
            record(
                DEFAULT_LOGS_CONTAINER,
                "the container that `kubectl logs` takes, unless the pod says it",
            ),
            record(
                "fairlead.io/uninject",
                "what `fairlead uninject` needs to bring the pod back",
            ),
        ],
    },
    Section {
        title: "Without effect",
        annotations: &[
            no_effect(
                "sidecar.istio.io/agentLogLevel",
                "there is no agent beside the proxy",
            ),
            no_effect(
                "sidecar.istio.io/componentLogLevel",
                "the proxy has one level, `sidecar.istio.io/logLevel`",
            ),
            no_effect(
                "sidecar.istio.io/proxyImageType",
                "there is one type of image",
            ),
            no_effect(
                "sidecar.istio.io/bootstrapOverride",
                "the proxy has no bootstrap to override",
            ),
            no_effect(
                "sidecar.istio.io/discoveryAddress",
                "the proxy asks no discovery server",
            ),
            no_effect(
                "sidecar.istio.io/controlPlaneAuthPolicy",
                "the proxy asks no control plane",
            ),
            no_effect(
                "sidecar.istio.io/enableCoreDump",
                "the proxy writes no core dumps",
            ),
            no_effect("sidecar.istio.io/extraStatTags", STATISTICS),
            no_effect("sidecar.istio.io/statsInclusionPrefixes", STATISTICS),
            no_effect("sidecar.istio.io/statsInclusionRegexps", STATISTICS),
            no_effect("sidecar.istio.io/statsInclusionSuffixes", STATISTICS),
            no_effect("sidecar.istio.io/statsHistogramBuckets", STATISTICS),
            no_effect("sidecar.istio.io/statsCompression", STATISTICS),
            no_effect("sidecar.istio.io/statsFlushInterval", STATISTICS),
            no_effect("sidecar.istio.io/statsEvictionInterval", STATISTICS),
            no_effect(
                "readiness.status.sidecar.istio.io/applicationPorts",
                "the application's readiness is its own probes' to say",
            ),
            no_effect("apm.datadoghq.com/env", "the proxy sends no traces"),
        ],
    },
];

const STATISTICS: &str = "the proxy's statistics are always all there";

const fn record(key: &'static str, effect: &'static str) -> Annotation {
    row(key, Record, effect)
}

const fn no_effect(key: &'static str, effect: &'static str) -> Annotation {
    row(key, NoEffect, effect)
}

const fn row(key: &'static str, usage: Usage, effect: &'static str) -> Annotation {
    Annotation {
        key,
        usage,
        accepts: "any text",
        default: "",
        effect,
    }
}

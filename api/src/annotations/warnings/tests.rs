use super::*;

fn map(keys: &[&str]) -> BTreeMap<String, String> {
    let pair = |key: &&str| ((*key).to_owned(), "x".to_owned());
    keys.iter().map(pair).collect()
}

fn of_pod(keys: &[&str]) -> Vec<String> {
    of(&[], keys, &[])
}

fn of_namespace(namespace: &str, key: &str) -> Vec<String> {
    let none = BTreeMap::new();
    warnings(&Written {
        labels: &none,
        annotations: &none,
        namespace,
        namespace_annotations: &map(&[key]),
    })
}

fn of(labels: &[&str], annotations: &[&str], namespace_annotations: &[&str]) -> Vec<String> {
    warnings(&Written {
        labels: &map(labels),
        annotations: &map(annotations),
        namespace: "shop",
        namespace_annotations: &map(namespace_annotations),
    })
}

#[track_caller]
fn check(key: &str, expected: Option<&str>) {
    let told = of_pod(&[key]);
    let expected = expected.map(|words| format!("annotation '{key}' {words}"));
    assert_eq!(told, Vec::from_iter(expected));
}

#[test]
fn a_misspelt_key_is_told_with_the_one_that_is_meant() {
    for (key, meant) in [
        ("sidecar.istio.io/proxycpu", "sidecar.istio.io/proxyCPU"),
        ("sidecar.istio.io/proxyCPUs", "sidecar.istio.io/proxyCPU"),
        ("sidecar.istio.io/injct", "sidecar.istio.io/inject"),
        ("sidecars.istio.io/inject", "sidecar.istio.io/inject"),
        ("sidecar.itsio.io/inject", "sidecar.istio.io/inject"),
        ("istio.io/inject", "sidecar.istio.io/inject"),
        (
            "traffic.istio.io/excludeInboundPorts",
            "traffic.sidecar.istio.io/excludeInboundPorts",
        ),
        (
            "sidecar.istio.io/excludeOutboundIpRanges",
            "traffic.sidecar.istio.io/excludeOutboundIPRanges",
        ),
        (
            "traffic.sidecar.istio.io/exludeInboundPort",
            "traffic.sidecar.istio.io/excludeInboundPorts",
        ),
        ("sidecar.istio.io/config", "proxy.istio.io/config"),
        ("sidecar.istio.io/port", "status.sidecar.istio.io/port"),
        ("proxy.istio.io/templates", "inject.istio.io/templates"),
        (
            "sidecar.istio.io/rewriteAppHTTPProbes",
            "sidecar.istio.io/rewriteAppHTTPProbers",
        ),
        (
            "prometheus.istio.io/mergeMetrics",
            "prometheus.istio.io/merge-metrics",
        ),
        ("istio.io/ref", "istio.io/rev"),
        ("fairlead.io/uninjekt", "fairlead.io/uninject"),
    ] {
        check(key, Some(&format!("is not known; is {meant} meant?")));
    }
}

#[test]
fn what_is_like_nothing_is_told_under_our_prefixes_alone() {
    for key in [
        "sidecar.istio.io/colour",
        "istio.io/x",
        "fairlead.io/colour",
    ] {
        check(key, Some("is not known and has no effect"));
    }
    for key in [
        "colour",
        "prometheus.io/probe",
        "prometheus.io/param_x",
        "example.org/proxyCPU",
        "config.linkerd.io/proxy-image",
        "cni.projectcalico.org/podIP",
        "kubectl.kubernetes.io/restartedAt",
        "checksum/config",
    ] {
        check(key, None);
    }
}

#[test]
fn those_of_istios_other_objects_are_not_told() {
    for key in [
        "ambient.istio.io/redirection",
        "ambient.istio.io/bypass-inbound-capture",
        "gateway.istio.io/managed",
        "gateway.istio.io/controller-version",
        "gateway.networking.k8s.io/gateway-name",
        "install.operator.istio.io/owning-resource",
        "istio.io/dataplane-mode",
        "istio.io/use-waypoint",
        "istio.io/use-waypoint-namespace",
        "istio.io/tag",
        "istio.io/rev",
        "networking.istio.io/exportTo",
        "networking.istio.io/tunnel",
        "operator.istio.io/component",
        "operator.istio.io/version",
        "security.istio.io/tlsMode",
        "service.istio.io/canonical-name",
        "service.istio.io/canonical-revision",
        "service.istio.io/workload-name",
        "topology.istio.io/network",
        "topology.istio.io/subzone",
    ] {
        check(key, None);
    }
}

#[test]
fn a_label_that_should_be_an_annotation_or_is_misspelt_is_told() {
    let annotation = "has no effect: it is an annotation, not a label";
    let unknown = "is not known; is sidecar.istio.io/inject meant?";
    for (key, words) in [
        ("sidecar.istio.io/proxyCPU", annotation),
        ("inject.istio.io/templates", annotation),
        ("sidecar.istio.io/injct", unknown),
    ] {
        assert_eq!(of(&[key], &[], &[]), [format!("label '{key}' {words}")]);
    }
    for key in [
        "app",
        "app.kubernetes.io/name",
        "istio.io/dataplane-mode",
        "istio.io/rev",
        "prometheus.io/scrape",
        "security.istio.io/tlsMode",
        "service.istio.io/canonical-name",
        "sidecar.istio.io/inject",
        "topology.istio.io/network",
    ] {
        assert_eq!(of(&[key], &[], &[]), Vec::<String>::new());
    }
}

#[test]
fn istios_annotations_without_effect_say_why() {
    check(
        "sidecar.istio.io/componentLogLevel",
        Some("has no effect: the proxy has one level, sidecar.istio.io/logLevel"),
    );
    check(
        "apm.datadoghq.com/env",
        Some("has no effect: the proxy sends no traces"),
    );
}

#[test]
fn a_namespace_is_told_what_it_cannot_give_its_pods() {
    for (key, words) in [
        (
            "sidecar.istio.io/inject",
            "has no effect there: namespaces have the label istio-injection",
        ),
        (
            "istio.io/rev",
            "has no effect there: namespaces have a label of this name",
        ),
        (
            "prometheus.istio.io/scrape-targets",
            "has no effect there: it is for pods",
        ),
        (
            "sidecar.istio.io/proxyCpus",
            "is not known; is sidecar.istio.io/proxyCPU meant?",
        ),
    ] {
        assert_eq!(
            of_namespace("shop", key),
            [format!("annotation '{key}' of namespace shop {words}")]
        );
    }
    for key in [
        "sidecar.istio.io/proxyCPU",
        "proxy.istio.io/config",
        "prometheus.io/scrape",
        "kubectl.kubernetes.io/last-applied-configuration",
    ] {
        assert_eq!(of_namespace("shop", key), Vec::<String>::new());
    }
}

#[test]
fn a_warning_fits_what_the_api_server_keeps() {
    let namespace = "n".repeat(63);
    let long = format!("sidecar.istio.io/{}", "é".repeat(1000));
    let keys = table::all().map(|known| known.key);
    for key in keys.chain([long.as_str(), "traffic.istio.io/excludeOutboundIpRanges"]) {
        for told in of_namespace(&namespace, key) {
            assert!(told.len() <= 256, "{told}");
        }
    }
    let many: Vec<String> = (0..1000).map(|n| format!("istio.io/{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let told = of_pod(&many);
    assert_eq!(told.len(), MOST + 1);
    assert_eq!(
        told[MOST],
        "further annotations and labels have no effect, too"
    );
    assert!(told.iter().map(String::len).sum::<usize>() <= 4096);
}

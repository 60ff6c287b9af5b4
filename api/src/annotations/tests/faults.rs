//! Every way to be wrong, with its whole message.

use super::*;

/// What is accepted, in the words of several keys.
const PORTS: &str = "a comma list of ports from 1 to 65535 and ranges such as 8000-8010 without \
                     spaces is accepted";
const CIDRS: &str =
    "a comma list of CIDRs such as 10.0.0.0/8 or fd00::/64 without spaces is accepted";
const INTERFACES: &str =
    "a comma list of interface names of at most 15 characters without spaces is accepted";
const QUANTITY: &str = "a Kubernetes quantity such as 100m, 0.5, 64Mi or 1Gi is accepted";
const STATUS: &str = "a port from 1 to 65535 that the mesh does not take (15000,15001,15004,15006,15008,\
                      15021,15053,15090) is accepted, or 0 for none";
const BOOLEAN: &str = "true or false is accepted";
const VOLUME: &str = r#"a JSON object such as {"cache": {"emptyDir": {}}} is accepted"#;
const MOUNT: &str = r#"a JSON object such as {"cache": {"mountPath": "/cache"}} is accepted"#;
const TEMPLATE: &str = "a comma list of names such as sidecar, of lower-case letters, digits and \
                        dashes, without spaces is accepted";

/// An annotation, a value, and what is said of it.
type Case = (&'static str, &'static str, String);

#[test]
fn each_fault_has_its_message() {
    let cases = [
        choices(),
        lists(),
        numbers_and_amounts(),
        documents(),
        metrics(),
    ];
    let mut messages = BTreeSet::new();
    for (key, value, reason) in cases.concat() {
        let pair = [(key, value)];
        let faults = match parse(&pair) {
            Ok(_) => prometheus::parse(&map(&pair), &[16020]).unwrap_err(),
            Err(faults) => faults,
        };
        let whole = format!("invalid value '{value}' for annotation '{key}': {reason}");
        assert_eq!(faults.to_string(), whole);
        messages.insert(whole);
    }
    assert!(messages.len() >= 45, "{}", messages.len());
}

fn choices() -> Vec<Case> {
    let mode = "REDIRECT, TPROXY or NONE is accepted";
    let level = "one of trace, debug, info, warning, error, critical, off is accepted";
    vec![
        (INTERCEPTION_MODE, "tproxy", mode.to_owned()),
        (INTERCEPTION_MODE, "", mode.to_owned()),
        (LOG_LEVEL, "loud", level.to_owned()),
        (LOG_LEVEL, "misc:error", level.to_owned()),
        (REWRITE_PROBES, "yes", BOOLEAN.to_owned()),
        (MERGE_METRICS, "no", BOOLEAN.to_owned()),
        (NATIVE_SIDECAR, "auto", BOOLEAN.to_owned()),
        (CAP_NET_BIND_SERVICE, "NET_BIND_SERVICE", BOOLEAN.to_owned()),
    ]
}

fn lists() -> Vec<Case> {
    vec![
        (
            EXCLUDE_INBOUND_PORTS,
            "80,70000",
            format!("'70000' is wrong: {PORTS}"),
        ),
        (
            EXCLUDE_INBOUND_PORTS,
            "80, 443",
            format!("' 443' is wrong: {PORTS}"),
        ),
        (EXCLUDE_INBOUND_PORTS, "*", format!("'*' is wrong: {PORTS}")),
        (
            EXCLUDE_OUTBOUND_PORTS,
            "0,6010-6000",
            format!("'0', '6010-6000' are wrong: {PORTS}"),
        ),
        (
            INCLUDE_INBOUND_PORTS,
            "*,80",
            format!("'*' is wrong: {PORTS}; or * for all"),
        ),
        (
            INCLUDE_OUTBOUND_PORTS,
            "http",
            format!("'http' is wrong: {PORTS}; or * for all"),
        ),
        (
            INCLUDE_OUTBOUND_IP_RANGES,
            "10.0.0.0/33",
            format!("'10.0.0.0/33' is wrong: {CIDRS}; or * for all"),
        ),
        (
            EXCLUDE_OUTBOUND_IP_RANGES,
            "10.0.0.1",
            format!("'10.0.0.1' is wrong: {CIDRS}"),
        ),
        (
            EXCLUDE_OUTBOUND_IP_RANGES,
            "*",
            format!("'*' is wrong: {CIDRS}"),
        ),
        (
            EXCLUDE_INTERFACES,
            "eth0,a-name-too-long-for-it",
            format!("'a-name-too-long-for-it' is wrong: {INTERFACES}"),
        ),
        (
            REROUTE_VIRTUAL_INTERFACES,
            "net/1",
            format!("'net/1' is wrong: {INTERFACES}"),
        ),
        (
            KUBEVIRT_INTERFACES,
            "net+",
            format!("'net+' is wrong: {INTERFACES}"),
        ),
        (
            TEMPLATES,
            "Sidecar",
            format!("'Sidecar' is wrong: {TEMPLATE}"),
        ),
        (TEMPLATES, ",", "at least one name is accepted".to_owned()),
    ]
}

fn numbers_and_amounts() -> Vec<Case> {
    let from_0 = "a whole number from 0 to 2147483647 is accepted";
    let from_1 = "a whole number from 1 to 2147483647 is accepted";
    let image = "an image reference such as registry/fairlead/proxy:0.1.0 is accepted";
    vec![
        (PROXY_CPU, "lots", QUANTITY.to_owned()),
        (PROXY_CPU_LIMIT, "-1", QUANTITY.to_owned()),
        (PROXY_MEMORY, "64 Mi", QUANTITY.to_owned()),
        (PROXY_MEMORY_LIMIT, "64mi", QUANTITY.to_owned()),
        (STATUS_PORT, "15021", STATUS.to_owned()),
        (STATUS_PORT, "+80", STATUS.to_owned()),
        (READINESS_INITIAL_DELAY, "-1", from_0.to_owned()),
        (READINESS_INITIAL_DELAY, "2147483648", from_0.to_owned()),
        (READINESS_PERIOD, "0", from_1.to_owned()),
        (READINESS_FAILURES, "1s", from_1.to_owned()),
        (PROXY_IMAGE, "a b", image.to_owned()),
    ]
}

fn documents() -> Vec<Case> {
    vec![
        (
            USER_VOLUME,
            "cache",
            format!("it is not JSON (expected value at line 1 column 1); {VOLUME}"),
        ),
        (
            USER_VOLUME,
            "1",
            format!("it is neither an object nor a list; {VOLUME}"),
        ),
        (
            USER_VOLUME,
            r#"{"cache": 1}"#,
            format!("'cache' is not an object; {VOLUME}"),
        ),
        (
            USER_VOLUME,
            r#"{"a": {"emptyDir": {}, "secret": {}}}"#,
            format!("volume 'a' has several sources, 'emptyDir, secret'; {VOLUME}"),
        ),
        (
            USER_VOLUME,
            r#"{"My": {}}"#,
            format!("the name 'My' is not a DNS label; {VOLUME}"),
        ),
        (
            USER_VOLUME_MOUNT,
            r#"{"a": {}}"#,
            format!("mount 'a' has no mountPath, a path without colons; {MOUNT}"),
        ),
        (
            PROXY_CONFIG,
            "4",
            "fields with values are accepted, such as concurrency: 2".to_owned(),
        ),
    ]
}

fn metrics() -> Vec<Case> {
    let path = "a path such as /metrics, of ASCII without spaces, is accepted";
    let list = "a comma list such as 8080:/metrics,9090:/more is accepted";
    vec![
        (prometheus::SCRAPE, "yes", BOOLEAN.to_owned()),
        (
            prometheus::PORT,
            "http",
            "a port from 1 to 65535 is accepted".to_owned(),
        ),
        (
            prometheus::PORT,
            "15090",
            "a port of the application is accepted, not one of the mesh's \
             (15000,15001,15004,15006,15008,15021,15053,15090): the proxy's metrics are merged \
             anyway"
                .to_owned(),
        ),
        (prometheus::PATH, "/my metrics", path.to_owned()),
        (
            prometheus::SCHEME,
            "HTTPS",
            "http or https is accepted".to_owned(),
        ),
        (
            prometheus::SCRAPE_TARGETS,
            "80:/a,16020:/b",
            format!("'16020:/b' is wrong: 16020 is the proxy's status port; {list}"),
        ),
        (
            prometheus::SCRAPE_TARGETS,
            "http",
            format!("'http' is wrong: a port from 1 to 65535 is accepted; {list}"),
        ),
    ]
}

#[test]
fn control_characters_are_refused_everywhere() {
    for known in table::all().filter(|known| known.usage.is_for_namespaces()) {
        let faults = parse(&[(known.key, "\u{1b}[2J")]).unwrap_err();
        let key = known.key;
        let reason = "a text without control characters is accepted";
        let whole = format!("invalid value '\\u{{1b}}[2J' for annotation '{key}': {reason}");
        assert_eq!(faults.to_string(), whole);
    }
    for key in [LOG_LEVEL, PROXY_CPU, TEMPLATES] {
        assert!(parse(&[(key, "1\n")]).is_err(), "{key}");
    }
}

#[test]
fn every_fault_is_told_on_a_line_of_its_own() {
    let faults = parse_over(
        &[(INTERCEPTION_MODE, "none"), (REWRITE_PROBES, "yes")],
        &[(PROXY_MEMORY, "lots")],
    );
    let expected = [
        "invalid value 'none' for annotation 'sidecar.istio.io/interceptionMode': REDIRECT, TPROXY \
         or NONE is accepted",
        "invalid value 'lots' for annotation 'sidecar.istio.io/proxyMemory' of namespace shop: a \
         Kubernetes quantity such as 100m, 0.5, 64Mi or 1Gi is accepted",
        "invalid value 'yes' for annotation 'sidecar.istio.io/rewriteAppHTTPProbers': true or false \
         is accepted",
    ];
    assert_eq!(faults.unwrap_err().to_string(), expected.join("\n"));
}

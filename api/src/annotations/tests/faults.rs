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

#[track_caller]
fn check(pairs: &[(&'static str, &str, &str)]) {
    for (key, value, reason) in pairs {
        let faults = parse(&[(key, value)]).unwrap_err();
        let value = value.replace('\n', "\\n");
        let whole = format!("invalid value '{value}' for annotation '{key}': {reason}");
        assert_eq!(faults.to_string(), whole);
    }
}

#[test]
fn choices_are_named_exactly() {
    let mode = "REDIRECT, TPROXY or NONE is accepted";
    let level = "one of trace, debug, info, warning, error, critical, off is accepted";
    check(&[
        (INTERCEPTION_MODE, "tproxy", mode),
        (INTERCEPTION_MODE, "", mode),
        (LOG_LEVEL, "loud", level),
        (LOG_LEVEL, "misc:error", level),
        (REWRITE_PROBES, "yes", BOOLEAN),
        (MERGE_METRICS, "no", BOOLEAN),
        (NATIVE_SIDECAR, "auto", BOOLEAN),
        (CAP_NET_BIND_SERVICE, "NET_BIND_SERVICE", BOOLEAN),
    ]);
}

#[test]
fn lists_name_what_is_wrong_in_them() {
    check(&[
        (
            EXCLUDE_INBOUND_PORTS,
            "80,70000",
            &format!("'70000' is wrong: {PORTS}"),
        ),
        (
            EXCLUDE_INBOUND_PORTS,
            "80, 443",
            &format!("' 443' is wrong: {PORTS}"),
        ),
        (
            EXCLUDE_INBOUND_PORTS,
            "*",
            &format!("'*' is wrong: {PORTS}"),
        ),
        (
            EXCLUDE_OUTBOUND_PORTS,
            "0,6010-6000",
            &format!("'0', '6010-6000' are wrong: {PORTS}"),
        ),
        (
            INCLUDE_INBOUND_PORTS,
            "*,80",
            &format!("'*' is wrong: {PORTS}; or * for all"),
        ),
        (
            INCLUDE_OUTBOUND_PORTS,
            "http",
            &format!("'http' is wrong: {PORTS}; or * for all"),
        ),
        (
            INCLUDE_OUTBOUND_IP_RANGES,
            "10.0.0.0/33",
            &format!("'10.0.0.0/33' is wrong: {CIDRS}; or * for all"),
        ),
        (
            EXCLUDE_OUTBOUND_IP_RANGES,
            "10.0.0.1",
            &format!("'10.0.0.1' is wrong: {CIDRS}"),
        ),
        (
            EXCLUDE_OUTBOUND_IP_RANGES,
            "*",
            &format!("'*' is wrong: {CIDRS}"),
        ),
        (
            EXCLUDE_INTERFACES,
            "eth0,a-name-too-long-for-it",
            &format!("'a-name-too-long-for-it' is wrong: {INTERFACES}"),
        ),
        (
            REROUTE_VIRTUAL_INTERFACES,
            "net/1",
            &format!("'net/1' is wrong: {INTERFACES}"),
        ),
        (
            KUBEVIRT_INTERFACES,
            "net+",
            &format!("'net+' is wrong: {INTERFACES}"),
        ),
        (
            TEMPLATES,
            "Sidecar",
            &format!("'Sidecar' is wrong: {TEMPLATE}"),
        ),
        (TEMPLATES, ",", "at least one name is accepted"),
    ]);
}

#[test]
fn numbers_and_amounts_say_their_bounds() {
    let from_0 = "a whole number from 0 to 2147483647 is accepted";
    let from_1 = "a whole number from 1 to 2147483647 is accepted";
    let image = "an image reference such as registry/fairlead/proxy:0.1.0 is accepted";
    check(&[
        (PROXY_CPU, "lots", QUANTITY),
        (PROXY_CPU_LIMIT, "-1", QUANTITY),
        (PROXY_MEMORY, "64 Mi", QUANTITY),
        (PROXY_MEMORY_LIMIT, "64mi", QUANTITY),
        (STATUS_PORT, "15021", STATUS),
        (STATUS_PORT, "+80", STATUS),
        (READINESS_INITIAL_DELAY, "-1", from_0),
        (READINESS_INITIAL_DELAY, "2147483648", from_0),
        (READINESS_PERIOD, "0", from_1),
        (READINESS_FAILURES, "1s", from_1),
        (PROXY_IMAGE, "a b", image),
    ]);
}

#[test]
fn documents_say_where_they_are_wrong() {
    check(&[
        (
            USER_VOLUME,
            "cache",
            &format!("it is not JSON (expected value at line 1 column 1); {VOLUME}"),
        ),
        (
            USER_VOLUME,
            "1",
            &format!("it is neither an object nor a list; {VOLUME}"),
        ),
        (
            USER_VOLUME,
            r#"{"cache": 1}"#,
            &format!("'cache' is not an object; {VOLUME}"),
        ),
        (
            USER_VOLUME,
            r#"{"a": {"emptyDir": {}, "secret": {}}}"#,
            &format!("volume 'a' has several sources, 'emptyDir, secret'; {VOLUME}"),
        ),
        (
            USER_VOLUME,
            r#"{"My": {}}"#,
            &format!("the name 'My' is not a DNS label; {VOLUME}"),
        ),
        (
            USER_VOLUME_MOUNT,
            r#"{"a": {}}"#,
            &format!("mount 'a' has no mountPath, a path without colons; {MOUNT}"),
        ),
        (
            PROXY_CONFIG,
            "4",
            "fields with values are accepted, such as concurrency: 2",
        ),
    ]);
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
    check(&[
        (
            LOG_LEVEL,
            "info\n",
            "a text without control characters is accepted",
        ),
        (
            PROXY_CPU,
            "1\n",
            "a text without control characters is accepted",
        ),
    ]);
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

use std::collections::BTreeSet;

use super::*;
use crate::annotations::table::Usage;

mod faults;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn parse(pairs: &[(&str, &str)]) -> Result<PodSettings, Faults> {
    parse_over(pairs, &[])
}

fn parse_over(pod: &[(&str, &str)], namespace: &[(&str, &str)]) -> Result<PodSettings, Faults> {
    PodSettings::parse(&map(pod), "shop", &map(namespace))
}

#[test]
fn no_annotation_asks_for_nothing() {
    assert_eq!(
        parse(&[("prometheus.io/port", "x")]),
        Ok(PodSettings::default())
    );
}

#[test]
fn what_is_read_is_what_the_reference_lists() {
    let mut asked = BTreeSet::new();
    PodSettings::read(|key| {
        asked.insert(key);
        None
    })
    .unwrap();
    let mut listed = table::keys(Usage::Setting);
    listed.extend(table::keys(Usage::Layer));
    assert_eq!(asked, listed);
}

#[test]
fn lists_and_levels_are_typed() {
    let settings = parse(&[
        (INCLUDE_INBOUND_PORTS, "*"),
        (EXCLUDE_OUTBOUND_PORTS, "3306,6000-6010"),
        (INCLUDE_OUTBOUND_IP_RANGES, "10.0.0.0/8"),
        (LOG_LEVEL, "debug"),
        (PROXY_CPU, "100m"),
        (TEMPLATES, "sidecar, mine"),
        (READINESS_INITIAL_DELAY, "0"),
        (USER_VOLUME, "{\n  \"cache\": {}\n}\n"),
    ])
    .unwrap();
    assert_eq!(settings.include_inbound_ports, Some(Selection::All));
    let range = Ports {
        first: 6000,
        last: 6010,
    };
    assert_eq!(
        settings.exclude_outbound_ports,
        Some(vec![3306.into(), range])
    );
    assert_eq!(settings.log_level, Some(LogLevel::Debug));
    assert_eq!(settings.templates.unwrap(), ["sidecar", "mine"]);
    assert_eq!(settings.readiness_initial_delay_seconds, Some(0));
    assert_eq!(
        settings.user_volumes.unwrap(),
        [serde_json::json!({ "name": "cache" })]
    );
    assert!(parse(&[(PROXY_CPU, "1")]).unwrap().sets_resources());
}

#[test]
fn an_empty_include_list_captures_nothing() {
    let settings = parse(&[(INCLUDE_INBOUND_PORTS, "")]).unwrap();
    assert_eq!(
        settings.include_inbound_ports,
        Some(Selection::Only(vec![]))
    );
}

#[test]
fn a_namespace_speaks_where_its_pod_is_silent() {
    let namespace = [
        (LOG_LEVEL, "debug"),
        (EXCLUDE_INBOUND_PORTS, "80"),
        (PROXY_IMAGE, "a/b"),
    ];
    let settings = parse_over(&[(LOG_LEVEL, "trace")], &namespace).unwrap();
    assert_eq!(settings.log_level, Some(LogLevel::Trace));
    assert_eq!(settings.exclude_inbound_ports, Some(vec![80.into()]));
    assert!(settings.image.is_some());
    let settings = parse_over(
        &[(PROXY_IMAGE, "auto"), (EXCLUDE_INBOUND_PORTS, "")],
        &namespace,
    );
    let settings = settings.unwrap();
    assert_eq!(settings.image, None);
    assert_eq!(settings.exclude_inbound_ports, Some(vec![]));
}

#[test]
fn a_pods_resources_and_interfaces_are_not_mixed_with_its_namespaces() {
    let namespace = [
        (PROXY_CPU_LIMIT, "2"),
        (PROXY_MEMORY, "1Gi"),
        (REROUTE_VIRTUAL_INTERFACES, "net1"),
    ];
    let settings = parse_over(&[], &namespace).unwrap();
    assert!(settings.cpu_limit.is_some() && settings.memory_request.is_some());
    assert_eq!(settings.reroute_virtual_interfaces.unwrap(), ["net1"]);
    let pod = [(PROXY_CPU, "100m"), (KUBEVIRT_INTERFACES, "net2")];
    let settings = parse_over(&pod, &namespace).unwrap();
    assert!(settings.cpu_request.is_some());
    assert_eq!((settings.cpu_limit, settings.memory_request), (None, None));
    assert_eq!(settings.reroute_virtual_interfaces.unwrap(), ["net2"]);
}

#[test]
fn a_namespaces_configuration_of_the_proxy_is_read_beside_its_pods() {
    let namespace = map(&[(PROXY_CONFIG, "concurrency: 4")]);
    assert_eq!(
        parse_over(&[], &[(PROXY_CONFIG, "x: [")]).unwrap(),
        PodSettings::default()
    );
    let config = namespace_proxy_config("shop", &namespace).unwrap().unwrap();
    assert_eq!(config.value.concurrency, Some(4));
    let faults = namespace_proxy_config("shop", &map(&[(PROXY_CONFIG, "4")])).unwrap_err();
    assert_eq!(faults.0[0].namespace.as_deref(), Some("shop"));
}

#[test]
fn what_a_pod_overrides_on_its_namespace_may_be_wrong() {
    let namespace = [(LOG_LEVEL, "loud")];
    assert!(parse_over(&[(LOG_LEVEL, "info")], &namespace).is_ok());
    let faults = parse_over(&[], &namespace).unwrap_err();
    assert_eq!(faults.0[0].namespace.as_deref(), Some("shop"));
}

//! What the webhook writes into a pod, the programs take: every argument, and every variable is one
//! that the proxy reads.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use clap::Parser;
use fairlead_api::{annotations::PROXY_CONFIG, names::env::META_PREFIX, values::InterceptionMode};
use fairlead_init::{Flags, config};
use fairlead_proxy::{
    arguments::{Arguments, Command},
    config::{Config, PodFiles},
};
use fairlead_webhook::{
    inject::{Place, inject},
    settings::Settings,
};
use serde_json::{Value, json};

/// Annotations of one pod, and what else its mesh says.
const CASES: [(&str, &str); 9] = [
    ("{}", ""),
    (
        r#"{ "sidecar.istio.io/interceptionMode": "TPROXY", "sidecar.istio.io/logLevel": "debug" }"#,
        "nativeNftables: true",
    ),
    (
        r#"{ "sidecar.istio.io/interceptionMode": "NONE" }"#,
        "network: net-1",
    ),
    (
        r#"{ "inject.istio.io/templates": "gateway", "sidecar.istio.io/capNetBindService": "true" }"#,
        "",
    ),
    (
        r#"{ "sidecar.istio.io/capNetBindService": "true", "sidecar.istio.io/nativeSidecar": "false" }"#,
        "cni: { enabled: true }",
    ),
    (
        r#"{
            "traffic.sidecar.istio.io/excludeInterfaces": "eth1,eth2",
            "istio.io/reroute-virtual-interfaces": "k6t-net1",
            "traffic.sidecar.istio.io/excludeInboundPorts": "22,6000-6010",
            "traffic.sidecar.istio.io/includeOutboundPorts": "*",
            "traffic.sidecar.istio.io/excludeOutboundPorts": "25"
        }"#,
        "",
    ),
    (
        r#"{ "status.sidecar.istio.io/port": "0" }"#,
        "platform: openshift",
    ),
    (
        r#"{ "status.sidecar.istio.io/port": "15022" }"#,
        "platform: openshift",
    ),
    (
        r#"{ "proxy.istio.io/config": "holdApplicationUntilProxyStarts: true\nconcurrency: 3" }"#,
        "interceptionMode: TPROXY",
    ),
];

#[test]
fn the_programs_take_what_is_injected() {
    let namespace = BTreeMap::from([(
        "openshift.io/sa.scc.uid-range".to_owned(),
        "1000650000/10000".to_owned(),
    )]);
    for (annotations, mesh) in CASES {
        let annotations: Value = serde_json::from_str(annotations).unwrap();
        let text = format!("image: a\nresources: {{ limits: {{ cpu: 3 }} }}\n{mesh}");
        let settings = Settings::parse(&text).unwrap();
        let pod = json!({
            "metadata": { "name": "cart-1", "annotations": annotations },
            "spec": { "containers": [{
                "name": "app",
                "ports": [{ "name": "http", "containerPort": 8080 }],
                "readinessProbe": { "httpGet": { "port": "http" } },
            }]},
        });
        for native in [true, false] {
            let place = Place {
                annotations: &namespace,
                ..Place::named("shop", native)
            };
            let injected = inject(&pod, &place, &settings).unwrap();
            assert!(injected.warnings.is_empty(), "{:?}", injected.warnings);
            let proxy = container(&injected.pod, &["istio-proxy"]).unwrap();
            let mode = check_proxy(proxy, annotations.get(PROXY_CONFIG).is_some());
            let init = container(&injected.pod, &["istio-init", "istio-validation"]);
            assert_eq!(init.is_none(), mode == InterceptionMode::None);
            if let Some(init) = init {
                check_redirect(init, proxy, mode);
            }
        }
    }
}

fn container<'a>(pod: &'a Value, names: &[&str]) -> Option<&'a Value> {
    let lists = ["initContainers", "containers"].iter();
    let mut all = lists.flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    all.find(|container| names.iter().any(|name| container["name"] == *name))
}

fn line(container: &Value) -> impl Iterator<Item = &str> {
    let words = ["command", "args"].iter();
    let words = words.flat_map(|field| container[field].as_array().unwrap());
    words.map(|word| word.as_str().unwrap())
}

/// The redirect leads to the proxy, and lets just those pass that the proxy runs as.
fn check_redirect(init: &Value, proxy: &Value, mode: InterceptionMode) {
    let flags = Flags::try_parse_from(line(init)).unwrap();
    let redirect = config::Config::from_flags(&flags).unwrap().redirect;
    let id = |field: &str| proxy["securityContext"][field].as_u64().unwrap();
    let (user, group) = (id("runAsUser"), id("runAsGroup"));
    assert_eq!(redirect.proxy_gids.len(), 1);
    assert_eq!(u64::from(redirect.proxy_gids[0]), group);
    assert_eq!(redirect.proxy_uids.len(), 1);
    // Root is not told by its user, which applications have, too.
    assert_ne!(redirect.proxy_uids[0], 0);
    if user != 0 {
        assert_eq!(u64::from(redirect.proxy_uids[0]), user);
    }
    let is_transparent = redirect.mode == config::Mode::Tproxy;
    assert_eq!(is_transparent, mode == InterceptionMode::Tproxy);
}

/// How connections come to the proxy, as it understands its environment.
fn check_proxy(proxy: &Value, is_configured: bool) -> InterceptionMode {
    let Some(Command::Sidecar(arguments)) = Arguments::try_parse_from(line(proxy)).unwrap().command
    else {
        panic!("the proxy runs something else: {proxy:#}");
    };
    let variables: BTreeMap<String, String> = proxy["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| {
            let name = variable["name"].as_str().unwrap().to_owned();
            let value = variable["value"].as_str().map(str::to_owned);
            let given = || match name.as_str() {
                "INSTANCE_IP" => "10.0.0.1".to_owned(),
                "ISTIO_CPU_LIMIT" => "3".to_owned(),
                _ => "from-the-kubelet".to_owned(),
            };
            let value = value.unwrap_or_else(given);
            (name, value)
        })
        .collect();
    let read = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        read.borrow_mut().insert(name.to_owned());
        variables.get(name).cloned()
    };
    let names = variables.keys().cloned();
    let config = Config::from_lookup(lookup, names, &arguments, &PodFiles::default()).unwrap();
    for name in variables.keys() {
        let is_read = read.borrow().contains(name) || name.starts_with(META_PREFIX);
        assert!(is_read, "the proxy does not read {name}");
    }
    assert_eq!(config.workers, 3);
    assert_eq!(config.proxy.concurrency.is_some(), is_configured);
    config.interception_mode
}

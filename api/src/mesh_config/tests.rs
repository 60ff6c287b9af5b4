use std::time::Duration;

use super::*;
use crate::proxy_config::AccessLogEncoding;

fn mesh(text: &str) -> MeshConfig {
    MeshConfig::parse(text).unwrap().value
}

#[test]
fn what_the_mesh_says_lies_below_the_default_configuration_of_its_proxies() {
    let config = mesh(
        "
        enablePrometheusMerge: false
        accessLogFile: /dev/stdout
        accessLogEncoding: JSON
        connectTimeout: 3s
        defaultConfig:
          accessLog: failures
          concurrency: 2
        ",
    );
    let proxy = config.default_config.proxy_config();
    assert!(!config.enable_prometheus_merge);
    assert_eq!(proxy.access_log, AccessLog::Failures);
    assert_eq!(proxy.access_log_encoding, AccessLogEncoding::Json);
    assert_eq!(proxy.connect_timeout, Duration::from_secs(3));
    assert_eq!(proxy.concurrency, Some(2));
}

#[test]
fn an_empty_mesh_is_the_default_one() {
    for text in ["", "{}", "defaultConfig: {}"] {
        assert_eq!(mesh(text), MeshConfig::default(), "{text}");
    }
}

#[test]
fn the_log_file_says_whether_connections_are_logged() {
    for (file, expected) in [("''", AccessLog::Off), ("/dev/stdout", AccessLog::All)] {
        let config = mesh(&format!("accessLogFile: {file}"));
        assert_eq!(config.default_config.access_log, Some(expected));
    }
}

#[test]
fn a_fault_has_the_whole_path() {
    for (text, expected) in [
        (
            "defaultConfig: {concurrency: x}",
            "defaultConfig.concurrency is \"x\"",
        ),
        (
            "defaultConfig: {proxyMetadata: {A: 1}}",
            "defaultConfig.proxyMetadata.A is 1",
        ),
        ("defaultConfig: 1", "defaultConfig is 1: fields with values"),
        (
            "enablePrometheusMerge: 'yes'",
            "enablePrometheusMerge is \"yes\"",
        ),
        ("accessLogFile: /var/log/x", "/dev/stdout"),
        ("connectTimeout: 0s", "more than zero"),
    ] {
        let fault = MeshConfig::parse(text).unwrap_err().to_string();
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn a_field_without_effect_is_warned_of() {
    let read = MeshConfig::parse(
        "{trustDomain: td, enableTracng: true, defaultConfig: {statsPort: 1, tracing: {}}}",
    )
    .unwrap();
    assert_eq!(read.value, MeshConfig::default());
    assert_eq!(
        read.warnings,
        [
            "defaultConfig.tracing has no effect in this mesh",
            "defaultConfig.statsPort is not known; is statusPort meant?",
            "trustDomain has no effect in this mesh",
            "enableTracng is not known; is enableTracing meant?",
        ]
    );
}

#[test]
fn the_config_map_is_named_as_istios() {
    assert_eq!(config_map("default"), "istio");
    assert_eq!(config_map("canary"), "istio-canary");
}

use std::{collections::BTreeMap, fs, path::Path};

use fairlead_api::{
    app_metrics::AppMetrics,
    proxy_config::{AccessLog, AccessLogEncoding, ProxyConfig},
    values::LogLevel,
};
use fairlead_xds::json::{Layout, Secrets, message_to_json};

use super::*;
use crate::{arguments::Ports, config, configuration::Source, server};

fn settings() -> Config {
    Config {
        node: config::Node {
            name: "cart-1".to_owned(),
            namespace: "shop".to_owned(),
            ip: Ipv4Addr::new(10, 0, 0, 1).into(),
            service_account: "cart".to_owned(),
            domain: "shop.svc.cluster.local".to_owned(),
            metadata: BTreeMap::new(),
            labels: [("app".to_owned(), "cart".to_owned())].into(),
            annotations: BTreeMap::new(),
        },
        workers: 2,
        proxy: ProxyConfig::default(),
        ports: Ports {
            outbound: 15001,
            inbound: 15006,
            admin: 15000,
            status: 15020,
            no_status: false,
            health: 15021,
            metrics: 15090,
        },
        interception_mode: InterceptionMode::Redirect,
        access_log_file: "/dev/stdout".to_owned(),
        log_level: LogLevel::Info,
        exit_on_zero_connections: true,
        app_probes: BTreeMap::new(),
        app_metrics: AppMetrics::default(),
    }
}

#[test]
fn the_bootstrap_is_what_is_written_down() {
    let text = message_to_json(
        &bootstrap(&settings(), true),
        Layout::Pretty,
        Secrets::Redact,
    );
    let text = text.unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sidecar/bootstrap/golden.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(path).unwrap());
}

#[test]
fn each_bootstrap_can_be_run() {
    for access_log in [AccessLog::All, AccessLog::Failures, AccessLog::Off] {
        for access_log_encoding in [AccessLogEncoding::Text, AccessLogEncoding::Json] {
            for interception_mode in [InterceptionMode::Redirect, InterceptionMode::Tproxy] {
                let mut config = settings();
                config.proxy.access_log = access_log;
                config.proxy.access_log_encoding = access_log_encoding;
                config.interception_mode = interception_mode;
                for ipv6 in [false, true] {
                    let source = Source {
                        built_in: bootstrap(&config, ipv6),
                        ..Source::default()
                    };
                    server::validate(&source).unwrap();
                }
            }
        }
    }
}

#[test]
fn listeners_take_what_the_redirect_leads_to_them() {
    for (mode, transparent) in [
        (InterceptionMode::Redirect, None),
        (InterceptionMode::Tproxy, truth(true)),
        (InterceptionMode::None, None),
    ] {
        let config = Config {
            interception_mode: mode,
            ..settings()
        };
        let [outbound, inbound] =
            Direction::ALL.map(|direction| listener(direction, &config, true));
        assert_eq!(outbound.transparent, None);
        assert_eq!(outbound.use_original_dst, truth(true));
        assert_eq!(inbound.transparent, transparent);
    }
}

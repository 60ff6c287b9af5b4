//! Flags → settings.

use std::fmt;

use fairlead_api::{
    ports,
    values::{self, Selection},
};
use ipnet::IpNet;

use super::{Backend, Config, Faults, Ipv6, Redirect, Verbosity, faults::Fault};
use crate::Flags;

impl Config {
    /// Reads the flags.
    ///
    /// # Errors
    /// Lists every setting that is wrong.
    pub fn from_flags(flags: &Flags) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let ipv6 = read(&mut faults, "ipv6", &flags.ipv6, ipv6);
        let redirect = redirect(&mut faults, flags);
        if ipv6 == Some(Ipv6::Off) {
            refuse_ipv6_cidrs(&mut faults, flags, &redirect);
        }
        let config = Self {
            redirect,
            ipv6: ipv6.unwrap_or(Ipv6::Auto),
            backend: read(
                &mut faults,
                "force-iptables-binary",
                &flags.force_iptables_binary,
                backend,
            )
            .flatten(),
            dry_run: flags.dry_run,
            verbosity: read(
                &mut faults,
                "log_output_level",
                &flags.log_output_level,
                verbosity,
            )
            .unwrap_or(Verbosity::Info),
        };
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(Faults(faults))
        }
    }
}

/// Reads what the rules depend on; a value that is wrong leaves a fault and any other value.
fn redirect(faults: &mut Vec<Fault>, flags: &Flags) -> Redirect {
    let mode_flag = "istio-inbound-interception-mode";
    read(
        faults,
        mode_flag,
        &flags.istio_inbound_interception_mode,
        mode,
    );
    let uids = read(faults, "proxy-uid", &flags.proxy_uid, ids).unwrap_or_default();
    let gids = read(faults, "proxy-gid", &flags.proxy_gid, ids).unwrap_or_default();
    let proxy_uids = if uids.is_empty() {
        vec![DEFAULT_PROXY_ID]
    } else {
        uids
    };
    let proxy_gids = if gids.is_empty() {
        proxy_uids.clone()
    } else {
        gids
    };

    let mut port = |flag, text: &str, default| {
        read(faults, flag, text, |text| port(text, default)).unwrap_or_default()
    };
    let outbound_port = port("envoy-port", &flags.envoy_port, ports::OUTBOUND);
    let inbound_port = port(
        "inbound-capture-port",
        &flags.inbound_capture_port,
        ports::INBOUND,
    );
    let tunnel_port = port(
        "inbound-tunnel-port",
        &flags.inbound_tunnel_port,
        ports::TUNNEL,
    );

    let mut port_list = |flag, text: &str| {
        let ports = read(faults, flag, text, values::parse_ports);
        distinct(ports.unwrap_or_default())
    };
    let excluded_inbound_ports = port_list(
        "istio-local-exclude-ports",
        &flags.istio_local_exclude_ports,
    );
    let outbound_ports = port_list("istio-outbound-ports", &flags.istio_outbound_ports);
    let excluded_outbound_ports = port_list(
        "istio-local-outbound-ports-exclude",
        &flags.istio_local_outbound_ports_exclude,
    );

    let inbound_ports = read(
        faults,
        "istio-inbound-ports",
        &flags.istio_inbound_ports,
        |text| values::parse_selection(text, values::parse_ports),
    );
    let outbound_cidrs = read(faults, INCLUDED_CIDRS, &flags.istio_service_cidr, |text| {
        values::parse_selection(text, values::parse_cidrs)
    });
    let excluded_outbound_cidrs = read(
        faults,
        EXCLUDED_CIDRS,
        &flags.istio_service_exclude_cidr,
        values::parse_cidrs,
    );
    Redirect {
        outbound_port,
        inbound_port,
        tunnel_port,
        proxy_uids,
        proxy_gids,
        inbound_ports: selection(inbound_ports, distinct),
        excluded_inbound_ports,
        outbound_cidrs: selection(outbound_cidrs, networks),
        excluded_outbound_cidrs: networks(excluded_outbound_cidrs.unwrap_or_default()),
        outbound_ports,
        excluded_outbound_ports,
    }
}

/// The proxy's user where none is given: the one that Istio's images have, too.
const DEFAULT_PROXY_ID: u32 = 1337;
const INCLUDED_CIDRS: &str = "istio-service-cidr";
const EXCLUDED_CIDRS: &str = "istio-service-exclude-cidr";

fn read<T, E: fmt::Display>(
    faults: &mut Vec<Fault>,
    flag: &'static str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    match parse(text) {
        Ok(value) => Some(value),
        Err(reason) => {
            faults.push(Fault {
                flag,
                value: text.to_owned(),
                reason: reason.to_string(),
            });
            None
        }
    }
}

fn refuse_ipv6_cidrs(faults: &mut Vec<Fault>, flags: &Flags, redirect: &Redirect) {
    let lists = [
        (
            INCLUDED_CIDRS,
            &flags.istio_service_cidr,
            redirect.included_cidrs(),
        ),
        (
            EXCLUDED_CIDRS,
            &flags.istio_service_exclude_cidr,
            &redirect.excluded_outbound_cidrs,
        ),
    ];
    for (flag, text, cidrs) in lists {
        if cidrs.iter().any(|cidr| cidr.addr().is_ipv6()) {
            faults.push(Fault {
                flag,
                value: text.clone(),
                reason: "only IPv4 CIDRs are accepted with --ipv6 off".to_owned(),
            });
        }
    }
}

fn port(text: &str, default: u16) -> Result<u16, &'static str> {
    match text.parse() {
        _ if text.is_empty() => Ok(default),
        Ok(0) | Err(_) => Err("a port from 1 to 65535 is accepted"),
        Ok(port) => Ok(port),
    }
}

fn ids(text: &str) -> Result<Vec<u32>, &'static str> {
    // The highest number stands for "no user" in the kernel's calls.
    let id = |word: &str| word.parse().ok().filter(|id| *id < u32::MAX);
    let words = text.split(',').filter(|word| !word.is_empty());
    words
        .map(id)
        .collect::<Option<Vec<u32>>>()
        .map(distinct)
        .ok_or("a comma list of numeric ids without spaces is accepted")
}

fn mode(text: &str) -> Result<(), &'static str> {
    match text {
        "" | "REDIRECT" => Ok(()),
        _ => Err("REDIRECT is accepted"),
    }
}

fn ipv6(text: &str) -> Result<Ipv6, &'static str> {
    match text {
        "" | "auto" => Ok(Ipv6::Auto),
        "on" => Ok(Ipv6::On),
        "off" => Ok(Ipv6::Off),
        _ => Err("auto, on or off is accepted"),
    }
}

fn backend(text: &str) -> Result<Option<Backend>, &'static str> {
    match text {
        "" => Ok(None),
        "legacy" => Ok(Some(Backend::Legacy)),
        "nft" => Ok(Some(Backend::Nft)),
        _ => Err("legacy or nft is accepted"),
    }
}

/// Reads `[scope:]level` pairs as Istio's programs take them; this one has a single scope.
fn verbosity(text: &str) -> Result<Verbosity, &'static str> {
    let mut verbosity = Verbosity::Info;
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (scope, level) = pair.split_once(':').unwrap_or(("default", pair));
        let level = match level {
            "none" | "fatal" | "error" => Verbosity::Quiet,
            "warn" | "info" => Verbosity::Info,
            "debug" => Verbosity::Debug,
            _ => return Err("levels none, fatal, error, warn, info and debug are accepted"),
        };
        if matches!(scope, "default" | "all") {
            verbosity = level;
        }
    }
    Ok(verbosity)
}

fn selection<T>(read: Option<Selection<T>>, tidy: fn(Vec<T>) -> Vec<T>) -> Selection<T> {
    match read {
        Some(Selection::Only(items)) => Selection::Only(tidy(items)),
        Some(Selection::All) | None => Selection::All,
    }
}

/// CIDRs as the kernel keeps them: without host bits.
fn networks(cidrs: Vec<IpNet>) -> Vec<IpNet> {
    distinct(cidrs.into_iter().map(|cidr| cidr.trunc()).collect())
}

/// Drops repetitions, which would only cost a rule each.
fn distinct<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut distinct = Vec::with_capacity(items.len());
    for item in items {
        if !distinct.contains(&item) {
            distinct.push(item);
        }
    }
    distinct
}

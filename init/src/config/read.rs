//! Flags → settings.

use std::{fmt, net::IpAddr, path::PathBuf};

use fairlead_api::{
    ports,
    values::{parse_cidrs, parse_interfaces, parse_ports, parse_selection},
};

use super::{
    Action, Backend, Config, Faults, Ipv6, Mode, NameServers, PolicyRoute, Redirect, Validation,
    Verbosity,
    faults::Fault,
    values::{
        backend, distinct, duration, groups, ids, ipv6, loopback_cidr, mark, mode, networks, port,
        routing_table, selection, verbosity,
    },
};
use crate::{Flags, flags::Switch};

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
        let backend = backend_of(&mut faults, flags);
        let validation = validation(&mut faults, flags);
        let verbosity = read(
            &mut faults,
            "log_output_level",
            &flags.log_output_level,
            verbosity,
        );
        let config = Self {
            name_servers: name_servers(&mut faults, flags),
            redirect,
            ipv6: ipv6.unwrap_or(Ipv6::Auto),
            backend,
            network_namespace: path(&flags.network_namespace),
            node_agent: is_set(flags.cni_mode),
            action: action(&mut faults, flags),
            force: is_set(flags.force_apply),
            validation,
            verbosity: verbosity.unwrap_or(Verbosity::Info),
        };
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(Faults(faults))
        }
    }
}

fn is_set(flag: Switch) -> bool {
    flag.unwrap_or(false)
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

/// A dry run changes nothing, whatever else is asked for.
fn action(faults: &mut Vec<Fault>, flags: &Flags) -> Action {
    let (dry, clean_up) = (is_set(flags.dry_run), is_set(flags.cleanup_only));
    let skip = is_set(flags.skip_rule_apply);
    if clean_up && skip {
        faults.push(Fault {
            flag: "cleanup-only",
            value: "true".to_owned(),
            reason: "it is accepted only without --skip-rule-apply".to_owned(),
        });
    }
    match (dry, clean_up, skip) {
        (true, ..) => Action::DryRun(path(&flags.dry_run_file_path)),
        (_, true, _) => Action::CleanUp,
        (.., true) => Action::Skip,
        _ => Action::Apply,
    }
}

fn backend_of(faults: &mut Vec<Fault>, flags: &Flags) -> Option<Backend> {
    let flag = "force-iptables-binary";
    let binary = read(faults, flag, &flags.force_iptables_binary, backend).flatten();
    match (is_set(flags.native_nftables), binary) {
        (true, Some(_)) => {
            faults.push(Fault {
                flag,
                value: flags.force_iptables_binary.clone(),
                reason: "nothing is accepted with --native-nftables".to_owned(),
            });
            None
        }
        (true, None) => Some(Backend::Native),
        (false, binary) => binary,
    }
}

fn validation(faults: &mut Vec<Fault>, flags: &Flags) -> Option<Validation> {
    let probe_port = read(
        faults,
        "iptables-probe-port",
        &flags.iptables_probe_port,
        |text| port(text, PROBE_PORT),
    );
    let timeout = read(faults, "probe-timeout", &flags.probe_timeout, duration);
    let validation = Validation {
        probe_port: probe_port?,
        timeout: timeout?,
    };
    is_set(flags.run_validation).then_some(validation)
}

fn name_servers(faults: &mut Vec<Fault>, flags: &Flags) -> Option<NameServers> {
    let mut listed = Vec::new();
    for text in flags.dns_servers.iter().filter(|text| !text.is_empty()) {
        listed.extend(read(faults, "dns-server", text, |text| {
            text.parse::<IpAddr>()
                .map_err(|_| "an IP address such as 10.96.0.10 is accepted")
        }));
    }
    if !Flags::switch(flags.redirect_dns, flags.istio_meta_dns_capture) {
        return None;
    }
    Some(if is_set(flags.capture_all_dns) {
        NameServers::All
    } else if listed.is_empty() {
        NameServers::System
    } else {
        NameServers::Listed(distinct(listed))
    })
}

/// Reads what the rules depend on; a value that is wrong leaves a fault and any other value.
fn redirect(faults: &mut Vec<Fault>, flags: &Flags) -> Redirect {
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
    let inbound_port = port(INBOUND_PORT, &flags.inbound_capture_port, ports::INBOUND);
    let tunnel_port = port(TUNNEL_PORT, &flags.inbound_tunnel_port, ports::TUNNEL);
    let places = [
        ("envoy-port", outbound_port),
        (INBOUND_PORT, inbound_port),
        (TUNNEL_PORT, tunnel_port),
    ];
    refuse_shared_ports(faults, places);

    let mut port_list = |flag, text: &str| {
        let ports = read(faults, flag, text, parse_ports);
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
        |text| parse_selection(text, parse_ports),
    );
    let outbound_cidrs = read(faults, INCLUDED_CIDRS, &flags.istio_service_cidr, |text| {
        parse_selection(text, parse_cidrs)
    });
    let excluded_outbound_cidrs = read(
        faults,
        EXCLUDED_CIDRS,
        &flags.istio_service_exclude_cidr,
        parse_cidrs,
    );
    let groups = read(
        faults,
        "istio-outbound-owner-groups",
        &flags.istio_outbound_owner_groups,
        groups,
    );
    let excluded_groups = read(
        faults,
        "istio-outbound-owner-groups-exclude",
        &flags.istio_outbound_owner_groups_exclude,
        ids,
    );
    let loopback_cidr = read(
        faults,
        "istio-outbound-ipv4-loopback-cidr",
        &flags.istio_outbound_ipv4_loopback_cidr,
        loopback_cidr,
    );
    let mut interfaces = |flag, text: &str| {
        let names = read(faults, flag, text, parse_interfaces);
        distinct(names.unwrap_or_default())
    };
    let excluded_interfaces =
        interfaces("istio-exclude-interfaces", &flags.istio_exclude_interfaces);
    let virtual_interfaces = interfaces("kube-virt-interfaces", &flags.kube_virt_interfaces);
    let mode = read(
        faults,
        "istio-inbound-interception-mode",
        &flags.istio_inbound_interception_mode,
        mode,
    );
    Redirect {
        outbound_port,
        inbound_port,
        tunnel_port,
        proxy_uids,
        proxy_gids,
        mode: mode.unwrap_or(Mode::Redirect),
        policy_route: policy_route(faults, flags),
        inbound_ports: selection(inbound_ports, distinct),
        excluded_inbound_ports,
        outbound_cidrs: selection(outbound_cidrs, networks),
        excluded_outbound_cidrs: networks(excluded_outbound_cidrs.unwrap_or_default()),
        outbound_ports,
        excluded_outbound_ports,
        owner_groups: selection(groups, distinct),
        excluded_owner_groups: excluded_groups.unwrap_or_default(),
        loopback_cidr: loopback_cidr.unwrap_or_default(),
        excluded_interfaces,
        virtual_interfaces,
        dns: None,
        drop_invalid: Flags::switch(flags.drop_invalid, flags.invalid_drop),
    }
}

/// The proxy's user where none is given: the one that Istio's images have, too.
const DEFAULT_PROXY_ID: u32 = 1337;
const PROBE_PORT: u16 = 15002;
const INBOUND_PORT: &str = "inbound-capture-port";
const TUNNEL_PORT: &str = "inbound-tunnel-port";
const INCLUDED_CIDRS: &str = "istio-service-cidr";
const EXCLUDED_CIDRS: &str = "istio-service-exclude-cidr";

/// A connection cannot go to two listeners.
fn refuse_shared_ports(faults: &mut Vec<Fault>, places: [(&'static str, u16); 3]) {
    for (index, (flag, port)) in places.iter().enumerate().skip(1) {
        let earlier = places[..index].iter().find(|(_, other)| other == port);
        // A port that is wrong was read as 0, and has its fault.
        if let Some((other, _)) = earlier.filter(|_| *port > 0) {
            faults.push(Fault {
                flag,
                value: port.to_string(),
                reason: format!("a port other than that of --{other} is accepted"),
            });
        }
    }
}

fn policy_route(faults: &mut Vec<Fault>, flags: &Flags) -> PolicyRoute {
    let mark = read(
        faults,
        "istio-inbound-tproxy-mark",
        &flags.istio_inbound_tproxy_mark,
        mark,
    );
    let table = read(
        faults,
        "istio-inbound-tproxy-route-table",
        &flags.istio_inbound_tproxy_route_table,
        routing_table,
    );
    PolicyRoute {
        mark: mark.unwrap_or_default(),
        table: table.unwrap_or_default(),
    }
}

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

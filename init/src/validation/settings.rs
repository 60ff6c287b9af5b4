//! The settings of a run, as far as they tell where connections arrive.

use std::ops::RangeInclusive;

use fairlead_api::values::Selection;

use super::{Captures, Dns, Mode, Settings};
use crate::{
    Redirect, config,
    rules::{Family, Ports, SELF_CALL_MARK},
};

impl Settings {
    /// What shall be proven of a redirect in these families. Its name servers must be known: those
    /// of the system are not read here.
    pub fn new(redirect: &Redirect, families: Vec<Family>, validation: config::Validation) -> Self {
        Self {
            families,
            outbound_port: redirect.outbound_port,
            inbound_port: redirect.inbound_port,
            tunnel_port: redirect.tunnel_port,
            probe_port: validation.probe_port,
            timeout: validation.timeout,
            proxy_uids: redirect.proxy_uids.clone(),
            proxy_gids: redirect.proxy_gids.clone(),
            mode: match redirect.mode {
                config::Mode::Redirect => Mode::Redirect,
                config::Mode::Tproxy => Mode::Tproxy {
                    mark: redirect.policy_route.mark,
                    self_call_mark: SELF_CALL_MARK,
                    table: redirect.policy_route.table,
                },
            },
            dns: redirect.dns.as_ref().map(|dns| Dns {
                port: dns.port,
                servers: dns.servers.clone(),
            }),
            captures: captures(redirect),
        }
    }
}

fn captures(redirect: &Redirect) -> Captures {
    Captures {
        inbound_ports: match &redirect.inbound_ports {
            Selection::All => Selection::All,
            Selection::Only(ports) => Selection::Only(ranges(ports)),
        },
        excluded_inbound_ports: ranges(&redirect.excluded_inbound_ports),
        outbound_cidrs: redirect.outbound_cidrs.clone(),
        excluded_outbound_cidrs: redirect.excluded_outbound_cidrs.clone(),
        outbound_ports: ranges(&redirect.outbound_ports),
        excluded_outbound_ports: ranges(&redirect.excluded_outbound_ports),
        owner_groups: redirect.owner_groups.clone(),
        excluded_owner_groups: redirect.excluded_owner_groups.clone(),
        excluded_interfaces: redirect.excluded_interfaces.clone(),
        loopback_cidr: redirect.loopback_cidr,
    }
}

fn ranges(ports: &[Ports]) -> Vec<RangeInclusive<u16>> {
    ports.iter().map(|ports| ports.first..=ports.last).collect()
}

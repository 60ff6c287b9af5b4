//! What a run shall bring about: settings and what the pod has → the wanted rules of each family.

use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv6Addr},
};

use fairlead_api::{ports, values::Selection};

use crate::{
    Backend, Config, Ipv6, Redirect,
    config::{Dns, Mode, NameServers, PolicyRoute},
    iptables::{
        installed::{Installed, Ruleset},
        program::{self, Tool},
        restore,
    },
    nft,
    rules::{self, Family, PASSTHROUGH_IPV6, Rule},
};

/// What the network namespace has, as far as the rules depend on it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Surroundings {
    /// Its IPv6 addresses.
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// The name servers that its resolver asks; read only where they matter.
    pub name_servers: Vec<IpAddr>,
}

/// The wanted state of the pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The rules of each family that is redirected.
    pub families: Vec<(Family, Vec<Rule>)>,
    /// The settings that they follow from, with the name servers of the pod.
    pub redirect: Redirect,
    /// Whether the pod has IPv6 at all.
    pub has_ipv6: bool,
    /// Whether the proxy's IPv6 source address must be added.
    pub adds_address: bool,
    /// What the settings ask for and the pod cannot have; worth a warning.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Decides what a pod with these surroundings needs.
    pub fn new(config: &Config, surroundings: &Surroundings) -> Self {
        let addresses = &surroundings.ipv6_addresses;
        let ipv6 = match config.ipv6 {
            Ipv6::On => true,
            Ipv6::Off => false,
            Ipv6::Auto => !addresses.is_empty(),
        };
        let families: &[Family] = if ipv6 {
            &[Family::Ipv4, Family::Ipv6]
        } else {
            &[Family::Ipv4]
        };
        let unused = config
            .redirect
            .cidrs()
            .filter(|cidr| !ipv6 && cidr.addr().is_ipv6());
        let mut warnings: Vec<String> = unused
            .map(|cidr| format!("{cidr} is not used: the pod has no IPv6"))
            .collect();
        let mut redirect = config.redirect.clone();
        redirect.dns = dns(config.name_servers.as_ref(), surroundings, &mut warnings);
        Self {
            families: families
                .iter()
                .map(|family| (*family, rules::rules(&redirect, *family)))
                .collect(),
            has_ipv6: !addresses.is_empty(),
            redirect,
            adds_address: ipv6 && !addresses.contains(&PASSTHROUGH_IPV6),
            warnings,
        }
    }

    /// The plan for an empty namespace as text, with the program that would take it.
    pub fn dry_run(&self, backend: Option<Backend>) -> String {
        let mut text = match backend {
            Some(Backend::Native) => self.native_text(),
            backend => self.iptables_text(backend.unwrap_or(Backend::Nft)),
        };
        if self.adds_address {
            put(
                &mut text,
                format_args!("# address {PASSTHROUGH_IPV6}/128 on lo\n"),
            );
        }
        let PolicyRoute { mark, table } = self.redirect.policy_route;
        if self.redirect.mode == Mode::Tproxy {
            for (family, _) in &self.families {
                let family = family.name();
                put(
                    &mut text,
                    format_args!(
                        "# {family} policy rule fwmark {mark:#x} lookup {table}, \
                         and route local default dev lo table {table}\n"
                    ),
                );
            }
        }
        text
    }

    fn native_text(&self) -> String {
        let program = Tool::new(Family::Ipv4, Backend::Native).restore();
        let arguments = nft::APPLY_ARGUMENTS.join(" ");
        let rules = nft::merge(&self.families);
        format!("# {program} {arguments}\n{}", nft::transaction(&rules))
    }

    fn iptables_text(&self, backend: Backend) -> String {
        let mut text = String::new();
        for (family, rules) in &self.families {
            let program = Tool::new(*family, backend).restore();
            let arguments = program::RESTORE_ARGUMENTS.join(" ");
            let wanted = Ruleset::new(rules.clone());
            let restore = restore::transition(&Installed::default(), &wanted, false);
            let restore = restore.unwrap_or_default();
            put(
                &mut text,
                format_args!("# {program} {arguments}\n{restore}"),
            );
        }
        text
    }
}

fn dns(
    name_servers: Option<&NameServers>,
    surroundings: &Surroundings,
    warnings: &mut Vec<String>,
) -> Option<Dns> {
    let servers = match name_servers? {
        NameServers::All => Selection::All,
        NameServers::Listed(servers) => Selection::Only(servers.clone()),
        NameServers::System if surroundings.name_servers.is_empty() => {
            warnings.push(
                "DNS is not redirected: /etc/resolv.conf names no server; name one by \
                 --dns-server, or redirect questions to any by --capture-all-dns"
                    .to_owned(),
            );
            return None;
        }
        NameServers::System => Selection::Only(surroundings.name_servers.clone()),
    };
    Some(Dns {
        port: ports::DNS,
        servers,
    })
}

fn put(text: &mut String, part: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(part);
}

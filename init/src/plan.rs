//! What a run shall bring about: settings and the pod's addresses → the wanted rules of each family.

use std::{
    fmt::{self, Write},
    net::Ipv6Addr,
};

use crate::{
    Backend, Config, Ipv6,
    installed::Installed,
    program::{self, Tool},
    restore,
    rules::{self, Family, PASSTHROUGH_IPV6},
    ruleset::Ruleset,
};

/// The wanted state of the pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The rules of each family that is redirected.
    pub families: Vec<(Family, Ruleset)>,
    /// Whether the proxy's IPv6 source address must be added.
    pub adds_address: bool,
    /// What the settings ask for and the pod cannot have; worth a warning.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Decides what a pod with these IPv6 addresses needs.
    pub fn new(config: &Config, addresses: &[Ipv6Addr]) -> Self {
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
        let wanted = |family: &Family| {
            let rules = rules::rules(&config.redirect, *family);
            (*family, Ruleset::from_rules(&rules))
        };
        let unused = config
            .redirect
            .cidrs()
            .filter(|cidr| !ipv6 && cidr.addr().is_ipv6());
        Self {
            families: families.iter().map(wanted).collect(),
            adds_address: ipv6 && !addresses.contains(&PASSTHROUGH_IPV6),
            warnings: unused
                .map(|cidr| format!("{cidr} is not used: the pod has no IPv6"))
                .collect(),
        }
    }

    /// The plan for an empty namespace as text, with the program that would take it.
    pub fn dry_run(&self, backend: Option<Backend>) -> String {
        let mut text = String::new();
        for (family, wanted) in &self.families {
            let tool = Tool::new(*family, backend.unwrap_or(Backend::Nft));
            let restore = restore::transition(&Installed::default(), wanted).unwrap_or_default();
            let arguments = program::RESTORE_ARGUMENTS.join(" ");
            put(
                &mut text,
                format_args!("# {} {arguments}\n{restore}", tool.restore()),
            );
        }
        if self.adds_address {
            put(
                &mut text,
                format_args!("# address {PASSTHROUGH_IPV6}/128 on lo\n"),
            );
        }
        text
    }
}

fn put(text: &mut String, part: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(part);
}

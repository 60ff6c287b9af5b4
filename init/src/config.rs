//! What to redirect, read from the flags once; every fault is listed, not only the first.

mod faults;
mod read;
mod values;

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use fairlead_api::values::Selection;
use ipnet::{IpNet, Ipv4Net};

pub use self::faults::Faults;
use crate::rules::Ports;

/// The settings of one run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// What the rules shall say.
    pub redirect: Redirect,
    /// The name servers to which questions are redirected, if they are.
    pub name_servers: Option<NameServers>,
    /// Whether IPv6 is redirected.
    pub ipv6: Ipv6,
    /// The backend to use, whatever is found.
    pub backend: Option<Backend>,
    /// The network namespace to program, if not that of the process.
    pub network_namespace: Option<PathBuf>,
    /// Whether a node agent runs it.
    pub node_agent: bool,
    /// What to do.
    pub action: Action,
    /// Apply what is installed already.
    pub force: bool,
    /// Prove the redirect afterwards.
    pub validation: Option<Validation>,
    /// How much to tell.
    pub verbosity: Verbosity,
}

/// What a run does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Bring the rules about.
    Apply,
    /// Remove all of them.
    CleanUp,
    /// Change nothing.
    Skip,
    /// Print what would be applied, and write it to a file.
    DryRun(Option<PathBuf>),
}

/// How the redirect is proved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validation {
    /// The port that connections are made to.
    pub probe_port: u16,
    /// For all of them together.
    pub timeout: Duration,
}

/// Name servers, as they are set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NameServers {
    /// Any.
    All,
    /// These.
    Listed(Vec<IpAddr>),
    /// Those of `/etc/resolv.conf`.
    System,
}

/// Which connections go to the proxy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Redirect {
    /// Where captured outbound connections go.
    pub outbound_port: u16,
    /// Where captured inbound connections go.
    pub inbound_port: u16,
    /// The tunnel's port, never captured.
    pub tunnel_port: u16,
    /// The proxy's users; at least one.
    pub proxy_uids: Vec<u32>,
    /// The proxy's groups; at least one.
    pub proxy_gids: Vec<u32>,
    /// How inbound connections are captured.
    pub mode: Mode,
    /// How packets that TPROXY captures are told and routed.
    pub policy_route: PolicyRoute,
    /// Captured inbound ports.
    pub inbound_ports: Selection<Ports>,
    /// Inbound ports left alone when all others are captured.
    pub excluded_inbound_ports: Vec<Ports>,
    /// Captured outbound destinations.
    pub outbound_cidrs: Selection<IpNet>,
    /// Outbound destinations left alone.
    pub excluded_outbound_cidrs: Vec<IpNet>,
    /// Outbound ports captured whatever the destination.
    pub outbound_ports: Vec<Ports>,
    /// Outbound ports left alone.
    pub excluded_outbound_ports: Vec<Ports>,
    /// Groups whose connections are captured.
    pub owner_groups: Selection<u32>,
    /// Groups whose connections are left alone when those of all others are captured.
    pub excluded_owner_groups: Vec<u32>,
    /// What an application means by localhost.
    pub loopback_cidr: Ipv4Net,
    /// Interfaces left alone.
    pub excluded_interfaces: Vec<String>,
    /// Interfaces of virtual machines in the pod.
    pub virtual_interfaces: Vec<String>,
    /// Where questions to name servers go, if they are redirected.
    pub dns: Option<Dns>,
    /// Drop packets that belong to no connection.
    pub drop_invalid: bool,
}

/// How inbound connections are captured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Their destination is changed.
    Redirect,
    /// Their addresses stay.
    Tproxy,
}

/// Packets of a mark are routed to the pod itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PolicyRoute {
    /// The mark.
    pub mark: u32,
    /// The routing table.
    pub table: u32,
}

/// Where questions to name servers go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dns {
    /// The proxy's port for them.
    pub port: u16,
    /// The name servers meant.
    pub servers: Selection<IpAddr>,
}

impl Redirect {
    /// The CIDRs of all settings.
    pub fn cidrs(&self) -> impl Iterator<Item = &IpNet> {
        self.included_cidrs()
            .iter()
            .chain(&self.excluded_outbound_cidrs)
    }

    /// The CIDRs that are captured by name; none when all are.
    pub fn included_cidrs(&self) -> &[IpNet] {
        match &self.outbound_cidrs {
            Selection::All => &[],
            Selection::Only(cidrs) => cidrs,
        }
    }

    /// Whether what the pod sends to itself is captured, too, because loopback is named.
    pub fn captures_loopback(&self) -> bool {
        let mut included = self.included_cidrs().iter();
        included.any(|cidr| cidr.addr().is_loopback())
    }
}

/// Whether IPv6 is redirected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ipv6 {
    /// Where the namespace has any IPv6 address.
    Auto,
    /// Always; an unusable IPv6 is an error.
    On,
    /// Never.
    Off,
}

/// Where rules are kept, and by which programs they are handled: the kernel has all side by side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
    /// nf_tables by its own program.
    Native,
    /// nf_tables behind iptables' syntax.
    Nft,
    /// The old ip_tables.
    Legacy,
    /// Whatever `iptables` is, on systems that have only one.
    Plain,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "nftables",
            Self::Nft => "nft",
            Self::Legacy => "legacy",
            Self::Plain => "iptables",
        })
    }
}

/// How much to tell.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Verbosity {
    /// Faults only.
    Quiet,
    /// One line per family.
    Info,
    /// Also each program that is run, and its input.
    Debug,
}

#[cfg(test)]
mod tests;

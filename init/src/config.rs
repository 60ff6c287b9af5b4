//! What to redirect, read from the flags once; every fault is listed, not only the first.

mod faults;
mod read;

use std::fmt;

use fairlead_api::values::Selection;
use ipnet::IpNet;

pub use self::faults::Faults;

/// The settings of one run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// What the rules shall say.
    pub redirect: Redirect,
    /// Whether IPv6 is redirected.
    pub ipv6: Ipv6,
    /// The backend to use, whatever is found.
    pub backend: Option<Backend>,
    /// Print instead of applying.
    pub dry_run: bool,
    /// How much to tell.
    pub verbosity: Verbosity,
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
    /// Captured inbound ports.
    pub inbound_ports: Selection<u16>,
    /// Inbound ports left alone when all others are captured.
    pub excluded_inbound_ports: Vec<u16>,
    /// Captured outbound destinations.
    pub outbound_cidrs: Selection<IpNet>,
    /// Outbound destinations left alone.
    pub excluded_outbound_cidrs: Vec<IpNet>,
    /// Outbound ports captured whatever the destination.
    pub outbound_ports: Vec<u16>,
    /// Outbound ports left alone.
    pub excluded_outbound_ports: Vec<u16>,
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

/// The variant of iptables: two tables of rules live in the kernel side by side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backend {
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

//! Programs the redirect of a pod: which connections go through the proxy.
//!
//! One run goes from settings to rules to the kernel:
//!
//! ```text
//! flags ─▶ config ─▶ plan: rules ───────────────┐
//!                                               ├─▶ restore: the difference ─▶ apply
//! iptables-save ─▶ installed: rules and text ───┘
//! ```
//!
//! Only [`apply`], [`address`], [`capability`], [`log`], [`explain::live`] and what asks the kernel
//! touch the system; the rest is plain functions of plain values.
//!
//! - [`flags`], [`config`]: Istio's flags, all faults at once
//! - [`rules`]: the rules as data, per family
//! - [`iptables`]: rules as text, those that stand, and the way between
//! - [`plan`]: what a run shall bring about, also as `--dry-run` prints it
//! - [`apply`]: runs the programs, all or nothing
//! - [`turn`]: one run at a time in a network namespace
//! - [`network_namespace`]: work in another one
//! - [`policy_route`]: where TPROXY's packets are delivered
//! - [`explain`]: why a packet is captured, or not, by the rules that stand
//! - [`address`]: the pod's IPv6, and the proxy's source address `::6`
//! - [`validation`]: proves the redirect by real connections
//! - [`capability`], [`log`]: what the process may do, and what it tells

pub mod address;
pub mod apply;
pub mod capability;
pub mod config;
pub mod explain;
pub mod flags;
#[cfg(test)]
mod fuzz;
pub mod iptables;
pub mod log;
mod netlink;
pub mod network_namespace;
pub mod nft;
pub mod plan;
pub mod policy_route;
mod process;
#[cfg(test)]
mod random;
pub mod resolver;
pub mod rules;
pub mod turn;
pub mod validation;

pub use crate::{
    config::{Action, Backend, Config, Ipv6, Redirect, Verbosity},
    flags::Flags,
    log::Log,
};

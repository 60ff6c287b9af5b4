//! `fairlead-init` in real network namespaces: the rules that it installs, and what they do to
//! real packets of real users.

mod configurations;
mod explain;
mod faults;
mod load;
mod network_namespace;
mod nftables;
mod packets;
mod pod;
mod policy_routes;
mod rules;
mod states;
mod validation;

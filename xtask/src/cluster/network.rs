//! Where a cluster lives on the network: a network namespace of its own, joined to the machine by
//! one veth pair.
//!
//! Inside it kube-proxy may write its rules, and the daemons listen on their usual ports, without
//! meeting the machine's firewall, another cluster, or a Kubernetes the user runs. Deleting the
//! namespace deletes every trace.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};

use crate::command::Program;

/// How many clusters fit beside each other.
const SLOTS: u8 = 16;

/// The addresses and interface names of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    slot: u8,
}

impl Network {
    /// The network of the cluster in this slot.
    pub(crate) fn of_slot(slot: u8) -> Option<Self> {
        (slot < SLOTS).then_some(Self { slot })
    }

    /// The first network that is neither `taken` by another cluster nor in use on this machine.
    pub(crate) fn choose(taken: &[u8]) -> Result<Self> {
        for slot in (0..SLOTS).filter(|slot| !taken.contains(slot)) {
            let network = Self { slot };
            if !network.is_routed()? {
                return Ok(network);
            }
        }
        bail!(
            "none of the {SLOTS} networks for a cluster is free: too many clusters run, or this machine uses 10.96.0.0/16, \
             10.243.0.0/16 and 10.244.0.0/17 itself (see `ip route`)"
        );
    }

    /// Its number, to be remembered.
    pub(crate) fn slot(self) -> u8 {
        self.slot
    }

    /// The machine's end of the veth pair: how pods reach what runs outside the cluster.
    pub(crate) fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 243, self.slot, 1)
    }

    /// The node's address; the apiserver listens here.
    pub(crate) fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 243, self.slot, 2)
    }

    /// Room for two thousand pods.
    pub(crate) fn pods(self) -> String {
        format!("10.244.{}.0/21", self.slot * 8)
    }

    /// The range of Service addresses.
    pub(crate) fn services(self) -> String {
        format!("10.96.{}.0/20", self.slot * 16)
    }

    /// The Service `kubernetes`: always the first address of the range.
    pub(crate) fn kubernetes_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96, self.slot * 16, 1)
    }

    /// The Service `kube-dns`.
    pub(crate) fn dns_service(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 96, self.slot * 16, 10)
    }

    fn interface(self) -> String {
        format!("fairlead{}", self.slot)
    }

    fn is_routed(self) -> Result<bool> {
        for range in [self.link(), self.pods(), self.services()] {
            // Routes to the range or a part of it. A wider one, of a private network, does not
            // count: ours are narrower and win, and refusing would leave whoever works in
            // 10.0.0.0/8 without a cluster.
            let routes = Program::new("ip")
                .args(["-4", "route", "show", "root", &range])
                .output()?;
            if !routes.trim().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn link(self) -> String {
        format!("10.243.{}.0/30", self.slot)
    }

    /// Makes the namespace, the veth pair and the routes.
    pub(crate) fn create(self, namespace: &str) -> Result<()> {
        let interface = self.interface();
        ip(&format!("netns add {namespace}"))?;
        ip(&format!(
            "link add {interface} type veth peer name eth0 netns {namespace}"
        ))?;
        ip(&format!("address add {}/30 dev {interface}", self.host()))?;
        ip(&format!("link set {interface} up"))?;
        ip(&format!("-n {namespace} link set lo up"))?;
        ip(&format!(
            "-n {namespace} address add {}/30 dev eth0",
            self.node()
        ))?;
        ip(&format!("-n {namespace} link set eth0 up"))?;
        ip(&format!(
            "-n {namespace} route add default via {}",
            self.host()
        ))?;
        ip(&format!(
            "route add {} via {} dev {interface}",
            self.pods(),
            self.node()
        ))?;
        ip(&format!(
            "route add {} via {} dev {interface}",
            self.services(),
            self.node()
        ))?;
        // Pods are routed, not bridged, so the node is a router.
        Program::new("nsenter")
            .arg(format!("--net={}", namespace_file(namespace)))
            .args(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
            .run()
    }

    /// Deletes the veth pair, which a namespace that is still in use would keep.
    pub(crate) fn delete_link(self) -> Result<()> {
        let interface = self.interface();
        if std::fs::exists(format!("/sys/class/net/{interface}"))? {
            ip(&format!("link delete {interface}"))?;
        }
        Ok(())
    }
}

/// Deletes the namespace, if it is there.
pub(crate) fn delete_namespace(namespace: &str) -> Result<()> {
    if std::fs::exists(namespace_file(namespace))? {
        ip(&format!("netns delete {namespace}"))?;
    }
    Ok(())
}

/// The file that stands for a named namespace.
pub(crate) fn namespace_file(namespace: &str) -> String {
    format!("/run/netns/{namespace}")
}

fn ip(arguments: &str) -> Result<()> {
    Program::new("ip").args(arguments.split(' ')).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_cluster_has_the_addresses_people_know() {
        let network = Network::of_slot(0).unwrap();
        assert_eq!(network.dns_service().to_string(), "10.96.0.10");
        assert_eq!(network.kubernetes_service().to_string(), "10.96.0.1");
        assert_eq!(network.pods(), "10.244.0.0/21");
    }

    #[test]
    fn last_slot_stays_within_the_private_ranges() {
        let network = Network::of_slot(SLOTS - 1).unwrap();
        assert_eq!(network.services(), "10.96.240.0/20");
        assert_eq!(network.pods(), "10.244.120.0/21");
        assert_eq!(network.node().to_string(), "10.243.15.2");
        assert_eq!(Network::of_slot(SLOTS), None);
    }

    #[test]
    fn interface_name_fits_the_kernel() {
        assert!(Network::of_slot(SLOTS - 1).unwrap().interface().len() <= 15);
    }
}

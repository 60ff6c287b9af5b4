//! Destinations that the settings capture, and that have a route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fairlead_api::values::Selection;
use ipnet::IpNet;

use super::{DNS, is_of};
use crate::{
    Redirect,
    rules::{Family, PASSTHROUGH_IPV4, PASSTHROUGH_IPV6, Ports},
    validation::surroundings::Route,
};

/// Addresses of nobody: for documentation (RFC 5737, RFC 3849) and benchmarks (RFC 2544, RFC 5180).
const FOREIGN_IPV4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(198, 51, 100, 1),
    Ipv4Addr::new(203, 0, 113, 1),
    Ipv4Addr::new(198, 18, 0, 1),
];
const FOREIGN_IPV6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1),
];
const LOOPBACK_INTERFACE: &str = "lo";

/// Chooses for one family.
pub(super) struct Chooser<'a> {
    pub(super) redirect: &'a Redirect,
    /// The port to try first.
    pub(super) probe_port: u16,
    pub(super) family: Family,
    pub(super) route: &'a dyn Fn(IpAddr) -> Option<Route>,
}

impl Chooser<'_> {
    /// An address of the pod, other than localhost, that is reached over loopback.
    pub(super) fn own_address(&self) -> Result<IpAddr, String> {
        if self.is_excluded(LOOPBACK_INTERFACE) {
            return Err("the loopback interface is excluded from the redirect".to_owned());
        }
        let passthrough: IpAddr = match self.family {
            Family::Ipv4 => PASSTHROUGH_IPV4.into(),
            Family::Ipv6 => PASSTHROUGH_IPV6.into(),
        };
        if !self.is_localhost(passthrough) {
            return Ok(passthrough);
        }
        self.foreign_addresses()
            .find_map(|address| (self.route)(address)?.source)
            .filter(|source| !self.is_localhost(*source))
            .ok_or_else(|| {
                "the pod has no address other than those that are set to mean localhost".to_owned()
            })
    }

    fn is_localhost(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.redirect.loopback_cidr.contains(&address),
            IpAddr::V6(address) => address.is_loopback(),
        }
    }

    /// A port to which the proxy's connections over loopback are redirected.
    pub(super) fn redirected_port(&self) -> Result<u16, String> {
        self.probe_ports()
            .find(|port| {
                *port != self.redirect.tunnel_port
                    && *port != DNS
                    && !has_port(&self.redirect.excluded_outbound_ports, *port)
            })
            .ok_or_else(|| "every port is excluded from the redirect".to_owned())
    }

    /// A port that TPROXY captures.
    pub(super) fn inbound_port(&self) -> Option<u16> {
        let listed: Vec<u16> = match &self.redirect.inbound_ports {
            Selection::All => Vec::new(),
            Selection::Only(ports) => ports.iter().map(|ports| ports.first).collect(),
        };
        let mut ports = self.probe_ports().chain(listed);
        ports.find(|port| self.captures_inbound(*port))
    }

    /// A port that TPROXY captures and the nat table leaves alone.
    pub(super) fn port_for_tproxy(&self) -> Option<u16> {
        let excluded = &self.redirect.excluded_outbound_ports;
        let mut ports = [self.redirect.tunnel_port]
            .into_iter()
            .chain(excluded.iter().map(|ports| ports.first));
        ports.find(|port| self.captures_inbound(*port))
    }

    fn captures_inbound(&self, port: u16) -> bool {
        let redirect = self.redirect;
        match &redirect.inbound_ports {
            Selection::All => !has_port(&redirect.excluded_inbound_ports, port),
            Selection::Only(ports) => has_port(ports, port),
        }
    }

    /// Somewhere outside where an application's connections are captured.
    pub(super) fn outbound(&self) -> Result<SocketAddr, String> {
        let redirect = self.redirect;
        let by_port = redirect.outbound_ports.iter().map(|ports| ports.first);
        let ports: Vec<u16> = self
            .probe_ports()
            .find(|port| !has_port(&redirect.excluded_outbound_ports, *port) && *port != DNS)
            .into_iter()
            .chain(by_port)
            .collect();
        let within = redirect.included_cidrs().iter().flat_map(some_hosts);
        let within = within.filter(|address| is_of(*address, self.family));
        for address in self.foreign_addresses().chain(within) {
            let captured = ports
                .iter()
                .find(|port| self.captures_outbound(address, **port));
            let Some(port) = captured else {
                continue;
            };
            let leaves = |route: Route| !route.is_local && !self.is_excluded(&route.interface);
            if (self.route)(address).is_some_and(leaves) {
                return Ok(SocketAddr::new(address, *port));
            }
        }
        Err("no destination that the settings capture has a route".to_owned())
    }

    fn captures_outbound(&self, address: IpAddr, port: u16) -> bool {
        let redirect = self.redirect;
        let excluded = has_port(&redirect.excluded_outbound_ports, port)
            || holds(&redirect.excluded_outbound_cidrs, address)
            || port == DNS;
        let included = has_port(&redirect.outbound_ports, port)
            || match &redirect.outbound_cidrs {
                Selection::All => true,
                Selection::Only(cidrs) => holds(cidrs, address),
            };
        included && !excluded
    }

    /// The first of these that a packet could go to by an interface that is not excluded.
    pub(super) fn captured_route_to(
        &self,
        mut addresses: impl Iterator<Item = IpAddr>,
    ) -> Option<IpAddr> {
        let captured = |route: Route| !self.is_excluded(&route.interface);
        addresses.find(|address| (self.route)(*address).is_some_and(captured))
    }

    /// Addresses outside, of nobody.
    pub(super) fn foreign_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let addresses: Vec<IpAddr> = match self.family {
            Family::Ipv4 => FOREIGN_IPV4.map(IpAddr::from).into(),
            Family::Ipv6 => FOREIGN_IPV6.map(IpAddr::from).into(),
        };
        addresses.into_iter()
    }

    /// The port that is set, and should that not do, those after it.
    fn probe_ports(&self) -> impl Iterator<Item = u16> {
        self.probe_port..=u16::MAX
    }

    fn is_excluded(&self, interface: &str) -> bool {
        let mut excluded = self.redirect.excluded_interfaces.iter();
        excluded.any(|pattern| match pattern.strip_suffix('+') {
            Some(beginning) => interface.starts_with(beginning),
            None => interface == pattern,
        })
    }
}

pub(super) fn has_port(ports: &[Ports], port: u16) -> bool {
    ports.iter().any(|ports| ports.contains(port))
}

fn holds(cidrs: &[IpNet], address: IpAddr) -> bool {
    cidrs.iter().any(|cidr| cidr.contains(&address))
}

/// Some addresses within a network: its ends and its middle, since a part of it may be excluded.
fn some_hosts(cidr: &IpNet) -> Vec<IpAddr> {
    if cidr.addr().is_loopback() {
        return Vec::new();
    }
    match cidr {
        IpNet::V4(cidr) => {
            let (first, last) = (u32::from(cidr.network()), u32::from(cidr.broadcast()));
            let hosts = match last - first {
                0 | 1 => [first, last, last],
                size => [first + 1, first + size / 2, last - 1],
            };
            hosts.map(|host| Ipv4Addr::from(host).into()).into()
        }
        IpNet::V6(cidr) => {
            let (first, last) = (u128::from(cidr.network()), u128::from(cidr.broadcast()));
            let hosts = match last - first {
                0 | 1 => [first, last, last],
                size => [first + 1, first + size / 2, last - 1],
            };
            hosts.map(|host| Ipv6Addr::from(host).into()).into()
        }
    }
}

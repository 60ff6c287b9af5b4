//! The longest of several address ranges that an address is in.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

/// Up to this many ranges looking at each is quicker than a trie is.
const FEW: usize = 16;

/// Values by address range.
#[derive(Debug)]
pub(super) enum Addresses<T> {
    /// The longest ranges first.
    Few(Box<[(IpNet, T)]>),
    Many(Box<Tries<T>>),
}

#[derive(Debug)]
pub(super) struct Tries<T> {
    ipv4: PrefixMap<Ipv4Net, T>,
    ipv6: PrefixMap<Ipv6Net, T>,
}

impl<T> Addresses<T> {
    pub(super) fn new(mut ranges: Vec<(IpNet, T)>) -> Self {
        if ranges.len() <= FEW {
            ranges.sort_by_key(|(range, _)| std::cmp::Reverse(range.prefix_len()));
            return Self::Few(ranges.into());
        }
        let mut tries = Tries {
            ipv4: PrefixMap::new(),
            ipv6: PrefixMap::new(),
        };
        for (range, value) in ranges {
            match range {
                IpNet::V4(range) => tries.ipv4.insert(range, value),
                IpNet::V6(range) => tries.ipv6.insert(range, value),
            };
        }
        Self::Many(tries.into())
    }

    pub(super) fn longest(&self, address: IpAddr) -> Option<(IpNet, &T)> {
        match (self, address) {
            (Self::Few(ranges), _) => {
                let mut ranges = ranges.iter();
                let found = ranges.find(|(range, _)| range.contains(&address));
                found.map(|(range, value)| (*range, value))
            }
            (Self::Many(tries), IpAddr::V4(address)) => {
                let found = tries.ipv4.get_lpm(&address.into());
                found.map(|(range, value)| ((*range).into(), value))
            }
            (Self::Many(tries), IpAddr::V6(address)) => {
                let found = tries.ipv6.get_lpm(&address.into());
                found.map(|(range, value)| ((*range).into(), value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ranges: &[&str], address: &str, expected: Option<&str>) {
        let few = ranges.iter().map(|range| (range.parse().unwrap(), ()));
        let few: Vec<(IpNet, ())> = few.collect();
        let others =
            (0..FEW as u32).map(|index| (Ipv4Net::from(std::net::Ipv4Addr::from(index)), ()));
        let many = few
            .iter()
            .copied()
            .chain(others.map(|(range, ())| (range.into(), ())));
        for addresses in [Addresses::new(few.clone()), Addresses::new(many.collect())] {
            let found = addresses.longest(address.parse().unwrap());
            let found = found.map(|(range, ())| range.to_string());
            assert_eq!(found.as_deref(), expected, "{addresses:?}");
        }
    }

    #[test]
    fn the_longest_range_is_found() {
        let ranges = ["10.0.0.0/8", "10.1.0.0/16", "fd00::/8", "10.1.2.3/32"];
        check(&ranges, "10.1.2.3", Some("10.1.2.3/32"));
        check(&ranges, "10.1.2.4", Some("10.1.0.0/16"));
        check(&ranges, "10.2.0.1", Some("10.0.0.0/8"));
        check(&ranges, "11.0.0.1", None);
        check(&ranges, "fd00::1", Some("fd00::/8"));
        check(&ranges, "fe80::1", None);
        check(&["0.0.0.0/0"], "11.0.0.1", Some("0.0.0.0/0"));
        check(&["0.0.0.0/0"], "::1", None);
    }
}

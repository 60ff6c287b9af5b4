//! The addresses of the pod: whether it has IPv6, and the one that the proxy needs on loopback.
//!
//! The proxy's connections to the application come from `::6`. While all of 127.0.0.0/8 is local,
//! `::6` must be added. That goes by rtnetlink, for want of an `ip` program in a small image.

use std::{fs, io, net::Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
};
use rustix::io::Errno;

use crate::{netlink, rules::PASSTHROUGH_IPV6};

/// That of the calling thread: /proc/net is that of the process's first one.
const IPV6_ADDRESSES: &str = "/proc/thread-self/net/if_inet6";
/// The kernel gives this index to the loopback interface of each namespace.
pub(crate) const LOOPBACK_INDEX: u32 = 1;

/// Why the proxy's source address is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The list of addresses could not be read.
    #[error("read {IPV6_ADDRESSES}")]
    List {
        /// What the kernel said.
        source: io::Error,
    },
    /// IPv6 is off where it is needed.
    #[error(
        "IPv6 is disabled on the loopback interface, so the proxy cannot reach the application \
         from {PASSTHROUGH_IPV6}: set the sysctls net.ipv6.conf.all.disable_ipv6 and \
         net.ipv6.conf.lo.disable_ipv6 to 0, or run with --ipv6 off"
    )]
    Disabled,
    /// The kernel refused for another reason.
    #[error("add {PASSTHROUGH_IPV6}/128 to the loopback interface")]
    Add {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused to take it away.
    #[error("remove {PASSTHROUGH_IPV6}/128 from the loopback interface")]
    Remove {
        /// What the kernel said.
        source: io::Error,
    },
}

/// The IPv6 addresses of the network namespace; none where the kernel has no IPv6.
///
/// # Errors
/// When the kernel's list cannot be read.
pub fn ipv6_addresses() -> Result<Vec<Ipv6Addr>, AddressError> {
    match fs::read_to_string(IPV6_ADDRESSES) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(AddressError::List { source }),
    }
}

/// Each line begins with the address as 32 hexadecimal digits.
fn parse(text: &str) -> Vec<Ipv6Addr> {
    let digits = text.lines().filter_map(|line| line.split(' ').next());
    digits
        .filter_map(|digits| u128::from_str_radix(digits, 16).ok())
        .map(Ipv6Addr::from)
        .collect()
}

/// Makes [`PASSTHROUGH_IPV6`] a local address; tells whether it was none.
///
/// # Errors
/// When IPv6 is disabled there, or the kernel refuses for another reason.
pub fn add_passthrough() -> Result<bool, AddressError> {
    let addition = RouteNetlinkMessage::NewAddress(passthrough());
    match netlink::change(addition, NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) => Ok(true),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::EXIST) => Ok(false),
            // The kernel's answer for an interface with disable_ipv6, and for one without IPv6.
            Some(Errno::ACCESS | Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::NODEV) => {
                Err(AddressError::Disabled)
            }
            _ => Err(AddressError::Add { source: error }),
        },
    }
}

/// Takes [`PASSTHROUGH_IPV6`] away; tells whether it was there.
///
/// # Errors
/// When the kernel refuses.
pub fn remove_passthrough() -> Result<bool, AddressError> {
    match netlink::change(RouteNetlinkMessage::DelAddress(passthrough()), 0) {
        Ok(()) => Ok(true),
        Err(error) => match Errno::from_io_error(&error) {
            // It is not there, nor can it be where IPv6 is not.
            Some(
                Errno::ADDRNOTAVAIL
                | Errno::NXIO
                | Errno::NODEV
                | Errno::OPNOTSUPP
                | Errno::AFNOSUPPORT,
            ) => Ok(false),
            _ => Err(AddressError::Remove { source: error }),
        },
    }
}

fn passthrough() -> AddressMessage {
    let mut address = AddressMessage::default();
    address.header.family = AddressFamily::Inet6;
    address.header.prefix_len = 128;
    // Nobody else can have it, and detection would delay its first use.
    address.header.flags = AddressHeaderFlags::Nodad;
    address.header.index = LOOPBACK_INDEX;
    address.attributes = vec![AddressAttribute::Local(PASSTHROUGH_IPV6.into())];
    address
}

#[cfg(test)]
mod tests {
    use super::{AddressError, parse};
    use crate::random::Random;

    #[test]
    fn each_fault_says_what_was_refused() {
        let refused = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        for (error, expected) in [
            (
                AddressError::List { source: refused() },
                "read /proc/thread-self/net/if_inet6",
            ),
            (
                AddressError::Disabled,
                "IPv6 is disabled on the loopback interface, so the proxy cannot reach the \
                 application from ::6: set the sysctls net.ipv6.conf.all.disable_ipv6 and \
                 net.ipv6.conf.lo.disable_ipv6 to 0, or run with --ipv6 off",
            ),
            (
                AddressError::Add { source: refused() },
                "add ::6/128 to the loopback interface",
            ),
            (
                AddressError::Remove { source: refused() },
                "remove ::6/128 from the loopback interface",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn addresses_are_read_from_the_kernels_list() {
        let text = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fd000000000000000000000000000002 1b 40 00 80     eth0\nnonsense\n";
        assert_eq!(
            parse(text),
            ["::1", "fd00::2"].map(|address| address.parse::<std::net::Ipv6Addr>().unwrap())
        );
        assert!(parse("").is_empty());
    }

    #[test]
    fn no_mutation_of_a_list_has_more_addresses_than_lines() {
        let text = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fd000000000000000000000000000002 1b 40 00 80     eth0\n";
        let mut random = Random::new(13);
        for _ in 0..20_000 {
            let mutation = random.mutation(text, &["\n", "f", "+", "-", "g", " ", "é"]);
            assert!(parse(&mutation).len() <= mutation.lines().count());
        }
    }
}

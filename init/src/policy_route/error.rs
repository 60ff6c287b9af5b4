//! Why the policy route is not as it should be, and what to do about it.

use std::io;

use rustix::io::Errno;

use super::is_unsupported;
use crate::rules::Family;

/// Why the policy route is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The kernel reads mark 0 as no condition at all.
    #[error(
        "the mark 0 would catch every packet: give --istio-inbound-tproxy-mark another one, \
         such as Istio's 1337"
    )]
    MarkOfAll,
    /// The table is one that all packets go by.
    #[error(
        "the routing table {table} is the kernel's own: give --istio-inbound-tproxy-route-table \
         another one, such as Istio's 133"
    )]
    KernelsTable {
        /// Its number.
        table: u32,
    },
    /// The table has routes that are not ours.
    #[error(
        "the routing table {table} has routes of somebody else: give \
         --istio-inbound-tproxy-route-table the number of a table that is free"
    )]
    TableInUse {
        /// Its number.
        table: u32,
    },
    /// The kernel cannot tell our rule from another one when it deletes.
    #[error(
        "two policy rules with the priority {priority} have the same mark and table, one of them \
         somebody else's: delete ours by `ip rule delete`, or give the other another priority"
    )]
    Ambiguous {
        /// Their priority.
        priority: u32,
    },
    /// No NET_ADMIN.
    #[error(
        "{action}: the capability NET_ADMIN is missing: add it to \
         securityContext.capabilities of the container, which must run as root"
    )]
    Privilege {
        /// What was refused.
        action: &'static str,
    },
    /// The kernel has been built without.
    #[error(
        "the kernel has no policy routing for {family}: TPROXY needs a kernel with {option}; use \
         one on the node, or --istio-inbound-interception-mode REDIRECT{choice}"
    )]
    NoPolicyRouting {
        /// The family.
        family: &'static str,
        /// The build option that was off.
        option: &'static str,
        /// What else can be done.
        choice: &'static str,
    },
    /// A sysctl keeps IPv6 from the loopback interface.
    #[error(
        "IPv6 is disabled on the loopback interface: set the sysctls \
         net.ipv6.conf.all.disable_ipv6 and net.ipv6.conf.lo.disable_ipv6 to 0, or run with \
         --ipv6 off"
    )]
    Ipv6Disabled,
    /// The loopback interface takes no route.
    #[error("{action}: the loopback interface is down: set it up by `ip link set lo up`")]
    LoopbackDown {
        /// What was refused.
        action: &'static str,
    },
    /// The kernel refused for another reason.
    #[error("{action} of {family}")]
    Kernel {
        /// What was refused.
        action: &'static str,
        /// The family.
        family: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What the kernel is asked to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    ListRules,
    ListRoutes,
    AddRule,
    AddRoute,
    DeleteRule,
    DeleteRoute,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::ListRules => "list the policy rules",
            Self::ListRoutes => "list the routes",
            Self::AddRule => "add the policy rule",
            Self::AddRoute => "add the local route",
            Self::DeleteRule => "delete a policy rule",
            Self::DeleteRoute => "delete a local route",
        }
    }
}

impl RouteError {
    pub(super) fn of(action: Action, family: Family, source: io::Error) -> Self {
        let name = action.name();
        if is_unsupported(&source) {
            let (option, choice) = match family {
                Family::Ipv4 => ("CONFIG_IP_MULTIPLE_TABLES", ""),
                Family::Ipv6 => ("CONFIG_IPV6_MULTIPLE_TABLES", ", or --ipv6 off"),
            };
            return Self::NoPolicyRouting {
                family: family.name(),
                option,
                choice,
            };
        }
        match Errno::from_io_error(&source) {
            Some(Errno::PERM) => Self::Privilege { action: name },
            Some(Errno::ACCESS) if family == Family::Ipv6 => Self::Ipv6Disabled,
            Some(Errno::NETDOWN) => Self::LoopbackDown { action: name },
            _ => Self::Kernel {
                action: name,
                family: family.name(),
                source,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::{Action, RouteError};
    use crate::rules::Family;

    #[track_caller]
    fn check(family: Family, errno: Errno, expected: &str) {
        let error = RouteError::of(Action::AddRoute, family, errno.into());
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn each_setting_that_cannot_be_has_a_remedy() {
        for (error, expected) in [
            (
                RouteError::MarkOfAll,
                "the mark 0 would catch every packet: give --istio-inbound-tproxy-mark another \
                 one, such as Istio's 1337",
            ),
            (
                RouteError::KernelsTable { table: 254 },
                "the routing table 254 is the kernel's own: give \
                 --istio-inbound-tproxy-route-table another one, such as Istio's 133",
            ),
            (
                RouteError::TableInUse { table: 133 },
                "the routing table 133 has routes of somebody else: give \
                 --istio-inbound-tproxy-route-table the number of a table that is free",
            ),
            (
                RouteError::Ambiguous { priority: 100 },
                "two policy rules with the priority 100 have the same mark and table, one of them \
                 somebody else's: delete ours by `ip rule delete`, or give the other another \
                 priority",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        check(
            Family::Ipv4,
            Errno::PERM,
            "add the local route: the capability NET_ADMIN is missing: add it to \
             securityContext.capabilities of the container, which must run as root",
        );
        check(
            Family::Ipv4,
            Errno::OPNOTSUPP,
            "the kernel has no policy routing for ipv4: TPROXY needs a kernel with \
             CONFIG_IP_MULTIPLE_TABLES; use one on the node, or \
             --istio-inbound-interception-mode REDIRECT",
        );
        check(
            Family::Ipv6,
            Errno::AFNOSUPPORT,
            "the kernel has no policy routing for ipv6: TPROXY needs a kernel with \
             CONFIG_IPV6_MULTIPLE_TABLES; use one on the node, or \
             --istio-inbound-interception-mode REDIRECT, or --ipv6 off",
        );
        check(
            Family::Ipv6,
            Errno::ACCESS,
            "IPv6 is disabled on the loopback interface: set the sysctls \
             net.ipv6.conf.all.disable_ipv6 and net.ipv6.conf.lo.disable_ipv6 to 0, or run with \
             --ipv6 off",
        );
        check(
            Family::Ipv4,
            Errno::NETDOWN,
            "add the local route: the loopback interface is down: set it up by `ip link set lo up`",
        );
        check(Family::Ipv4, Errno::INVAL, "add the local route of ipv4");
    }
}

//! The policy route of TPROXY: packets with its mark are delivered to this host, whatever their
//! destination.
//!
//! For each family that is `ip rule add fwmark MARK lookup TABLE` and
//! `ip route add local default dev lo table TABLE`, by rtnetlink for want of an `ip` program in a
//! small image. The kernel takes a second such rule as readily as the first, so what stands is
//! read before anything is added.

mod error;
mod route;
mod rule;

use std::{fmt, io};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage, route::RouteMessage, rule::RuleMessage,
};
use rustix::io::Errno;

pub use self::error::RouteError;
use self::{
    error::Action,
    rule::{Change, Standing},
};
use crate::{netlink, rules::Family};

/// What a call changed; by default nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Changed {
    /// A rule was added.
    pub rule_added: bool,
    /// So many rules were deleted, equal to the one that stays or useless.
    pub rules_deleted: usize,
    /// A route was added.
    pub route_added: bool,
    /// So many routes were deleted.
    pub routes_deleted: usize,
}

impl Changed {
    /// Whether anything is different now.
    pub fn anything(self) -> bool {
        self != Self::default()
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = |added| if added { 1 } else { 0 };
        write!(
            f,
            "policy rules: {} added, {} deleted; routes: {} added, {} deleted",
            added(self.rule_added),
            self.rules_deleted,
            added(self.route_added),
            self.routes_deleted
        )
    }
}

/// Makes one rule and one route stand, and changes nothing if they do.
///
/// Equal ones that stand besides are deleted; there is no moment without one.
///
/// # Errors
/// The numbers would catch other packets, the table is somebody else's, or the kernel refuses.
pub fn ensure(family: Family, mark: u32, table: u32) -> Result<Changed, RouteError> {
    check(mark, table)?;
    let mut changed = Changed::default();
    match bring_about(family, mark, table, &mut changed) {
        Ok(()) => Ok(changed),
        Err(error) => {
            if changed.route_added {
                // Without the rule it does nothing; why the rule could not be is worth more.
                let _ =
                    routes(family, table).and_then(|routes| delete_routes(family, &routes.ours));
            }
            Err(error)
        }
    }
}

fn bring_about(
    family: Family,
    mark: u32,
    table: u32,
    changed: &mut Changed,
) -> Result<(), RouteError> {
    // The route first: the rule without it would send packets on as if it were not there.
    let routes = routes(family, table)?;
    if routes.foreign > 0 {
        return Err(RouteError::TableInUse { table });
    }
    match routes.ours.split_first() {
        Some((_, further)) => {
            changed.routes_deleted = delete_routes(family, further)?;
        }
        None => {
            let addition = RouteNetlinkMessage::NewRoute(route::addition(family, table));
            netlink::change(addition, NLM_F_CREATE | NLM_F_EXCL)
                .map_err(|error| RouteError::of(Action::AddRoute, family, error))?;
            changed.route_added = true;
        }
    }

    let standing = rules(family, mark, table)?;
    for change in rule::to_one(&standing)? {
        match change {
            Change::Add => {
                let addition = RouteNetlinkMessage::NewRule(rule::addition(family, mark, table));
                netlink::change(addition, NLM_F_CREATE)
                    .map_err(|error| RouteError::of(Action::AddRule, family, error))?;
                changed.rule_added = true;
            }
            Change::Delete(priority) => {
                if delete_rule(family, mark, table, priority)? {
                    changed.rules_deleted += 1;
                }
            }
        }
    }
    Ok(())
}

/// Deletes what [`ensure`] made for other marks and tables than the kept ones, if any are; tells
/// the marks.
///
/// # Errors
/// The kernel refuses.
pub fn remove_others(family: Family, kept: Option<(u32, u32)>) -> Result<Vec<u32>, RouteError> {
    let mut removed = Vec::new();
    for table in tables(family)? {
        let rules = match list_rules(family) {
            Err(RouteError::NoPolicyRouting { .. }) => return Ok(removed),
            rules => rules?,
        };
        for mark in rule::marks(rules.iter(), family, table) {
            if kept == Some((mark, table)) {
                continue;
            }
            let standing = Standing::of(rules.iter(), family, mark, table);
            for priority in rule::to_none(&standing)? {
                delete_rule(family, mark, table, priority)?;
            }
            removed.push(mark);
        }
        if kept.is_none_or(|(_, kept)| kept != table) {
            delete_routes(family, &routes(family, table)?.ours)?;
        }
    }
    Ok(removed)
}

/// Deletes all rules and routes that [`ensure`] could have made; tells whether there was one.
///
/// # Errors
/// The kernel refuses.
pub fn remove(family: Family, mark: u32, table: u32) -> Result<bool, RouteError> {
    check(mark, table)?;
    let standing = match rules(family, mark, table) {
        // A kernel that cannot have them has none.
        Err(RouteError::NoPolicyRouting { .. }) => return Ok(false),
        standing => standing?,
    };
    let mut removed = false;
    for priority in rule::to_none(&standing)? {
        removed |= delete_rule(family, mark, table, priority)?;
    }
    let routes = routes(family, table)?;
    removed |= delete_routes(family, &routes.ours)? > 0;
    Ok(removed)
}

/// Refuses what would take the whole network away.
fn check(mark: u32, table: u32) -> Result<(), RouteError> {
    // Unspecified, and the kernel's own default, main and local.
    const TAKEN: [u32; 4] = [0, 253, 254, 255];
    if mark == 0 {
        return Err(RouteError::MarkOfAll);
    }
    if TAKEN.contains(&table) {
        return Err(RouteError::KernelsTable { table });
    }
    Ok(())
}

fn rules(family: Family, mark: u32, table: u32) -> Result<Standing, RouteError> {
    let rules = list_rules(family)?;
    Ok(Standing::of(rules.iter(), family, mark, table))
}

fn list_rules(family: Family) -> Result<Vec<RuleMessage>, RouteError> {
    let list = netlink::list(&RouteNetlinkMessage::GetRule(rule::question(family)))
        .map_err(|error| RouteError::of(Action::ListRules, family, error))?;
    let rules = list.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewRule(rule) => Some(rule),
        _ => None,
    });
    Ok(rules.collect())
}

/// The tables that hold a route of ours.
fn tables(family: Family) -> Result<Vec<u32>, RouteError> {
    let routes = list_routes(family, &route::question_of_all(family))?;
    Ok(route::tables(&routes, family))
}

fn delete_rule(family: Family, mark: u32, table: u32, priority: u32) -> Result<bool, RouteError> {
    let deletion = rule::deletion(family, mark, table, priority);
    match netlink::change(RouteNetlinkMessage::DelRule(deletion), 0) {
        Err(error) => match Errno::from_io_error(&error) {
            // Somebody else was faster.
            Some(Errno::NOENT) => Ok(false),
            _ => Err(RouteError::of(Action::DeleteRule, family, error)),
        },
        Ok(()) => Ok(true),
    }
}

fn routes(family: Family, table: u32) -> Result<route::Standing, RouteError> {
    let routes = list_routes(family, &route::question(family, table))?;
    Ok(route::Standing::of(routes.into_iter(), family, table))
}

fn list_routes(family: Family, question: &RouteMessage) -> Result<Vec<RouteMessage>, RouteError> {
    let list = match netlink::list(&RouteNetlinkMessage::GetRoute(question.clone())) {
        Ok(list) => list,
        Err(error) => match Errno::from_io_error(&error) {
            // The kernel makes a table for its first route.
            Some(Errno::NOENT) => Vec::new(),
            _ => return Err(RouteError::of(Action::ListRoutes, family, error)),
        },
    };
    let routes = list.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewRoute(route) => Some(route),
        _ => None,
    });
    Ok(routes.collect())
}

fn delete_routes(family: Family, routes: &[route::Ours]) -> Result<usize, RouteError> {
    let mut deleted = 0;
    for route in routes {
        let deletion = RouteNetlinkMessage::DelRoute(route.deletion(family));
        match netlink::change(deletion, 0) {
            Ok(()) => deleted += 1,
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::SRCH) => {}
                _ => return Err(RouteError::of(Action::DeleteRoute, family, error)),
            },
        }
    }
    Ok(deleted)
}

fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// Whether a failure means that the kernel has no such thing.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PFNOSUPPORT | Errno::PROTONOSUPPORT)
    )
}

#[cfg(test)]
mod tests {
    use super::{RouteError, check};

    #[test]
    fn numbers_that_catch_all_packets_are_refused() {
        assert!(matches!(check(0, 133), Err(RouteError::MarkOfAll)));
        for table in [0, 253, 254, 255] {
            assert!(matches!(
                check(1337, table),
                Err(RouteError::KernelsTable { .. })
            ));
        }
        for table in [1, 133, 252, 256, 5000, u32::MAX] {
            assert!(check(1337, table).is_ok());
        }
    }
}

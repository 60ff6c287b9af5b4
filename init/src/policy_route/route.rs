//! Routes of the policy's table: which are ours.

use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::address_family;
use crate::{address::LOOPBACK_INDEX, rules::Family};

/// Tells our routes in whatever table; of those that rtnetlink(7) leaves to users.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0xf1);

/// What the table holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Standing {
    /// Local routes for everything.
    pub(super) ours: Vec<Ours>,
    /// So many of somebody else.
    pub(super) foreign: usize,
}

/// A route of ours; such routes differ by metric alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ours {
    table: u32,
    metric: Option<u32>,
}

impl Standing {
    pub(super) fn of(
        routes: impl Iterator<Item = RouteMessage>,
        family: Family,
        table: u32,
    ) -> Self {
        let mut standing = Self::default();
        for route in routes {
            // A kernel that does not choose by the question's fields lists all tables.
            let is_meant = route.header.address_family == address_family(family)
                && table_of(&route) == table
                && !route.header.flags.contains(RouteFlags::Cloned);
            if !is_meant {
                continue;
            }
            if is_local_default(&route) {
                let metric = route
                    .attributes
                    .iter()
                    .find_map(|attribute| match attribute {
                        RouteAttribute::Priority(metric) => Some(*metric),
                        _ => None,
                    });
                standing.ours.push(Ours { table, metric });
            } else {
                standing.foreign += 1;
            }
        }
        standing
    }
}

/// The tables that hold a route which [`addition`] made.
pub(super) fn tables(routes: &[RouteMessage], family: Family) -> Vec<u32> {
    let ours = routes.iter().filter(|route| {
        route.header.address_family == address_family(family)
            && route.header.protocol == PROTOCOL
            && is_local_default(route)
    });
    let mut tables: Vec<u32> = ours.map(table_of).collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

impl Ours {
    pub(super) fn deletion(self, family: Family) -> RouteMessage {
        let mut route = addition(family, self.table);
        // Whoever made it, in whatever scope.
        route.header.protocol = RouteProtocol::Unspec;
        route.header.scope = RouteScope::NoWhere;
        route
            .attributes
            .extend(self.metric.map(RouteAttribute::Priority));
        route
    }
}

fn table_of(route: &RouteMessage) -> u32 {
    let wide = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    wide.unwrap_or_else(|| route.header.table.into())
}

fn is_local_default(route: &RouteMessage) -> bool {
    route.header.kind == RouteType::Local
        && route.header.destination_prefix_length == 0
        && route.header.source_prefix_length == 0
        && route.header.tos == 0
        && route
            .attributes
            .contains(&RouteAttribute::Oif(LOOPBACK_INDEX))
}

/// Asks for the routes of all tables.
pub(super) fn question_of_all(family: Family) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = address_family(family);
    route
}

/// Asks for the routes of a table.
pub(super) fn question(family: Family, table: u32) -> RouteMessage {
    let mut route = question_of_all(family);
    route.attributes = vec![RouteAttribute::Table(table)];
    route
}

/// Our route.
pub(super) fn addition(family: Family, table: u32) -> RouteMessage {
    let mut route = question(family, table);
    route.header.kind = RouteType::Local;
    route.header.scope = RouteScope::Host;
    route.header.protocol = PROTOCOL;
    route.attributes.push(RouteAttribute::Oif(LOOPBACK_INDEX));
    route
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteType};

    use super::{Ours, Standing, addition, tables};
    use crate::rules::Family;

    #[track_caller]
    fn check(alter: impl FnOnce(&mut RouteMessage), ours: &[Option<u32>], foreign: usize) {
        let mut route = addition(Family::Ipv6, 5000);
        alter(&mut route);
        let standing = Standing::of([route].into_iter(), Family::Ipv6, 5000);
        let ours = ours.iter().map(|metric| Ours {
            table: 5000,
            metric: *metric,
        });
        let ours = ours.collect();
        assert_eq!(standing, Standing { ours, foreign });
    }

    #[test]
    fn a_local_route_for_everything_is_ours() {
        check(|_| (), &[None], 0);
        check(
            |route| route.attributes.push(RouteAttribute::Priority(1024)),
            &[Some(1024)],
            0,
        );
    }

    #[test]
    fn any_other_route_of_the_table_is_foreign() {
        check(|route| route.header.kind = RouteType::Unicast, &[], 1);
        check(|route| route.header.destination_prefix_length = 8, &[], 1);
        check(
            |route| {
                route.attributes.pop();
                route.attributes.push(RouteAttribute::Oif(7));
            },
            &[],
            1,
        );
    }

    #[test]
    fn tables_of_ours_are_told_by_who_made_the_route() {
        let mut foreign = addition(Family::Ipv4, 200);
        foreign.header.protocol = RouteProtocol::Boot;
        let mut narrow = addition(Family::Ipv4, 300);
        narrow.header.destination_prefix_length = 8;
        let other_family = addition(Family::Ipv6, 400);
        let ours = [5000, 133, 5000].map(|table| addition(Family::Ipv4, table));
        let routes = [&[foreign, narrow, other_family], &ours[..]].concat();
        assert_eq!(tables(&routes, Family::Ipv4), [133, 5000]);
    }

    #[test]
    fn routes_of_other_tables_and_families_do_not_count() {
        let other = addition(Family::Ipv6, 133);
        let v4 = addition(Family::Ipv4, 5000);
        let mut narrow = addition(Family::Ipv6, 5000);
        narrow.attributes.clear();
        narrow.header.table = 254;
        let standing = Standing::of([other, v4, narrow].into_iter(), Family::Ipv6, 5000);
        assert_eq!(standing, Standing::default());
    }
}

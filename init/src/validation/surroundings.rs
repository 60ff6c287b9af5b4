//! What the kernel would do with a packet, without sending one.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use socket2::{Domain, Socket, Type};

use crate::{address::LOOPBACK_INDEX, netlink};

/// The way to an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Route {
    /// The interface by which a packet leaves.
    pub(super) interface: String,
    /// The address that it comes from.
    pub(super) source: Option<IpAddr>,
    /// It never leaves the pod.
    pub(super) is_local: bool,
}

/// The way to an address; none if there is none.
pub(super) fn route(destination: IpAddr) -> Option<Route> {
    route_of(question(destination))
}

/// Whether packets with a mark are delivered to the pod, whoever they are for.
pub(super) fn delivers(mark: u32, destination: IpAddr) -> bool {
    let mut question = question(destination);
    question.attributes.push(RouteAttribute::Mark(mark));
    route_of(question).is_some_and(|route| route.is_local)
}

fn route_of(question: RouteMessage) -> Option<Route> {
    let answer = netlink::ask(RouteNetlinkMessage::GetRoute(question)).ok()?;
    let RouteNetlinkMessage::NewRoute(answer) = answer else {
        return None;
    };
    if !matches!(answer.header.kind, RouteType::Unicast | RouteType::Local) {
        return None;
    }
    let index = answer
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })?;
    let source = answer
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => Some((*address).into()),
            RouteAttribute::PrefSource(RouteAddress::Inet6(address)) => Some((*address).into()),
            _ => None,
        });
    Some(Route {
        interface: interface_name(index)?,
        source,
        is_local: answer.header.kind == RouteType::Local || index == LOOPBACK_INDEX,
    })
}

fn question(destination: IpAddr) -> RouteMessage {
    let mut question = RouteMessage::default();
    let address = match destination {
        IpAddr::V4(address) => {
            question.header.address_family = AddressFamily::Inet;
            question.header.destination_prefix_length = 32;
            RouteAddress::Inet(address)
        }
        IpAddr::V6(address) => {
            question.header.address_family = AddressFamily::Inet6;
            question.header.destination_prefix_length = 128;
            RouteAddress::Inet6(address)
        }
    };
    question.attributes = vec![RouteAttribute::Destination(address)];
    question
}

fn interface_name(index: u32) -> Option<String> {
    // The kernel wants a socket for the question, of whatever kind.
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    rustix::net::netdevice::index_to_name(&socket, index).ok()
}

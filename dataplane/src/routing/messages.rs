//! What messages of rtnetlink say of policy rules, routes and neighbors. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::entries::{Hop, PolicyRule, Verdict, family_of};
use super::marks::Mark;
use crate::rule::Family;

/// `AF_*` of a family.
pub(super) fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// The message that names a neighbor.
pub(super) fn neighbor_message(hop: &Hop) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = address_family(family_of(hop.gateway));
    message.header.ifindex = hop.link;
    let address = match hop.gateway {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message
        .attributes
        .push(NeighbourAttribute::Destination(address));
    message
}

/// Whether a neighbor is static, was learned by a program, or is looked after by the kernel for somebody.
pub(super) fn is_kept_by_others(neighbor: &NeighbourMessage) -> bool {
    let is_static = matches!(
        neighbor.header.state,
        NeighbourState::Permanent | NeighbourState::Noarp
    );
    let is_learned = neighbor.header.flags.contains(NeighbourFlags::ExtLearned);
    let mut attributes = neighbor.attributes.iter();
    let is_managed = attributes.any(
        |attribute| matches!(attribute, NeighbourAttribute::ExtFlags(flags) if !flags.is_empty()),
    );
    is_static || is_learned || is_managed
}

/// A policy rule as we make them, with our protocol number.
pub(super) fn parse_rule(
    message: &RuleMessage,
    family: Family,
    protocol: u8,
) -> Option<PolicyRule> {
    let (mut priority, mut value, mut mask, mut table, mut own) = (0, 0, 0, None, false);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::FwMark(number) => value = *number,
            RuleAttribute::FwMask(number) => mask = *number,
            RuleAttribute::Table(number) => table = Some(*number),
            RuleAttribute::Protocol(number) => own = *number == RouteProtocol::from(protocol),
            _ => {}
        }
    }
    let verdict = match message.header.action {
        RuleAction::ToTable => Verdict::Lookup(table?),
        RuleAction::Blackhole => Verdict::Discard,
        _ => return None,
    };
    own.then_some(PolicyRule {
        family,
        priority,
        mark: Mark { mask, value },
        verdict,
    })
}

/// A default route as we make them.
pub(super) fn parse_default(
    route: &RouteMessage,
    family: Family,
) -> Option<((Family, u32), BTreeSet<Hop>)> {
    let mut attributes = route.attributes.iter();
    let several = attributes.find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(several) => Some(several),
        _ => None,
    });
    let hops: Option<BTreeSet<Hop>> = match several {
        Some(several) => several
            .iter()
            .map(|hop| {
                Some(Hop {
                    gateway: gateway_in(&hop.attributes)?,
                    link: hop.interface_index,
                })
            })
            .collect(),
        None => Some(
            [Hop {
                gateway: gateway_of(route)?,
                link: oif_of(route)?,
            }]
            .into(),
        ),
    };
    let is_default = route.header.destination_prefix_length == 0;
    hops.filter(|_| is_default)
        .map(|hops| ((family, table_of(route)), hops))
}

/// Writes where a route leads: to neighbors on their links, whatever else is known of the links.
pub(super) fn set_hops(route: &mut RouteMessage, family: Family, hops: &BTreeSet<Hop>) {
    let gateway = |hop: &Hop| match hop.gateway {
        IpAddr::V6(gateway) if family == Family::Ipv4 => {
            RouteAttribute::Via(RouteVia::Inet6(gateway))
        }
        gateway => RouteAttribute::Gateway(gateway.into()),
    };
    if let (Some(hop), 1) = (hops.first(), hops.len()) {
        route.header.flags = RouteFlags::Onlink;
        let attributes = [RouteAttribute::Oif(hop.link), gateway(hop)];
        return route.attributes.extend(attributes);
    }
    let several = hops.iter().map(|hop| {
        let mut several = RouteNextHop::default();
        several.flags = RouteNextHopFlags::Onlink;
        several.interface_index = hop.link;
        several.attributes = vec![gateway(hop)];
        several
    });
    route
        .attributes
        .push(RouteAttribute::MultiPath(several.collect()));
}

/// The table that a route is in.
pub(super) fn table_of(route: &RouteMessage) -> u32 {
    let table = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    table.unwrap_or_else(|| route.header.table.into())
}

/// The neighbor that a route leads to.
pub(super) fn gateway_of(route: &RouteMessage) -> Option<IpAddr> {
    gateway_in(&route.attributes)
}

/// The neighbor among these attributes.
fn gateway_in(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some((*address).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}

/// Whether packets that take a route get a header or a label on the way (MPLS, SRv6 and the like).
pub(super) fn encapsulates(route: &RouteMessage) -> bool {
    let mut attributes = route.attributes.iter();
    attributes.any(|attribute| {
        matches!(
            attribute,
            RouteAttribute::Encap(_) | RouteAttribute::EncapType(_)
        )
    })
}

/// The link that a route leads to.
pub(super) fn oif_of(route: &RouteMessage) -> Option<u32> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(link) => Some(*link),
            _ => None,
        })
}

//! What no rule ever touches: the sessions that this machine lives by.

use std::sync::Arc;

use crate::interval::IntervalSet;
use crate::packet::Packet;
use crate::rule::{AddressPattern, Family, FragmentKind, FragmentSet, Match, RareFields, Rule};

/// Protocol number of TCP.
const TCP: u32 = 6;
/// Protocol number of ICMPv6.
const ICMPV6: u32 = 58;
/// ICMPv6 types of neighbor discovery (RFC 4861): solicitations and advertisements of routers and neighbors.
const NEIGHBOR_DISCOVERY: (u32, u32) = (133, 136);
/// Hop limit of a packet that no router has forwarded.
const ON_LINK: u8 = 255;

/// Traffic that no rule ever touches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    /// Which packets.
    pub family: Family,
    /// What they must be.
    pub traffic: Match,
    /// Only packets to an address of this machine.
    pub to_this_machine: bool,
    /// Only packets that come from the link itself: with hop limit 255. IPv6 only.
    pub on_link: bool,
    /// What it is for, as operators read it: `BGP session with 192.0.2.1`.
    pub purpose: Arc<str>,
}

impl Guard {
    /// TCP between this machine and a remote prefix, in connections to `port` of either side.
    pub fn session(family: Family, remote: AddressPattern, port: u16, purpose: &str) -> Self {
        Self {
            family,
            traffic: Match {
                source: (remote.mask() != 0).then_some(remote),
                protocol: Some(IntervalSet::single(TCP)),
                rare: RareFields {
                    port: Some(IntervalSet::single(port.into())),
                    ..RareFields::default()
                }
                .into(),
                ..Match::default()
            },
            to_this_machine: true,
            on_link: false,
            purpose: purpose.into(),
        }
    }

    /// Neighbor discovery, without which no IPv6 session would live (RFC 4861): always guarded.
    pub fn neighbor_discovery() -> Self {
        Self {
            family: Family::Ipv6,
            traffic: Match {
                protocol: Some(IntervalSet::single(ICMPV6)),
                rare: RareFields {
                    icmp_type: Some(IntervalSet::from_ranges([NEIGHBOR_DISCOVERY])),
                    ..RareFields::default()
                }
                .into(),
                ..Match::default()
            },
            to_this_machine: false,
            on_link: true,
            purpose: "IPv6 neighbor discovery".into(),
        }
    }

    /// What later fragments of the traffic are: which port they belong to cannot be seen, and a session that loses
    /// them is gone. `None` where they are in [`Self::traffic`], or never sent (RFC 6980).
    pub fn later_fragments(&self) -> Option<Match> {
        let traffic = &self.traffic;
        (traffic.needs_transport_header() && !self.on_link).then(|| Match {
            source: traffic.source,
            destination: traffic.destination,
            protocol: traffic.protocol.clone(),
            fragment: Some(FragmentSet::from_predicate(|kind: FragmentKind, _| {
                kind.is_later()
            })),
            ..Match::default()
        })
    }

    /// True when no rule may touch the packet; `is_local` says whether an address is this machine's.
    pub fn protects(&self, packet: &Packet, is_local: impl Fn(Family, u128) -> bool) -> bool {
        self.family == packet.family
            && (!self.on_link || packet.hop_limit == ON_LINK)
            && (self.traffic.contains(packet)
                || self.later_fragments().is_some_and(|m| m.contains(packet)))
            && (!self.to_this_machine || is_local(packet.family, packet.destination))
    }

    /// True when there are packets that the rule matches and that it does not touch because of the guard. `local` are
    /// the addresses of this machine, of both families, left-aligned.
    pub fn spares(&self, rule: &Rule, local: &[(Family, u128)]) -> bool {
        let wanted = |pattern: &Option<AddressPattern>, address| {
            pattern.is_none_or(|pattern| pattern.contains(address))
        };
        let reaches_this_machine = || {
            local.iter().any(|(family, address)| {
                *family == self.family
                    && wanted(&rule.matches.destination, *address)
                    && wanted(&self.traffic.destination, *address)
            })
        };
        rule.family == self.family
            && (!self.to_this_machine || reaches_this_machine())
            && (rule.matches.overlaps(&self.traffic, self.family)
                || self
                    .later_fragments()
                    .is_some_and(|later| rule.matches.overlaps(&later, self.family)))
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;

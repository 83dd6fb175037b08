//! Whether two matches have a packet in common.

use std::collections::BTreeSet;

use crate::interval::IntervalSet;
use crate::rule::{AddressPattern, Family, FragmentKind, FragmentSet, MaskedValues, Match};

/// The greatest length of an IP packet: IPv6 does not count its header.
const LENGTH_MAX: u32 = 65_575;

impl Match {
    /// True when some packet of the family matches both. Exact, as far as fields depend on each other by RFC 8955 §4.2.2:
    /// which protocols have ports, flags and types, and that later fragments have none of them.
    pub fn overlaps(&self, other: &Match, family: Family) -> bool {
        let pair = (self, other);
        addresses_meet(self.destination, other.destination)
            && addresses_meet(self.source, other.source)
            && meet(
                self.rare.icmp_type.as_ref(),
                other.rare.icmp_type.as_ref(),
                255,
            )
            && meet(
                self.rare.icmp_code.as_ref(),
                other.rare.icmp_code.as_ref(),
                255,
            )
            && meet(
                self.rare.packet_length.as_ref(),
                other.rare.packet_length.as_ref(),
                LENGTH_MAX,
            )
            && meet(self.rare.dscp.as_ref(), other.rare.dscp.as_ref(), 63)
            && flow_labels_meet(pair, family)
            && flags_meet(self.rare.tcp_flags.as_ref(), other.rare.tcp_flags.as_ref())
            && protocols_meet(pair, family)
            && ports_meet(pair)
            && fragments_meet(pair, family)
    }
}

/// True when an address has the bits of both.
fn addresses_meet(a: Option<AddressPattern>, b: Option<AddressPattern>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a.value() ^ b.value()) & a.mask() & b.mask() == 0,
        (None, _) | (_, None) => true,
    }
}

/// The values from 0 to `max` that are in both.
fn common(a: Option<&IntervalSet>, b: Option<&IntervalSet>, max: u32) -> IntervalSet {
    let sets = [a, b].into_iter().flatten();
    sets.fold(IntervalSet::full(max), |all, set| all.intersection(set))
}

/// True when a value from 0 to `max` is in both.
fn meet(a: Option<&IntervalSet>, b: Option<&IntervalSet>, max: u32) -> bool {
    !common(a, b, max).is_empty()
}

/// Only IPv6 has flow labels.
fn flow_labels_meet((a, b): (&Match, &Match), family: Family) -> bool {
    match (a.rare.flow_label.as_ref(), b.rare.flow_label.as_ref()) {
        (None, None) => true,
        (a, b) => family == Family::Ipv6 && meet(a, b, 0xf_ffff),
    }
}

/// True when some flags are in both sets.
fn flags_meet(a: Option<&MaskedValues>, b: Option<&MaskedValues>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return [a, b]
            .into_iter()
            .flatten()
            .all(|set| !set.values().is_empty());
    };
    let both = a.mask() & b.mask();
    let seen: BTreeSet<u16> = a.values().iter().map(|value| value & both).collect();
    b.values()
        .iter()
        .any(|value| seen.contains(&(value & both)))
}

/// True when there is a protocol that both allow and that has the headers that either looks at.
fn protocols_meet((a, b): (&Match, &Match), family: Family) -> bool {
    let mut allowed = common(a.protocol.as_ref(), b.protocol.as_ref(), 255);
    let looks_at = |present: fn(&Match) -> bool| present(a) || present(b);
    if looks_at(|m| {
        m.rare.port.is_some() || m.source_port.is_some() || m.destination_port.is_some()
    }) {
        allowed = allowed.intersection(&IntervalSet::from_ranges([(6, 6), (17, 17)]));
    }
    if looks_at(|m| m.rare.tcp_flags.is_some()) {
        allowed = allowed.intersection(&IntervalSet::single(6));
    }
    if looks_at(|m| m.rare.icmp_type.is_some() || m.rare.icmp_code.is_some()) {
        allowed = allowed.intersection(&IntervalSet::single(match family {
            Family::Ipv4 => 1,
            Family::Ipv6 => 58,
        }));
    }
    !allowed.is_empty()
}

/// True when there are two ports that both allow.
fn ports_meet((a, b): (&Match, &Match)) -> bool {
    let sources = common(a.source_port.as_ref(), b.source_port.as_ref(), 0xffff);
    let destinations = common(
        a.destination_port.as_ref(),
        b.destination_port.as_ref(),
        0xffff,
    );
    let all = IntervalSet::full(0xffff);
    let either = |m: &Match| m.rare.port.clone().unwrap_or_else(|| all.clone());
    let (a, b) = (either(a), either(b));
    // Each of the two sets is met by the one port or by the other.
    let met = [
        (a.intersection(&b), all.clone()),
        (a.clone(), b.clone()),
        (b.clone(), a.clone()),
        (all.clone(), a.intersection(&b)),
    ];
    met.iter().any(|(source, destination)| {
        !sources.intersection(source).is_empty()
            && !destinations.intersection(destination).is_empty()
    })
}

/// True when there is a kind of fragment that both allow and that has the headers that either looks at.
fn fragments_meet((a, b): (&Match, &Match), family: Family) -> bool {
    let needs_header = a.needs_transport_header() || b.needs_transport_header();
    let allowed = |set: Option<FragmentSet>, kind, dont_fragment| {
        set.is_none_or(|set| set.contains(kind, dont_fragment))
    };
    FragmentKind::ALL.into_iter().any(|kind| {
        [false, true].into_iter().any(|dont_fragment| {
            let exists = !dont_fragment || family == Family::Ipv4;
            let has_header = !kind.is_later() || !needs_header;
            exists
                && has_header
                && allowed(a.fragment, kind, dont_fragment)
                && allowed(b.fragment, kind, dont_fragment)
        })
    })
}

#[cfg(test)]
#[path = "overlap_tests.rs"]
mod tests;

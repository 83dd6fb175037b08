//! The intermediate representation: what a rule matches and what it does.
//!
//! A [`Rule`] is exact by construction. Fields absent from [`Match`] are not looked at; a field that is present must be
//! in its set, and the packet must have the field at all: ports exist only in TCP and UDP, ICMP type and code
//! only in ICMP, TCP flags only in TCP, and none of them in a later fragment (RFC 8955 §4.2.2). Even a full set
//! therefore restricts.

use std::fmt;
use std::net::IpAddr;

pub use crate::action::{Action, Limit, LimitUnit, Route, RoutingInstance, SourceLimit};
use crate::interval::IntervalSet;
pub use crate::label::{Background, Label};
pub use crate::order::OrderKey;
use crate::packet::Packet;
pub use crate::rare::{Rare, RareActions, RareFields};

/// The address family of the packets a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 packets.
    Ipv4,
    /// IPv6 packets.
    Ipv6,
}

impl Family {
    /// Both families, in order.
    pub const ALL: [Family; 2] = [Family::Ipv4, Family::Ipv6];

    /// Bits in an address: 32 or 128.
    pub const fn address_bits(self) -> u8 {
        match self {
            Family::Ipv4 => 32,
            Family::Ipv6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        })
    }
}

/// Names a rule and all it owns in the data plane (counter, limiters). Given by the upper half, never reused while
/// the process lives. A rule whose meaning changes keeps its id only when its counter shall go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u64);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// One filter rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Names the rule's counter and limiters.
    pub id: RuleId,
    /// Which packets it looks at.
    pub family: Family,
    /// Its place among the rules of its family.
    pub order: OrderKey,
    /// What is left of `order` without the values that rules of one kind differ in, so that many rules share one tier.
    ///
    /// No packet matches two rules of one family and tier. Where one packet matches rules of two tiers, the rule of the
    /// lower tier has the lower `order`. A tier for each rule, equal to its `order`, is always right.
    pub tier: OrderKey,
    /// What an operator should read beside it: the Flow Specification in text form.
    pub label: Label,
    /// What a packet must be.
    pub matches: Match,
    /// What happens to a packet that matches.
    pub action: Action,
}

impl Rule {
    /// What the upper half wants to be told of the rule by a later process, see
    /// [`Backend::recover`](crate::backend::Backend::recover). Made by its label, and read by nobody else.
    pub fn memo(&self) -> Vec<u8> {
        self.label.memo()
    }

    /// True when nothing but what is told beside the rule differs: its label with its memo.
    pub fn enforces_the_same(&self, other: &Rule) -> bool {
        let Rule {
            id,
            family,
            order,
            tier,
            label: _,
            matches,
            action,
        } = self;
        (id, family, order, tier) == (&other.id, &other.family, &other.order, &other.tier)
            && (matches, action) == (&other.matches, &other.action)
    }
}

/// A conjunction: a packet matches when every field that is present holds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Match {
    /// Destination address.
    pub destination: Option<AddressPattern>,
    /// Source address.
    pub source: Option<AddressPattern>,
    /// IPv4 protocol (octet 9), or the upper-layer protocol of IPv6. 0 to 255.
    pub protocol: Option<IntervalSet>,
    /// TCP or UDP destination port.
    pub destination_port: Option<IntervalSet>,
    /// TCP or UDP source port.
    pub source_port: Option<IntervalSet>,
    /// Kinds of fragments.
    pub fragment: Option<FragmentSet>,
    /// All other fields.
    pub rare: Rare,
}

impl Match {
    /// True when some field can only be read from a transport header, which a later fragment does not have.
    pub fn needs_transport_header(&self) -> bool {
        self.rare.port.is_some()
            || self.destination_port.is_some()
            || self.source_port.is_some()
            || self.rare.icmp_type.is_some()
            || self.rare.icmp_code.is_some()
            || self.rare.tcp_flags.is_some()
    }

    /// True when the packet has every field that is looked at, and every one holds. The family is not looked at.
    pub fn contains(&self, packet: &Packet) -> bool {
        let address =
            |pattern: &Option<AddressPattern>, address| pattern.is_none_or(|p| p.contains(address));
        let field = |set: &Option<IntervalSet>, field: Option<u32>| match set {
            Some(set) => field.is_some_and(|field| set.contains(field)),
            None => true,
        };
        let source_port = packet.source_port.map(u32::from);
        let destination_port = packet.destination_port.map(u32::from);
        address(&self.destination, packet.destination)
            && address(&self.source, packet.source)
            && field(&self.protocol, packet.protocol.map(u32::from))
            && (field(&self.rare.port, source_port) || field(&self.rare.port, destination_port))
            && field(&self.destination_port, destination_port)
            && field(&self.source_port, source_port)
            && field(&self.rare.icmp_type, packet.icmp_type.map(u32::from))
            && field(&self.rare.icmp_code, packet.icmp_code.map(u32::from))
            && self
                .rare
                .tcp_flags
                .as_ref()
                .is_none_or(|set| packet.tcp_flags.is_some_and(|f| set.contains(f)))
            && field(&self.rare.packet_length, packet.packet_length)
            && field(&self.rare.dscp, Some(u32::from(packet.dscp)))
            && self
                .fragment
                .is_none_or(|set| set.contains(packet.fragment, packet.dont_fragment))
            && field(&self.rare.flow_label, packet.flow_label)
            && self.rare.interfaces.as_ref().is_none_or(|patterns| {
                let interface = packet.interface.as_deref();
                interface.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(name)))
            })
    }
}

/// Some bits of an address: `address & mask == value`.
///
/// Bits are left-aligned in the 128: an IPv4 address stands in the 32 most significant bits, so that a prefix of n bits
/// has the n most significant bits of the mask set in both families. Kept as octets, which need no alignment: a rule has
/// room for two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressPattern {
    /// Most significant octet first; zero outside the mask.
    value: [u8; 16],
    /// First bit that is compared; 0 when none is.
    offset: u8,
    /// Bit behind the last that is compared; 0 when none is.
    length: u8,
}

impl AddressPattern {
    /// Compares bits `offset` to `length` - 1 of an address, counted from the most significant.
    ///
    /// `offset` ≤ `length` ≤ 128; `value` is masked.
    pub fn new(value: u128, offset: u8, length: u8) -> Self {
        let length = length.min(128);
        let (offset, length) = if offset < length {
            (offset, length)
        } else {
            (0, 0)
        };
        Self {
            value: (value & contiguous_mask(offset, length)).to_be_bytes(),
            offset,
            length,
        }
    }

    /// Wanted bits; zero outside the mask.
    pub fn value(&self) -> u128 {
        u128::from_be_bytes(self.value)
    }

    /// Which bits are compared: one contiguous run, or none.
    pub fn mask(&self) -> u128 {
        contiguous_mask(self.offset, self.length)
    }

    /// True when the left-aligned `address` has the wanted bits.
    pub fn contains(&self, address: u128) -> bool {
        address & self.mask() == self.value()
    }

    /// The prefix length when the pattern starts at bit 0; `None` when it has an offset.
    pub fn prefix_length(&self) -> Option<u8> {
        (self.offset == 0).then_some(self.length)
    }
}

/// The family of an address, and its bits from the most significant, as [`AddressPattern`] has them.
pub fn left_aligned(address: IpAddr) -> (Family, u128) {
    match address {
        IpAddr::V4(address) => (Family::Ipv4, u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => (Family::Ipv6, address.to_bits()),
    }
}

/// Bits `offset` to `length` - 1, counted from the most significant.
fn contiguous_mask(offset: u8, length: u8) -> u128 {
    let first = |bits: u8| !u128::MAX.checked_shr(bits.into()).unwrap_or(0);
    first(length) & !first(offset)
}

/// A set of bit patterns: the field, masked, is one of the values.
///
/// Canonical: values are sorted, unique, zero outside the mask, and no mask bit is without influence. An empty list
/// never matches; mask 0 with the one value 0 always does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MaskedValues {
    mask: u16,
    values: Box<[u16]>,
}

impl MaskedValues {
    /// The set of those values of `bits` (a mask of the bits that exist) for which `matches` holds.
    ///
    /// `relevant` are the bits that `matches` can depend on; 2^popcount(relevant) values are tried.
    pub fn from_predicate(relevant: u16, matches: impl Fn(u16) -> bool) -> Self {
        let mut values = Vec::new();
        // Enumerates the subsets of `relevant` in ascending order.
        let mut value = 0u16;
        loop {
            if matches(value) {
                values.push(value);
            }
            value = value.wrapping_sub(relevant) & relevant;
            if value == 0 {
                break;
            }
        }
        let mask = drop_bits_without_influence(relevant, &mut values);
        Self {
            mask,
            values: values.into(),
        }
    }

    /// The bits compared.
    pub fn mask(&self) -> u16 {
        self.mask
    }

    /// The values of the compared bits that match, ascending.
    pub fn values(&self) -> &[u16] {
        &self.values
    }

    /// True when `field` is in the set.
    pub fn contains(&self, field: u16) -> bool {
        self.values.binary_search(&(field & self.mask)).is_ok()
    }
}

/// Takes bits out of `mask` and the sorted `values` that make no difference; returns what is left of the mask.
fn drop_bits_without_influence(mut mask: u16, values: &mut Vec<u16>) -> u16 {
    for bit in (0..16).map(|shift| 1u16 << shift) {
        let has_mirror_image = |value: &u16| values.binary_search(&(value ^ bit)).is_ok();
        if mask & bit != 0 && values.iter().all(has_mirror_image) {
            mask &= !bit;
            values.retain(|value| value & bit == 0);
        }
    }
    mask
}

/// What a packet is with respect to fragmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum FragmentKind {
    /// Not a fragment, or an IPv6 atomic fragment (RFC 6946).
    #[default]
    Whole,
    /// Offset 0 and more to come.
    First,
    /// Offset not 0 and more to come.
    Middle,
    /// Offset not 0 and nothing to come.
    Last,
}

impl FragmentKind {
    /// All kinds.
    pub const ALL: [FragmentKind; 4] = [
        FragmentKind::Whole,
        FragmentKind::First,
        FragmentKind::Middle,
        FragmentKind::Last,
    ];

    /// True when the packet has no transport header: its offset is not 0.
    pub fn is_later(self) -> bool {
        matches!(self, FragmentKind::Middle | FragmentKind::Last)
    }
}

/// Which combinations of [`FragmentKind`] and the IPv4 Don't Fragment bit match: a set over eight states.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FragmentSet(u8);

impl FragmentSet {
    const fn bit(kind: FragmentKind, dont_fragment: bool) -> u8 {
        1 << (kind as u8 + if dont_fragment { 4 } else { 0 })
    }

    /// The set of states for which `matches(kind, dont_fragment)` holds.
    pub fn from_predicate(matches: impl Fn(FragmentKind, bool) -> bool) -> Self {
        let mut set = 0;
        for kind in FragmentKind::ALL {
            for dont_fragment in [false, true] {
                if matches(kind, dont_fragment) {
                    set |= Self::bit(kind, dont_fragment);
                }
            }
        }
        Self(set)
    }

    /// True when the state is in the set. IPv6 packets have no Don't Fragment bit: pass false.
    pub fn contains(self, kind: FragmentKind, dont_fragment: bool) -> bool {
        self.0 & Self::bit(kind, dont_fragment) != 0
    }

    /// True when no state matches.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True when all eight states match.
    pub fn is_full(self) -> bool {
        self.0 == u8::MAX
    }
}

impl fmt::Debug for FragmentSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        for kind in FragmentKind::ALL {
            for (dont_fragment, name) in [(false, ""), (true, "+DF")] {
                if self.contains(kind, dont_fragment) {
                    set.entry(&format_args!("{kind:?}{name}"));
                }
            }
        }
        set.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_small() {
        assert!(size_of::<Rule>() <= 184, "{}", size_of::<Rule>());
    }
}

//! Fields of packets and what can be asked of them: in nft's language, and as instructions.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::expression::{
    Base, Comparison, Expression, MetaKey, SetDefinition, SetElement, SetReference,
};
use crate::interval::IntervalSet;
use crate::rule::Family;

/// The named set that holds the protocols that have ports.
pub(super) const PORT_PROTOCOLS: &str = "tcp_udp";

/// Up to so many runs of values are compared one by one.
const COMPARED_RUNS: usize = 4;

/// Something of a packet that can be compared with numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    /// Protocol of the transport header.
    TransportProtocol,
    /// Destination address.
    Destination(Family),
    /// Source address.
    Source(Family),
    /// The first octets of the destination address: two in IPv4, six in IPv6.
    DestinationStart(Family),
    /// The first octets of the source address, likewise.
    SourceStart(Family),
    /// IPv4 protocol octet.
    Ipv4Protocol,
    /// IPv4 total length.
    Ipv4Length,
    /// DSCP.
    Dscp(Family),
    /// IPv4 flags and fragment offset, 16 bits.
    Ipv4Fragment,
    /// IPv6 payload length.
    Ipv6PayloadLength,
    /// The first Next Header of IPv6.
    Ipv6NextHeader,
    /// IPv6 flow label.
    FlowLabel,
    /// IPv4 time to live, or IPv6 hop limit.
    HopLimit(Family),
    /// 1 when there is an IPv6 fragment header, else 0.
    FragmentHeader,
    /// Offset in the IPv6 fragment header.
    FragmentOffset,
    /// More-fragments bit of the IPv6 fragment header.
    MoreFragments,
    /// Source port.
    SourcePort,
    /// Destination port.
    DestinationPort,
    /// ICMP or ICMPv6 type.
    IcmpType(Family),
    /// ICMP or ICMPv6 code.
    IcmpCode(Family),
    /// The eight TCP flags of octet 13.
    TcpFlags,
    /// Octets 12 and 13 of TCP, data offset included.
    TcpOffsetAndFlags,
    /// Octets 0 to 3 of the transport header.
    FirstTransportOctets,
    /// Octets 1 and 2 of the transport header.
    ///
    /// The kernel loads one, two or four octets that are aligned by a faster way, and forgets there that
    /// a later fragment has no transport header. These two it does not load from one.
    UnalignedTransportOctets,
}

/// How a field is read.
struct Access {
    /// The instruction that loads it.
    load: Expression,
    /// Octets loaded.
    width: usize,
    /// The bits that belong to the field; `None`: all.
    mask: Option<u128>,
    /// Bits to the right of the field.
    shift: u32,
    /// nft's number for the type of the field.
    data_type: u32,
}

/// Data types of nft (`enum datatypes` in its `datatype.h`); sets tell it how to print their
/// elements.
pub(super) mod data_type {
    pub const INTEGER: u32 = 4;
    pub const IPV4_ADDRESS: u32 = 7;
    pub const IPV6_ADDRESS: u32 = 8;
    pub const PROTOCOL: u32 = 12;
    pub const SERVICE: u32 = 13;
    pub const ICMP_TYPE: u32 = 14;
    pub const ICMPV6_TYPE: u32 = 29;
    pub const ICMP_CODE: u32 = 32;
    pub const ICMPV6_CODE: u32 = 33;
    pub const MARK: u32 = 19;
    pub const DSCP: u32 = 36;
    pub const INTERFACE_NAME: u32 = 41;
}

impl Field {
    /// Bits of the field; values have no more.
    pub(super) fn bits(self) -> u32 {
        let access = self.access();
        match access.mask {
            Some(mask) => mask.count_ones(),
            None => 8 * access.width as u32,
        }
    }

    /// Octets of the field in a key.
    pub(super) fn key_width(self) -> usize {
        self.access().width
    }

    /// Base, first bit and bits of a field that nft has no name for but these.
    pub(super) fn raw(self) -> Option<(Base, u32, u32)> {
        match (self, self.access().load) {
            (
                Self::SourceStart(_) | Self::DestinationStart(_),
                Expression::Payload {
                    base,
                    offset,
                    length,
                },
            ) => Some((base, 8 * offset, 8 * length)),
            _ => None,
        }
    }

    /// nft's number for the type of the field.
    pub(super) fn data_type(self) -> u32 {
        self.access().data_type
    }

    /// The type of the field in nft's language, for fields of keys.
    pub(super) fn type_name(self) -> &'static str {
        match self.data_type() {
            data_type::IPV4_ADDRESS => "ipv4_addr",
            data_type::IPV6_ADDRESS => "ipv6_addr",
            data_type::PROTOCOL => "inet_proto",
            data_type::SERVICE => "inet_service",
            _ => "integer",
        }
    }

    /// The field as part of a key: `value` has no bits outside the field.
    pub(super) fn key_octets(self, value: u128) -> Vec<u8> {
        value.to_be_bytes()[16 - self.key_width()..].to_vec()
    }

    /// The instructions that load the bits of `mask`.
    pub(super) fn load_masked(self, mask: u128) -> Vec<Expression> {
        let mut list = vec![self.access().load];
        if mask.count_ones() < self.bits() {
            list.push(Expression::Bitwise {
                mask: self.key_octets(mask),
                toggle: self.key_octets(0),
            });
        }
        list
    }

    fn access(self) -> Access {
        use Family::{Ipv4, Ipv6};
        use data_type::*;
        let network = |offset, width, data_type| (Base::Network, offset, width, data_type);
        let transport = |offset, width, data_type| (Base::Transport, offset, width, data_type);
        let (mut mask, mut shift) = (None, 0);
        let (base, offset, width, data_type) = match self {
            Self::TransportProtocol => {
                let load = Expression::Meta(MetaKey::TransportProtocol);
                return Access {
                    load,
                    width: 1,
                    mask,
                    shift,
                    data_type: PROTOCOL,
                };
            }
            Self::FragmentHeader => {
                let load = Expression::FragmentPresent;
                return Access {
                    load,
                    width: 1,
                    mask,
                    shift,
                    data_type: INTEGER,
                };
            }
            Self::FragmentOffset => {
                let load = Expression::Fragment {
                    offset: 2,
                    length: 2,
                };
                return Access {
                    load,
                    width: 2,
                    mask: Some(0xfff8),
                    shift: 3,
                    data_type: INTEGER,
                };
            }
            Self::MoreFragments => {
                let load = Expression::Fragment {
                    offset: 3,
                    length: 1,
                };
                return Access {
                    load,
                    width: 1,
                    mask: Some(1),
                    shift,
                    data_type: INTEGER,
                };
            }
            Self::Ipv4Protocol => network(9, 1, PROTOCOL),
            Self::Ipv4Length => network(2, 2, INTEGER),
            Self::Ipv4Fragment => network(6, 2, INTEGER),
            Self::Source(Ipv4) => network(12, 4, IPV4_ADDRESS),
            Self::Destination(Ipv4) => network(16, 4, IPV4_ADDRESS),
            Self::Source(Ipv6) => network(8, 16, IPV6_ADDRESS),
            Self::Destination(Ipv6) => network(24, 16, IPV6_ADDRESS),
            Self::SourceStart(Ipv4) => network(12, 2, INTEGER),
            Self::DestinationStart(Ipv4) => network(16, 2, INTEGER),
            Self::SourceStart(Ipv6) => network(8, 6, INTEGER),
            Self::DestinationStart(Ipv6) => network(24, 6, INTEGER),
            Self::Ipv6PayloadLength => network(4, 2, INTEGER),
            Self::Ipv6NextHeader => network(6, 1, PROTOCOL),
            Self::HopLimit(Ipv4) => network(8, 1, INTEGER),
            Self::HopLimit(Ipv6) => network(7, 1, INTEGER),
            Self::Dscp(Ipv4) => {
                (mask, shift) = (Some(0xfc), 2);
                network(1, 1, DSCP)
            }
            Self::Dscp(Ipv6) => {
                (mask, shift) = (Some(0x0fc0), 6);
                network(0, 2, DSCP)
            }
            Self::FlowLabel => {
                mask = Some(0x0f_ffff);
                network(1, 3, INTEGER)
            }
            Self::SourcePort => transport(0, 2, SERVICE),
            Self::DestinationPort => transport(2, 2, SERVICE),
            Self::IcmpType(Ipv4) => transport(0, 1, ICMP_TYPE),
            Self::IcmpType(Ipv6) => transport(0, 1, ICMPV6_TYPE),
            Self::IcmpCode(Ipv4) => transport(1, 1, ICMP_CODE),
            Self::IcmpCode(Ipv6) => transport(1, 1, ICMPV6_CODE),
            Self::TcpFlags => transport(13, 1, INTEGER),
            Self::TcpOffsetAndFlags => transport(12, 2, INTEGER),
            Self::FirstTransportOctets => transport(0, 4, INTEGER),
            Self::UnalignedTransportOctets => transport(1, 2, INTEGER),
        };
        let load = Expression::Payload {
            base,
            offset,
            length: width,
        };
        Access {
            load,
            width: width as usize,
            mask,
            shift,
            data_type,
        }
    }

    /// What nft calls the field behind the name of its protocol.
    pub(super) fn text(self) -> &'static str {
        use Family::{Ipv4, Ipv6};
        match self {
            Self::TransportProtocol => "meta l4proto",
            Self::Source(Ipv4) => "ip saddr",
            Self::Source(Ipv6) => "ip6 saddr",
            Self::Destination(Ipv4) => "ip daddr",
            Self::Destination(Ipv6) => "ip6 daddr",
            Self::SourceStart(Ipv4) => "@nh,96,16",
            Self::DestinationStart(Ipv4) => "@nh,128,16",
            Self::SourceStart(Ipv6) => "@nh,64,48",
            Self::DestinationStart(Ipv6) => "@nh,192,48",
            Self::Ipv4Protocol => "ip protocol",
            Self::Ipv4Length => "ip length",
            Self::Dscp(Ipv4) => "ip dscp",
            Self::Dscp(Ipv6) => "ip6 dscp",
            Self::Ipv4Fragment => "ip frag-off",
            Self::Ipv6PayloadLength => "ip6 length",
            Self::Ipv6NextHeader => "ip6 nexthdr",
            Self::FlowLabel => "ip6 flowlabel",
            Self::HopLimit(Ipv4) => "ip ttl",
            Self::HopLimit(Ipv6) => "ip6 hoplimit",
            Self::FragmentHeader => "exthdr frag",
            Self::FragmentOffset => "frag frag-off",
            Self::MoreFragments => "frag more-fragments",
            Self::SourcePort => "th sport",
            Self::DestinationPort => "th dport",
            Self::IcmpType(Ipv4) => "icmp type",
            Self::IcmpType(Ipv6) => "icmpv6 type",
            Self::IcmpCode(Ipv4) => "icmp code",
            Self::IcmpCode(Ipv6) => "icmpv6 code",
            Self::TcpFlags => "tcp flags",
            Self::TcpOffsetAndFlags => "@th,96,16",
            Self::FirstTransportOctets => "@th,0,32",
            Self::UnalignedTransportOctets => "@th,8,16",
        }
    }

    /// True when nft knows from the field alone that the packet is of this family.
    pub(super) fn implies(self, family: Family) -> bool {
        match self {
            Self::Destination(own) | Self::Source(own) => own == family,
            Self::Dscp(own) | Self::HopLimit(own) => own == family,
            Self::IcmpType(own) | Self::IcmpCode(own) => own == family,
            Self::Ipv4Protocol | Self::Ipv4Length | Self::Ipv4Fragment => family == Family::Ipv4,
            Self::Ipv6PayloadLength | Self::Ipv6NextHeader | Self::FlowLabel => {
                family == Family::Ipv6
            }
            Self::FragmentHeader | Self::FragmentOffset | Self::MoreFragments => {
                family == Family::Ipv6
            }
            Self::TransportProtocol
            | Self::SourceStart(_)
            | Self::DestinationStart(_)
            | Self::SourcePort
            | Self::DestinationPort
            | Self::TcpFlags
            | Self::TcpOffsetAndFlags
            | Self::FirstTransportOctets
            | Self::UnalignedTransportOctets => false,
        }
    }

    /// True when nft knows the transport protocol from the field, given that there is only one.
    pub(super) fn implies_transport(self) -> bool {
        matches!(
            self,
            Self::IcmpType(_)
                | Self::IcmpCode(_)
                | Self::TcpFlags
                | Self::SourcePort
                | Self::DestinationPort
        )
    }

    /// Writes a value of the field as nft does.
    pub(super) fn write_value(self, value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(Family::Ipv4) | Self::Destination(Family::Ipv4) => {
                write!(f, "{}", Ipv4Addr::from(value as u32))
            }
            Self::Source(Family::Ipv6) | Self::Destination(Family::Ipv6) => {
                write!(f, "{}", Ipv6Addr::from(value))
            }
            Self::TransportProtocol | Self::Ipv4Protocol | Self::Ipv6NextHeader => match value {
                1 => f.write_str("icmp"),
                6 => f.write_str("tcp"),
                17 => f.write_str("udp"),
                58 => f.write_str("ipv6-icmp"),
                other => write!(f, "{other}"),
            },
            Self::FragmentHeader => f.write_str(if value == 0 { "missing" } else { "exists" }),
            Self::TcpFlags
            | Self::TcpOffsetAndFlags
            | Self::Ipv4Fragment
            | Self::SourceStart(_)
            | Self::DestinationStart(_) => write!(f, "{value:#x}"),
            Self::Ipv4Length
            | Self::Dscp(_)
            | Self::Ipv6PayloadLength
            | Self::FlowLabel
            | Self::HopLimit(_)
            | Self::FragmentOffset
            | Self::MoreFragments
            | Self::SourcePort
            | Self::DestinationPort
            | Self::IcmpType(_)
            | Self::IcmpCode(_)
            | Self::FirstTransportOctets
            | Self::UnalignedTransportOctets => write!(f, "{value}"),
        }
    }
}

/// What a field must be. Numbers are right-aligned and fit the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// The field exists.
    Any,
    /// This value.
    Is(u128),
    /// Any other value.
    IsNot(u128),
    /// From the first to the last, inclusive, after masking; but in none of the gaps between.
    Within {
        mask: Option<u128>,
        first: u128,
        last: u128,
        gaps: Vec<(u128, u128)>,
    },
    /// One of the set, which has many intervals.
    In(IntervalSet),
    /// One of the protocols that have ports.
    HasPorts,
    /// These bits are this value.
    Masked { mask: u128, value: u128 },
    /// These bits are not this value.
    NotMasked { mask: u128, value: u128 },
    /// These bits are one of the values, which are many.
    MaskedIn { mask: u128, values: Vec<u16> },
}

impl Test {
    /// The cheapest test for membership of a non-empty set.
    pub(super) fn for_set(set: &IntervalSet) -> Self {
        let wide = |&(first, last): &(u32, u32)| (u128::from(first), u128::from(last));
        let runs: Vec<_> = set.ranges().iter().map(wide).collect();
        match runs.as_slice() {
            [(first, last)] if first == last => Self::Is(*first),
            runs => Self::within(None, runs).unwrap_or_else(|| Self::In(set.clone())),
        }
    }

    /// The cheapest test that the bits in `mask` are one of `values`, which are ascending and two
    /// at least.
    pub(super) fn for_masked(mask: u128, values: &[u16]) -> Self {
        let mut runs: Vec<(u128, u128)> = Vec::new();
        for value in values.iter().copied().map(u128::from) {
            match runs.last_mut() {
                // The next number that has no bits outside the mask.
                Some((_, last)) if (*last | !mask).wrapping_add(1) & mask == value => *last = value,
                _ => runs.push((value, value)),
            }
        }
        let values = values.to_vec();
        Self::within(Some(mask), &runs).unwrap_or(Self::MaskedIn { mask, values })
    }

    /// Comparisons for a few runs of values; `None` when they are so many that a set is better.
    ///
    /// Sets look nicer in a listing. But for every set that is created or looked up the kernel
    /// walks the list of all sets of the table, which makes thousands of them take minutes.
    fn within(mask: Option<u128>, runs: &[(u128, u128)]) -> Option<Self> {
        if runs.len() > COMPARED_RUNS {
            return None;
        }
        let gaps = runs
            .windows(2)
            .map(|pair| (pair[0].1 + 1, pair[1].0 - 1))
            .collect();
        let (first, last) = (runs.first()?.0, runs.last()?.1);
        Some(Self::Within {
            mask,
            first,
            last,
            gaps,
        })
    }

    /// True when a test from `first` to `last` needs no bounds: nothing is outside of them.
    fn is_unbounded(field: Field, mask: Option<u128>, first: u128, last: u128) -> bool {
        let all = mask.unwrap_or_else(|| u128::MAX >> (128 - field.bits()));
        first == 0 && last == all
    }

    /// The instructions that go on only if the field passes.
    pub(super) fn expressions(&self, field: Field) -> Vec<Expression> {
        let access = field.access();
        let octets = |value: u128| value.to_be_bytes()[16 - access.width..].to_vec();
        let place = |value: u128| octets(value << access.shift);
        let bitwise = |mask| Expression::Bitwise {
            mask: octets(mask),
            toggle: octets(0),
        };
        let compare = |comparison, value| Expression::Compare(comparison, place(value));
        let mut list = vec![access.load.clone()];
        let own_mask = access.mask.map(bitwise);
        match self {
            Self::Any => {
                list.extend(own_mask);
                list.push(compare(Comparison::AtLeast, 0));
            }
            Self::Is(value) => {
                list.extend(own_mask);
                list.push(compare(Comparison::Equal, *value));
            }
            Self::IsNot(value) => {
                list.extend(own_mask);
                list.push(compare(Comparison::NotEqual, *value));
            }
            Self::Within {
                mask,
                first,
                last,
                gaps,
            } => {
                list.extend(mask.map(bitwise).or(own_mask));
                if !Self::is_unbounded(field, *mask, *first, *last) {
                    list.push(compare(Comparison::AtLeast, *first));
                    list.push(compare(Comparison::AtMost, *last));
                }
                // nft lists "not equal" of masked TCP flags as two conditions, which says something
                // else.
                list.extend(gaps.iter().map(|&(first, last)| {
                    if first == last && mask.is_none() {
                        compare(Comparison::NotEqual, first)
                    } else {
                        Expression::Outside(place(first), place(last))
                    }
                }));
            }
            Self::HasPorts => list.push(Expression::Lookup(SetReference::Named(
                PORT_PROTOCOLS.into(),
            ))),
            Self::In(set) => {
                list.extend(own_mask);
                let set = interval_set(set, &access);
                list.push(Expression::Lookup(SetReference::Anonymous(set)));
            }
            Self::Masked { mask, value } => match prefix_octets(field, *mask, access.width) {
                Some(length) => {
                    let Expression::Payload { base, offset, .. } = access.load else {
                        return list;
                    };
                    let head = octets(*value)[..length].to_vec();
                    let length = length as u32;
                    list = vec![
                        Expression::Payload {
                            base,
                            offset,
                            length,
                        },
                        Expression::Compare(Comparison::Equal, head),
                    ];
                }
                None => {
                    list.push(bitwise(*mask));
                    list.push(compare(Comparison::Equal, *value));
                }
            },
            Self::NotMasked { mask, value } => {
                list.push(bitwise(*mask));
                list.push(compare(Comparison::NotEqual, *value));
            }
            Self::MaskedIn { mask, values } => {
                list.push(bitwise(*mask));
                let element = |value: &u16| SetElement {
                    key: place(u128::from(*value)),
                    interval_end: false,
                };
                list.push(Expression::Lookup(SetReference::Anonymous(SetDefinition {
                    data_type: access.data_type,
                    width: access.width,
                    intervals: false,
                    elements: values.iter().map(element).collect(),
                })));
            }
        }
        list
    }

    /// Writes the test of a field called `name`.
    pub(super) fn write(
        &self,
        name: &str,
        field: Field,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let value = |value: u128| Shown(field, value);
        f.write_str(name)?;
        match self {
            Self::Any => write!(f, " >= 0"),
            Self::Is(is) => write!(f, " {}", value(*is)),
            Self::IsNot(not) => write!(f, " != {}", value(*not)),
            Self::Within {
                mask,
                first,
                last,
                gaps,
            } => {
                let masked = match mask {
                    Some(mask) => format!(" & {}", value(*mask)),
                    None => String::new(),
                };
                let mut separator = "";
                if !Self::is_unbounded(field, *mask, *first, *last) {
                    write!(f, "{masked} {}", Range(field, *first, *last))?;
                    separator = name;
                }
                for &(first, last) in gaps {
                    if !separator.is_empty() {
                        write!(f, " {separator}")?;
                    }
                    separator = name;
                    if first == last && mask.is_none() {
                        write!(f, "{masked} != {}", value(first))?;
                    } else {
                        write!(f, "{masked} != {}", Range(field, first, last))?;
                    }
                }
                Ok(())
            }
            Self::HasPorts => write!(f, " @{PORT_PROTOCOLS}"),
            Self::In(set) => {
                for (index, &(first, last)) in set.ranges().iter().enumerate() {
                    f.write_str(if index == 0 { " { " } else { ", " })?;
                    let (first, last) = (u128::from(first), u128::from(last));
                    if first == last {
                        write!(f, "{}", value(first))?;
                    } else {
                        write!(f, "{}", Range(field, first, last))?;
                    }
                }
                f.write_str(" }")
            }
            Self::Masked {
                mask,
                value: wanted,
            } => {
                let width = field.bits();
                let length = (mask << (128 - width)).leading_ones();
                let address = matches!(field, Field::Source(_) | Field::Destination(_));
                if address && mask.count_ones() == length {
                    write!(f, " {}", value(*wanted))?;
                    if length < width {
                        write!(f, "/{length}")
                    } else {
                        Ok(())
                    }
                } else {
                    write!(f, " & {} == {}", value(*mask), value(*wanted))
                }
            }
            Self::NotMasked {
                mask,
                value: unwanted,
            } => {
                write!(f, " & {} != {}", value(*mask), value(*unwanted))
            }
            Self::MaskedIn { mask, values } => {
                write!(f, " & {}", value(*mask))?;
                for (index, element) in values.iter().enumerate() {
                    f.write_str(if index == 0 { " { " } else { ", " })?;
                    write!(f, "{}", value(u128::from(*element)))?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// Octets to compare when the mask of an address is a prefix of whole octets, which needs no
/// masking.
fn prefix_octets(field: Field, mask: u128, width: usize) -> Option<usize> {
    if !matches!(field, Field::Source(_) | Field::Destination(_)) {
        return None;
    }
    let left_aligned = mask << (128 - 8 * width as u32);
    let length = left_aligned.leading_ones();
    (length > 0 && length.is_multiple_of(8) && left_aligned.count_ones() == length)
        .then_some(length as usize / 8)
}

/// An anonymous set of intervals.
fn interval_set(set: &IntervalSet, access: &Access) -> SetDefinition {
    let intervals = set.ranges().iter().any(|(first, last)| first != last);
    let width = access.width;
    let mut elements = Vec::new();
    let mut push = |key: u128, interval_end| {
        let key = key.to_be_bytes()[16 - width..].to_vec();
        elements.push(SetElement { key, interval_end });
    };
    if intervals && set.ranges().first().is_some_and(|(first, _)| *first > 0) {
        // nft begins every interval set with the end of an interval before it, and expects to find
        // it.
        push(0, true);
    }
    for &(first, last) in set.ranges() {
        push(u128::from(first) << access.shift, false);
        // Bits to the right of the field are masked away: the next value of the octets will do.
        let end = (u128::from(last) << access.shift) + 1;
        if intervals && end >> (8 * width) == 0 {
            push(end, true);
        }
    }
    SetDefinition {
        data_type: access.data_type,
        width,
        intervals,
        elements,
    }
}

/// A value in the notation of its field.
struct Shown(Field, u128);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_value(self.1, f)
    }
}

/// A range of values, in which nft takes numbers for protocols only.
struct Range(Field, u128, u128);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(field, first, last) = *self;
        if field.access().data_type == data_type::PROTOCOL {
            write!(f, "{first}-{last}")
        } else {
            write!(f, "{}-{}", Shown(field, first), Shown(field, last))
        }
    }
}

//! Statements of nft rules: what they say in nft's language, and the instructions they are made of.
//!
//! The text and the instructions come from the same value, and tests have `nft` itself compile the text and compare
//! the results.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::expression::{
    Base, Comparison, Expression, MetaKey, ObjectKind, SetDefinition, SetElement, SetReference,
    Verdict,
};
use crate::interval::IntervalSet;
use crate::rule::Family;

/// The named set that holds the protocols that have ports.
pub(super) const PORT_PROTOCOLS: &str = "tcp_udp";

/// Something of a packet that can be compared with numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Protocol of the transport header.
    TransportProtocol,
    /// Destination address.
    Destination(Family),
    /// Source address.
    Source(Family),
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
    /// IPv6 hop limit.
    HopLimit,
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

/// Data types of nft (`enum datatypes` in its `datatype.h`); sets tell it how to print their elements.
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
            Self::Ipv6PayloadLength => network(4, 2, INTEGER),
            Self::Ipv6NextHeader => network(6, 1, PROTOCOL),
            Self::HopLimit => network(7, 1, INTEGER),
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
    fn text(self) -> &'static str {
        use Family::{Ipv4, Ipv6};
        match self {
            Self::TransportProtocol => "meta l4proto",
            Self::Source(Ipv4) => "ip saddr",
            Self::Source(Ipv6) => "ip6 saddr",
            Self::Destination(Ipv4) => "ip daddr",
            Self::Destination(Ipv6) => "ip6 daddr",
            Self::Ipv4Protocol => "ip protocol",
            Self::Ipv4Length => "ip length",
            Self::Dscp(Ipv4) => "ip dscp",
            Self::Dscp(Ipv6) => "ip6 dscp",
            Self::Ipv4Fragment => "ip frag-off",
            Self::Ipv6PayloadLength => "ip6 length",
            Self::Ipv6NextHeader => "ip6 nexthdr",
            Self::FlowLabel => "ip6 flowlabel",
            Self::HopLimit => "ip6 hoplimit",
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
        }
    }

    /// True when nft knows from the field alone that the packet is of this family.
    fn implies(self, family: Family) -> bool {
        match self {
            Self::Destination(own) | Self::Source(own) | Self::Dscp(own) => own == family,
            Self::IcmpType(own) | Self::IcmpCode(own) => own == family,
            Self::Ipv4Protocol | Self::Ipv4Length | Self::Ipv4Fragment => family == Family::Ipv4,
            Self::Ipv6PayloadLength | Self::Ipv6NextHeader | Self::FlowLabel => {
                family == Family::Ipv6
            }
            Self::HopLimit | Self::FragmentHeader | Self::FragmentOffset | Self::MoreFragments => {
                family == Family::Ipv6
            }
            Self::TransportProtocol
            | Self::SourcePort
            | Self::DestinationPort
            | Self::TcpFlags
            | Self::TcpOffsetAndFlags => false,
        }
    }

    /// Writes a value of the field as nft does.
    fn write_value(self, value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            Self::TcpFlags | Self::TcpOffsetAndFlags | Self::Ipv4Fragment => {
                write!(f, "{value:#x}")
            }
            Self::Ipv4Length
            | Self::Dscp(_)
            | Self::Ipv6PayloadLength
            | Self::FlowLabel
            | Self::HopLimit
            | Self::FragmentOffset
            | Self::MoreFragments
            | Self::SourcePort
            | Self::DestinationPort
            | Self::IcmpType(_)
            | Self::IcmpCode(_) => write!(f, "{value}"),
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
    /// From the first to the last, inclusive.
    Between(u128, u128),
    /// One of the set, which has two intervals at least.
    In(IntervalSet),
    /// One of the protocols that have ports.
    HasPorts,
    /// These bits are this value.
    Masked { mask: u128, value: u128 },
    /// These bits are not this value.
    NotMasked { mask: u128, value: u128 },
    /// These bits are one of the values, which are two at least.
    MaskedIn { mask: u128, values: Vec<u16> },
}

impl Test {
    /// The shortest test for membership of a non-empty set.
    pub(super) fn for_set(set: &IntervalSet) -> Self {
        match set.ranges() {
            [(first, last)] if first == last => Self::Is(u128::from(*first)),
            [(first, last)] => Self::Between(u128::from(*first), u128::from(*last)),
            _ => Self::In(set.clone()),
        }
    }

    /// The instructions that go on only if the field passes.
    fn expressions(&self, field: Field) -> Vec<Expression> {
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
            Self::Between(first, last) => {
                list.extend(own_mask);
                list.push(compare(Comparison::AtLeast, *first));
                list.push(compare(Comparison::AtMost, *last));
            }
            Self::HasPorts => list.push(Expression::Lookup(SetReference::Named(PORT_PROTOCOLS))),
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
}

/// Octets to compare when the mask of an address is a prefix of whole octets, which needs no masking.
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
        // nft begins every interval set with the end of an interval before it, and expects to find it.
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

/// The bits of the packet mark that carry a DSCP from the rule that sets it to the end of evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScratchMark {
    shift: u32,
}

impl ScratchMark {
    /// Finds seven contiguous bits in `available`.
    pub(super) fn new(available: u32) -> Option<Self> {
        (0..=25)
            .find(|shift| (available >> shift) & 0x7f == 0x7f)
            .map(|shift| Self { shift })
    }

    /// All bits used.
    pub(super) fn mask(self) -> u32 {
        0x7f << self.shift
    }

    /// The bit that says that a DSCP has been chosen.
    pub(super) fn chosen(self) -> u32 {
        0x40 << self.shift
    }

    /// The bits that say that this DSCP has been chosen.
    pub(super) fn value(self, dscp: u8) -> u32 {
        (0x40 | u32::from(dscp)) << self.shift
    }
}

/// Which interface names are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InterfaceTest {
    /// This name.
    Is(String),
    /// Any other name.
    IsNot(String),
    /// Names that begin so.
    StartsWith(String),
    /// One of these names.
    In(Vec<String>),
}

/// One statement of an nft rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// The packet is of this family.
    Family(Family),
    /// A field passes a test.
    Match(Field, Test),
    /// The interface that the packet came in by is meant.
    Interface(InterfaceTest),
    /// The packet has come in by a VRF device.
    FromVrf,
    /// The destination is an address of this machine.
    ToThisMachine,
    /// One packet in so many, at random.
    OneIn(u32),
    /// Bits of the packet mark are this value.
    MarkIs { mask: u32, value: u32 },
    /// Sets bits of the packet mark.
    SetMark { mask: u32, value: u32 },
    /// Writes a DSCP.
    SetDscp(Family, u8),
    /// Counts in a named counter.
    Counter(String),
    /// Goes on if the packet is over a named limit.
    OverLimit(String),
    /// Copies the packet to an NFLOG group.
    Log { group: u16, snap_length: u32 },
    /// Ends the rule.
    Verdict(Verdict),
}

impl Statement {
    /// The statement's instructions.
    pub(super) fn expressions(&self) -> Vec<Expression> {
        match self {
            Self::Family(family) => {
                let number = match family {
                    Family::Ipv4 => 2,
                    Family::Ipv6 => 10,
                };
                vec![
                    Expression::Meta(MetaKey::NetworkProtocol),
                    Expression::Compare(Comparison::Equal, vec![number]),
                ]
            }
            Self::Match(field, test) => test.expressions(*field),
            Self::Interface(test) => {
                let last = match test {
                    InterfaceTest::Is(name) => {
                        Expression::Compare(Comparison::Equal, padded_name(name))
                    }
                    InterfaceTest::IsNot(name) => {
                        Expression::Compare(Comparison::NotEqual, padded_name(name))
                    }
                    InterfaceTest::StartsWith(prefix) => {
                        Expression::Compare(Comparison::Equal, prefix.as_bytes().to_vec())
                    }
                    InterfaceTest::In(names) => {
                        let element = |name: &String| SetElement {
                            key: padded_name(name),
                            interval_end: false,
                        };
                        Expression::Lookup(SetReference::Anonymous(SetDefinition {
                            data_type: data_type::INTERFACE_NAME,
                            width: 16,
                            intervals: false,
                            elements: names.iter().map(element).collect(),
                        }))
                    }
                };
                vec![Expression::Meta(MetaKey::InputName), last]
            }
            Self::FromVrf => vec![
                Expression::Meta(MetaKey::InputKind),
                Expression::Compare(Comparison::Equal, padded_name("vrf")),
            ],
            Self::ToThisMachine => vec![
                Expression::DestinationType,
                // RTN_LOCAL
                Expression::Compare(Comparison::Equal, 2u32.to_ne_bytes().to_vec()),
            ],
            Self::OneIn(modulus) => vec![
                Expression::Random(*modulus),
                Expression::Compare(Comparison::Equal, 0u32.to_ne_bytes().to_vec()),
            ],
            Self::MarkIs { mask, value } => vec![
                Expression::Meta(MetaKey::Mark),
                Expression::Bitwise {
                    mask: mask.to_ne_bytes().to_vec(),
                    toggle: vec![0; 4],
                },
                Expression::Compare(Comparison::Equal, value.to_ne_bytes().to_vec()),
            ],
            Self::SetMark { mask, value } => vec![
                Expression::Meta(MetaKey::Mark),
                Expression::Bitwise {
                    mask: (!mask).to_ne_bytes().to_vec(),
                    toggle: value.to_ne_bytes().to_vec(),
                },
                Expression::SetMeta(MetaKey::Mark),
            ],
            Self::SetDscp(Family::Ipv4, dscp) => vec![
                Expression::Payload {
                    base: Base::Network,
                    offset: 0,
                    length: 2,
                },
                Expression::Bitwise {
                    mask: vec![0xff, 0x03],
                    toggle: vec![0, dscp << 2],
                },
                Expression::SetPayload {
                    offset: 0,
                    length: 2,
                    checksum_offset: Some(10),
                },
            ],
            Self::SetDscp(Family::Ipv6, dscp) => vec![
                Expression::Payload {
                    base: Base::Network,
                    offset: 0,
                    length: 2,
                },
                Expression::Bitwise {
                    mask: vec![0xf0, 0x3f],
                    toggle: vec![dscp >> 2, dscp << 6],
                },
                Expression::SetPayload {
                    offset: 0,
                    length: 2,
                    checksum_offset: None,
                },
            ],
            Self::Counter(name) => vec![Expression::Object(ObjectKind::Counter, name.clone())],
            Self::OverLimit(name) => vec![Expression::Object(ObjectKind::Limit, name.clone())],
            Self::Log { group, snap_length } => {
                vec![Expression::Log {
                    group: *group,
                    snap_length: *snap_length,
                }]
            }
            Self::Verdict(verdict) => vec![Expression::Verdict(verdict.clone())],
        }
    }
}

/// A name as the kernel compares it: 16 octets, padded with NUL.
fn padded_name(name: &str) -> Vec<u8> {
    let mut octets = name.as_bytes().to_vec();
    octets.resize(16, 0);
    octets
}

/// The statements as one line in nft's language; what nft would infer is left out, as it does.
pub(super) fn write_statements(
    statements: &[Statement],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let implied = |family| {
        statements.iter().any(|other| match other {
            Statement::Match(field, _) => field.implies(family),
            Statement::SetDscp(own, _) => *own == family,
            _ => false,
        })
    };
    let mut transport = None;
    let mut separator = "";
    for (index, statement) in statements.iter().enumerate() {
        let next = statements.get(index + 1);
        match statement {
            Statement::Family(family) if implied(*family) => continue,
            Statement::Match(Field::TransportProtocol, Test::Is(protocol)) => {
                let inferred = matches!(
                    next,
                    Some(Statement::Match(
                        Field::IcmpType(_)
                            | Field::IcmpCode(_)
                            | Field::TcpFlags
                            | Field::SourcePort
                            | Field::DestinationPort,
                        _
                    ))
                );
                transport = match protocol {
                    6 => Some("tcp"),
                    17 => Some("udp"),
                    _ => None,
                };
                if inferred {
                    continue;
                }
            }
            _ => {}
        }
        f.write_str(separator)?;
        separator = " ";
        match (statement, transport) {
            (Statement::Match(Field::SourcePort, test), Some(protocol)) => {
                write_test(&format!("{protocol} sport"), Field::SourcePort, test, f)?;
            }
            (Statement::Match(Field::DestinationPort, test), Some(protocol)) => {
                write_test(
                    &format!("{protocol} dport"),
                    Field::DestinationPort,
                    test,
                    f,
                )?;
            }
            (Statement::Match(field, test), _) => write_test(field.text(), *field, test, f)?,
            (other, _) => write!(f, "{other}")?,
        }
    }
    Ok(())
}

/// Writes the test of a field called `name`.
fn write_test(name: &str, field: Field, test: &Test, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let value = |value: u128| Shown(field, value);
    f.write_str(name)?;
    match test {
        Test::Any => write!(f, " >= 0"),
        Test::Is(is) => write!(f, " {}", value(*is)),
        Test::IsNot(not) => write!(f, " != {}", value(*not)),
        Test::Between(first, last) => write!(f, " {}-{}", value(*first), value(*last)),
        Test::HasPorts => write!(f, " @{PORT_PROTOCOLS}"),
        Test::In(set) => {
            for (index, &(first, last)) in set.ranges().iter().enumerate() {
                f.write_str(if index == 0 { " { " } else { ", " })?;
                let (first, last) = (u128::from(first), u128::from(last));
                if first == last {
                    write!(f, "{}", value(first))?;
                } else {
                    write!(f, "{}-{}", value(first), value(last))?;
                }
            }
            f.write_str(" }")
        }
        Test::Masked {
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
        Test::NotMasked {
            mask,
            value: unwanted,
        } => {
            write!(f, " & {} != {}", value(*mask), value(*unwanted))
        }
        Test::MaskedIn { mask, values } => {
            write!(f, " & {}", value(*mask))?;
            for (index, element) in values.iter().enumerate() {
                f.write_str(if index == 0 { " { " } else { ", " })?;
                write!(f, "{}", value(u128::from(*element)))?;
            }
            f.write_str(" }")
        }
    }
}

/// A value in the notation of its field.
struct Shown(Field, u128);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_value(self.1, f)
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Family(family) => write!(f, "meta nfproto {family}"),
            Self::Match(field, test) => write_test(field.text(), *field, test, f),
            Self::Interface(InterfaceTest::Is(name)) => write!(f, "iifname \"{name}\""),
            Self::Interface(InterfaceTest::IsNot(name)) => write!(f, "iifname != \"{name}\""),
            Self::Interface(InterfaceTest::StartsWith(prefix)) => {
                write!(f, "iifname \"{prefix}*\"")
            }
            Self::Interface(InterfaceTest::In(names)) => {
                write!(f, "iifname {{ \"{}\" }}", names.join("\", \""))
            }
            Self::FromVrf => f.write_str("meta iifkind \"vrf\""),
            Self::ToThisMachine => f.write_str("fib daddr type local"),
            Self::OneIn(modulus) => write!(f, "numgen random mod {modulus} 0"),
            Self::MarkIs { mask, value } => write!(f, "meta mark & {mask:#010x} == {value:#010x}"),
            Self::SetMark { mask, value: 0 } => {
                write!(f, "meta mark set meta mark & {:#010x}", !mask)
            }
            Self::SetMark { mask, value } => {
                write!(
                    f,
                    "meta mark set meta mark & {:#010x} | {value:#010x}",
                    !mask
                )
            }
            Self::SetDscp(Family::Ipv4, dscp) => write!(f, "ip dscp set {dscp}"),
            Self::SetDscp(Family::Ipv6, dscp) => write!(f, "ip6 dscp set {dscp}"),
            Self::Counter(name) => write!(f, "counter name \"{name}\""),
            Self::OverLimit(name) => write!(f, "limit name \"{name}\""),
            Self::Log {
                group,
                snap_length: 0,
            } => write!(f, "log group {group}"),
            Self::Log { group, snap_length } => {
                write!(f, "log group {group} snaplen {snap_length}")
            }
            Self::Verdict(verdict) => match verdict {
                Verdict::Accept => f.write_str("accept"),
                Verdict::Drop => f.write_str("drop"),
                Verdict::Return => f.write_str("return"),
                Verdict::Jump(chain) => write!(f, "jump {chain}"),
                Verdict::Goto(chain) => write!(f, "goto {chain}"),
            },
        }
    }
}

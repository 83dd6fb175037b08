//! The words of the text form: names of components, protocols, flags and ICMP messages.

use crate::flowspec::operator::{
    FRAGMENT_DF, FRAGMENT_FF, FRAGMENT_ISF, FRAGMENT_LF, TCP_FLAGS_MASK,
};
use crate::wire::nlri::{BitmaskType, NumericType};

/// A name and what it stands for.
type Names<T> = &'static [(&'static str, T)];

/// What a component is called, and of what kind it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    /// Type 1.
    Destination,
    /// Type 2.
    Source,
    /// Types with numeric operators.
    Numeric(NumericType),
    /// Types with bitmask operators.
    Bitmask(BitmaskType),
}

/// All component names; where there are several for one component the first is printed.
pub const COMPONENTS: Names<Keyword> = &[
    ("destination", Keyword::Destination),
    ("destination-ipv4", Keyword::Destination),
    ("destination-ipv6", Keyword::Destination),
    ("source", Keyword::Source),
    ("source-ipv4", Keyword::Source),
    ("source-ipv6", Keyword::Source),
    ("protocol", Keyword::Numeric(NumericType::Protocol)),
    (NEXT_HEADER, Keyword::Numeric(NumericType::Protocol)),
    ("port", Keyword::Numeric(NumericType::Port)),
    (
        "destination-port",
        Keyword::Numeric(NumericType::DestinationPort),
    ),
    ("source-port", Keyword::Numeric(NumericType::SourcePort)),
    ("icmp-type", Keyword::Numeric(NumericType::IcmpType)),
    ("icmp-code", Keyword::Numeric(NumericType::IcmpCode)),
    ("tcp-flags", Keyword::Bitmask(BitmaskType::TcpFlags)),
    ("packet-length", Keyword::Numeric(NumericType::PacketLength)),
    ("dscp", Keyword::Numeric(NumericType::Dscp)),
    (TRAFFIC_CLASS, Keyword::Numeric(NumericType::Dscp)),
    ("fragment", Keyword::Bitmask(BitmaskType::Fragment)),
    (FLOW_LABEL, Keyword::Numeric(NumericType::FlowLabel)),
];

/// Component type 3 in IPv6.
pub const NEXT_HEADER: &str = "next-header";
/// Component type 11 in IPv6.
pub const TRAFFIC_CLASS: &str = "traffic-class";
/// Component type 13.
pub const FLOW_LABEL: &str = "flow-label";

/// Protocols by their IANA keywords. Printed where they are in [`PRINTED_PROTOCOLS`].
const PROTOCOLS: Names<u64> = &[
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("egp", 8),
    ("udp", 17),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ospf", 89),
    ("ipip", 94),
    ("pim", 103),
    ("sctp", 132),
    ("icmpv6", 58),
    ("ipv6-icmp", 58),
];

/// How many of [`PROTOCOLS`], from the first, ExaBGP 4 reads as well.
const PRINTED_PROTOCOLS: usize = 13;

/// Ports by their IANA service names: those that filters usually name. Read, never printed.
const PORTS: Names<u64> = &[
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("tftp", 69),
    ("http", 80),
    ("pop3", 110),
    ("sunrpc", 111),
    ("ntp", 123),
    ("imap", 143),
    ("snmp", 161),
    ("bgp", 179),
    ("ldap", 389),
    ("https", 443),
];

/// ICMP types. Read, never printed.
const ICMP_TYPES: Names<u64> = &[
    ("echo-reply", 0),
    ("unreachable", 3),
    ("source-quench", 4),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicit", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp", 13),
    ("timestamp-reply", 14),
    ("info-request", 15),
    ("info-reply", 16),
    ("mask-request", 17),
    ("mask-reply", 18),
    ("traceroute", 30),
];

/// ICMPv6 types. Read, never printed.
const ICMPV6_TYPES: Names<u64> = &[
    ("unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("router-solicit", 133),
    ("router-advertisement", 134),
    ("neighbor-solicit", 135),
    ("neighbor-advertisement", 136),
    ("redirect", 137),
];

/// ICMP codes of several types: each name belongs to one type. Read, never printed.
const ICMP_CODES: Names<u64> = &[
    ("network-unreachable", 0),
    ("host-unreachable", 1),
    ("protocol-unreachable", 2),
    ("port-unreachable", 3),
    ("fragmentation-needed", 4),
    ("source-route-failed", 5),
    ("destination-network-unknown", 6),
    ("destination-host-unknown", 7),
    ("source-host-isolated", 8),
    ("destination-network-prohibited", 9),
    ("destination-host-prohibited", 10),
    ("network-unreachable-for-tos", 11),
    ("host-unreachable-for-tos", 12),
    ("communication-prohibited-by-filtering", 13),
    ("host-precedence-violation", 14),
    ("precedence-cutoff-in-effect", 15),
    ("redirect-for-network", 0),
    ("redirect-for-host", 1),
    ("redirect-for-tos-and-net", 2),
    ("redirect-for-tos-and-host", 3),
    ("ttl-eq-zero-during-transit", 0),
    ("ttl-eq-zero-during-reassembly", 1),
    ("required-option-missing", 1),
    ("ip-header-bad", 2),
];

/// TCP flags; where there are several names for one bit the first is printed.
const TCP_FLAGS: Names<u16> = &[
    ("fin", 0x001),
    ("syn", 0x002),
    ("rst", 0x004),
    ("push", 0x008),
    ("ack", 0x010),
    ("urg", 0x020),
    ("ece", 0x040),
    ("cwr", 0x080),
    ("ns", 0x100),
    ("psh", 0x008),
    ("urgent", 0x020),
];

/// All fragment bits.
const FRAGMENT_MASK: u16 = FRAGMENT_DF | FRAGMENT_ISF | FRAGMENT_FF | FRAGMENT_LF;

/// Fragment bits.
const FRAGMENTS: Names<u16> = &[
    ("dont-fragment", FRAGMENT_DF),
    ("is-fragment", FRAGMENT_ISF),
    ("first-fragment", FRAGMENT_FF),
    ("last-fragment", FRAGMENT_LF),
];

/// The name that a component is printed with.
pub fn component_name(keyword: Keyword, ipv6: bool) -> &'static str {
    if ipv6 && keyword == Keyword::Numeric(NumericType::Protocol) {
        return NEXT_HEADER;
    }
    let found = COMPONENTS
        .iter()
        .find(|(_, candidate)| *candidate == keyword);
    found
        .map(|(name, _)| *name)
        .expect("every keyword is in the table")
}

/// The number that a name stands for in a component with numeric operators.
pub fn numeric_value(kind: NumericType, ipv6: bool, name: &str) -> Option<u64> {
    let names = match kind {
        NumericType::Protocol => PROTOCOLS,
        NumericType::Port | NumericType::DestinationPort | NumericType::SourcePort => PORTS,
        NumericType::IcmpType if ipv6 => ICMPV6_TYPES,
        NumericType::IcmpType => ICMP_TYPES,
        NumericType::IcmpCode if ipv6 => &[],
        NumericType::IcmpCode => ICMP_CODES,
        NumericType::PacketLength | NumericType::Dscp | NumericType::FlowLabel => &[],
    };
    find(names, name)
}

/// The name that a protocol number is printed with.
pub fn protocol_name(number: u64) -> Option<&'static str> {
    let printed = &PROTOCOLS[..PRINTED_PROTOCOLS];
    printed
        .iter()
        .find(|(_, value)| *value == number)
        .map(|(name, _)| *name)
}

/// The bit that a name stands for in a component with bitmask operators.
pub fn bit_value(kind: BitmaskType, name: &str) -> Option<u16> {
    find(bit_names(kind), name)
}

/// The names of all bits of a mask joined by `+`; `None` when there is no bit or one without a
/// name.
pub fn bits_text(kind: BitmaskType, bits: u16) -> Option<String> {
    let mut rest = bits;
    let mut names = Vec::new();
    for (name, bit) in bit_names(kind) {
        if rest & bit != 0 {
            names.push(*name);
            rest &= !bit;
        }
    }
    (bits != 0 && rest == 0).then(|| names.join("+"))
}

/// The bits that a component's value can have.
pub fn bit_mask(kind: BitmaskType, ipv6: bool) -> u16 {
    match kind {
        BitmaskType::TcpFlags => TCP_FLAGS_MASK,
        BitmaskType::Fragment if ipv6 => FRAGMENT_MASK & !FRAGMENT_DF,
        BitmaskType::Fragment => FRAGMENT_MASK,
    }
}

/// The table of a component with bitmask operators.
fn bit_names(kind: BitmaskType) -> Names<u16> {
    match kind {
        BitmaskType::TcpFlags => TCP_FLAGS,
        BitmaskType::Fragment => FRAGMENTS,
    }
}

/// Looks a name up without regard to case.
fn find<T: Copy>(names: Names<T>, name: &str) -> Option<T> {
    names
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

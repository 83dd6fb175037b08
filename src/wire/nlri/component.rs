//! The thirteen component types and their operators, as they stand in the NLRI.

/// One component of a Flow Specification.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// Type 1 (RFC 8955 §4.2.2.1, RFC 8956 §3.1).
    DestinationPrefix(PrefixPattern),
    /// Type 2 (RFC 8955 §4.2.2.2, RFC 8956 §3.2).
    SourcePrefix(PrefixPattern),
    /// Types 3 to 8, 10, 11 and 13: a non-empty list of numeric operators.
    Numeric(NumericType, Vec<NumericOp>),
    /// Types 9 and 12: a non-empty list of bitmask operators.
    Bitmask(BitmaskType, Vec<BitmaskOp>),
}

impl Component {
    /// The component type's code point, 1 to 13.
    pub fn code(&self) -> u8 {
        match self {
            Component::DestinationPrefix(_) => 1,
            Component::SourcePrefix(_) => 2,
            Component::Numeric(kind, _) => *kind as u8,
            Component::Bitmask(kind, _) => *kind as u8,
        }
    }
}

/// Component types with numeric operators. The discriminant is the code point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum NumericType {
    /// Type 3: IP protocol, in IPv6 the upper-layer protocol (RFC 8956 §3.3).
    Protocol = 3,
    /// Type 4: source or destination port.
    Port = 4,
    /// Type 5.
    DestinationPort = 5,
    /// Type 6.
    SourcePort = 6,
    /// Type 7.
    IcmpType = 7,
    /// Type 8.
    IcmpCode = 8,
    /// Type 10: total length of the IP packet.
    PacketLength = 10,
    /// Type 11.
    Dscp = 11,
    /// Type 13: IPv6 only (RFC 8956 §3.7).
    FlowLabel = 13,
}

impl NumericType {
    /// The type with this code point.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            3 => Self::Protocol,
            4 => Self::Port,
            5 => Self::DestinationPort,
            6 => Self::SourcePort,
            7 => Self::IcmpType,
            8 => Self::IcmpCode,
            10 => Self::PacketLength,
            11 => Self::Dscp,
            13 => Self::FlowLabel,
            _ => return None,
        })
    }
}

/// Component types with bitmask operators. The discriminant is the code point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BitmaskType {
    /// Type 9.
    TcpFlags = 9,
    /// Type 12.
    Fragment = 12,
}

/// A prefix with an optional offset.
///
/// Compares bits `offset` to `length` - 1 of an address, counted from the most significant. In IPv4 the offset is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixPattern {
    /// Prefix length in bits: at most 32 or 128. Greater than `offset`, or both are 0.
    pub length: u8,
    /// Leading bits that are not compared (RFC 8956 §3.1).
    pub offset: u8,
    /// The wanted bits at their place in the address, left-aligned in the 128 (an IPv4 address stands in the most
    /// significant 32 bits); zero outside `offset..length`.
    pub bits: u128,
}

/// One {numeric_op, value} pair (RFC 8955 §4.2.1.1). The end-of-list bit is implied by the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NumericOp {
    /// Combined with the previous pair by AND; false on the first pair.
    pub and: bool,
    /// True when the field is less than the value.
    pub less: bool,
    /// True when the field is greater than the value.
    pub greater: bool,
    /// True when the field equals the value.
    pub equal: bool,
    /// Octets of the value on the wire: 1, 2, 4 or 8. Part of the route's identity.
    pub width: u8,
    /// The value to compare with.
    pub value: u64,
}

/// One {bitmask_op, bitmask} pair (RFC 8955 §4.2.1.2). The end-of-list bit is implied by the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BitmaskOp {
    /// Combined with the previous pair by AND; false on the first pair.
    pub and: bool,
    /// Negates the comparison.
    pub not: bool,
    /// True: all bits of the value must be set. False: any of them.
    pub all: bool,
    /// Octets of the value on the wire: 1 or 2. Part of the route's identity.
    pub width: u8,
    /// The bits to test, must-ignore bits cleared.
    pub value: u16,
}

/// Route distinguisher (RFC 4364 §4.2): eight opaque octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteDistinguisher(pub [u8; 8]);

//! The instructions of the kernel's nf_tables machine, and their netlink encoding.
//!
//! Every instruction works on register 1, which holds up to 16 octets: a load is followed by what
//! compares it. Only the parts of a key stand in registers side by side, each beginning with a
//! register of four octets.

use super::message::Attributes;

/// `NFT_REG_1`.
const REGISTER: u32 = 1;
/// `NFT_REG32_00`: the first register of four octets, at the same place as register 1.
const SHORT_REGISTER: u32 = 8;
/// `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;

/// Keys of `meta` (`NFT_META_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum MetaKey {
    /// The packet mark, in host byte order.
    Mark = 3,
    /// Name of the interface a packet came in by: 16 octets padded with NUL.
    InputName = 6,
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`, one octet.
    NetworkProtocol = 15,
    /// Protocol of the transport header, one octet; absent when the header chain is broken.
    TransportProtocol = 16,
    /// Kind of the interface a packet came in by: 16 octets padded with NUL.
    InputKind = 26,
}

/// Where a payload offset counts from (`NFT_PAYLOAD_*_HEADER`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Base {
    /// The IP header.
    Network = 1,
    /// The header behind the IP headers. Garbage in later IPv4 fragments.
    Transport = 2,
}

/// Comparisons of octet strings (`NFT_CMP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Comparison {
    /// Equal.
    Equal = 0,
    /// Not equal.
    NotEqual = 1,
    /// Less or equal.
    AtMost = 3,
    /// Greater or equal.
    AtLeast = 5,
}

/// Kinds of named objects (`NFT_OBJECT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub(super) enum ObjectKind {
    /// Packets and octets.
    Counter = 1,
    /// A token bucket.
    Limit = 4,
}

/// What ends a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The packet passes this table.
    Accept,
    /// The packet is gone.
    Drop,
    /// Back to the chain that jumped here.
    Return,
    /// On to a chain, and back.
    Jump(String),
    /// On to a chain, and back to where this one would have returned to.
    Goto(String),
}

/// The definition of an anonymous constant set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetDefinition {
    /// The data type that `nft` prints the elements in (`enum datatypes` of nft).
    pub(super) data_type: u32,
    /// Octets of an element.
    pub(super) width: usize,
    /// True when elements are ends of intervals.
    pub(super) intervals: bool,
    /// Ascending; with intervals, where each begins and, flagged, one after where it ends.
    pub(super) elements: Vec<SetElement>,
}

/// One element of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetElement {
    /// The value, big-endian.
    pub(super) key: Vec<u8>,
    /// True when an interval ends just before the value.
    pub(super) interval_end: bool,
}

/// How to look up a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SetReference {
    /// A set or map with a name of its own.
    Named(String),
    /// A set that lives and dies with the rule.
    Anonymous(SetDefinition),
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Loads a fact about the packet.
    Meta(MetaKey),
    /// Stores the register as a fact about the packet.
    SetMeta(MetaKey),
    /// Loads octets of the packet.
    Payload {
        base: Base,
        offset: u32,
        length: u32,
    },
    /// Stores the register in the network header; `checksum_offset` is where an Internet checksum
    /// is to be mended.
    SetPayload {
        offset: u32,
        length: u32,
        checksum_offset: Option<u32>,
    },
    /// Loads octets of the IPv6 fragment header, wherever it stands in the chain.
    Fragment { offset: u32, length: u32 },
    /// Loads 1 when there is an IPv6 fragment header, else 0.
    FragmentPresent,
    /// `register = register & mask ^ toggle`.
    Bitwise { mask: Vec<u8>, toggle: Vec<u8> },
    /// Goes on only if the comparison holds.
    Compare(Comparison, Vec<u8>),
    /// Goes on only if the register is outside these inclusive bounds.
    Outside(Vec<u8>, Vec<u8>),
    /// Goes on only if the register is in the set, and what the set says of its elements does.
    Lookup(SetReference),
    /// Goes on only if the register is not in the set or map of this name.
    Absent(String),
    /// Adds the register to a set that has none like it, and goes on if what the set says of each element does. Stops when
    /// there is no room.
    Update(String),
    /// Goes on with the chain that a map has for the register, if it has one.
    GoOnIn(String),
    /// Loads what a map has for the register; goes on only if there is something.
    LoadFrom(String),
    /// Sends a copy of the packet to the address in the register.
    Duplicate,
    /// Counts, or goes on only if the limit says so.
    Object(ObjectKind, String),
    /// The same with the object that a map has for the register; goes on only if there is one.
    ObjectIn(ObjectKind, String),
    /// An instruction that loads its value so many octets behind register 1, a multiple of four.
    Behind(u32, Box<Expression>),
    /// Copies the packet to an NFLOG group.
    Log { group: u16, snap_length: u32 },
    /// Loads a random number below this one, in host byte order.
    Random(u32),
    /// Loads the routing type of the destination address (`RTN_*`), in host byte order.
    DestinationType,
    /// Ends the rule.
    Verdict(Verdict),
}

impl Expression {
    /// The kernel's name of the instruction and its attributes. `set_id` is that of the anonymous
    /// set looked up, `register` where a value is loaded.
    fn encode_parts(&self, set_id: u32, register: u32) -> (&'static str, Attributes) {
        let list = Attributes::new();
        match self {
            Self::Behind(octets, expression) => {
                expression.encode_parts(set_id, SHORT_REGISTER + octets / 4)
            }
            Self::Meta(key) => ("meta", list.u32(2, *key as u32).u32(1, register)),
            Self::SetMeta(key) => ("meta", list.u32(2, *key as u32).u32(3, REGISTER)),
            Self::Payload {
                base,
                offset,
                length,
            } => (
                "payload",
                list.u32(1, register)
                    .u32(2, *base as u32)
                    .u32(3, *offset)
                    .u32(4, *length),
            ),
            Self::SetPayload {
                offset,
                length,
                checksum_offset,
            } => {
                let list = list.u32(5, REGISTER).u32(2, Base::Network as u32);
                let list = list.u32(3, *offset).u32(4, *length);
                let list = match checksum_offset {
                    Some(checksum_offset) => list.u32(6, 1).u32(7, *checksum_offset),
                    None => list.u32(6, 0).u32(7, 0),
                };
                ("payload", list)
            }
            Self::Fragment { offset, length } => (
                "exthdr",
                list.u32(1, REGISTER)
                    .bytes(2, &[44])
                    .u32(3, *offset)
                    .u32(4, *length)
                    .u32(6, 0),
            ),
            Self::FragmentPresent => {
                let list = list.u32(1, REGISTER).bytes(2, &[44]).u32(3, 0).u32(4, 1);
                ("exthdr", list.u32(5, 1).u32(6, 0))
            }
            Self::Bitwise { mask, toggle } => {
                let length = u32::try_from(mask.len()).expect("a register has 16 octets");
                let list = list.u32(1, register).u32(2, register).u32(3, length);
                (
                    "bitwise",
                    list.nested(4, value(mask)).nested(5, value(toggle)),
                )
            }
            Self::Compare(comparison, octets) => (
                "cmp",
                list.u32(1, REGISTER)
                    .u32(2, *comparison as u32)
                    .nested(3, value(octets)),
            ),
            Self::Outside(first, last) => {
                // NFT_RANGE_NEQ
                let list = list.u32(1, REGISTER).u32(2, 1);
                ("range", list.nested(3, value(first)).nested(4, value(last)))
            }
            Self::Lookup(SetReference::Named(name)) => {
                ("lookup", list.u32(2, REGISTER).string(1, name))
            }
            Self::Lookup(SetReference::Anonymous(_)) => (
                "lookup",
                list.u32(2, REGISTER)
                    .string(1, &anonymous_set_name(set_id))
                    .u32(4, set_id),
            ),
            // NFT_LOOKUP_F_INV
            Self::Absent(set) => ("lookup", list.string(1, set).u32(2, REGISTER).u32(5, 1)),
            // NFT_DYNSET_OP_UPDATE
            Self::Update(set) => ("dynset", list.string(1, set).u32(3, 1).u32(4, REGISTER)),
            Self::GoOnIn(map) => {
                let list = list.u32(2, REGISTER).u32(3, VERDICT_REGISTER);
                ("lookup", list.string(1, map))
            }
            Self::LoadFrom(map) => {
                let list = list.u32(2, REGISTER).u32(3, REGISTER);
                ("lookup", list.string(1, map))
            }
            Self::Duplicate => ("dup", list.u32(1, REGISTER)),
            Self::Object(kind, name) => ("objref", list.u32(1, *kind as u32).string(2, name)),
            Self::ObjectIn(_, map) => ("objref", list.u32(3, REGISTER).string(4, map)),
            Self::Log { group, snap_length } => {
                let list = list.u16(1, *group);
                (
                    "log",
                    if *snap_length > 0 {
                        list.u32(3, *snap_length)
                    } else {
                        list
                    },
                )
            }
            Self::Random(modulus) => (
                "numgen",
                list.u32(1, REGISTER).u32(2, *modulus).u32(3, 1).u32(4, 0),
            ),
            Self::DestinationType => ("fib", list.u32(1, REGISTER).u32(2, 3).u32(3, 1 << 1)),
            Self::Verdict(verdict) => {
                let verdict = Attributes::new().nested(2, verdict.encode());
                (
                    "immediate",
                    list.u32(1, VERDICT_REGISTER).nested(2, verdict),
                )
            }
        }
    }

    /// Appends the instruction to a rule's list.
    pub(super) fn encode(&self, set_id: u32, to: Attributes) -> Attributes {
        let (name, data) = self.encode_parts(set_id, REGISTER);
        to.nested(1, Attributes::new().string(1, name).nested(2, data))
    }
}

/// The name of the anonymous set of this number.
///
/// The kernel would number sets itself, but parses the names of all sets of the table each time it
/// does.
pub(super) fn anonymous_set_name(number: u32) -> String {
    format!("__set{number}")
}

impl Verdict {
    /// The verdict as `NFTA_DATA_VERDICT`.
    pub(super) fn encode(&self) -> Attributes {
        let (code, chain) = match self {
            Self::Drop => (0i32, None),
            Self::Accept => (1, None),
            Self::Jump(chain) => (-3, Some(chain)),
            Self::Goto(chain) => (-4, Some(chain)),
            Self::Return => (-5, None),
        };
        let list = Attributes::new().bytes(1, &code.to_be_bytes());
        match chain {
            Some(chain) => list.string(2, chain),
            None => list,
        }
    }
}

/// A register's value as `NFTA_DATA_VALUE`.
fn value(octets: &[u8]) -> Attributes {
    Attributes::new().bytes(1, octets)
}

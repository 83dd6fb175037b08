//! Path attributes (RFC 4271 §5): the decoded set that one UPDATE carries.

pub mod code;
pub(super) mod decode;
pub(super) mod encode;

use std::net::Ipv4Addr;

use crate::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};

/// ORIGIN (RFC 4271 §5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Interior to the originating AS.
    Igp,
    /// Learned by EGP.
    Egp,
    /// Learned by other means.
    Incomplete,
}

/// One segment of AS_PATH (RFC 4271 §4.3, RFC 5065 §3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AsPathSegment {
    /// What kind of segment.
    pub kind: AsPathSegmentKind,
    /// Its autonomous systems, the nearest first.
    pub asns: Vec<u32>,
}

/// The kinds of AS_PATH segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsPathSegmentKind {
    /// Type 1, unordered.
    Set,
    /// Type 2.
    Sequence,
    /// Type 3 (RFC 5065).
    ConfedSequence,
    /// Type 4 (RFC 5065).
    ConfedSet,
}

/// An attribute that we carry without understanding it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawAttribute {
    /// Attribute flags as received.
    pub flags: u8,
    /// Attribute type code.
    pub code: u8,
    /// Attribute value.
    pub value: Vec<u8>,
}

/// The path attributes of one UPDATE, without MP_REACH_NLRI and MP_UNREACH_NLRI.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Attributes {
    /// ORIGIN, type 1.
    pub origin: Option<Origin>,
    /// AS_PATH, type 2, with AS4_PATH (RFC 6793) merged in.
    pub as_path: Vec<AsPathSegment>,
    /// MULTI_EXIT_DISC, type 4.
    pub med: Option<u32>,
    /// LOCAL_PREF, type 5; never present from eBGP (RFC 7606 §7.5).
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE, type 6.
    pub atomic_aggregate: bool,
    /// AGGREGATOR, type 7.
    pub aggregator: Option<(u32, Ipv4Addr)>,
    /// COMMUNITIES, type 8.
    pub communities: Vec<u32>,
    /// ORIGINATOR_ID, type 9; never present from eBGP.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST, type 10; never present from eBGP.
    pub cluster_list: Vec<Ipv4Addr>,
    /// EXTENDED COMMUNITIES, type 16, in the order received.
    pub extended_communities: Vec<ExtendedCommunity>,
    /// IPv6 EXTENDED COMMUNITIES, type 25, in the order received.
    pub ipv6_extended_communities: Vec<Ipv6ExtendedCommunity>,
    /// LARGE_COMMUNITY, type 32.
    pub large_communities: Vec<LargeCommunity>,
    /// Next hop of MP_REACH_NLRI as received: FlowSpec ignores it (RFC 8955 §4).
    pub mp_next_hop: Vec<u8>,
    /// Everything else.
    pub unknown: Vec<RawAttribute>,
}

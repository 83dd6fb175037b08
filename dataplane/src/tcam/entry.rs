//! One entry of an ACL table: a conjunction of simple tests.

use std::fmt;

use super::cubes::Cube;
use crate::packet::Packet;
use crate::rule::{AddressPattern, Family};

/// Ports from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// The least port.
    pub first: u16,
    /// The greatest port, not less than the first.
    pub last: u16,
}

impl Ports {
    /// All ports there are.
    pub const ALL: Ports = Ports {
        first: 0,
        last: u16::MAX,
    };

    /// One port.
    pub fn single(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// The port when there is just one.
    pub fn exact(self) -> Option<u16> {
        (self.first == self.last).then_some(self.first)
    }

    /// How many ports: at least 1.
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// True when `port` is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// `80`, or `1024:65535`.
impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exact() {
            Some(port) => port.fmt(f),
            None => write!(f, "{}:{}", self.first, self.last),
        }
    }
}

/// Tests that a packet passes or not. One that is absent is passed by every packet.
///
/// Tests of ports, ICMP and TCP flags come with the one protocol that they are about, and are never passed by later
/// fragments, which do not have these fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The destination is in this prefix: a pattern without offset.
    pub destination: Option<AddressPattern>,
    /// The source is in this prefix.
    pub source: Option<AddressPattern>,
    /// The IPv4 protocol, or the upper-layer protocol of IPv6.
    pub protocol: Option<u8>,
    /// TCP or UDP destination port.
    pub destination_port: Option<Ports>,
    /// TCP or UDP source port.
    pub source_port: Option<Ports>,
    /// ICMP or ICMPv6 type.
    pub icmp_type: Option<u8>,
    /// ICMP or ICMPv6 code.
    pub icmp_code: Option<u8>,
    /// TCP flags.
    pub tcp_flags: Option<Cube>,
    /// DSCP.
    pub dscp: Option<u8>,
    /// The packet is a fragment with an offset.
    pub later_fragment: bool,
    /// IPv6 hop limit or IPv4 time to live.
    pub hop_limit: Option<u8>,
}

impl Entry {
    /// The entry that every packet of the family passes.
    pub fn everything(family: Family) -> Self {
        Self {
            family,
            destination: None,
            source: None,
            protocol: None,
            destination_port: None,
            source_port: None,
            icmp_type: None,
            icmp_code: None,
            tcp_flags: None,
            dscp: None,
            later_fragment: false,
            hop_limit: None,
        }
    }

    /// True when some test is about a transport header.
    pub fn needs_transport_header(&self) -> bool {
        self.destination_port.is_some()
            || self.source_port.is_some()
            || self.icmp_type.is_some()
            || self.icmp_code.is_some()
            || self.tcp_flags.is_some()
    }

    /// False when no packet passes both: some test of one contradicts that of the other. Fragments and hop limits are not
    /// compared, so that it may be true without such a packet.
    pub fn overlaps(&self, other: &Self) -> bool {
        fn both<T: Copy>(a: Option<T>, b: Option<T>, meet: impl Fn(T, T) -> bool) -> bool {
            a.zip(b).is_none_or(|(a, b)| meet(a, b))
        }
        let equal = |a: Option<u8>, b| both(a, b, |a, b| a == b);
        let prefixes = |a, b| {
            both(a, b, |a: AddressPattern, b| {
                (a.value() ^ b.value()) & a.mask() & b.mask() == 0
            })
        };
        let ports = |a, b| both(a, b, |a: Ports, b| a.first <= b.last && b.first <= a.last);
        self.family == other.family
            && prefixes(self.destination, other.destination)
            && prefixes(self.source, other.source)
            && equal(self.protocol, other.protocol)
            && ports(self.destination_port, other.destination_port)
            && ports(self.source_port, other.source_port)
            && equal(self.icmp_type, other.icmp_type)
            && equal(self.icmp_code, other.icmp_code)
            && both(self.tcp_flags, other.tcp_flags, |a, b| {
                (a.value ^ b.value) & a.mask & b.mask == 0
            })
            && equal(self.dscp, other.dscp)
    }

    /// True when the packet passes all tests.
    pub fn contains(&self, packet: &Packet) -> bool {
        let address =
            |prefix: Option<AddressPattern>, address| prefix.is_none_or(|p| p.contains(address));
        let ports = |ports: Option<Ports>, port: Option<u16>| {
            ports.is_none_or(|ports| port.is_some_and(|port| ports.contains(port)))
        };
        let octet = |wanted: Option<u8>, octet: Option<u8>| wanted.is_none() || wanted == octet;
        self.family == packet.family
            && address(self.destination, packet.destination)
            && address(self.source, packet.source)
            && octet(self.protocol, packet.protocol)
            && ports(self.destination_port, packet.destination_port)
            && ports(self.source_port, packet.source_port)
            && octet(self.icmp_type, packet.icmp_type)
            && octet(self.icmp_code, packet.icmp_code)
            && self
                .tcp_flags
                .is_none_or(|cube| packet.tcp_flags.is_some_and(|flags| cube.contains(flags)))
            && octet(self.dscp, Some(packet.dscp))
            && (!self.later_fragment || packet.fragment.is_later())
            && octet(self.hop_limit, Some(packet.hop_limit))
    }
}

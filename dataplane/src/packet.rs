//! One IP packet as a filter sees it.
//!
//! Parsing follows what a router can know without reassembly: transport fields exist only where the transport header
//! does. The IPv6 header chain is walked through Hop-by-Hop Options, Routing, Fragment and Destination Options
//! (RFC 8200 §4); at AH, ESP or a truncated header the upper-layer protocol is unknown.

mod parse;
mod text;

use std::sync::Arc;

use crate::rule::{Family, FragmentKind};

/// The fields of one IP packet that rules can look at. `None` where the packet does not have the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Destination address, left-aligned (see [`crate::rule::AddressPattern`]).
    pub destination: u128,
    /// Source address, left-aligned.
    pub source: u128,
    /// IPv4 protocol or IPv6 upper-layer protocol.
    pub protocol: Option<u8>,
    /// Source port of TCP or UDP.
    pub source_port: Option<u16>,
    /// Destination port of TCP or UDP.
    pub destination_port: Option<u16>,
    /// Type of ICMP (in IPv4) or ICMPv6 (in IPv6).
    pub icmp_type: Option<u8>,
    /// Code of ICMP or ICMPv6.
    pub icmp_code: Option<u8>,
    /// TCP header octets 12 and 13 without the data offset: 12 bits.
    pub tcp_flags: Option<u16>,
    /// Octets of the IP packet, header included; `None` for an IPv6 jumbogram.
    pub packet_length: Option<u32>,
    /// IPv6 hop limit or IPv4 time to live.
    pub hop_limit: u8,
    /// The six bits of DSCP.
    pub dscp: u8,
    /// Fragmentation.
    pub fragment: FragmentKind,
    /// IPv4 Don't Fragment; always false in IPv6.
    pub dont_fragment: bool,
    /// IPv6 flow label; `None` in IPv4.
    pub flow_label: Option<u32>,
    /// Name of the interface that it came in by; `None` where that is not known. It stands in no octet of the packet.
    pub interface: Option<Arc<str>>,
}

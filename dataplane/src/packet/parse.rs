//! From the octets of an IP packet to its fields.
//!
//! A field exists when all of its octets do: in a UDP header that is cut after three octets there is a source port and
//! no destination port. What is behind the length that the IP header states is padding of the link layer.

use super::Packet;
use crate::rule::{Family, FragmentKind};

/// IP protocol numbers, IPv6 extension headers among them.
pub(super) mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION_OPTIONS: u8 = 60;
}
use protocol::*;

/// Octets of the IPv6 header.
const IPV6_HEADER: usize = 40;

impl Packet {
    /// Reads the octets of an IP packet, without a link-layer header.
    ///
    /// `None` for what a router drops before any filter sees it: not IPv4 or IPv6, a header that is cut or contradicts
    /// itself, or fewer octets than the header states.
    pub fn parse(octets: &[u8]) -> Option<Packet> {
        match octets.first()? >> 4 {
            4 => parse_ipv4(octets),
            6 => parse_ipv6(octets),
            _ => None,
        }
    }

    /// Fills in the fields of the transport header, as far as they are there.
    pub(super) fn read_transport_header(&mut self, header: &[u8]) {
        let octet = |at: usize| header.get(at).copied();
        let word = |at: usize| Some(u16::from_be_bytes([octet(at)?, octet(at + 1)?]));
        match (self.protocol, self.family) {
            (Some(TCP | UDP), _) => {
                self.source_port = word(0);
                self.destination_port = word(2);
                if self.protocol == Some(TCP) {
                    self.tcp_flags = word(12).map(|word| word & 0x0fff);
                }
            }
            (Some(ICMP), Family::Ipv4) | (Some(ICMPV6), Family::Ipv6) => {
                self.icmp_type = octet(0);
                self.icmp_code = octet(1);
            }
            _ => {}
        }
    }
}

/// RFC 791 §3.1.
fn parse_ipv4(octets: &[u8]) -> Option<Packet> {
    let header: &[u8; 20] = octets.first_chunk()?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let total_length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header_length < header.len() || total_length < header_length {
        return None;
    }
    let payload = octets.get(header_length..total_length)?;
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let address = |at: usize| u128::from(word(header, at)) << 96;
    let mut packet = Packet {
        family: Family::Ipv4,
        destination: address(16),
        source: address(12),
        protocol: Some(header[9]),
        source_port: None,
        destination_port: None,
        icmp_type: None,
        icmp_code: None,
        tcp_flags: None,
        packet_length: Some(total_length as u32),
        hop_limit: header[8],
        dscp: header[1] >> 2,
        fragment: fragment_kind(fragment & 0x1fff != 0, fragment & 0x2000 != 0),
        dont_fragment: fragment & 0x4000 != 0,
        flow_label: None,
        interface: None,
    };
    if !packet.fragment.is_later() {
        packet.read_transport_header(payload);
    }
    Some(packet)
}

/// RFC 8200 §3.
fn parse_ipv6(octets: &[u8]) -> Option<Packet> {
    let header: &[u8; IPV6_HEADER] = octets.first_chunk()?;
    let payload_length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let is_jumbogram = payload_length == 0 && header[6] == HOP_BY_HOP;
    let payload = if is_jumbogram {
        &octets[IPV6_HEADER..]
    } else {
        octets.get(IPV6_HEADER..IPV6_HEADER + payload_length)?
    };
    let first_word = word(header, 0);
    let address = |at: usize| {
        (0..4).fold(0u128, |address, index| {
            address << 32 | u128::from(word(header, at + 4 * index))
        })
    };
    let chain = walk_extension_headers(header[6], payload);
    let mut packet = Packet {
        family: Family::Ipv6,
        destination: address(24),
        source: address(8),
        protocol: chain.upper_layer.map(|(protocol, _)| protocol),
        source_port: None,
        destination_port: None,
        icmp_type: None,
        icmp_code: None,
        tcp_flags: None,
        packet_length: (!is_jumbogram).then_some((IPV6_HEADER + payload_length) as u32),
        hop_limit: header[7],
        dscp: (first_word >> 22 & 0x3f) as u8,
        fragment: chain.fragment,
        dont_fragment: false,
        flow_label: Some(first_word & 0xf_ffff),
        interface: None,
    };
    if let Some((_, Some(header))) = chain.upper_layer {
        packet.read_transport_header(header);
    }
    Some(packet)
}

/// What the extension headers of an IPv6 packet say.
struct Chain<'a> {
    /// By the Fragment headers: any of them may have the offset, the first one tells whether more come.
    fragment: FragmentKind,
    /// The upper-layer protocol and, unless this is a later fragment, what follows the last extension header.
    upper_layer: Option<(u8, Option<&'a [u8]>)>,
}

/// Walks the headers that precede the upper layer; every step consumes octets, so it ends.
fn walk_extension_headers(mut next_header: u8, mut rest: &[u8]) -> Chain<'_> {
    let mut fragment = None;
    let mut first_more = None;
    // Beyond AH only a Fragment header is of interest: the upper-layer protocol is not told from ciphertext there.
    let mut authenticated = false;
    let upper_layer = loop {
        let length = match (next_header, rest) {
            (ESP, _) => break None,
            (FRAGMENT, [following, _, high, low, ..]) => {
                let field = u16::from_be_bytes([*high, *low]);
                let is_later = field & 0xfff8 != 0;
                let more = *first_more.get_or_insert(field & 1 != 0);
                let ends =
                    !authenticated && (*following == ESP || !is_extension_header(*following));
                // The offset in another than the first is seen only where the walk ends with it.
                if fragment.is_none() || ends {
                    fragment = Some(fragment_kind(is_later, more));
                }
                if is_later {
                    break (ends && *following != ESP).then_some((*following, None));
                }
                8
            }
            (HOP_BY_HOP | DESTINATION_OPTIONS, [_, units, ..])
            | (ROUTING, [_, units, _, _, ..]) => (usize::from(*units) + 1) * 8,
            (AH, [_, units, ..]) => {
                authenticated = true;
                (usize::from(*units) + 2) * 4
            }
            (header, _) if is_extension_header(header) => break None,
            (protocol, rest) => break (!authenticated).then_some((protocol, Some(rest))),
        };
        next_header = rest[0];
        rest = rest.get(length..).unwrap_or_default();
    };
    Chain {
        fragment: fragment.unwrap_or(FragmentKind::Whole),
        upper_layer,
    }
}

/// True for headers behind which the upper layer lies, or nobody can tell.
fn is_extension_header(number: u8) -> bool {
    matches!(
        number,
        HOP_BY_HOP | ROUTING | FRAGMENT | ESP | AH | DESTINATION_OPTIONS
    )
}

/// The kind for an offset that is not 0 and for the More Fragments bit.
fn fragment_kind(is_later: bool, more: bool) -> FragmentKind {
    match (is_later, more) {
        (false, false) => FragmentKind::Whole,
        (false, true) => FragmentKind::First,
        (true, true) => FragmentKind::Middle,
        (true, false) => FragmentKind::Last,
    }
}

/// Four octets of a header of fixed size, in network order.
fn word<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;

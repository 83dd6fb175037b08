//! IP packets of every kind, octet by octet, with right checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::packet::Packet;
use dataplane::rule::{Family, FragmentKind};

/// IP protocol numbers, IPv6 extension headers among them.
pub mod protocol {
    /// Hop-by-Hop Options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Generic Routing Encapsulation.
    pub const GRE: u8 = 47;
    /// Encapsulating Security Payload.
    pub const ESP: u8 = 50;
    /// Authentication Header.
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// No Next Header.
    pub const NO_NEXT_HEADER: u8 = 59;
    /// Destination Options.
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// The TCP flag SYN.
pub const SYN: u16 = 0x002;
/// The TCP flag ACK.
pub const ACK: u16 = 0x010;

/// What an IP header says besides lengths, protocol and fragmentation.
#[derive(Clone, Debug)]
pub struct Header {
    source: IpAddr,
    destination: IpAddr,
    dscp: u8,
    ecn: u8,
    hop_limit: u8,
    identification: u16,
    dont_fragment: bool,
    options: Vec<u8>,
    flow_label: u32,
}

impl Header {
    /// A header between two addresses of one family, with the usual hop limit of 64.
    pub fn new(source: IpAddr, destination: IpAddr) -> Self {
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "one family");
        Self {
            source,
            destination,
            dscp: 0,
            ecn: 0,
            hop_limit: 64,
            identification: 0,
            dont_fragment: false,
            options: Vec::new(),
            flow_label: 0,
        }
    }

    /// [`Header::new`] of addresses in text form; panics when they are not.
    pub fn between(source: &str, destination: &str) -> Self {
        let address = |text: &str| text.parse().expect("an IP address");
        Self::new(address(source), address(destination))
    }

    /// Sets DSCP, six bits.
    pub fn dscp(mut self, dscp: u8) -> Self {
        self.dscp = dscp & 0x3f;
        self
    }

    /// Sets ECN, two bits.
    pub fn ecn(mut self, ecn: u8) -> Self {
        self.ecn = ecn & 3;
        self
    }

    /// Sets the hop limit (in IPv4: time to live).
    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// Sets the identification, of the IPv4 header or of an IPv6 Fragment header.
    pub fn identification(mut self, identification: u16) -> Self {
        self.identification = identification;
        self
    }

    /// Sets the Don't Fragment bit; without effect in IPv6.
    pub fn dont_fragment(mut self) -> Self {
        self.dont_fragment = true;
        self
    }

    /// Sets IPv4 options; padded to a multiple of four octets, at most 40.
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4), 0);
        assert!(self.options.len() <= 40, "IPv4 options are too long");
        self
    }

    /// Sets the IPv6 flow label, 20 bits; without effect in IPv4.
    pub fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label & 0xf_ffff;
        self
    }
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-Hop Options with padding.
    HopByHop,
    /// Destination Options with padding.
    DestinationOptions,
    /// A Routing header of an unknown type with no segment left.
    Routing,
    /// Fragment: offset in units of eight octets, more to come.
    Fragment(u16, bool),
    /// Authentication Header with twelve octets of nonsense.
    Authentication,
}

/// What is between the IP header and the end.
#[derive(Clone, Debug)]
enum Payload {
    /// As it is.
    Octets(Vec<u8>),
    /// With a checksum at this place that covers a pseudo-header.
    Summed(Vec<u8>, usize),
    /// With a checksum at this place that covers nothing else: ICMP.
    SummedAlone(Vec<u8>, usize),
}

/// An IP packet in the making.
#[derive(Clone, Debug)]
pub struct PacketBuilder {
    header: Header,
    extensions: Vec<Extension>,
    fragment: Option<(u16, bool)>,
    protocol: u8,
    payload: Payload,
}

impl PacketBuilder {
    /// A packet with this header, of protocol 253 (RFC 3692) and empty.
    pub fn new(header: Header) -> Self {
        Self {
            header,
            extensions: Vec::new(),
            fragment: None,
            protocol: 253,
            payload: Payload::Octets(Vec::new()),
        }
    }

    /// A packet that [`Packet::parse`] reads as `packet`, filled up to its length.
    ///
    /// Where there is no transport header, as in a later fragment, stands what would read as ports 53 and 53.
    /// `None` when there is no such packet: it is shorter than its headers, or fields are missing or too many.
    pub fn of(packet: &Packet) -> Option<Self> {
        let address = |bits: u128| match packet.family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32)),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        let mut header = Header::new(address(packet.source), address(packet.destination))
            .hop_limit(packet.hop_limit)
            .dscp(packet.dscp)
            .flow_label(packet.flow_label.unwrap_or(0));
        if packet.dont_fragment {
            header = header.dont_fragment();
        }
        let fragment = match packet.fragment {
            FragmentKind::Whole => None,
            FragmentKind::First => Some((0, true)),
            FragmentKind::Middle => Some((185, true)),
            FragmentKind::Last => Some((370, false)),
        };
        let (ip_header, fragment_header) = match packet.family {
            Family::Ipv4 => (20, 0),
            Family::Ipv6 => (40, if fragment.is_some() { 8 } else { 0 }),
        };
        let total = packet.packet_length? as usize;
        let room = total.checked_sub(ip_header + fragment_header)?;
        let garbage: Vec<u8> = [0, 53].into_iter().cycle().take(room).collect();
        let data = |header: usize| garbage.get(header..);
        let mut builder = Self::new(header);
        let number = packet.protocol.unwrap_or(protocol::ESP);
        let ports = (packet.source_port, packet.destination_port);
        builder = match (packet.tcp_flags, ports, packet.icmp_type, packet.icmp_code) {
            (Some(flags), (Some(source), Some(destination)), None, None) => {
                builder.tcp(source, destination, flags, data(20)?)
            }
            (None, (Some(source), Some(destination)), None, None) => {
                builder.udp(source, destination, data(8)?)
            }
            (None, (None, None), Some(kind), Some(code)) => builder.icmp(kind, code, data(4)?),
            _ => builder.protocol(number, &garbage),
        };
        if let Some((offset, more)) = fragment {
            builder = builder.fragment(offset, more);
        }
        (Packet::parse(&builder.build()).as_ref() == Some(packet)).then_some(builder)
    }

    /// A TCP segment; `flags` are the low twelve bits of octets 12 and 13.
    pub fn tcp(mut self, source: u16, destination: u16, flags: u16, data: &[u8]) -> Self {
        let mut segment = ports(source, destination);
        segment.extend([0, 0, 0, 1, 0, 0, 0, 1]);
        segment.extend((0x5000 | flags & 0x0fff).to_be_bytes());
        segment.extend([0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(data);
        self.protocol = protocol::TCP;
        self.payload = Payload::Summed(segment, 16);
        self
    }

    /// A UDP datagram.
    pub fn udp(mut self, source: u16, destination: u16, data: &[u8]) -> Self {
        let mut datagram = ports(source, destination);
        datagram.extend((8 + data.len() as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(data);
        self.protocol = protocol::UDP;
        self.payload = Payload::Summed(datagram, 6);
        self
    }

    /// An ICMP message in IPv4, an ICMPv6 message in IPv6; `data` includes the second word of the header.
    pub fn icmp(mut self, kind: u8, code: u8, data: &[u8]) -> Self {
        let mut message = vec![kind, code, 0, 0];
        message.extend(data);
        (self.protocol, self.payload) = if self.header.source.is_ipv4() {
            (protocol::ICMP, Payload::SummedAlone(message, 2))
        } else {
            (protocol::ICMPV6, Payload::Summed(message, 2))
        };
        self
    }

    /// Any protocol, with whatever octets: a cut header or none.
    pub fn protocol(mut self, number: u8, octets: &[u8]) -> Self {
        self.protocol = number;
        self.payload = Payload::Octets(octets.to_vec());
        self
    }

    /// Changes the IP header.
    pub fn header(mut self, change: impl FnOnce(Header) -> Header) -> Self {
        self.header = change(self.header);
        self
    }

    /// Appends an IPv6 extension header; without effect in IPv4.
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Makes it a fragment: the payload so far is what this fragment carries, at `offset` in units of eight octets.
    ///
    /// In IPv6 the Fragment header comes after the extension headers so far.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        if self.header.source.is_ipv4() {
            self.fragment = Some((offset, more));
        } else {
            self.extensions.push(Extension::Fragment(offset, more));
        }
        self
    }

    /// The octets. Panics when they are more than a length field can say.
    pub fn build(&self) -> Vec<u8> {
        let payload = self.payload();
        match (self.header.source, self.header.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let addresses = [source.octets(), destination.octets()].concat();
                self.build_ipv4(&addresses, &payload)
            }
            (source, destination) => {
                let addresses = [source, destination].map(|address| match address {
                    IpAddr::V6(address) => address.octets(),
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                });
                self.build_ipv6(&addresses.concat(), &payload)
            }
        }
    }

    /// RFC 791 §3.1.
    fn build_ipv4(&self, addresses: &[u8], payload: &[u8]) -> Vec<u8> {
        let header = &self.header;
        let header_length = 20 + header.options.len();
        let total = u16::try_from(header_length + payload.len()).expect("fits an IPv4 packet");
        let (offset, more) = self.fragment.unwrap_or((0, false));
        let flags = u16::from(header.dont_fragment) << 14 | u16::from(more) << 13;
        let mut packet = vec![
            0x40 | (header_length / 4) as u8,
            header.dscp << 2 | header.ecn,
        ];
        packet.extend(total.to_be_bytes());
        packet.extend(header.identification.to_be_bytes());
        packet.extend((flags | offset & 0x1fff).to_be_bytes());
        packet.extend([header.hop_limit, self.protocol, 0, 0]);
        packet.extend(addresses);
        packet.extend(&header.options);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }

    /// RFC 8200 §3 and §4.
    fn build_ipv6(&self, addresses: &[u8], payload: &[u8]) -> Vec<u8> {
        let header = &self.header;
        let mut extensions = Vec::new();
        let following = self.extensions[..].iter().skip(1).map(Extension::number);
        let following = following.chain([self.protocol]);
        for (extension, next) in self.extensions.iter().zip(following) {
            extensions.extend(extension.octets(next, header.identification));
        }
        let length = u16::try_from(extensions.len() + payload.len()).expect("fits an IPv6 packet");
        let class = header.dscp << 2 | header.ecn;
        let first_word = 6 << 28 | u32::from(class) << 20 | header.flow_label;
        let mut packet = first_word.to_be_bytes().to_vec();
        packet.extend(length.to_be_bytes());
        let next = self.extensions.first().map(Extension::number);
        packet.extend([next.unwrap_or(self.protocol), header.hop_limit]);
        packet.extend(addresses);
        packet.extend(extensions);
        packet.extend(payload);
        packet
    }

    /// The payload with its checksum.
    fn payload(&self) -> Vec<u8> {
        let (mut payload, at, pseudo_header) = match &self.payload {
            Payload::Octets(octets) => return octets.clone(),
            Payload::Summed(octets, at) => (octets.clone(), *at, self.pseudo_header(octets.len())),
            Payload::SummedAlone(octets, at) => (octets.clone(), *at, Vec::new()),
        };
        let sum = match checksum(&[&pseudo_header[..], &payload].concat()) {
            // In UDP 0 means that there is no checksum (RFC 768).
            0 if self.protocol == protocol::UDP => 0xffff,
            sum => sum,
        };
        payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        payload
    }

    /// RFC 9293 §3.1, RFC 8200 §8.1.
    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        let mut octets = Vec::new();
        for address in [self.header.source, self.header.destination] {
            match address {
                IpAddr::V4(address) => octets.extend(address.octets()),
                IpAddr::V6(address) => octets.extend(address.octets()),
            }
        }
        // The sum is the same whether length and protocol take two octets or four.
        octets.extend((length as u32).to_be_bytes());
        octets.extend([0, 0, 0, self.protocol]);
        octets
    }
}

impl Extension {
    /// The number by which the header before names it.
    fn number(&self) -> u8 {
        match self {
            Extension::HopByHop => protocol::HOP_BY_HOP,
            Extension::DestinationOptions => protocol::DESTINATION_OPTIONS,
            Extension::Routing => protocol::ROUTING,
            Extension::Fragment(..) => protocol::FRAGMENT,
            Extension::Authentication => protocol::AH,
        }
    }

    /// The header, followed by `next`.
    fn octets(&self, next: u8, identification: u16) -> Vec<u8> {
        match self {
            // PadN of six octets.
            Extension::HopByHop | Extension::DestinationOptions => vec![next, 0, 1, 4, 0, 0, 0, 0],
            Extension::Routing => vec![next, 0, 253, 0, 0, 0, 0, 0],
            Extension::Fragment(offset, more) => {
                let mut header = vec![next, 0];
                header.extend((offset << 3 | u16::from(*more)).to_be_bytes());
                header.extend(u32::from(identification).to_be_bytes());
                header
            }
            Extension::Authentication => {
                let mut header = vec![0xa5; 24];
                header[..4].copy_from_slice(&[next, 4, 0, 0]);
                header
            }
        }
    }
}

/// The first four octets of TCP and UDP.
fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

/// The Internet checksum (RFC 1071).
pub fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|chunk| {
        u64::from(u16::from_be_bytes([
            chunk[0],
            chunk.get(1).copied().unwrap_or(0),
        ]))
    });
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::packet::Packet;
    use dataplane::rule::FragmentKind;

    const V4: [&str; 2] = ["192.0.2.1", "203.0.113.5"];
    const V6: [&str; 2] = ["2001:db8::1", "2001:db8::5"];

    fn between(pair: [&str; 2]) -> PacketBuilder {
        PacketBuilder::new(Header::between(pair[0], pair[1]).dscp(46).ecn(1))
    }

    #[test]
    fn what_is_built_is_what_is_parsed() {
        let rows = [
            (
                "tcp",
                between(V4).tcp(80, 1024, 0x112, b"x").build(),
                "tcp 192.0.2.1:80 > 203.0.113.5:1024 flags syn,ack,ns len 41 dscp 46",
            ),
            (
                "udp",
                between(V6).udp(123, 53, &[7; 60]).build(),
                "udp [2001:db8::1]:123 > [2001:db8::5]:53 len 108 dscp 46",
            ),
            (
                "icmp",
                between(V4).icmp(8, 0, &[0; 4]).build(),
                "icmp 192.0.2.1 > 203.0.113.5 type 8 dscp 46",
            ),
            (
                "icmp6",
                between(V6).icmp(128, 1, &[0; 4]).build(),
                "icmp6 2001:db8::1 > 2001:db8::5 type 128 code 1 dscp 46",
            ),
            (
                "later",
                between(V4).protocol(17, &[1; 8]).fragment(3, false).build(),
                "udp 192.0.2.1 > 203.0.113.5 frag last len 28 dscp 46",
            ),
            (
                "first",
                between(V6)
                    .extension(Extension::HopByHop)
                    .udp(1, 2, &[])
                    .fragment(0, true)
                    .build(),
                "udp [2001:db8::1]:1 > [2001:db8::5]:2 frag first len 64 dscp 46",
            ),
        ];
        for (name, octets, expected) in rows {
            let expected = Packet::from_text(expected).unwrap();
            assert_eq!(Packet::parse(&octets).as_ref(), Some(&expected), "{name}");
            let again = PacketBuilder::of(&expected).unwrap().build();
            assert_eq!(Packet::parse(&again), Some(expected), "{name}");
        }
        let too_short = Packet::from_text("udp 192.0.2.1:1 > 192.0.2.2:2 len 27").unwrap();
        assert!(PacketBuilder::of(&too_short).is_none());
        let all = [
            Extension::HopByHop,
            Extension::DestinationOptions,
            Extension::Routing,
            Extension::Fragment(0, true),
        ];
        let chain = all
            .iter()
            .fold(between(V6).udp(1, 2, &[]), |b, e| b.extension(*e));
        let parsed = Packet::parse(&chain.build()).unwrap();
        assert_eq!(
            (parsed.source_port, parsed.fragment),
            (Some(1), FragmentKind::First)
        );
    }

    #[test]
    fn checksums_are_right() {
        // A sum over data and its own checksum is 0.
        let octets = between(V4).icmp(8, 0, &[1, 2, 3, 4, 5]).build();
        assert_eq!((checksum(&octets[..20]), checksum(&octets[20..])), (0, 0));
        let udp = between(V6).udp(5, 6, b"odd");
        let datagram = udp.payload();
        let sum = checksum(&[udp.pseudo_header(datagram.len()), datagram].concat());
        assert_eq!(sum, 0);
    }
}

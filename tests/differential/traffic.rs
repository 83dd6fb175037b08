//! Packets that come near the edges of Flow Specifications.

use std::collections::HashSet;

use dataplane::packet::Packet;
use dataplane::rule::{Family, FragmentKind};
use flowacl::lab::packet::{Extension, Header, PacketBuilder, protocol};
use flowacl::wire::nlri::{Component, Nlri, NumericType};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::populations::mask;
use crate::specifications::{
    FLOW_LABELS, ICMP_TYPES, IPV4_ADDRESSES, IPV6_ADDRESSES, LENGTHS, PORTS, PROTOCOLS, TCP_FLAGS,
};

/// Hosts that packets come from and go to, beside those that their targets name: by family.
pub struct Hosts([Vec<u128>; 2]);

impl Hosts {
    /// The well-known hosts, and some that the prefixes of these Flow Specifications name.
    pub fn of(random: &mut StdRng, nlris: &[&Nlri]) -> Self {
        let mut hosts = [IPV4_ADDRESSES.to_vec(), IPV6_ADDRESSES.to_vec()];
        for nlri in nlris {
            let ipv6 = nlri.family().is_ipv6();
            for component in nlri.components() {
                if let Component::DestinationPrefix(prefix) | Component::SourcePrefix(prefix) =
                    component
                {
                    let hosts = &mut hosts[usize::from(ipv6)];
                    let rest = hosts.choose(random).copied().unwrap_or(0) & !mask(prefix);
                    hosts.extend(Some(prefix.bits | rest).filter(|host| is_forwarded(*host, ipv6)));
                }
            }
        }
        Self(hosts)
    }
}

/// True for addresses of hosts elsewhere: what is local, multicast or unspecified is not forwarded.
fn is_forwarded(address: u128, ipv6: bool) -> bool {
    match ipv6 {
        true => (0x2000..0x4000).contains(&(address >> 112)),
        false => {
            let first = address >> 120;
            (1..224).contains(&first) && first != 127 && address >> 104 != 0xc0_a8ff
        }
    }
}

/// Distinct packets: one aimed at each of these lists of components, and some at none.
///
/// A packet that has what a list asks for matches a Flow Specification of these components.
pub fn packets(
    random: &mut StdRng,
    hosts: &Hosts,
    targets: &[(bool, Vec<Component>)],
    stray: usize,
) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut seen = HashSet::new();
    let strays: Vec<_> = (0..stray)
        .map(|_| (random.random_bool(0.5), Vec::new()))
        .collect();
    for (ipv6, components) in targets.iter().chain(&strays) {
        let builder = packet(random, hosts, *ipv6, components);
        // IPv4 packets differ in their identification, IPv6 packets in their hop limit. 255 would make
        // neighbor discovery of ICMPv6 types 133 to 136, which is never filtered.
        let identification = packets.len() as u16;
        let octets = (64..255).find_map(|hop_limit| {
            let change =
                |header: Header| header.identification(identification).hop_limit(hop_limit);
            let octets = builder.clone().header(change).build();
            seen.insert(without_dscp(&octets)).then_some(octets)
        });
        packets.extend(octets);
    }
    packets
}

/// What tells packets apart when the filter has changed the DSCP.
fn without_dscp(octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    match octets[0] >> 4 {
        4 => {
            octets[1] = 0;
            octets[10..12].fill(0);
        }
        _ => octets[..2].fill(0),
    }
    octets
}

/// One packet.
fn packet(
    random: &mut StdRng,
    hosts: &Hosts,
    ipv6: bool,
    components: &[Component],
) -> PacketBuilder {
    let fields = fields(random, hosts, ipv6, components);
    let roomy = Packet {
        packet_length: Some(100),
        ..fields.clone()
    };
    // The length may be too short for the headers; the protocol may need one that these fields do not have.
    let mut builder = PacketBuilder::of(&fields)
        .or_else(|| PacketBuilder::of(&roomy))
        .unwrap_or_else(|| cut_short(random, &fields));
    if ipv6 && random.random_bool(0.3) {
        for _ in 0..random.random_range(1..3) {
            builder = builder.extension(extension(random));
        }
    }
    builder.header(|header| {
        let header = header.ecn(random.random_range(0..4));
        match random.random_range(0..10) {
            0 => header.options(&vec![1; random.random_range(1..=40)]),
            _ => header,
        }
    })
}

/// A packet of the same protocol with less than a header of it.
fn cut_short(random: &mut StdRng, fields: &Packet) -> PacketBuilder {
    let without_transport = Packet {
        protocol: Some(253),
        source_port: None,
        destination_port: None,
        icmp_type: None,
        icmp_code: None,
        tcp_flags: None,
        fragment: FragmentKind::Whole,
        packet_length: Some(60),
        ..fields.clone()
    };
    let builder = PacketBuilder::of(&without_transport).expect("protocol 253 needs nothing");
    let octets = vec![0; random.random_range(0..16)];
    builder.protocol(fields.protocol.unwrap_or(protocol::ESP), &octets)
}

/// An extension header other than Hop-by-Hop Options, which only go first.
fn extension(random: &mut StdRng) -> Extension {
    match random.random_range(0..9) {
        0..3 => Extension::DestinationOptions,
        3..5 => Extension::Routing,
        5 => Extension::Authentication,
        // Also a second one, which nobody should send and attackers can.
        _ => Extension::Fragment(random.random_range(0..2), random.random_bool(0.5)),
    }
}

/// Fields of a packet that are what `components` ask for, or nearly.
fn fields(random: &mut StdRng, hosts: &Hosts, ipv6: bool, components: &[Component]) -> Packet {
    let near = |random: &mut StdRng, kind, otherwise| near(random, components, kind, otherwise);
    let asks = |codes: &[u8]| components.iter().any(|c| codes.contains(&c.code()));
    let any_protocol = u64::from(PROTOCOLS.choose(random).copied().unwrap_or(0));
    let likely = match random.random_range(0..10) {
        0 => any_protocol,
        _ if asks(&[9]) => 6,
        _ if asks(&[7, 8]) && ipv6 => 58,
        _ if asks(&[7, 8]) => 1,
        _ if asks(&[4, 5, 6]) => [6, 17].choose(random).copied().unwrap_or(6),
        _ => near(random, NumericType::Protocol, any_protocol),
    };
    let number = likely as u8;
    let port = |random: &mut StdRng, kind| {
        let any = u64::from(PORTS.choose(random).copied().unwrap_or(0));
        let either = if asks(&[4]) { 0.6 } else { 0.1 };
        let kind = match random.random_bool(either) {
            true => NumericType::Port,
            false => kind,
        };
        near(random, kind, any) as u16
    };
    let fragment = match random.random_range(0..4) {
        0 => FragmentKind::ALL
            .choose(random)
            .copied()
            .unwrap_or_default(),
        _ => FragmentKind::Whole,
    };
    let has_transport = !fragment.is_later();
    let has_ports = has_transport && matches!(number, 6 | 17);
    let has_icmp = has_transport && number == if ipv6 { 58 } else { 1 };
    // Long packets take their time.
    let any_length = match random.random_range(0..20) {
        0 => u64::from(LENGTHS.choose(random).copied().unwrap_or(100)),
        _ => random.random_range(40..200),
    };
    let length = near(random, NumericType::PacketLength, any_length) as u32;
    let any_label = u64::from(FLOW_LABELS.choose(random).copied().unwrap_or(0));
    let any_type = u64::from(ICMP_TYPES.choose(random).copied().unwrap_or(0));
    let any_flags = TCP_FLAGS.choose(random).copied().unwrap_or(0);
    let extensions = is_extension(number) && ipv6;
    Packet {
        family: if ipv6 { Family::Ipv6 } else { Family::Ipv4 },
        destination: address(random, hosts, components, 1, ipv6),
        source: address(random, hosts, components, 2, ipv6),
        protocol: (!extensions).then_some(number),
        source_port: has_ports.then(|| port(random, NumericType::SourcePort)),
        destination_port: has_ports.then(|| port(random, NumericType::DestinationPort)),
        icmp_type: has_icmp.then(|| near(random, NumericType::IcmpType, any_type) as u8),
        icmp_code: has_icmp.then(|| near(random, NumericType::IcmpCode, 0) as u8),
        tcp_flags: (has_ports && number == 6).then(|| flags(random, components, any_flags)),
        // With room for what may be added.
        packet_length: Some(length.clamp(28, 65_400)),
        hop_limit: 64,
        dscp: near(random, NumericType::Dscp, 0) as u8 & 0x3f,
        fragment,
        dont_fragment: !ipv6 && random.random_bool(0.3),
        flow_label: ipv6.then(|| near(random, NumericType::FlowLabel, any_label) as u32 & 0xf_ffff),
        interface: None,
    }
}

/// True for what would continue the chain of IPv6 headers.
fn is_extension(number: u8) -> bool {
    matches!(number, 0 | 43 | 44 | 50 | 51 | 60)
}

/// A value of some operator of the component, or one beside it; else `otherwise`.
fn near(random: &mut StdRng, components: &[Component], wanted: NumericType, otherwise: u64) -> u64 {
    let values = components.iter().find_map(|component| match component {
        Component::Numeric(kind, ops) if *kind == wanted => Some(ops),
        _ => None,
    });
    let value = values.and_then(|ops| ops.choose(random)).map(|op| op.value);
    match (value, random.random_range(0..8)) {
        (None, _) | (_, 0) => otherwise,
        (Some(value), 1..3) => value.saturating_sub(1),
        (Some(value), 3..5) => value.saturating_add(1),
        (Some(value), _) => value,
    }
}

/// TCP flags of some operator, with a bit more or less.
fn flags(random: &mut StdRng, components: &[Component], otherwise: u16) -> u16 {
    let masks = components.iter().find_map(|component| match component {
        Component::Bitmask(_, ops) if component.code() == 9 => Some(ops),
        _ => None,
    });
    let value = masks.and_then(|ops| ops.choose(random)).map(|op| op.value);
    let value = value.unwrap_or(otherwise) & 0x0fff;
    match random.random_range(0..3) {
        0 => value ^ 1 << random.random_range(0..12),
        _ => value,
    }
}

/// An address inside the prefix, or one whose last bit of the prefix is another.
fn address(
    random: &mut StdRng,
    hosts: &Hosts,
    components: &[Component],
    code: u8,
    ipv6: bool,
) -> u128 {
    let prefix = components.iter().find_map(|component| match component {
        Component::DestinationPrefix(prefix) | Component::SourcePrefix(prefix)
            if component.code() == code =>
        {
            Some(*prefix)
        }
        _ => None,
    });
    let any = hosts.0[usize::from(ipv6)]
        .choose(random)
        .copied()
        .unwrap_or(0);
    let Some(prefix) = prefix else {
        return any;
    };
    let mask = mask(prefix);
    let mut address = any & !mask | prefix.bits;
    // The first bits decide whether an address can be forwarded at all.
    let first = if ipv6 { 16 } else { 8 };
    if random.random_bool(0.2) && prefix.length > first {
        let edge = [prefix.length - 1, prefix.offset.max(first)]
            .choose(random)
            .copied()
            .unwrap_or(first);
        address ^= 1 << (127 - edge);
    }
    match is_forwarded(address, ipv6) {
        true => address,
        false => any,
    }
}

//! Packets that no rule matches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use dataplane::packet::Packet;
use dataplane::rule::{AddressPattern, Family, Rule};
use flowacl::lab::packet::{ACK, Header, PacketBuilder};

use super::random::Random;

/// Packets that are all different.
const PACKETS: usize = 1_000;
/// Packets of a hundred that are IPv6, where rules are.
const IPV6_SHARE: usize = 10;

/// A third to hosts or networks that rules name, a third to their neighbors in the same /24 (IPv6: /64), a third to
/// elsewhere; half of them from sources that rules name, as far as they name any.
pub fn unmatched(rules: &[Arc<Rule>]) -> Vec<Vec<u8>> {
    let mut random = Random::new(4);
    let mut packets = Vec::with_capacity(PACKETS);
    let families = Family::ALL.map(|family| Side::of(rules, family));
    let [ipv4, ipv6] = &families;
    while packets.len() < PACKETS {
        let with_ipv6 = !ipv6.rules.is_empty() && random.percent(IPV6_SHARE);
        let side = if with_ipv6 { ipv6 } else { ipv4 };
        let number = packets.len() as u16;
        let octets = side.packet(&mut random, packets.len() % 3, number);
        let packet = Packet::parse(&octets).expect("it is ours");
        if !side.rules.iter().any(|rule| rule.matches.contains(&packet)) {
            packets.push(octets);
        }
    }
    packets
}

/// Rules of one family and the addresses that they name.
struct Side<'r> {
    family: Family,
    rules: Vec<&'r Rule>,
    destinations: Vec<AddressPattern>,
    sources: Vec<AddressPattern>,
}

impl<'r> Side<'r> {
    fn of(rules: &'r [Arc<Rule>], family: Family) -> Self {
        let rules: Vec<&Rule> = rules
            .iter()
            .map(AsRef::as_ref)
            .filter(|rule| rule.family == family)
            .collect();
        Self {
            family,
            destinations: rules
                .iter()
                .filter_map(|rule| rule.matches.destination)
                .collect(),
            sources: rules
                .iter()
                .filter_map(|rule| rule.matches.source)
                .collect(),
            rules,
        }
    }

    /// A packet to one of three kinds of destinations.
    fn packet(&self, random: &mut Random, kind: usize, number: u16) -> Vec<u8> {
        let destination = match (kind, self.destinations.is_empty()) {
            (0, false) => inside(random, &self.destinations),
            (1, false) => {
                let network_bits = match self.family {
                    Family::Ipv4 => 24,
                    Family::Ipv6 => 64,
                };
                let host = random.one_of(&self.destinations);
                inside(
                    random,
                    &[AddressPattern::new(host.value(), 0, network_bits)],
                )
            }
            _ => self.elsewhere(random),
        };
        let source = match random.percent(50) && !self.sources.is_empty() {
            true => inside(random, &self.sources),
            false => self.elsewhere(random),
        };
        let header = Header::new(self.address(source), self.address(destination))
            .identification(number)
            .flow_label(u32::from(number));
        let builder = PacketBuilder::new(header);
        let high = 1024 + random.below(64_000) as u16;
        match random.below(4) {
            0 => builder.tcp(high, 443, ACK, &[0; 6]),
            1 => builder.tcp(443, high, ACK, &[0; 6]),
            2 => builder.udp(high, 443, &[0; 18]),
            _ => builder.udp(443, high, &[0; 18]),
        }
        .build()
    }

    /// A left-aligned public address.
    fn elsewhere(&self, random: &mut Random) -> u128 {
        let any = u128::from(random.bits()) << 64 | u128::from(random.bits());
        match self.family {
            Family::Ipv4 => {
                u128::from(11 + random.below(116) as u8) << 120 | any >> 8 & u128::MAX << 96
            }
            Family::Ipv6 => 0x2400 << 112 | any >> 16,
        }
    }

    /// The address that stands left-aligned in these bits.
    fn address(&self, bits: u128) -> IpAddr {
        match self.family {
            Family::Ipv4 => Ipv4Addr::from((bits >> 96) as u32).into(),
            Family::Ipv6 => Ipv6Addr::from(bits).into(),
        }
    }
}

/// An address with the bits of one of these patterns, of which there is at least one.
fn inside(random: &mut Random, patterns: &[AddressPattern]) -> u128 {
    let pattern = random.one_of(patterns);
    let any = u128::from(random.bits()) << 64 | u128::from(random.bits());
    pattern.value() | any & !pattern.mask()
}

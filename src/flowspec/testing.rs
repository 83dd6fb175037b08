//! Generators of Flow Specifications, actions and packets for property tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::packet::Packet;
use dataplane::rule::{Family, FragmentKind, LimitUnit};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::flowspec::action::{
    InterfaceSet, MAX_NEXT_HOPS, RatePerSource, RouteTarget, TrafficFilteringActions,
};
use crate::wire::nlri::testing::arbitrary_address_bits;
pub use crate::wire::nlri::testing::{arbitrary_family, arbitrary_nlri};
use crate::wire::nlri::{Component, Nlri, PrefixPattern};

/// IPv6 headers that are not the upper layer: behind AH and ESP it is not known.
const EXTENSION_HEADERS: [u8; 6] = [0, 43, 44, 50, 51, 60];

/// Any packet that can be: no ports without TCP or UDP, no transport header in later fragments.
pub fn arbitrary_packet(family: Family) -> impl Strategy<Value = Packet> {
    let fields = (
        (arbitrary_address_bits(), arbitrary_address_bits()),
        prop_oneof![3 => select(vec![1u8, 6, 17, 58]), 1 => any::<u8>()],
        (
            prop_oneof![0u16..24, any::<u16>()],
            prop_oneof![0u16..24, any::<u16>()],
        ),
        (0u8..24, 0u8..24),
        0u16..=0xfff,
        prop_oneof![20u32..80, 20u32..=65535, 65_530u32..=65_575],
        0u8..64,
        (select(FragmentKind::ALL.to_vec()), any::<bool>()),
        prop_oneof![0u32..24, 0u32..=0xf_ffff],
        any::<(bool, bool)>(),
    );
    fields.prop_map(
        move |(
            (to, from),
            number,
            ports,
            icmp,
            flags,
            length,
            dscp,
            (kind, df),
            label,
            missing,
        )| {
            let ipv6 = family == Family::Ipv6;
            let of = |address: u128| {
                if ipv6 {
                    address
                } else {
                    address & !(u128::MAX >> 32)
                }
            };
            let known = !ipv6 || !(missing.0 || EXTENSION_HEADERS.contains(&number));
            let has = |numbers: &[u8]| known && !kind.is_later() && numbers.contains(&number);
            let icmp_number = if ipv6 { 58 } else { 1 };
            Packet {
                family,
                destination: of(to),
                source: of(from),
                protocol: known.then_some(number),
                source_port: has(&[6, 17]).then_some(ports.0),
                destination_port: has(&[6, 17]).then_some(ports.1),
                icmp_type: has(&[icmp_number]).then_some(icmp.0),
                icmp_code: has(&[icmp_number]).then_some(icmp.1),
                tcp_flags: has(&[6]).then_some(flags),
                packet_length: (!ipv6 || !missing.1).then_some(if ipv6 {
                    length
                } else {
                    length.min(65_535)
                }),
                hop_limit: 64,
                dscp,
                fragment: kind,
                dont_fragment: df && !ipv6,
                flow_label: ipv6.then_some(label),
                interface: None,
            }
        },
    )
}

/// A packet that the prefixes of the NLRI do not keep from matching.
pub fn aimed_at(nlri: &Nlri, mut packet: Packet) -> Packet {
    let aim = |prefix: &PrefixPattern, address: u128| {
        let mask = (prefix.offset..prefix.length)
            .fold(0, |mask, position| mask | 1u128 << (127 - position));
        address & !mask | prefix.bits
    };
    for component in nlri.components() {
        match component {
            Component::DestinationPrefix(prefix) => {
                packet.destination = aim(&prefix, packet.destination)
            }
            Component::SourcePrefix(prefix) => packet.source = aim(&prefix, packet.source),
            Component::Numeric(..) | Component::Bitmask(..) => {}
        }
    }
    packet
}

/// Any actions that communities can ask for.
pub fn arbitrary_actions() -> impl Strategy<Value = TrafficFilteringActions> {
    let rate = || {
        option::of(prop_oneof![
            Just(0.0f32),
            (0u32..2_000_000).prop_map(|rate| rate as f32),
            positive_rate()
        ])
    };
    let target = prop_oneof![
        any::<(u16, u32)>().prop_map(|(asn, local)| RouteTarget::TwoOctetAs(asn, local)),
        any::<([u8; 4], u16)>()
            .prop_map(|(address, local)| RouteTarget::Ipv4(Ipv4Addr::from(address), local)),
        (prop_oneof![0u32..70_000, any::<u32>()], any::<u16>())
            .prop_map(|(asn, local)| RouteTarget::FourOctetAs(asn, local)),
        any::<([u8; 16], u16)>()
            .prop_map(|(address, local)| RouteTarget::Ipv6(Ipv6Addr::from(address), local)),
    ];
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| IpAddr::V4(octets.into())),
        any::<[u8; 16]>().prop_map(|octets| IpAddr::V6(octets.into())),
    ];
    let set = (
        any::<bool>(),
        any::<u32>(),
        any::<bool>(),
        any::<bool>(),
        0u16..1 << 14,
    )
        .prop_map(|(transitive, asn, input, output, group)| InterfaceSet {
            transitive,
            asn,
            input,
            output,
            group,
        });
    (
        (rate(), rate(), rates_per_source()),
        any::<(bool, bool)>(),
        option::of(0u8..64),
        option::weighted(0.3, target),
        (next_hops(address.clone()), option::weighted(0.2, address)),
        vec(set, 0..2),
    )
        .prop_map(
            |(
                (bytes, packets, rates_per_source),
                (sample, go_on),
                mark_dscp,
                target,
                (next_hops, copy_to),
                interface_sets,
            )| {
                TrafficFilteringActions {
                    rate_bytes_per_sec: bytes,
                    rate_packets_per_sec: packets,
                    continue_evaluation: go_on,
                    sample,
                    mark_dscp,
                    redirect_route_target: target,
                    redirect_next_hops: next_hops,
                    copy_to,
                    legacy_redirect: None,
                    rates_per_source,
                    interface_sets,
                    notes: Vec::new(),
                }
            },
        )
}

/// Addresses to redirect to, mostly none or one: each once, and in the order of the attributes that they come in.
fn next_hops(address: impl Strategy<Value = IpAddr>) -> impl Strategy<Value = Vec<IpAddr>> {
    let count = prop_oneof![7 => Just(0..1), 2 => Just(1..2), 1 => Just(2..MAX_NEXT_HOPS + 1)];
    (count, vec(address, MAX_NEXT_HOPS)).prop_flat_map(|(count, addresses)| {
        count.prop_map(move |count| {
            let mut addresses = addresses[..count].to_vec();
            addresses.sort_unstable();
            addresses.dedup();
            addresses
        })
    })
}

/// Any rate above 0, denormal ones included.
fn positive_rate() -> impl Strategy<Value = f32> {
    (1u32..0x7f80_0000).prop_map(f32::from_bits)
}

/// No rate for each source, mostly; or one or two that do not exclude each other.
fn rates_per_source() -> impl Strategy<Value = Vec<RatePerSource>> {
    let unit = select(vec![LimitUnit::Bytes, LimitUnit::Packets]);
    let length = prop_oneof![4 => 0u8..=32, 1 => any::<u8>()];
    let rate = (unit, positive_rate(), length, any::<u8>()).prop_map(
        |(unit, rate_per_sec, prefix_length, table)| RatePerSource {
            unit,
            rate_per_sec,
            prefix_length,
            table,
        },
    );
    let alone = vec(rate, 0..=2).prop_map(|mut rates| {
        rates.dedup_by_key(|rate| (rate.unit, rate.prefix_length));
        rates
    });
    prop_oneof![3 => Just(Vec::new()), 1 => alone]
}

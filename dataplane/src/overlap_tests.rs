use super::*;
use crate::packet::Packet;
use crate::rule::RareFields;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;

/// Values of a field that are few, so that what two matches have in common is often empty, and often not.
fn set(values: &'static [u32]) -> impl Strategy<Value = Option<IntervalSet>> {
    let range = (select(values), select(values));
    let ranges = proptest::collection::vec(range, 1..3);
    option::weighted(0.3, ranges.prop_map(IntervalSet::from_ranges))
}

const PORTS: &[u32] = &[0, 1, 2, 3];
const PROTOCOLS: &[u32] = &[1, 6, 17, 58];
const TYPES: &[u32] = &[0, 1];

fn pattern() -> impl Strategy<Value = Option<AddressPattern>> {
    let pattern = (0u128..4, 0u8..3, 0u8..3)
        .prop_map(|(bits, offset, length)| AddressPattern::new(bits << 126, offset, length));
    option::weighted(0.3, pattern)
}

fn flags() -> impl Strategy<Value = Option<MaskedValues>> {
    let truth = (0u16..4, any::<[bool; 4]>());
    let set = truth.prop_map(|(relevant, truth)| {
        MaskedValues::from_predicate(relevant, |value| truth[usize::from(value & 3)])
    });
    option::weighted(0.2, set)
}

fn fragments() -> impl Strategy<Value = Option<FragmentSet>> {
    let truth = any::<[bool; 8]>().prop_map(|truth| {
        FragmentSet::from_predicate(|kind, df| truth[kind as usize + if df { 4 } else { 0 }])
    });
    option::weighted(0.3, truth)
}

fn arbitrary_match() -> impl Strategy<Value = Match> {
    let addresses = (pattern(), pattern(), fragments(), flags());
    let numbers = (
        set(PROTOCOLS),
        set(PORTS),
        set(PORTS),
        set(PORTS),
        set(TYPES),
        set(&[0, 1]),
    );
    (addresses, numbers).prop_map(|((destination, source, fragment, tcp_flags), numbers)| {
        let (protocol, port, source_port, destination_port, icmp_type, flow_label) = numbers;
        Match {
            destination,
            source,
            fragment,
            protocol,
            source_port,
            destination_port,
            rare: RareFields {
                tcp_flags,
                port,
                icmp_type,
                flow_label,
                ..RareFields::default()
            }
            .into(),
        }
    })
}

/// Every packet of a small world in which the sets above have their values.
fn packets(family: Family) -> Vec<Packet> {
    let start = match family {
        Family::Ipv4 => Packet::from_text("proto 99 0.0.0.0 > 0.0.0.0"),
        Family::Ipv6 => Packet::from_text("proto 99 :: > ::"),
    };
    let mut packets = vec![start.unwrap()];
    let mut vary = |change: &dyn Fn(&Packet) -> Vec<Packet>| {
        packets = packets.iter().flat_map(change).collect();
    };
    vary(&|packet| {
        let kinds = FragmentKind::ALL
            .into_iter()
            .flat_map(|kind| [(kind, false), (kind, true)]);
        kinds
            .filter(|(_, df)| !df || family == Family::Ipv4)
            .map(|(fragment, dont_fragment)| Packet {
                fragment,
                dont_fragment,
                ..packet.clone()
            })
            .collect()
    });
    vary(&|packet| {
        let mut all = Vec::new();
        for protocol in [1u8, 6, 17, 58, 99] {
            let mut packet = Packet {
                protocol: Some(protocol),
                ..packet.clone()
            };
            let icmp = if family == Family::Ipv4 { 1 } else { 58 };
            if packet.fragment.is_later() {
                all.push(packet);
            } else if protocol == icmp {
                for icmp_type in 0..2 {
                    packet.icmp_type = Some(icmp_type);
                    all.push(packet.clone());
                }
            } else if matches!(protocol, 6 | 17) {
                for (source, destination) in (0..4).flat_map(|a| (0..4).map(move |b| (a, b))) {
                    packet.source_port = Some(source);
                    packet.destination_port = Some(destination);
                    for flags in 0..if protocol == 6 { 4 } else { 1 } {
                        packet.tcp_flags = (protocol == 6).then_some(flags);
                        all.push(packet.clone());
                    }
                }
            } else {
                all.push(packet);
            }
        }
        all
    });
    vary(&|packet| {
        let bits = (0u128..4).flat_map(|a| (0u128..4).map(move |b| (a << 126, b << 126)));
        bits.map(|(source, destination)| Packet {
            source,
            destination,
            ..packet.clone()
        })
        .collect()
    });
    if family == Family::Ipv6 {
        vary(&|packet| {
            let labels = 0..2;
            labels
                .map(|label| Packet {
                    flow_label: Some(label),
                    ..packet.clone()
                })
                .collect()
        });
    }
    packets
}

#[test]
fn two_matches_overlap_when_a_packet_matches_both() {
    for family in Family::ALL {
        let packets = packets(family);
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1_000));
        let pairs = (arbitrary_match(), arbitrary_match());
        let (mut together, mut apart) = (0, 0);
        for _ in 0..1_000 {
            let (a, b) = pairs.new_tree(&mut runner).unwrap().current();
            let found = packets
                .iter()
                .find(|packet| a.contains(packet) && b.contains(packet));
            let says = a.overlaps(&b, family);
            assert_eq!(
                says,
                found.is_some(),
                "{family}: {a:?} and {b:?}: {found:?}"
            );
            assert_eq!(says, b.overlaps(&a, family), "{a:?} and {b:?}");
            if says { together += 1 } else { apart += 1 }
        }
        assert!(
            together > 30 && apart > 30,
            "{family}: {together} and {apart}"
        );
    }
}

#[test]
fn lengths_and_dscp_must_meet_in_their_range() {
    let length = |first, last| Match {
        rare: RareFields {
            packet_length: Some(IntervalSet::from_ranges([(first, last)])),
            ..RareFields::default()
        }
        .into(),
        ..Match::default()
    };
    let dscp = |value| Match {
        rare: RareFields {
            dscp: Some(IntervalSet::single(value)),
            ..RareFields::default()
        }
        .into(),
        ..Match::default()
    };
    let any = Match::default();
    let rows = [
        ("any and any", any.clone(), any.clone(), true),
        ("lengths that meet", length(0, 100), length(100, 200), true),
        (
            "lengths that do not",
            length(0, 99),
            length(100, 200),
            false,
        ),
        (
            "a length that no packet has",
            length(70_000, 80_000),
            any.clone(),
            false,
        ),
        ("the same DSCP", dscp(46), dscp(46), true),
        ("another", dscp(46), dscp(45), false),
        ("one that does not exist", dscp(64), any, false),
    ];
    for (name, a, b, expected) in rows {
        assert_eq!(a.overlaps(&b, Family::Ipv4), expected, "{name}");
    }
}

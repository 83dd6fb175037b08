use super::budget::Budget;
use super::ports::RangeCheckers;
use super::profile::{self, Asic, CUMULUS, Language, Release, Room, cumulus, sonic};
use super::*;
use crate::interval::IntervalSet;
use crate::packet::Packet;
use crate::rule::{
    AddressPattern, Family, FragmentKind, FragmentSet, MaskedValues, Match, RareFields,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// A match of ranges, and whatever `change` makes of it.
fn with(change: impl FnOnce(&mut Match, &mut RareFields)) -> Match {
    let (mut matches, mut rare) = (Match::default(), RareFields::default());
    change(&mut matches, &mut rare);
    matches.rare = rare.into();
    matches
}

fn set<const N: usize>(ranges: [(u32, u32); N]) -> Option<IntervalSet> {
    Some(IntervalSet::from_ranges(ranges))
}

fn spectrum() -> &'static Language {
    &cumulus("spectrum1").unwrap().language
}

#[test]
fn matches_become_as_few_entries_as_they_need() {
    let later = FragmentSet::from_predicate(|kind, _| kind.is_later());
    let not_later = FragmentSet::from_predicate(|kind, _| !kind.is_later());
    let syn_without_ack = MaskedValues::from_predicate(0x12, |flags| flags == 0x02);
    let syn_or_fin = MaskedValues::from_predicate(0x03, |flags| flags != 0);
    let rows = [
        ("everything", Match::default(), 1),
        ("a protocol", with(|m, _| m.protocol = set([(47, 47)])), 1),
        (
            "adjacent protocols",
            with(|m, _| m.protocol = set([(46, 47)])),
            2,
        ),
        (
            "all protocols are no test",
            with(|m, _| m.protocol = set([(0, 255)])),
            1,
        ),
        (
            "a port of TCP and UDP",
            with(|m, _| m.destination_port = set([(80, 80)])),
            2,
        ),
        (
            "a port of TCP",
            with(|m, _| {
                m.protocol = set([(6, 6)]);
                m.destination_port = set([(80, 80)]);
            }),
            1,
        ),
        (
            "all but a port",
            with(|m, _| {
                m.protocol = set([(6, 6)]);
                m.destination_port = set([(0, 79), (81, 65_535)]);
            }),
            2,
        ),
        (
            "either port",
            with(|m, r| {
                m.protocol = set([(17, 17)]);
                r.port = set([(53, 53)]);
            }),
            2,
        ),
        (
            "either port where one is known",
            with(|m, r| {
                m.protocol = set([(17, 17)]);
                m.source_port = set([(53, 53)]);
                r.port = set([(50, 60)]);
            }),
            1,
        ),
        (
            "any port: not a later fragment",
            with(|m, _| {
                m.protocol = set([(6, 6)]);
                m.destination_port = set([(0, 65_535)]);
            }),
            2,
        ),
        (
            "SYN without ACK",
            with(|_, r| r.tcp_flags = Some(syn_without_ack)),
            1,
        ),
        ("SYN or FIN", with(|_, r| r.tcp_flags = Some(syn_or_fin)), 2),
        ("three DSCP", with(|_, r| r.dscp = set([(46, 48)])), 3),
        (
            "all DSCP are no test",
            with(|_, r| r.dscp = set([(0, 63)])),
            1,
        ),
        (
            "an echo request",
            with(|_, r| r.icmp_type = set([(8, 8)])),
            1,
        ),
        (
            "a type with two codes",
            with(|_, r| {
                r.icmp_type = set([(3, 3)]);
                r.icmp_code = set([(1, 2)]);
            }),
            2,
        ),
        ("later fragments", with(|m, _| m.fragment = Some(later)), 1),
        (
            "no later fragments of what has ports",
            with(|m, _| {
                m.fragment = Some(not_later);
                m.protocol = set([(6, 6)]);
                m.destination_port = set([(80, 80)]);
            }),
            1,
        ),
        (
            "later fragments of what has ports",
            with(|m, _| {
                m.fragment = Some(later);
                m.destination_port = set([(80, 80)]);
            }),
            0,
        ),
        (
            "a length that all packets have",
            with(|_, r| r.packet_length = set([(20, 65_535)])),
            1,
        ),
        (
            "a flow label in IPv4",
            with(|_, r| r.flow_label = set([(0, 0xf_ffff)])),
            0,
        ),
        ("no port", with(|m, _| m.source_port = set([])), 0),
    ];
    for (name, matches, count) in rows {
        let entries = expand(&matches, Family::Ipv4, spectrum()).unwrap();
        assert_eq!(entries.len(), count, "{name}: {entries:?}");
    }
}

#[test]
fn what_cannot_be_said_exactly_is_refused_by_component() {
    let not_later = FragmentSet::from_predicate(|kind, _| !kind.is_later());
    let first = FragmentSet::from_predicate(|kind, _| kind == FragmentKind::First);
    let later = FragmentSet::from_predicate(|kind, _| kind.is_later());
    let congestion = MaskedValues::from_predicate(0xc0, |flags| flags != 0);
    let evens = (0..200).map(|n| (2 * n, 2 * n));
    let even_ports = IntervalSet::from_ranges(evens);
    let rows = [
        (
            "an address with an offset",
            Family::Ipv6,
            with(|m, _| m.destination = Some(AddressPattern::new(1 << 100, 16, 64))),
            "destination: the switch matches prefixes, without an offset",
        ),
        (
            "a packet length",
            Family::Ipv4,
            with(|_, r| r.packet_length = set([(0, 100)])),
            "packet-length: the switch does not match it",
        ),
        (
            "all lengths of IPv6, which jumbograms do not have",
            Family::Ipv6,
            with(|_, r| r.packet_length = set([(0, 65_575)])),
            "packet-length: the switch does not match it",
        ),
        (
            "a flow label",
            Family::Ipv6,
            with(|_, r| r.flow_label = set([(1, 5)])),
            "flow-label: the switch does not match it",
        ),
        (
            "first fragments",
            Family::Ipv4,
            with(|m, _| m.fragment = Some(first)),
            "fragment: the switch only knows whether the fragment offset is 0, and matches only where it is not",
        ),
        (
            "no later fragments",
            Family::Ipv4,
            with(|m, _| m.fragment = Some(not_later)),
            "fragment: the switch only knows whether the fragment offset is 0, and matches only where it is not",
        ),
        (
            "later fragments of IPv6",
            Family::Ipv6,
            with(|m, _| m.fragment = Some(later)),
            "fragment: the switch does not match fragments of ipv6",
        ),
        (
            "protocol 0 among others",
            Family::Ipv4,
            with(|m, _| m.protocol = set([(0, 5)])),
            "protocol: 0 stands for any protocol in this ACL language",
        ),
        (
            "ICMP type 255",
            Family::Ipv4,
            with(|_, r| r.icmp_type = set([(255, 255)])),
            "icmp-type: 255 stands for any type in this ACL language",
        ),
        (
            "a code without type",
            Family::Ipv4,
            with(|_, r| r.icmp_code = set([(0, 0)])),
            "icmp-code: the switch matches codes only together with a type",
        ),
        (
            "ECE or CWR",
            Family::Ipv4,
            with(|_, r| r.tcp_flags = Some(congestion)),
            "tcp-flags: the switch compares the bits 0x3f, not 0xc0",
        ),
        (
            "too many ports",
            Family::Ipv4,
            with(|m, _| m.destination_port = Some(even_ports.clone())),
            "destination-port: 400 entries would be needed, and a rule may have 256",
        ),
        (
            "far too many pairs of ports",
            Family::Ipv4,
            with(|m, _| {
                m.destination_port = Some(even_ports.clone());
                m.source_port = Some(even_ports.clone());
            }),
            "destination-port: 40000 entries would be needed, and a rule may have 256",
        ),
    ];
    for (name, family, matches, reason) in rows {
        let refusal = expand(&matches, family, spectrum()).unwrap_err();
        assert_eq!(refusal.0, reason, "{name}");
    }
}

#[test]
fn extension_headers_of_ipv6_are_no_protocol_of_any_packet() {
    let esp = with(|m, _| m.protocol = set([(50, 51)]));
    assert_eq!(expand(&esp, Family::Ipv6, spectrum()).unwrap(), []);
    assert_eq!(expand(&esp, Family::Ipv4, spectrum()).unwrap().len(), 2);
    let all_but_tcp = with(|m, _| m.protocol = set([(0, 5), (7, 255)]));
    let entries = expand(&all_but_tcp, Family::Ipv6, spectrum()).unwrap();
    assert_eq!(entries.len(), 256 - 1 - 6);
}

/// Ports at and around which the sets below have their bounds.
const PORTS: [u32; 10] = [0, 1, 2, 53, 79, 80, 81, 1023, 1024, 65_535];
/// Protocols of packets.
const PROTOCOLS: [u32; 8] = [0, 1, 6, 17, 47, 50, 58, 255];
/// ICMP types and codes.
const TYPES: [u32; 5] = [0, 3, 8, 9, 255];
/// DSCP.
const DSCP: [u32; 4] = [0, 8, 46, 63];

fn ranges<const N: usize>(
    bounds: [u32; N],
    weight: f64,
) -> impl Strategy<Value = Option<IntervalSet>> {
    let range = (select(bounds.to_vec()), select(bounds.to_vec()));
    let ranges = vec(range, 1..4).prop_map(IntervalSet::from_ranges);
    option::weighted(weight, ranges)
}

fn prefix() -> impl Strategy<Value = Option<AddressPattern>> {
    let prefix = (0u128..4, 0u8..3);
    let prefix = prefix.prop_map(|(bits, length)| AddressPattern::new(bits << 126, 0, length));
    option::weighted(0.2, prefix)
}

fn flags() -> impl Strategy<Value = Option<MaskedValues>> {
    let truth = (select(vec![0u16, 1, 0x12, 0x3f, 0x7]), any::<u64>());
    let set = truth.prop_map(|(relevant, truth)| {
        MaskedValues::from_predicate(relevant, |value| truth >> (value & 0x3f) & 1 == 1)
    });
    option::weighted(0.2, set)
}

fn fragments() -> impl Strategy<Value = Option<FragmentSet>> {
    let truth = prop_oneof![
        any::<[bool; 2]>().prop_map(|[a, b]| [a, b, a, b]),
        any::<[bool; 4]>()
    ];
    let set = truth.prop_map(|truth| {
        FragmentSet::from_predicate(|kind, df| {
            truth[usize::from(kind.is_later()) + if df { 2 } else { 0 }]
        })
    });
    option::weighted(0.2, set)
}

fn arbitrary_match() -> impl Strategy<Value = Match> {
    let common = (prefix(), prefix(), fragments(), ranges(PROTOCOLS, 0.5));
    let ports = (ranges(PORTS, 0.3), ranges(PORTS, 0.3), ranges(PORTS, 0.2));
    let rest = (
        ranges(TYPES, 0.15),
        ranges(TYPES, 0.15),
        ranges(DSCP, 0.1),
        flags(),
    );
    (common, ports, rest).prop_map(|(common, ports, rest)| Match {
        destination: common.0,
        source: common.1,
        fragment: common.2,
        protocol: common.3,
        destination_port: ports.0,
        source_port: ports.1,
        rare: RareFields {
            port: ports.2,
            icmp_type: rest.0,
            icmp_code: rest.1,
            dscp: rest.2,
            tcp_flags: rest.3,
            ..RareFields::default()
        }
        .into(),
    })
}

/// Packets whose fields are at the bounds of the sets above.
fn arbitrary_packet(family: Family) -> impl Strategy<Value = Packet> {
    let octet = |from: Vec<u32>| select(from).prop_map(|n| u8::try_from(n).unwrap());
    let port = || select(PORTS.to_vec()).prop_map(|n| u16::try_from(n).unwrap());
    let fields = (
        (0u128..4, 0u128..4),
        octet(vec![1, 6, 6, 6, 17, 17, 47, 58, 255]),
        (port(), port()),
        (octet(TYPES.to_vec()), octet(TYPES.to_vec())),
        0u16..0x200,
        octet(DSCP.to_vec()),
        select(FragmentKind::ALL.to_vec()),
        any::<(bool, bool)>(),
    );
    fields.prop_map(move |fields| {
        let (addresses, protocol, ports, icmp, flags, dscp, fragment, (df, known)) = fields;
        let known = known || family == Family::Ipv4;
        let has = |numbers: &[u8]| known && !fragment.is_later() && numbers.contains(&protocol);
        let icmp_number = if family == Family::Ipv4 { 1 } else { 58 };
        Packet {
            family,
            destination: addresses.0 << 126,
            source: addresses.1 << 126,
            protocol: known.then_some(protocol),
            source_port: has(&[6, 17]).then_some(ports.0),
            destination_port: has(&[6, 17]).then_some(ports.1),
            icmp_type: has(&[icmp_number]).then_some(icmp.0),
            icmp_code: has(&[icmp_number]).then_some(icmp.1),
            tcp_flags: has(&[6]).then_some(flags),
            packet_length: Some(100),
            hop_limit: 64,
            dscp,
            fragment,
            dont_fragment: df && family == Family::Ipv4,
            flow_label: (family == Family::Ipv6).then_some(0),
            interface: None,
        }
    })
}

/// The languages that differ in something that [`expand`] looks at.
fn languages() -> Vec<Language> {
    let mut languages: Vec<Language> = CUMULUS.iter().map(|p| p.language.clone()).collect();
    languages.extend(Release::ALL.map(|release| sonic(release, Asic::Other).language));
    languages
}

fn family() -> impl Strategy<Value = Family> {
    select(Family::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn entries_hold_exactly_what_the_match_does(
        (family, packets) in family().prop_flat_map(|f| (Just(f), vec(arbitrary_packet(f), 40))),
        matches in arbitrary_match(),
        language in select(languages()),
        checkers in select(vec![None, Some(0), Some(1), Some(2)]),
    ) {
        let Ok(entries) = expand(&matches, family, &language) else { return Ok(()) };
        prop_assert!(entries.len() <= language.entries_per_rule);
        let mut checkers = RangeCheckers::new(checkers);
        let placed = checkers.place(entries.clone(), 2000);
        for entries in [Some(entries), placed.clone().ok()].into_iter().flatten() {
            for packet in &packets {
                let expected = matches.contains(packet);
                let found = entries.iter().any(|entry| entry.contains(packet));
                prop_assert_eq!(found, expected, "{:?} by {:?}", packet, entries);
            }
        }
        if let Ok(placed) = placed {
            prop_assert!(checkers.limit().is_none_or(|limit| checkers.used() <= limit));
            checkers.release(&placed);
        }
        prop_assert_eq!(checkers.used(), 0);
    }

    #[test]
    fn cubes_hold_exactly_the_set(relevant in 0u16..0x40, truth in any::<u64>()) {
        let set = MaskedValues::from_predicate(relevant, |value| truth >> (value & 0x3f) & 1 == 1);
        let cubes = cover(&set);
        for flags in 0..0x80 {
            let covered = cubes.iter().any(|cube| cube.contains(flags));
            prop_assert_eq!(covered, set.contains(flags), "{:#x} by {:?}", flags, cubes);
        }
        for (index, cube) in cubes.iter().enumerate() {
            let others = cubes.iter().enumerate().filter(|(at, _)| *at != index);
            let alone = |value: &&u16| others.clone().all(|(_, other)| !other.contains(**value));
            let needed = set.values().iter().filter(|v| cube.contains(**v)).any(|v| alone(&v));
            prop_assert!(needed, "{:?} in {:?}", cube, cubes);
        }
    }
}

#[test]
fn well_known_flags_take_the_least_cubes() {
    type Predicate = fn(u16) -> bool;
    let rows: [(&str, u16, Predicate, usize); 6] = [
        ("all", 0x3f, |_| true, 1),
        ("none", 0x3f, |_| false, 0),
        ("not SYN alone", 0x12, |flags| flags != 0x02, 2),
        ("any of three", 0x07, |flags| flags != 0, 3),
        (
            "parity of three",
            0x07,
            |flags| flags.count_ones() % 2 == 1,
            4,
        ),
        ("two of three", 0x07, |flags| flags.count_ones() >= 2, 3),
    ];
    for (name, relevant, predicate, cubes) in rows {
        let set = MaskedValues::from_predicate(relevant, predicate);
        assert_eq!(cover(&set).len(), cubes, "{name}");
    }
}

/// TCP to these ports.
fn tcp_to(first: u16, last: u16) -> Vec<Entry> {
    vec![Entry {
        protocol: Some(6),
        destination_port: Some(Ports { first, last }),
        ..Entry::everything(Family::Ipv4)
    }]
}

#[test]
fn range_checkers_are_shared_and_then_spilled() {
    let mut checkers = RangeCheckers::new(Some(2));
    let first = checkers.place(tcp_to(1, 1023), 256).unwrap();
    assert_eq!((first.len(), checkers.used()), (1, 1));
    let same = checkers.place(tcp_to(1, 1023), 256).unwrap();
    assert_eq!((same.len(), checkers.used()), (1, 1));
    let mut entries = [tcp_to(2000, 2009), tcp_to(3000, 3001)].concat();
    let placed = checkers.place(entries.clone(), 256).unwrap();
    assert_eq!(
        (placed.len(), checkers.used()),
        (3, 2),
        "the wider one keeps its checker"
    );
    let error = checkers.place(tcp_to(4000, 5000), 256).unwrap_err();
    let reason =
        "1 more port ranges than the 2 range checkers have room for, and 1001 entries without";
    assert_eq!(error.to_string(), reason);
    assert_eq!(checkers.used(), 2, "nothing is taken by what does not fit");
    checkers.release(&first);
    assert_eq!(checkers.used(), 2, "one user is left");
    checkers.release(&same);
    assert_eq!(checkers.place(tcp_to(4000, 5000), 256).unwrap().len(), 1);
    // The same ports of the other side are another range.
    entries.truncate(1);
    let sources = Entry {
        source_port: entries[0].destination_port,
        destination_port: None,
        ..entries.remove(0)
    };
    assert_eq!(checkers.place(vec![sources], 256).unwrap().len(), 10);
}

#[test]
fn families_share_the_room() {
    let mut budget = Budget::new(Room {
        ipv4: 500,
        ipv6: 250,
    });
    assert!(budget.take(Family::Ipv4, 250));
    assert_eq!(
        (budget.left(Family::Ipv4), budget.left(Family::Ipv6)),
        (250, 125)
    );
    assert!(!budget.take(Family::Ipv6, 126));
    assert!(budget.take(Family::Ipv6, 125));
    assert_eq!(
        (budget.left(Family::Ipv4), budget.left(Family::Ipv6)),
        (0, 0)
    );
    assert!(!budget.take(Family::Ipv4, 1));
    budget.give_back(Family::Ipv6, 125);
    assert!(budget.take(Family::Ipv4, 250));
    let mut only_ipv4 = Budget::new(Room { ipv4: 10, ipv6: 0 });
    assert!(!only_ipv4.take(Family::Ipv6, 1) && only_ipv4.take(Family::Ipv4, 10));
    assert_eq!(only_ipv4.left(Family::Ipv4), 0);
}

#[test]
fn profiles_have_names_of_their_own() {
    for profile in &CUMULUS {
        assert_eq!(profile::cumulus(profile.name), Some(profile));
    }
    for release in Release::ALL {
        assert_eq!(release.name().parse(), Ok(release));
    }
    assert!("202012".parse::<Release>().is_err());
    assert!("Mellanox".parse::<Asic>().is_err());
}

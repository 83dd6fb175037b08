use super::*;
use crate::rule::{Action, Label, RuleId};

/// 192.0.2.2, and 2001:db8::2, left-aligned.
const LOCAL: [(Family, u128); 2] = [
    (Family::Ipv4, 0xc000_0202 << 96),
    (Family::Ipv6, 0x2001_0db8 << 96 | 2),
];

fn session() -> Guard {
    let remote = AddressPattern::new(0xc000_0200 << 96, 0, 24);
    Guard::session(Family::Ipv4, remote, 179, "BGP")
}

fn prefix(bits: u128, length: u8) -> Option<AddressPattern> {
    Some(AddressPattern::new(bits << 96, 0, length))
}

fn rule(family: Family, matches: Match) -> Rule {
    Rule {
        id: RuleId(1),
        family,
        order: [0].into(),
        tier: [0].into(),
        label: Label::from("a rule"),
        matches,
        action: Action::default(),
    }
}

#[test]
fn packets_of_guarded_traffic_are_known() {
    let discovery = Guard::neighbor_discovery();
    let rows = [
        (
            "to the port",
            session(),
            "tcp 192.0.2.9:1 > 192.0.2.2:179",
            true,
        ),
        (
            "from the port",
            session(),
            "tcp 192.0.2.9:179 > 192.0.2.2:1",
            true,
        ),
        (
            "another port",
            session(),
            "tcp 192.0.2.9:1 > 192.0.2.2:180",
            false,
        ),
        (
            "another machine",
            session(),
            "tcp 192.0.2.9:1 > 192.0.2.3:179",
            false,
        ),
        (
            "a later fragment",
            session(),
            "proto 6 192.0.2.9 > 192.0.2.2 frag last",
            true,
        ),
        (
            "one of UDP",
            session(),
            "proto 17 192.0.2.9 > 192.0.2.2 frag last",
            false,
        ),
        (
            "a solicitation",
            discovery.clone(),
            "icmp6 fe80::1 > ff02::1 type 135 hops 255",
            true,
        ),
        (
            "from far away",
            discovery.clone(),
            "icmp6 2001::1 > 2001::2 type 135 hops 254",
            false,
        ),
        (
            "an echo request",
            discovery,
            "icmp6 fe80::1 > ff02::1 type 128 hops 255",
            false,
        ),
    ];
    for (name, guard, text, expected) in rows {
        let packet = Packet::from_text(text).unwrap();
        let is_local = |family, address| LOCAL.contains(&(family, address));
        assert_eq!(guard.protects(&packet, is_local), expected, "{name}");
    }
}

#[test]
fn rules_learn_what_they_do_not_touch() {
    let any = Match::default();
    let to = |destination| Match {
        destination,
        ..Match::default()
    };
    let from = |source| Match {
        source,
        ..Match::default()
    };
    let protocol = |number| Match {
        protocol: Some(IntervalSet::single(number)),
        ..Match::default()
    };
    let port = |port| Match {
        destination_port: Some(IntervalSet::single(port)),
        ..Match::default()
    };
    let later_udp = Match {
        fragment: session().later_fragments().unwrap().fragment,
        ..protocol(17)
    };
    let discovery = Guard::neighbor_discovery();
    let (v4, v6) = (Family::Ipv4, Family::Ipv6);
    let rows = [
        ("everything", session(), v4, any.clone(), true),
        (
            "everything of the other family",
            session(),
            v6,
            any.clone(),
            false,
        ),
        (
            "this machine",
            session(),
            v4,
            to(prefix(0xc000_0202, 32)),
            true,
        ),
        (
            "its network",
            session(),
            v4,
            to(prefix(0xc000_0200, 24)),
            true,
        ),
        (
            "its neighbor",
            session(),
            v4,
            to(prefix(0xc000_0203, 32)),
            false,
        ),
        (
            "from the remote side",
            session(),
            v4,
            from(prefix(0xc000_0209, 32)),
            true,
        ),
        (
            "from elsewhere",
            session(),
            v4,
            from(prefix(0xcb00_7100, 24)),
            false,
        ),
        ("TCP", session(), v4, protocol(6), true),
        ("UDP", session(), v4, protocol(17), false),
        ("later fragments of UDP", session(), v4, later_udp, false),
        (
            "to any port: replies come to it",
            session(),
            v4,
            port(5000),
            true,
        ),
        ("discovery by everything", discovery.clone(), v6, any, true),
        (
            "discovery by ICMPv6",
            discovery.clone(),
            v6,
            protocol(58),
            true,
        ),
        ("discovery by TCP", discovery, v6, protocol(6), false),
    ];
    for (name, guard, family, matches, expected) in rows {
        assert_eq!(
            guard.spares(&rule(family, matches), &LOCAL),
            expected,
            "{name}"
        );
    }
}

//! Rules for tests.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::interval::IntervalSet;
use dataplane::rule::*;

/// A rule that drops what matches.
pub fn rule(id: u64, family: Family, matches: Match) -> Rule {
    Rule {
        id: RuleId(id),
        family,
        order: Arc::from(id.to_be_bytes()),
        tier: Arc::from(id.to_be_bytes()),
        label: format!("flow {id}").into(),
        matches,
        action: Action {
            discard: true,
            ..Action::default()
        },
    }
}

/// A prefix such as `192.0.2.0/24`.
pub fn prefix(text: &str) -> Option<AddressPattern> {
    let (address, length) = text.split_once('/').unwrap();
    let value = match address.parse().unwrap() {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    };
    Some(AddressPattern::new(value, 0, length.parse().unwrap()))
}

/// A set such as `1-5,9`; the empty text is the empty set.
pub fn set(text: &str) -> Option<IntervalSet> {
    let ranges = text
        .split(',')
        .filter(|range| !range.is_empty())
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            (first.parse().unwrap(), last.parse().unwrap())
        });
    Some(IntervalSet::from_ranges(ranges))
}

/// Named matches of a family that use every field in every way it is compiled.
pub fn matches(family: Family) -> Vec<(&'static str, Match)> {
    let m = Match::default;
    let flags = |relevant, matches: &dyn Fn(u16) -> bool| {
        Some(MaskedValues::from_predicate(relevant, matches))
    };
    let fragment =
        |matches: &dyn Fn(FragmentKind, bool) -> bool| Some(FragmentSet::from_predicate(matches));
    use FragmentKind::*;
    let mut rows = vec![
        ("everything", m()),
        (
            "protocol",
            Match {
                protocol: set("47"),
                ..m()
            },
        ),
        (
            "protocols",
            Match {
                protocol: set("6,17,40-48"),
                ..m()
            },
        ),
        (
            "protocol range",
            Match {
                protocol: set("4-9"),
                ..m()
            },
        ),
        (
            "any protocol",
            Match {
                protocol: set("0-255"),
                ..m()
            },
        ),
        (
            "only protocols without upper layer",
            Match {
                protocol: set("0,43-44"),
                ..m()
            },
        ),
        (
            "no protocol",
            Match {
                protocol: set(""),
                ..m()
            },
        ),
        (
            "port",
            Match {
                port: set("53"),
                ..m()
            },
        ),
        (
            "ports",
            Match {
                port: set("53,100-200"),
                ..m()
            },
        ),
        (
            "any port",
            Match {
                port: set("0-65535"),
                ..m()
            },
        ),
        (
            "port and source port",
            Match {
                port: set("53,80"),
                source_port: set("53-60"),
                ..m()
            },
        ),
        (
            "all ports",
            Match {
                port: set("53"),
                source_port: set("1024-65535"),
                destination_port: set("1-100"),
                ..m()
            },
        ),
        (
            "port contradiction",
            Match {
                port: set("1"),
                source_port: set(""),
                ..m()
            },
        ),
        (
            "udp source port",
            Match {
                protocol: set("17"),
                source_port: set("123"),
                ..m()
            },
        ),
        (
            "tcp ports",
            Match {
                protocol: set("6"),
                destination_port: set("22,80-90"),
                ..m()
            },
        ),
        (
            "ports of icmp",
            Match {
                protocol: set("1,58"),
                destination_port: set("22"),
                ..m()
            },
        ),
        (
            "any destination port",
            Match {
                destination_port: set("0-65535"),
                ..m()
            },
        ),
        (
            "icmp type",
            Match {
                icmp_type: set("8"),
                ..m()
            },
        ),
        (
            "icmp types and codes",
            Match {
                icmp_type: set("3-4,11"),
                icmp_code: set("1-3"),
                ..m()
            },
        ),
        (
            "icmp code",
            Match {
                icmp_code: set("0,4"),
                ..m()
            },
        ),
        (
            "any icmp type",
            Match {
                icmp_type: set("0-255"),
                ..m()
            },
        ),
        (
            "tcp syn",
            Match {
                tcp_flags: flags(0x12, &|v| v == 2),
                ..m()
            },
        ),
        (
            "tcp any of",
            Match {
                tcp_flags: flags(0x12, &|v| v != 0),
                ..m()
            },
        ),
        (
            "tcp values",
            Match {
                tcp_flags: flags(0x13, &|v| [2, 0x10, 0x11].contains(&v)),
                ..m()
            },
        ),
        (
            "tcp nonce bit",
            Match {
                tcp_flags: flags(0x102, &|v| v == 0x100),
                ..m()
            },
        ),
        (
            "tcp exact",
            Match {
                tcp_flags: flags(0xff, &|v| v == 2),
                ..m()
            },
        ),
        (
            "tcp exact 12 bits",
            Match {
                tcp_flags: flags(0xfff, &|v| v == 2),
                ..m()
            },
        ),
        (
            "tcp 12 bits list",
            Match {
                tcp_flags: flags(0xfff, &|v| [2, 5, 6, 7, 9].contains(&v)),
                ..m()
            },
        ),
        (
            "tcp list",
            Match {
                tcp_flags: flags(0xff, &|v| [1, 2, 3, 4, 5, 9].contains(&v)),
                ..m()
            },
        ),
        (
            "tcp any flags",
            Match {
                tcp_flags: flags(0xfff, &|_| true),
                ..m()
            },
        ),
        (
            "tcp no flags",
            Match {
                tcp_flags: flags(0xfff, &|_| false),
                ..m()
            },
        ),
        (
            "length",
            Match {
                packet_length: set("1000"),
                ..m()
            },
        ),
        (
            "lengths",
            Match {
                packet_length: set("40-60,1000-1500"),
                ..m()
            },
        ),
        (
            "length range",
            Match {
                packet_length: set("0-99"),
                ..m()
            },
        ),
        (
            "length too long",
            Match {
                packet_length: set("99971-99985"),
                ..m()
            },
        ),
        (
            "any length",
            Match {
                packet_length: set("0-70000"),
                ..m()
            },
        ),
        (
            "dscp",
            Match {
                dscp: set("46"),
                ..m()
            },
        ),
        (
            "dscps",
            Match {
                dscp: set("0-7,10"),
                ..m()
            },
        ),
        (
            "dscp range",
            Match {
                dscp: set("8-63"),
                ..m()
            },
        ),
        (
            "first fragment",
            Match {
                fragment: fragment(&|kind, _| kind == First),
                ..m()
            },
        ),
        (
            "last fragment",
            Match {
                fragment: fragment(&|kind, _| kind == Last),
                ..m()
            },
        ),
        (
            "middle fragment",
            Match {
                fragment: fragment(&|kind, _| kind == Middle),
                ..m()
            },
        ),
        (
            "any fragment",
            Match {
                fragment: fragment(&|kind, _| kind != Whole),
                ..m()
            },
        ),
        (
            "whole",
            Match {
                fragment: fragment(&|kind, _| kind == Whole),
                ..m()
            },
        ),
        (
            "dont fragment",
            Match {
                fragment: fragment(&|_, dont| dont),
                ..m()
            },
        ),
        (
            "dont fragment or first",
            Match {
                fragment: fragment(&|k, dont| dont || k == First),
                ..m()
            },
        ),
        (
            "df equals mf",
            Match {
                fragment: fragment(&|k, d| d == (k == First || k == Middle)),
                ..m()
            },
        ),
        (
            "flow label",
            Match {
                flow_label: set("74565"),
                ..m()
            },
        ),
        (
            "flow labels",
            Match {
                flow_label: set("1-5,1048575"),
                ..m()
            },
        ),
        (
            "port of first fragments",
            Match {
                port: set("53"),
                fragment: fragment(&|kind, _| kind != Middle),
                ..m()
            },
        ),
    ];
    match family {
        Family::Ipv4 => rows.extend([
            (
                "destination /32",
                Match {
                    destination: prefix("203.0.113.5/32"),
                    ..m()
                },
            ),
            (
                "destination /24",
                Match {
                    destination: prefix("203.0.113.0/24"),
                    ..m()
                },
            ),
            (
                "destination /25",
                Match {
                    destination: prefix("203.0.113.128/25"),
                    ..m()
                },
            ),
            (
                "destination /0",
                Match {
                    destination: prefix("0.0.0.0/0"),
                    ..m()
                },
            ),
            (
                "source /9",
                Match {
                    source: prefix("10.128.0.0/9"),
                    ..m()
                },
            ),
            (
                "ntp reflection",
                Match {
                    destination: prefix("203.0.113.5/32"),
                    source: prefix("192.0.2.0/24"),
                    protocol: set("17"),
                    source_port: set("123"),
                    packet_length: set("468"),
                    ..m()
                },
            ),
        ]),
        Family::Ipv6 => rows.extend([
            (
                "destination /128",
                Match {
                    destination: prefix("2001:db8::5/128"),
                    ..m()
                },
            ),
            (
                "destination /32",
                Match {
                    destination: prefix("2001:db8::/32"),
                    ..m()
                },
            ),
            (
                "destination /33",
                Match {
                    destination: prefix("2001:db8:8000::/33"),
                    ..m()
                },
            ),
            (
                "destination with offset",
                Match {
                    destination: Some(AddressPattern::new(0x1234, 64, 128)),
                    ..m()
                },
            ),
            (
                "source with odd offset",
                Match {
                    source: Some(AddressPattern::new(u128::MAX / 3, 61, 103)),
                    ..m()
                },
            ),
        ]),
    }
    rows
}

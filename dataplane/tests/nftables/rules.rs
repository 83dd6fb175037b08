//! Rules for tests.

use std::net::IpAddr;

use dataplane::interval::IntervalSet;
use dataplane::rule::*;

/// A rule that drops what matches.
pub fn rule(id: u64, family: Family, matches: Match) -> Rule {
    Rule {
        id: RuleId(id),
        family,
        order: id.to_be_bytes().into(),
        tier: id.to_be_bytes().into(),
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
                rare: RareFields {
                    port: set("53"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "ports",
            Match {
                rare: RareFields {
                    port: set("53,100-200"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "any port",
            Match {
                rare: RareFields {
                    port: set("0-65535"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "port and source port",
            Match {
                rare: RareFields {
                    port: set("53,80"),
                    ..RareFields::default()
                }
                .into(),
                source_port: set("53-60"),
                ..m()
            },
        ),
        (
            "all ports",
            Match {
                rare: RareFields {
                    port: set("53"),
                    ..RareFields::default()
                }
                .into(),
                source_port: set("1024-65535"),
                destination_port: set("1-100"),
                ..m()
            },
        ),
        (
            "port contradiction",
            Match {
                rare: RareFields {
                    port: set("1"),
                    ..RareFields::default()
                }
                .into(),
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
                rare: RareFields {
                    icmp_type: set("8"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "icmp types and codes",
            Match {
                rare: RareFields {
                    icmp_type: set("3-4,11"),
                    icmp_code: set("1-3"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "icmp code",
            Match {
                rare: RareFields {
                    icmp_code: set("0,4"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "any icmp type",
            Match {
                rare: RareFields {
                    icmp_type: set("0-255"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "tcp syn",
            Match {
                rare: RareFields {
                    tcp_flags: flags(0x12, &|v| v == 2),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "tcp any of",
            Match {
                rare: RareFields {
                    tcp_flags: flags(0x12, &|v| v != 0),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "tcp values",
            Match {
                rare: RareFields {
                    tcp_flags: flags(0x13, &|v| [2, 0x10, 0x11].contains(&v)),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "tcp nonce bit",
            Match {
                rare: RareFields {
                    tcp_flags: flags(0x102, &|v| v == 0x100),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "tcp exact",
            Match {
                rare: RareFields {
                    tcp_flags: flags(0xff, &|v| v == 2),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "tcp exact 12 bits",
            Match {
                rare: RareFields {
                    tcp_flags: flags(0xfff, &|v| v == 2),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "tcp 12 bits list",
            Match {
                rare: RareFields {
                    tcp_flags: flags(0xfff, &|v| [2, 5, 6, 7, 9].contains(&v)),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "tcp list",
            Match {
                rare: RareFields {
                    tcp_flags: flags(0xff, &|v| [1, 2, 3, 4, 5, 9].contains(&v)),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "tcp any flags",
            Match {
                rare: RareFields {
                    tcp_flags: flags(0xfff, &|_| true),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "tcp no flags",
            Match {
                rare: RareFields {
                    tcp_flags: flags(0xfff, &|_| false),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "length",
            Match {
                rare: RareFields {
                    packet_length: set("1000"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "lengths",
            Match {
                rare: RareFields {
                    packet_length: set("40-60,1000-1500"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "length range",
            Match {
                rare: RareFields {
                    packet_length: set("0-99"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "length too long",
            Match {
                rare: RareFields {
                    packet_length: set("99971-99985"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "any length",
            Match {
                rare: RareFields {
                    packet_length: set("0-70000"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "dscp",
            Match {
                rare: RareFields {
                    dscp: set("46"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "dscps",
            Match {
                rare: RareFields {
                    dscp: set("0-7,10"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "dscp range",
            Match {
                rare: RareFields {
                    dscp: set("8-63"),
                    ..RareFields::default()
                }
                .into(),
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
                rare: RareFields {
                    flow_label: set("74565"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "flow labels",
            Match {
                rare: RareFields {
                    flow_label: set("1-5,1048575"),
                    ..RareFields::default()
                }
                .into(),
                ..m()
            },
        ),
        (
            "port of first fragments",
            Match {
                rare: RareFields {
                    port: set("53"),
                    ..RareFields::default()
                }
                .into(),
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
                    rare: RareFields {
                        packet_length: set("468"),
                        ..RareFields::default()
                    }
                    .into(),
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

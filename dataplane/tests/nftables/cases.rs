//! Named tables: settings, links and rules, for the tests that look at whole listings.

use std::sync::Arc;

use dataplane::desired::{InterfacePattern, Link, Sample, Settings};
use dataplane::guard::Guard;
use dataplane::interval::IntervalSet;
use dataplane::rule::*;

use crate::rules::{matches, prefix, rule, set};

/// One table.
pub struct Case {
    /// Name of its golden file.
    pub name: &'static str,
    /// Settings of the data plane.
    pub settings: Settings,
    /// Links of the machine.
    pub links: Vec<Link>,
    /// Installed rules.
    pub rules: Vec<Arc<Rule>>,
}

/// All tables.
pub fn all() -> Vec<Case> {
    let case = |name, rules| Case {
        name,
        settings: Settings::default(),
        links: Vec::new(),
        rules,
    };
    vec![
        case("matches-ipv4", rules_of(Family::Ipv4)),
        case("matches-ipv6", rules_of(Family::Ipv6)),
        case("actions", actions()),
        case("collected-marks", collected_marks()),
        case("copies", copies()),
        case("sources", limited_sources()),
        Case {
            settings: sampling(10),
            ..case("sampling", sampled())
        },
        Case {
            settings: guarded(),
            ..case("guards", Vec::new())
        },
        Case {
            settings: named_interfaces(),
            links: switch(),
            ..case("bridge", Vec::new())
        },
    ]
}

/// One rule for every match of a family.
pub fn rules_of(family: Family) -> Vec<Arc<Rule>> {
    let rows = matches(family).into_iter().zip(1..);
    rows.map(|((name, matches), id)| {
        Arc::new(Rule {
            label: name.into(),
            ..rule(id, family, matches)
        })
    })
    .collect()
}

/// Rules for UDP from port 123 to addresses of a family, one for each action.
fn with_actions(actions: Vec<(&str, Action)>) -> Vec<Arc<Rule>> {
    let rule = |((label, action), id): ((&str, Action), u64)| {
        let family = if id % 2 == 1 {
            Family::Ipv4
        } else {
            Family::Ipv6
        };
        let destination = match family {
            Family::Ipv4 => prefix(&format!("203.0.113.{id}/32")),
            Family::Ipv6 => prefix(&format!("2001:db8::{id}/128")),
        };
        let matches = Match {
            destination,
            ..Match::default()
        };
        Arc::new(Rule {
            label: label.into(),
            action,
            ..rule(id, family, matches)
        })
    };
    actions.into_iter().zip(1..).map(rule).collect()
}

/// A limit.
pub fn limit(unit: LimitUnit, rate_per_sec: f64) -> Limit {
    Limit { unit, rate_per_sec }
}

fn actions() -> Vec<Arc<Rule>> {
    use LimitUnit::{Bytes, Packets};
    let a = Action::default;
    let mut rules = with_actions(vec![
        ("accept", a()),
        (
            "count and go on",
            Action {
                continue_evaluation: true,
                ..a()
            },
        ),
        (
            "discard",
            Action {
                discard: true,
                ..a()
            },
        ),
        (
            "discard and sample",
            Action {
                discard: true,
                sample: true,
                ..a()
            },
        ),
        (
            "bytes",
            Action {
                limits: vec![limit(Bytes, 1e6)],
                ..a()
            },
        ),
        (
            "packets",
            Action {
                limits: vec![limit(Packets, 1000.0)],
                ..a()
            },
        ),
        (
            "both",
            Action {
                limits: vec![limit(Bytes, 9e4), limit(Packets, 7.0)],
                ..a()
            },
        ),
        (
            "bytes and go on",
            Action {
                limits: vec![limit(Bytes, 5e3)],
                continue_evaluation: true,
                ..a()
            },
        ),
        (
            "half a byte",
            Action {
                limits: vec![limit(Bytes, 0.5)],
                ..a()
            },
        ),
        (
            "next to nothing",
            Action {
                limits: vec![limit(Packets, 1e-9)],
                ..a()
            },
        ),
        (
            "more than there is",
            Action {
                limits: vec![limit(Bytes, 1e12)],
                ..a()
            },
        ),
        (
            "mark",
            Action {
                mark_dscp: Some(10),
                ..a()
            },
        ),
        (
            "mark",
            Action {
                mark_dscp: Some(46),
                ..a()
            },
        ),
        (
            "limit, sample and mark",
            Action {
                limits: vec![limit(Bytes, 1e6)],
                sample: true,
                mark_dscp: Some(8),
                ..a()
            },
        ),
    ]);
    let ports = Match {
        rare: RareFields {
            port: set("53"),
            ..RareFields::default()
        }
        .into(),
        ..Match::default()
    };
    let action = Action {
        limits: vec![limit(Bytes, 1e6)],
        mark_dscp: Some(0),
        ..a()
    };
    let label = "one limit for alternatives".into();
    rules.push(Arc::new(Rule {
        label,
        action,
        ..rule(99, Family::Ipv4, ports)
    }));
    rules
}

fn collected_marks() -> Vec<Arc<Rule>> {
    let a = Action::default;
    with_actions(vec![
        (
            "mark and go on",
            Action {
                mark_dscp: Some(10),
                continue_evaluation: true,
                ..a()
            },
        ),
        (
            "mark",
            Action {
                mark_dscp: Some(12),
                ..a()
            },
        ),
        ("accept", a()),
        (
            "discard",
            Action {
                discard: true,
                ..a()
            },
        ),
        (
            "limit, mark and go on",
            Action {
                limits: vec![limit(LimitUnit::Bytes, 1e6)],
                mark_dscp: Some(63),
                continue_evaluation: true,
                ..a()
            },
        ),
    ])
}

fn copies() -> Vec<Arc<Rule>> {
    let copy = |address: &str| Action {
        rare: RareActions {
            copy_to: Some(address.parse().unwrap()),
            ..RareActions::default()
        }
        .into(),
        ..Action::default()
    };
    with_actions(vec![
        ("copy", copy("192.0.2.9")),
        ("copy in IPv6", copy("2001:db8::9")),
        (
            "copy and go on",
            Action {
                continue_evaluation: true,
                ..copy("192.0.2.9")
            },
        ),
        (
            "copy of what is discarded",
            Action {
                discard: true,
                ..copy("2001:db8::10")
            },
        ),
    ])
}

/// Limits for each source alone, beside others, and at both ends of what can be said.
fn limited_sources() -> Vec<Arc<Rule>> {
    let of_each = |unit, rate_per_sec, prefix_length, max_sources| SourceLimit {
        limit: limit(unit, rate_per_sec),
        prefix_length,
        max_sources,
    };
    let (bytes, packets) = (LimitUnit::Bytes, LimitUnit::Packets);
    let mut rules = with_actions(vec![
        ("hosts", of_sources(vec![of_each(bytes, 1000.0, 32, 4096)])),
        (
            "IPv6 sites",
            of_sources(vec![of_each(packets, 50.0, 48, 8192)]),
        ),
        (
            "all sources are one",
            of_sources(vec![of_each(packets, 0.001, 0, 4096)]),
        ),
        (
            "the same in IPv6",
            of_sources(vec![of_each(bytes, 1e9, 0, 4096)]),
        ),
        (
            "hosts and networks, and all together",
            Action {
                limits: vec![limit(bytes, 1e6)],
                mark_dscp: Some(10),
                sample: true,
                ..of_sources(vec![
                    of_each(bytes, 1000.0, 32, 65_536),
                    of_each(packets, 10.0, 24, 4096),
                ])
            },
        ),
        (
            "IPv6 hosts, and go on",
            Action {
                continue_evaluation: true,
                ..of_sources(vec![of_each(bytes, 1000.0, 128, 4096)])
            },
        ),
        (
            "as much as wanted",
            of_sources(vec![of_each(bytes, 1e30, 24, 4096)]),
        ),
        ("nothing", of_sources(vec![of_each(bytes, 1e-30, 24, 4096)])),
    ]);
    let mut everywhere = Rule::clone(&rules[0]);
    everywhere.id = RuleId(9);
    everywhere.order = 9u64.to_be_bytes().into();
    everywhere.tier = everywhere.order.clone();
    everywhere.label = "to anybody".into();
    everywhere.matches = Match {
        rare: RareFields {
            port: set("53"),
            ..RareFields::default()
        }
        .into(),
        ..Match::default()
    };
    rules.push(Arc::new(everywhere));
    rules
}

/// An action that limits each source.
pub fn of_sources(source_limits: Vec<SourceLimit>) -> Action {
    Action {
        rare: RareActions {
            source_limits,
            ..RareActions::default()
        }
        .into(),
        ..Action::default()
    }
}

/// Settings that sample one in so many.
fn sampling(one_in: u32) -> Settings {
    let sample = Sample {
        group: 7,
        snap_length: 0,
        one_in,
    };
    Settings {
        sample,
        ..Settings::default()
    }
}

fn sampled() -> Vec<Arc<Rule>> {
    let a = Action::default;
    with_actions(vec![
        (
            "sample",
            Action {
                sample: true,
                ..a()
            },
        ),
        (
            "sample and go on",
            Action {
                sample: true,
                continue_evaluation: true,
                ..a()
            },
        ),
        (
            "sample and limit",
            Action {
                sample: true,
                limits: vec![limit(LimitUnit::Packets, 50.0)],
                ..a()
            },
        ),
    ])
}

fn guarded() -> Settings {
    let guard =
        |family, remote: &str| Guard::session(family, prefix(remote).unwrap(), 179, "BGP session");
    Settings {
        guards: vec![
            guard(Family::Ipv4, "192.0.2.1/32"),
            guard(Family::Ipv4, "198.51.100.0/25"),
            guard(Family::Ipv6, "2001:db8::/64"),
            guard(Family::Ipv6, "::/0"),
            protected(Family::Ipv4, Some("192.0.2.0/24"), None, None),
            protected(Family::Ipv6, None, None, Some(17)),
            protected(Family::Ipv4, None, Some("198.51.100.0/24"), Some(6)),
        ],
        ..Settings::default()
    }
}

/// What an operator protects: ports 22 to 24 and 3784 of a protocol, or everything.
fn protected(
    family: Family,
    source: Option<&str>,
    destination: Option<&str>,
    protocol: Option<u32>,
) -> Guard {
    let ports = IntervalSet::from_ranges([(22, 24), (3784, 3784)]);
    Guard {
        family,
        traffic: Match {
            source: source.and_then(prefix),
            destination: destination.and_then(prefix),
            protocol: protocol.map(IntervalSet::single),
            destination_port: protocol.map(|_| ports),
            ..Match::default()
        },
        to_this_machine: destination.is_none(),
        on_link: false,
        purpose: "protect[0]".into(),
    }
}

/// Settings for some interfaces.
pub fn named_interfaces() -> Settings {
    let patterns = ["swp*", "eth0", "eth1", "br0.10"];
    let interfaces = patterns
        .map(|pattern| InterfacePattern::new(pattern).unwrap())
        .into();
    Settings {
        interfaces,
        ..guarded()
    }
}

/// A link of a switch.
fn link(index: u32, name: &str, kind: Option<&str>, master: u32, lower: u32) -> Link {
    Link {
        index,
        name: name.into(),
        kind: kind.map(String::from),
        master: (master > 0).then_some(master),
        lower: (lower > 0).then_some(lower),
        addresses: Vec::new(),
        merges_packets: false,
    }
}

/// Two ports in a bridge with a VLAN on top, and one that is routed.
pub fn switch() -> Vec<Link> {
    vec![
        link(1, "lo", None, 0, 0),
        Link {
            addresses: vec![
                (Family::Ipv4, 0xc000_0202 << 96),
                (Family::Ipv4, 0xc633_6402 << 96),
                (Family::Ipv6, 0x2001_0db8 << 96 | 2),
            ],
            ..link(2, "eth0", None, 0, 0)
        },
        link(3, "swp1", None, 10, 0),
        link(4, "swp2", None, 10, 0),
        link(5, "swp3", None, 0, 0),
        link(10, "br0", Some("bridge"), 0, 0),
        link(11, "br0.10", Some("vlan"), 0, 10),
    ]
}

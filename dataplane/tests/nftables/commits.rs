//! Sequences of commits: the order of rules, what survives, and what failures leave behind.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::sync::Arc;

use dataplane::backend::{Backend, BackendError, Counter};
use dataplane::desired::{Changes, InterfacePattern, Link, Sample, Settings};
use dataplane::nft::Nftables;
use dataplane::rule::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::cases::{limit, named_interfaces, switch};
use crate::commit;
use crate::namespace::{in_namespace, listing, run};
use crate::rules::{prefix, rule, set};

/// What a generated change does at a key.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new rule.
    Put(Kind),
    /// The same rule or another action, with the id of the rule that stands there.
    Change(Kind),
    /// No rule.
    Remove,
}

/// Kinds of generated rules.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Discard,
    Limit(u32),
    Ports,
    Fragments,
    NoMatch,
    Mark,
    MarkAndGoOn,
}

/// Keys of rules that name no destination begin here.
const WITHOUT_DESTINATION: u16 = 2000;

/// The rule of a kind at a key.
fn generated(kind: Kind, id: u64, family: Family, key: u16) -> Rule {
    let address = match family {
        Family::Ipv4 => format!("10.51.{}.{}/32", key / 256, key % 256),
        Family::Ipv6 => format!("2001:db8::{key:x}/128"),
    };
    let mut matches = Match {
        // Rules with a destination come before those without.
        destination: prefix(&address).filter(|_| key < WITHOUT_DESTINATION),
        ..Match::default()
    };
    let mut action = Action {
        discard: true,
        ..Action::default()
    };
    match kind {
        Kind::Discard => {}
        Kind::Limit(rate) => {
            let limits = vec![limit(LimitUnit::Bytes, f64::from(rate))];
            action = Action {
                limits,
                ..Action::default()
            };
        }
        Kind::Ports => matches.rare.port = set("53,123"),
        Kind::Fragments => {
            matches.fragment = Some(FragmentSet::from_predicate(|kind, _| {
                kind != FragmentKind::Whole
            }));
        }
        Kind::NoMatch => matches.rare.dscp = set(""),
        Kind::Mark => {
            action = Action {
                mark_dscp: Some(8),
                ..Action::default()
            }
        }
        Kind::MarkAndGoOn => {
            action = Action {
                mark_dscp: Some(9),
                continue_evaluation: true,
                ..Action::default()
            };
        }
    }
    Rule {
        order: key.to_be_bytes().into(),
        tier: key.to_be_bytes().into(),
        matches,
        action,
        ..rule(id, family, Match::default())
    }
}

fn steps() -> impl Strategy<Value = Vec<Vec<(bool, u16, Step)>>> {
    let kind = prop_oneof![
        8 => Just(Kind::Discard),
        6 => (1u32..5).prop_map(|rate| Kind::Limit(rate * 1000)),
        6 => Just(Kind::Ports),
        3 => Just(Kind::Fragments),
        2 => Just(Kind::NoMatch),
        3 => Just(Kind::Mark),
        1 => Just(Kind::MarkAndGoOn),
    ];
    let kind = kind.boxed();
    let step = prop_oneof![
        4 => kind.clone().prop_map(Step::Put),
        2 => kind.clone().prop_map(Step::Change),
        4 => Just(Step::Remove),
    ];
    // The first commit makes enough chunks for groups of them.
    let first = (any::<bool>(), 0u16..2500, kind.prop_map(Step::Put));
    let first = prop::collection::vec(first, 2400..2800);
    let change = (any::<bool>(), 0u16..2500, step);
    let small = prop::collection::vec(change.clone(), 0..6);
    let large = prop::collection::vec(change, 600..1800);
    let later = prop::collection::vec(prop_oneof![4 => small, 2 => large], 0..12);
    (first, later).prop_map(|(first, mut commits)| {
        commits.insert(0, first);
        commits
    })
}

/// What packets of a class can meet.
#[derive(Debug, Default, PartialEq)]
struct Met {
    /// Ids of all rules.
    ids: BTreeSet<u64>,
    /// Ids of those that stand in chains, in the order in which packets meet them.
    listed: Vec<u64>,
}

/// Classes of packets that are told apart.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    Tcp,
    Udp,
    Rest,
    Later,
}

/// Follows a listing to all that packets of a class can meet.
fn met_by(listing: &str, family: Family, class: Class) -> Met {
    let own = match class {
        Class::Tcp => format!("{family}-tcp"),
        Class::Udp => format!("{family}-udp"),
        Class::Later => format!("{family}-later"),
        Class::Rest => {
            let others = [
                format!(" goto {family}-tcp\n"),
                format!(" goto {family}-udp\n"),
            ];
            let rest = others.iter().fold(listing.to_owned(), |listing, other| {
                listing.replace(other, " return\n")
            });
            return met(&rest, &family.to_string());
        }
    };
    match listing.contains(&format!("chain {own} {{")) {
        true => met(listing, &own),
        // They are not told apart.
        false => met(listing, &family.to_string()),
    }
}

/// Follows a listing from a chain to all that packets can meet from there.
fn met(listing: &str, chain: &str) -> Met {
    let blocks: BTreeMap<&str, &str> = listing
        .split("\n\n")
        .filter_map(|block| {
            let block = block
                .trim_start_matches("table inet flowacl {\n")
                .trim_start();
            let (head, body) = block.split_once(" {\n")?;
            Some((head.split_once(' ')?.1, body))
        })
        .collect();
    let mut met = Met::default();
    follow(&blocks, chain, &mut met);
    met
}

/// See [`met`].
fn follow(blocks: &BTreeMap<&str, &str>, chain: &str, met: &mut Met) {
    let id = |text: &str| {
        text.split_once('"')
            .and_then(|(id, _)| id.parse::<u64>().ok())
    };
    let rules = blocks
        .get(chain)
        .unwrap_or_else(|| panic!("no chain {chain}"));
    for line in rules.lines() {
        if let Some((_, rest)) = line.split_once("counter name \"r") {
            let id = id(rest).unwrap();
            met.ids.insert(id);
            if met.listed.last() != Some(&id) {
                met.listed.push(id);
            }
        } else if let Some((_, map)) = line.split_once(" map @") {
            let map = map.split_whitespace().next().unwrap();
            met.ids
                .extend(blocks[map].split(": \"r").skip(1).filter_map(id));
        }
        if let Some((_, map)) = line.split_once(" vmap @") {
            let elements = blocks[map.trim()].replace(" : jump ", " : goto ");
            for target in elements.split(" : goto ").skip(1) {
                let end = target.find([',', ' ', '\n']).unwrap_or(target.len());
                follow(blocks, &target[..end], met);
            }
        }
        let target = line.split_once(" jump ").or(line.split_once(" goto "));
        let target = target.or(line.trim().strip_prefix("jump ").map(|chain| ("", chain)));
        if let Some((_, target)) = target.filter(|(_, target)| !target.starts_with("finish")) {
            follow(blocks, target.split_whitespace().next().unwrap(), met);
        }
    }
}

/// Ids of all rules that whole packets of a family can meet.
fn met_ids(listing: &str, chain: &str) -> Vec<u64> {
    met(listing, chain).ids.into_iter().collect()
}

/// Whether a rule has anything to do in a class.
fn belongs(rule: &Rule, class: Class) -> bool {
    let has_ports = matches!(class, Class::Tcp | Class::Udp);
    rule.matches.rare.dscp.is_none() && (has_ports || !rule.matches.needs_transport_header())
}

#[test]
fn order_equals_the_model_after_every_commit() {
    in_namespace(|| {
        let config = Config {
            cases: 4,
            failure_persistence: None,
            ..Config::default()
        };
        let grouped = Cell::new(false);
        let run = |commits: Vec<Vec<_>>| {
            let mut backend = Nftables::new();
            backend.start(&Settings::default(), &[]).unwrap();
            let mut model: BTreeMap<(Family, u16), Arc<Rule>> = BTreeMap::new();
            let mut next_id = 0;
            for steps in commits {
                let mut changes = Changes::default();
                // Later steps of a commit win, as if each key were named once.
                let steps: BTreeMap<_, _> = steps
                    .into_iter()
                    .map(|(ipv6, key, step)| {
                        ((if ipv6 { Family::Ipv6 } else { Family::Ipv4 }, key), step)
                    })
                    .collect();
                for ((family, key), step) in steps {
                    let old = model.get(&(family, key)).map(|rule| rule.id.0);
                    next_id += 1;
                    let (kind, id) = match step {
                        Step::Put(kind) => (kind, next_id),
                        Step::Change(kind) => (kind, old.unwrap_or(next_id)),
                        Step::Remove => {
                            changes.remove.push((family, key.to_be_bytes().into()));
                            model.remove(&(family, key));
                            continue;
                        }
                    };
                    let rule = Arc::new(generated(kind, id, family, key));
                    changes.put.push(rule.clone());
                    model.insert((family, key), rule);
                }
                backend.commit(&changes).unwrap();
                let listing = listing();
                grouped.set(grouped.get() || listing.contains("-group-"));
                let classes = [Class::Tcp, Class::Udp, Class::Rest, Class::Later];
                for (family, class) in Family::ALL
                    .into_iter()
                    .flat_map(|family| classes.map(|class| (family, class)))
                {
                    let rules = model.values().filter(|rule| rule.family == family);
                    let wanted: Vec<u64> = rules
                        .filter(|rule| belongs(rule, class))
                        .map(|rule| rule.id.0)
                        .collect();
                    let met = met_by(&listing, family, class);
                    let listed: BTreeSet<u64> = met.listed.iter().copied().collect();
                    let in_order: Vec<u64> = wanted
                        .iter()
                        .copied()
                        .filter(|id| listed.contains(id))
                        .collect();
                    prop_assert_eq!(&met.listed, &in_order, "order of {} {:?}", family, class);
                    prop_assert_eq!(
                        met.ids,
                        BTreeSet::from_iter(wanted),
                        "{} {:?}",
                        family,
                        class
                    );
                }
                let counters: BTreeSet<u64> = backend
                    .counters()
                    .unwrap()
                    .into_iter()
                    .map(|(id, _)| id.0)
                    .collect();
                let wanted: BTreeSet<u64> = model.values().map(|rule| rule.id.0).collect();
                prop_assert_eq!(counters, wanted);
                let limits = model
                    .values()
                    .filter(|rule| !rule.action.limits.is_empty())
                    .count();
                prop_assert_eq!(listing.matches("\n\tlimit r").count(), limits);
                let marks = model
                    .values()
                    .any(|rule| rule.action.mark_dscp.is_some() && rule.action.continue_evaluation);
                prop_assert_eq!(listing.contains("chain finish {"), marks);
            }
            backend.stop().unwrap();
            Ok(())
        };
        // Lists long enough to need groups of chunks come in most runs only.
        for _ in 0..8 {
            TestRunner::new(config.clone()).run(&steps(), run).unwrap();
            if grouped.get() {
                return;
            }
        }
        panic!("commits are too small to need groups of chunks");
    });
}

/// Settings for the loopback interface, where tests can send.
pub fn loopback() -> Settings {
    run("ip", &["link", "set", "lo", "up"]);
    let interfaces = vec![InterfacePattern::new("lo").unwrap()];
    Settings {
        interfaces,
        ..Settings::default()
    }
}

/// A rule that counts UDP to a port of 127.0.0.1 and goes on.
pub fn counting(id: u64, port: &str) -> Arc<Rule> {
    let matches = Match {
        destination: prefix("127.0.0.1/32"),
        protocol: set("17"),
        destination_port: set(port),
        ..Match::default()
    };
    let action = Action {
        continue_evaluation: true,
        ..Action::default()
    };
    Arc::new(Rule {
        action,
        ..rule(id, Family::Ipv4, matches)
    })
}

/// Sends datagrams of 100 octets to a port of 127.0.0.1.
pub fn send(port: u16, count: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..count {
        // An error tells of an earlier datagram that nobody received.
        let _ = socket.send_to(&[0; 72], ("127.0.0.1", port));
    }
}

/// Packets that a rule has counted.
pub fn counter(backend: &mut Nftables, id: u64) -> Option<Counter> {
    let counters = backend.counters().unwrap();
    counters
        .into_iter()
        .find(|(rule, _)| rule.0 == id)
        .map(|(_, counter)| counter)
}

#[test]
fn counters_survive_commits_that_do_not_name_the_rule() {
    in_namespace(|| {
        let settings = loopback();
        let mut backend = Nftables::new();
        backend.start(&settings, &[]).unwrap();
        commit(&mut backend, &[counting(1, "1001"), counting(3, "1003")]);
        send(1001, 7);
        assert_eq!(
            counter(&mut backend, 1),
            Some(Counter {
                packets: 7,
                bytes: 700
            })
        );
        // The chunk is rewritten, everything is rewritten, and the frame is.
        commit(&mut backend, &[counting(2, "1002")]);
        let sample = Sample {
            one_in: 3,
            ..Sample::default()
        };
        let settings = Settings {
            sample,
            guards: named_interfaces().guards,
            ..settings
        };
        backend.reconfigure(&settings, &[]).unwrap();
        send(1001, 1);
        send(1003, 2);
        assert_eq!(
            counter(&mut backend, 1),
            Some(Counter {
                packets: 8,
                bytes: 800
            })
        );
        assert_eq!(
            counter(&mut backend, 3).map(|counter| counter.packets),
            Some(2)
        );
        // The same id with another action goes on, another id begins anew.
        let mut changed = Rule::clone(&counting(1, "1001"));
        changed.action.discard = true;
        commit(&mut backend, &[Arc::new(changed)]);
        assert_eq!(
            counter(&mut backend, 1).map(|counter| counter.packets),
            Some(8)
        );
        let mut replaced = Rule::clone(&counting(9, "1001"));
        replaced.order = 1u64.to_be_bytes().into();
        replaced.tier = replaced.order.clone();
        commit(&mut backend, &[Arc::new(replaced)]);
        assert_eq!(counter(&mut backend, 1), None);
        assert_eq!(counter(&mut backend, 9), Some(Counter::default()));
    });
}

#[test]
fn packets_of_a_rule_with_alternatives_are_counted_once() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&loopback(), &[]).unwrap();
        let mut either = Rule::clone(&counting(1, "0"));
        either.matches.destination_port = None;
        either.matches.rare.port = set("1000-65535");
        commit(&mut backend, &[Arc::new(either)]);
        send(1001, 5);
        assert_eq!(
            counter(&mut backend, 1).map(|counter| counter.packets),
            Some(5)
        );
    });
}

#[test]
fn limits_keep_their_bucket_unless_the_rate_changes() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&Settings::default(), &[]).unwrap();
        let limited = |rate| {
            let limits = vec![
                limit(LimitUnit::Bytes, rate),
                limit(LimitUnit::Packets, 10.0),
            ];
            let action = Action {
                limits,
                ..Action::default()
            };
            Arc::new(Rule {
                action,
                ..Rule::clone(&counting(1, "53"))
            })
        };
        let names = |listing: &str| -> Vec<String> {
            let limits = listing
                .lines()
                .filter_map(|line| line.strip_prefix("\tlimit "));
            limits
                .map(|line| line.trim_end_matches(" {").to_string())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        };
        let rows = [
            (1e6, vec!["r1_bytes", "r1_packets"]),
            (1e6, vec!["r1_bytes", "r1_packets"]),
            (2e6, vec!["r1_bytes_2", "r1_packets"]),
            (1e6, vec!["r1_bytes_3", "r1_packets"]),
        ];
        for (rate, expected) in rows {
            commit(&mut backend, &[limited(rate), counting(2, "54")]);
            assert_eq!(names(&listing()), expected, "{rate}");
        }
        commit(&mut backend, &[counting(1, "53")]);
        assert_eq!(names(&listing()), Vec::<String>::new());
    });
}

#[test]
fn a_failing_commit_changes_nothing() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&Settings::default(), &[]).unwrap();
        commit(&mut backend, &[counting(1, "1"), counting(2, "2")]);
        let before = listing();
        // Two rules cannot share a counter.
        let twice = Rule {
            order: b"other".as_slice().into(),
            tier: b"other".as_slice().into(),
            ..Rule::clone(&counting(1, "4"))
        };
        let changes = Changes {
            put: vec![counting(3, "3"), Arc::new(twice)],
            remove: vec![(Family::Ipv4, 2u64.to_be_bytes().into())],
        };
        let refused = backend.commit(&changes);
        assert!(matches!(
            refused,
            Err(BackendError::Refused {
                rule: Some(RuleId(1)),
                ..
            })
        ));
        assert_eq!(listing(), before);
        // What is not at fault still goes in.
        commit(&mut backend, &[counting(3, "3")]);
        assert_eq!(met_ids(&listing(), "ipv4"), [1, 2, 3]);
    });
}

#[test]
fn what_others_put_in_the_way_is_cleared() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&loopback(), &[]).unwrap();
        commit(&mut backend, &[counting(1, "1001"), counting(2, "1002")]);
        send(1001, 3);
        let clean = listing();
        // Names that the next rules will need.
        for number in 3..20 {
            let set = format!("add set inet flowacl __set{number} {{ type ipv4_addr; }}");
            run("nft", &[&set]);
            let map = format!("add map inet flowacl ipv4-{number}-count {{ type mark : mark; }}");
            run("nft", &[&map]);
        }
        let matches = Match {
            rare: RareFields {
                packet_length: set("100,200,300,400,500,600"),
                ..RareFields::default()
            }
            .into(),
            ..Match::default()
        };
        let listed = Arc::new(Rule {
            matches,
            ..Rule::clone(&counting(4, "4"))
        });
        commit(&mut backend, &[counting(3, "3"), listed]);
        assert_eq!(met_ids(&listing(), "ipv4"), [1, 2, 3, 4]);
        assert!(!listing().contains(": mark"), "{}", listing());
        assert_eq!(
            counter(&mut backend, 1).map(|counter| counter.packets),
            Some(3)
        );
        let gone = [3u64, 4].map(|id| (Family::Ipv4, id.to_be_bytes().into()));
        let remove = Changes {
            put: Vec::new(),
            remove: gone.to_vec(),
        };
        backend.commit(&remove).unwrap();
        let shape = |listing: &str| listing.lines().count();
        assert_eq!(shape(&listing()), shape(&clean));
    });
}

#[test]
fn a_rule_may_move_to_another_key_with_its_counter() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&loopback(), &[]).unwrap();
        commit(&mut backend, &[counting(1, "1001"), counting(2, "1002")]);
        send(1001, 3);
        let moved = Rule {
            order: 5u64.to_be_bytes().into(),
            tier: 5u64.to_be_bytes().into(),
            ..Rule::clone(&counting(1, "1001"))
        };
        let changes = Changes {
            put: vec![Arc::new(moved)],
            remove: vec![(Family::Ipv4, 1u64.to_be_bytes().into())],
        };
        backend.commit(&changes).unwrap();
        assert_eq!(met_ids(&listing(), "ipv4"), [1, 2]);
        assert_eq!(
            counter(&mut backend, 1).map(|counter| counter.packets),
            Some(3)
        );
    });
}

#[test]
fn other_tables_are_left_alone_and_ours_is_taken_over() {
    in_namespace(|| {
        run(
            "nft",
            &[
                "add table inet other; add chain inet other flowacl; add rule inet other flowacl drop",
            ],
        );
        run(
            "nft",
            &[
                "add table inet flowacl; add chain inet flowacl old; add rule inet flowacl old accept",
            ],
        );
        let other = run("nft", &["list", "table", "inet", "other"]);
        let mut backend = Nftables::new();
        backend.start(&Settings::default(), &[]).unwrap();
        commit(&mut backend, &[counting(1, "1")]);
        assert!(!listing().contains("chain old"), "{}", listing());
        backend.stop().unwrap();
        assert_eq!(run("nft", &["list", "ruleset"]), other);
    });
}

#[test]
fn a_table_that_others_change_is_restored() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&Settings::default(), &[]).unwrap();
        commit(&mut backend, &[counting(1, "1"), counting(2, "2")]);
        let before = listing();
        run("nft", &["flush", "ruleset"]);
        assert_eq!(backend.counters().unwrap(), [], "lost with the table");
        assert_eq!(listing(), before, "restored when the loss is seen");
        run("nft", &["flush", "ruleset"]);
        commit(&mut backend, &[counting(3, "3")]);
        assert_eq!(
            met_ids(&listing(), "ipv4"),
            [1, 2, 3],
            "restored by the next commit"
        );
        // A foreign rule keeps the counter in use, so that the kernel cannot delete it.
        run(
            "nft",
            &[
                "add",
                "rule",
                "inet",
                "flowacl",
                "prerouting",
                "counter",
                "name",
                "r2",
            ],
        );
        let remove = vec![(Family::Ipv4, 2u64.to_be_bytes().into())];
        backend
            .commit(&Changes {
                put: Vec::new(),
                remove,
            })
            .unwrap();
        assert_eq!(met_ids(&listing(), "ipv4"), [1, 3]);
        assert!(
            !listing().contains("r2"),
            "the foreign rule is gone with what it held"
        );
        let restored = backend.describe().unwrap();
        assert!(
            restored
                .iter()
                .any(|(label, value)| label.contains("restored") && value == "3")
        );
    });
}

#[test]
fn interfaces_are_changed_without_touching_rules() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&Settings::default(), &[]).unwrap();
        commit(&mut backend, &[counting(1, "1")]);
        for link in switch().iter().filter(|link| link.name != "lo") {
            let peer = format!("peer{}", link.index);
            run(
                "ip",
                &[
                    "link", "add", &link.name, "type", "veth", "peer", "name", &peer,
                ],
            );
        }
        let links = switch();
        backend.reconfigure(&named_interfaces(), &links).unwrap();
        let both = listing();
        assert!(both.contains("devices = { swp1, swp2 }"), "{both}");
        let fewer: Vec<_> = links
            .into_iter()
            .filter(|link| link.name != "swp2")
            .collect();
        backend.reconfigure(&named_interfaces(), &fewer).unwrap();
        let one = listing();
        assert!(one.contains("swp1") && !one.contains("swp2"), "{one}");
        backend.reconfigure(&Settings::default(), &[]).unwrap();
        assert!(!listing().contains("ingress"), "{}", listing());
        assert_eq!(met_ids(&listing(), "ipv4"), [1]);
    });
}

#[test]
fn rules_that_merged_packets_would_deceive_come_with_a_warning() {
    in_namespace(|| {
        let link = |name: &str, index, merges_packets| Link {
            index,
            name: name.into(),
            kind: None,
            master: None,
            lower: None,
            addresses: Vec::new(),
            merges_packets,
        };
        let links = [
            link("lo", 1, true),
            link("eth0", 2, true),
            link("eth1", 3, false),
        ];
        let mut backend = Nftables::new();
        backend.start(&Settings::default(), &links).unwrap();
        commit(&mut backend, &[counting(1, "1")]);
        assert_eq!(
            backend.warnings(),
            [] as [String; 0],
            "ports do not depend on lengths"
        );

        let matches = Match {
            rare: RareFields {
                packet_length: set("100-200"),
                ..RareFields::default()
            }
            .into(),
            ..Match::default()
        };
        commit(&mut backend, &[Arc::new(rule(2, Family::Ipv4, matches))]);
        let warnings = backend.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let expected = "GRO or LRO is on for eth0: ";
        assert!(
            warnings[0].starts_with(expected),
            "neither lo nor eth1: {warnings:?}"
        );
        assert!(warnings[0].contains("rules concerned: 1"), "{warnings:?}");
        backend.stop().unwrap();
    });
}

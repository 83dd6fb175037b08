//! What happens to packets, seen by a table behind ours.

use std::sync::Arc;

use dataplane::backend::Backend;
use dataplane::desired::Changes;
use dataplane::nft::Nftables;
use dataplane::rule::*;

use crate::cases::limit;
use crate::commit;
use crate::commits::{counter, counting, loopback, send};
use crate::namespace::{in_namespace, listing, run};
use crate::rules::set;

/// Creates a table that counts datagrams to port 1001 behind ours: all, and those with these
/// conditions.
pub fn probe(conditions: &[&str]) {
    let mut table =
        String::from("table ip probe { chain behind { type filter hook prerouting priority 0; ");
    for condition in conditions {
        table.push_str(&format!("udp dport 1001 {condition} counter; "));
    }
    run("nft", &[&format!("{table}}}; }}")]);
}

/// Packets that each rule of the probe has counted.
pub fn probed() -> Vec<u64> {
    let listing = run("nft", &["list", "table", "ip", "probe"]);
    let counts = listing
        .lines()
        .filter_map(|line| line.split_once("counter packets "));
    counts
        .map(|(_, rest)| rest.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

/// The counting rule of an id with another action.
pub fn acting(id: u64, action: Action) -> Arc<Rule> {
    Arc::new(Rule {
        action,
        ..Rule::clone(&counting(id, "1001"))
    })
}

#[test]
fn the_first_mark_wins_and_is_written_after_all_matching() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&loopback(), &[]).unwrap();
        probe(&["", "ip dscp 10 meta mark 0", "ip dscp 12 meta mark 0"]);
        let first = Action {
            mark_dscp: Some(10),
            continue_evaluation: true,
            ..Action::default()
        };
        let second = Action {
            mark_dscp: Some(12),
            ..Action::default()
        };
        let mut unmarked = Rule::clone(&acting(2, second));
        unmarked.matches.rare.dscp = set("0");
        commit(&mut backend, &[acting(1, first), Arc::new(unmarked)]);
        send(1001, 5);
        assert_eq!(probed(), [5, 5, 0]);
        assert_eq!(
            counter(&mut backend, 2).unwrap().packets,
            5,
            "matches the packet as it came"
        );
        let remove = vec![(Family::Ipv4, 1u64.to_be_bytes().into())];
        backend
            .commit(&Changes {
                put: Vec::new(),
                remove,
            })
            .unwrap();
        send(1001, 3);
        assert_eq!(probed(), [8, 5, 3], "written by the rule itself");
    });
}

#[test]
fn a_rule_over_its_limit_drops_and_counts() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&loopback(), &[]).unwrap();
        probe(&[""]);
        let limits = vec![limit(LimitUnit::Packets, 1e-5)];
        let mut either = Rule::clone(&acting(
            1,
            Action {
                limits,
                ..Action::default()
            },
        ));
        either.matches.destination_port = None;
        either.matches.rare.port = set("1001");
        commit(&mut backend, &[Arc::new(either)]);
        send(1001, 20);
        assert_eq!(probed(), [5], "the bucket holds five");
        assert_eq!(counter(&mut backend, 1).unwrap().packets, 20);
        // Another commit does not fill the bucket again.
        commit(&mut backend, &[counting(2, "1002")]);
        send(1001, 20);
        assert_eq!(probed(), [5]);
    });
}

#[test]
fn a_rule_that_decides_hides_later_ones_and_discard_drops() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&loopback(), &[]).unwrap();
        probe(&[""]);
        let discard = Action {
            discard: true,
            ..Action::default()
        };
        commit(
            &mut backend,
            &[acting(1, Action::default()), acting(2, discard.clone())],
        );
        send(1001, 4);
        assert_eq!(probed(), [4]);
        assert_eq!(counter(&mut backend, 2).unwrap().packets, 0);
        commit(&mut backend, &[acting(1, discard)]);
        send(1001, 4);
        assert_eq!(probed(), [4]);
        assert_eq!(counter(&mut backend, 1).unwrap().packets, 8);
        backend.stop().unwrap();
        send(1001, 4);
        assert_eq!(probed(), [8]);
    });
}

/// What operators read beside a rule of this number.
struct Line(u64, &'static str);

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "flow {} then {}", self.0, self.1)
    }
}

impl Background for Line {
    fn subject(&self) -> String {
        format!("flow {}", self.0)
    }
}

#[test]
fn comments_say_what_a_rule_does_now_and_counts_go_on() {
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend.start(&loopback(), &[]).unwrap();
        let unlimited = limit(LimitUnit::Packets, 1e6);
        let slow = limit(LimitUnit::Packets, 1e3);
        let limited = |limit: &Limit, mark_dscp| Action {
            limits: vec![*limit],
            mark_dscp,
            ..Action::default()
        };
        let rows = [
            ("accept", Action::default()),
            ("rate-limit 1e6", limited(&unlimited, None)),
            ("rate-limit 1e6, mark 10", limited(&unlimited, Some(10))),
            ("rate-limit 1e3, mark 10", limited(&slow, Some(10))),
            ("accept again", Action::default()),
        ];
        for (number, (words, action)) in (1..).zip(rows) {
            // One rule is found by hash, the other stands in a list.
            let hashed = Rule {
                label: Label::new(Line(1, words)),
                ..Rule::clone(&acting(1, action.clone()))
            };
            let mut listed = Rule {
                label: Label::new(Line(2, words)),
                ..Rule::clone(&acting(2, action))
            };
            listed.matches.destination_port = set("1002-1003");
            commit(&mut backend, &[Arc::new(hashed), Arc::new(listed)]);
            send(1001, 2);
            send(1002, 2);
            let counts = [1, 2].map(|id| counter(&mut backend, id).unwrap().packets);
            assert_eq!(counts, [2 * number; 2], "{words}");

            let listing = listing();
            let comments = listing.split("comment \"").skip(1);
            let comments: Vec<&str> = comments.filter_map(|rest| rest.split('"').next()).collect();
            for id in [1, 2] {
                let now = Line(id, words).to_string();
                let subject = format!("flow {id}");
                let of_rule = comments.iter().filter(|text| text.starts_with(&subject));
                let (subjects, lines): (Vec<&str>, Vec<&str>) =
                    of_rule.partition(|text| **text == subject);
                assert!(!subjects.is_empty() && !lines.is_empty(), "{listing}");
                assert!(lines.iter().all(|line| *line == now), "{now}: {lines:?}");
            }
        }
    });
}

//! What happens to packets, seen by a table behind ours.

use std::sync::Arc;

use dataplane::backend::Backend;
use dataplane::desired::Changes;
use dataplane::nft::Nftables;
use dataplane::rule::*;

use crate::cases::limit;
use crate::commit;
use crate::commits::{counter, counting, loopback, send};
use crate::namespace::{in_namespace, run};
use crate::rules::set;

/// Creates a table that counts datagrams to port 1001 behind ours: all, and those with these
/// conditions.
fn probe(conditions: &[&str]) {
    let mut table =
        String::from("table ip probe { chain behind { type filter hook prerouting priority 0; ");
    for condition in conditions {
        table.push_str(&format!("udp dport 1001 {condition} counter; "));
    }
    run("nft", &[&format!("{table}}}; }}")]);
}

/// Packets that each rule of the probe has counted.
fn probed() -> Vec<u64> {
    let listing = run("nft", &["list", "table", "ip", "probe"]);
    let counts = listing
        .lines()
        .filter_map(|line| line.split_once("counter packets "));
    counts
        .map(|(_, rest)| rest.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

/// The counting rule of an id with another action.
fn acting(id: u64, action: Action) -> Arc<Rule> {
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

//! Controllers that flap, or that agree with others: the kernel is not touched for what stays the same.

use std::net::Ipv4Addr;
use std::time::Instant;

use flowacl::flowspec::text::Flow;
use flowacl::lab::Passed;
use flowacl::lab::packet::{Header, PacketBuilder};
use serde_json::Value;

use crate::controller::{Controller, flow};
use crate::from_environment;
use crate::router::Router;
use crate::storm::commits;
use crate::waiting::eventually;

/// How long the rules of a lost controller stay.
const RESTART_SECS: u16 = 60;

/// What all controllers announce: one rule that drops, and one that limits.
fn flows() -> [Flow; 2] {
    [
        flow("destination 203.0.113.5/32; protocol =udp;", "discard;"),
        flow("destination 203.0.113.6/32;", "rate-limit 1000000000;"),
    ]
}

/// A rule that nothing else is about: its commit shows that there was none before.
fn marker() -> Flow {
    flow("destination 203.0.113.77/32;", "discard;")
}

/// Packets that must be dropped, and how many were.
struct Probes {
    router: Router,
    dropped: u64,
}

impl Probes {
    /// Sends one packet to each of the hosts of the rules; true when the first did not come through.
    fn is_dropped(&mut self) -> bool {
        let packets = ["203.0.113.5", "203.0.113.6"].map(|host| {
            PacketBuilder::new(Header::between("198.51.100.7", host))
                .udp(1000, 53, b"probe")
                .build()
        });
        let fates = self.router.pass(&packets);
        assert_ne!(fates[1], Passed::Dropped, "far below the limit");
        fates[0] == Passed::Dropped
    }

    /// One more of them.
    fn probe(&mut self, when: &str) {
        assert!(self.is_dropped(), "{when}, after {} packets", self.dropped);
        self.dropped += 1;
    }

    /// Waits until the routes have these states.
    fn has_states(&self, wanted: &[&str]) {
        eventually("the states of the routes", || {
            let rules = self.router.show("rules")?;
            let rules = rules["rules"].as_array().into_iter().flatten();
            let mut states: Vec<&str> = rules.filter_map(|rule| rule["state"].as_str()).collect();
            states.sort_unstable();
            match states == wanted {
                true => Ok(()),
                false => Err(format!("{states:?}\n{}", self.router.log())),
            }
        });
    }

    /// Waits until commits are in the log, and says how many.
    fn commits_after(&self, before: u64) -> u64 {
        eventually("a commit is logged", || match commits(&self.router) {
            commits if commits > before => Ok(commits),
            commits => Err(commits.to_string()),
        })
    }

    /// The rules have counted all packets.
    fn counted_all(&self) {
        let counters = self.router.counters().unwrap();
        let counted = counters
            .values()
            .filter(|packets| **packets == self.dropped);
        assert_eq!(counted.count(), 2, "{counters:?} after {}", self.dropped);
    }
}

#[test]
fn a_controller_that_flaps_costs_no_commit() {
    let Some(router) = Router::start(true) else {
        return;
    };
    let mut probes = Probes { router, dropped: 0 };
    let connect = |probes: &Probes| {
        let namespace = probes.router.namespace();
        let mut controller = namespace
            .run(|| Controller::connect_again(RESTART_SECS))
            .unwrap();
        controller.announce(&flows()[..1]).unwrap();
        controller.announce(&flows()[1..]).unwrap();
        controller.end_of_rib().unwrap();
        controller
    };
    let mut controller = connect(&probes);
    probes.has_states(&["installed"; 2]);
    let before = probes.commits_after(0);
    let table = probes.router.table().unwrap();
    let flaps = from_environment("FLOWACL_FLAPS", 100);
    for flap in 0..flaps {
        drop(controller);
        probes.probe(&format!("flap {flap}, no controller"));
        controller = connect(&probes);
        probes.probe(&format!("flap {flap}, the controller is back"));
        // What has not been resent before the next flap would go.
        probes.has_states(&["installed"; 2]);
    }
    assert_eq!(probes.router.table().unwrap(), table);
    probes.counted_all();
    let neighbor = &probes.router.show("neighbors").unwrap()["neighbors"][0];
    assert_eq!(neighbor["ups"], Value::from(flaps + 1));
    controller.announce(&[marker()]).unwrap();
    assert_eq!(
        probes.commits_after(before),
        before + 1,
        "{}",
        probes.router.log()
    );
}

#[test]
fn a_rule_of_two_controllers_stays_until_the_last_withdraws_it() {
    let Some(mut router) = Router::start(true) else {
        return;
    };
    router.configure("address = \"127.0.0.1\"", "address = \"127.0.0.0/8\"");
    router.stop_daemon();
    router.start_daemon();
    eventually("the daemon answers", || router.show("summary"));
    let mut probes = Probes { router, dropped: 0 };
    let connect = |last: u8| {
        let from = Ipv4Addr::new(127, 0, 0, last);
        let namespace = probes.router.namespace();
        let mut controller = namespace
            .run(move || Controller::connect_from(from))
            .unwrap();
        controller.announce(&flows()[..1]).unwrap();
        controller.announce(&flows()[1..]).unwrap();
        controller
    };
    let mut first = connect(2);
    probes.has_states(&["installed"; 2]);
    let before = probes.commits_after(0);
    let mut second = connect(3);
    probes.has_states(&["installed", "installed", "shadowed", "shadowed"]);
    probes.probe("both announce it");
    let table = probes.router.table().unwrap();

    first.withdraw(&flows()).unwrap();
    eventually("the withdrawal is heard", || {
        probes.probe("the first has withdrawn it");
        let rules = probes.router.show("rules")?;
        let rules = rules["rules"].as_array().into_iter().flatten();
        match rules.map(|rule| &rule["neighbor"]).collect::<Vec<_>>() {
            neighbors if neighbors == ["127.0.0.3"; 2] => Ok(()),
            neighbors => Err(format!("{neighbors:?}")),
        }
    });
    probes.has_states(&["installed"; 2]);
    probes.probe("one is left");
    assert_eq!(probes.router.table().unwrap(), table);
    probes.counted_all();

    let start = Instant::now();
    second.withdraw(&flows()).unwrap();
    eventually("the packets pass", || match probes.is_dropped() {
        true => Err(probes.router.log()),
        false => Ok(()),
    });
    println!("gone after {} ms", start.elapsed().as_millis());
    probes.has_states(&[]);
    // Only this was a commit.
    assert_eq!(
        probes.commits_after(before),
        before + 1,
        "{}",
        probes.router.log()
    );
}

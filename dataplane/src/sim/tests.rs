use super::*;
use crate::interval::IntervalSet;
use crate::rule::{AddressPattern, Limit, LimitUnit, Match, RoutingInstance};
use crate::rule::{RareActions, SourceLimit};

/// A rule at the place `order` whose id is the place.
fn rule(order: u8, text: &str, action: Action) -> Arc<Rule> {
    let packet = Packet::from_text(text).unwrap();
    Arc::new(Rule {
        id: RuleId(u64::from(order)),
        family: packet.family,
        order: [order].into(),
        tier: [order].into(),
        label: text.into(),
        matches: Match {
            destination_port: packet
                .destination_port
                .map(|port| IntervalSet::single(port.into())),
            ..Match::default()
        },
        action,
    })
}

fn to_port(port: u16) -> Packet {
    Packet::from_text(&format!("udp 192.0.2.1:9 > 192.0.2.2:{port} len 100")).unwrap()
}

fn started(rules: Vec<Arc<Rule>>) -> Sim {
    let mut sim = Sim::new();
    sim.start(&Settings::default(), &[]).unwrap();
    put(&mut sim, rules).unwrap();
    sim
}

fn put(sim: &mut Sim, put: Vec<Arc<Rule>>) -> Result<(), BackendError> {
    sim.commit(&Changes {
        put,
        remove: Vec::new(),
    })
}

fn discard() -> Action {
    Action {
        discard: true,
        ..Action::default()
    }
}

fn go_on(action: Action) -> Action {
    Action {
        continue_evaluation: true,
        ..action
    }
}

fn mark(dscp: u8) -> Action {
    Action {
        mark_dscp: Some(dscp),
        ..Action::default()
    }
}

const ANY_V4: &str = "proto 47 192.0.2.1 > 192.0.2.2";
const TO_53: &str = "udp 192.0.2.1:9 > 192.0.2.2:53";

#[test]
fn rules_act_in_order_until_one_decides() {
    let sample = Action {
        sample: true,
        ..Action::default()
    };
    // Rules 1 and 2 look at port 53, rule 3 at every packet. What is expected: passed, DSCP, matching rules.
    let rows = [
        (
            "accept hides what follows",
            Action::default(),
            mark(9),
            discard(),
            (true, 0, vec![1]),
        ),
        (
            "discard ends",
            go_on(mark(7)),
            discard(),
            mark(9),
            (false, 0, vec![1, 2]),
        ),
        (
            "continue goes on",
            go_on(Action::default()),
            mark(9),
            discard(),
            (true, 9, vec![1, 2]),
        ),
        (
            "the first mark wins",
            go_on(mark(7)),
            go_on(mark(8)),
            mark(9),
            (true, 7, vec![1, 2, 3]),
        ),
        (
            "past the last rule",
            go_on(mark(7)),
            go_on(sample.clone()),
            go_on(mark(1)),
            (true, 7, vec![1, 2, 3]),
        ),
        (
            "discard ignores the T bit",
            go_on(discard()),
            mark(1),
            mark(1),
            (false, 0, vec![1]),
        ),
    ];
    for (name, first, second, third, (passed, dscp, matched)) in rows {
        let mut sim = started(vec![
            rule(3, ANY_V4, third),
            rule(1, TO_53, first),
            rule(2, TO_53, second),
        ]);
        let verdict = sim.forward(Duration::ZERO, &to_port(53), 100);
        let matched: Vec<_> = matched.into_iter().map(RuleId).collect();
        assert_eq!(
            (verdict.passed, verdict.matched.clone()),
            (passed, matched.clone()),
            "{name}"
        );
        if passed {
            assert_eq!(verdict.dscp, dscp, "{name}");
        }
        for (id, counter) in sim.counters().unwrap() {
            let packets = u64::from(matched.contains(&id));
            let bytes = packets * 100;
            assert_eq!(counter, Counter { packets, bytes }, "{name}, {id}");
        }
    }
}

#[test]
fn families_are_apart() {
    let mut sim = started(vec![rule(1, "proto 47 ::1 > ::2", discard())]);
    assert!(sim.forward(Duration::ZERO, &to_port(53), 100).passed);
}

#[test]
fn samples_are_taken_at_the_configured_ratio() {
    let sample = Action {
        sample: true,
        ..discard()
    };
    let mut sim = started(vec![rule(1, ANY_V4, sample)]);
    let mut settings = Settings::default();
    settings.sample.one_in = 10;
    sim.reconfigure(&settings, &[]).unwrap();
    let verdicts = (0..100).map(|_| sim.forward(Duration::ZERO, &to_port(1), 100));
    let sampled = verdicts.filter(|verdict| verdict.sampled_by == [RuleId(1)]);
    assert_eq!(sampled.count(), 10);
}

#[test]
fn limits_hold_in_the_long_run() {
    let rows = [
        (LimitUnit::Bytes, 100_000.0, 1000, 100.0),
        (LimitUnit::Packets, 50.0, 1000, 50.0),
    ];
    for (unit, rate_per_sec, length, expected_per_sec) in rows {
        let action = Action {
            limits: vec![Limit { unit, rate_per_sec }],
            ..Action::default()
        };
        let mut sim = started(vec![rule(1, ANY_V4, action)]);
        // 500 packets a second, once the bucket is empty.
        let at = |index: u64| Duration::from_millis(index * 2);
        let passed = (0..50_000)
            .filter(|index| {
                sim.forward(at(*index), &to_port(1), length).passed && at(*index).as_secs() >= 10
            })
            .count();
        let error = passed as f64 / 90.0 / expected_per_sec - 1.0;
        assert!(error.abs() < 0.01, "{unit:?}: {passed} passed");
    }
}

#[test]
fn guards_come_before_rules() {
    let local = Packet::from_text("tcp 192.0.2.9:1 > 192.0.2.2:1")
        .unwrap()
        .destination;
    let mut sim = started(vec![rule(1, ANY_V4, discard())]);
    let settings = Settings {
        guards: vec![Guard::session(
            Family::Ipv4,
            AddressPattern::new(0xc000_0200 << 96, 0, 24),
            179,
            "BGP",
        )],
        ..Settings::default()
    };
    let link = Link {
        addresses: vec![(Family::Ipv4, local)],
        ..Link::default()
    };
    sim.reconfigure(&settings, &[link]).unwrap();
    let rows = [
        ("to the port", "tcp 192.0.2.9:5000 > 192.0.2.2:179", true),
        ("from the port", "tcp 192.0.2.9:179 > 192.0.2.2:5000", true),
        ("another port", "tcp 192.0.2.9:5000 > 192.0.2.2:180", false),
        (
            "another remote",
            "tcp 198.51.100.9:5000 > 192.0.2.2:179",
            false,
        ),
        (
            "through this machine",
            "tcp 192.0.2.9:5000 > 192.0.2.3:179",
            false,
        ),
        ("UDP", "udp 192.0.2.9:5000 > 192.0.2.2:179", false),
        (
            "a later fragment",
            "proto 6 192.0.2.9 > 192.0.2.2 frag last",
            true,
        ),
    ];
    for (name, text, passed) in rows {
        let packet = Packet::from_text(text).unwrap();
        assert_eq!(
            sim.forward(Duration::ZERO, &packet, 40).passed,
            passed,
            "{name}"
        );
    }
}

#[test]
fn commits_keep_the_state_of_what_they_do_not_change() {
    let mut sim = started(vec![
        rule(1, TO_53, go_on(Action::default())),
        rule(2, ANY_V4, discard()),
    ]);
    sim.forward(Duration::ZERO, &to_port(53), 100);
    let mut moved = (*rule(1, TO_53, discard())).clone();
    moved.order = [9].into();
    let changes = Changes {
        put: vec![Arc::new(moved), rule(5, TO_53, discard())],
        remove: vec![(Family::Ipv4, [1].into()), (Family::Ipv4, [7].into())],
    };
    sim.commit(&changes).unwrap();
    let packets: Vec<_> = sim
        .counters()
        .unwrap()
        .iter()
        .map(|(id, counter)| (id.0, counter.packets))
        .collect();
    assert_eq!(packets, [(2, 1), (5, 0), (1, 1)]);
}

#[test]
fn a_refused_commit_changes_nothing() {
    let mut sim = started(vec![rule(1, TO_53, discard())]);
    let mut twin = (*rule(1, TO_53, discard())).clone();
    twin.order = [2].into();
    let refused = put(&mut sim, vec![rule(3, ANY_V4, discard()), Arc::new(twin)]);
    assert!(matches!(
        refused,
        Err(BackendError::Refused {
            rule: Some(RuleId(1)),
            ..
        })
    ));
    assert_eq!(sim.counters().unwrap().len(), 1);
    sim.stop().unwrap();
    assert!(matches!(
        put(&mut sim, vec![]),
        Err(BackendError::Unavailable(_))
    ));
}

#[test]
fn render_is_one_line_for_each_rule_in_order() {
    let limited = Action {
        limits: vec![Limit {
            unit: LimitUnit::Bytes,
            rate_per_sec: 1000.0,
        }],
        sample: true,
        ..go_on(mark(46))
    };
    let rules = [rule(2, ANY_V4, discard()), rule(1, TO_53, limited)];
    assert_eq!(
        Sim::new().render(&Settings::default(), &rules),
        "ipv4 r1: sample, limit 1000 bytes/s, mark dscp 46, continue # udp 192.0.2.1:9 > 192.0.2.2:53\n\
         ipv4 r2: discard # proto 47 192.0.2.1 > 192.0.2.2\n"
    );
}

#[test]
fn the_first_redirect_wins_unless_the_packet_is_dropped() {
    let to = |table| Action {
        rare: RareActions {
            redirect: Some(Route::Instance(RoutingInstance::Table(table)).into()),
            ..RareActions::default()
        }
        .into(),
        ..Action::default()
    };
    let rows = [
        ("none", Action::default(), discard(), None),
        ("one", to(1), discard(), Some(1)),
        ("the first", go_on(to(1)), to(2), Some(1)),
        ("the second", go_on(mark(7)), to(2), Some(2)),
        ("past the last rule", go_on(to(1)), go_on(mark(7)), Some(1)),
        ("discarded later", go_on(to(1)), discard(), None),
    ];
    for (name, first, second, table) in rows {
        let mut sim = started(vec![rule(1, TO_53, first), rule(2, TO_53, second)]);
        let verdict = sim.forward(Duration::ZERO, &to_port(53), 100);
        let expected = table.map(|table| Arc::new(Route::Instance(RoutingInstance::Table(table))));
        assert_eq!(verdict.redirect, expected, "{name}");
    }
}

/// Packets of 1,000 octets a source prefix of 24 bits, three sources at most; 10 packets a second for each.
fn ten_for_each_source() -> Action {
    Action {
        rare: RareActions {
            source_limits: vec![SourceLimit {
                limit: Limit {
                    unit: LimitUnit::Packets,
                    rate_per_sec: 10.0,
                },
                prefix_length: 24,
                max_sources: 3,
            }],
            ..RareActions::default()
        }
        .into(),
        ..Action::default()
    }
}

/// How many of so many packets from a source pass at once.
fn passed_from(sim: &mut Sim, now: Duration, source: &str, count: usize) -> usize {
    let packet = Packet::from_text(&format!("udp {source}:1 > 192.0.2.2:53")).unwrap();
    let passed = (0..count).filter(|_| sim.forward(now, &packet, 1000).passed);
    passed.count()
}

#[test]
fn each_source_has_a_bucket_and_those_without_room_share_one() {
    let mut sim = started(vec![rule(1, TO_53, ten_for_each_source())]);
    let at = Duration::from_millis;
    // Time in ms, source, packets sent, packets that pass.
    let rows = [
        ("a bucket of five", 0, "192.0.2.1", 9, 5),
        ("one prefix is one source", 0, "192.0.2.77", 9, 0),
        ("another source has its own", 0, "198.51.100.1", 9, 5),
        ("it fills again", 200, "192.0.2.1", 9, 2),
        ("the third", 200, "203.0.113.1", 2, 2),
        ("no room for the fourth", 200, "10.0.0.1", 9, 5),
        ("nor for the fifth, which shares", 200, "10.0.1.1", 9, 0),
        ("the third has what is its own", 200, "203.0.113.1", 9, 3),
        ("what is shared fills, too", 300, "10.0.2.1", 9, 1),
        (
            "the second would be full again: forgotten",
            500,
            "10.0.3.1",
            9,
            5,
        ),
        (
            "and comes back to what is shared",
            500,
            "198.51.100.1",
            9,
            2,
        ),
    ];
    for (name, milliseconds, source, sent, expected) in rows {
        let passed = passed_from(&mut sim, at(milliseconds), source, sent);
        assert_eq!(passed, expected, "{name}");
    }
}

#[test]
fn buckets_of_sources_stay_until_their_limit_changes() {
    let limited = rule(1, TO_53, ten_for_each_source());
    let mut sim = started(vec![limited.clone()]);
    let now = Duration::ZERO;
    assert_eq!(passed_from(&mut sim, now, "192.0.2.1", 9), 5);
    let commit = |sim: &mut Sim, action| {
        let changes = Changes {
            put: vec![rule(1, TO_53, action)],
            remove: Vec::new(),
        };
        sim.commit(&changes).unwrap();
    };
    commit(&mut sim, go_on(ten_for_each_source()));
    assert_eq!(
        passed_from(&mut sim, now, "192.0.2.1", 9),
        0,
        "another T bit"
    );
    let mut longer = ten_for_each_source();
    longer.rare.source_limits[0].prefix_length = 32;
    commit(&mut sim, longer);
    assert_eq!(
        passed_from(&mut sim, now, "192.0.2.1", 9),
        5,
        "another length"
    );
}

#[test]
fn what_a_source_has_too_much_is_not_charged_to_all() {
    let both = Action {
        limits: vec![Limit {
            unit: LimitUnit::Packets,
            rate_per_sec: 800.0,
        }],
        ..ten_for_each_source()
    };
    let mut sim = started(vec![rule(1, TO_53, both)]);
    let now = Duration::ZERO;
    assert_eq!(passed_from(&mut sim, now, "192.0.2.1", 100), 5);
    assert_eq!(
        passed_from(&mut sim, now, "198.51.100.1", 100),
        3,
        "8 for all"
    );
}

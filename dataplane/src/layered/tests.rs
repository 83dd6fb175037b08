use super::withheld::RELEASED;
use super::*;
use crate::interval::IntervalSet;
use crate::packet::Packet;
use crate::rule::{Action, Family, Limit, LimitUnit, Match, OrderKey, RareFields};
use crate::sim::Sim;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// A packet filter that the test can look into.
#[derive(Clone)]
struct Shared(Arc<Mutex<Small>>);

/// A `sim` with room for some rules, none of which looks at lengths.
struct Small {
    sim: Sim,
    room: usize,
    rules: Rules,
    /// How the next commits end: `None` stands for one that is carried out.
    faults: VecDeque<Option<BackendError>>,
    /// A rule with which every commit fails, without a word of it.
    poison: Option<RuleId>,
    /// A rule that does not go with other settings.
    settled: Option<RuleId>,
    /// Commits that were tried.
    commits: usize,
    /// Whether counters cannot be read.
    is_blind: bool,
    /// Whether it names all rules that it has no room for at once.
    names_all: bool,
    /// The most changes that it wants in one commit.
    commit_max: usize,
}

impl Shared {
    fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Small {
            sim: Sim::new(),
            room,
            rules: Rules::new(),
            faults: VecDeque::new(),
            poison: None,
            settled: None,
            commits: 0,
            is_blind: false,
            names_all: false,
            commit_max: usize::MAX,
        })))
    }

    /// The next commits end like this.
    fn fail(&self, faults: impl IntoIterator<Item = Option<BackendError>>) {
        self.0.lock().unwrap().faults.extend(faults);
    }

    /// All is in order again.
    fn repair(&self) {
        let mut small = self.0.lock().unwrap();
        small.faults.clear();
        small.poison = None;
    }

    /// Rules by id, and whether they limit or mark.
    fn limits(&self, id: u64) -> bool {
        let small = self.0.lock().unwrap();
        let rule = small.rules.values().find(|rule| rule.id.0 == id).unwrap();
        !rule.action.limits.is_empty()
    }

    /// True when it passes, and the DSCP that it passes with.
    fn forward(&self, packet: &Packet) -> (bool, u8) {
        let mut small = self.0.lock().unwrap();
        let verdict = small.sim.forward(Duration::ZERO, packet, 100);
        (verdict.passed, verdict.dscp)
    }

    fn ids(&self) -> Vec<u64> {
        self.0
            .lock()
            .unwrap()
            .rules
            .values()
            .map(|rule| rule.id.0)
            .collect()
    }
}

/// What a `Small` can express.
struct NoLengths {
    commit_max: usize,
}

impl Capability for NoLengths {
    fn check(&self, rule: &Rule) -> Result<(), Unsupported> {
        match &rule.matches.rare.packet_length {
            Some(_) => Err(Unsupported("packet-length".into())),
            None => Ok(()),
        }
    }

    fn commit_max(&self) -> usize {
        self.commit_max
    }
}

impl Backend for Shared {
    fn name(&self) -> &'static str {
        "small"
    }
    fn capability(&self) -> Arc<dyn Capability> {
        let small = self.0.lock().unwrap();
        let commit_max = small.commit_max;
        match small.room {
            usize::MAX => Sim::new().capability(),
            _ => Arc::new(NoLengths { commit_max }),
        }
    }
    fn recover(&mut self) -> Result<Vec<Recovered>, BackendError> {
        self.0.lock().unwrap().sim.recover()
    }
    fn resume(
        &mut self,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
    ) -> Result<(), BackendError> {
        self.0.lock().unwrap().sim.resume(settings, links, &[])?;
        let put = rules.to_vec();
        self.commit(&Changes {
            put,
            remove: Vec::new(),
        })
    }
    fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        let mut small = self.0.lock().unwrap();
        let settled = small.rules.values().map(|rule| rule.id);
        if let Some(rule) = settled.into_iter().find(|id| Some(*id) == small.settled) {
            return Err(BackendError::NoRoom(vec![(rule, "full".into())]));
        }
        small.sim.reconfigure(settings, links)
    }
    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        let mut small = self.0.lock().unwrap();
        small.commits += 1;
        if let Some(Some(fault)) = small.faults.pop_front() {
            return Err(fault);
        }
        if changes.put.iter().any(|rule| Some(rule.id) == small.poison) {
            let reason = "something is wrong".into();
            return Err(BackendError::Refused { rule: None, reason });
        }
        let mut rules = small.rules.clone();
        for key in &changes.remove {
            rules.remove(key);
        }
        for rule in &changes.put {
            rules.insert((rule.family, rule.order.clone()), rule.clone());
        }
        if rules.len() > small.room {
            let mut newest: Vec<RuleId> = changes.put.iter().map(|rule| rule.id).collect();
            newest.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
            newest.truncate(match small.names_all {
                true => rules.len() - small.room,
                false => 1,
            });
            let named = newest.into_iter().map(|id| (id, "full".into()));
            return Err(BackendError::NoRoom(named.collect()));
        }
        small.sim.commit(changes)?;
        small.rules = rules;
        Ok(())
    }
    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
        let mut small = self.0.lock().unwrap();
        match small.is_blind {
            true => Err(unavailable("no answer")),
            false => small.sim.counters(),
        }
    }
    fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
        Ok(None)
    }
    fn render(&self, _: &Settings, _: &[Arc<Rule>]) -> String {
        String::new()
    }
    fn without_room(&self, _: &Settings, rules: &[Arc<Rule>]) -> Vec<(RuleId, String)> {
        let surplus = rules.iter().skip(self.0.lock().unwrap().room);
        surplus.map(|rule| (rule.id, "full".into())).collect()
    }
    fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError> {
        Ok(Vec::new())
    }
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
    fn stop(&mut self) -> Result<(), BackendError> {
        self.0.lock().unwrap().sim.stop()
    }
}

/// Rule `id`, in the order of the ids, for UDP to some ports.
fn rule(id: u64, ports: (u32, u32), long: bool, dscp: Option<u32>, action: Action) -> Arc<Rule> {
    let order = OrderKey::from(id.to_be_bytes());
    Arc::new(Rule {
        id: RuleId(id),
        family: Family::Ipv4,
        tier: order.clone(),
        order,
        label: "test".into(),
        matches: Match {
            protocol: Some(IntervalSet::single(17)),
            destination_port: Some(IntervalSet::from_ranges([ports])),
            rare: RareFields {
                packet_length: long.then(|| IntervalSet::from_ranges([(0, 200)])),
                dscp: dscp.map(IntervalSet::single),
                ..RareFields::default()
            }
            .into(),
            ..Match::default()
        },
        action,
    })
}

fn discard() -> Action {
    Action {
        discard: true,
        ..Action::default()
    }
}

fn started(room: usize) -> (Layered, Shared, Shared) {
    let (hardware, software) = (Shared::new(room), Shared::new(usize::MAX));
    let mut layered = Layered::new(Box::new(hardware.clone()), Box::new(software.clone()));
    layered.start(&Settings::default(), &[]).unwrap();
    (layered, hardware, software)
}

fn put(layered: &mut Layered, rules: &[Arc<Rule>]) {
    let put = rules.to_vec();
    layered
        .commit(&Changes {
            put,
            remove: Vec::new(),
        })
        .unwrap();
}

fn remove(layered: &mut Layered, rule: &Rule) {
    let remove = vec![(rule.family, rule.order.clone())];
    layered
        .commit(&Changes {
            put: Vec::new(),
            remove,
        })
        .unwrap();
}

#[test]
fn what_hardware_refuses_and_what_comes_behind_is_in_software() {
    let (mut layered, hardware, software) = started(100);
    let long = rule(1, (50, 60), true, None, Action::default());
    let behind = rule(2, (55, 70), false, None, discard());
    let beside = rule(3, (71, 80), false, None, discard());
    put(&mut layered, &[long.clone(), behind, beside]);
    assert_eq!((hardware.ids(), software.ids()), (vec![3], vec![1, 2, 3]));
    let start = "only where packets reach the software, not in the hardware: ";
    let expected = [
        (RuleId(1), format!("{start}packet-length")),
        (
            RuleId(2),
            format!("{start}r1 comes before it, overlaps it and is not in the hardware"),
        ),
    ];
    assert_eq!(layered.impaired(), expected);
    remove(&mut layered, &long);
    assert_eq!((hardware.ids(), software.ids()), (vec![2, 3], vec![2, 3]));
    assert_eq!(layered.impaired(), []);
}

#[test]
fn what_has_no_room_in_software_has_none() {
    let (hardware, software) = (Shared::new(1), Shared::new(2));
    let layered = Layered::new(Box::new(hardware), Box::new(software));
    let rules: Vec<_> = (1..=3)
        .map(|id| rule(id, (id as u32, id as u32), false, None, discard()))
        .collect();
    let refused = layered.without_room(&Settings::default(), &rules);
    assert_eq!(refused, [(RuleId(3), "full".into())]);
}

#[test]
fn what_finds_no_room_waits_in_software() {
    let (mut layered, hardware, software) = started(2);
    let rules: Vec<_> = (1..=4)
        .map(|id| rule(id, (id as u32, id as u32), false, None, discard()))
        .collect();
    put(&mut layered, &rules);
    assert_eq!(
        (hardware.ids(), software.ids()),
        (vec![1, 2], vec![1, 2, 3, 4])
    );
    remove(&mut layered, &rules[0]);
    assert_eq!(
        (hardware.ids(), software.ids()),
        (vec![2, 3], vec![2, 3, 4])
    );
}

#[test]
fn a_rule_that_goes_does_not_have_all_others_tried_again() {
    let (mut layered, hardware, _) = started(10);
    let rules = one_port_each(1..=200);
    // One after the other, as each attempt names one.
    for rule in &rules {
        put(&mut layered, std::slice::from_ref(rule));
    }
    assert_eq!(hardware.ids(), (1..=10).collect::<Vec<_>>());
    let commits = || hardware.0.lock().unwrap().commits;
    let before = commits();
    remove(&mut layered, &rules[0]);
    assert_eq!(
        hardware.ids(),
        (2..=11).collect::<Vec<_>>(),
        "the oldest comes in"
    );
    assert!(
        commits() - before <= 1 + RELEASED,
        "{} attempts",
        commits() - before
    );
    // When there is room for all of them they are in it soon.
    hardware.0.lock().unwrap().room = 1000;
    remove(&mut layered, &rules[1]);
    (0..10).for_each(|_| assert_eq!(layered.audit().unwrap(), None));
    assert_eq!(hardware.ids(), (3..=200).collect::<Vec<_>>());
    assert_eq!(layered.impaired(), []);
}

#[test]
fn of_rules_that_are_offered_again_those_come_in_that_fit() {
    // Full, with so many more that wait for room.
    let full = |names_all| {
        let (mut layered, hardware, software) = started(50);
        hardware.0.lock().unwrap().names_all = names_all;
        let rules = one_port_each(1..=240);
        put(&mut layered, &rules);
        assert_eq!(hardware.ids(), (1..=50).collect::<Vec<_>>());
        (layered, hardware, software, rules)
    };
    let remove_some = |layered: &mut Layered, rules: &[Arc<Rule>]| {
        let keys = rules.iter().map(|it| (it.family, it.order.clone()));
        let changes = Changes {
            put: Vec::new(),
            remove: keys.collect(),
        };
        layered.commit(&changes).unwrap();
    };
    for names_all in [true, false] {
        let (mut layered, hardware, _, rules) = full(names_all);
        // 32 come in at once, of the next 32 only 8 fit.
        remove_some(&mut layered, &rules[..40]);
        assert_eq!(hardware.ids(), (41..=82).collect::<Vec<_>>());
        layered.audit().unwrap();
        assert_eq!(hardware.ids(), (41..=90).collect::<Vec<_>>());
        let (id, reason) = layered.impaired().swap_remove(0);
        assert!(id.0 == 91 && reason.ends_with(": full"), "{id} {reason}");
    }
    // A failure of the other half in that moment keeps nobody out.
    let (mut layered, hardware, software, rules) = full(true);
    remove_some(&mut layered, &rules[..40]);
    software.fail([Some(unavailable("no memory"))]);
    (0..2).for_each(|_| drop(layered.audit()));
    assert_eq!(hardware.ids(), (41..=90).collect::<Vec<_>>());
}

#[test]
fn a_commit_that_fails_leaves_the_room_that_it_wanted_to_others() {
    let (mut layered, hardware, _) = started(2);
    layered.withheld = Withheld::new(1);
    put(&mut layered, &one_port_each(1..=4));
    hardware.0.lock().unwrap().room = 3;
    remove(&mut layered, &one_port_each(1..=1)[0]);
    assert_eq!(hardware.ids(), [2, 3], "one at a time");
    // There is no room for the fourth beside those of a commit that is not carried out.
    hardware.fail([
        None,
        Some(unavailable("no answer")),
        Some(unavailable("no answer")),
    ]);
    let second = &one_port_each(2..=2)[0];
    let changes = Changes {
        put: [0, 1]
            .map(|id| rule(id, (0, 0), false, None, discard()))
            .to_vec(),
        remove: vec![(second.family, second.order.clone())],
    };
    layered.commit(&changes).unwrap_err();
    (0..5).for_each(|_| drop(layered.audit()));
    assert_eq!(hardware.ids(), [2, 3, 4]);
}

#[test]
fn a_rule_that_makes_way_leaves_room_for_others() {
    let (mut layered, hardware, _) = started(2);
    put(&mut layered, &one_port_each(2..=4));
    assert_eq!(hardware.ids(), [2, 3]);
    // The hardware cannot say it, and it comes before one of those that it has.
    put(
        &mut layered,
        &[rule(1, (2, 2), true, None, Action::default())],
    );
    assert_eq!(hardware.ids(), [3]);
    layered.audit().unwrap();
    assert_eq!(hardware.ids(), [3, 4]);
}

#[test]
fn what_hardware_is_given_some_at_a_time_says_that_it_waits() {
    let (mut layered, hardware, _) = started(1);
    layered.withheld = Withheld::new(1);
    hardware.0.lock().unwrap().commit_max = 8;
    let first = one_port_each(60..=60).remove(0);
    let narrow = rule(61, (61, 61), false, None, discard());
    let broad = rule(62, (62, 200), false, None, discard());
    for rule in [&first, &narrow, &broad] {
        put(&mut layered, std::slice::from_ref(rule));
    }
    // All behind the broad one, for which there is no room.
    put(&mut layered, &one_port_each(101..=120));
    hardware.0.lock().unwrap().room = 100;
    remove(&mut layered, &first);
    assert_eq!(hardware.ids(), [61]);
    let mut outside = Vec::new();
    for _ in 0..3 {
        layered.audit().unwrap();
        let impaired = layered.impaired();
        let waits = "only where packets reach the software, not in the hardware: \
                     it waits while the hardware is given others, some at a time";
        assert!(impaired.iter().all(|(_, it)| it == waits), "{impaired:?}");
        outside.push(impaired.len());
    }
    assert_eq!(outside, [13, 5, 0]);
}

#[test]
fn limits_and_marks_happen_once() {
    let (mut layered, hardware, software) = started(10);
    let both = Action {
        limits: vec![Limit {
            unit: LimitUnit::Packets,
            rate_per_sec: 10.0,
        }],
        mark_dscp: Some(46),
        ..Action::default()
    };
    put(
        &mut layered,
        &[rule(1, (53, 53), false, None, both.clone())],
    );
    let action = |shared: &Shared| {
        shared
            .0
            .lock()
            .unwrap()
            .rules
            .values()
            .next()
            .unwrap()
            .action
            .clone()
    };
    assert_eq!(
        (action(&hardware), action(&software)),
        (both.clone(), Action::default())
    );
    // From now on somebody looks at what it changes.
    put(&mut layered, &[rule(2, (1, 9), false, Some(46), discard())]);
    assert_eq!((hardware.ids(), action(&software)), (vec![2], both));
}

fn unavailable(reason: &str) -> BackendError {
    BackendError::Unavailable(reason.into())
}

/// Rules that discard UDP to one port each.
fn one_port_each(ids: std::ops::RangeInclusive<u64>) -> Vec<Arc<Rule>> {
    ids.map(|id| rule(id, (id as u32, id as u32), false, None, discard()))
        .collect()
}

#[test]
fn hardware_that_fails_leaves_new_rules_to_the_software_and_is_asked_again() {
    let (mut layered, hardware, software) = started(100);
    put(&mut layered, &one_port_each(1..=1));
    hardware.fail([Some(unavailable("cl-acltool was killed"))]);
    put(&mut layered, &one_port_each(2..=2));
    assert_eq!((hardware.ids(), software.ids()), (vec![1], vec![1, 2]));
    let reason = "only where packets reach the software, not in the hardware: \
                  the hardware has failed and is asked again: cl-acltool was killed";
    assert_eq!(layered.impaired(), [(RuleId(2), reason.to_string())]);
    let warning = "rules wait for the hardware, which has failed and is asked again: \
                   cl-acltool was killed";
    assert_eq!(layered.warnings(), [warning]);
    // Nobody waits for hardware that does not answer.
    let commits = || hardware.0.lock().unwrap().commits;
    let before = commits();
    put(&mut layered, &one_port_each(3..=3));
    assert_eq!(commits(), before);
    // A withdrawal of what it has has to reach it, though.
    hardware.fail([Some(unavailable("cl-acltool was killed"))]);
    let first = &one_port_each(1..=1)[0];
    let gone = Changes {
        put: Vec::new(),
        remove: vec![(first.family, first.order.clone())],
    };
    let error = layered.commit(&gone).unwrap_err();
    assert!(matches!(error, BackendError::Unavailable(_)), "{error:?}");
    assert_eq!((hardware.ids(), software.ids()), (vec![1], vec![1, 2, 3]));
    layered.commit(&gone).unwrap();
    assert_eq!((hardware.ids(), software.ids()), (vec![], vec![2, 3]));
    // Asked again after a pause, and after a longer one when it fails again.
    hardware.fail([Some(unavailable("still"))]);
    let mut turns = 0;
    while hardware.ids() != [2, 3] {
        turns += 1;
        assert!(turns < 10);
        layered.audit().unwrap();
    }
    assert_eq!(
        turns, 5,
        "one of pause, a failure, two of pause, and it works"
    );
    assert_eq!((layered.impaired(), layered.warnings()), (vec![], vec![]));
}

#[test]
fn a_rule_that_hardware_refuses_without_a_name_is_found() {
    let (mut layered, hardware, software) = started(100);
    hardware.0.lock().unwrap().poison = Some(RuleId(6));
    put(&mut layered, &one_port_each(1..=9));
    assert_eq!(software.ids(), (1..=9).collect::<Vec<_>>());
    assert_eq!(hardware.ids(), [0; 0]);
    for _ in 0..12 {
        layered.audit().unwrap();
    }
    assert_eq!(hardware.ids(), [1, 2, 3, 4, 5, 7, 8, 9]);
    let reason = "only where packets reach the software, not in the hardware: something is wrong";
    assert_eq!(layered.impaired(), [(RuleId(6), reason.to_string())]);
    assert_eq!(layered.warnings(), [""; 0]);
}

#[test]
fn halves_that_disagree_are_noticed_and_put_right() {
    let (mut layered, hardware, software) = started(100);
    let rules = one_port_each(1..=2);
    put(&mut layered, &rules);
    let gone = Changes {
        put: Vec::new(),
        remove: vec![(rules[0].family, rules[0].order.clone())],
    };
    // The software lets it go, the hardware does not, and the software does not take it back.
    hardware.fail([Some(unavailable("no answer"))]);
    software.fail([None, Some(unavailable("no memory"))]);
    let error = layered.commit(&gone).unwrap_err();
    let expected = "no answer; nor does small go back to what it had before, \
                    which is tried again: no memory";
    assert!(matches!(&error, BackendError::Unavailable(reason) if reason == expected));
    assert_eq!((hardware.ids(), software.ids()), (vec![1, 2], vec![2]));
    let warning = "small is not what it shall be beside the hardware: no memory";
    assert_eq!(layered.warnings(), [warning]);
    // The next look fails, the one after it does not.
    software.fail([Some(unavailable("no memory"))]);
    assert!(layered.audit().is_err());
    assert_eq!(software.ids(), [2]);
    assert_eq!(layered.audit().unwrap(), None);
    assert_eq!((hardware.ids(), software.ids()), (vec![1, 2], vec![1, 2]));
    assert_eq!(layered.warnings(), [""; 0]);
    // A commit does so, too, before anything else.
    hardware.fail([Some(unavailable("no answer"))]);
    software.fail([None, Some(unavailable("no memory"))]);
    layered.commit(&gone).unwrap_err();
    software.fail([Some(unavailable("no memory"))]);
    layered.commit(&gone).unwrap_err();
    assert_eq!((hardware.ids(), software.ids()), (vec![1, 2], vec![2]));
    layered.commit(&gone).unwrap();
    assert_eq!((hardware.ids(), software.ids()), (vec![2], vec![2]));
}

#[test]
fn what_does_not_go_with_other_settings_leaves_the_hardware() {
    let (mut layered, hardware, software) = started(100);
    put(&mut layered, &one_port_each(1..=3));
    hardware.0.lock().unwrap().settled = Some(RuleId(2));
    layered.reconfigure(&Settings::default(), &[]).unwrap();
    assert_eq!(
        (hardware.ids(), software.ids()),
        (vec![1, 3], vec![1, 2, 3])
    );
    let reason = "only where packets reach the software, not in the hardware: full";
    assert_eq!(layered.impaired(), [(RuleId(2), reason.to_string())]);
}

#[test]
fn rules_of_an_earlier_process_are_taken_over_by_whatever_takes_them() {
    let resume = |room, faults: Vec<Option<BackendError>>| {
        let (hardware, software) = (Shared::new(room), Shared::new(usize::MAX));
        hardware.fail(faults);
        let mut layered = Layered::new(Box::new(hardware.clone()), Box::new(software.clone()));
        let result = layered.resume(&Settings::default(), &[], &one_port_each(1..=4));
        (layered, hardware, software, result)
    };
    let (_, hardware, software, result) = resume(2, vec![]);
    result.unwrap();
    assert_eq!(
        (hardware.ids(), software.ids()),
        (vec![1, 2], vec![1, 2, 3, 4])
    );
    // Without an answer at first, and then with none at all.
    let (mut layered, hardware, software, result) = resume(9, vec![Some(unavailable("busy"))]);
    result.unwrap();
    assert_eq!((hardware.ids(), software.ids()), (vec![], vec![1, 2, 3, 4]));
    (0..2).for_each(|_| assert_eq!(layered.audit().unwrap(), None));
    assert_eq!(
        (hardware.ids(), layered.warnings()),
        (vec![1, 2, 3, 4], vec![])
    );
    let (.., result) = resume(
        9,
        vec![Some(unavailable("busy")), Some(unavailable("gone"))],
    );
    assert!(matches!(result, Err(BackendError::Unavailable(reason)) if reason == "gone"));
}

#[test]
fn limits_are_in_one_half_at_least_at_every_moment() {
    let (mut layered, hardware, software) = started(1);
    let limited = |id: u64| {
        let limits = vec![Limit {
            unit: LimitUnit::Packets,
            rate_per_sec: 10.0,
        }];
        let action = Action {
            limits,
            ..Action::default()
        };
        rule(id, (id as u32, id as u32), false, None, action)
    };
    // The software was told to limit, the hardware has no room: the software goes on.
    put(&mut layered, &[limited(1), limited(2)]);
    assert_eq!(hardware.ids(), [1]);
    assert_eq!((software.limits(1), software.limits(2)), (false, true));
    // What cannot leave the limits out for now has both, and that is put right.
    remove(&mut layered, &limited(1));
    assert!(!software.limits(2));
    remove(&mut layered, &limited(2));
    software.fail([None, Some(unavailable("no memory"))]);
    put(&mut layered, &[limited(3)]);
    assert!(software.limits(3) && hardware.limits(3));
    layered.audit().unwrap();
    assert!(!software.limits(3) && hardware.limits(3));
}

/// How many packets each rule has counted.
fn packets(layered: &mut Layered) -> Vec<(u64, u64)> {
    let counters = layered.counters().unwrap();
    counters.iter().map(|(id, it)| (id.0, it.packets)).collect()
}

/// Has a packet to a port pass the hardware and, if it does, the software.
fn send(hardware: &Shared, software: &Shared, port: u16) {
    let packet = Packet {
        destination_port: Some(port),
        packet_length: Some(1000),
        ..Packet::from_text("udp 192.0.2.1:9 > 203.0.113.1:9").unwrap()
    };
    if hardware.forward(&packet).0 {
        software.forward(&packet);
    }
}

#[test]
fn rules_that_move_go_on_counting() {
    let (mut layered, hardware, software) = started(1);
    let rules = one_port_each(1..=2);
    put(&mut layered, &rules);
    let send = |port| send(&hardware, &software, port);
    (0..3).for_each(|_| send(1));
    (0..5).for_each(|_| send(2));
    assert_eq!(packets(&mut layered), [(1, 3), (2, 5)]);
    // The second moves into the hardware, and out again when there is less room.
    remove(&mut layered, &rules[0]);
    assert_eq!(
        (hardware.ids(), packets(&mut layered)),
        (vec![2], vec![(2, 5)])
    );
    (0..4).for_each(|_| send(2));
    assert_eq!(packets(&mut layered), [(2, 9)]);
    // One that has come by another way.
    let packet = Packet::from_text("udp 192.0.2.1:9 > 203.0.113.1:2 len 1000").unwrap();
    assert!(!software.forward(&packet).0);
    assert_eq!(packets(&mut layered), [(2, 10)]);
    // It has to leave when a rule comes before it that the hardware cannot say.
    let long = rule(1, (1, 9), true, None, Action::default());
    put(&mut layered, &[long]);
    assert_eq!(hardware.ids(), [0; 0]);
    (0..2).for_each(|_| send(2));
    assert_eq!(packets(&mut layered), [(1, 0), (2, 12)]);
}

#[test]
fn rules_that_begin_or_cease_to_discard_in_hardware_go_on_counting() {
    let (mut layered, hardware, software) = started(9);
    let actions = [Action::default(), discard(), Action::default(), discard()];
    let mut sent = 0;
    for (action, more) in actions.into_iter().zip([3, 5, 4, 2]) {
        put(&mut layered, &[rule(1, (1, 1), false, None, action)]);
        assert_eq!(hardware.ids(), [1]);
        assert_eq!(packets(&mut layered), [(1, sent)], "changed");
        (0..more).for_each(|_| send(&hardware, &software, 1));
        sent += more;
        assert_eq!(packets(&mut layered), [(1, sent)]);
    }
}

#[test]
fn a_rule_that_moves_while_the_hardware_is_not_read_goes_on_counting() {
    let (mut layered, hardware, software) = started(1);
    let rules = [1, 2].map(|id| rule(id, (id as u32, id as u32), false, None, Action::default()));
    put(&mut layered, &rules);
    (0..5).for_each(|_| send(&hardware, &software, 2));
    hardware.0.lock().unwrap().is_blind = true;
    remove(&mut layered, &rules[0]);
    assert_eq!(hardware.ids(), [2]);
    hardware.0.lock().unwrap().is_blind = false;
    // More than the software had counted.
    (0..7).for_each(|_| send(&hardware, &software, 2));
    assert_eq!(packets(&mut layered), [(2, 12)]);
}

fn arbitrary_rule() -> impl Strategy<Value = (u64, (u32, u32), bool, Option<u32>, Action)> {
    let action = (any::<bool>(), any::<bool>(), proptest::option::of(40u8..48)).prop_map(
        |(discard, continue_evaluation, mark_dscp)| Action {
            discard,
            continue_evaluation,
            mark_dscp,
            ..Action::default()
        },
    );
    let dscp = proptest::option::weighted(0.1, 40u32..48);
    (
        1u64..30,
        (0u32..8, 0u32..8),
        proptest::bool::weighted(0.2),
        dscp,
        action,
    )
}

/// How a commit of one half ends.
fn arbitrary_fault() -> impl Strategy<Value = Option<BackendError>> {
    proptest::option::weighted(
        0.15,
        prop_oneof![
            Just(unavailable("no answer")),
            Just(BackendError::Refused {
                rule: None,
                reason: "something is wrong".into()
            }),
        ],
    )
}

proptest! {
    #[test]
    fn both_together_are_the_whole(
        steps in vec((vec(arbitrary_rule(), 0..12), vec(1u64..30, 0..6), 0usize..4), 1..5),
        room in 0usize..12,
        faults in prop_oneof![
            Just((vec![], vec![])),
            (vec(arbitrary_fault(), 0..20), vec(arbitrary_fault(), 0..20)),
        ],
        packets in vec((0u16..8, select_length(), 40u8..48), 30),
    ) {
        let (mut layered, hardware, software) = started(room);
        layered.withheld = Withheld::new(2);
        let mut whole = Sim::new();
        whole.start(&Settings::default(), &[]).unwrap();
        let is_sound = faults.0.iter().chain(&faults.1).all(Option::is_none);
        hardware.fail(faults.0);
        software.fail(faults.1);
        for (puts, removes, audits) in steps {
            let put: BTreeMap<u64, Arc<Rule>> = puts
                .into_iter()
                .map(|(id, (a, b), long, dscp, action)| {
                    (id, rule(id, (a.min(b), a.max(b)), long, dscp, action))
                })
                .collect();
            let remove = removes.iter().filter(|id| !put.contains_key(id));
            let remove = remove.map(|id| (Family::Ipv4, OrderKey::from(id.to_be_bytes())));
            let changes = Changes { remove: remove.collect(), put: put.into_values().collect() };
            // All of it, or nothing.
            if layered.commit(&changes).is_ok() {
                whole.commit(&changes).unwrap();
            }
            for _ in 0..audits {
                let _ = layered.audit();
            }
            if layered.astray.is_some() {
                software.repair();
                layered.audit().unwrap();
            }
            for (port, length, dscp) in &packets {
                let packet = Packet {
                    destination_port: Some(*port),
                    packet_length: Some(*length),
                    dscp: *dscp,
                    ..Packet::from_text("udp 192.0.2.1:9 > 203.0.113.1:9").unwrap()
                };
                let verdict = whole.forward(Duration::ZERO, &packet, 100);
                let (passed, dscp) = hardware.forward(&packet);
                let behind = Packet { dscp, ..packet.clone() };
                let (passed, dscp) = match passed {
                    true => software.forward(&behind),
                    false => (false, dscp),
                };
                prop_assert_eq!(passed, verdict.passed, "{:?}", packet);
                if passed {
                    prop_assert_eq!(dscp, verdict.dscp, "{:?}", packet);
                }
            }
        }
        // When nothing fails any more the hardware has all that it has room for.
        hardware.repair();
        software.repair();
        for _ in 0..200 {
            layered.audit().unwrap();
        }
        prop_assert_eq!(layered.warnings(), Vec::<String>::new());
        let offer = layered.divide(&layered.rules, usize::MAX).fresh;
        prop_assert!(offer.is_empty(), "{:?} was not offered: {:?}", offer, layered.impaired());
        // A rule that a fault has kept out may have taken the room of others until some rule goes.
        let mut reasons = layered.impaired().into_iter().map(|(_, reason)| reason);
        let is_short_of_room = is_sound && reasons.any(|reason| reason.ends_with(": full"));
        prop_assert!(!is_short_of_room || hardware.ids().len() == room, "{:?}", layered.impaired());
    }
}

/// Lengths of which rules match some.
fn select_length() -> impl Strategy<Value = u32> {
    proptest::sample::select(vec![100u32, 1000])
}

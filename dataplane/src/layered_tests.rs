use super::*;
use crate::interval::IntervalSet;
use crate::packet::Packet;
use crate::rule::{Limit, LimitUnit, Match, RareFields};
use crate::sim::Sim;
use proptest::collection::vec;
use proptest::prelude::*;
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
}

impl Shared {
    fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Small {
            sim: Sim::new(),
            room,
            rules: Rules::new(),
        })))
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

struct NoLengths;

impl Capability for NoLengths {
    fn check(&self, rule: &Rule) -> Result<(), Unsupported> {
        match &rule.matches.rare.packet_length {
            Some(_) => Err(Unsupported("packet-length".into())),
            None => Ok(()),
        }
    }
}

impl Backend for Shared {
    fn name(&self) -> &'static str {
        "small"
    }
    fn capability(&self) -> Arc<dyn Capability> {
        match self.0.lock().unwrap().room {
            usize::MAX => Sim::new().capability(),
            _ => Arc::new(NoLengths),
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
        self.0.lock().unwrap().sim.reconfigure(settings, links)
    }
    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        let mut small = self.0.lock().unwrap();
        let mut rules = small.rules.clone();
        for key in &changes.remove {
            rules.remove(key);
        }
        for rule in &changes.put {
            rules.insert((rule.family, rule.order.clone()), rule.clone());
        }
        if rules.len() > small.room {
            let newest = changes.put.iter().map(|rule| rule.id).max().unwrap();
            return Err(BackendError::NoRoom(vec![(newest, "full".into())]));
        }
        small.sim.commit(changes)?;
        small.rules = rules;
        Ok(())
    }
    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
        self.0.lock().unwrap().sim.counters()
    }
    fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
        Ok(None)
    }
    fn render(&self, _: &Settings, _: &[Arc<Rule>]) -> String {
        String::new()
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

proptest! {
    #[test]
    fn both_together_are_the_whole(
        steps in vec((vec(arbitrary_rule(), 0..12), vec(1u64..30, 0..6)), 1..5),
        room in 0usize..12,
        packets in vec((0u16..8, select_length(), 40u8..48), 30),
    ) {
        let (mut layered, hardware, software) = started(room);
        let mut whole = Sim::new();
        whole.start(&Settings::default(), &[]).unwrap();
        for (puts, removes) in steps {
            let put: BTreeMap<u64, Arc<Rule>> = puts
                .into_iter()
                .map(|(id, (a, b), long, dscp, action)| {
                    (id, rule(id, (a.min(b), a.max(b)), long, dscp, action))
                })
                .collect();
            let remove = removes.iter().filter(|id| !put.contains_key(id));
            let remove = remove.map(|id| (Family::Ipv4, OrderKey::from(id.to_be_bytes())));
            let changes = Changes { remove: remove.collect(), put: put.into_values().collect() };
            layered.commit(&changes).unwrap();
            whole.commit(&changes).unwrap();
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
    }
}

/// Lengths of which rules match some.
fn select_length() -> impl Strategy<Value = u32> {
    proptest::sample::select(vec![100u32, 1000])
}

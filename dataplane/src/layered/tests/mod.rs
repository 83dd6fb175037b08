//! Both halves are `sim`s that the test can look into, and that fail when they are told to.

mod counting;
mod failures;
mod properties;
mod room;

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

fn unavailable(reason: &str) -> BackendError {
    BackendError::Unavailable(reason.into())
}

/// Rules that discard UDP to one port each.
fn one_port_each(ids: std::ops::RangeInclusive<u64>) -> Vec<Arc<Rule>> {
    ids.map(|id| rule(id, (id as u32, id as u32), false, None, discard()))
        .collect()
}

//! Hardware with the kernel's packet filter beside it, for rules that the hardware refuses.
//!
//! The software holds all rules, in order, so that whatever reaches it meets the whole. The hardware holds those that it can
//! say and before which, by order, there is no rule outside of it that overlaps them: of each packet it does what the
//! whole does up to the last of its rules that the packet meets. A packet that has passed both has met what all
//! rules together say. What the hardware limits and marks the software does not do a second time.
//!
//! What the hardware forwards by itself never reaches the software: rules that are only there are impaired, and say so.
//!
//! Hardware that fails keeps no rule from the software: new rules are there alone until it works again, and only what it would
//! have to let go fails with it. In the order of the data flow: [`withheld`] knows what the hardware has refused,
//! [`division`] gives each rule its place, [`tally`] has counters go on where rules move.

mod division;
mod tally;
mod withheld;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::division::{Division, difference, divide, held};
use self::tally::Tally;
use self::withheld::{Lesson, Withheld};
use crate::backend::{Backend, BackendError, Capability, Counter, Culprit, Recovered, Unsupported};
use crate::desired::{Changes, Link, Rules, Settings, in_order};
use crate::rule::{Rule, RuleId};

/// Most attempts in one turn to give the hardware what waits for it, each of which names rules that it refuses.
const ATTEMPTS_MAX: usize = 32;

/// Two packet filters, one behind the other.
pub struct Layered {
    hardware: Box<dyn Backend>,
    software: Box<dyn Backend>,
    rules: Rules,
    /// What the hardware has.
    offloaded: Rules,
    /// What the software has.
    held: Rules,
    /// Why rules are not in the hardware.
    outside: BTreeMap<RuleId, String>,
    withheld: Withheld,
    tally: Tally,
    /// What the hardware counted when it was last read, and why it could not be read since.
    last_read: Vec<(RuleId, Counter)>,
    /// See `last_read`.
    unread: Option<String>,
    /// Why the software is not what it shall be beside the hardware.
    astray: Option<String>,
}

/// Which half has failed.
enum Failed {
    Software(BackendError),
    Hardware(BackendError),
}

impl Layered {
    /// Neither owns anything yet.
    pub fn new(hardware: Box<dyn Backend>, software: Box<dyn Backend>) -> Self {
        Self {
            hardware,
            software,
            rules: Rules::new(),
            offloaded: Rules::new(),
            held: Rules::new(),
            outside: BTreeMap::new(),
            withheld: Withheld::default(),
            tally: Tally::default(),
            last_read: Vec::new(),
            unread: None,
            astray: None,
        }
    }

    /// Divides rules between both, of which the hardware is offered so many that it does not have.
    fn divide(&self, rules: &Rules, budget: usize) -> Division {
        let capability = self.hardware.capability();
        divide(rules, &self.offloaded, &*capability, &self.withheld, budget)
    }

    /// Puts rules in force in both: the software first, which is taken back when nothing works. What the hardware does not
    /// take the software does.
    fn put_in_force(&mut self, rules: Rules) -> Result<(), BackendError> {
        if self.astray.is_some() {
            self.align()?;
        }
        let goes =
            |(key, rule): (_, &Arc<Rule>)| rules.get(key).is_none_or(|now| now.id != rule.id);
        if self.offloaded.iter().any(goes) {
            self.withheld.rules_have_gone();
        }
        loop {
            let division = self.divide(&rules, self.withheld.budget());
            let error = match self.exchange(&rules, &division) {
                Ok(()) => {
                    self.complete(rules, division);
                    return Ok(());
                }
                Err(Failed::Software(error)) => return Err(self.go_back(error)),
                Err(Failed::Hardware(error)) => error,
            };
            let Division {
                offloaded, fresh, ..
            } = &division;
            if self.withheld.learn(&error, offloaded, fresh) == Lesson::Nothing {
                return Err(self.go_back(error));
            }
        }
    }

    /// Brings both halves to a division, the software first: it does all that the hardware does not do before and after.
    fn exchange(&mut self, rules: &Rules, division: &Division) -> Result<(), Failed> {
        let moving = self.moving(rules, division);
        // What cannot be read is lost.
        let counted: BTreeMap<RuleId, Counter> = match moving.is_empty() {
            true => BTreeMap::new(),
            false => self.counters().unwrap_or_default().into_iter().collect(),
        };
        let meanwhile = held(rules, [&self.offloaded, &division.offloaded]);
        self.hold(meanwhile).map_err(Failed::Software)?;
        let changes = difference(&self.offloaded, &division.offloaded);
        if !changes.is_empty() {
            self.hardware.commit(&changes).map_err(Failed::Hardware)?;
        }
        self.offloaded.clone_from(&division.offloaded);
        if !moving.is_empty() {
            let discards = discards(&self.offloaded);
            if moving.iter().any(|id| !discards.contains_key(id)) {
                self.withheld.may_have_room();
            }
            // What a rule had counted before it left is not what it begins with when it comes back.
            self.last_read.retain(|(id, _)| discards.contains_key(id));
            let readings = self.readings().unwrap_or_default();
            let read: BTreeSet<RuleId> = self.last_read.iter().map(|(id, _)| *id).collect();
            for id in moving {
                let start = match discards.get(&id) == Some(&false) && !read.contains(&id) {
                    // The hardware, which counts alone from now on, did not answer: it begins with nothing.
                    true => Counter::default(),
                    false => readings.get(&id).copied().unwrap_or_default(),
                };
                let total = counted.get(&id).copied().unwrap_or_default();
                self.tally.moved(id, total, start);
            }
        }
        Ok(())
    }

    /// The rules in force whose counters are read in another way from now on: they change their place, or what the hardware
    /// does of them changes between discarding and not.
    fn moving(&self, rules: &Rules, division: &Division) -> Vec<RuleId> {
        let (before, after) = (discards(&self.offloaded), discards(&division.offloaded));
        let known = ids(&self.rules);
        let stays = rules
            .values()
            .map(|rule| rule.id)
            .filter(|id| known.contains(id));
        stays.filter(|id| before.get(id) != after.get(id)).collect()
    }

    /// Both halves are as a division wants them: the software leaves out what the hardware limits and marks.
    fn complete(&mut self, rules: Rules, division: Division) {
        self.rules = rules;
        self.outside = division.outside;
        self.withheld.waits(division.some_wait);
        self.withheld.retain(&self.rules);
        let there = ids(&self.rules);
        self.tally.retain(|id| there.contains(&id));
        // Where this fails packets are limited twice, and it is tried again.
        let _ = self.align();
    }

    /// After a failure: the software becomes again what it is to be beside the hardware. Returns the error, and what has
    /// become of that.
    fn go_back(&mut self, error: BackendError) -> BackendError {
        // What was refused beside rules that do not come after all may fit without them.
        self.withheld.may_have_room();
        match self.align() {
            Ok(()) => error,
            Err(again) => BackendError::Unavailable(format!(
                "{error}; nor does {} go back to what it had before, which is tried again: {again}",
                self.software.name()
            )),
        }
    }

    /// Makes the software what it is to be beside the hardware, if it is not.
    fn align(&mut self) -> Result<(), BackendError> {
        let wanted = held(&self.rules, [&self.offloaded, &self.offloaded]);
        let result = self.hold(wanted);
        self.astray = result.as_ref().err().map(ToString::to_string);
        result
    }

    /// Makes these the rules of the software.
    fn hold(&mut self, rules: Rules) -> Result<(), BackendError> {
        let changes = difference(&self.held, &rules);
        if !changes.is_empty() {
            self.software.commit(&changes)?;
        }
        self.held = rules;
        Ok(())
    }

    /// Offers the hardware what waits for it.
    fn offer_again(&mut self) {
        let Some(budget) = self.withheld.next_offer() else {
            return;
        };
        let budget = budget.min(self.hardware.capability().commit_max());
        let rules = self.rules.clone();
        for _ in 0..ATTEMPTS_MAX {
            let division = self.divide(&rules, budget);
            let Division {
                offloaded, fresh, ..
            } = &division;
            let lesson = match self.exchange(&rules, &division) {
                Ok(()) => {
                    self.withheld.taken(division.some_wait);
                    self.complete(rules, division);
                    break;
                }
                Err(Failed::Software(_)) => break,
                Err(Failed::Hardware(error)) => self.withheld.learn(&error, offloaded, fresh),
            };
            if lesson != Lesson::Refusals {
                break;
            }
        }
        // What has failed is told by the warnings.
        let _ = self.align();
    }

    /// What the counters of both read together. Those of hardware that does not answer are as they were.
    fn readings(&mut self) -> Result<BTreeMap<RuleId, Counter>, BackendError> {
        let mut readings: BTreeMap<_, _> = self.software.counters()?.into_iter().collect();
        match self.hardware.counters() {
            Ok(counters) => (self.last_read, self.unread) = (counters, None),
            Err(error) => self.unread = Some(error.to_string()),
        }
        let discards = discards(&self.offloaded);
        for (id, counter) in &self.last_read {
            let reading = readings.entry(*id);
            match discards.get(id) {
                // What the software has dropped never met the hardware, as before that had the rule.
                Some(true) => reading.or_default().add(*counter),
                // What has passed the hardware the software has counted, too.
                Some(false) => *reading.or_default() = *counter,
                None => {}
            }
        }
        Ok(readings)
    }
}

/// The ids of rules.
fn ids(rules: &Rules) -> BTreeSet<RuleId> {
    rules.values().map(|rule| rule.id).collect()
}

/// The ids of rules, each with whether it discards.
fn discards(rules: &Rules) -> BTreeMap<RuleId, bool> {
    let pairs = rules.values().map(|rule| (rule.id, rule.action.discard));
    pairs.collect()
}

/// What either can express.
struct Either {
    hardware: Arc<dyn Capability>,
    software: Arc<dyn Capability>,
}

impl Capability for Either {
    fn check(&self, rule: &Rule) -> Result<(), Unsupported> {
        // All rules are in the software.
        self.software.check(rule)
    }

    fn entries(&self, rule: &Rule) -> Option<usize> {
        self.hardware.entries(rule)
    }

    fn commit_max(&self) -> usize {
        self.hardware.commit_max().min(self.software.commit_max())
    }
}

impl Backend for Layered {
    fn name(&self) -> &'static str {
        self.hardware.name()
    }

    fn capability(&self) -> Arc<dyn Capability> {
        Arc::new(Either {
            hardware: self.hardware.capability(),
            software: self.software.capability(),
        })
    }

    fn recover(&mut self) -> Result<Vec<Recovered>, BackendError> {
        let known = self.software.recover()?;
        let mut more = self.hardware.recover()?;
        let ids: BTreeSet<RuleId> = known.iter().map(|rule| rule.id).collect();
        more.retain(|rule| !ids.contains(&rule.id));
        Ok([known, more].concat())
    }

    fn resume(
        &mut self,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
    ) -> Result<(), BackendError> {
        let rules = in_order(rules);
        let all: Vec<Arc<Rule>> = rules.values().cloned().collect();
        self.software.resume(settings, links, &all)?;
        (self.held, self.rules) = (rules.clone(), rules);
        (self.offloaded, self.outside) = (Rules::new(), BTreeMap::new());
        (self.withheld, self.tally) = (Withheld::default(), Tally::default());
        (self.last_read, self.unread) = (Vec::new(), None);
        loop {
            let division = self.divide(&self.rules, self.withheld.budget());
            let offloaded: Vec<Arc<Rule>> = division.offloaded.values().cloned().collect();
            match self.hardware.resume(settings, links, &offloaded) {
                Ok(()) => {
                    self.offloaded.clone_from(&division.offloaded);
                    self.complete(self.rules.clone(), division);
                    return Ok(());
                }
                Err(error) => {
                    let Division {
                        offloaded, fresh, ..
                    } = &division;
                    if self.withheld.learn(&error, offloaded, fresh) == Lesson::Nothing {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        // A panic is to reach both, whatever becomes of one of them.
        let software = self.software.reconfigure(settings, links);
        while let Err(error) = self.hardware.reconfigure(settings, links) {
            // What does not fit any more goes to the software.
            if software.is_err() {
                return Err(error);
            }
            if self.withheld.learn(&error, &self.offloaded, &[]) == Lesson::Nothing {
                return Err(error);
            }
            self.put_in_force(self.rules.clone())?;
        }
        software
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        let mut rules = self.rules.clone();
        changes.apply_to(&mut rules);
        self.put_in_force(rules)
    }

    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
        let readings = self.readings()?;
        let total = |(id, reading)| (id, self.tally.total(id, reading));
        Ok(readings.into_iter().map(total).collect())
    }

    fn impaired(&mut self) -> Vec<(RuleId, String)> {
        let mut impaired = self.software.impaired();
        impaired.extend(self.hardware.impaired());
        let outside = self.outside.iter().map(|(id, reason)| {
            (
                *id,
                format!("only where packets reach the software, not in the hardware: {reason}"),
            )
        });
        impaired.extend(outside);
        impaired
    }

    fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
        let software = self.software.audit();
        let hardware = self.hardware.audit();
        let aligned = match self.astray {
            Some(_) => self.align(),
            None => Ok(()),
        };
        if aligned.is_ok() {
            self.offer_again();
        }
        let culprit = hardware?.or(software?);
        aligned.map(|()| culprit)
    }

    fn render(&self, settings: &Settings, rules: &[Arc<Rule>]) -> String {
        let rules = in_order(rules);
        let offloaded = self.divide(&rules, usize::MAX).offloaded;
        let held = held(&rules, [&offloaded, &offloaded]);
        let list = |rules: Rules| rules.into_values().collect::<Vec<_>>();
        format!(
            "{}\n{}",
            self.hardware.render(settings, &list(offloaded)),
            self.software.render(settings, &list(held))
        )
    }

    fn without_room(&self, settings: &Settings, rules: &[Arc<Rule>]) -> Vec<(RuleId, String)> {
        // What has no room in the hardware waits in the software.
        self.software.without_room(settings, rules)
    }

    fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError> {
        let mut facts = self.hardware.describe()?;
        facts.push((
            "rules in software only".into(),
            self.outside.len().to_string(),
        ));
        let prefix = self.software.name();
        let software = self.software.describe()?;
        facts.extend(
            software
                .into_iter()
                .map(|(label, value)| (format!("{prefix} {label}"), value)),
        );
        Ok(facts)
    }

    fn warnings(&mut self) -> Vec<String> {
        let mut warnings = [self.hardware.warnings(), self.software.warnings()].concat();
        warnings.extend(self.withheld.trouble().map(|reason| {
            format!("rules wait for the hardware, which has failed and is asked again: {reason}")
        }));
        warnings.extend(self.unread.as_ref().map(|reason| {
            format!("counters of the hardware are as they were when it last answered: {reason}")
        }));
        warnings.extend(self.astray.as_ref().map(|reason| {
            let software = self.software.name();
            format!("{software} is not what it shall be beside the hardware: {reason}")
        }));
        warnings
    }

    fn stop(&mut self) -> Result<(), BackendError> {
        let hardware = self.hardware.stop();
        self.software.stop()?;
        hardware
    }
}

#[cfg(test)]
mod tests;

//! Hardware with the kernel's packet filter beside it, for rules that the hardware refuses.
//!
//! The software holds all rules, in order, so that whatever reaches it meets the whole. The hardware holds those that it can
//! say and before which, by order, there is no rule outside of it that overlaps them: of each packet it does what the
//! whole does up to the last of its rules that the packet meets. A packet that has passed both has met what all
//! rules together say. What the hardware limits and marks the software does not do a second time.
//!
//! What the hardware forwards by itself never reaches the software: rules that are only there are impaired, and say so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::backend::{Backend, BackendError, Capability, Counter, Culprit, Recovered, Unsupported};
use crate::desired::{Changes, Link, Rules, Settings, in_order};
use crate::rule::{Action, Family, OrderKey, Rule, RuleId};

/// A rule's place.
type Key = (Family, OrderKey);

/// Most rules outside of the hardware that others are held against. What comes after more of them stays outside.
const OUTSIDERS_MAX: usize = 1_000;

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
    /// Rules that the hardware refused although it seemed able to, and why; until some of its rules go.
    refused: BTreeMap<RuleId, String>,
}

/// What both shall have.
struct Division {
    offloaded: Rules,
    held: Rules,
    outside: BTreeMap<RuleId, String>,
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
            refused: BTreeMap::new(),
        }
    }

    /// Divides rules between both.
    fn divide(&self, rules: &Rules) -> Division {
        let capability = self.hardware.capability();
        let mut division = Division {
            offloaded: Rules::new(),
            held: Rules::new(),
            outside: BTreeMap::new(),
        };
        for family in Family::ALL {
            let of_family = || rules.iter().filter(|((other, _), _)| *other == family);
            let looks_at_dscp = of_family().any(|(_, rule)| rule.matches.rare.dscp.is_some());
            let mut outsiders: Vec<&Rule> = Vec::new();
            for (key, rule) in of_family() {
                let reason = self.why_outside(&*capability, rule, looks_at_dscp, &outsiders);
                match reason {
                    None => {
                        division.offloaded.insert(key.clone(), rule.clone());
                        division.held.insert(key.clone(), shield(rule));
                    }
                    Some(reason) => {
                        outsiders.push(rule);
                        division.outside.insert(rule.id, reason);
                        division.held.insert(key.clone(), rule.clone());
                    }
                }
            }
        }
        division
    }

    /// Why a rule cannot be in the hardware, if it cannot; `outsiders` precede it.
    fn why_outside(
        &self,
        capability: &dyn Capability,
        rule: &Rule,
        looks_at_dscp: bool,
        outsiders: &[&Rule],
    ) -> Option<String> {
        if let Some(reason) = self.refused.get(&rule.id) {
            return Some(reason.clone());
        }
        if let Err(Unsupported(reason)) = capability.check(rule) {
            return Some(reason);
        }
        if rule.action.mark_dscp.is_some() && !rule.action.discard {
            // The first mark wins, and matching sees packets as they arrived: the software knows of neither.
            if rule.action.continue_evaluation {
                return Some("it marks and lets the evaluation go on".into());
            }
            if looks_at_dscp {
                return Some("a rule looks at the DSCP that this one changes".into());
            }
        }
        if outsiders.len() > OUTSIDERS_MAX {
            return Some(format!(
                "more than {OUTSIDERS_MAX} rules before it are not in the hardware"
            ));
        }
        let overlaps = |other: &&&Rule| other.matches.overlaps(&rule.matches, rule.family);
        let other = outsiders.iter().find(overlaps)?;
        Some(format!(
            "{} comes before it, overlaps it and is not in the hardware",
            other.id
        ))
    }

    /// Puts rules in force in both: the software first, which is taken back when the hardware fails.
    fn put_in_force(&mut self, rules: Rules) -> Result<(), BackendError> {
        let goes =
            |(key, rule): (&Key, &Arc<Rule>)| rules.get(key).is_none_or(|now| now.id != rule.id);
        if self.offloaded.iter().any(goes) {
            self.refused.clear();
        }
        loop {
            let division = self.divide(&rules);
            self.software
                .commit(&difference(&self.held, &division.held))?;
            match self
                .hardware
                .commit(&difference(&self.offloaded, &division.offloaded))
            {
                Ok(()) => {
                    self.rules = rules;
                    (self.offloaded, self.held) = (division.offloaded, division.held);
                    self.outside = division.outside;
                    return Ok(());
                }
                Err(error) => {
                    self.software
                        .commit(&difference(&division.held, &self.held))?;
                    self.learn_from(error, &division.offloaded)?;
                }
            }
        }
    }

    /// Remembers which rules the hardware refuses; each error names one more, so that this ends. Fails with any other error.
    fn learn_from(&mut self, error: BackendError, offered: &Rules) -> Result<(), BackendError> {
        let named = match &error {
            BackendError::NoRoom(rules) => rules.clone(),
            BackendError::Refused {
                rule: Some(rule),
                reason,
            } => vec![(*rule, reason.clone())],
            BackendError::Refused { rule: None, .. } | BackendError::Unavailable(_) => Vec::new(),
        };
        let before = self.refused.len();
        let is_offered = |id: &RuleId| offered.values().any(|rule| rule.id == *id);
        self.refused
            .extend(named.into_iter().filter(|(id, _)| is_offered(id)));
        match self.refused.len() > before {
            true => Ok(()),
            false => Err(error),
        }
    }
}

/// What the software does with packets that have met the rule in hardware: the same verdict, without limits and marks.
fn shield(rule: &Arc<Rule>) -> Arc<Rule> {
    let action = Action {
        discard: rule.action.discard,
        continue_evaluation: rule.action.continue_evaluation,
        ..Action::default()
    };
    match action == rule.action {
        true => rule.clone(),
        false => Arc::new(Rule {
            action,
            ..(**rule).clone()
        }),
    }
}

/// The commit that leads from some rules to others.
fn difference(from: &Rules, to: &Rules) -> Changes {
    let is_same = |key: &Key, rule: &Arc<Rule>| {
        from.get(key)
            .is_some_and(|other| Arc::ptr_eq(rule, other) || other.enforces_the_same(rule))
    };
    let put = to.iter().filter(|(key, rule)| !is_same(key, rule));
    let remove = from.keys().filter(|key| !to.contains_key(key));
    Changes {
        put: put.map(|(_, rule)| rule.clone()).collect(),
        remove: remove.cloned().collect(),
    }
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
        let held: Vec<Arc<Rule>> = rules.values().cloned().collect();
        self.software.resume(settings, links, &held)?;
        loop {
            let division = self.divide(&rules);
            let offloaded: Vec<Arc<Rule>> = division.offloaded.values().cloned().collect();
            match self.hardware.resume(settings, links, &offloaded) {
                Ok(()) => {
                    self.software.commit(&difference(&rules, &division.held))?;
                    self.rules = rules;
                    (self.offloaded, self.held) = (division.offloaded, division.held);
                    self.outside = division.outside;
                    return Ok(());
                }
                Err(error) => self.learn_from(error, &division.offloaded)?,
            }
        }
    }

    fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        // A panic is to reach both, whatever becomes of one of them.
        let software = self.software.reconfigure(settings, links);
        self.hardware.reconfigure(settings, links)?;
        software
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        let mut rules = self.rules.clone();
        changes.apply_to(&mut rules);
        self.put_in_force(rules)
    }

    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
        let hardware: BTreeMap<_, _> = self.hardware.counters()?.into_iter().collect();
        let software = self.software.counters()?;
        let counter = |(id, counter)| (id, hardware.get(&id).copied().unwrap_or(counter));
        Ok(software.into_iter().map(counter).collect())
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
        let software = self.software.audit()?;
        Ok(self.hardware.audit()?.or(software))
    }

    fn render(&self, settings: &Settings, rules: &[Arc<Rule>]) -> String {
        let division = self.divide(&in_order(rules));
        let list = |rules: Rules| rules.into_values().collect::<Vec<_>>();
        format!(
            "{}\n{}",
            self.hardware.render(settings, &list(division.offloaded)),
            self.software.render(settings, &list(division.held))
        )
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
        [self.hardware.warnings(), self.software.warnings()].concat()
    }

    fn stop(&mut self) -> Result<(), BackendError> {
        let hardware = self.hardware.stop();
        self.software.stop()?;
        hardware
    }
}

#[cfg(test)]
#[path = "layered_tests.rs"]
mod tests;

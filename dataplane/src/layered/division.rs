//! Which rules are in the hardware, and what the software does of those. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::withheld::Withheld;
use crate::backend::{Capability, Unsupported};
use crate::desired::{Changes, Rules};
use crate::rule::{Action, Family, OrderKey, Rule, RuleId};

/// A rule's place.
pub type Key = (Family, OrderKey);

/// Most rules outside of the hardware that others are held against. What comes after more of them stays outside.
const OUTSIDERS_MAX: usize = 1_000;

/// Where rules shall be.
#[derive(Debug, Default)]
pub struct Division {
    /// Rules that the hardware shall have.
    pub offloaded: Rules,
    /// Those of them that it does not have yet, in order.
    pub fresh: Vec<RuleId>,
    /// Why the others are not in the hardware.
    pub outside: BTreeMap<RuleId, String>,
    /// Some of those only because of the budget.
    pub some_wait: bool,
}

/// Divides rules between both.
///
/// `offloaded`: what the hardware has; `budget`: how many more rules it is offered.
pub fn divide(
    rules: &Rules,
    offloaded: &Rules,
    capability: &dyn Capability,
    withheld: &Withheld,
    budget: usize,
) -> Division {
    let mut division = Division::default();
    for family in Family::ALL {
        let of_family = || rules.iter().filter(|((other, _), _)| *other == family);
        let looks_at_dscp = of_family().any(|(_, rule)| rule.matches.rare.dscp.is_some());
        let mut outsiders: Vec<&Rule> = Vec::new();
        for (key, rule) in of_family() {
            let is_fresh = !is_same(offloaded, key, rule);
            let reason = withheld
                .refusal(rule.id)
                .or_else(|| why_outside(capability, rule, looks_at_dscp, &outsiders))
                .or_else(|| match is_fresh && division.fresh.len() >= budget {
                    true => {
                        division.some_wait = true;
                        Some(withheld.delay())
                    }
                    false => None,
                });
            match reason {
                None => {
                    division.offloaded.insert(key.clone(), rule.clone());
                    division.fresh.extend(is_fresh.then_some(rule.id));
                }
                Some(reason) => {
                    outsiders.push(rule);
                    division.outside.insert(rule.id, reason);
                }
            }
        }
    }
    division
}

/// Why a rule cannot be in the hardware, if it cannot; `outsiders` precede it.
fn why_outside(
    capability: &dyn Capability,
    rule: &Rule,
    looks_at_dscp: bool,
    outsiders: &[&Rule],
) -> Option<String> {
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

/// What the software has of these rules, when the hardware does all of what is in both of `offloaded`.
///
/// The rules, but for limits and marks of those: these happen once. What is only about to enter the hardware, or still to
/// leave it, the software does as well: packets are limited twice for a moment rather than not at all.
pub fn held(rules: &Rules, offloaded: [&Rules; 2]) -> Rules {
    let of = |key: &Key, rule: &Arc<Rule>| match offloaded.iter().all(|it| is_same(it, key, rule)) {
        true => shield(rule),
        false => rule.clone(),
    };
    let pairs = rules.iter();
    pairs
        .map(|(key, rule)| (key.clone(), of(key, rule)))
        .collect()
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

/// True when the place holds a rule that does the same.
fn is_same(rules: &Rules, key: &Key, rule: &Arc<Rule>) -> bool {
    let is_same = |other: &Arc<Rule>| Arc::ptr_eq(rule, other) || other.enforces_the_same(rule);
    rules.get(key).is_some_and(is_same)
}

/// The commit that leads from some rules to others.
pub fn difference(from: &Rules, to: &Rules) -> Changes {
    let put = to.iter().filter(|(key, rule)| !is_same(from, key, rule));
    let remove = from.keys().filter(|key| !to.contains_key(key));
    Changes {
        put: put.map(|(_, rule)| rule.clone()).collect(),
        remove: remove.cloned().collect(),
    }
}

//! Where the rules in force send packets or copies. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::desired::Changes;
use crate::rule::{Action, Family, OrderKey, RuleId};

/// The rules in force that ask for a `T`; the others are not kept here.
#[derive(Clone, Debug)]
pub(crate) struct Usage<T> {
    of: fn(&Action) -> Option<T>,
    rules: BTreeMap<(Family, OrderKey), (RuleId, T)>,
}

impl<T: Ord> Usage<T> {
    /// No rule yet. `of`: what an action asks for.
    pub(crate) fn new(of: fn(&Action) -> Option<T>) -> Self {
        Self {
            of,
            rules: BTreeMap::new(),
        }
    }

    /// The rules after a commit.
    pub(crate) fn apply(&mut self, changes: &Changes) {
        if !self.rules.is_empty() {
            for key in &changes.remove {
                self.rules.remove(key);
            }
        }
        for rule in &changes.put {
            match (self.of)(&rule.action) {
                Some(used) => {
                    let key = (rule.family, rule.order.clone());
                    self.rules.insert(key, (rule.id, used));
                }
                None if self.rules.is_empty() => {}
                None => {
                    self.rules.remove(&(rule.family, rule.order.clone()));
                }
            }
        }
    }

    /// All that some rule asks for.
    pub(crate) fn used(&self) -> BTreeSet<&T> {
        self.rules.values().map(|(_, used)| used).collect()
    }

    /// Rules and what they ask for.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (RuleId, &T)> {
        self.rules.values().map(|(id, used)| (*id, used))
    }
}

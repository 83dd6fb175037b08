//! Counters of rules, summed over their entries and over entries that were re-created. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::placed::{Owner, Placed};
use crate::backend::Counter;
use crate::rule::{Family, RuleId};

/// Names an entry.
pub type EntryName = (Family, Arc<str>);

/// What was counted so far.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By entries that are gone, or were created anew under the same name.
    retired: HashMap<RuleId, Counter>,
    /// The last readings of those that are there.
    readings: HashMap<EntryName, Counter>,
}

/// The sum of two counters.
fn sum(a: Counter, b: Counter) -> Counter {
    Counter {
        packets: a.packets.saturating_add(b.packets),
        bytes: a.bytes.saturating_add(b.bytes),
    }
}

impl Ledger {
    /// Takes in what the switch counts for an entry. It begins anew when it creates the entry anew.
    pub fn read(&mut self, placed: &Placed, counter: Counter) {
        let last = self
            .readings
            .insert((placed.family, placed.name.clone()), counter);
        let Some(last) = last else { return };
        if counter.packets < last.packets || counter.bytes < last.bytes {
            self.retire(placed.owner, last);
        }
    }

    /// Takes in that an entry is gone.
    pub fn gone(&mut self, placed: &Placed) {
        let last = self.readings.remove(&(placed.family, placed.name.clone()));
        self.retire(placed.owner, last.unwrap_or_default());
    }

    fn retire(&mut self, owner: Owner, counter: Counter) {
        if let Owner::Rule(id) = owner
            && counter != Counter::default()
        {
            let retired = self.retired.entry(id).or_default();
            *retired = sum(*retired, counter);
        }
    }

    /// What entries that are gone have counted for a rule.
    pub fn retired(&self, id: RuleId) -> Counter {
        self.retired.get(&id).copied().unwrap_or_default()
    }

    /// Goes on from what an earlier process knew.
    pub fn restore(&mut self, id: RuleId, counter: Counter) {
        self.retired.insert(id, counter);
    }

    /// Forgets a rule.
    pub fn forget(&mut self, id: RuleId) {
        self.retired.remove(&id);
    }

    /// What was counted for a rule that has these entries.
    pub fn total<'p>(&self, id: RuleId, placed: impl Iterator<Item = &'p Placed>) -> Counter {
        placed
            .filter_map(|placed| self.readings.get(&(placed.family, placed.name.clone())))
            .fold(self.retired(id), |total, reading| sum(total, *reading))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sonic::placed::Content;

    fn placed(id: u64, number: u64) -> Placed {
        let owner = Owner::Rule(RuleId(id));
        Placed {
            family: Family::Ipv4,
            name: owner.name(number),
            owner,
            priority: 1,
            content: Content::Found(Arc::default()),
        }
    }

    fn counter(packets: u64) -> Counter {
        Counter {
            packets,
            bytes: 100 * packets,
        }
    }

    #[test]
    fn counts_outlive_entries() {
        let (old, new, other) = (placed(1, 1), placed(1, 2), placed(2, 3));
        let mut ledger = Ledger::default();
        ledger.read(&old, counter(5));
        ledger.read(&other, counter(7));
        assert_eq!(ledger.total(RuleId(1), [&old].into_iter()), counter(5));
        ledger.read(&new, counter(1));
        assert_eq!(
            ledger.total(RuleId(1), [&old, &new].into_iter()),
            counter(6)
        );
        ledger.gone(&old);
        assert_eq!(ledger.total(RuleId(1), [&new].into_iter()), counter(6));
        // The switch was restarted.
        ledger.read(&new, counter(0));
        ledger.read(&new, counter(2));
        assert_eq!(ledger.total(RuleId(1), [&new].into_iter()), counter(8));
        assert_eq!(ledger.total(RuleId(2), [&other].into_iter()), counter(7));
        ledger.gone(&new);
        ledger.forget(RuleId(1));
        assert_eq!(ledger.total(RuleId(1), [].into_iter()), Counter::default());
    }
}

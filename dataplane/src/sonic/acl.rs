//! One table: which entries it has for each rule, and where. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::document::Verdict;
use super::placed::{Content, Owner, Placed};
use super::priority::{Move, NoSlot, Slots};
use super::transition::Phase;
use crate::rule::{Family, OrderKey, Rule};
use crate::tcam::Entry;

/// A rule and its entries.
#[derive(Clone, Debug)]
pub struct Held {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Its entries; none where no packet can match.
    pub placed: Arc<[Placed]>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Acl {
    family: Family,
    /// The priorities: the greatest is the guards', the others are the slots'.
    priorities: (u32, u32),
    slots: Slots,
    guards: Vec<Placed>,
    rules: BTreeMap<OrderKey, Held>,
    /// The last number in a name.
    last_number: u64,
}

/// What a change makes of a table.
#[derive(Debug, Default)]
pub struct Change {
    /// Entries that come.
    pub put: Vec<Placed>,
    /// Entries that go.
    pub remove: Vec<Placed>,
}

impl Acl {
    /// A table without entries. `last_number` is the greatest number in a name that is or was in use.
    pub fn new(family: Family, priorities: (u32, u32), last_number: u64) -> Self {
        let (least, greatest) = priorities;
        Self {
            family,
            priorities,
            slots: Slots::new(greatest.saturating_sub(least) / 2),
            guards: Vec::new(),
            rules: BTreeMap::new(),
            last_number,
        }
    }

    /// The entries of guards.
    pub fn guards(&self) -> &[Placed] {
        &self.guards
    }

    /// The rules in order.
    pub fn rules(&self) -> impl Iterator<Item = &Held> {
        self.rules.values()
    }

    /// All entries.
    pub fn placed(&self) -> impl Iterator<Item = &Placed> {
        let of_rules = self.rules.values().flat_map(|held| held.placed.iter());
        self.guards.iter().chain(of_rules)
    }

    /// The rule with this key.
    pub fn get(&self, key: &OrderKey) -> Option<&Held> {
        self.rules.get(key)
    }

    /// True when a tier has a slot.
    pub fn has_tier(&self, tier: &OrderKey) -> bool {
        self.slots.get(tier).is_some()
    }

    /// How many more tiers there can be.
    pub fn free_slots(&self) -> usize {
        self.slots.free()
    }

    /// The priority of guards.
    pub fn guard_priority(&self) -> u32 {
        self.priorities.1
    }

    /// The slot that a priority belongs to.
    pub fn slot_of(&self, priority: u32) -> Option<u32> {
        let offset = priority.checked_sub(self.priorities.0)?;
        (priority < self.priorities.1).then_some(offset / 2)
    }

    /// Takes over the slots that tiers have, the first one's first, as far as they are in order.
    pub fn adopt_slots(&mut self, slots: BTreeMap<OrderKey, u32>) {
        for (tier, slot) in slots {
            self.slots.adopt(tier, slot);
        }
    }

    /// Takes over entries that the table has for a rule, where they are in the slot of its tier.
    pub fn adopt(&mut self, rule: &Arc<Rule>, placed: Vec<Placed>) {
        let slot = self.slots.get(&rule.tier);
        let placed = placed
            .into_iter()
            .filter(|placed| slot.is_some() && self.slot_of(placed.priority) == slot)
            .collect();
        let held = Held {
            rule: rule.clone(),
            placed,
        };
        self.rules.insert(rule.order.clone(), held);
    }

    /// Takes over the entries that the table has for guards.
    pub fn adopt_guards(&mut self, placed: Vec<Placed>) {
        self.guards = placed;
    }

    /// Gives slots to new tiers; the phases are those in which entries of other tiers make way.
    pub fn make_room(
        &mut self,
        tiers: impl IntoIterator<Item = OrderKey>,
    ) -> Result<Vec<Phase>, NoSlot> {
        let moves = self.slots.add(tiers)?;
        if moves.is_empty() {
            return Ok(Vec::new());
        }
        let mut keys: BTreeMap<OrderKey, Vec<OrderKey>> = BTreeMap::new();
        let moving: BTreeSet<&OrderKey> = moves.iter().map(|step| &step.tier).collect();
        for (key, held) in &self.rules {
            if moving.contains(&held.rule.tier) {
                let tier = held.rule.tier.clone();
                keys.entry(tier).or_default().push(key.clone());
            }
        }
        let mut phases: Vec<Phase> = Vec::new();
        let mut together: Vec<&Move> = Vec::new();
        for step in &moves {
            let in_the_way = |other: &&Move| match step.to > step.from {
                true => other.to < other.from || step.to >= other.from,
                false => other.to > other.from || step.to <= other.from,
            };
            if together.iter().any(in_the_way) || phases.is_empty() {
                phases.push(Phase::default());
                together.clear();
            }
            together.push(step);
            let phase = phases.last_mut().expect("there is one by now");
            for key in keys.get(&step.tier).into_iter().flatten() {
                let change = self.shift(key, step);
                phase.put.extend(change.put);
                phase.remove.extend(change.remove);
            }
        }
        Ok(phases)
    }

    /// Gives all entries of a rule the priorities of another slot, under new names.
    fn shift(&mut self, key: &OrderKey, step: &Move) -> Change {
        let Some(held) = self.rules.get(key).cloned() else {
            return Change::default();
        };
        let moved: Vec<Placed> = held
            .placed
            .iter()
            .map(|placed| Placed {
                name: self.next_name(placed.owner),
                priority: placed.priority + 2 * step.to - 2 * step.from,
                ..placed.clone()
            })
            .collect();
        let change = Change {
            put: moved.clone(),
            remove: held.placed.to_vec(),
        };
        let held = Held {
            rule: held.rule,
            placed: moved.into(),
        };
        self.rules.insert(key.clone(), held);
        change
    }

    /// Makes these the entries of a rule, which has a slot. Entries that stay keep their names and priorities.
    pub fn put(&mut self, rule: &Arc<Rule>, entries: Vec<Entry>, verdict: Verdict) -> Change {
        let slot = self.slots.get(&rule.tier).expect("there is room for it");
        let first = self.priorities.0 + 2 * slot;
        let owner = Owner::Rule(rule.id);
        let mut old: Vec<Placed> = match self.rules.remove(&rule.order) {
            Some(held) => held.placed.to_vec(),
            None => Vec::new(),
        };
        let mut change = Change::default();
        let mut placed = Vec::with_capacity(entries.len());
        for entry in entries {
            let stays = |old: &Placed| {
                old.owner == owner
                    && matches!(&old.content, Content::Entry(old, of) if **old == entry && *of == verdict)
            };
            if let Some(index) = old.iter().position(stays) {
                placed.push(old.swap_remove(index));
                continue;
            }
            let mut new = Placed {
                family: self.family,
                name: self.next_name(owner),
                owner,
                priority: first,
                content: Content::Entry(Arc::new(entry), verdict),
            };
            let in_the_way = |old: &Placed| old.priority == first && old.conflicts(&new);
            if old.iter().any(in_the_way) {
                new.priority = first + 1;
            }
            change.put.push(new.clone());
            placed.push(new);
        }
        change.remove = old;
        let held = Held {
            rule: rule.clone(),
            placed: placed.into(),
        };
        self.rules.insert(rule.order.clone(), held);
        change
    }

    /// Takes a rule away. Its tier keeps its slot until [`Self::release_slots`].
    pub fn remove(&mut self, key: &OrderKey) -> Option<Held> {
        self.rules.remove(key)
    }

    /// Takes the slots of tiers back that have no rule any more.
    pub fn release_slots(&mut self) {
        let tiers: BTreeSet<&OrderKey> = self.rules.values().map(|held| &held.rule.tier).collect();
        self.slots.retain(|tier| tiers.contains(tier));
    }

    /// Makes these the entries of the guards.
    pub fn set_guards(&mut self, entries: Vec<Entry>) -> Change {
        let mut old = std::mem::take(&mut self.guards);
        let mut change = Change::default();
        for entry in entries {
            let same = |placed: &Placed| matches!(&placed.content, Content::Entry(old, _) if **old == entry);
            if let Some(index) = old.iter().position(same) {
                self.guards.push(old.swap_remove(index));
                continue;
            }
            let new = Placed {
                family: self.family,
                name: self.next_name(Owner::Guard),
                owner: Owner::Guard,
                priority: self.guard_priority(),
                content: Content::Entry(Arc::new(entry), Verdict::Forward),
            };
            change.put.push(new.clone());
            self.guards.push(new);
        }
        change.remove = old;
        change
    }

    fn next_name(&mut self, owner: Owner) -> Arc<str> {
        self.last_number += 1;
        owner.name(self.last_number)
    }
}

//! Priorities of tiers, with gaps between them, so that a rule that comes in between seldom moves others. Pure.
//!
//! No packet matches two rules of one tier, so all its entries can have one priority. A tier has a *slot*, which is two
//! neighboring priorities: an entry that takes the place of another with the same tests has the other one of the two,
//! while both are there. The first tier has the greatest slot, because with SONiC the greatest priority wins.

use std::collections::{BTreeMap, BTreeSet};

use crate::rule::OrderKey;

/// There are more tiers than slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSlot;

/// A tier that goes to another slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which tier.
    pub tier: OrderKey,
    /// Its slot so far.
    pub from: u32,
    /// Its slot from now on.
    pub to: u32,
}

/// The slots of the tiers of one table.
#[derive(Clone, Debug)]
pub struct Slots {
    /// How many there are.
    count: u32,
    /// Descending: a later tier has a lesser slot.
    by_tier: BTreeMap<OrderKey, u32>,
}

impl Slots {
    /// Slots 0 to `count` - 1, all free.
    pub fn new(count: u32) -> Self {
        Self {
            count,
            by_tier: BTreeMap::new(),
        }
    }

    /// The slot of a tier.
    pub fn get(&self, tier: &OrderKey) -> Option<u32> {
        self.by_tier.get(tier).copied()
    }

    /// How many slots no tier has.
    pub fn free(&self) -> usize {
        (self.count as usize).saturating_sub(self.by_tier.len())
    }

    /// Gives a slot to a tier behind all that have one, as far as the slot is free and in order.
    pub fn adopt(&mut self, tier: OrderKey, slot: u32) -> bool {
        let least = self.by_tier.last_key_value();
        let in_order = least.is_none_or(|(last, least)| *last < tier && slot < *least);
        if in_order && slot < self.count {
            self.by_tier.insert(tier, slot);
            return true;
        }
        false
    }

    /// Takes slots back from all tiers but those for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&OrderKey) -> bool) {
        self.by_tier.retain(|tier, _| keep(tier));
    }

    /// Gives slots to new tiers. Where a gap is used up, as few tiers beside it as give room go to other slots: these
    /// moves are returned in an order in which no tier ever passes another.
    pub fn add(&mut self, tiers: impl IntoIterator<Item = OrderKey>) -> Result<Vec<Move>, NoSlot> {
        let new: BTreeSet<OrderKey> = tiers
            .into_iter()
            .filter(|tier| !self.by_tier.contains_key(tier))
            .collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let old: Vec<(OrderKey, u32)> = std::mem::take(&mut self.by_tier).into_iter().collect();
        if old.len() + new.len() > self.count as usize {
            self.by_tier = old.into_iter().collect();
            return Err(NoSlot);
        }
        // All tiers in order; new ones have no slot yet.
        let mut tiers: Vec<(OrderKey, Option<u32>)> = old
            .iter()
            .map(|(tier, slot)| (tier.clone(), Some(*slot)))
            .collect();
        tiers.extend(new.into_iter().map(|tier| (tier, None)));
        tiers.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut slots: Vec<Option<u32>> = tiers.iter().map(|(_, slot)| *slot).collect();
        while let Some(first) = slots.iter().position(Option::is_none) {
            let group = slots[first..].iter().take_while(|slot| slot.is_none());
            let (first, end) = self.window(&slots, first, first + group.count());
            self.spread(&mut slots, first, end);
        }
        self.by_tier = tiers
            .iter()
            .zip(&slots)
            .map(|((tier, _), slot)| (tier.clone(), slot.expect("each got one")))
            .collect();
        let moved = tiers.into_iter().zip(slots);
        let moved = moved.filter_map(|((tier, from), to)| {
            let (from, to) = (from?, to?);
            (from != to).then_some(Move { tier, from, to })
        });
        let (upward, mut downward): (Vec<Move>, Vec<Move>) = moved.partition(|m| m.to > m.from);
        // Whoever goes up makes way for the one below, and the other way round.
        downward.reverse();
        Ok([upward, downward].concat())
    }

    /// Positions around the group `first..end` that have room for all of them: the group itself where its gap is wide
    /// enough, else so many neighbors that half of the slots stay free, or all there are.
    fn window(&self, slots: &[Option<u32>], first: usize, end: usize) -> (usize, usize) {
        let (mut first, mut end) = (first, end);
        let mut wanted = end - first;
        while self.room(slots, first, end) < wanted {
            // A group that has no slots yet belongs to the window, too.
            let before = slots[..first].iter().rposition(Option::is_some);
            let behind = slots[end..].iter().position(Option::is_some);
            if before.is_none() && behind.is_none() {
                // There are as many slots as tiers at least.
                return (0, slots.len());
            }
            first = before.unwrap_or(0);
            end = behind.map_or(slots.len(), |offset| end + offset + 1);
            // Others without a slot that now stand at the edges come along.
            while first > 0 && slots[first - 1].is_none() {
                first -= 1;
            }
            while end < slots.len() && slots[end].is_none() {
                end += 1;
            }
            wanted = 2 * (end - first);
            if (first, end) == (0, slots.len()) {
                break;
            }
        }
        (first, end)
    }

    /// How many slots there are between the neighbors of the positions `first..end`.
    fn room(&self, slots: &[Option<u32>], first: usize, end: usize) -> usize {
        let (above, below) = self.bounds(slots, first, end);
        usize::try_from(above - below - 1).unwrap_or(0)
    }

    /// The slots of the neighbors of the positions `first..end`: above and below.
    fn bounds(&self, slots: &[Option<u32>], first: usize, end: usize) -> (i64, i64) {
        let above = first.checked_sub(1).and_then(|before| slots[before]);
        let below = slots.get(end).copied().flatten();
        (
            above.map_or(i64::from(self.count), i64::from),
            below.map_or(-1, i64::from),
        )
    }

    /// Spreads the positions `first..end` evenly over the room that they have.
    fn spread(&self, slots: &mut [Option<u32>], first: usize, end: usize) {
        let (above, below) = self.bounds(slots, first, end);
        let tiers = i64::try_from(end - first).expect("tiers are fewer than slots");
        for (index, slot) in (1..=tiers).zip(&mut slots[first..end]) {
            let place = above - index * (above - below) / (tiers + 1);
            *slot = Some(u32::try_from(place).expect("there is room for each"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tier(number: u16) -> OrderKey {
        OrderKey::from(number.to_be_bytes())
    }

    #[test]
    fn gaps_are_left() {
        let mut slots = Slots::new(1000);
        assert_eq!(slots.add([tier(10), tier(20), tier(30)]), Ok(Vec::new()));
        let places = [10, 20, 30].map(|number| slots.get(&tier(number)).unwrap());
        assert!(places[0] > places[1] && places[1] > places[2], "{places:?}");
        assert!(places[2] > 200 && places[0] < 800, "{places:?}");
    }

    #[test]
    fn few_are_moved_when_a_gap_is_used_up() {
        let mut slots = Slots::new(10_000);
        slots
            .add((0..1000).map(|number| tier(20 * number)))
            .unwrap();
        let mut moved = 0;
        for between in 1..20 {
            moved += slots.add([tier(10_000 + between)]).unwrap().len();
        }
        assert!((1..60).contains(&moved), "{moved} moves");
    }

    #[test]
    fn there_are_no_more_tiers_than_slots() {
        let mut slots = Slots::new(3);
        assert_eq!(slots.add([tier(1), tier(2)]), Ok(Vec::new()));
        assert_eq!(slots.add([tier(3), tier(4)]), Err(NoSlot));
        assert!(slots.add([tier(3)]).is_ok());
        assert_eq!([1, 2, 3].map(|n| slots.get(&tier(n)).unwrap()), [2, 1, 0]);
    }

    proptest! {
        /// Tiers come and go: slots stay in order and in range, and no move passes another tier.
        #[test]
        fn slots_are_always_in_order(
            count in 1u32..40,
            steps in prop::collection::vec((prop::collection::vec(0u16..60, 0..6), any::<bool>()), 1..20),
        ) {
            let mut slots = Slots::new(count);
            for (numbers, add) in steps {
                if !add {
                    slots.retain(|t| !numbers.iter().any(|number| *t == tier(*number)));
                    continue;
                }
                let before = slots.by_tier.clone();
                let wanted: BTreeSet<u16> = numbers.iter().copied().collect();
                let new = wanted.iter().filter(|n| !before.contains_key(&tier(**n))).count();
                match slots.add(wanted.iter().map(|number| tier(*number))) {
                    Err(NoSlot) => {
                        prop_assert!(before.len() + new > count as usize);
                        prop_assert_eq!(&slots.by_tier, &before);
                    }
                    Ok(moves) => {
                        prop_assert_eq!(slots.by_tier.len(), before.len() + new);
                        let mut places = before;
                        for step in moves {
                            prop_assert_eq!(places.insert(step.tier.clone(), step.to), Some(step.from));
                            let order: Vec<u32> = places.values().copied().collect();
                            prop_assert!(order.is_sorted_by(|a, b| a > b), "{:?}", order);
                        }
                        for (tier, slot) in &places {
                            prop_assert_eq!(slots.get(tier), Some(*slot));
                        }
                    }
                }
                let order: Vec<u32> = slots.by_tier.values().copied().collect();
                prop_assert!(order.is_sorted_by(|a, b| a > b), "{:?}", order);
                prop_assert!(order.iter().all(|slot| *slot < count));
            }
        }
    }
}

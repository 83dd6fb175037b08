//! The ordered lists of a layout: which rule stands in which, and what a commit changes there. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Draft, Layout};
use crate::nft::chunk::{Chunk, Item, ItemKey, ListKey, arrange};
use crate::nft::compile::{Class, Context, FINISH_CHAIN};
use crate::nft::object::NftRule;
use crate::nft::plan::Plan;
use crate::nft::section::Section;
use crate::nft::unit::UnitKey;
use crate::rule::{Family, Rule};

impl Layout {
    /// Plans the chunks of lists; says whether the chains that lead there may have changed.
    pub(super) fn plan_lists(&mut self, draft: &Draft, before: Context, plan: &mut Plan) -> bool {
        let context = self.context();
        let rewrite_all = before != context;
        let mut edits = self.list_edits(draft);
        if rewrite_all {
            for list in self.lists.map().keys() {
                edits.entry(list.clone()).or_default();
            }
        }
        let mut changed = false;
        for (list, edits) in edits {
            let edits: Vec<(&ItemKey, Option<Item>)> =
                edits.iter().map(|(k, i)| (k, i.clone())).collect();
            let old: Arc<Vec<Arc<Chunk>>> = self.lists.get(&list).cloned().unwrap_or_default();
            let new = match edits.as_slice() {
                [] => old.to_vec(),
                edits => arrange(&old, edits, &list, &mut self.numbers.next_chunk),
            };
            changed |= plan.change_chunks(&list, &old, &new, rewrite_all, &context);
            let new = Some(Arc::new(new)).filter(|chunks| !chunks.is_empty());
            self.lists.set(list, new);
        }
        changed
    }

    /// What changes in each list.
    fn list_edits(&self, draft: &Draft) -> BTreeMap<ListKey, BTreeMap<ItemKey, Option<Item>>> {
        let mut edits: BTreeMap<ListKey, BTreeMap<ItemKey, Option<Item>>> = BTreeMap::new();
        for (unit, before) in &draft.units {
            let after = self.units.get(unit);
            if before.as_ref().map(|unit| unit.id) == after.map(|unit| unit.id) {
                continue;
            }
            if unit.section.node_length(unit.family).is_some() {
                self.cut_lists(unit, &mut edits);
                continue;
            }
            // Sections without nodes have their units among the listed rules.
            for (state, is_there) in [(before.as_ref(), false), (after, true)] {
                let Some(state) = state else { continue };
                let key = (unit.tier.clone(), Arc::from(state.id.to_be_bytes()));
                let item = Item::Unit(unit.clone(), state.id);
                for list in self.lists_of(unit.family, unit.section, &unit.tier, &item) {
                    let edits = edits.entry(list).or_default();
                    edits.insert(key.clone(), is_there.then(|| item.clone()));
                }
            }
        }
        for ((family, section), items) in &draft.items {
            for (key, (before, after)) in items {
                for (item, is_there) in [(before, false), (after, true)] {
                    let Some(item) = item else { continue };
                    for list in self.lists_of(*family, *section, item.tier(), item) {
                        let edits = edits.entry(list).or_default();
                        edits.insert(key.clone(), is_there.then(|| item.clone()));
                    }
                }
            }
        }
        edits
    }

    /// Moves listed rules of a section whose list is another since a unit came or went.
    fn cut_lists(
        &self,
        unit: &UnitKey,
        edits: &mut BTreeMap<ListKey, BTreeMap<ItemKey, Option<Item>>>,
    ) {
        let of_section =
            |list: &&ListKey| list.family == unit.family && list.section == unit.section;
        for list in self.lists.map().keys().filter(of_section) {
            for (key, item) in self.chunks(list).iter().flat_map(|chunk| chunk.items()) {
                let wanted = self.list_of(unit.family, unit.section, item.tier(), list.class);
                if wanted != *list {
                    edits
                        .entry(list.clone())
                        .or_default()
                        .insert(key.clone(), None);
                    let item = Some(item.clone());
                    edits.entry(wanted).or_default().insert(key.clone(), item);
                }
            }
        }
    }

    /// The lists in which an item of a tier stands: one for each class that it is in.
    fn lists_of(
        &self,
        family: Family,
        section: Section,
        tier: &Arc<[u8]>,
        item: &Item,
    ) -> Vec<ListKey> {
        let classes = Class::ALL.into_iter().filter(|class| item.is_in(*class));
        classes
            .map(|class| self.list_of(family, section, tier, class))
            .collect()
    }

    /// The list in which items of a tier stand.
    fn list_of(&self, family: Family, section: Section, tier: &Arc<[u8]>, class: Class) -> ListKey {
        let mut list = ListKey {
            family,
            section,
            class,
            after: None,
            number: 0,
        };
        if section.node_length(family).is_some() {
            let before = self
                .units_of(family, section)
                .filter(|(unit, _)| unit.tier < *tier);
            for (unit, state) in before {
                let is_next = list.after.as_ref() != Some(&unit.tier);
                list.number = match is_next {
                    true => state.id,
                    false => list.number.min(state.id),
                };
                list.after = Some(unit.tier.clone());
            }
        }
        list
    }

    /// The lists of a section, in order.
    pub(in crate::nft) fn lists_in(
        &self,
        family: Family,
        section: Section,
        class: Class,
    ) -> impl Iterator<Item = (&ListKey, &Arc<Vec<Arc<Chunk>>>)> {
        let first = ListKey {
            family,
            section,
            class,
            after: None,
            number: 0,
        };
        let is_here = move |(list, _): &(&ListKey, &Arc<Vec<Arc<Chunk>>>)| {
            (list.family, list.section, list.class) == (family, section, class)
        };
        self.lists.map().range(first..).take_while(is_here)
    }

    /// Every chain with its rules, each after those that it refers to.
    pub(in crate::nft) fn all_chains(&self) -> Vec<(String, Vec<NftRule>)> {
        let context = self.context();
        let (finish, others): (Vec<_>, Vec<_>) = self
            .structure()
            .into_iter()
            .partition(|(name, _)| name == FINISH_CHAIN);
        let mut chains = finish;
        for (list, chunks) in self.lists.map() {
            for chunk in chunks.iter() {
                let items = chunk.items.iter();
                let rules = items.flat_map(|(_, item)| item.compile(list.class, &context));
                chains.push((chunk.chain(list), rules.collect()));
            }
        }
        chains.extend(others);
        chains
    }

    /// The chunks of a list.
    pub(in crate::nft) fn chunks(&self, list: &ListKey) -> &[Arc<Chunk>] {
        self.lists.get(list).map_or(&[], |chunks| chunks.as_slice())
    }
}

/// Where a rule stands in the list of a section. By address where a packet finds its part of the
/// list by address; by tier where units stand among the rules.
pub(in crate::nft) fn item_key(section: Section, rule: &Rule) -> ItemKey {
    match section.node_length(rule.family) {
        Some(_) => (rule.order.clone(), Arc::default()),
        None => (rule.tier.clone(), rule.order.clone()),
    }
}

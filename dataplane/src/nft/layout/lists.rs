//! The ordered lists of a layout: which rule stands in which, and what a commit changes there. Pure.
//!
//! There is a list for each node that has a rule which fits no unit, and one for each section without
//! nodes. Units stand in it among the rules: in that of a node those that hold rules of the node, so
//! that its packets need not look any further.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Draft, Layout, listed_map, node_element};
use crate::nft::chunk::{Chunk, Item, ItemKey, ListKey, arrange, chains};
use crate::nft::compile::{Class, Context};
use crate::nft::object::{Element, NamedSet, Target};
use crate::nft::plan::Plan;
use crate::nft::section::Section;
use crate::nft::structure::Chain;
use crate::nft::unit::{Unit, UnitKey};
use crate::rule::Family;

/// Where rules are evaluated together: family, section and node.
pub(in crate::nft) type Place = (Family, Section, Option<u128>);

impl Layout {
    /// Rearranges the lists; says whether the chains that lead there may have changed.
    pub(super) fn plan_lists(
        &mut self,
        draft: &mut Draft,
        before: Context,
        plan: &mut Plan,
    ) -> bool {
        let context = self.context();
        let rewrite_all = before != context;
        let mut lists: BTreeSet<ListKey> = BTreeSet::new();
        for (family, section, node) in draft.places.iter().copied() {
            lists.extend(Class::ALL.map(|class| ListKey {
                family,
                section,
                node,
                class,
            }));
        }
        if rewrite_all {
            lists.extend(self.lists.map().keys().copied());
        }
        let mut changed = false;
        for list in lists {
            let old: Arc<Vec<Arc<Chunk>>> = self.lists.get(&list).cloned().unwrap_or_default();
            let edits = self.list_edits(&list, &old, draft);
            if edits.is_empty() && !rewrite_all {
                continue;
            }
            let edits: Vec<(&ItemKey, Option<Item>)> = edits
                .iter()
                .map(|(key, item)| (key, item.clone()))
                .collect();
            let new = match edits.as_slice() {
                [] => old.to_vec(),
                edits => arrange(&old, edits, &mut self.numbers.next_chunk),
            };
            plan.change_chunks(&list, &old, &new, rewrite_all, &context);
            changed |= old.is_empty() != new.is_empty();
            if old.is_empty() != new.is_empty() {
                self.lead_to(&list, !new.is_empty(), draft);
            }
            let new = Some(Arc::new(new)).filter(|chunks| !chunks.is_empty());
            self.lists.set(list, new);
        }
        changed
    }

    /// What changes in a list.
    fn list_edits(
        &self,
        list: &ListKey,
        old: &[Arc<Chunk>],
        draft: &Draft,
    ) -> BTreeMap<ItemKey, Option<Item>> {
        let place = (list.family, list.section, list.node);
        let mut edits: BTreeMap<ItemKey, Option<Item>> = BTreeMap::new();
        let is_in = |item: &Option<Item>| item.as_ref().is_some_and(|i| i.is_in(list.class));
        for (key, (before, after)) in draft.items.get(&place).into_iter().flatten() {
            if is_in(before) || is_in(after) {
                edits.insert(key.clone(), after.clone().filter(|i| i.is_in(list.class)));
            }
        }
        if edits.is_empty() && old.is_empty() && list.node.is_some() {
            return edits;
        }
        let stays = |(key, item): &&(ItemKey, Item)| {
            matches!(item, Item::Rule(_)) && !edits.contains_key(key)
        };
        let mut items = old.iter().flat_map(|chunk| chunk.items());
        let has_rules = items.any(|item| stays(&item)) || edits.values().any(Option::is_some);
        // Packets of a node find its units by themselves when nothing is listed.
        let wanted = match has_rules || list.node.is_none() {
            true => self.units_at(place),
            false => BTreeMap::new(),
        };
        let wanted: BTreeMap<ItemKey, Item> = wanted
            .into_iter()
            .filter(|(_, item)| item.is_in(list.class))
            .collect();
        for (key, item) in old.iter().flat_map(|chunk| chunk.items()) {
            if matches!(item, Item::Unit(..)) && !wanted.contains_key(key) {
                edits.insert(key.clone(), None);
            }
        }
        let there: BTreeSet<&ItemKey> = old
            .iter()
            .flat_map(|chunk| chunk.items())
            .map(|(key, _)| key)
            .collect();
        let new: Vec<_> = wanted
            .into_iter()
            .filter(|(key, _)| !there.contains(key))
            .collect();
        edits.extend(new.into_iter().map(|(key, item)| (key, Some(item))));
        edits
    }

    /// The units that hold rules of a place.
    fn units_at(&self, place: Place) -> BTreeMap<ItemKey, Item> {
        let (family, section, node) = place;
        let item = |(key, unit): (&UnitKey, &Unit)| {
            let item_key = (key.tier.clone(), unit.id.to_be_bytes().into());
            (item_key, Item::Unit(key.clone(), unit.chain(key)))
        };
        let is_here = |(_, unit): &(&UnitKey, &Unit)| match node {
            Some(node) => self
                .node_units
                .get(&(family, section, node, unit.id))
                .is_some(),
            None => true,
        };
        self.units_of(family, section)
            .filter(is_here)
            .map(item)
            .collect()
    }

    /// Makes packets of a node find its list, or no longer.
    fn lead_to(&mut self, list: &ListKey, is_there: bool, draft: &mut Draft) {
        let Some((map, element)) = self.listed_element(list) else {
            return;
        };
        match is_there {
            true => draft.add_element(map, element),
            false => draft.remove_element(map, element),
        }
    }

    /// The elements that lead to lists, by their maps.
    pub(super) fn listed_elements(&self) -> impl Iterator<Item = (NamedSet, Element)> {
        let lists = self.lists.map().keys();
        lists.filter_map(|list| self.listed_element(list))
    }

    /// The element that leads to the list of a node, and its map.
    fn listed_element(&self, list: &ListKey) -> Option<(NamedSet, Element)> {
        let map = listed_map(list.family, list.section, list.class, self.first_number())?;
        let element = Element {
            target: Some(Target::Chain(list.root())),
            ..node_element(&map, &[list.node?])
        };
        Some((map, element))
    }

    /// The chains of all lists, each after those that it refers to.
    pub(in crate::nft) fn list_chains(&self) -> Vec<Chain> {
        let context = self.context();
        let of_list =
            |(list, chunks): (&ListKey, &Arc<Vec<Arc<Chunk>>>)| chains(chunks, &[], list, &context);
        let chains = self.lists.map().iter().flat_map(of_list);
        chains.map(|chain| (chain.name, chain.rules)).collect()
    }

    /// True when packets of a class may find a list in a section.
    pub(in crate::nft) fn has_lists(&self, family: Family, section: Section, class: Class) -> bool {
        let list = ListKey {
            family,
            section,
            node: None,
            class,
        };
        let map = listed_map(family, section, class, self.first_number());
        map.is_some_and(|map| self.has_set(&map)) || self.lists.get(&list).is_some()
    }
}

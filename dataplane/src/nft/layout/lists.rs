//! The ordered lists of a layout: which rule stands in which, and what a commit changes there. Pure.
//!
//! There is a list for each node that has a rule which fits no unit, and one for each section without
//! nodes. Units stand in it among the rules: in that of a node those that hold rules of the node, so
//! that its packets need not look any further.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Draft, Layout, listed_map, node_element};
use crate::nft::chunk::{Chunk, Item, ItemKey, ListKey, Scope, arrange, chains};
use crate::nft::compile::Context;
use crate::nft::condition::Class;
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
        let mut places: BTreeSet<(Place, Class)> = BTreeSet::new();
        for place in draft
            .places
            .iter()
            .filter(|place| self.may_list(place, draft))
        {
            places.extend(Class::ALL.map(|class| (*place, class)));
        }
        if rewrite_all {
            places.extend(
                self.lists
                    .map()
                    .keys()
                    .map(|list| (list.place(), list.class)),
            );
        }
        let mut changed = false;
        for (place, class) in places {
            let roots = |layout: &Self| {
                Scope::ALL.map(|scope| layout.root_for(ListKey::new(place, class, scope)))
            };
            let roots_before = roots(self);
            for scope in Scope::ALL {
                let list = ListKey::new(place, class, scope);
                let old: Arc<Vec<Arc<Chunk>>> = self.lists.get(&list).cloned().unwrap_or_default();
                let edits = match scope {
                    Scope::Bare => self.bare_edits(&list, draft),
                    Scope::Full => self.full_edits(&list, &old),
                };
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
                let new = Some(Arc::new(new)).filter(|chunks| !chunks.is_empty());
                self.lists.set(list, new);
            }
            let roots = roots_before.into_iter().zip(roots(self));
            for (scope, (before, after)) in Scope::ALL.into_iter().zip(roots) {
                if before != after {
                    let entry = ListKey::new(place, class, scope);
                    self.lead_to(&entry, before, after, draft);
                }
            }
        }
        changed
    }

    /// False when nothing is listed at a place, and nothing is to be: so it is with most.
    fn may_list(&self, place: &Place, draft: &Draft) -> bool {
        let first = ListKey::new(*place, Class::ALL[0], Scope::Bare);
        let has_list = || {
            let mut lists = self.lists.map().range(first..);
            lists.next().is_some_and(|(list, _)| list.place() == *place)
        };
        place.2.is_none() || draft.items.contains_key(place) || has_list()
    }

    /// What changes in the list of a place for packets that no unit there can match.
    fn bare_edits(&self, list: &ListKey, draft: &Draft) -> BTreeMap<ItemKey, Option<Item>> {
        let is_in = |item: &Option<Item>| item.as_ref().is_some_and(|i| i.is_in(list.class));
        let items = draft.items.get(&list.place()).into_iter().flatten();
        items
            .filter(|(_, (before, after))| is_in(before) || is_in(after))
            .map(|(key, (_, after))| (key.clone(), after.clone().filter(|i| i.is_in(list.class))))
            .collect()
    }

    /// What changes in the list of a place for all other packets. There is one only if there are units; else that for
    /// bare packets does. Packets of a node find its units by themselves when nothing is listed.
    fn full_edits(&self, list: &ListKey, old: &[Arc<Chunk>]) -> BTreeMap<ItemKey, Option<Item>> {
        let bare = ListKey {
            scope: Scope::Bare,
            ..*list
        };
        let bare = self.lists.get(&bare).map_or(&[][..], |chunks| chunks);
        let mut wanted = match !bare.is_empty() || list.node.is_none() {
            true => self.units_at(list.place(), list.class),
            false => BTreeMap::new(),
        };
        if !wanted.is_empty() {
            wanted.extend(bare.iter().flat_map(|chunk| chunk.items()).cloned());
        }
        let mut edits = BTreeMap::new();
        for (key, item) in old.iter().flat_map(|chunk| chunk.items()) {
            match wanted.remove(key) {
                None => drop(edits.insert(key.clone(), None)),
                Some(new) if !new.is_same(item) => drop(edits.insert(key.clone(), Some(new))),
                Some(_) => {}
            }
        }
        edits.extend(wanted.into_iter().map(|(key, item)| (key, Some(item))));
        edits
    }

    /// The units that hold rules of a place, of those that packets of a class may match.
    fn units_at(&self, place: Place, class: Class) -> BTreeMap<ItemKey, Item> {
        let (family, section, node) = place;
        let item = |(key, unit): (&UnitKey, &Unit)| {
            let item_key = (key.tier.clone(), unit.id.to_be_bytes().into());
            (item_key, Item::Unit(key.clone(), unit.chain(key)))
        };
        let is_here = |(key, unit): &(&UnitKey, &Unit)| {
            key.is_in(class)
                && node.is_none_or(|node| {
                    let at = (family, section, node, unit.id);
                    self.node_units.get(&at).is_some()
                })
        };
        self.units_of(family, section)
            .filter(is_here)
            .map(item)
            .collect()
    }

    /// The list that packets meet which belong to `list`, if any is there.
    fn root_for(&self, list: ListKey) -> Option<ListKey> {
        let bare = ListKey {
            scope: Scope::Bare,
            ..list
        };
        [list, bare]
            .into_iter()
            .find(|list| self.lists.get(list).is_some())
    }

    /// Makes packets that belong to a list find that which they shall meet now.
    fn lead_to(
        &mut self,
        entry: &ListKey,
        before: Option<ListKey>,
        after: Option<ListKey>,
        draft: &mut Draft,
    ) {
        if let Some((map, element)) = before.and_then(|root| self.listed_element(entry, &root)) {
            draft.remove_element(map, element);
        }
        if let Some((map, element)) = after.and_then(|root| self.listed_element(entry, &root)) {
            draft.add_element(map, element);
        }
    }

    /// The elements that lead to lists, by their maps.
    pub(super) fn listed_elements(&self) -> impl Iterator<Item = (NamedSet, Element)> {
        let entries: BTreeSet<ListKey> = self
            .lists
            .map()
            .keys()
            .flat_map(|list| Scope::ALL.map(|scope| ListKey { scope, ..*list }))
            .collect();
        entries
            .into_iter()
            .filter_map(|entry| self.listed_element(&entry, &self.root_for(entry)?))
    }

    /// The element that leads packets that belong to a list to that which they shall meet, and its map.
    fn listed_element(&self, entry: &ListKey, root: &ListKey) -> Option<(NamedSet, Element)> {
        let map = listed_map(
            entry.family,
            entry.section,
            entry.class,
            entry.scope,
            self.first_number(),
        )?;
        let target = match entry.scope {
            Scope::Bare => Target::Jump(root.root()),
            Scope::Full => Target::Goto(root.root()),
        };
        let element = Element {
            target: Some(target),
            ..node_element(&map, &[entry.node?])
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
        // Where others find one, bare packets may find none, but not the other way round.
        let scope = Scope::Full;
        match listed_map(family, section, class, scope, self.first_number()) {
            Some(map) => self.has_set(&map),
            None => self
                .root_of_section(family, section, class, scope)
                .is_some(),
        }
    }

    /// The chain of the list that packets meet in a section without nodes, if there is one.
    pub(in crate::nft) fn root_of_section(
        &self,
        family: Family,
        section: Section,
        class: Class,
        scope: Scope,
    ) -> Option<String> {
        let list = ListKey::new((family, section, None), class, scope);
        self.root_for(list).map(|root| root.root())
    }
}

//! How large sets are. Pure.
//!
//! The kernel finds elements faster in a set of which it knows how many it can have, but then takes no more.
//! A set that is too small gives way to a larger one: the rules go over to it, and the next commit
//! deletes the old one, whose elements may have been needed by packets on their way until then.

use super::{Draft, Layout};
use crate::nft::key::Key;
use crate::nft::object::{Element, NamedSet};
use crate::nft::plan::Plan;

/// How many elements a set can have at first.
const LEAST: u32 = 256;
/// A set that is too small is made so many times as large, or more.
const GROWTH: u32 = 4;
/// Stands between the name of a set and its size.
pub(super) const SIZED: &str = "of";
/// Keys of so few octets need no size: the kernel has a bit for each.
const BITMAP_OCTETS: usize = 2;
/// The most elements of a bitmap, if the same can be looked up otherwise: the kernel finds a bit at once, but walks
/// a list of all elements to add one more.
const BITMAP_MAX: usize = 4096;

/// How full a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    /// Elements.
    elements: usize,
    /// The most that it can have; `None` when there is no such limit.
    size: Option<u32>,
}

impl Fill {
    /// A set that has room for so many elements.
    fn of(set: &NamedSet, elements: usize) -> Self {
        let is_bitmap = set.key.width() <= BITMAP_OCTETS
            && set.values.is_none()
            && (elements <= BITMAP_MAX || set.key.wider().is_none());
        let mut size = LEAST;
        while (size as usize) < elements {
            size = size.saturating_mul(GROWTH);
        }
        let size = (!is_bitmap).then_some(size);
        Self { elements, size }
    }

    /// The most elements that the set is to have; `None` when there is no such limit.
    fn most(&self, set: &NamedSet) -> Option<usize> {
        match self.size {
            Some(size) => Some(size as usize),
            None => set.key.wider().map(|_| BITMAP_MAX),
        }
    }

    /// What packets look up in the table.
    fn key(&self, key: Key) -> Key {
        match (self.size, key.wider()) {
            (Some(_), Some(wider)) => wider,
            (None, _) | (_, None) => key,
        }
    }

    /// The name of the set in the table.
    pub(super) fn name(&self, name: &str) -> String {
        match self.size {
            None | Some(LEAST) => name.into(),
            Some(size) => format!("{name}-{SIZED}-{size}"),
        }
    }
}

impl Layout {
    /// A set as it is in the table, with its name, key and size there.
    pub(in crate::nft) fn sized(&self, set: NamedSet) -> NamedSet {
        let fill = self.fills.get(&set.name).copied();
        let fill = fill.unwrap_or_else(|| Fill::of(&set, 0));
        NamedSet {
            name: fill.name(&set.name),
            key: fill.key(set.key),
            size: fill.size,
            ..set
        }
    }

    /// True when a set has elements.
    pub(in crate::nft) fn has_set(&self, set: &NamedSet) -> bool {
        self.fills.get(&set.name).is_some()
    }

    /// Plans sets and elements; says whether sets came or went, or changed their names.
    pub(super) fn plan_sets(&mut self, draft: &Draft, plan: &mut Plan) -> bool {
        let mut structure_changed = false;
        let retired: Vec<String> = self.retired.map().keys().cloned().collect();
        for name in retired {
            plan.delete_set(&name);
            self.retired.set(name, None);
        }
        for (set, changes) in draft.elements.values() {
            let changes = changes.values();
            let changes: Vec<_> = changes.filter(|(before, after)| before != after).collect();
            let gone = changes
                .iter()
                .filter(|(before, _)| before.is_some())
                .count();
            let new = changes.iter().filter(|(_, after)| after.is_some()).count();
            let before = self.fills.get(&set.name).copied();
            let had = before.map_or(0, |fill| fill.elements);
            let elements = had + new - gone;
            let Some(fill) = before else {
                if elements > 0 {
                    let fill = Fill::of(set, elements);
                    self.fills.set(set.name.clone(), Some(fill));
                    let set = self.sized(set.clone());
                    plan.create_set(set.clone());
                    change_all(plan, &set, &changes);
                    structure_changed = true;
                }
                continue;
            };
            if elements == 0 {
                plan.delete_set(&fill.name(&set.name));
                self.fills.set(set.name.clone(), None);
                structure_changed = true;
                continue;
            }
            // What is deleted takes up room until the end of the transaction.
            if fill.most(set).is_none_or(|most| had + new <= most) {
                let fill = Fill { elements, ..fill };
                change_all(plan, &self.sized(set.clone()), &changes);
                self.fills.set(set.name.clone(), Some(fill));
                continue;
            }
            // What goes is not to be held by the old one.
            let old = self.sized(set.clone());
            for (before, _) in &changes {
                change(plan, &old, before.as_ref(), None);
            }
            let larger = Fill::of(set, had + new + 1);
            self.retired.set(old.name, Some(()));
            self.fills
                .set(set.name.clone(), Some(Fill { elements, ..larger }));
            let larger = self.sized(set.clone());
            plan.create_set(larger.clone());
            self.each_element(|other, element| {
                if other.name == set.name {
                    change(plan, &larger, None, Some(&element));
                }
            });
            structure_changed = true;
        }
        structure_changed
    }
}

/// Plans changes of elements.
fn change_all(plan: &mut Plan, set: &NamedSet, changes: &[&(Option<Element>, Option<Element>)]) {
    for (before, after) in changes {
        change(plan, set, before.as_ref(), after.as_ref());
    }
}

/// Plans the change of an element, under the key that the set has in the table.
fn change(plan: &mut Plan, set: &NamedSet, before: Option<&Element>, after: Option<&Element>) {
    let (before, after) = (
        before.map(|element| element.under(&set.key)),
        after.map(|element| element.under(&set.key)),
    );
    plan.change_element(&set.name, before.as_deref(), after.as_deref());
}

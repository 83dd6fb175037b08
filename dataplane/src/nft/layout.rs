//! How rules lie in the table, and what a commit changes there. Pure.
//!
//! A packet goes through the sections of its family in order ([`super::section`]). In each it finds
//! its node, and then by its key the rule of each unit ([`super::unit`]). Rules that hold something
//! that no unit can express stand in ordered lists between the units ([`super::chunk`]), where their
//! tiers want them. Neither depends on how many rules there are elsewhere, and a commit touches only
//! the elements and chunks of the rules that it changes.

mod guard;
mod lists;
mod sizes;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chunk::{Chunk, Item, ItemKey, ListKey, chain_names, take_id};
use super::compile::{Context, collects_marks};
use super::installed::{Installed, KnownObjects};
use super::journal::Journal;
use super::message::Message;
use super::object::{Element, NamedObject, NamedSet, NftRule};
use super::plan::Plan;
use super::section::Section;
use super::statement::ScratchMark;
use super::unit::{Kind, Unit, UnitKey, UnitPlace};
use crate::desired::{Changes, Sample};
use crate::rule::{Family, OrderKey, Rule, RuleId};
pub(super) use guard::listed_map;
#[cfg(feature = "os")]
pub(super) use guard::number_of;
pub(super) use guard::{Guard, PortProtocol};
use guard::{NodeKey, node_element};
pub(super) use lists::Place;
use sizes::Fill;
use sources::source_chains;

/// Units in a section. Rules that would need more are listed: every unit is one more lookup for
/// packets of the nodes.
const UNITS_MAX: usize = 64;

/// Prefixes that rules in units may add beside one each, so that wide sources are found: rules that would
/// need more are listed.
const WIDE_MAX: usize = 65_536;

/// What is numbered, so that names are unique.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    next_chunk: u64,
    next_unit: u64,
    /// Of the first unit.
    first: u64,
    /// Of the last set, named or not.
    last_set: u32,
}

/// Everything that is installed beside the frame.
///
/// Changes are provisional until [`Layout::accept`] or [`Layout::roll_back`].
#[derive(Clone, Debug)]
pub(super) struct Layout {
    rules: Journal<(Family, OrderKey), Arc<Installed>>,
    /// Where the rule of an id stands.
    owners: Journal<RuleId, (Family, OrderKey)>,
    /// Rules for whose sake a guard has a node.
    nodes: Journal<NodeKey, u32>,
    /// Rules of a node in a unit.
    node_units: Journal<(Family, Section, u128, u64), u32>,
    /// Rules that are in lists.
    listed: Journal<(Family, OrderKey), ()>,
    units: Journal<UnitKey, Unit>,
    /// How many prefixes rules in units have added beside one each, see [`WIDE_MAX`].
    wide: Journal<(), usize>,
    lists: Journal<ListKey, Arc<Vec<Arc<Chunk>>>>,
    /// How full each named set is, by the name that it has while it is small.
    fills: Journal<String, Fill>,
    /// Sets that have given way to larger ones, to be deleted by the next commit.
    retired: Journal<String, ()>,
    /// The chains that lead to units and lists.
    chains: Journal<String, Arc<Vec<NftRule>>>,
    /// Rules that collect this mark.
    marks: Journal<(Family, u8), usize>,
    /// Rules that limit each source, and how many sources they may have.
    sources: Journal<(Family, OrderKey), (RuleId, u64)>,
    /// Rules for whose sake marks are collected.
    collecting: Journal<(), usize>,
    settings: Journal<(), (Sample, ScratchMark)>,
    numbers: Numbers,
    accepted: Numbers,
}

/// A change to one rule: what stood at a key and what shall stand there.
struct Edit {
    old: Option<Arc<Installed>>,
    new: Option<Arc<Installed>>,
}

/// What there is before and after.
type Change<T> = (Option<T>, Option<T>);

/// What happens to elements of one set, by the octets of their keys.
type ElementChanges = BTreeMap<Vec<u8>, Change<Element>>;

/// What a commit changes, while it is being found out.
#[derive(Debug, Default)]
struct Draft {
    /// For each set: what happens to elements, by the octets of their keys.
    elements: BTreeMap<String, (NamedSet, ElementChanges)>,
    /// Where rules came or went.
    places: BTreeSet<Place>,
    /// For each place: listed rules before and after.
    items: BTreeMap<Place, BTreeMap<ItemKey, Change<Item>>>,
    /// Units before, of those that are touched.
    units: BTreeMap<UnitKey, Option<Unit>>,
}

impl Draft {
    /// What happens to the elements of a set.
    fn changes_of(&mut self, set: NamedSet) -> &mut ElementChanges {
        let changes = self.elements.entry(set.name.clone());
        &mut changes.or_insert_with(|| (set, BTreeMap::new())).1
    }

    fn remove_element(&mut self, set: NamedSet, element: Element) {
        let changes = self.changes_of(set);
        changes
            .entry(element.value.octets())
            .and_modify(|(_, after)| *after = None)
            .or_insert((Some(element), None));
    }

    fn add_element(&mut self, set: NamedSet, element: Element) {
        let changes = self.changes_of(set);
        let change = changes.entry(element.value.octets()).or_default();
        change.1 = Some(element);
    }

    fn remove_item(&mut self, place: Place, key: ItemKey, item: Item) {
        let changes = self.items.entry(place).or_default();
        changes
            .entry(key)
            .and_modify(|(_, after)| *after = None)
            .or_insert((Some(item), None));
    }

    fn add_item(&mut self, place: Place, key: ItemKey, item: Item) {
        let changes = self.items.entry(place).or_default();
        changes.entry(key).or_default().1 = Some(item);
    }
}

impl Layout {
    /// No rules. Maps are numbered from `first`, so that none has the name of one that is there already:
    /// elements of a map that is deleted are gone for packets, too, that are on their way through rules which
    /// go in the same transaction. Sets without values and chains can be replaced.
    pub(super) fn empty(sample: Sample, scratch: ScratchMark, first: u64) -> Self {
        let numbers = Numbers {
            next_chunk: 1,
            next_unit: first,
            first,
            last_set: 0,
        };
        let mut layout = Self {
            rules: Journal::default(),
            owners: Journal::default(),
            nodes: Journal::default(),
            node_units: Journal::default(),
            listed: Journal::default(),
            units: Journal::default(),
            wide: Journal::default(),
            lists: Journal::default(),
            fills: Journal::default(),
            retired: Journal::default(),
            chains: Journal::default(),
            marks: Journal::default(),
            sources: Journal::default(),
            collecting: Journal::default(),
            settings: Journal::default(),
            numbers,
            accepted: numbers,
        };
        layout.settings.set((), Some((sample, scratch)));
        // The frame creates the chains of the classes.
        for (name, rules) in layout.structure() {
            layout.chains.set(name, Some(Arc::new(rules)));
        }
        layout.accept();
        layout
    }

    /// Makes the changes since the last acceptance final.
    pub(super) fn accept(&mut self) {
        self.each_journal(|journal| journal.accept());
        self.accepted = self.numbers;
    }

    /// Undoes the changes since the last acceptance.
    pub(super) fn roll_back(&mut self) {
        self.each_journal(|journal| journal.roll_back());
        self.numbers = self.accepted;
    }

    fn each_journal(&mut self, act: impl Fn(&mut dyn Provisional)) {
        let journals: [&mut dyn Provisional; 15] = [
            &mut self.rules,
            &mut self.owners,
            &mut self.nodes,
            &mut self.node_units,
            &mut self.listed,
            &mut self.units,
            &mut self.wide,
            &mut self.lists,
            &mut self.fills,
            &mut self.retired,
            &mut self.chains,
            &mut self.marks,
            &mut self.sources,
            &mut self.collecting,
            &mut self.settings,
        ];
        for journal in journals {
            act(journal);
        }
    }

    /// Installed rules in the order of their families and keys.
    pub(super) fn installed(&self) -> impl Iterator<Item = &Arc<Installed>> {
        self.rules.map().values()
    }

    /// The same as the upper half knows them.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.installed().map(|installed| &installed.rule)
    }

    /// Number of installed rules.
    pub(super) fn len(&self) -> usize {
        self.rules.map().len()
    }

    /// Number of rules that are in ordered lists.
    pub(super) fn listed_len(&self) -> usize {
        self.listed.map().len()
    }

    /// Number of units.
    pub(super) fn unit_count(&self) -> usize {
        self.units.map().len()
    }

    /// The number of the first map.
    pub(super) fn first_number(&self) -> u64 {
        self.numbers.first
    }

    /// Where samples go, and the bits of the packet mark that are used.
    pub(super) fn settings(&self) -> (Sample, ScratchMark) {
        *self
            .settings
            .get(&())
            .expect("set when the layout was made")
    }

    /// The layout after `changes`: the messages that take the kernel there. Fails when two rules
    /// would have the same id.
    pub(super) fn change(
        &mut self,
        changes: &Changes,
        known: &KnownObjects,
    ) -> Result<Vec<Message>, RuleId> {
        let before = self.context();
        let edits = self.edit(changes, known)?;
        Ok(self.carry_out(&edits, before, known))
    }

    /// The same rules under other settings.
    pub(super) fn change_settings(&mut self, sample: Sample, scratch: ScratchMark) -> Vec<Message> {
        let before = self.context();
        self.settings.set((), Some((sample, scratch)));
        self.carry_out(&[], before, &KnownObjects::default())
    }

    /// Puts rules with the objects that they have into an empty layout.
    pub(super) fn fill(
        &mut self,
        rules: impl Iterator<Item = Arc<Installed>>,
        known: &KnownObjects,
    ) -> Vec<Message> {
        let before = self.context();
        let edits: Vec<Edit> = rules
            .map(|new| Edit {
                old: None,
                new: Some(new),
            })
            .collect();
        for edit in &edits {
            let new = edit.new.as_ref().expect("every edit here has one");
            let key = (new.rule.family, new.rule.order.clone());
            self.owners.set(new.rule.id, Some(key.clone()));
            self.count_sources(&key, Some(new));
            self.rules.set(key, Some(new.clone()));
            self.count_marks(new, 1);
        }
        self.carry_out(&edits, before, known)
    }

    /// What all nft rules depend on.
    pub(super) fn context(&self) -> Context {
        let (sample, scratch) = self.settings();
        let collecting = self.collecting.get(&()).is_some();
        Context {
            sample,
            collect_marks: collecting.then_some(scratch),
        }
    }

    /// The marks that are written at the end of evaluation, if any are collected.
    pub(super) fn collected_marks(&self) -> impl Iterator<Item = &(Family, u8)> {
        self.marks.map().keys()
    }

    /// The units of a section, in order.
    pub(super) fn units_of(
        &self,
        family: Family,
        section: Section,
    ) -> impl Iterator<Item = (&UnitKey, &Unit)> {
        let least = UnitKey::least(family, section);
        let is_here =
            move |(unit, _): &(&UnitKey, &Unit)| unit.family == family && unit.section == section;
        self.units.map().range(least..).take_while(is_here)
    }

    /// Every named set that is in use, with its elements.
    pub(super) fn sets(&self) -> BTreeMap<NamedSet, Vec<Element>> {
        let mut sets: BTreeMap<String, (NamedSet, Vec<Element>)> = BTreeMap::new();
        self.each_element(|set, element| {
            let name = set.name.clone();
            sets.entry(name)
                .or_insert((set, Vec::new()))
                .1
                .push(element);
        });
        let sets = sets.into_values();
        let in_table = |(set, elements): (NamedSet, Vec<Element>)| {
            let set = self.sized(set);
            let elements = elements
                .iter()
                .map(|element| element.under(&set.key).into_owned());
            let elements = elements.collect();
            (set, elements)
        };
        sets.map(in_table).collect()
    }

    /// Hands out every element with its set.
    fn each_element(&self, mut to: impl FnMut(NamedSet, Element)) {
        for (family, section, guard, addresses) in self.nodes.map().keys() {
            let set = guard.set(*family, *section).expect("the section has nodes");
            let element = node_element(&set, &addresses.numbers());
            to(set, element);
        }
        for (map, element) in self.listed_elements() {
            to(map, element);
        }
        for installed in self.installed() {
            let Some(place) = self.unit_place(installed) else {
                continue;
            };
            let unit = &self.units.map()[&place.unit];
            for (set, element) in place.elements(unit.id, installed) {
                to(set, element);
            }
        }
    }

    /// Names of all named sets in the table.
    pub(super) fn set_names(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = self.retired.map().keys().cloned().collect();
        names.extend(self.fills.map().iter().map(|(name, fill)| fill.name(name)));
        names
    }

    /// Names of all chains but those of the frame.
    pub(super) fn chain_names(&self) -> BTreeSet<String> {
        let lists = self.lists.map().iter();
        let of_lists = lists.flat_map(|(list, chunks)| chain_names(chunks, list));
        let structure = self.chains.map().keys().cloned();
        let of_sources = self.source_chains().map(|(name, _)| name.to_owned());
        structure.chain(of_lists).chain(of_sources).collect()
    }

    /// Where a rule stands in a unit; `None` when it is listed, or matches nothing.
    fn unit_place(&self, installed: &Installed) -> Option<UnitPlace> {
        let rule = &installed.rule;
        let is_listed = self.is_listed(rule);
        if is_listed || !installed.matches_some() {
            return None;
        }
        let (section, _) = Section::of(rule.family, &rule.matches);
        UnitPlace::of(section, installed)
    }

    /// True when a rule is in a list.
    fn is_listed(&self, rule: &Rule) -> bool {
        self.listed
            .get(&(rule.family, rule.order.clone()))
            .is_some()
    }

    /// Puts the wanted rules into the maps of rules and returns what is different.
    fn edit(&mut self, changes: &Changes, known: &KnownObjects) -> Result<Vec<Edit>, RuleId> {
        let mut wanted: BTreeMap<(Family, OrderKey), Option<&Arc<Rule>>> = BTreeMap::new();
        for key in &changes.remove {
            wanted.insert(key.clone(), None);
        }
        for rule in &changes.put {
            wanted.insert((rule.family, rule.order.clone()), Some(rule));
        }
        // Rules that move to another key keep what they own.
        let mut leaving: BTreeMap<RuleId, Arc<Installed>> = BTreeMap::new();
        for key in wanted.keys() {
            if let Some(installed) = self.rules.get(key) {
                leaving.insert(installed.rule.id, installed.clone());
            }
        }
        for id in leaving.keys() {
            self.owners.set(*id, None);
        }
        let mut edits = Vec::with_capacity(wanted.len());
        for (key, rule) in wanted {
            let old = self.rules.get(&key).cloned();
            if let Some(rule) = rule {
                if self.owners.get(&rule.id).is_some() {
                    return Err(rule.id);
                }
                self.owners.set(rule.id, Some(key.clone()));
                if old.as_ref().is_some_and(|old| old.rule == *rule) {
                    continue;
                }
            }
            let new = rule.map(|rule| {
                let previous = leaving.get(&rule.id).map(Arc::as_ref);
                Arc::new(Installed::new(rule.clone(), previous, known))
            });
            if old.is_none() && new.is_none() {
                continue;
            }
            self.count_sources(&key, new.as_ref());
            self.rules.set(key, new.clone());
            for (installed, sign) in [(&old, -1), (&new, 1)] {
                if let Some(installed) = installed {
                    self.count_marks(installed, sign);
                }
            }
            edits.push(Edit { old, new });
        }
        Ok(edits)
    }

    /// Counts a rule that comes (1) or goes (-1) among those that mark.
    fn count_marks(&mut self, installed: &Installed, sign: isize) {
        let rule = &installed.rule;
        let changed = |count: Option<&usize>| {
            let count = count.copied().unwrap_or(0).saturating_add_signed(sign);
            Some(count).filter(|count| *count > 0)
        };
        if let Some(dscp) = rule.action.mark_dscp {
            let key = (rule.family, dscp);
            self.marks.set(key, changed(self.marks.get(&key)));
        }
        if collects_marks(&rule.action) {
            self.collecting.set((), changed(self.collecting.get(&())));
        }
    }

    /// Rearranges what the edits touch, and lists the messages that make the difference.
    fn carry_out(&mut self, edits: &[Edit], before: Context, known: &KnownObjects) -> Vec<Message> {
        let mut draft = Draft::default();
        self.place_all(edits, &mut draft);
        let mut plan = Plan::new(self.numbers.last_set);
        objects(edits, known, &mut plan);
        source_chains(edits, &mut plan);
        let units_changed = self.sweep_units(&draft);
        let lists_changed = self.plan_lists(&mut draft, before, &mut plan);
        let sets_changed = self.plan_sets(&draft, &mut plan);
        // The chain that ends evaluation knows the marks that rules collect.
        let mark = |installed: &Option<Arc<Installed>>| {
            installed
                .as_ref()
                .and_then(|installed| installed.rule.action.mark_dscp)
        };
        let marks_changed = before.collect_marks.is_some()
            && edits.iter().any(|edit| mark(&edit.old) != mark(&edit.new));
        let context_changed = before != self.context();
        if units_changed || lists_changed || sets_changed || marks_changed || context_changed {
            self.plan_structure(&mut plan);
        }
        let (messages, last_set) = plan.into_messages();
        self.numbers.last_set = last_set;
        messages
    }

    /// Gives every edited rule its place.
    fn place_all(&mut self, edits: &[Edit], draft: &mut Draft) {
        let placed = |installed: &&Arc<Installed>| installed.matches_some();
        for old in edits
            .iter()
            .filter_map(|edit| edit.old.as_ref().filter(placed))
        {
            self.remove(old, draft);
        }
        for new in edits
            .iter()
            .filter_map(|edit| edit.new.as_ref().filter(placed))
        {
            self.add(new, draft);
        }
    }

    /// Counts a rule that comes or goes in a guard, and puts the node in or takes it out.
    fn count_node(&mut self, key: NodeKey, comes: bool, draft: &mut Draft) {
        let before = self.nodes.get(&key).copied().unwrap_or(0);
        let after = if comes { before + 1 } else { before - 1 };
        self.nodes.set(key, Some(after).filter(|rules| *rules > 0));
        if (before > 0) == (after > 0) {
            return;
        }
        let (family, section, guard, addresses) = key;
        let set = guard.set(family, section).expect("the section has nodes");
        let element = node_element(&set, &addresses.numbers());
        match comes {
            true => draft.add_element(set, element),
            false => draft.remove_element(set, element),
        }
    }

    /// True when the section has the unit, or room for it.
    fn has_room(&self, unit: &UnitKey) -> bool {
        self.units.get(unit).is_some()
            || self.units_of(unit.family, unit.section).count() < UNITS_MAX
    }

    /// The prefixes that a rule adds beside one for the sake of its source, if there is room for them.
    fn room_for_source(&self, section: Section, rule: &Rule) -> Option<usize> {
        let sources = section.near_sources(rule.family, &rule.matches)?;
        let more = sources.len().saturating_sub(1);
        let all = self.wide.get(&()).copied().unwrap_or(0) + more;
        (more == 0 || all <= WIDE_MAX).then_some(more)
    }

    /// Counts prefixes that a rule in a unit adds, or takes away.
    fn count_wide(&mut self, more: usize, comes: bool) {
        if more > 0 {
            let before = self.wide.get(&()).copied().unwrap_or(0);
            let after = if comes { before + more } else { before - more };
            self.wide.set((), Some(after).filter(|after| *after > 0));
        }
    }

    /// Adds a rule to its unit, or to a list.
    fn add(&mut self, installed: &Arc<Installed>, draft: &mut Draft) {
        let rule = &installed.rule;
        let (section, node) = Section::of(rule.family, &rule.matches);
        let at = (rule.family, section, node);
        draft.places.insert(at);
        let more = self.room_for_source(section, rule);
        let place = UnitPlace::of(section, installed)
            .filter(|place| more.is_some() && self.has_room(&place.unit));
        for (section, guard, addresses) in Guard::of(installed, place.is_none()) {
            self.count_node((rule.family, section, guard, addresses), true, draft);
        }
        let Some(place) = place else {
            let key = (rule.family, rule.order.clone());
            self.listed.set(key, Some(()));
            let key = (rule.tier.clone(), rule.order.clone());
            return draft.add_item(at, key, Item::Rule(installed.clone()));
        };
        self.count_wide(more.unwrap_or(0), true);
        let before = self.units.get(&place.unit).cloned();
        draft
            .units
            .entry(place.unit.clone())
            .or_insert(before.clone());
        let mut unit = before.unwrap_or_else(|| Unit {
            id: take_id(&mut self.numbers.next_unit),
            ..Unit::default()
        });
        unit.count(&place.kind, true);
        for (set, element) in place.elements(unit.id, installed) {
            draft.add_element(set, element);
        }
        self.count_unit(at, unit.id, true);
        self.units.set(place.unit, Some(unit));
    }

    /// Removes a rule from its unit, or from a list.
    fn remove(&mut self, installed: &Arc<Installed>, draft: &mut Draft) {
        let rule = &installed.rule;
        let (section, node) = Section::of(rule.family, &rule.matches);
        let at = (rule.family, section, node);
        draft.places.insert(at);
        let is_listed = self.is_listed(rule);
        for (section, guard, addresses) in Guard::of(installed, is_listed) {
            self.count_node((rule.family, section, guard, addresses), false, draft);
        }
        if is_listed {
            let key = (rule.family, rule.order.clone());
            self.listed.set(key, None);
            let key = (rule.tier.clone(), rule.order.clone());
            return draft.remove_item(at, key, Item::Rule(installed.clone()));
        }
        let sources = section.near_sources(rule.family, &rule.matches);
        let more = sources.map_or(0, |sources| sources.len().saturating_sub(1));
        self.count_wide(more, false);
        let place = UnitPlace::of(section, installed).expect("it is in a unit");
        let unit = self.units.get(&place.unit).cloned();
        let unit = unit.expect("the unit is there");
        draft
            .units
            .entry(place.unit.clone())
            .or_insert(Some(unit.clone()));
        for (set, element) in place.elements(unit.id, installed) {
            draft.remove_element(set, element);
        }
        self.count_unit(at, unit.id, false);
        // A unit that loses its last rule stays until all edits are placed.
        let mut unit = unit;
        unit.count(&place.kind, false);
        self.units.set(place.unit, Some(unit));
    }

    /// Counts a rule that comes to a unit, or goes.
    fn count_unit(&mut self, at: Place, unit: u64, comes: bool) {
        if let (family, section, Some(node)) = at {
            let key = (family, section, node, unit);
            let before = self.node_units.get(&key).copied().unwrap_or(0);
            let after = if comes { before + 1 } else { before - 1 };
            self.node_units
                .set(key, Some(after).filter(|rules| *rules > 0));
        }
    }

    /// Drops units that have lost all rules; says whether units came or went, or do other things than before.
    fn sweep_units(&mut self, draft: &Draft) -> bool {
        let mut structure_changed = false;
        for (key, before) in &draft.units {
            let after = self.units.get(key).filter(|unit| !unit.kinds.is_empty());
            let kinds = |unit: Option<&Unit>| -> Option<(u64, Vec<Kind>)> {
                unit.map(|unit| (unit.id, unit.kinds.keys().cloned().collect()))
            };
            structure_changed |= kinds(before.as_ref()) != kinds(after);
            if after.is_none() {
                self.units.set(key.clone(), None);
            }
        }
        structure_changed
    }

    /// Plans the chains that lead to units and lists.
    fn plan_structure(&mut self, plan: &mut Plan) {
        let wanted = self.structure();
        let names: BTreeSet<&String> = wanted.iter().map(|(name, _)| name).collect();
        let gone: Vec<String> = self
            .chains
            .map()
            .keys()
            .filter(|name| !names.contains(name))
            .cloned()
            .collect();
        for name in gone {
            plan.delete_chain(&name);
            self.chains.set(name, None);
        }
        for (name, rules) in wanted {
            let old = self.chains.get(&name);
            if old.is_some_and(|old| **old == rules) {
                continue;
            }
            plan.change_chain(&name, old.is_none(), rules.clone());
            self.chains.set(name, Some(Arc::new(rules)));
        }
    }

    /// Every named object with its rule, in order of the rules.
    pub(super) fn objects(&self) -> impl Iterator<Item = (NamedObject, &Rule)> {
        self.installed().flat_map(|installed| {
            let rule = installed.rule.as_ref();
            installed
                .objects()
                .into_iter()
                .map(move |object| (object, rule))
        })
    }
}

/// Plans objects that come and go with the edits: those that a rule keeps, or hands to its
/// successor, do neither. What is known to be there is not created.
fn objects(edits: &[Edit], known: &KnownObjects, plan: &mut Plan) {
    let of = |installed: &Option<Arc<Installed>>| -> Vec<NamedObject> {
        installed
            .iter()
            .flat_map(|installed| installed.objects())
            .collect()
    };
    let names = |installed: &Option<Arc<Installed>>| -> Vec<String> {
        of(installed)
            .into_iter()
            .map(|object| object.name)
            .collect()
    };
    let before: BTreeSet<String> = edits.iter().flat_map(|edit| names(&edit.old)).collect();
    let after: BTreeSet<String> = match before.is_empty() {
        true => BTreeSet::new(),
        false => edits.iter().flat_map(|edit| names(&edit.new)).collect(),
    };
    for edit in edits {
        if let Some(new) = &edit.new {
            for object in of(&edit.new) {
                if !before.contains(&object.name)
                    && known.bodies.get(&object.name) != Some(&object.body)
                {
                    plan.create_object(&object, &new.rule);
                }
            }
        }
        for object in of(&edit.old) {
            if !after.contains(&object.name) {
                plan.delete_object(&object);
            }
        }
    }
}

/// What can be made final or undone.
trait Provisional {
    fn accept(&mut self);
    fn roll_back(&mut self);
}

impl<K: Ord + Clone, V: Clone> Provisional for Journal<K, V> {
    fn accept(&mut self) {
        Journal::accept(self);
    }

    fn roll_back(&mut self) {
        Journal::roll_back(self);
    }
}

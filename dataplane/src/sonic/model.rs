//! Both tables as they are to be, and the phases that lead from one state to the next. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::acl::{Acl, Held};
use super::document::{Dialect, Verdict, encode, verdict};
use super::options::Options;
use super::placed::{Content, Found, Owner, Placed};
use super::transition::{Phase, phases, side_by_side};
use crate::backend::Unsupported;
use crate::desired::{Changes, Link, Settings, local_addresses};
use crate::guard::Guard;
use crate::rule::{AddressPattern, Family, Match, OrderKey, Rule, RuleId};
use crate::tcam::ports::RangeCheckers;
use crate::tcam::profile::Profile;
use crate::tcam::{Entry, expand};

/// Most entries of one guard for one destination.
const GUARD_ENTRIES: usize = 1024;

/// Why there is no way to the wanted state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A rule, or a guard where there is none, cannot be said.
    #[error("{reason}")]
    Unsupported {
        /// The rule.
        rule: Option<RuleId>,
        /// Why.
        reason: String,
    },
    /// There is no room for these rules, each with what there is no room in; the others would go in.
    #[error("no room for {} rules", .0.len())]
    Full(Vec<(RuleId, String)>),
}

/// Both tables.
#[derive(Clone, Debug)]
pub struct Model {
    dialect: Dialect,
    profile: Profile,
    tables: [Acl; 2],
    checkers: RangeCheckers,
}

/// Entries and verdict of a rule on this switch, ranges as wide as they come; or why there are none.
pub fn compile(
    rule: &Rule,
    dialect: Dialect,
    profile: &Profile,
) -> Result<(Vec<Entry>, Verdict), Unsupported> {
    let verdict = verdict(&rule.action, dialect.release)?;
    let entries = expand(&rule.matches, rule.family, &profile.language)?;
    entries.iter().try_for_each(|entry| dialect.check(entry))?;
    Ok((entries, verdict))
}

/// The entries for all that no rule ever touches.
///
/// No ACL of SONiC sees hop limits or fragments: neighbor discovery passes whatever its hop limit, and of a protected
/// connection only what shows its ports.
pub fn guard_entries(
    settings: &Settings,
    links: &[Link],
    dialect: Dialect,
    profile: &Profile,
) -> Result<Vec<Entry>, Refusal> {
    let mut entries: Vec<Entry> = Vec::new();
    for guard in settings.all_guards() {
        for matches in destinations(&guard, links) {
            let refusal = |Unsupported(reason): Unsupported| Refusal::Unsupported {
                rule: None,
                reason: format!("{} cannot be protected: {reason}", guard.purpose),
            };
            let expanded = expand(&matches, guard.family, &profile.language).map_err(refusal)?;
            // Protected ports are few, and range checkers fewer.
            let placed = RangeCheckers::new(Some(0)).place(expanded, GUARD_ENTRIES);
            let placed = placed.map_err(|error| refusal(Unsupported(error.to_string())))?;
            for entry in placed {
                if dialect.check(&entry).is_err() && entry.family == Family::Ipv6 {
                    // No rule of this family can be said either, so that there is nothing to be protected from.
                    continue;
                }
                dialect.check(&entry).map_err(refusal)?;
                if !entries.contains(&entry) {
                    entries.push(entry);
                }
            }
        }
    }
    Ok(entries)
}

/// What a guard protects, once for each address of this machine where only those are meant.
fn destinations(guard: &Guard, links: &[Link]) -> Vec<Match> {
    if !guard.to_this_machine {
        return vec![guard.traffic.clone()];
    }
    let own = local_addresses(links).filter(|(family, address)| {
        let wanted = guard.traffic.destination;
        *family == guard.family && wanted.is_none_or(|pattern| pattern.contains(*address))
    });
    let to = |(family, address): (Family, u128)| Match {
        destination: Some(AddressPattern::new(address, 0, family.address_bits())),
        ..guard.traffic.clone()
    };
    own.map(to).collect()
}

impl Model {
    /// Empty tables. `foreign_ranges` are the range checkers that tables of others have taken.
    pub fn new(options: &Options, foreign_ranges: usize) -> Self {
        Self::numbered(options, foreign_ranges, 0)
    }

    fn numbered(options: &Options, foreign_ranges: usize, last_number: u64) -> Self {
        let profile = options.profile();
        let limit = profile
            .range_checkers
            .map(|limit| limit.saturating_sub(foreign_ranges));
        Self {
            dialect: Dialect::of(options),
            profile,
            tables: Family::ALL.map(|family| Acl::new(family, options.priorities, last_number)),
            checkers: RangeCheckers::new(limit),
        }
    }

    /// The table for a family.
    pub fn table(&self, family: Family) -> &Acl {
        &self.tables[family as usize]
    }

    fn table_mut(&mut self, family: Family) -> &mut Acl {
        &mut self.tables[family as usize]
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = &Held> {
        self.tables.iter().flat_map(Acl::rules)
    }

    /// All entries.
    pub fn placed(&self) -> impl Iterator<Item = &Placed> {
        self.tables.iter().flat_map(Acl::placed)
    }

    /// Range checkers in use, and how many there are.
    pub fn range_checkers(&self) -> (usize, Option<usize>) {
        (self.checkers.used(), self.checkers.limit())
    }

    /// What leads to the state after these changes. The old and the new entries of a rule are there at the same time
    /// for a while.
    pub fn plan(&self, changes: &Changes) -> Result<(Self, Vec<Phase>), Refusal> {
        self.plan_with(changes, None, Vec::new())
    }

    /// What leads to other guards.
    pub fn plan_guards(&self, guards: Vec<Entry>) -> Result<(Self, Vec<Phase>), Refusal> {
        self.plan_with(&Changes::default(), Some(guards), Vec::new())
    }

    /// What leads from documents that were found to these rules and guards.
    pub fn plan_from(
        options: &Options,
        foreign_ranges: usize,
        found: Vec<Found>,
        rules: &[Arc<Rule>],
        guards: Vec<Entry>,
    ) -> Result<(Self, Vec<Phase>), Refusal> {
        let numbers = found.iter().map(|found| Owner::parse(&found.name).1);
        let last_number = numbers.max().unwrap_or(0);
        let mut model = Self::numbered(options, foreign_ranges, last_number);
        let unwanted = model.adopt(found, rules, &guards);
        let changes = Changes {
            put: rules.to_vec(),
            remove: Vec::new(),
        };
        model.plan_with(&changes, Some(guards), unwanted)
    }

    fn plan_with(
        &self,
        changes: &Changes,
        guards: Option<Vec<Entry>>,
        unwanted: Vec<Placed>,
    ) -> Result<(Self, Vec<Phase>), Refusal> {
        let mut next = self.clone();
        let mut all = Vec::new();
        let mut released: Vec<Entry> = Vec::new();
        let mut guards = guards;
        let mut without_room = Vec::new();
        for family in Family::ALL {
            let mut put: Vec<&Arc<Rule>> = of_family(&changes.put, family).collect();
            without_room.extend(next.without_slot(family, &mut put));
            let mut of_family = next.make_room(family, &put);
            let (mut come, mut go) = (Vec::new(), Vec::new());
            if let Some(guards) = &mut guards {
                let entries = guards.extract_if(.., |entry| entry.family == family);
                let change = next.table_mut(family).set_guards(entries.collect());
                go.extend(change.remove);
                // Nobody is locked out for a moment either.
                of_family.insert(
                    0,
                    Phase {
                        put: change.put,
                        remove: Vec::new(),
                    },
                );
            }
            for rule in &put {
                let (entries, verdict) = match next.place(rule) {
                    Ok(placed) => placed,
                    Err(Refusal::Full(rules)) => {
                        without_room.extend(rules);
                        continue;
                    }
                    Err(refusal) => return Err(refusal),
                };
                let change = next.table_mut(family).put(rule, entries, verdict);
                let old = self.table(family).get(&rule.order);
                released.extend(old.into_iter().flat_map(entries_of));
                come.extend(change.put);
                go.extend(change.remove);
            }
            for (_, key) in changes.remove.iter().filter(|(of, _)| *of == family) {
                if put.iter().any(|rule| rule.order == *key) {
                    continue;
                }
                if let Some(held) = next.table_mut(family).remove(key) {
                    released.extend(entries_of(&held));
                    go.extend(held.placed.iter().cloned());
                }
            }
            go.extend(unwanted.iter().filter(|it| it.family == family).cloned());
            next.table_mut(family).release_slots();
            of_family.extend(phases(come, go));
            all = side_by_side(all, of_family);
        }
        if !without_room.is_empty() {
            return Err(Refusal::Full(without_room));
        }
        next.checkers.release(&released);
        all.retain(|phase| !phase.put.is_empty() || !phase.remove.is_empty());
        Ok((next, all))
    }

    /// Takes the rules out whose tiers find no slot: the last ones.
    fn without_slot(&self, family: Family, put: &mut Vec<&Arc<Rule>>) -> Vec<(RuleId, String)> {
        let table = self.table(family);
        let new: BTreeSet<&OrderKey> = put
            .iter()
            .map(|rule| &rule.tier)
            .filter(|tier| !table.has_tier(tier))
            .collect();
        let without: BTreeSet<OrderKey> =
            new.into_iter().skip(table.free_slots()).cloned().collect();
        let rules = put.extract_if(.., |rule| without.contains(&rule.tier));
        rules
            .map(|rule| {
                let reason =
                    "the priorities from dataplane.sonic.priority_min to priority_max are used up";
                (rule.id, reason.to_string())
            })
            .collect()
    }

    /// Gives slots to the tiers of rules.
    fn make_room(&mut self, family: Family, put: &[&Arc<Rule>]) -> Vec<Phase> {
        let tiers = put.iter().map(|rule| rule.tier.clone());
        let room = self.table_mut(family).make_room(tiers);
        room.expect("rules without a slot were taken out")
    }

    /// The entries of a rule with what range checkers there are.
    fn place(&mut self, rule: &Rule) -> Result<(Vec<Entry>, Verdict), Refusal> {
        let refusal = |Unsupported(reason): Unsupported| Refusal::Unsupported {
            rule: Some(rule.id),
            reason,
        };
        let (entries, verdict) = compile(rule, self.dialect, &self.profile).map_err(refusal)?;
        let most = self.profile.language.entries_per_rule;
        let placed = self.checkers.place(entries, most);
        let placed =
            placed.map_err(|error| Refusal::Full(vec![(rule.id, format!("port: {error}"))]))?;
        Ok((placed, verdict))
    }

    /// Takes over what was found of what is wanted; returns the rest.
    fn adopt(&mut self, found: Vec<Found>, rules: &[Arc<Rule>], guards: &[Entry]) -> Vec<Placed> {
        let mut pool = Pool::new(found);
        let mut kept: Vec<(&Arc<Rule>, Vec<Placed>)> = Vec::new();
        let mut later = Vec::new();
        for rule in rules {
            let Ok((entries, verdict)) = compile(rule, self.dialect, &self.profile) else {
                continue;
            };
            // Those that have all their ranges keep their checkers; the others take what is left.
            if pool.has_all(self.dialect, rule, &entries, verdict) {
                kept.push((rule, self.take(&mut pool, rule, entries, verdict)));
            } else {
                later.push((rule, entries, verdict));
            }
        }
        for (rule, entries, verdict) in later {
            kept.push((rule, self.take(&mut pool, rule, entries, verdict)));
        }
        for family in Family::ALL {
            let mut slots = BTreeMap::new();
            for (rule, placed) in kept.iter().filter(|(rule, _)| rule.family == family) {
                for placed in placed {
                    if let Some(slot) = self.table(family).slot_of(placed.priority) {
                        slots.entry(rule.tier.clone()).or_insert(slot);
                    }
                }
            }
            self.table_mut(family).adopt_slots(slots);
        }
        let mut unwanted = Vec::new();
        for (rule, placed) in kept {
            let all: Vec<Placed> = placed.clone();
            self.table_mut(rule.family).adopt(rule, placed);
            let table = self.table(rule.family);
            let stays = table.get(&rule.order).map(|held| held.placed.clone());
            let stays = stays.unwrap_or_default();
            let goes: Vec<Placed> = all.into_iter().filter(|it| !stays.contains(it)).collect();
            self.checkers
                .release(&goes.iter().filter_map(entry_of).collect::<Vec<_>>());
            unwanted.extend(goes);
        }
        for family in Family::ALL {
            let priority = self.table(family).guard_priority();
            let of_family = guards.iter().filter(|entry| entry.family == family);
            let taken: Vec<Placed> = of_family
                .filter_map(|entry| pool.take(self.dialect, Owner::Guard, entry, Verdict::Forward))
                .collect();
            let (stays, goes) = taken.into_iter().partition(|it| it.priority == priority);
            self.table_mut(family).adopt_guards(stays);
            unwanted.extend::<Vec<Placed>>(goes);
        }
        unwanted.extend(pool.rest());
        unwanted
    }

    /// Takes the entries of a rule out of what was found, as far as they are there, and checkers for these.
    fn take(
        &mut self,
        pool: &mut Pool,
        rule: &Rule,
        entries: Vec<Entry>,
        verdict: Verdict,
    ) -> Vec<Placed> {
        let most = self.profile.language.entries_per_rule;
        let Ok(entries) = self.checkers.place(entries, most) else {
            return Vec::new();
        };
        let mut placed = Vec::new();
        let mut missing = Vec::new();
        for entry in entries {
            match pool.take(self.dialect, Owner::Rule(rule.id), &entry, verdict) {
                Some(found) => placed.push(found),
                None => missing.push(entry),
            }
        }
        self.checkers.release(&missing);
        placed
    }
}

/// The rules of a family.
fn of_family(rules: &[Arc<Rule>], family: Family) -> impl Iterator<Item = &Arc<Rule>> {
    rules.iter().filter(move |rule| rule.family == family)
}

/// The entry, where it is of our making.
fn entry_of(placed: &Placed) -> Option<Entry> {
    match &placed.content {
        Content::Entry(entry, _) => Some((**entry).clone()),
        Content::Found(_) => None,
    }
}

/// The entries that a rule has.
fn entries_of(held: &Held) -> impl Iterator<Item = Entry> {
    held.placed.iter().filter_map(entry_of)
}

/// Documents that were found, by table and owner and what they say but for their priority.
struct Pool {
    documents: HashMap<(Family, Owner), Vec<Found>>,
}

/// The field that tells the order.
const PRIORITY: &str = "PRIORITY";

impl Pool {
    fn new(found: Vec<Found>) -> Self {
        let mut documents: HashMap<(Family, Owner), Vec<Found>> = HashMap::new();
        for found in found {
            let owner = Owner::parse(&found.name).0;
            documents
                .entry((found.family, owner))
                .or_default()
                .push(found);
        }
        Self { documents }
    }

    /// Where among the documents of its owner the one is that says this.
    fn find(
        &self,
        dialect: Dialect,
        owner: Owner,
        entry: &Entry,
        verdict: Verdict,
    ) -> Option<usize> {
        let documents = self.documents.get(&(entry.family, owner))?;
        let mut wanted = encode(dialect.mode, &dialect.rule(entry, verdict, 0));
        wanted.remove(PRIORITY);
        let says_it = |found: &Found| {
            let others = found.fields.iter().filter(|(name, _)| *name != PRIORITY);
            others.eq(wanted.iter())
        };
        documents.iter().position(says_it)
    }

    /// True when there is a document for each of the entries.
    fn has_all(&self, dialect: Dialect, rule: &Rule, entries: &[Entry], verdict: Verdict) -> bool {
        let owner = Owner::Rule(rule.id);
        entries
            .iter()
            .all(|entry| self.find(dialect, owner, entry, verdict).is_some())
    }

    /// Takes the document for an entry out, if there is one with a priority.
    fn take(
        &mut self,
        dialect: Dialect,
        owner: Owner,
        entry: &Entry,
        verdict: Verdict,
    ) -> Option<Placed> {
        let index = self.find(dialect, owner, entry, verdict)?;
        let documents = self.documents.get_mut(&(entry.family, owner))?;
        let priority = documents[index].fields.get(PRIORITY)?.parse().ok()?;
        let found = documents.swap_remove(index);
        Some(Placed {
            family: found.family,
            name: found.name,
            owner,
            priority,
            content: Content::Entry(Arc::new(entry.clone()), verdict),
        })
    }

    /// What nobody took.
    fn rest(self) -> impl Iterator<Item = Placed> {
        self.documents.into_values().flatten().map(Placed::found)
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;

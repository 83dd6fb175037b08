//! How rules lie in chains, and the messages that take a commit from one state to the next. Pure.
//!
//! The rules of a family and class are one ordered list, which [`super::chunk`] cuts into chains. A
//! commit rewrites only the chains whose rules change, in an order that never leaves a chain in use
//! undefined: objects first, then the chains that refer to them, then those that jump there, and
//! removal in reverse.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::chunk::{Chunk, arrange, index, take_id};
use super::compile::{Class, Context, FINISH_CHAIN, ObjectNames, buckets, collects_marks, compile};
use super::expression::Verdict;
use super::frame::CLASS_CHAINS;
use super::limit::Bucket;
use super::message::Message;
use super::object::{NamedObject, NftRule, ObjectBody, create_chain, delete_chain, flush_chain};
use super::statement::{ScratchMark, Statement};
use crate::desired::{Changes, Sample};
use crate::rule::{Family, LimitUnit, OrderKey, Rule, RuleId};

/// An installed rule and what it owns.
#[derive(Debug)]
pub(super) struct Installed {
    /// The rule.
    pub(super) rule: Arc<Rule>,
    /// Its counter, then its limits.
    objects: Vec<NamedObject>,
    /// Grows whenever a limit gets a new name.
    limit_version: u32,
    /// Whether any packet of a class can match, in the order of [`Class::ALL`].
    classes: [bool; 2],
}

impl Installed {
    /// Names the objects of a rule. Limits that did not change keep their name, and so their
    /// bucket: the kernel silently ignores a new rate for an existing name.
    fn new(rule: Arc<Rule>, previous: Option<&Installed>, context: &Context) -> Self {
        let counter = NamedObject {
            name: rule.id.to_string(),
            body: ObjectBody::Counter,
        };
        let mut objects = vec![counter];
        let wanted = buckets(&rule.action).unwrap_or_default();
        let kept = |bucket: &Bucket| {
            let objects = previous.map_or(&[][..], |previous| &previous.objects);
            objects
                .iter()
                .find(|object| object.body == ObjectBody::Limit(*bucket))
                .cloned()
        };
        let is_new = wanted.iter().any(|bucket| kept(bucket).is_none());
        let limit_version =
            previous.map_or(0, |previous| previous.limit_version) + u32::from(is_new);
        for bucket in wanted {
            objects.push(kept(&bucket).unwrap_or_else(|| {
                let unit = match bucket.measures {
                    LimitUnit::Bytes => "bytes",
                    LimitUnit::Packets => "packets",
                };
                let name = match limit_version {
                    1 => format!("{}_{unit}", rule.id),
                    version => format!("{}_{unit}_{version}", rule.id),
                };
                NamedObject {
                    name,
                    body: ObjectBody::Limit(bucket),
                }
            }));
        }
        let mut installed = Self {
            rule,
            objects,
            limit_version,
            classes: [false; 2],
        };
        installed.classes = Class::ALL.map(|class| !installed.compile(class, context).is_empty());
        installed
    }

    /// The nft rules of the rule for a class.
    fn compile(&self, class: Class, context: &Context) -> Vec<NftRule> {
        let limits = self.objects[1..]
            .iter()
            .map(|object| object.name.clone())
            .collect();
        let names = ObjectNames {
            counter: self.objects[0].name.clone(),
            limits,
        };
        compile(&self.rule, class, context, &names)
    }
}

/// Everything that is installed beside the frame.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    rules: Arc<BTreeMap<(Family, OrderKey), Arc<Installed>>>,
    /// Where the rule of an id stands.
    owners: Arc<HashMap<RuleId, (Family, OrderKey)>>,
    /// One list for each of [`CLASS_CHAINS`].
    lists: [Vec<Arc<Chunk>>; 4],
    /// Rules that need marks to be collected.
    collecting: usize,
    next_chunk: u64,
    /// Number of the last anonymous set.
    last_set: u32,
    sample: Sample,
    scratch: ScratchMark,
}

/// The way from one layout to another.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is built beside the old state, in groups that must not be separated.
    pub(super) build: Vec<Vec<Message>>,
    /// What makes it effective: all or nothing.
    pub(super) switch: Vec<Message>,
    /// Removal of what nothing refers to any more, one by one.
    pub(super) sweep: Vec<Vec<Message>>,
    /// Removal of what `build` created, one by one, when the switch does not come about.
    pub(super) abandon: Vec<Vec<Message>>,
}

impl Plan {
    /// True when there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.build.is_empty() && self.switch.is_empty() && self.sweep.is_empty()
    }

    /// Everything as one transaction.
    pub(super) fn into_transaction(self) -> Vec<Message> {
        let mut messages: Vec<Message> = self.build.into_iter().flatten().collect();
        messages.extend(self.switch);
        messages.extend(self.sweep.into_iter().flatten());
        messages
    }
}

/// How a plan treats chunks that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rewrite {
    /// Rewrites the chain: everything must be one transaction.
    InPlace,
    /// Builds a new chain beside it: only the switch must be one transaction.
    Beside,
}

/// A change to one rule: what stood at a key and what shall stand there.
struct Edit {
    key: (Family, OrderKey),
    old: Option<Arc<Installed>>,
    new: Option<Arc<Installed>>,
}

impl Layout {
    /// No rules.
    pub(super) fn empty(sample: Sample, scratch: ScratchMark) -> Self {
        Self {
            rules: Arc::default(),
            owners: Arc::default(),
            lists: Default::default(),
            collecting: 0,
            next_chunk: 1,
            last_set: 0,
            sample,
            scratch,
        }
    }

    /// Installed rules in the order of their families and keys.
    pub(super) fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.values().map(|installed| &installed.rule)
    }

    /// Number of installed rules.
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Number of chains that hold rules.
    pub(super) fn chunk_count(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }

    /// The bits of the packet mark that it uses.
    pub(super) fn scratch(&self) -> ScratchMark {
        self.scratch
    }

    fn context(&self) -> Context {
        let collect_marks = (self.collecting > 0).then_some(self.scratch);
        Context {
            sample: self.sample,
            collect_marks,
        }
    }

    /// The chains that lead to the chunks of a list, each after those that it refers to; last that
    /// of the class.
    fn index(&self, list: usize) -> Vec<(String, Vec<NftRule>)> {
        let mut chains = index(&self.lists[list], list);
        if let (Some(mark), Some((_, rules))) = (self.context().collect_marks, chains.last_mut()) {
            let clear = Statement::SetMark {
                mask: mark.mask(),
                value: 0,
            };
            rules.insert(0, NftRule::of_frame(vec![clear], "no DSCP chosen yet"));
            let goto = Statement::Verdict(Verdict::Goto(FINISH_CHAIN.into()));
            rules.push(NftRule::of_frame(vec![goto], ""));
        }
        chains
    }

    /// What the chain holds that writes the chosen DSCP. Empty when no rule needs it.
    fn finish_rules(&self) -> Vec<NftRule> {
        let Some(mark) = self.context().collect_marks else {
            return Vec::new();
        };
        let marks: BTreeSet<(Family, u8)> = self
            .rules()
            .filter_map(|rule| Some((rule.family, rule.action.mark_dscp?)))
            .collect();
        let apply = |(family, dscp): (Family, u8)| {
            let statements = vec![
                Statement::Family(family),
                Statement::MarkIs {
                    mask: mark.mask(),
                    value: mark.value(dscp),
                },
                Statement::SetDscp(family, dscp),
            ];
            NftRule::of_frame(statements, "")
        };
        let mut rules: Vec<NftRule> = marks.into_iter().map(apply).collect();
        rules.push(NftRule::of_frame(
            vec![
                Statement::SetMark {
                    mask: mark.mask(),
                    value: 0,
                },
                Statement::Verdict(Verdict::Accept),
            ],
            "",
        ));
        rules
    }

    /// Every chain with its rules, each after those that it refers to.
    pub(super) fn chains(&self) -> Vec<(String, Vec<NftRule>)> {
        let context = self.context();
        let mut chains = Vec::new();
        let finish = self.finish_rules();
        if !finish.is_empty() {
            chains.push((FINISH_CHAIN.into(), finish));
        }
        for (list, (_, class)) in CLASS_CHAINS.into_iter().enumerate() {
            for chunk in &self.lists[list] {
                let rules = chunk
                    .rules
                    .iter()
                    .flat_map(|rule| rule.compile(class, &context));
                chains.push((chunk.chain(list), rules.collect()));
            }
            chains.extend(self.index(list));
        }
        chains
    }

    /// Every named object with the label of its rule, in order of the rules.
    pub(super) fn objects(&self) -> Vec<(&NamedObject, &Rule)> {
        let objects = self.rules.values().flat_map(|installed| {
            installed
                .objects
                .iter()
                .map(|object| (object, installed.rule.as_ref()))
        });
        objects.collect()
    }

    /// The layout after `changes`, and how to get there. Fails when two rules would have the same
    /// id.
    pub(super) fn plan(
        &self,
        changes: &Changes,
        rewrite: Rewrite,
    ) -> Result<(Layout, Plan), RuleId> {
        let mut wanted: BTreeMap<(Family, OrderKey), Option<Arc<Rule>>> = BTreeMap::new();
        for key in &changes.remove {
            wanted.insert(key.clone(), None);
        }
        for rule in &changes.put {
            wanted.insert((rule.family, rule.order.clone()), Some(rule.clone()));
        }
        let mut next = self.clone();
        let edits = next.apply(self, wanted)?;
        self.plan_to(next, &edits, rewrite)
    }

    /// The same rules under other settings.
    pub(super) fn plan_settings(
        &self,
        sample: Sample,
        scratch: ScratchMark,
        rewrite: Rewrite,
    ) -> Result<(Layout, Plan), RuleId> {
        let next = Self {
            sample,
            scratch,
            ..self.clone()
        };
        self.plan_to(next, &[], rewrite)
    }

    /// Puts the wanted rules into `self`, a copy of `old`, except into the lists.
    fn apply(
        &mut self,
        old: &Layout,
        wanted: BTreeMap<(Family, OrderKey), Option<Arc<Rule>>>,
    ) -> Result<Vec<Edit>, RuleId> {
        // Without rules to look at, whether anything is collected does not change what a rule owns
        // or where it stands.
        let context = old.context();
        let mut edits = Vec::with_capacity(wanted.len());
        let rules = Arc::make_mut(&mut self.rules);
        let owners = Arc::make_mut(&mut self.owners);
        for key in wanted.keys() {
            if let Some(installed) = old.rules.get(key) {
                owners.remove(&installed.rule.id);
            }
        }
        for (key, rule) in wanted {
            let current = old.rules.get(&key).cloned();
            let Some(rule) = rule else {
                if let Some(installed) = current {
                    self.collecting -= usize::from(collects_marks(&installed.rule.action));
                    rules.remove(&key);
                    edits.push(Edit {
                        key,
                        old: Some(installed),
                        new: None,
                    });
                }
                continue;
            };
            if owners.insert(rule.id, key.clone()).is_some() {
                return Err(rule.id);
            }
            if current
                .as_ref()
                .is_some_and(|installed| installed.rule == rule)
            {
                continue;
            }
            let previous = old.owners.get(&rule.id).and_then(|key| old.rules.get(key));
            let installed = Arc::new(Installed::new(rule, previous.map(Arc::as_ref), &context));
            self.collecting += usize::from(collects_marks(&installed.rule.action));
            if let Some(current) = &current {
                self.collecting -= usize::from(collects_marks(&current.rule.action));
            }
            rules.insert(key.clone(), installed.clone());
            edits.push(Edit {
                key,
                old: current,
                new: Some(installed),
            });
        }
        Ok(edits)
    }

    /// Arranges the edited rules of `next` in chunks and lists the messages that make the
    /// difference.
    fn plan_to(
        &self,
        mut next: Layout,
        edits: &[Edit],
        rewrite: Rewrite,
    ) -> Result<(Layout, Plan), RuleId> {
        let mut plan = Plan {
            build: Vec::new(),
            switch: Vec::new(),
            sweep: Vec::new(),
            abandon: Vec::new(),
        };
        let mut last_set = self.last_set;
        let (added, deleted) = object_changes(edits);
        for (object, rule) in added {
            plan.build
                .push(vec![object.create(rule.id, &rule.label.to_string())]);
            plan.abandon.push(vec![object.delete()]);
        }
        let (old_context, context) = (self.context(), next.context());
        let rewrite_all = old_context.collect_marks != context.collect_marks
            || old_context.sample != context.sample;
        // Everything that leads to a chunk changes place with the first message of the switch.
        let old_finish = self.finish_rules();
        let finish = next.finish_rules();
        if old_finish != finish && !finish.is_empty() {
            plan.switch.push(create_chain(FINISH_CHAIN, None, ""));
            plan.switch.push(flush_chain(FINISH_CHAIN));
            for rule in &finish {
                rule.create(FINISH_CHAIN, &mut last_set, &mut plan.switch);
            }
            if rewrite == Rewrite::Beside && old_finish.is_empty() {
                plan.build.push(vec![create_chain(FINISH_CHAIN, None, "")]);
            }
        }
        let mut sweep_chains = Vec::new();
        for (list, (family, class)) in CLASS_CHAINS.into_iter().enumerate() {
            let place = |installed: &Option<Arc<Installed>>| {
                installed
                    .clone()
                    .filter(|installed| installed.classes[class as usize])
            };
            let edits: Vec<(&OrderKey, Option<Arc<Installed>>)> = edits
                .iter()
                .filter(|edit| edit.key.0 == family)
                .filter(|edit| place(&edit.old).is_some() || place(&edit.new).is_some())
                .map(|edit| (&edit.key.1, place(&edit.new)))
                .collect();
            if edits.is_empty() && !rewrite_all {
                continue;
            }
            let mut chunks = arrange(&self.lists[list], &edits, &mut next.next_chunk);
            let unchanged = |chunk: &Arc<Chunk>| {
                !rewrite_all && self.lists[list].iter().any(|old| Arc::ptr_eq(old, chunk))
            };
            if rewrite == Rewrite::Beside {
                for chunk in &mut chunks {
                    if !unchanged(chunk) {
                        let id = take_id(&mut next.next_chunk);
                        *chunk = Chunk::new(id, chunk.rules.clone());
                    }
                }
            }
            for chunk in &chunks {
                if unchanged(chunk) {
                    continue;
                }
                let chain = chunk.chain(list);
                let is_new = !self.lists[list].iter().any(|old| old.id == chunk.id);
                if is_new {
                    // Before the objects that the chain refers to.
                    let remove = [
                        create_chain(&chain, None, ""),
                        flush_chain(&chain),
                        delete_chain(&chain),
                    ];
                    plan.abandon.insert(0, remove.to_vec());
                }
                let mut groups = vec![vec![match is_new {
                    true => create_chain(&chain, None, ""),
                    false => flush_chain(&chain),
                }]];
                for rule in chunk
                    .rules
                    .iter()
                    .flat_map(|rule| rule.compile(class, &context))
                {
                    let mut group = Vec::new();
                    rule.create(&chain, &mut last_set, &mut group);
                    groups.push(group);
                }
                // Chains that are in use change only with the switch.
                match rewrite {
                    Rewrite::Beside => plan.build.extend(groups),
                    Rewrite::InPlace => plan.switch.extend(groups.into_iter().flatten()),
                }
            }
            let gone = |old: &&Arc<Chunk>| !chunks.iter().any(|chunk| chunk.id == old.id);
            let gone: Vec<String> = self.lists[list]
                .iter()
                .filter(gone)
                .map(|old| old.chain(list))
                .collect();
            next.lists[list] = chunks;
            let (old_index, index) = (self.index(list), next.index(list));
            for (chain, rules) in &index {
                match old_index.iter().find(|(old, _)| old == chain) {
                    Some((_, old_rules)) if old_rules == rules => continue,
                    Some(_) => plan.switch.push(flush_chain(chain)),
                    None => plan.switch.push(create_chain(chain, None, "")),
                }
                for rule in rules {
                    rule.create(chain, &mut last_set, &mut plan.switch);
                }
            }
            // What refers to other chains goes before them.
            let gone_index = old_index.into_iter().map(|(chain, _)| chain);
            sweep_chains.extend(gone_index.filter(|old| !index.iter().any(|(new, _)| new == old)));
            sweep_chains.extend(gone);
        }
        if finish.is_empty() && !old_finish.is_empty() {
            sweep_chains.push(FINISH_CHAIN.into());
        }
        let sweep = sweep_chains
            .iter()
            .map(|chain| vec![flush_chain(chain), delete_chain(chain)]);
        plan.sweep.extend(sweep);
        plan.sweep
            .extend(deleted.into_iter().map(|object| vec![object.delete()]));
        next.last_set = last_set;
        Ok((next, plan))
    }
}

/// Objects that come and go with the edits: those that a rule keeps, or hands to its successor, do
/// neither.
fn object_changes(edits: &[Edit]) -> (Vec<(&NamedObject, &Rule)>, Vec<&NamedObject>) {
    let of = |installed: &'_ Option<Arc<Installed>>| -> Vec<String> {
        let objects = installed.iter().flat_map(|installed| &installed.objects);
        objects.map(|object| object.name.clone()).collect()
    };
    let before: BTreeSet<String> = edits.iter().flat_map(|edit| of(&edit.old)).collect();
    let after: BTreeSet<String> = edits.iter().flat_map(|edit| of(&edit.new)).collect();
    let (mut added, mut deleted) = (Vec::new(), Vec::new());
    for edit in edits {
        if let Some(new) = &edit.new {
            let objects = new
                .objects
                .iter()
                .filter(|object| !before.contains(&object.name));
            added.extend(objects.map(|object| (object, new.rule.as_ref())));
        }
        if let Some(old) = &edit.old {
            deleted.extend(
                old.objects
                    .iter()
                    .filter(|object| !after.contains(&object.name)),
            );
        }
    }
    (added, deleted)
}

//! An installed rule and the named objects that it owns. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compile::{Context, Objects, RareTail, buckets, compile, compile_apart};
use super::condition::{Class, Known, can_match};
use super::key::KeyValue;
use super::limit::Bucket;
use super::object::{MEMO_IN_COUNTER, MEMO_PIECE, NamedObject, NftRule, ObjectBody, versioned};
use super::sources::{SourceLimiter, SourceTable, source_tables};
use crate::routing::MarksInUse;
use crate::rule::{Rule, RuleId};

/// What rules may take over of an earlier process, and what they need to know of others.
#[derive(Debug, Default)]
pub(super) struct KnownObjects {
    /// What they are, by name.
    pub(super) bodies: BTreeMap<String, ObjectBody>,
    /// Memos, each with the version in the names of the objects that hold it.
    pub(super) memos: BTreeMap<RuleId, (u32, Vec<u8>)>,
    /// The packet marks of all that rules redirect or copy to.
    pub(super) marks: MarksInUse,
}

/// An installed rule and what it owns.
#[derive(Debug, PartialEq)]
pub(super) struct Installed {
    /// The rule.
    pub(super) rule: Arc<Rule>,
    /// Its token buckets, in the order in which they are charged, each with the version in its name.
    limits: Vec<(Bucket, u32)>,
    /// Grows whenever a limit gets a new name: the kernel silently ignores a new rate for an
    /// existing one.
    limit_version: u32,
    /// 0 while the memo stands beside the counter, which cannot be changed without losing the count;
    /// else the version in the names of the objects that hold it.
    memo_version: u32,
    /// What few rules do.
    rare: Option<Box<RareTail>>,
    /// Whether any packet of a class can match, in the order of [`Class::ALL`].
    classes: [bool; 4],
}

impl Installed {
    /// Names the objects of a rule, in the place of one with the same id. What did not change keeps
    /// its name, and so its state. `known`: objects that an earlier process left.
    pub(super) fn new(rule: Arc<Rule>, previous: Option<&Self>, known: &KnownObjects) -> Self {
        let kept = |bucket: &Bucket| match previous {
            Some(previous) => previous.version_of(bucket),
            None => known_limit(&rule, bucket, known),
        };
        let kept_table = |table: &SourceTable| match previous {
            Some(previous) => previous.version_of_table(table),
            None => known_table(&rule, table, known),
        };
        let wanted = buckets(&rule.action).unwrap_or_default();
        let wanted: Vec<_> = wanted.into_iter().map(|it| (kept(&it), it)).collect();
        let tables = source_tables(&rule).into_iter();
        let tables: Vec<_> = tables.map(|it| (kept_table(&it), it)).collect();
        let versions = wanted.iter().map(|(version, _)| *version);
        let versions = versions.chain(tables.iter().map(|(version, _)| *version));
        let is_new = versions.clone().any(|version| version.is_none());
        let newest = versions.flatten().max().unwrap_or(0);
        let before = previous.map_or(0, |previous| previous.limit_version);
        let limit_version = before.max(newest) + u32::from(is_new);
        let limits = wanted
            .into_iter()
            .map(|(version, bucket)| (bucket, version.unwrap_or(limit_version)))
            .collect();
        let sources = tables.into_iter().map(|(version, table)| {
            SourceLimiter::new(rule.id, table, version.unwrap_or(limit_version))
        });
        let memo_version = match previous {
            Some(previous) if previous.rule.memo() == rule.memo() => previous.memo_version,
            Some(previous) => previous.memo_version + 1,
            None => known_memo(&rule, known),
        };
        let rare = RareTail {
            sources: sources.collect(),
            redirect: rule.action.route().map(|route| {
                let mark = known.marks.routes.get(route);
                mark.expect("routes get their marks before the rules that use them")
            }),
            copy: rule.action.copy_to().map(|address| {
                let mark = known.marks.copies.get(&address);
                mark.expect("addresses get their marks before the rules that use them")
            }),
        };
        let classes = Class::ALL.map(|class| can_match(&rule, class));
        Self {
            rule,
            limits,
            limit_version,
            memo_version,
            rare: (rare != RareTail::default()).then(|| Box::new(rare)),
            classes,
        }
    }

    /// The version in the name of a limit that it has.
    fn version_of(&self, bucket: &Bucket) -> Option<u32> {
        let limit = self.limits.iter().find(|(kept, _)| kept == bucket);
        limit.map(|(_, version)| *version)
    }

    /// The version in the name of a table that it has.
    fn version_of_table(&self, table: &SourceTable) -> Option<u32> {
        let mut limiters = self.source_limiters().iter();
        let limiter = limiters.find(|limiter| limiter.table == *table);
        limiter.map(|limiter| limiter.version)
    }

    /// Its tables of limits for each source.
    fn source_limiters(&self) -> &[SourceLimiter] {
        self.rare.as_deref().map_or(&[], |rare| &rare.sources)
    }

    /// How many sources its tables may hold.
    pub(super) fn sources(&self) -> u64 {
        let tables = self.source_limiters().iter();
        tables.map(|limiter| u64::from(limiter.table.size)).sum()
    }

    /// The chains that limit packets by their sources, by name.
    pub(super) fn source_chains(&self) -> impl Iterator<Item = (&str, Vec<NftRule>)> {
        let limiters = self.source_limiters().iter();
        limiters.map(|limiter| (limiter.name.as_str(), limiter.chain(&self.rule)))
    }

    /// Whether any packet of a class can match.
    pub(super) fn is_in(&self, class: Class) -> bool {
        self.classes[class as usize]
    }

    /// Whether any packet at all can match.
    pub(super) fn matches_some(&self) -> bool {
        self.classes != [false; 4]
    }

    /// Whether it does more to packets than maps can say: limits each source, sends them or copies elsewhere.
    pub(super) fn wants_a_list(&self) -> bool {
        self.rare.is_some() && buckets(&self.rule.action).is_some()
    }

    /// The name of the counter.
    pub(super) fn counter(&self) -> String {
        self.rule.id.to_string()
    }

    /// The names of the limits.
    pub(super) fn limits(&self) -> Vec<String> {
        let name = |(bucket, version): &(Bucket, u32)| limit_name(&self.rule, bucket, *version);
        self.limits.iter().map(name).collect()
    }

    /// All objects that the rule owns.
    pub(super) fn objects(&self) -> Vec<NamedObject> {
        let object = |name, body| NamedObject { name, body };
        let mut objects = vec![object(self.counter(), ObjectBody::Counter)];
        for (name, (bucket, _)) in self.limits().into_iter().zip(&self.limits) {
            objects.push(object(name, ObjectBody::Limit(*bucket)));
        }
        let limiters = self.source_limiters().iter();
        objects.extend(limiters.flat_map(SourceLimiter::objects));
        if self.memo_version > 0 {
            let pieces = self.rule.memo().len().div_ceil(MEMO_PIECE).max(1);
            for piece in 0..pieces {
                let name = format!("{}_memo_{}_{piece}", self.rule.id, self.memo_version);
                objects.push(object(name, ObjectBody::Memo(piece)));
            }
        }
        objects
    }

    /// The rule's match as values of a key, if it is nothing else.
    pub(super) fn key_value(&self) -> Option<KeyValue> {
        KeyValue::of(self.rule.family, &self.rule.matches)
    }

    /// The nft rules of the rule for packets of which something is known.
    pub(super) fn compile(&self, known: Known, context: &Context) -> Vec<NftRule> {
        compile(&self.rule, known, context, &self.named_objects())
    }

    /// How nft rules find its objects.
    fn named_objects(&self) -> Objects {
        Objects::Named {
            counter: self.counter(),
            limits: self.limits(),
            rare: self.rare.as_deref().cloned().unwrap_or_default(),
        }
    }

    /// True when packets that match meet several nft rules, whatever else is installed.
    pub(super) fn does_several_things(&self) -> bool {
        !self.source_limiters().is_empty()
            || buckets(&self.rule.action).is_some_and(|buckets| !buckets.is_empty())
    }

    /// The nft rules that send packets to a chain of this name, and those of the chain.
    pub(super) fn compile_apart(
        &self,
        known: Known,
        context: &Context,
        name: &str,
    ) -> (Vec<NftRule>, Vec<NftRule>) {
        compile_apart(&self.rule, known, context, &self.named_objects(), name)
    }
}

/// The name of a limit.
fn limit_name(rule: &Rule, bucket: &Bucket, version: u32) -> String {
    versioned(format!("{}_{}", rule.id, bucket.measures.name()), version)
}

/// The version of a limit of the kernel that is this bucket of the rule.
fn known_limit(rule: &Rule, bucket: &Bucket, known: &KnownObjects) -> Option<u32> {
    let name = |version| limit_name(rule, bucket, version);
    known_version(name, ObjectBody::Limit(*bucket), known)
}

/// The version of a set of the kernel that is this table of the rule.
fn known_table(rule: &Rule, table: &SourceTable, known: &KnownObjects) -> Option<u32> {
    let name = |version| table.name(rule.id, version);
    known_version(name, ObjectBody::Sources(*table), known)
}

/// The version of what the kernel has with this body, and a name that is made of a version.
fn known_version(
    name_of: impl Fn(u32) -> String,
    wanted: ObjectBody,
    known: &KnownObjects,
) -> Option<u32> {
    let first = name_of(1);
    let same_beginning = known
        .bodies
        .range(first.clone()..)
        .take_while(|(name, _)| name.starts_with(&first));
    let mut matching = same_beginning.filter_map(|(name, body)| {
        let version = match name[first.len()..].strip_prefix('_') {
            None => 1,
            Some(version) => version.parse().ok()?,
        };
        (*body == wanted && *name == name_of(version)).then_some(version)
    });
    matching.next()
}

/// The version of the memo of a rule that is new to this process.
fn known_memo(rule: &Rule, known: &KnownObjects) -> u32 {
    let memo = rule.memo();
    match known.memos.get(&rule.id) {
        Some((version, known)) if *known == memo => *version,
        Some((version, _)) => version + 1,
        None => u32::from(memo.len() > MEMO_IN_COUNTER),
    }
}

//! From a [`Rule`] to nft rules: its conditions, and what happens to packets that fulfil them. Pure.

use std::collections::BTreeSet;

use super::condition::{Known, alternatives};
use super::expression::Verdict;
use super::key::Key;
use super::limit::{Bucket, Enforcement};
use super::object::NftRule;
use super::sources::SourceLimiter;
use super::statement::{ScratchMark, Statement, implies_family};
use crate::desired::Sample;
use crate::routing::Mark;
use crate::rule::{Action, Family, LimitUnit, Rule, SourceLimit};

/// The chain that applies the chosen DSCP at the end of evaluation.
pub(super) const FINISH_CHAIN: &str = "finish";

/// What a rule's nft rules depend on besides the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// Where samples go.
    pub(super) sample: Sample,
    /// Set while a marking rule lets evaluation go on: then marks are collected and written at the
    /// end.
    pub(super) collect_marks: Option<ScratchMark>,
}

/// What few rules do to packets that pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RareTail {
    /// What sends packets elsewhere when they are routed.
    pub(super) redirect: Option<Mark>,
    /// What sends a copy elsewhere behind this table.
    pub(super) copy: Option<Mark>,
    /// Limits for each source, in the order in which they are charged.
    pub(super) sources: Vec<SourceLimiter>,
}

/// How nft rules find the counter and the limits of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Objects {
    /// They are those of one rule.
    Named {
        /// Its counter.
        counter: String,
        /// Its limits, in the order in which they are charged.
        limits: Vec<String>,
        /// What few rules do.
        rare: RareTail,
    },
    /// Maps have them for the keys of many rules.
    Mapped {
        /// What is looked up.
        key: Key,
        /// The map of counters.
        counters: String,
        /// The maps of limits, in the order in which they are charged.
        limits: Vec<String>,
    },
    /// The same for some of the rules, whose counters have counted the packet already.
    Chosen {
        /// What is looked up.
        key: Key,
        /// The set or map that has their keys; `None` for all that are left.
        members: Option<String>,
        /// The maps of limits, in the order in which they are charged.
        limits: Vec<String>,
    },
}

impl Objects {
    /// Counts the packet, or finds the rules by its key, or both.
    fn count(&self) -> Option<Statement> {
        match self {
            Self::Named { counter, .. } => Some(Statement::Counter(counter.clone())),
            Self::Mapped { key, counters, .. } => {
                Some(Statement::CounterIn(key.clone(), counters.clone()))
            }
            Self::Chosen { .. } => self.condition(),
        }
    }

    /// Goes on if the packet is over the limit, for each limit.
    fn over_limits(&self) -> Vec<Statement> {
        match self {
            Self::Named { limits, .. } => limits
                .iter()
                .map(|limit| Statement::Limit(limit.clone()))
                .collect(),
            Self::Mapped { key, limits, .. } | Self::Chosen { key, limits, .. } => limits
                .iter()
                .map(|limits| Statement::OverLimitIn(key.clone(), limits.clone()))
                .collect(),
        }
    }

    /// Drops what is over a limit of its source, for each such limit.
    fn source_limits(&self) -> Vec<Statement> {
        let Self::Named { rare, .. } = self else {
            return Vec::new();
        };
        let jump = |limiter: &SourceLimiter| Verdict::Jump(limiter.name.clone());
        let jumps = rare.sources.iter().map(jump);
        jumps.map(Statement::Verdict).collect()
    }

    /// The marks that copy packets and redirect them, each unless an earlier rule has done it.
    fn sends(&self) -> Vec<[Statement; 2]> {
        let Self::Named { rare, .. } = self else {
            return Vec::new();
        };
        let set = |&Mark { mask, value }: &Mark| {
            [
                Statement::MarkIs { mask, value: 0 },
                Statement::SetMark { mask, value },
            ]
        };
        rare.copy.iter().chain(&rare.redirect).map(set).collect()
    }

    /// The condition that there is a rule for the packet's key.
    fn condition(&self) -> Option<Statement> {
        match self {
            Self::Named { .. } => None,
            Self::Mapped { key, counters, .. } => {
                Some(Statement::In(key.clone(), counters.clone()))
            }
            Self::Chosen { key, members, .. } => {
                let members = members.clone()?;
                Some(Statement::In(key.clone(), members))
            }
        }
    }
}

/// The token buckets that all packets of a rule share; `None` when it drops everything.
pub(super) fn buckets(action: &Action) -> Option<Vec<Bucket>> {
    if action.discard {
        return None;
    }
    let of_sources = action.source_limits().iter();
    let mut of_sources = of_sources.map(|of_source| Enforcement::of(&of_source.limit));
    if of_sources.any(|enforcement| enforcement == Enforcement::Nothing) {
        return None;
    }
    let mut buckets = Vec::new();
    for limit in &action.limits {
        match Enforcement::of(limit) {
            Enforcement::Bucket(bucket) => buckets.push(bucket),
            Enforcement::Nothing => return None,
            Enforcement::Everything => {}
        }
    }
    Some(buckets)
}

/// True when the rule needs marks to be collected and written at the end of evaluation.
pub(super) fn collects_marks(action: &Action) -> bool {
    action.mark_dscp.is_some() && action.continue_evaluation && buckets(action).is_some()
}

/// The nft rules of `rule` for packets of which something is known. Empty when none of them matches.
pub(super) fn compile(
    rule: &Rule,
    known: Known,
    context: &Context,
    objects: &Objects,
) -> Vec<NftRule> {
    let tails = tails(rule.family, &rule.action, context, objects);
    product(
        rule,
        &alternatives(rule.family, &rule.matches, known),
        &tails,
    )
}

/// The same, with what happens to packets that match in a chain of its own: the nft rules that lead there, and those of
/// the chain.
pub(super) fn compile_apart(
    rule: &Rule,
    known: Known,
    context: &Context,
    objects: &Objects,
    chain: &str,
) -> (Vec<NftRule>, Vec<NftRule>) {
    let jump = [vec![Statement::Verdict(Verdict::Jump(chain.into()))]];
    let tails = tails(rule.family, &rule.action, context, objects);
    let conditions = alternatives(rule.family, &rule.matches, known);
    let always = [vec![Statement::Family(rule.family)]];
    (
        product(rule, &conditions, &jump),
        product(rule, &always, &tails),
    )
}

/// The nft rules of a rule: each of the tails under each of the conditions.
fn product(rule: &Rule, conditions: &[Vec<Statement>], tails: &[Vec<Statement>]) -> Vec<NftRule> {
    let both = |condition: &Vec<Statement>, tail: &Vec<Statement>| {
        let mut statements: Vec<Statement> = condition.iter().chain(tail).cloned().collect();
        // The list has packets of one family only: said again only where nft could not name a field else.
        if !implies_family(&statements, rule.family) {
            statements.retain(|statement| !matches!(statement, Statement::Family(_)));
        }
        NftRule {
            statements,
            comment: Some(rule.label.to_string().into()),
            rule: Some(rule.id),
        }
    };
    conditions
        .iter()
        .flat_map(|condition| tails.iter().map(move |tail| both(condition, tail)))
        .collect()
}

/// The nft rules for all rules of a family that are nothing but keys, the same in all of them, and
/// whose actions differ in rates only. `objects` are not those of one rule; `condition` holds for all of them.
pub(super) fn compile_keyed(
    family: Family,
    condition: &[Statement],
    action: &Action,
    context: &Context,
    objects: &Objects,
) -> Vec<NftRule> {
    let rule = |mut tail: Vec<Statement>| {
        // A tail that counts has looked the key up.
        if !matches!(
            tail.first(),
            Some(Statement::CounterIn(..) | Statement::In(..))
        ) {
            tail.splice(0..0, objects.condition());
        }
        NftRule::of_frame([condition.to_vec(), tail].concat(), "")
    };
    tails(family, action, context, objects)
        .into_iter()
        .filter(|tail| !matches!(tail.as_slice(), [Statement::In(..)]))
        .map(rule)
        .collect()
}

/// What happens to a packet that matches: one list for each nft rule that the same condition must
/// stand in.
fn tails(
    family: Family,
    action: &Action,
    context: &Context,
    objects: &Objects,
) -> Vec<Vec<Statement>> {
    let mut tails = Vec::new();
    let mut tail = Vec::new();
    if action.sample {
        let Sample {
            group,
            snap_length,
            one_in,
        } = context.sample;
        let log = Statement::Log { group, snap_length };
        if one_in > 1 {
            tails.push(vec![Statement::OneIn(one_in), log]);
        } else {
            tail.push(log);
        }
    }
    tail.splice(0..0, objects.count());
    if buckets(action).is_none() {
        tail.push(Statement::Verdict(Verdict::Drop));
        tails.push(tail);
        return tails;
    }
    for limit in objects.source_limits() {
        tail.push(limit);
        tails.push(std::mem::take(&mut tail));
    }
    for over_limit in objects.over_limits() {
        tail.push(over_limit);
        tail.push(Statement::Verdict(Verdict::Drop));
        tails.push(std::mem::take(&mut tail));
    }
    for send in objects.sends() {
        if !tail.is_empty() {
            tails.push(std::mem::take(&mut tail));
        }
        tails.push(send.into());
    }
    match (action.mark_dscp, context.collect_marks) {
        (Some(dscp), Some(mark)) => {
            if !tail.is_empty() {
                tails.push(std::mem::take(&mut tail));
            }
            tails.push(vec![
                Statement::MarkIs {
                    mask: mark.chosen(),
                    value: 0,
                },
                Statement::SetMark {
                    mask: mark.mask(),
                    value: mark.value(dscp),
                },
            ]);
        }
        // The rule ends evaluation, so that nothing looks at the packet after the write.
        (Some(dscp), None) => tail.push(Statement::SetDscp(family, dscp)),
        (None, _) => {}
    }
    if !action.continue_evaluation {
        tail.push(Statement::Verdict(match context.collect_marks {
            Some(_) => Verdict::Goto(FINISH_CHAIN.into()),
            None => Verdict::Accept,
        }));
    }
    if !tail.is_empty() {
        tails.push(tail);
    }
    tails
}

/// Says what keeps the rule from being expressed exactly.
pub(super) fn check(rule: &Rule) -> Result<(), String> {
    if let Some(dscp) = rule.action.mark_dscp.filter(|dscp| *dscp > 63) {
        return Err(format!(
            "DSCP {dscp} does not fit the six bits of the field"
        ));
    }
    let of_sources = rule.action.source_limits();
    let each = of_sources.iter().map(|of_source| &of_source.limit);
    for limit in rule.action.limits.iter().chain(each) {
        if !limit.rate_per_sec.is_finite() || limit.rate_per_sec <= 0.0 {
            return Err(format!(
                "a rate of {} cannot be limited to",
                limit.rate_per_sec
            ));
        }
    }
    for unit in [LimitUnit::Bytes, LimitUnit::Packets] {
        if rule
            .action
            .limits
            .iter()
            .filter(|limit| limit.unit == unit)
            .count()
            > 1
        {
            return Err("a rule can have one limit of each unit".into());
        }
    }
    let mut seen = BTreeSet::new();
    for SourceLimit {
        limit,
        prefix_length,
        max_sources,
    } in of_sources
    {
        if *prefix_length > rule.family.address_bits() || *max_sources == 0 {
            return Err(format!(
                "{max_sources} sources with a prefix length of {prefix_length} cannot be told apart"
            ));
        }
        if !seen.insert((limit.unit, prefix_length)) {
            return Err("a rule can have one limit of each unit for sources of a length".into());
        }
    }
    Ok(())
}

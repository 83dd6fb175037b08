//! Which lines the policy file shall have: guards first, then the rules that there is room for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::interfaces::{self, filtered};
use super::line::{Line, Target, join};
use super::policer::Policer;
use super::{Options, Release};
use crate::backend::{Capability, Unsupported};
use crate::desired::{Link, Settings, local_addresses};
use crate::guard::Guard;
use crate::rule::RareActions;
use crate::rule::{Action, AddressPattern, Family, Match, Rule, RuleId};
use crate::tcam::budget::Budget;
use crate::tcam::ports::RangeCheckers;
use crate::tcam::profile::{Fields, Language, Police};
use crate::tcam::{Entry, expand};

/// Hop limit of a packet that no router has forwarded.
const ON_LINK: u8 = 255;

/// A rule and its lines.
#[derive(Clone, Debug)]
pub struct PlannedRule {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Its lines, in order; none for a rule that no packet matches.
    pub lines: Vec<Line>,
}

impl PlannedRule {
    /// Entries that it takes in the hardware.
    pub fn cost(&self) -> usize {
        self.lines.iter().map(Line::cost).sum()
    }
}

/// Why a rule is not in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be said on these interfaces.
    Unsupported(String),
    /// There is no room for it.
    NoRoom(String),
}

/// What the policy file shall say.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Lines for what no rule ever touches, with what they are for.
    pub guards: Vec<(Arc<str>, Vec<Line>)>,
    /// The rules, in order, IPv4 first.
    pub rules: Vec<PlannedRule>,
    /// Rules without room, in order of age.
    pub refused: Vec<(RuleId, Refusal)>,
    /// What is used of the table.
    pub budget: Budget,
    /// Which ranges of ports are checked.
    pub checkers: RangeCheckers,
    /// What guards do not spare, in the operator's words.
    pub warnings: Vec<String>,
    /// No rule is in force.
    pub suspended: bool,
}

impl Plan {
    /// Plans the file for `rules`, of which those come first to room that `is_installed` names, then older ones. Guards come
    /// before all of them, in the families that there are rules of.
    ///
    /// Fails when guards or interfaces cannot be said: then nothing can be installed.
    pub fn new(
        options: &Options,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
        is_installed: impl Fn(RuleId) -> bool,
    ) -> Result<Self, String> {
        let interfaces = filtered(&settings.interfaces)?;
        let mut plan = Self {
            guards: Vec::new(),
            rules: Vec::new(),
            refused: Vec::new(),
            budget: Budget::new(options.room()),
            checkers: RangeCheckers::new(options.profile.range_checkers),
            warnings: Vec::new(),
            suspended: settings.suspended,
        };
        let mut by_age: Vec<&Arc<Rule>> = rules.iter().collect();
        by_age.sort_by_key(|rule| (!is_installed(rule.id), rule.id));
        let mut unguarded = BTreeMap::new();
        for family in Family::ALL {
            if rules.iter().any(|rule| rule.family == family) {
                let guarded = plan.add_guards(options, settings, links, &interfaces, family)?;
                unguarded.extend(guarded.err().map(|reason| (family, reason)));
            }
        }
        for rule in by_age {
            if let Some(reason) = unguarded.get(&rule.family) {
                let refusal = Refusal::NoRoom(reason.clone());
                plan.refused.push((rule.id, refusal));
                continue;
            }
            match plan.place(options, settings, rule) {
                Ok(lines) => plan.rules.push(PlannedRule {
                    rule: rule.clone(),
                    lines,
                }),
                Err(refusal) => plan.refused.push((rule.id, refusal)),
            }
        }
        plan.rules
            .sort_by(|a, b| (a.rule.family, &a.rule.order).cmp(&(b.rule.family, &b.rule.order)));
        Ok(plan)
    }

    /// All lines of a family, in order.
    pub fn lines(&self, family: Family) -> impl Iterator<Item = &Line> {
        let guards = self.guards.iter().flat_map(|(_, lines)| lines);
        let rules = self.rules.iter().filter(|_| !self.suspended);
        let rules = rules.flat_map(|rule| &rule.lines);
        guards
            .chain(rules)
            .filter(move |line| line.entry.family == family)
    }

    /// Places the guards of a family, for which everything else has to make room; or says why there is none.
    fn add_guards(
        &mut self,
        options: &Options,
        settings: &Settings,
        links: &[Link],
        interfaces: &[String],
        family: Family,
    ) -> Result<Result<(), String>, String> {
        let mut local: Vec<(Family, u128)> = local_addresses(links).collect();
        local.sort_unstable();
        local.dedup();
        let language = options.language();
        let mut guards = settings.all_guards();
        guards.retain(|guard| guard.family == family);
        for guard in guards {
            let entries = guard_entries(&guard, &local, &language, &mut self.warnings)
                .map_err(|why| format!("{}: {why}", guard.purpose))?;
            let accept = |_: &Entry| vec![Target::Accept];
            match self.take(options, interfaces, family, entries, accept) {
                Ok(lines) if lines.is_empty() => {}
                Ok(lines) => self.guards.push((guard.purpose.clone(), lines)),
                Err(why) => {
                    return Ok(Err(format!(
                        "rules need what is never filtered before them, {}: {why}",
                        guard.purpose
                    )));
                }
            }
        }
        Ok(Ok(()))
    }

    /// The lines of a rule, for which room is taken.
    fn place(
        &mut self,
        options: &Options,
        settings: &Settings,
        rule: &Rule,
    ) -> Result<Vec<Line>, Refusal> {
        let unsupported = |why: Unsupported| Refusal::Unsupported(why.0);
        let targets = targets(&rule.action, options).map_err(unsupported)?;
        let entries = entries(rule, options).map_err(unsupported)?;
        let interfaces = interfaces::of_rule(&settings.interfaces, &rule.matches)
            .map_err(|why| Refusal::Unsupported(format!("interface-set: {why}")))?;
        if interfaces.is_empty() {
            return Ok(Vec::new());
        }
        one_policer(rule, interfaces.len()).map_err(unsupported)?;
        self.take(options, &interfaces, rule.family, entries, |_| {
            targets.clone()
        })
        .map_err(Refusal::NoRoom)
    }

    /// Takes room for entries, each with all its targets on each interface.
    fn take(
        &mut self,
        options: &Options,
        interfaces: &[String],
        family: Family,
        entries: Vec<Entry>,
        targets: impl Fn(&Entry) -> Vec<Target>,
    ) -> Result<Vec<Line>, String> {
        let most = options.profile.language.entries_per_rule;
        let entries = self
            .checkers
            .place(entries, most)
            .map_err(|error| error.to_string())?;
        let mut lines = Vec::new();
        for (entry, multiport) in join(entries.clone()) {
            for interface in interfaces {
                for target in targets(&entry) {
                    lines.push(Line {
                        entry: entry.clone(),
                        multiport: multiport.clone(),
                        interface: interface.clone(),
                        target,
                    });
                }
            }
        }
        let cost = lines.iter().map(Line::cost).sum();
        if !self.budget.take(family, cost) {
            self.checkers.release(&entries);
            return Err(format!(
                "it takes {cost} entries for {family}, and {} are left of {}",
                self.budget.left(family),
                self.budget.room().of(family)
            ));
        }
        Ok(lines)
    }
}

impl Options {
    /// What entries can say: release 4 does not document fragments for IPv4.
    pub fn language(&self) -> Language {
        let mut language = self.profile.language.clone();
        if self.release == Release::Four {
            language.ipv4 = Fields {
                later_fragments: false,
                ..language.ipv4
            };
        }
        language
    }
}

/// What a policy file can say.
pub struct Capabilities(pub Options);

impl Capability for Capabilities {
    fn check(&self, rule: &Rule) -> Result<(), Unsupported> {
        targets(&rule.action, &self.0)?;
        entries(rule, &self.0)?;
        one_policer(rule, count_interfaces(rule)?)
    }

    fn entries(&self, rule: &Rule) -> Option<usize> {
        let targets = targets(&rule.action, &self.0).ok()?;
        let entries = entries(rule, &self.0).ok()?;
        let interfaces = count_interfaces(rule).ok()?;
        Some(entries.len() * targets.len() * interfaces)
    }
}

/// The interfaces of the rule's set, if it has one, each of which has lines of its own.
fn count_interfaces(rule: &Rule) -> Result<usize, Unsupported> {
    interfaces::count(&rule.matches).map_err(|why| Unsupported(format!("interface-set: {why}")))
}

/// Fails for a rule that polices on several interfaces.
fn one_policer(rule: &Rule, interfaces: usize) -> Result<(), Unsupported> {
    if !polices(&rule.action) || interfaces <= 1 {
        return Ok(());
    }
    let which = match &rule.matches.rare.interfaces {
        Some(_) => "interfaces of the set",
        None => "patterns in dataplane.interfaces",
    };
    Err(Unsupported(format!(
        "rate-limit: each of the {interfaces} {which} has a policer of its own, which allows several times the rate"
    )))
}

/// True when packets are held against a rate.
fn polices(action: &Action) -> bool {
    !action.discard && !action.limits.is_empty()
}

/// The targets that carry out an action, in order: a line for each.
fn targets(action: &Action, options: &Options) -> Result<Vec<Target>, Unsupported> {
    let refuse = |reason: &str| Err(Unsupported(reason.into()));
    if action.sample {
        return refuse("sample: the switch has no NFLOG");
    }
    if action.discard {
        return Ok(vec![Target::Drop]);
    }
    let RareActions {
        redirect,
        copy_to,
        source_limits,
    } = &*action.rare;
    if redirect.is_some() {
        return refuse("redirect: no target of the switch's ACLs redirects");
    }
    if copy_to.is_some() {
        return refuse("copy: no target of the switch's ACLs copies to an address");
    }
    if !source_limits.is_empty() {
        return refuse(
            "rate-limit for each source: POLICE has one policer for all packets of an entry",
        );
    }
    let mut targets = Vec::new();
    for limit in &action.limits {
        if let Police::No(why) = options.profile.police {
            return refuse(&format!("rate-limit: {why}"));
        }
        targets.push(Target::Police(Policer::of(limit, options.kilobyte)?));
    }
    if action.continue_evaluation {
        return match (targets.is_empty(), action.mark_dscp) {
            (false, None) if options.profile.limit_and_continue => Ok(targets),
            _ => refuse(
                "action: of all targets only POLICE lets evaluation go on, and it does not mark",
            ),
        };
    }
    if let Some(dscp) = action.mark_dscp {
        targets.push(Target::Mark(dscp));
    }
    // Where the switch forwards in software the target that marks does not end the evaluation.
    targets.push(Target::Accept);
    Ok(targets)
}

/// The entries of a rule.
fn entries(rule: &Rule, options: &Options) -> Result<Vec<Entry>, Unsupported> {
    let entries = expand(&rule.matches, rule.family, &options.language())?;
    if polices(&rule.action) && entries.len() > 1 {
        return Err(Unsupported(format!(
            "rate-limit: the match takes {} entries, and each has a policer of its own, which allows several times the rate",
            entries.len()
        )));
    }
    let mark = rule.action.mark_dscp.filter(|_| !rule.action.discard);
    if let Some(new) = mark
        && entries
            .iter()
            .any(|entry| entry.dscp.is_some_and(|old| old != new))
    {
        // The ACCEPT that `targets` puts behind the mark would look for the DSCP that the packet had before.
        return Err(Unsupported(
            "mark: it changes the DSCP that the match looks at, and where the switch forwards in software later entries \
             would have the packet"
                .into(),
        ));
    }
    Ok(entries)
}

/// The entries for what no rule may touch.
///
/// Later fragments of IPv6 cannot be told from others, so that a warning says which are not spared.
fn guard_entries(
    guard: &Guard,
    local: &[(Family, u128)],
    language: &Language,
    warnings: &mut Vec<String>,
) -> Result<Vec<Entry>, String> {
    let mut entries = expanded(&guard.traffic, guard, local, language)?;
    if let Some(later) = guard.later_fragments() {
        match expanded(&later, guard, local, language) {
            Ok(more) => entries.extend(more),
            Err(_) => warnings.push(format!(
                "{}: later fragments of {} packets are not spared, because the switch cannot tell them",
                guard.purpose, guard.family
            )),
        }
    }
    if guard.on_link {
        entries
            .iter_mut()
            .for_each(|entry| entry.hop_limit = Some(ON_LINK));
    }
    Ok(entries)
}

/// The entries for traffic, to each address of this machine where only that is meant.
fn expanded(
    traffic: &Match,
    guard: &Guard,
    local: &[(Family, u128)],
    language: &Language,
) -> Result<Vec<Entry>, String> {
    let entries = expand(traffic, guard.family, language).map_err(|why| why.0)?;
    if !guard.to_this_machine {
        return Ok(entries);
    }
    let is_meant = |address: u128| traffic.destination.is_none_or(|it| it.contains(address));
    let addresses = local
        .iter()
        .filter(|(family, address)| *family == guard.family && is_meant(*address))
        .filter(|(family, address)| !is_loopback(*family, *address));
    let bits = guard.family.address_bits();
    let to = |entry: &Entry, address: u128| Entry {
        destination: Some(AddressPattern::new(address, 0, bits)),
        ..entry.clone()
    };
    let all = addresses.flat_map(|(_, address)| entries.iter().map(|it| to(it, *address)));
    Ok(all.collect())
}

/// True for addresses that no packet from outside is for.
fn is_loopback(family: Family, address: u128) -> bool {
    match family {
        Family::Ipv4 => address >> 120 == 127,
        Family::Ipv6 => address == 1,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

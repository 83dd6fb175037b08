//! The backend that forwards packets in memory: the oracle for all others.
//!
//! It does what [`crate::rule`] and [`crate::desired`] say in the most direct way: every packet is held against one
//! rule after the other. Time is an argument.

mod bucket;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, BackendError, Capability, Counter, Culprit, Recovered, Unsupported};
use crate::desired::{Changes, Link, Settings, local_addresses};
use crate::guard::Guard;
use crate::packet::Packet;
use crate::rule::{Action, Family, OrderKey, Route, Rule, RuleId};
use bucket::TokenBucket;
use sources::SourceBuckets;

/// Rules by family, in order.
type Rules = BTreeMap<(Family, OrderKey), Installed>;

/// A packet filter in memory.
#[derive(Clone, Debug, Default)]
pub struct Sim {
    started: bool,
    settings: Settings,
    rules: Rules,
    guards: Vec<Guard>,
    local_addresses: BTreeSet<(Family, u128)>,
    /// Packets that could have been sampled: every `one_in`th is.
    sample_candidates: u64,
}

/// A rule and its state.
#[derive(Clone, Debug)]
struct Installed {
    rule: Arc<Rule>,
    counter: Counter,
    buckets: Box<[TokenBucket]>,
    source_buckets: Box<[SourceBuckets]>,
}

/// What became of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// False: dropped.
    pub passed: bool,
    /// DSCP of the packet as it leaves the filter.
    pub dscp: u8,
    /// Where it is routed instead of by its destination; `None` for a packet that is dropped.
    pub redirect: Option<Arc<Route>>,
    /// Where a copy of it goes; `None` for a packet that is dropped.
    pub copy_to: Option<IpAddr>,
    /// Rules that handed a copy to the sampling group, in order.
    pub sampled_by: Vec<RuleId>,
    /// Rules that matched, in order.
    pub matched: Vec<RuleId>,
}

impl Sim {
    /// A backend that owns nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands one packet to the filter, `now` after an arbitrary start, not before the packet handed in last.
    ///
    /// `length_octets` is the length of the IP packet, which counters and limiters count.
    pub fn forward(&mut self, now: Duration, packet: &Packet, length_octets: u32) -> Verdict {
        let mut verdict = Verdict {
            passed: true,
            dscp: packet.dscp,
            redirect: None,
            copy_to: None,
            sampled_by: Vec::new(),
            matched: Vec::new(),
        };
        if self.settings.suspended || self.is_guarded(packet) {
            return verdict;
        }
        let mut mark = None;
        let mut redirect: Option<Arc<Route>> = None;
        let mut copy_to = None;
        let of_family = self
            .rules
            .iter_mut()
            .filter(|((family, _), _)| *family == packet.family)
            .map(|(_, installed)| installed);
        for installed in of_family {
            if !installed.rule.matches.contains(packet) {
                continue;
            }
            installed.counter.packets += 1;
            installed.counter.bytes += u64::from(length_octets);
            let rule = &installed.rule;
            verdict.matched.push(rule.id);
            if rule.action.sample {
                self.sample_candidates += 1;
                let one_in = u64::from(self.settings.sample.one_in.max(1));
                if self.sample_candidates.is_multiple_of(one_in) {
                    verdict.sampled_by.push(rule.id);
                }
            }
            let mut of_source = installed.source_buckets.iter_mut();
            let mut of_all = installed.buckets.iter_mut();
            let admitted = !rule.action.discard
                && of_source.all(|buckets| buckets.admit(now, packet.source, length_octets))
                && of_all.all(|bucket| bucket.admit(now, length_octets));
            if !admitted {
                verdict.passed = false;
                return verdict;
            }
            mark = mark.or(rule.action.mark_dscp);
            redirect = redirect.or_else(|| rule.action.rare.redirect.clone());
            copy_to = copy_to.or(rule.action.rare.copy_to);
            if !rule.action.continue_evaluation {
                break;
            }
        }
        verdict.dscp = mark.unwrap_or(packet.dscp);
        verdict.redirect = redirect;
        verdict.copy_to = copy_to;
        verdict
    }

    /// True when no rule may touch the packet.
    fn is_guarded(&self, packet: &Packet) -> bool {
        let is_local = |family, address| self.local_addresses.contains(&(family, address));
        self.guards
            .iter()
            .any(|guard| guard.protects(packet, is_local))
    }

    /// Takes over settings, and the addresses of the links.
    fn configure(&mut self, settings: &Settings, links: &[Link]) {
        self.settings = settings.clone();
        self.guards = settings.all_guards();
        self.local_addresses = local_addresses(links).collect();
    }

    /// Fails before [`Backend::start`] and after [`Backend::stop`].
    fn check_started(&self) -> Result<(), BackendError> {
        if self.started {
            Ok(())
        } else {
            Err(BackendError::Unavailable("not started".into()))
        }
    }
}

impl Installed {
    /// A rule in the place of `previous`: the counter goes on when the id is the same, limiters when they are too.
    fn new(rule: &Arc<Rule>, previous: Option<Installed>) -> Self {
        let previous = previous.filter(|previous| previous.rule.id == rule.id);
        let counter = previous.as_ref().map_or(Counter::default(), |p| p.counter);
        let (limits, source_limits) = (&rule.action.limits, rule.action.source_limits());
        let (kept, kept_of_sources) = match previous {
            Some(Installed {
                rule,
                buckets,
                source_buckets,
                ..
            }) => (
                (rule.action.limits == *limits).then_some(buckets),
                (rule.action.source_limits() == source_limits).then_some(source_buckets),
            ),
            None => (None, None),
        };
        let buckets = kept.unwrap_or_else(|| limits.iter().map(TokenBucket::full).collect());
        let source_buckets = kept_of_sources
            .unwrap_or_else(|| source_limits.iter().map(SourceBuckets::empty).collect());
        Self {
            rule: rule.clone(),
            counter,
            buckets,
            source_buckets,
        }
    }
}

/// Everything can be expressed.
struct EveryRule;

impl Capability for EveryRule {
    fn check(&self, _: &Rule) -> Result<(), Unsupported> {
        Ok(())
    }
}

impl Backend for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn capability(&self) -> Arc<dyn Capability> {
        Arc::new(EveryRule)
    }

    fn recover(&mut self) -> Result<Vec<Recovered>, BackendError> {
        let recovered = |installed: &Installed| Recovered {
            id: installed.rule.id,
            memo: installed.rule.memo(),
        };
        Ok(self.rules.values().map(recovered).collect())
    }

    fn resume(
        &mut self,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
    ) -> Result<(), BackendError> {
        self.started = true;
        self.configure(settings, links);
        let changes = Changes {
            put: rules.to_vec(),
            remove: self.rules.keys().cloned().collect(),
        };
        self.commit(&changes)
    }

    fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        self.check_started()?;
        self.configure(settings, links);
        Ok(())
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        self.check_started()?;
        let mut rules = self.rules.clone();
        // A rule may also move: its state follows the id, wherever another rule takes its place.
        let mut displaced = BTreeMap::new();
        let put = changes
            .put
            .iter()
            .map(|rule| (rule.family, rule.order.clone()));
        for key in changes.remove.iter().cloned().chain(put) {
            if let Some(installed) = rules.remove(&key) {
                displaced.insert(installed.rule.id, installed);
            }
        }
        for rule in &changes.put {
            let key = (rule.family, rule.order.clone());
            let twice = rules.remove(&key);
            let previous = displaced.remove(&rule.id).or(twice);
            rules.insert(key, Installed::new(rule, previous));
        }
        let mut ids = BTreeSet::new();
        for installed in rules.values() {
            let id = installed.rule.id;
            if !ids.insert(id) {
                return Err(BackendError::Refused {
                    rule: Some(id),
                    reason: format!("there are two rules called {id}"),
                });
            }
        }
        self.rules = rules;
        Ok(())
    }

    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
        self.check_started()?;
        let counters = self.rules.values();
        Ok(counters
            .map(|installed| (installed.rule.id, installed.counter))
            .collect())
    }

    fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
        self.check_started().map(|()| None)
    }

    fn render(&self, _: &Settings, rules: &[Arc<Rule>]) -> String {
        let mut sorted: Vec<_> = rules.iter().collect();
        sorted.sort_by_key(|rule| (rule.family, rule.order.clone()));
        let mut text = String::new();
        for rule in sorted {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{} {}: {} # {}",
                rule.family,
                rule.id,
                describe_action(&rule.action),
                rule.label
            );
        }
        text
    }

    fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError> {
        self.check_started()?;
        Ok(vec![("rules".into(), self.rules.len().to_string())])
    }

    fn warnings(&mut self) -> Vec<String> {
        vec!["the sim backend filters no packet of this machine".into()]
    }

    fn stop(&mut self) -> Result<(), BackendError> {
        self.started = false;
        self.rules.clear();
        Ok(())
    }
}

/// An action in words, in the order in which its parts are carried out.
fn describe_action(action: &Action) -> String {
    let mut words = Vec::new();
    if action.sample {
        words.push("sample".to_string());
    }
    if action.discard {
        words.push("discard".to_string());
        return words.join(", ");
    }
    for of_source in action.source_limits() {
        words.push(format!(
            "limit each source /{} of {} to {} {}",
            of_source.prefix_length,
            of_source.max_sources,
            of_source.limit.rate_per_sec,
            bucket::unit_name(of_source.limit.unit)
        ));
    }
    for limit in &action.limits {
        words.push(format!(
            "limit {} {}",
            limit.rate_per_sec,
            bucket::unit_name(limit.unit)
        ));
    }
    if let Some(dscp) = action.mark_dscp {
        words.push(format!("mark dscp {dscp}"));
    }
    if let Some(route) = action.route() {
        words.push(format!("redirect to {route}"));
    }
    if let Some(address) = action.copy_to() {
        words.push(format!("copy to {address}"));
    }
    let end = if action.continue_evaluation {
        "continue"
    } else {
        "accept"
    };
    words.push(end.to_string());
    words.join(", ")
}

#[cfg(test)]
mod tests;

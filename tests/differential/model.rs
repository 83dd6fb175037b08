//! What should be installed, and what its counters should say.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use dataplane::backend::Counter;
use dataplane::desired::Changes;
use dataplane::packet::Packet;
use dataplane::rule::{Background, Family, Label, OrderKey, Rule, RuleId};
use flowacl::engine::lower::lower;
use flowacl::flowspec::action::TrafficFilteringActions;
use flowacl::flowspec::matches::{Verdict, evaluate, matches};
use flowacl::flowspec::precedence::precedence_key;
use flowacl::wire::nlri::Component;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::populations::{Population, mask};
use crate::specifications::{COLLECTORS, INTERFACE, NEXT_HOPS, Route, bindings};

/// A rule's place.
type Key = (Family, OrderKey);

/// A route, the rule that it became, and what should have been counted.
pub struct Installed {
    pub route: Route,
    pub rule: Arc<Rule>,
    pub counter: Counter,
}

/// Routes in the order of their precedence.
#[derive(Default)]
pub struct Model {
    pub installed: BTreeMap<Key, Installed>,
    next_id: u64,
}

/// How many routes a commit concerns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// Routes that are withdrawn.
    pub withdraw: usize,
    /// Routes that get other actions.
    pub replace: usize,
    /// Routes that are announced, some of them known already.
    pub announce: usize,
}

/// The background of a rule: any octets as its memo.
struct Told {
    text: String,
    memo: Vec<u8>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Background for Told {
    fn memo(&self) -> Vec<u8> {
        self.memo.clone()
    }
}

impl Model {
    /// Changes the set of routes; what the data plane has to do for that.
    pub fn change(
        &mut self,
        random: &mut StdRng,
        population: &mut Population,
        extent: Extent,
    ) -> Changes {
        let mut changed: BTreeMap<Key, Option<Arc<Rule>>> = BTreeMap::new();
        let keys: Vec<Key> = self.installed.keys().cloned().collect();
        // Rules that are taken away and whose ids nobody has yet.
        let mut free = Vec::new();
        for key in keys.choose_multiple(random, extent.withdraw) {
            free.extend(self.installed.remove(key));
            changed.insert(key.clone(), None);
        }
        for key in keys.choose_multiple(random, extent.replace) {
            if let Some(installed) = self.installed.remove(key) {
                let mut route = installed.route.clone();
                route.actions = population.actions(random);
                let rule = self.put(random, route, Some(installed));
                changed.insert(key.clone(), Some(rule));
            }
        }
        for _ in 0..extent.announce {
            let route = population.route(random);
            let key = key(&route);
            // A rule may also move, with its counter, to another key.
            let moved = random.random_bool(0.05).then(|| free.pop()).flatten();
            let previous = self.installed.remove(&key);
            // An id stands for one rule only: what is in the way keeps its own.
            let previous = previous.or(moved);
            let rule = self.put(random, route, previous);
            changed.insert(key, Some(rule));
        }
        let mut changes = Changes::default();
        let stranger = key(&population.route(random));
        if !changed.contains_key(&stranger) && !self.installed.contains_key(&stranger) {
            // Not installed: to be ignored.
            changes.remove.push(stranger);
        }
        for (key, rule) in changed {
            match rule {
                Some(rule) => changes.put.push(rule),
                None => changes.remove.push(key),
            }
        }
        changes
    }

    /// Announces one route that is not there yet.
    pub fn announce(&mut self, random: &mut StdRng, route: Route) -> Changes {
        Changes {
            put: vec![self.put(random, route, None)],
            remove: Vec::new(),
        }
    }

    /// Installs a route in the place of another: half of them keep its id, and with it its counter.
    fn put(
        &mut self,
        random: &mut StdRng,
        mut route: Route,
        previous: Option<Installed>,
    ) -> Arc<Rule> {
        if let Some(collector) = &mut route.actions.copy_to {
            *collector = COLLECTORS[usize::from(route.nlri.family().is_ipv6())];
        }
        for next_hop in &mut route.actions.redirect_next_hops {
            *next_hop = NEXT_HOPS[usize::from(route.nlri.family().is_ipv6())];
        }
        let kept = previous.filter(|_| random.random_bool(0.5));
        // What a later process wants to know: at least the route.
        let notes = vec![0xa5; random.random_range(0..40)];
        let memo = [route.nlri.value(), &notes].concat();
        let (id, counter) = match kept {
            Some(kept) => (kept.rule.id, kept.counter),
            None => {
                self.next_id += 1;
                (RuleId(self.next_id), Counter::default())
            }
        };
        let lowered = lower(&route.nlri, &route.actions.clone().into(), id, bindings())
            .expect("no action is unsupported");
        let mut rule = lowered.rule;
        let text = rule.label.to_string();
        rule.label = Label::new(Told { text, memo });
        let rule = Arc::new(rule);
        let installed = Installed {
            route,
            rule: rule.clone(),
            counter,
        };
        self.installed
            .insert((rule.family, rule.order.clone()), installed);
        rule
    }

    /// All rules, for a message.
    pub fn rules(&self) -> Vec<Arc<Rule>> {
        let rules = self.installed.values();
        rules.map(|installed| installed.rule.clone()).collect()
    }

    /// Ids and counters, in the order of the ids.
    pub fn counters(&self) -> Vec<(RuleId, Counter)> {
        let installed = self.installed.values();
        let mut counters: Vec<_> = installed
            .map(|installed| (installed.rule.id, installed.counter))
            .collect();
        counters.sort_by_key(|(id, _)| *id);
        counters
    }
}

/// The place of a route's rule.
fn key(route: &Route) -> Key {
    let family = match route.nlri.family().is_ipv6() {
        true => Family::Ipv6,
        false => Family::Ipv4,
    };
    (family, precedence_key(&route.nlri))
}

/// The reference evaluator over many rules.
pub struct Reference<'a> {
    families: [OneFamily<'a>; 2],
}

/// Rules of one family in order; those that name a prefix can be found by it.
#[derive(Default)]
struct OneFamily<'a> {
    rules: Vec<&'a mut Installed>,
    /// Positions of rules by the destination they name, and of those that name none by their source.
    by_prefix: [HashMap<u128, HashMap<u128, Vec<usize>>>; 2],
    /// Positions of the others.
    others: Vec<usize>,
}

impl<'a> Reference<'a> {
    /// Takes the rules of a model.
    pub fn new(model: &'a mut Model) -> Self {
        let mut families = [OneFamily::default(), OneFamily::default()];
        for ((family, _), installed) in &mut model.installed {
            families[usize::from(*family == Family::Ipv6)].push(installed);
        }
        Self { families }
    }

    /// What becomes of a packet, whose octets are counted. The verdict's positions are those of [`Reference::rule`].
    pub fn evaluate(&mut self, packet: &Packet, length_octets: u64) -> Verdict {
        let names = bindings();
        let family = &mut self.families[usize::from(packet.family == Family::Ipv6)];
        let candidates = family.candidates(packet);
        let routes = candidates
            .iter()
            .map(|position| &family.rules[*position].route);
        let mut verdict = evaluate(
            routes.map(|route| (&route.nlri, &route.actions)),
            packet,
            |set| names.admits(set, INTERFACE),
        );
        verdict.redirected_by = verdict.redirected_by.map(|position| candidates[position]);
        for matched in &mut verdict.matched {
            *matched = candidates[*matched];
            let counter = &mut family.rules[*matched].counter;
            counter.packets += 1;
            counter.bytes += length_octets;
        }
        verdict
    }

    /// The actions of the rule at a position of a verdict.
    pub fn actions(&self, family: Family, position: usize) -> &TrafficFilteringActions {
        let family = &self.families[usize::from(family == Family::Ipv6)];
        &family.rules[position].route.actions
    }

    /// All rules that match a packet, those behind the deciding one, too: for a message.
    pub fn matching(&self, packet: &Packet) -> Vec<String> {
        let family = &self.families[usize::from(packet.family == Family::Ipv6)];
        let rules = family.rules.iter();
        rules
            .filter(|installed| matches(&installed.route.nlri, packet))
            .map(|installed| format!("{} {}", installed.rule.id, installed.rule.label))
            .collect()
    }
}

impl<'a> OneFamily<'a> {
    /// Appends a rule.
    fn push(&mut self, installed: &'a mut Installed) {
        let position = self.rules.len();
        let mut components = installed.route.nlri.components().into_iter();
        // Components ascend by type: the destination comes before the source.
        let (index, prefix) = match components.next() {
            Some(Component::DestinationPrefix(prefix)) => (0, prefix),
            Some(Component::SourcePrefix(prefix)) => (1, prefix),
            Some(Component::Numeric(..) | Component::Bitmask(..)) | None => {
                self.others.push(position);
                self.rules.push(installed);
                return;
            }
        };
        let same_mask = self.by_prefix[index].entry(mask(prefix)).or_default();
        same_mask.entry(prefix.bits).or_default().push(position);
        self.rules.push(installed);
    }

    /// Positions of rules whose first prefix is that of the packet, and of all without: no other can match.
    fn candidates(&self, packet: &Packet) -> Vec<usize> {
        let mut candidates = self.others.clone();
        for (index, address) in [packet.destination, packet.source].into_iter().enumerate() {
            for (mask, values) in &self.by_prefix[index] {
                candidates.extend(values.get(&(address & mask)).into_iter().flatten());
            }
        }
        candidates.sort_unstable();
        candidates
    }
}

//! [`Steering`]: the kernel's routing for all routes in use.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use super::entries::{Entries, PolicyRule, Way, entries, own_table};
use super::kernel::Kernel;
use super::marks::Marks;
use super::reachability::Reachability;
use super::usage::Usage;
use crate::backend::BackendError;
use crate::desired::{Changes, Redirects, Unreachable};
use crate::rule::{Family, Route, Rule, RuleId};

/// How the routes can be followed, or why they cannot.
type Ways = BTreeMap<Arc<Route>, Result<Way, String>>;

/// Policy rules and routes for the rules in force.
///
/// A route is there before the packet filter marks packets for it ([`Steering::prepare`]), and goes after the last
/// rule that does ([`Steering::committed`]).
pub struct Steering {
    kernel: Kernel,
    settings: Redirects,
    marks: Arc<Marks>,
    usage: Usage<Arc<Route>>,
    reachability: Reachability,
    ways: Ways,
    /// What of ours is in the kernel, as far as we know.
    present: Entries,
}

impl Steering {
    /// Reads what an earlier process left; nothing is changed yet. Works in the network namespace of this thread.
    pub fn open(settings: &Redirects) -> Result<Self, BackendError> {
        let open = || {
            let mut kernel = Kernel::open(settings.protocol)?;
            let present = kernel.entries()?;
            Ok((kernel, present))
        };
        let (kernel, present) = open().map_err(|error| unavailable(&error))?;
        Ok(Self {
            kernel,
            settings: *settings,
            marks: Arc::new(Marks::new(settings.mark)),
            usage: Usage::new(|action| action.route().cloned()),
            reachability: Reachability::default(),
            ways: Ways::new(),
            present,
        })
    }

    /// The packet marks of all routes in use.
    pub fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }

    /// Says what becomes of packets that cannot be redirected.
    pub fn set_unreachable(&mut self, unreachable: Unreachable) -> Result<(), BackendError> {
        if self.settings.unreachable == unreachable {
            return Ok(());
        }
        self.settings.unreachable = unreachable;
        self.reconcile().map_err(|error| unavailable(&error))
    }

    /// Makes ready for rules that may be in force in a moment, those of before included.
    ///
    /// Fails with the rule whose route cannot be had; what was done then goes with the next
    /// [`Steering::committed`] or [`Steering::refused`].
    pub fn prepare(&mut self, rules: &[Arc<Rule>]) -> Result<(), BackendError> {
        for rule in rules {
            let Some(route) = rule.action.route() else {
                continue;
            };
            for needed in needed(route) {
                if self.marks.get(&needed).is_some() {
                    continue;
                }
                let led = self.lead_to_instance(&needed);
                let taken = led.and_then(|()| self.take(&needed));
                let added = taken.and_then(|()| self.add_missing());
                added.map_err(|error| BackendError::Refused {
                    rule: Some(rule.id),
                    reason: format!("redirect to {route}: {error}"),
                })?;
            }
        }
        Ok(())
    }

    /// Takes note of a commit that went in: routes that no rule redirects to any more go.
    /// What cannot be taken away now is by the next [`Steering::audit`].
    pub fn committed(&mut self, changes: &Changes) {
        self.usage.apply(changes);
        self.release();
    }

    /// Takes note that what was prepared is not in force.
    pub fn refused(&mut self) {
        self.release();
    }

    /// Looks whether routes can be followed now that could not, or the other way round, and whether others have
    /// taken something away.
    pub fn audit(&mut self) -> Result<(), BackendError> {
        if self.is_idle() {
            return Ok(());
        }
        let look = |own: &mut Self| {
            let mut instances_are_right = false;
            // Instances come first.
            for (route, _) in own.marks.clone().iter() {
                // The kernel looks for such a next hop by the policy rules of its instance.
                let by_instance = matches!(**route, Route::NextHops(_, Some(_)));
                if by_instance && !instances_are_right {
                    own.reconcile()?;
                    instances_are_right = true;
                }
                let way = own.reachability.look(&mut own.kernel, &own.marks, route)?;
                own.ways.insert(route.clone(), way);
            }
            own.reconcile()
        };
        look(self).map_err(|error| unavailable(&error))
    }

    /// Rules that do not send packets where they should at the moment, and why.
    pub fn impaired(&self) -> Vec<(RuleId, String)> {
        let impaired = self.usage.rules().filter_map(|(id, route)| {
            let reason = match self.ways.get(route)? {
                Ok(Way::Table(_)) => return None,
                Ok(Way::Hops { left_out, .. }) if left_out.is_empty() => return None,
                Ok(Way::Hops { left_out, .. }) => {
                    return Some((
                        id,
                        format!("not all next hops are used: {}", left_out.join(", ")),
                    ));
                }
                Err(reason) => reason,
            };
            let fate = match (self.settings.unreachable, route.instance()) {
                (Unreachable::Discard, _) => "are discarded".into(),
                (Unreachable::Pass, Some(instance)) if self.instance_table(route).is_some() => {
                    format!("are routed by their destination in {instance}")
                }
                (Unreachable::Pass, _) => "are routed by their destination".into(),
            };
            Some((id, format!("not redirected: {reason}; packets {fate}")))
        });
        impaired.collect()
    }

    /// Rules in force that redirect.
    pub fn rules(&self) -> impl Iterator<Item = RuleId> {
        self.usage.rules().map(|(id, _)| id)
    }

    /// Looks whether an address can be reached at the moment. The inner error: why it cannot, in the operator's words.
    pub(crate) fn look(&mut self, address: IpAddr) -> Result<Result<(), String>, BackendError> {
        let route = Route::NextHops([address].into(), None);
        let way = self
            .reachability
            .look(&mut self.kernel, &self.marks, &route);
        way.map(|way| way.map(drop))
            .map_err(|error| unavailable(&error))
    }

    /// Takes away everything of ours.
    pub fn stop(mut self) -> Result<(), BackendError> {
        let mut remove = || {
            self.marks = Arc::new(Marks::new(self.settings.mark));
            self.present = self.kernel.entries()?;
            self.remove_surplus()
        };
        remove().map_err(|error| unavailable(&error))
    }

    /// Makes the policy rules of the instance that a next hop is in what they must be now, whatever has become of them and
    /// of the instance since the last audit: the kernel would look for the next hop in another table.
    fn lead_to_instance(&mut self, route: &Route) -> io::Result<()> {
        let Some(instance) = instance_of(route).map(Arc::new) else {
            return Ok(());
        };
        let way = self
            .reachability
            .look(&mut self.kernel, &self.marks, &instance)?;
        self.ways.insert(instance, way);
        self.present.rules = self.kernel.rules()?;
        self.add_missing()?;
        // Those of an earlier process may still be needed.
        let marks = self.marks.clone();
        let number = |rule: &PolicyRule| marks.number_of(rule.mark);
        self.remove_rules(|rule| number(rule).is_some_and(|number| marks.is_taken(number)))
    }

    /// Gives a route a number: one that an earlier process used for the same, else one that is free.
    fn take(&mut self, route: &Arc<Route>) -> io::Result<()> {
        let way = self
            .reachability
            .look(&mut self.kernel, &self.marks, route)?;
        let is_free = |number: &u32| !self.marks.is_taken(*number);
        let left_over: BTreeSet<u32> = self
            .present
            .rules
            .iter()
            .filter_map(|rule| self.marks.number_of(rule.mark))
            .filter(is_free)
            .collect();
        let is_same = |number: &u32| {
            let wanted = entries(
                &self.settings,
                &self.marks,
                *number,
                route,
                way.as_ref().ok(),
                self.instance_table(route),
            );
            !wanted.rules.is_empty()
                && self.present.of(&self.settings, &self.marks, *number) == wanted
        };
        let mut number = left_over.iter().copied().find(is_same);
        if number.is_none() {
            let unused = |number: &u32| is_free(number) && !left_over.contains(number);
            for candidate in self.marks.all_numbers().filter(unused) {
                let table = own_table(&self.settings, candidate);
                let mut is_foreign = false;
                for family in Family::ALL {
                    is_foreign |= self.kernel.defaults(family, Some(table))?.foreign;
                }
                if !is_foreign {
                    number = Some(candidate);
                    break;
                }
            }
        }
        let number = number.ok_or_else(|| {
            io::Error::other(format!(
                "all {} values of redirect_mark are in use",
                self.marks.all_numbers().end()
            ))
        })?;
        Arc::make_mut(&mut self.marks).insert(route.clone(), number);
        self.ways.insert(route.clone(), way);
        Ok(())
    }

    /// What the routes in use need.
    fn wanted(&self) -> Entries {
        let mut wanted = Entries::default();
        for (route, number) in self.marks.iter() {
            let way = self.ways.get(route).and_then(|way| way.as_ref().ok());
            let instance = self.instance_table(route);
            let (settings, marks) = (&self.settings, &self.marks);
            wanted.extend(entries(settings, marks, number, route, way, instance));
        }
        wanted
    }

    /// The table of the instance that the next hop of a route is looked for in, if it is there.
    fn instance_table(&self, route: &Route) -> Option<u32> {
        match self.ways.get(&instance_of(route)?)?.as_ref().ok()? {
            Way::Table(table) => Some(*table),
            Way::Hops { .. } => None,
        }
    }

    /// Adds what is needed and not there: routes before the policy rules that lead to them.
    fn add_missing(&mut self) -> io::Result<()> {
        let wanted = self.wanted();
        for (key, hops) in wanted.defaults {
            if self.present.defaults.get(&key) != Some(&hops) {
                let (family, table) = key;
                self.kernel.set_default(family, table, &hops)?;
                self.present.defaults.insert(key, hops);
            }
        }
        for rule in wanted.rules.difference(&self.present.rules.clone()) {
            self.kernel.add_rule(rule)?;
            self.present.rules.insert(*rule);
        }
        Ok(())
    }

    /// Removes what is not needed: policy rules before the routes that they lead to.
    fn remove_surplus(&mut self) -> io::Result<()> {
        self.remove_rules(|_| true)?;
        let wanted = self.wanted();
        let present = self.present.defaults.clone();
        let tables = present.keys();
        for key in tables.filter(|key| !wanted.defaults.contains_key(*key)) {
            let (family, table) = *key;
            self.kernel.delete_default(family, table)?;
            self.present.defaults.remove(key);
        }
        Ok(())
    }

    /// Removes those of some policy rules that are not needed.
    fn remove_rules(&mut self, some: impl Fn(&PolicyRule) -> bool) -> io::Result<()> {
        let wanted = self.wanted();
        let present = self.present.rules.clone();
        let surplus = present.difference(&wanted.rules);
        for rule in surplus.filter(|rule| some(rule)) {
            self.kernel.delete_rule(rule)?;
            self.present.rules.remove(rule);
        }
        Ok(())
    }

    /// Forgets routes that no rule redirects to, and removes all that is not needed.
    fn release(&mut self) {
        let used: BTreeSet<Arc<Route>> = self.usage.used().into_iter().flat_map(needed).collect();
        if self.marks.iter().any(|(route, _)| !used.contains(route)) {
            Arc::make_mut(&mut self.marks).retain(|route| used.contains(route));
        }
        self.ways.retain(|route, _| used.contains(route));
        if !self.is_idle() {
            // What fails is still known to be present.
            let _ = self.remove_surplus();
        }
    }

    /// True when nothing is needed and nothing is there.
    fn is_idle(&self) -> bool {
        self.marks.iter().next().is_none() && self.present.is_empty()
    }

    /// Makes the kernel's entries what is needed, whatever others have done to them.
    fn reconcile(&mut self) -> io::Result<()> {
        self.present.rules = self.kernel.rules()?;
        self.present.defaults.clear();
        for (_, number) in self.marks.iter() {
            let table = own_table(&self.settings, number);
            for family in Family::ALL {
                let found = self.kernel.defaults(family, Some(table))?;
                self.present.defaults.extend(found.own);
            }
        }
        self.add_missing()?;
        self.remove_surplus()
    }
}

/// What must be there for a route, in this order: the instance that a next hop is looked for in, and the route itself.
fn needed(route: &Arc<Route>) -> impl Iterator<Item = Arc<Route>> + use<> {
    let instance = instance_of(route).map(Arc::new);
    instance.into_iter().chain([route.clone()])
}

/// The route by the instance that a next hop is looked for in.
fn instance_of(route: &Route) -> Option<Route> {
    match route {
        Route::NextHops(_, Some(instance)) => Some(Route::Instance(instance.clone())),
        Route::NextHops(_, None) | Route::Instance(_) => None,
    }
}

/// The kernel's routing does not answer as it should.
fn unavailable(error: &io::Error) -> BackendError {
    BackendError::Unavailable(format!("routing: {error}"))
}

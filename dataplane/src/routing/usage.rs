//! Which routes the rules in force redirect to. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::desired::Changes;
use crate::rule::{Family, OrderKey, Route, RuleId};

/// The rules in force that redirect; the others are not kept here.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage(BTreeMap<(Family, OrderKey), (RuleId, Arc<Route>)>);

impl Usage {
    /// The rules after a commit.
    pub(super) fn apply(&mut self, changes: &Changes) {
        if !self.0.is_empty() {
            for key in &changes.remove {
                self.0.remove(key);
            }
        }
        for rule in &changes.put {
            match rule.action.route() {
                Some(route) => {
                    let key = (rule.family, rule.order.clone());
                    self.0.insert(key, (rule.id, route.clone()));
                }
                None if self.0.is_empty() => {}
                None => {
                    self.0.remove(&(rule.family, rule.order.clone()));
                }
            }
        }
    }

    /// All routes that some rule redirects to.
    pub(super) fn routes(&self) -> BTreeSet<&Route> {
        self.0.values().map(|(_, route)| &**route).collect()
    }

    /// Rules and where they redirect to.
    pub(super) fn rules(&self) -> impl Iterator<Item = (RuleId, &Route)> {
        self.0.values().map(|(id, route)| (*id, &**route))
    }
}

//! Rules that limit each source by itself: how many sources they may have, and the chains that limit. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Edit, Layout};
use crate::nft::installed::Installed;
use crate::nft::object::NftRule;
use crate::nft::plan::Plan;
use crate::rule::{Family, OrderKey, RuleId};

impl Layout {
    /// How many sources rules may have that limit each by itself, for each such rule.
    pub(in crate::nft) fn sources(&self) -> &BTreeMap<(Family, OrderKey), (RuleId, u64)> {
        self.sources.map()
    }

    /// Notes how many sources the rule may have that stands at a key from now on.
    pub(super) fn count_sources(
        &mut self,
        key: &(Family, OrderKey),
        installed: Option<&Arc<Installed>>,
    ) {
        let now = installed.map(|installed| (installed.rule.id, installed.sources()));
        let now = now.filter(|(_, sources)| *sources > 0);
        if self.sources.get(key) != now.as_ref() {
            self.sources.set(key.clone(), now);
        }
    }

    /// The chains that limit packets by their sources.
    pub(in crate::nft) fn source_chains(&self) -> impl Iterator<Item = (&str, Vec<NftRule>)> {
        let rules = self.sources.map().keys();
        let installed = rules.filter_map(|key| self.rules.get(key));
        installed.flat_map(|installed| installed.source_chains())
    }
}

/// Plans the chains that limit packets by their sources. What is in one never changes while it has the name.
pub(super) fn source_chains(edits: &[Edit], plan: &mut Plan) {
    let names = |installed: fn(&Edit) -> &Option<Arc<Installed>>| -> BTreeSet<String> {
        let installed = edits.iter().flat_map(installed);
        let chains = installed.flat_map(|installed| installed.source_chains());
        chains.map(|(name, _)| name.to_owned()).collect()
    };
    let (before, after) = (names(|edit| &edit.old), names(|edit| &edit.new));
    for installed in edits.iter().filter_map(|edit| edit.new.as_ref()) {
        for (name, rules) in installed.source_chains() {
            if !before.contains(name) {
                plan.change_chain(name, true, rules);
            }
        }
    }
    for gone in before.difference(&after) {
        plan.delete_chain(gone);
    }
}

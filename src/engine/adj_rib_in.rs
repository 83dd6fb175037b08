//! The Adj-RIB-In of one neighbor: import policy and the limit on its routes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::policy::{ImportPolicy, LocalSpeaker};
use super::shared::Shared;
use crate::flowspec::action::TrafficFilteringActions;
use crate::rib::{Path, Peer, Rib, RouteKey};
use crate::wire::attribute::Attributes;
use crate::wire::nlri::Nlri;
use crate::wire::update::Update;

/// Routes over the limit that are kept for show, and taken when there is room again. More are only counted.
const KEPT_OVER_LIMIT: usize = 1_000;

/// What is known of one neighbor's routes besides the routes themselves, which stand in the [`Rib`].
#[derive(Debug)]
pub struct AdjRibIn {
    peer: Arc<Peer>,
    policy: ImportPolicy,
    /// What paths over the limit are told. That it is this very text is what marks them.
    limit_reason: Arc<str>,
    /// Paths in the table that policy accepts, without stale ones: what a neighbor has announced anew must find room
    /// before what it no longer announces is swept.
    accepted: usize,
    /// Places of paths that are refused only because there are too many, oldest first. May name paths that are gone
    /// or accepted by now.
    over_limit: VecDeque<RouteKey>,
    /// What the attributes in use ask for.
    readings: Shared<Arc<Attributes>, Reading>,
    /// Announcements over the limit that were not kept.
    pub not_kept: u64,
}

impl AdjRibIn {
    /// An empty Adj-RIB-In.
    pub fn new(peer: Peer, policy: ImportPolicy) -> Self {
        Self {
            peer: Arc::new(peer),
            limit_reason: limit_reason(&policy),
            policy,
            accepted: 0,
            over_limit: VecDeque::new(),
            readings: Shared::default(),
            not_kept: 0,
        }
    }

    /// Places that wait for room.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.over_limit.len()
    }

    /// Takes an UPDATE in; returns the places in the table that changed.
    pub fn apply(
        &mut self,
        now: Instant,
        local: LocalSpeaker,
        update: Update,
        rib: &mut Rib,
    ) -> BTreeSet<RouteKey> {
        let mut changed = BTreeSet::new();
        for nlri in &update.withdrawn {
            changed.extend(self.withdraw(nlri, rib));
        }
        if !update.announced.is_empty() {
            let (attributes, reading) = self
                .readings
                .get(update.attributes, |attributes| Reading::new(attributes));
            let announcement = Announcement {
                now,
                local,
                attributes,
                reading: reading.clone(),
            };
            for nlri in &update.announced {
                changed.extend(self.announce(&announcement, nlri, rib));
            }
        }
        self.fill_up(local, rib, &mut changed);
        changed
    }

    fn withdraw(&mut self, nlri: &Nlri, rib: &mut Rib) -> Option<RouteKey> {
        self.accepted -= usize::from(counts(rib.path(self.peer.address, nlri)?));
        rib.withdraw(self.peer.address, nlri)
    }

    fn announce(&mut self, route: &Announcement, nlri: &Nlri, rib: &mut Rib) -> Option<RouteKey> {
        let known = rib.path(self.peer.address, nlri);
        let was_known = known.is_some();
        let was_accepted = known.is_some_and(counts);
        let was_over_limit = known.is_some_and(|path| self.is_over_limit(path));
        let unchanged = known.filter(|path| path.attributes == route.attributes);
        let since = unchanged.map_or(route.now, |path| path.since);

        let refusal = match &route.reading.undecodable {
            Some(reason) => Some(reason.clone()),
            None => self.policy.refusal(route.local, nlri, &route.attributes),
        };
        let full = self.accepted - usize::from(was_accepted) >= self.policy.max_routes;
        let over_limit = refusal.is_none() && full;
        if over_limit && !was_over_limit && self.over_limit.len() >= KEPT_OVER_LIMIT {
            self.not_kept += 1;
            // What it replaces is gone all the same.
            return was_known.then(|| self.withdraw(nlri, rib)).flatten();
        }
        let rejected = if over_limit {
            Some(self.limit_reason.clone())
        } else {
            refusal.map(Into::into)
        };
        if unchanged.is_some_and(|path| !path.stale && path.rejected == rejected) {
            return None;
        }
        self.accepted -= usize::from(was_accepted);
        self.accepted += usize::from(rejected.is_none());
        let path = Path {
            peer: self.peer.clone(),
            attributes: route.attributes.clone(),
            actions: route.reading.actions.clone(),
            rejected,
            stale: false,
            since,
        };
        let key = rib.announce(nlri, path);
        if over_limit && !was_over_limit {
            self.over_limit.push_back(key.clone());
        }
        Some(key)
    }

    /// True when the path is refused only for the number of others, and waits in the queue.
    fn is_over_limit(&self, path: &Path) -> bool {
        let reason = path.rejected.as_ref();
        reason.is_some_and(|reason| Arc::ptr_eq(reason, &self.limit_reason))
    }

    /// Takes routes that were refused only for their number, while there is room.
    fn fill_up(&mut self, local: LocalSpeaker, rib: &mut Rib, changed: &mut BTreeSet<RouteKey>) {
        while self.accepted < self.policy.max_routes
            && let Some(key) = self.over_limit.pop_front()
        {
            changed.extend(self.judge_again(local, &key, rib));
        }
    }

    /// Applies a new policy to all routes; returns the places in the table that changed.
    pub fn change_policy(
        &mut self,
        local: LocalSpeaker,
        policy: ImportPolicy,
        rib: &mut Rib,
    ) -> BTreeSet<RouteKey> {
        if self.policy == policy {
            return BTreeSet::new();
        }
        self.limit_reason = limit_reason(&policy);
        self.policy = policy;
        self.accepted = 0;
        self.over_limit.clear();
        let keys: Vec<RouteKey> = rib.keys_of(self.peer.address).cloned().collect();
        for key in &keys {
            // Counted as refused until judged again, so that the limit counts only what was judged.
            if let Some(path) = rib.path_mut(self.peer.address, key)
                && path.rejected.is_none()
            {
                path.rejected = Some("policy changed".into());
            }
        }
        keys.iter()
            .filter_map(|key| self.judge_again(local, key, rib))
            .collect()
    }

    /// Judges a path that is refused anew; returns its place when it is there and not accepted already.
    fn judge_again(
        &mut self,
        local: LocalSpeaker,
        key: &RouteKey,
        rib: &mut Rib,
    ) -> Option<RouteKey> {
        let nlri = rib.get(key)?.nlri.clone();
        let path = rib.path_mut(self.peer.address, key)?;
        path.rejected.as_ref()?;
        let refusal = undecodable(&path.attributes)
            .or_else(|| self.policy.refusal(local, &nlri, &path.attributes));
        let full = !path.stale && self.accepted >= self.policy.max_routes;
        let over_limit = refusal.is_none() && full;
        let rejected = if over_limit {
            Some(self.limit_reason.clone())
        } else {
            refusal.map(Into::into)
        };
        self.accepted += usize::from(rejected.is_none() && !path.stale);
        path.rejected = rejected;
        if over_limit {
            self.over_limit.push_back(key.clone());
        }
        Some(key.clone())
    }
}

/// Why a route over the limit is refused.
fn limit_reason(policy: &ImportPolicy) -> Arc<str> {
    let max_routes = policy.max_routes;
    format!("over max_routes = {max_routes}: the neighbor has that many in force").into()
}

/// True when a path counts towards the limit.
fn counts(path: &Path) -> bool {
    path.rejected.is_none() && !path.stale
}

/// What all routes of one UPDATE share.
struct Announcement {
    now: Instant,
    local: LocalSpeaker,
    attributes: Arc<Attributes>,
    reading: Reading,
}

/// What attributes ask for.
#[derive(Clone, Debug)]
struct Reading {
    actions: Arc<TrafficFilteringActions>,
    undecodable: Option<String>,
}

impl Reading {
    fn new(attributes: &Attributes) -> Self {
        Self {
            actions: Arc::new(actions(attributes).unwrap_or_default()),
            undecodable: undecodable(attributes),
        }
    }
}

fn actions(
    attributes: &Attributes,
) -> Result<TrafficFilteringActions, crate::flowspec::action::ActionError> {
    TrafficFilteringActions::from_communities(
        &attributes.extended_communities,
        &attributes.ipv6_extended_communities,
    )
}

/// Why the actions cannot be read. `wire` treats such an UPDATE as a withdrawal, so this is a second line of defense:
/// a route whose actions are unknown must never be enforced as if it had none.
fn undecodable(attributes: &Attributes) -> Option<String> {
    actions(attributes).err().map(|error| error.to_string())
}

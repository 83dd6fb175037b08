//! The state and reason of every route, as operators see them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use super::Engine;
use super::enforcement::Enforced;
use super::orders;
use super::status::{RouteCounts, RouteState, RuleStatus};
use crate::flowspec::text::format_flow;
use crate::rib::{Entry, Path, RefusalKind, RouteKey, best_path, place_of};
use crate::wire::nlri::Nlri;
use crate::wire::path::PathOf;

impl Engine {
    /// All routes in precedence order, families in the order of their code points; of the paths for one NLRI the one in
    /// force comes first.
    pub fn rules(&self, now: Instant) -> Vec<RuleStatus> {
        let mut rules = Vec::with_capacity(self.rib.len());
        for (key, entry) in self.rib.iter() {
            let best = entry.best();
            let mut paths: Vec<&Path> = entry.paths().iter().collect();
            paths.sort_by_key(|path| {
                (
                    !is_in_force(best, path),
                    path.route.peer.address,
                    path.route.id,
                )
            });
            for path in paths {
                rules.push(self.rule_status(now, key, entry, best, path));
            }
        }
        rules
    }

    /// Flow and reason of a route that is not enforced and will not be as things stand: refused by policy, or not
    /// expressible. `None` for any other route.
    pub fn refusal(&self, peer: IpAddr, announced: &PathOf<Nlri>) -> Option<(String, String)> {
        let (nlri, place) = (&announced.route, place_of(announced));
        let entry = self.rib.get(&place.0)?;
        let path = self.rib.path_at(peer, &place)?;
        match self.route_state(&place.0, entry.best(), path) {
            (RouteState::Rejected | RouteState::Unsupported, reason) => Some((
                format_flow(nlri, &path.route.actions),
                reason.unwrap_or_default(),
            )),
            (
                RouteState::Installed
                | RouteState::Pending
                | RouteState::Shadowed
                | RouteState::Stale,
                _,
            ) => None,
        }
    }

    fn rule_status(
        &self,
        now: Instant,
        key: &RouteKey,
        entry: &Entry,
        best: Option<&Path>,
        path: &Path,
    ) -> RuleStatus {
        let (state, mut reason) = self.route_state(key, best, path);
        if state == RouteState::Stale {
            reason = self.retention.reason(now, path.route.peer.address, key.0);
        }
        // Only the path in force has packets to its name.
        let counter = match state {
            RouteState::Installed | RouteState::Stale | RouteState::Pending => self
                .enforcement
                .id_at(key)
                .map(|id| self.counter(id))
                .unwrap_or_default(),
            RouteState::Rejected | RouteState::Unsupported | RouteState::Shadowed => {
                Default::default()
            }
        };
        RuleStatus {
            id: self
                .enforcement
                .id_at(key)
                .filter(|_| is_in_force(best, path))
                .map(|id| id.to_string()),
            nlri: hex::encode(entry.nlri().encoded()),
            family: entry.nlri().family().to_string(),
            flow: format_flow(entry.nlri(), &path.route.actions),
            neighbor: path.route.peer.address.to_string(),
            path_id: Some(path.route.id).filter(|id| *id != 0),
            actions: path.route.actions.describe(),
            state,
            reason,
            packets: counter.packets,
            bytes: counter.bytes,
            age_secs: now.saturating_duration_since(path.since).as_secs(),
            entries: self
                .enforcement
                .wanted(key)
                .filter(|_| is_in_force(best, path))
                .and_then(|rule| self.capability.entries(rule)),
            protected: self.protected(key, best, path),
            notes: if is_in_force(best, path) {
                let notes = self.enforcement.notes(key).iter();
                let id = self.enforcement.id_at(key);
                let impairment = id.into_iter().flat_map(|id| self.impairment(id));
                notes.chain(impairment).cloned().collect()
            } else {
                path.route.actions.notes.clone()
            },
        }
    }

    /// What the rule of a path in force matches and does not touch.
    fn protected(&self, key: &RouteKey, best: Option<&Path>, path: &Path) -> Vec<String> {
        let rule = self
            .enforcement
            .wanted(key)
            .filter(|_| is_in_force(best, path));
        rule.map(|rule| self.protection.spared_by(rule))
            .unwrap_or_default()
    }

    /// What became of a path, and why; of a stale one the reason depends on the time, see [`Self::rule_status`].
    fn route_state(
        &self,
        key: &RouteKey,
        best: Option<&Path>,
        path: &Path,
    ) -> (RouteState, Option<String>) {
        if let Some(reason) = &path.rejected {
            return (RouteState::Rejected, Some(reason.to_string()));
        }
        if let Some(best) = best.filter(|_| !is_in_force(best, path)) {
            let why = best_path::reason(best, path);
            let preferred = PathOf {
                id: best.route.id,
                route: best.route.peer.address,
            };
            let reason = format!("the path of {preferred} is preferred: {why}");
            return (RouteState::Shadowed, Some(reason));
        }
        let (enforced, installed) = self.enforcement.state(key);
        if self.orders.forbid(key) {
            let wait = match installed {
                Some(_) => "; still in force until the packet filter has taken it out",
                None => "",
            };
            return (
                RouteState::Rejected,
                Some(format!("{}{wait}", orders::DISABLED)),
            );
        }
        match enforced {
            Enforced::Unsupported(reason) => (RouteState::Unsupported, Some(reason.to_string())),
            Enforced::NoRoom(reason) => (
                RouteState::Pending,
                Some(format!("no room, waits until other rules go: {reason}")),
            ),
            Enforced::Installed | Enforced::Pending(_) if self.is_suspended() => {
                (RouteState::Rejected, Some(orders::SUSPENDED.into()))
            }
            Enforced::Installed if path.is_stale() => (RouteState::Stale, None),
            Enforced::Installed => (RouteState::Installed, None),
            Enforced::Pending(None) => (
                RouteState::Pending,
                Some("waits for the packet filter".into()),
            ),
            Enforced::Pending(Some(error)) => (
                RouteState::Pending,
                Some(format!("will be tried again: {error}")),
            ),
        }
    }

    /// Routes of all neighbors by state.
    pub fn counts(&self) -> RouteCounts {
        let mut counts = RouteCounts::default();
        for (key, entry) in self.rib.iter() {
            let best = entry.best();
            for path in entry.paths() {
                self.count(&mut counts, key, best, path);
            }
        }
        counts.not_kept = self.peers.values().map(|peer| peer.not_kept).sum();
        let unicast = self.peers.keys().map(|peer| self.validator.count_of(*peer));
        counts.unicast = unicast.sum();
        counts
    }

    /// For how many seconds stale routes of a neighbor stay at most, rounded up; `None` when there are none.
    pub fn stale_secs_left(&self, now: Instant, peer: IpAddr) -> Option<u64> {
        self.retention.secs_left(now, peer)
    }

    /// Routes of one neighbor by state.
    pub fn peer_counts(&self, peer: IpAddr) -> RouteCounts {
        let mut counts = RouteCounts::default();
        for key in self.rib.keys_of(peer) {
            let Some(entry) = self.rib.get(key) else {
                continue;
            };
            for path in self.rib.paths_at(peer, key) {
                self.count(&mut counts, key, entry.best(), path);
            }
        }
        counts.not_kept = self.peers.get(&peer).map_or(0, |peer| peer.not_kept);
        counts.unicast = self.validator.count_of(peer);
        counts
    }

    /// Routes that policy refuses, by the kind of their refusal. Of those that are not kept for show there is no kind.
    pub fn refusals(&self) -> BTreeMap<RefusalKind, usize> {
        let mut refusals = BTreeMap::new();
        for (_, entry) in self.rib.iter() {
            let rejected = entry
                .paths()
                .iter()
                .filter_map(|path| path.rejected.as_ref());
            for refusal in rejected {
                *refusals.entry(refusal.kind).or_default() += 1;
            }
        }
        refusals
    }

    fn count(&self, counts: &mut RouteCounts, key: &RouteKey, best: Option<&Path>, path: &Path) {
        counts.received += 1;
        let (state, _) = self.route_state(key, best, path);
        let by_state = match state {
            RouteState::Installed => &mut counts.installed,
            RouteState::Pending => &mut counts.pending,
            RouteState::Rejected => &mut counts.rejected,
            RouteState::Unsupported => &mut counts.unsupported,
            RouteState::Shadowed => &mut counts.shadowed,
            RouteState::Stale => &mut counts.stale,
        };
        *by_state += 1;
        if state != RouteState::Rejected {
            counts.accepted += 1;
        }
    }
}

/// True when `path` is the one in force.
fn is_in_force(best: Option<&Path>, path: &Path) -> bool {
    best.is_some_and(|best| best.is_same(path))
}

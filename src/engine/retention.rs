//! Routes that stay in force without their neighbor: after a restart, until the neighbors have resent theirs.
//!
//! Such a path is marked [stale](Path::stale) and takes part in everything as any other. What its neighbor announces
//! takes its place, and the packet filter is told nothing when the rule is the same. When the neighbor has sent
//! End-of-RIB (RFC 4724 §2) for a family its stale paths of that family are swept; when it takes too long, all are.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use dataplane::backend::Recovered;
use dataplane::rule::{Rule, RuleId};
use ipnetwork::IpNetwork;

use super::enforcement::Desired;
use super::policy::ImportPolicy;
use super::shared::Shared;
use super::{Engine, desired, memo};
use crate::flowspec::action::TrafficFilteringActions;
use crate::rib::{Path, Peer, route_key};
use crate::wire::attribute::Attributes;
use crate::wire::iana::FlowFamily;

/// No process has given so many ids: such a one is a forgery, and there would be none left for new rules.
const MAX_ID: u64 = 1 << 62;

/// Which neighbors are waited for, and until when.
#[derive(Debug, Default)]
pub(super) struct Retention {
    until: HashMap<IpAddr, Instant>,
}

impl Retention {
    /// When somebody has been waited for long enough.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }

    /// Nobody waits for this neighbor any more.
    pub(super) fn end(&mut self, peer: IpAddr) {
        self.until.remove(&peer);
    }

    /// Why a stale path of the neighbor is in force; `None` when it is not waited for.
    pub(super) fn reason(&self, now: Instant, peer: IpAddr) -> Option<String> {
        let left = self.until.get(&peer)?.saturating_duration_since(now);
        Some(format!(
            "kept from before the restart until {peer} has resent its routes, at most {} s more",
            left.as_secs_f64().ceil()
        ))
    }
}

/// What becomes of the rules of an earlier process.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Rules that stay, for [`Backend::resume`](dataplane::backend::Backend::resume).
    pub rules: Vec<Arc<Rule>>,
    /// Rules that go, and why.
    pub left_out: Vec<(RuleId, String)>,
}

/// What the recovered routes have in common, kept once.
#[derive(Default)]
struct Common {
    ids: HashSet<RuleId>,
    peers: Shared<Arc<Peer>, ()>,
    actions: Shared<Arc<Attributes>, Arc<TrafficFilteringActions>>,
}

impl Engine {
    /// Takes the rules of an earlier process for stale paths of the neighbors that announced them, until `until`.
    ///
    /// To be called once, before anything else. The engine then holds [`Recovery::rules`] for installed: when the data
    /// plane refuses them, throw the engine away. `policy` says what is taken of a neighbor in a family; `None`: nothing.
    pub fn recover(
        &mut self,
        now: Instant,
        until: Instant,
        recovered: &[Recovered],
        policy: impl Fn(IpAddr, FlowFamily) -> Option<ImportPolicy>,
    ) -> Recovery {
        let mut recovery = Recovery::default();
        let mut common = Common::default();
        for rule in recovered {
            match self.recover_rule(now, rule, &policy, &mut common) {
                Ok((peer, rule)) => {
                    self.retention.until.insert(peer, until);
                    recovery.rules.push(rule);
                }
                Err(reason) => recovery.left_out.push((rule.id, reason)),
            }
        }
        recovery
    }

    /// Takes one rule over; fails with the reason for which it is not kept.
    fn recover_rule(
        &mut self,
        now: Instant,
        recovered: &Recovered,
        policy: &impl Fn(IpAddr, FlowFamily) -> Option<ImportPolicy>,
        common: &mut Common,
    ) -> Result<(IpAddr, Arc<Rule>), String> {
        let id = recovered.id;
        let memo = memo::decode(&recovered.memo).map_err(|error| error.to_string())?;
        let (address, family) = (memo.peer.address, memo.nlri.family());
        let policy = policy(address, family)
            .ok_or_else(|| format!("neighbor {address} is not configured for {family}"))?;
        if self.orders.forbid(&route_key(&memo.nlri)) {
            return Err("it is disabled by the operator".into());
        }
        if let Some(refusal) =
            policy.refusal(self.local, &memo.nlri, &memo.attributes, &memo.actions)
        {
            return Err(refusal.to_string());
        }
        if id.0 > MAX_ID || common.ids.contains(&id) {
            return Err("its id is not its own".into());
        }
        let key = route_key(&memo.nlri);
        if self.rib.get(&key).is_some() {
            return Err("there is another for the same Flow Specification".into());
        }
        let actions = memo.actions;
        let (attributes, actions) = common.actions.get(memo.attributes, |_| Arc::new(actions));
        let path = Path {
            peer: common.peers.get(memo.peer, |_| ()).0,
            attributes,
            actions: actions.clone(),
            rejected: None,
            stale: true,
            since: now,
        };
        self.rib.announce(&memo.nlri, path);
        let entry = self.rib.get(&key).expect("it was just announced");
        match desired(&*self.capability, &mut self.tiers, &key, id, entry) {
            Desired::Rule { rule, notes } => {
                common.ids.insert(id);
                self.enforcement.adopt(key, rule.clone(), notes);
                Ok((address, rule))
            }
            Desired::Unsupported(reason) => {
                self.rib.withdraw(address, &memo.nlri);
                Err(reason.to_string())
            }
            Desired::Nothing => unreachable!("there is a path and it is not refused"),
        }
    }

    /// A neighbor is about to resend its routes: of those that it had, only stale ones stay, and of them only those in
    /// families that it can resend.
    pub(super) fn await_resending(&mut self, peer: IpAddr, families: &[FlowFamily]) {
        for key in self.rib.drop_paths(peer, |_, path| !path.stale) {
            self.route_changed(&key);
        }
        self.sweep(peer, |family| !families.contains(&family));
    }

    /// Removes the stale paths of a neighbor in some families.
    pub(super) fn sweep(&mut self, peer: IpAddr, families: impl Fn(FlowFamily) -> bool) {
        if !self.retention.until.contains_key(&peer) {
            return;
        }
        for key in self
            .rib
            .drop_paths(peer, |key, path| path.stale && families(key.0))
        {
            self.route_changed(&key);
        }
        let is_stale = |key| self.rib.path_at(peer, key).is_some_and(|path| path.stale);
        if !self.rib.keys_of(peer).any(is_stale) {
            self.retention.end(peer);
        }
    }

    /// Removes what is stale of neighbors that have been waited for long enough.
    pub(super) fn sweep_expired(&mut self, now: Instant) {
        let expired = self.retention.until.iter();
        let expired: Vec<IpAddr> = expired
            .filter(|(_, until)| now >= **until)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in expired {
            self.sweep(peer, |_| true);
        }
    }

    /// Removes what is stale of all but these neighbors.
    pub(super) fn forget_strangers(&mut self, neighbors: &[IpNetwork]) {
        let waited_for = self.retention.until.keys().copied();
        let strangers: Vec<IpAddr> = waited_for
            .filter(|peer| !neighbors.iter().any(|network| network.contains(*peer)))
            .collect();
        for peer in strangers {
            self.sweep(peer, |_| true);
        }
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;

//! Routes that stay in force without their neighbor: after our own restart, after the loss of a session where graceful
//! restart was negotiated or the operator wants it (`session` says for how long), and while a neighbor resends all of
//! them.
//!
//! Such a path is marked [stale](Freshness) and takes part in everything as any other. What its neighbor announces
//! takes its place, and the packet filter is told nothing when the rule is the same. When the neighbor has sent
//! End-of-RIB (RFC 4724 §2) for a family its stale paths of that family are swept; when it takes too long, all are,
//! or become long-lived stale (RFC 9494).

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::backend::Recovered;
use dataplane::rule::{Rule, RuleId};
use ipnetwork::IpNetwork;

use super::adj_rib_in::AdjRibIn;
use super::enforcement::Desired;
use super::policy::ImportPolicy;
use super::shared::Shared;
use super::{Engine, desired, memo};
use crate::flowspec::action::TrafficFilteringActions;
use crate::rib::{Freshness, Path, Peer, Place, Route, RouteKey, route_key};
use crate::session::{Cause, NegotiatedRestart, RefreshMarker, Retained};
use crate::wire::attribute::Attributes;
use crate::wire::community::NO_LLGR;
use crate::wire::iana::FlowFamily;

/// No process has given so many ids: such a one is a forgery, and there would be none left for new rules.
const MAX_ID: u64 = 1 << 62;

/// What is waited for, by neighbor and family.
#[derive(Debug, Default)]
pub(super) struct Retention {
    kept: BTreeMap<(IpAddr, FlowFamily), Kept>,
}

/// The stale paths of one neighbor in one family.
#[derive(Clone, Copy, Debug)]
struct Kept {
    stage: Stage,
    /// When the stage ends.
    until: Instant,
    /// When the neighbor must have resent everything, should it come back before `until`.
    resent_by: Instant,
    /// When long-lived stale paths go; `None`: there are to be none.
    long_lived_until: Option<Instant>,
}

/// Why there are stale paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// We have restarted; the neighbor may know nothing of it.
    OurRestart,
    /// The session is down and graceful restart was negotiated.
    Restarting,
    /// It is back, and End-of-RIB has not come.
    Resending,
    /// The session is down without graceful restart, or has been.
    Held,
    /// The restart time has passed (RFC 9494).
    LongLived,
    /// The neighbor sends all its routes again (RFC 7313).
    Refreshing,
}

impl Retention {
    /// When somebody has been waited for long enough.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.kept.values().map(|kept| kept.until).min()
    }

    /// Why a stale path of the neighbor is in force; `None` when it is not waited for.
    pub(super) fn reason(&self, now: Instant, peer: IpAddr, family: FlowFamily) -> Option<String> {
        let kept = self.kept.get(&(peer, family))?;
        let why = match kept.stage {
            Stage::OurRestart => "kept from before the restart".to_owned(),
            Stage::Restarting => format!("{peer} restarts (RFC 4724): kept"),
            Stage::Resending => format!("{peer} is back (RFC 4724): kept"),
            Stage::Held => format!("the session with {peer} was lost: kept"),
            Stage::LongLived => format!("{peer} is gone for long (RFC 9494): kept"),
            Stage::Refreshing => format!("{peer} sends its routes again (RFC 7313): kept"),
        };
        let left = kept.until.saturating_duration_since(now);
        Some(format!(
            "{why} until {peer} has resent its routes, at most {} s more",
            left.as_secs_f64().ceil()
        ))
    }

    /// For how many seconds stale paths of the neighbor stay at most, rounded up; `None` when there are none.
    pub(super) fn secs_left(&self, now: Instant, peer: IpAddr) -> Option<u64> {
        let untils = self.families_of(peer).map(|(_, kept)| kept.until);
        let left = untils.max()?.saturating_duration_since(now);
        Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
    }

    /// What is waited for of a neighbor.
    fn families_of(&self, peer: IpAddr) -> impl Iterator<Item = (FlowFamily, &Kept)> {
        let all = (peer, FlowFamily::Ipv4Flow)..=(peer, FlowFamily::Ipv6FlowVpn);
        let kept = self.kept.range(all);
        kept.map(|((_, family), kept)| (*family, kept))
    }
}

/// The time `duration` after `now`, or so much later that nobody will see it.
fn after(now: Instant, duration: Duration) -> Instant {
    const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now.checked_add(duration).unwrap_or(now + A_YEAR)
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
                Ok((place, rule)) => {
                    let kept = Kept {
                        stage: Stage::OurRestart,
                        until,
                        resent_by: until,
                        long_lived_until: None,
                    };
                    self.retention.kept.insert(place, kept);
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
    ) -> Result<((IpAddr, FlowFamily), Arc<Rule>), String> {
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
        let peer = memo.peer;
        let path = Path {
            route: Arc::new(Route {
                nlri: memo.nlri,
                id: memo.id,
                peer: common.peers.get(peer, |_| ()).0,
                attributes,
                actions: actions.clone(),
            }),
            rejected: None,
            freshness: Freshness::Stale,
            since: now,
        };
        self.rib.announce(path);
        let entry = self.rib.get(&key).expect("it was just announced");
        match desired(
            &*self.capability,
            &mut self.tiers,
            &self.bindings,
            &key,
            id,
            entry,
        ) {
            Desired::Rule { rule, notes } => {
                common.ids.insert(id);
                self.enforcement.adopt(key, rule.clone(), notes);
                let absent = || AdjRibIn::of_absent(now, peer, policy);
                self.peers.entry(address).or_insert_with(absent);
                Ok(((address, family), rule))
            }
            Desired::Unsupported(reason) => {
                self.rib.withdraw(address, &(key, memo.id));
                Err(reason.to_string())
            }
            Desired::Nothing | Desired::NoRoom(_) => {
                unreachable!("there is a path, it is not refused, and nobody was asked for room")
            }
        }
    }

    /// The session with a neighbor is down: only what is retained stays (RFC 4724 §4.2), and of that not what had not
    /// been resent since the loss before, unless it is long-lived stale and shall stay so (RFC 9494 §4.2).
    pub(super) fn lose_peer(&mut self, now: Instant, peer: IpAddr, retained: &[Retained]) {
        let find = |family: FlowFamily| {
            retained
                .iter()
                .find(|retained| retained.family == family.afi_safi())
        };
        let of_peer = self.retention.families_of(peer);
        let refreshing: Vec<FlowFamily> = of_peer
            .filter(|(_, kept)| kept.stage == Stage::Refreshing)
            .map(|(family, _)| family)
            .collect();
        self.drop_stale(peer, |key, path| {
            let stays_long = find(key.0).is_some_and(|retained| !retained.long_lived.is_zero());
            match path.freshness {
                Freshness::Fresh => false,
                Freshness::Stale => !refreshing.contains(&key.0),
                Freshness::LongLivedStale => !stays_long,
            }
        });
        if let Some(adj_rib_in) = self.peers.get_mut(&peer) {
            adj_rib_in.is_up = false;
            let gone = adj_rib_in.age(|_| true, &mut self.rib);
            self.routes_changed(&gone);
        }
        for family in FlowFamily::ALL {
            let place = (peer, family);
            let before = self.retention.kept.remove(&place);
            if let Some(retained) = find(family) {
                self.retention
                    .kept
                    .insert(place, Kept::new(now, retained, before));
            }
        }
        self.forget_what_is_not_kept(peer);
        self.fill_up(now);
    }

    /// A neighbor is about to resend its routes: of those that it had, only stale ones stay, and of them only those in
    /// families that it can resend and whose forwarding state it has preserved.
    pub(super) fn await_resending(
        &mut self,
        peer: IpAddr,
        families: &[FlowFamily],
        restart: &NegotiatedRestart,
    ) {
        let gone = self.rib.drop_paths(peer, |_, path| !path.is_stale());
        self.routes_changed(&gone);
        for family in FlowFamily::ALL {
            let Some(kept) = self.retention.kept.get_mut(&(peer, family)) else {
                continue;
            };
            let afi_safi = family.afi_safi();
            let is_preserved = match kept.stage {
                Stage::OurRestart | Stage::Held | Stage::Refreshing => true,
                Stage::Restarting | Stage::Resending => restart.preserved.contains(&afi_safi),
                Stage::LongLived => restart
                    .long_lived
                    .iter()
                    .any(|entry| entry.family == afi_safi && entry.preserved),
            };
            if kept.stage == Stage::Restarting {
                kept.stage = Stage::Resending;
                kept.until = kept.resent_by;
            }
            if !is_preserved || !families.contains(&family) {
                self.sweep(peer, family);
            }
        }
    }

    /// End-of-RIB: what is stale has not been resent. In the middle of a refresh it says nothing.
    pub(super) fn end_of_rib(&mut self, peer: IpAddr, family: FlowFamily) {
        let kept = self.retention.kept.get(&(peer, family));
        if kept.is_some_and(|kept| kept.stage != Stage::Refreshing) {
            self.sweep(peer, family);
        }
    }

    /// A neighbor begins or ends to send all routes of a family again. While it does, none of them is sure.
    pub(super) fn refresh(
        &mut self,
        now: Instant,
        peer: IpAddr,
        family: FlowFamily,
        marker: RefreshMarker,
        at_most: Duration,
    ) {
        let adj_rib_in = self.peers.get_mut(&peer);
        let Some(adj_rib_in) = adj_rib_in.filter(|adj_rib_in| adj_rib_in.is_up) else {
            return;
        };
        match marker {
            RefreshMarker::Begin => {
                let refused =
                    |key: &RouteKey, path: &Path| key.0 == family && path.rejected.is_some();
                let gone = self.rib.drop_paths(peer, refused);
                adj_rib_in.age(|known| known == family, &mut self.rib);
                let until = after(now, at_most);
                let kept = Kept {
                    stage: Stage::Refreshing,
                    until,
                    resent_by: until,
                    long_lived_until: None,
                };
                self.retention.kept.insert((peer, family), kept);
                self.routes_changed(&gone);
            }
            RefreshMarker::End => self.sweep(peer, family),
        }
    }

    /// Removes the stale paths of a neighbor in a family.
    fn sweep(&mut self, peer: IpAddr, family: FlowFamily) {
        if self.retention.kept.remove(&(peer, family)).is_some() {
            self.forget_what_is_not_kept(peer);
        }
    }

    /// Removes the stale paths of a neighbor in all families that are not waited for, and forgets a neighbor that is
    /// gone with its last one.
    fn forget_what_is_not_kept(&mut self, peer: IpAddr) {
        let kept = self.retention.families_of(peer);
        let kept: Vec<FlowFamily> = kept.map(|(family, _)| family).collect();
        self.drop_stale(peer, |key, _| !kept.contains(&key.0));
        let is_stale = |family: FlowFamily| {
            let mut paths = self.rib.paths_of(peer);
            paths.any(|(key, path)| key.0 == family && path.is_stale())
        };
        let families = FlowFamily::ALL.into_iter();
        for family in families
            .filter(|family| !is_stale(*family))
            .collect::<Vec<_>>()
        {
            self.retention.kept.remove(&(peer, family));
        }
        let is_down = self.peers.get(&peer).is_some_and(|peer| !peer.is_up);
        if is_down && self.retention.families_of(peer).next().is_none() {
            self.peers.remove(&peer);
        }
    }

    /// Removes what is stale of neighbors that have been waited for long enough, or lets it be long-lived stale.
    pub(super) fn sweep_expired(&mut self, now: Instant) {
        let expired = self.retention.kept.iter();
        let expired: Vec<(IpAddr, FlowFamily)> = expired
            .filter(|(_, kept)| now >= kept.until)
            .map(|(place, _)| *place)
            .collect();
        for (peer, family) in expired {
            let Some(kept) = self.retention.kept.get_mut(&(peer, family)) else {
                continue;
            };
            match kept.long_lived_until.filter(|until| now < *until) {
                Some(until) if kept.stage == Stage::Restarting => {
                    kept.stage = Stage::LongLived;
                    kept.until = until;
                    self.let_live_long(peer, family);
                }
                Some(_) | None => self.sweep(peer, family),
            }
        }
    }

    /// The restart time of a neighbor has passed: its stale paths in a family become the last choice, and those that
    /// say so go (RFC 9494 §4.2).
    fn let_live_long(&mut self, peer: IpAddr, family: FlowFamily) {
        self.drop_stale(peer, |key, path| {
            key.0 == family && path.route.attributes.communities.contains(&NO_LLGR)
        });
        let places = self.rib.places_of(peer, |known| known == family);
        for place in &places {
            if let Some(path) = self.rib.path_mut(peer, place) {
                path.freshness = Freshness::LongLivedStale;
            }
        }
        self.routes_changed(&places);
        self.forget_what_is_not_kept(peer);
    }

    /// Removes what is stale of all but these neighbors.
    pub(super) fn forget_strangers(&mut self, neighbors: &[IpNetwork]) {
        let waited_for = self.retention.kept.keys().copied();
        let strangers: Vec<(IpAddr, FlowFamily)> = waited_for
            .filter(|(peer, _)| !neighbors.iter().any(|network| network.contains(*peer)))
            .collect();
        for (peer, family) in strangers {
            self.sweep(peer, family);
        }
    }

    /// Takes away those of a neighbor's stale paths that are to go.
    fn drop_stale(&mut self, peer: IpAddr, goes: impl Fn(&RouteKey, &Path) -> bool) {
        let goes = |key: &RouteKey, path: &Path| path.is_stale() && goes(key, path);
        let gone = self.rib.drop_paths(peer, goes);
        if let Some(adj_rib_in) = self.peers.get_mut(&peer) {
            adj_rib_in.forget(&gone);
        }
        let rib = &self.rib;
        self.validator
            .retain(|key, other| other != peer || rib.paths_at(peer, key).next().is_some());
        self.routes_changed(&gone);
    }

    /// Derives anew what is wanted for the NLRI of these paths.
    fn routes_changed(&mut self, places: &[Place]) {
        for (key, _) in places {
            self.route_changed(key);
        }
    }
}

impl Kept {
    /// What begins when a session is lost. A Long-lived Stale Time that has begun is not begun again.
    fn new(now: Instant, retained: &Retained, before: Option<Kept>) -> Self {
        let until = after(now, retained.time);
        let began = before
            .filter(|before| before.stage == Stage::LongLived)
            .and_then(|before| before.long_lived_until);
        let long_lived_until = (!retained.long_lived.is_zero())
            .then(|| began.unwrap_or(after(until, retained.long_lived)));
        Self {
            stage: match retained.cause {
                Cause::Restart => Stage::Restarting,
                Cause::Hold => Stage::Held,
            },
            until,
            resent_by: after(now, retained.at_most),
            long_lived_until,
        }
    }
}

#[cfg(test)]
mod tests;

//! The Adj-RIB-In of one neighbor: import policy, the limits on its routes, and their lifetime.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::lifetime::Lifetimes;
use super::notice::Notice;
use super::policy::{ImportPolicy, LocalSpeaker, Overflow, TotalLimit, warning_threshold};
use super::shared::Shared;
use super::validation::Validator;
use crate::flowspec::action::TrafficFilteringActions;
use crate::rib::{
    Freshness, Path, Peer, Place, Refusal, RefusalKind, Rib, Route, RouteKey, place_of,
};
use crate::wire::attribute::Attributes;
use crate::wire::iana::FlowFamily;
use crate::wire::nlri::Nlri;
use crate::wire::path::PathOf;
use crate::wire::update::Update;

/// Routes over the limit that are kept for show, and taken when there is room again. More are only counted.
const KEPT_OVER_LIMIT: usize = 1_000;

/// What the verdict on a route depends on besides the route and its neighbor.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The time.
    pub(super) now: Instant,
    /// This speaker.
    pub(super) local: LocalSpeaker,
    /// Routes in force of all other neighbors.
    pub(super) others: usize,
    /// The limit on those and the neighbor's own.
    pub(super) total: TotalLimit,
    /// The unicast routes.
    pub(super) validator: &'a Validator,
}

/// What is known of one neighbor's routes besides the routes themselves, which stand in the [`Rib`].
#[derive(Debug)]
pub(super) struct AdjRibIn {
    peer: Arc<Peer>,
    policy: ImportPolicy,
    /// Paths in the table that policy accepts, without stale ones: what a neighbor has announced anew must find room
    /// before what it no longer announces is swept.
    accepted: usize,
    /// Paths in the table that policy refuses for what they are, without stale ones.
    refused: usize,
    /// Places of paths that are refused only because there are too many, oldest first. May name paths that are gone
    /// or accepted by now.
    over_limit: VecDeque<Place>,
    lifetimes: Lifetimes,
    /// What the attributes in use ask for.
    readings: Shared<Arc<Attributes>, Reading>,
    /// Announcements that were refused and not even kept for show.
    pub(super) not_kept: u64,
    notices: Vec<Notice>,
    /// A warning is out, and the number of routes has not fallen since.
    warned: bool,
    /// The session is to be closed.
    closing: bool,
    /// The session is up. When it is not, there are only stale paths.
    pub(super) is_up: bool,
}

impl AdjRibIn {
    /// An empty Adj-RIB-In.
    pub(super) fn new(now: Instant, peer: Peer, policy: ImportPolicy) -> Self {
        let mut lifetimes = Lifetimes::default();
        lifetimes.limit(now, policy.max_lifetime, std::iter::empty());
        Self {
            peer: Arc::new(peer),
            policy,
            accepted: 0,
            refused: 0,
            over_limit: VecDeque::new(),
            lifetimes,
            readings: Shared::default(),
            not_kept: 0,
            notices: Vec::new(),
            warned: false,
            closing: false,
            is_up: true,
        }
    }

    /// The Adj-RIB-In of a neighbor whose session is not up, to hold stale paths.
    pub(super) fn of_absent(now: Instant, peer: Peer, policy: ImportPolicy) -> Self {
        Self {
            is_up: false,
            ..Self::new(now, peer, policy)
        }
    }

    /// The session is up again; what is there is stale.
    pub(super) fn returns(&mut self, peer: Peer) {
        self.peer = Arc::new(peer);
        self.is_up = true;
        self.closing = false;
        (self.accepted, self.refused, self.not_kept) = (0, 0, 0);
        self.over_limit.clear();
    }

    /// Marks all accepted paths in some families stale and removes the refused ones; returns where those stood.
    pub(super) fn age(
        &mut self,
        families: impl Fn(FlowFamily) -> bool,
        rib: &mut Rib,
    ) -> Vec<Place> {
        for place in rib.places_of(self.peer.address, &families) {
            if let Some(path) = rib.path_mut(self.peer.address, &place)
                && !path.is_stale()
            {
                self.leaves(Standing::of(path));
                path.freshness = Freshness::Stale;
            }
        }
        self.over_limit.retain(|(key, _)| !families(key.0));
        let refused = |key: &RouteKey, path: &Path| families(key.0) && path.rejected.is_some();
        let gone = rib.drop_paths(self.peer.address, refused);
        self.forget(&gone);
        gone
    }

    /// Stale paths at these places are gone.
    pub(super) fn forget(&mut self, gone: &[Place]) {
        for place in gone {
            self.lifetimes.forget(place);
        }
    }

    /// Routes in force, without stale ones.
    pub(super) fn accepted(&self) -> usize {
        self.accepted
    }

    /// Places that wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.over_limit.len()
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lifetimes.next_deadline()
    }

    /// What is to be known or done since this was last asked.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        let threshold = warning_threshold(self.policy.max_routes, self.policy.warn_percent);
        let near = threshold.is_some_and(|threshold| self.accepted >= threshold);
        if near && !self.warned {
            self.notices.push(Notice::NearMaxRoutes {
                peer: self.peer.address,
                accepted: self.accepted,
                max_routes: self.policy.max_routes,
            });
        }
        self.warned = near;
        std::mem::take(&mut self.notices)
    }

    /// Takes an UPDATE in; returns the places in the table that changed.
    pub(super) fn apply(
        &mut self,
        around: Surroundings<'_>,
        update: Update,
        rib: &mut Rib,
    ) -> BTreeSet<RouteKey> {
        let mut changed = BTreeSet::new();
        for path in &update.withdrawn {
            changed.extend(self.withdraw(place_of(path), rib));
        }
        if !update.announced.is_empty() {
            let (peer, policy) = (&self.peer, &self.policy);
            let (attributes, reading) = self.readings.get(update.attributes, |attributes| {
                Reading::new(attributes, peer, policy)
            });
            let announcement = Announcement {
                attributes,
                reading: reading.clone(),
            };
            for path in &update.announced {
                changed.extend(self.announce(around, &announcement, path, rib));
            }
        }
        changed.extend(self.fill_up(around, rib));
        changed
    }

    fn withdraw(&mut self, place: Place, rib: &mut Rib) -> Option<RouteKey> {
        let standing = Standing::of(rib.path_at(self.peer.address, &place)?);
        self.leaves(standing);
        rib.withdraw(self.peer.address, &place);
        self.lifetimes.forget(&place);
        Some(place.0)
    }

    fn announce(
        &mut self,
        around: Surroundings<'_>,
        route: &Announcement,
        announced: &PathOf<Nlri>,
        rib: &mut Rib,
    ) -> Option<RouteKey> {
        let (nlri, place) = (&announced.route, place_of(announced));
        let known = rib.path_at(self.peer.address, &place);
        let before = known.map_or(Standing::Absent, Standing::of);
        let unchanged = known.filter(|path| path.route.attributes == route.attributes);
        let since = unchanged.map_or(around.now, |path| path.since);

        let refusal = match &route.reading.refusal {
            Some(refusal) => Some(refusal.clone()),
            None => {
                let (attributes, actions) = (&route.attributes, &route.reading.actions);
                self.policy
                    .refusal(around.local, nlri, attributes, actions)
                    .or_else(|| self.invalid(around, nlri, attributes))
            }
        };
        let limit = match refusal {
            Some(_) => None,
            None => self.exceeded(around, before),
        };
        if let Some(limit) = limit {
            self.overflow(limit, around.total);
        }
        if !self.is_kept(before, refusal.is_some(), limit.is_some()) {
            self.not_kept += 1;
            // What it replaces is gone all the same.
            return (before != Standing::Absent)
                .then(|| self.withdraw(place, rib))
                .flatten();
        }
        let limit = limit.map(|limit| self.limit_refusal(limit, around.total));
        let rejected = refusal.or(limit).map(Arc::new);
        self.lifetimes.begin(around.now, || place.clone());
        if unchanged.is_some_and(|path| !path.is_stale() && path.rejected == rejected) {
            return None;
        }
        // Known paths are shared with the rules that enforce them.
        let shared = unchanged
            .map(|path| &path.route)
            .filter(|known| known.peer == self.peer && known.actions == route.reading.actions);
        let announced_route = || Route {
            nlri: nlri.clone(),
            id: announced.id,
            peer: self.peer.clone(),
            attributes: route.attributes.clone(),
            actions: route.reading.actions.clone(),
        };
        let path = Path {
            route: shared
                .cloned()
                .unwrap_or_else(|| Arc::new(announced_route())),
            rejected,
            freshness: Freshness::Fresh,
            since,
        };
        let standing = Standing::of(&path);
        self.leaves(before);
        self.enters(standing);
        rib.announce(path);
        if standing == Standing::OverLimit && before != Standing::OverLimit {
            self.over_limit.push_back(place.clone());
        }
        Some(place.0)
    }

    /// The limit that one more route would exceed; `before` is what it replaces.
    fn exceeded(&self, around: Surroundings<'_>, before: Standing) -> Option<RefusalKind> {
        let accepted = self
            .accepted
            .saturating_sub(usize::from(before == Standing::Accepted));
        if accepted >= self.policy.max_routes {
            Some(RefusalKind::MaxRoutes)
        } else if accepted.saturating_add(around.others) >= around.total.max_routes {
            Some(RefusalKind::MaxTotalRoutes)
        } else {
            None
        }
    }

    /// Why a route over a limit is refused.
    fn limit_refusal(&self, limit: RefusalKind, total: TotalLimit) -> Refusal {
        let reason = if limit == RefusalKind::MaxTotalRoutes {
            let max = total.max_routes;
            format!("over import.max_total_routes = {max}: all neighbors have that many in force")
        } else {
            let max = self.policy.max_routes;
            format!("over max_routes = {max}: the neighbor has that many in force")
        };
        Refusal::new(limit, reason)
    }

    /// A route is over a limit: the session is to be closed, if that is what the policy wants.
    fn overflow(&mut self, limit: RefusalKind, total: TotalLimit) {
        if let Overflow::Close { restart } = self.policy.overflow
            && limit == RefusalKind::MaxRoutes
            && !self.closing
        {
            self.closing = true;
            let reason = self.limit_refusal(limit, total).to_string();
            self.notices.push(Notice::CloseSession {
                peer: self.peer.address,
                restart,
                reason,
            });
        }
    }

    /// True when there is room to show the route, if it is refused.
    fn is_kept(&self, before: Standing, refused: bool, over_limit: bool) -> bool {
        if refused {
            let room = self.policy.max_routes.saturating_add(KEPT_OVER_LIMIT);
            before == Standing::Refused || self.refused < room
        } else {
            !over_limit || before == Standing::OverLimit || self.over_limit.len() < KEPT_OVER_LIMIT
        }
    }

    /// Counts a path that is no longer there.
    fn leaves(&mut self, standing: Standing) {
        match standing {
            Standing::Accepted => self.accepted = self.accepted.saturating_sub(1),
            Standing::Refused => self.refused = self.refused.saturating_sub(1),
            Standing::OverLimit | Standing::Stale | Standing::Absent => {}
        }
    }

    /// Counts a path that is new.
    fn enters(&mut self, standing: Standing) {
        match standing {
            Standing::Accepted => self.accepted += 1,
            Standing::Refused => self.refused += 1,
            Standing::OverLimit | Standing::Stale | Standing::Absent => {}
        }
    }

    /// Takes routes that were refused only for their number, while there is room; returns where they stand.
    pub(super) fn fill_up(&mut self, around: Surroundings<'_>, rib: &mut Rib) -> Vec<RouteKey> {
        let mut changed = Vec::new();
        while self.exceeded(around, Standing::Absent).is_none()
            && let Some(place) = self.over_limit.pop_front()
        {
            let waits = |path: &Path| Standing::of(path) == Standing::OverLimit;
            if rib.path_at(self.peer.address, &place).is_some_and(waits) {
                changed.extend(self.judge_again(around, &place, rib));
            }
        }
        changed
    }

    /// Refuses what has not been announced for too long; returns where it stands.
    pub(super) fn expire(&mut self, around: Surroundings<'_>, rib: &mut Rib) -> Vec<RouteKey> {
        let ended = self.lifetimes.take_ended(around.now).into_iter();
        let mut changed: Vec<RouteKey> = ended
            .filter_map(|place| self.judge_again(around, &place, rib))
            .collect();
        changed.extend(self.fill_up(around, rib));
        changed
    }

    /// Applies a new policy to all routes; returns the places in the table that changed.
    pub(super) fn change_policy(
        &mut self,
        around: Surroundings<'_>,
        policy: ImportPolicy,
        rib: &mut Rib,
    ) -> BTreeSet<RouteKey> {
        if self.policy == policy {
            return BTreeSet::new();
        }
        let places = rib.places_of(self.peer.address, |_| true);
        let places_again = places.iter().cloned();
        self.lifetimes
            .limit(around.now, policy.max_lifetime, places_again);
        let reads_anew = self.policy.legacy_redirects != policy.legacy_redirects;
        self.policy = policy;
        self.closing = false;
        self.over_limit.clear();
        // Counted as nothing until judged again, so that the limit counts only what was judged.
        (self.accepted, self.refused) = (0, 0);
        let unjudged = Arc::new(Refusal::new(RefusalKind::MaxRoutes, "not judged yet"));
        let mut accepted = BTreeSet::new();
        for place in &places {
            if let Some(path) = rib.path_mut(self.peer.address, place) {
                if path.rejected.is_none() {
                    accepted.insert(place);
                }
                path.rejected = Some(unjudged.clone());
            }
        }
        let mut changed = BTreeSet::new();
        if reads_anew {
            self.readings = Shared::default();
        }
        for place in &places {
            if let (true, Some(path)) = (reads_anew, rib.path_mut(self.peer.address, place)) {
                let reading = Reading::new(&path.route.attributes, &self.peer, &self.policy);
                if path.route.actions != reading.actions {
                    Arc::make_mut(&mut path.route).actions = reading.actions;
                    changed.insert(place.0.clone());
                }
            }
            self.judge_again(around, place, rib);
            let is_accepted = rib
                .path_at(self.peer.address, place)
                .is_some_and(|path| path.rejected.is_none());
            if is_accepted != accepted.contains(place) {
                changed.insert(place.0.clone());
            }
        }
        changed
    }

    /// Judges a path anew; returns where it stands when it is there and the verdict is another one.
    fn judge_again(
        &mut self,
        around: Surroundings<'_>,
        place: &Place,
        rib: &mut Rib,
    ) -> Option<RouteKey> {
        let path = rib.path_mut(self.peer.address, place)?;
        let before = Standing::of(path);
        let Route {
            nlri,
            attributes,
            actions,
            ..
        } = &*path.route;
        let refusal = Reading::new(attributes, &self.peer, &self.policy)
            .refusal
            .or_else(|| {
                self.policy
                    .refusal(around.local, nlri, attributes, actions)
                    .or_else(|| {
                        // What is kept from before is judged when it is announced anew.
                        let judged = !path.is_stale();
                        judged.then(|| self.invalid(around, nlri, attributes))?
                    })
            })
            .or_else(|| self.expired(around.now, place));
        let limit = match refusal {
            Some(_) => None,
            None if path.is_stale() => None,
            None => self.exceeded(around, before),
        };
        let limit = limit.map(|limit| self.limit_refusal(limit, around.total));
        let rejected = refusal.or(limit).map(Arc::new);
        let changed = path.rejected != rejected;
        path.rejected = rejected;
        let standing = Standing::of(path);
        self.leaves(before);
        self.enters(standing);
        if standing == Standing::OverLimit {
            self.over_limit.push_back(place.clone());
        }
        changed.then(|| place.0.clone())
    }

    /// Why a route is not valid, if it is not.
    fn invalid(
        &self,
        around: Surroundings<'_>,
        nlri: &Nlri,
        attributes: &Attributes,
    ) -> Option<Refusal> {
        let (validation, required) = (self.policy.validation, self.policy.destination_required);
        let reason = around
            .validator
            .refusal(validation, required, &self.peer, nlri, attributes)?;
        Some(Refusal::new(RefusalKind::Validation, reason))
    }

    /// True when routes are to be judged anew whenever unicast routes change.
    pub(super) fn depends_on_unicast(&self) -> bool {
        self.policy.validation.needs_unicast()
    }

    /// Who the neighbor is.
    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The neighbor has more unicast routes than it may: its session is to be closed.
    pub(super) fn unicast_overflow(&mut self) {
        if !std::mem::replace(&mut self.closing, true) {
            let max = self.policy.max_unicast_routes;
            self.notices.push(Notice::CloseSession {
                peer: self.peer.address,
                restart: self.policy.restart(),
                reason: format!("over import.max_unicast_routes = {max}"),
            });
        }
    }

    /// Unicast routes that the neighbor may have.
    pub(super) fn max_unicast_routes(&self) -> usize {
        self.policy.max_unicast_routes
    }

    /// Judges routes anew after a change of unicast routes; returns the places of those with another verdict.
    pub(super) fn revalidate(
        &mut self,
        around: Surroundings<'_>,
        keys: &[RouteKey],
        rib: &mut Rib,
    ) -> Vec<RouteKey> {
        let mut changed = Vec::new();
        for key in keys {
            let paths = rib.paths_at(self.peer.address, key);
            let places: Vec<Place> = paths.map(|path| (key.clone(), path.route.id)).collect();
            for place in places {
                changed.extend(self.judge_again(around, &place, rib));
            }
        }
        changed.extend(self.fill_up(around, rib));
        changed
    }

    /// Why a route has expired, if it has.
    fn expired(&self, now: Instant, place: &Place) -> Option<Refusal> {
        let lifetime = self.lifetimes.ended(now, place)?.as_secs();
        let reason = format!("expired: not announced for import.max_lifetime_secs = {lifetime}");
        Some(Refusal::new(RefusalKind::Expired, reason))
    }
}

/// What a path counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// There is none.
    Absent,
    /// Left from before, accepted or not.
    Stale,
    /// In force, or would be if another neighbor's were not better.
    Accepted,
    /// Refused for what it is.
    Refused,
    /// Refused for the number of others.
    OverLimit,
}

impl Standing {
    fn of(path: &Path) -> Self {
        match &path.rejected {
            _ if path.is_stale() => Standing::Stale,
            None => Standing::Accepted,
            Some(refusal) if refusal.kind.is_limit() => Standing::OverLimit,
            Some(_) => Standing::Refused,
        }
    }
}

/// What all routes of one UPDATE share.
struct Announcement {
    attributes: Arc<Attributes>,
    reading: Reading,
}

/// What attributes ask for.
#[derive(Clone, Debug)]
struct Reading {
    actions: Arc<TrafficFilteringActions>,
    /// Why no route with these attributes is taken.
    refusal: Option<Refusal>,
}

impl Reading {
    /// Reads the attributes of a neighbor's route.
    fn new(attributes: &Attributes, peer: &Peer, policy: &ImportPolicy) -> Self {
        let mut refusal = None;
        let actions = TrafficFilteringActions::from_communities(
            &attributes.extended_communities,
            &attributes.ipv6_extended_communities,
        );
        // `wire` treats such an UPDATE as a withdrawal, so this is a second line of defense: a route whose actions are
        // unknown must never be enforced as if it had none.
        let mut actions = actions.unwrap_or_else(|error| {
            refusal = Some(Refusal::new(RefusalKind::Undecodable, error.to_string()));
            TrafficFilteringActions::default()
        });
        if policy.legacy_redirects {
            actions.follow_legacy_redirect(&attributes.mp_next_hop);
        }
        if !peer.ibgp
            && let Err(set) = actions.discard_non_transitive()
        {
            let reason = format!("interface-set {set} came from another AS, which it must not");
            refusal = Some(Refusal::new(RefusalKind::Action, reason));
        }
        Self {
            actions: Arc::new(actions),
            refusal,
        }
    }
}

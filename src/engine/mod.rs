//! From routes to rules: import policy, desired state, the state and reason of every route. Sans-IO.
//!
//! Every input enters [`Engine::step`]; every change to the data plane leaves as one [`Changes`] from
//! [`Engine::poll_commit`], at most one at a time: what arrives while a commit is in flight is collected for the next.
//! Both are total: no input fails or panics.

pub mod policy;
pub mod lower;
pub mod bindings;
pub mod memo;
pub mod enforcement;
mod adj_rib_in;
mod lifetime;
mod revalidation;
mod validation;
pub mod notice;
mod report;
pub mod orders;
pub mod protection;
pub mod retention;
mod pace;
mod shared;
pub mod explain;
pub mod status;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::backend::{BackendError, Capability, Counter};
use dataplane::desired::Changes;
use dataplane::rule::{Label, OrderKey, RuleId};
use ipnetwork::IpNetwork;

use crate::rib::{Entry, Peer, Rib, RouteKey};
use crate::session::{NegotiatedRestart, RefreshMarker, Retained};
use crate::wire::iana::FlowFamily;
use crate::wire::nlri::Nlri;
use crate::wire::update::Update;
use adj_rib_in::{AdjRibIn, Surroundings};
use bindings::Bindings;
use enforcement::{Desired, Enforcement};
use lower::Lowered;
use notice::Notice;
use orders::Orders;
use policy::{ImportPolicy, LocalSpeaker, TotalLimit, warning_threshold};
use protection::Protection;
use retention::Retention;
use shared::Shared;
use validation::Validator;

/// What the engine is told.
#[derive(Debug)]
pub enum Event {
    /// The session with a neighbor is up; its routes may follow.
    PeerUp {
        /// The neighbor's address, which names its Adj-RIB-In.
        peer: IpAddr,
        /// Its BGP identifier.
        router_id: Ipv4Addr,
        /// It is in our AS.
        ibgp: bool,
        /// Families that routes can come in.
        families: Vec<FlowFamily>,
        /// What is taken from it.
        policy: ImportPolicy,
        /// What it says of the routes of its last session.
        restart: NegotiatedRestart,
    },
    /// An UPDATE of a neighbor whose session is up; of any other it is ignored.
    Update {
        /// Who sent it.
        peer: IpAddr,
        /// What it says, after RFC 7606.
        update: Update,
    },
    /// The session with a neighbor is down: its routes are gone, but for those that are retained.
    PeerDown {
        /// The neighbor's address.
        peer: IpAddr,
        /// Families whose routes stay for a while, marked stale.
        retained: Vec<Retained>,
    },
    /// A neighbor begins or ends to send all routes of a family again (RFC 7313).
    Refresh {
        /// The neighbor's address.
        peer: IpAddr,
        /// Which routes.
        family: FlowFamily,
        /// Whether it begins or ends.
        marker: RefreshMarker,
        /// How long it may take.
        at_most: Duration,
    },
    /// The configuration of a neighbor changed while its session stays up.
    PolicyChanged {
        /// The neighbor's address.
        peer: IpAddr,
        /// What is taken from it from now on.
        policy: ImportPolicy,
    },
    /// The configuration of many neighbors changed, and what holds for all of them: their routes are judged anew as one
    /// change.
    PoliciesChanged {
        /// What is taken from which neighbor from now on; the others stay as they are.
        policies: Vec<(IpAddr, ImportPolicy)>,
        /// The limit on the routes of all.
        total: TotalLimit,
    },
    /// From now on there are only these neighbors: nobody waits for routes of others any more.
    NeighborsChanged(Vec<IpNetwork>),
    /// Takes a rule out of force, or puts it back, see [`Engine::find`].
    Ordered {
        /// Its NLRI.
        nlri: Nlri,
        /// False: out of force, whoever announces it.
        enabled: bool,
    },
    /// The packet filter evaluates no rule any more, or does so again.
    Suspended(bool),
    /// What the packet filter lets through ahead of every rule.
    ProtectionChanged(Protection),
    /// How the commit ended that [`Engine::poll_commit`] gave out.
    Committed(Result<(), BackendError>),
    /// What names in communities stand for from now on.
    BindingsChanged(Bindings),
    /// The data plane has other settings: rules that wait for room may have some now.
    SettingsChanged,
    /// Rules that cannot do all that they shall at the moment, and why.
    Impaired(Vec<(RuleId, String)>),
    /// The counters of all installed rules.
    Counters(Vec<(RuleId, Counter)>),
}

/// Routes in, changes to the data plane out.
pub struct Engine {
    local: LocalSpeaker,
    capability: Arc<dyn Capability>,
    peers: HashMap<IpAddr, AdjRibIn>,
    rib: Rib,
    enforcement: Enforcement,
    /// By id.
    counters: Vec<(RuleId, Counter)>,
    /// By id.
    impaired: Vec<(RuleId, String)>,
    tiers: Shared<OrderKey, ()>,
    bindings: Bindings,
    retention: Retention,
    orders: Orders,
    protection: Protection,
    validator: Validator,
    total: TotalLimit,
    /// A warning about all routes is out, and their number has not fallen since.
    warned: bool,
    notices: VecDeque<Notice>,
}

impl Engine {
    /// An engine without neighbors, for a data plane that is empty.
    pub fn new(local: LocalSpeaker, capability: Arc<dyn Capability>) -> Self {
        Self {
            local,
            enforcement: Enforcement::new(capability.commit_max()),
            capability,
            peers: HashMap::new(),
            rib: Rib::default(),
            counters: Vec::new(),
            impaired: Vec::new(),
            tiers: Shared::default(),
            bindings: Bindings::default(),
            retention: Retention::default(),
            orders: Orders::default(),
            protection: Protection::default(),
            validator: Validator::default(),
            total: TotalLimit::default(),
            warned: false,
            notices: VecDeque::new(),
        }
    }

    /// Takes in one event.
    pub fn step(&mut self, now: Instant, event: Event) {
        match event {
            Event::PeerUp {
                peer,
                router_id,
                ibgp,
                families,
                policy,
                restart,
            } => {
                self.await_resending(peer, &families, &restart);
                self.validator.drop_peer(peer);
                let identity = Peer {
                    address: peer,
                    router_id,
                    ibgp,
                };
                self.peer_up(now, identity, policy);
            }
            Event::Update { peer, update } => self.update(now, peer, update),
            Event::PeerDown { peer, retained } => {
                self.validator.drop_peer(peer);
                self.lose_peer(now, peer, &retained);
            }
            Event::Refresh {
                peer,
                family,
                marker,
                at_most,
            } => self.refresh(now, peer, family, marker, at_most),
            Event::PolicyChanged { peer, policy } => {
                self.change_policy(now, peer, policy);
                self.fill_up(now);
            }
            Event::PoliciesChanged { policies, total } => {
                self.total = total;
                for (peer, policy) in policies {
                    self.change_policy(now, peer, policy);
                }
                self.fill_up(now);
            }
            Event::NeighborsChanged(neighbors) => self.forget_strangers(&neighbors),
            Event::Ordered { nlri, enabled } => self.order(nlri, enabled),
            Event::Suspended(suspended) => self.suspend(suspended),
            Event::ProtectionChanged(protection) => self.protection = protection,
            Event::BindingsChanged(bindings) => self.change_bindings(bindings),
            Event::SettingsChanged => self.enforcement.try_waiting_again(),
            Event::Impaired(mut impaired) => {
                impaired.sort();
                self.impaired = impaired;
            }
            Event::Committed(result) => self.enforcement.committed(now, result),
            Event::Counters(mut counters) => {
                counters.sort_unstable_by_key(|(id, _)| *id);
                self.counters = counters;
            }
        }
    }

    /// The next commit for the data plane, to be answered with [`Event::Committed`]. `None` while one is in flight, when
    /// nothing changed, and until [`Self::next_deadline`] after a failure and in a storm of changes.
    pub fn poll_commit(&mut self, now: Instant) -> Option<Changes> {
        self.sweep_expired(now);
        self.revalidate(now);
        self.expire(now);
        self.enforcement.next_commit(now)
    }

    /// When to call [`Self::poll_commit`] although nothing happened.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.enforcement.next_deadline(),
            self.retention.next_deadline(),
        ];
        let lifetimes = self.peers.values().map(AdjRibIn::next_deadline);
        deadlines.into_iter().chain(lifetimes).flatten().min()
    }

    /// The next thing to be known or done, if there is any.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// True when the data plane holds all that it shall and nothing else.
    pub fn is_settled(&self) -> bool {
        self.enforcement.is_settled()
    }

    fn update(&mut self, now: Instant, peer: IpAddr, update: Update) {
        let adj_rib_in = self.peers.get(&peer);
        let Some(adj_rib_in) = adj_rib_in.filter(|adj_rib_in| adj_rib_in.is_up) else {
            return;
        };
        let depends_on_unicast = adj_rib_in.depends_on_unicast();
        let end_of_rib = update.end_of_rib.and_then(FlowFamily::from_afi_safi);
        self.take_unicast(peer, &update);
        let mut routes = Vec::new();
        if depends_on_unicast {
            self.file(peer, &update.announced);
            routes = [&update.announced[..], &update.withdrawn].concat();
        }
        self.judge(now, peer, |adj_rib_in, around, rib| {
            adj_rib_in.apply(around, update, rib)
        });
        self.forget_absent(peer, routes.iter().map(|path| &path.route));
        if let Some(family) = end_of_rib {
            self.end_of_rib(peer, family);
        }
        self.fill_up(now);
    }

    /// A session is up: its Adj-RIB-In is empty but for stale paths.
    fn peer_up(&mut self, now: Instant, identity: Peer, policy: ImportPolicy) {
        match self.peers.get_mut(&identity.address) {
            Some(adj_rib_in) => {
                adj_rib_in.returns(identity);
                self.change_policy(now, identity.address, policy);
            }
            None => {
                let adj_rib_in = AdjRibIn::new(now, identity, policy);
                self.peers.insert(identity.address, adj_rib_in);
            }
        }
    }

    fn change_policy(&mut self, now: Instant, peer: IpAddr, policy: ImportPolicy) {
        self.refile(peer, policy.validation.needs_unicast());
        self.judge(now, peer, |adj_rib_in, around, rib| {
            adj_rib_in.change_policy(around, policy, rib)
        });
    }

    /// Refuses routes whose lifetime has ended.
    fn expire(&mut self, now: Instant) {
        let ended = |other: &AdjRibIn| other.next_deadline().is_some_and(|end| end <= now);
        let peers = self.peers.iter().filter(|(_, other)| ended(other));
        let mut peers: Vec<IpAddr> = peers.map(|(peer, _)| *peer).collect();
        if peers.is_empty() {
            return;
        }
        peers.sort_unstable();
        for peer in peers {
            self.judge(now, peer, AdjRibIn::expire);
        }
        self.fill_up(now);
    }

    /// Takes waiting routes of all neighbors while there is room for all together, and collects notices.
    fn fill_up(&mut self, now: Instant) {
        let waiting = self.peers.iter().filter(|(_, other)| other.waiting() > 0);
        let mut waiting: Vec<IpAddr> = waiting.map(|(peer, _)| *peer).collect();
        waiting.sort_unstable();
        for peer in waiting {
            self.judge(now, peer, AdjRibIn::fill_up);
        }
        let accepted = self.peers.values().map(AdjRibIn::accepted).sum();
        let TotalLimit {
            max_routes,
            warn_percent,
        } = self.total;
        let threshold = warning_threshold(max_routes, warn_percent);
        let near = threshold.is_some_and(|threshold| accepted >= threshold);
        if near && !self.warned {
            self.notices.push_back(Notice::NearMaxTotalRoutes {
                accepted,
                max_routes,
            });
        }
        self.warned = near;
        let peers = self.peers.values_mut();
        self.notices.extend(peers.flat_map(AdjRibIn::take_notices));
    }

    /// Has a neighbor's routes judged by `judge`, and derives anew what is wanted for those that changed.
    fn judge<Changed>(
        &mut self,
        now: Instant,
        peer: IpAddr,
        judge: impl FnOnce(&mut AdjRibIn, Surroundings<'_>, &mut Rib) -> Changed,
    ) where
        Changed: IntoIterator<Item = RouteKey>,
    {
        let others = self.peers.iter().filter(|(address, _)| **address != peer);
        let around = Surroundings {
            now,
            local: self.local,
            others: others.map(|(_, other)| other.accepted()).sum(),
            total: self.total,
            validator: &self.validator,
        };
        let Some(adj_rib_in) = self.peers.get_mut(&peer) else {
            return;
        };
        for key in judge(adj_rib_in, around, &mut self.rib) {
            self.route_changed(&key);
        }
    }

    /// Derives anew what is wanted for the NLRI at `key`.
    fn route_changed(&mut self, key: &RouteKey) {
        let id = self.enforcement.rule_id(key);
        let desired = match self.rib.get(key) {
            Some(_) if self.orders.forbid(key) => Desired::Nothing,
            Some(entry) => desired(
                &*self.capability,
                &mut self.tiers,
                &self.bindings,
                key,
                id,
                entry,
            ),
            None => Desired::Nothing,
        };
        self.enforcement.want(key, id, desired);
    }

    /// Derives anew what is wanted for every route that names something.
    fn change_bindings(&mut self, bindings: Bindings) {
        if self.bindings == bindings {
            return;
        }
        self.bindings = bindings;
        let names = |entry: &Entry| {
            entry.best().is_some_and(|best| {
                let actions = &best.route.actions;
                actions.redirect_route_target.is_some() || !actions.interface_sets.is_empty()
            })
        };
        let entries = self.rib.iter().filter(|(_, entry)| names(entry));
        let keys: Vec<RouteKey> = entries.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.route_changed(&key);
        }
    }

    /// Why a rule cannot do all that it shall at the moment.
    fn impairment(&self, id: RuleId) -> impl Iterator<Item = &String> {
        let first = self.impaired.partition_point(|(other, _)| *other < id);
        let reasons = self.impaired[first..].iter();
        reasons
            .take_while(move |(other, _)| *other == id)
            .map(|(_, reason)| reason)
    }

    /// Counter of a rule, as of the last reading; zero for one that was installed since.
    fn counter(&self, id: RuleId) -> Counter {
        match self.counters.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(place) => self.counters[place].1,
            Err(_) => Counter::default(),
        }
    }
}

/// What is wanted for an entry. Rules share what is equal in them: keys with the table, tiers with each other.
fn desired(
    capability: &dyn Capability,
    tiers: &mut Shared<OrderKey, ()>,
    bindings: &Bindings,
    key: &RouteKey,
    id: RuleId,
    entry: &Entry,
) -> Desired {
    let Some(path) = entry.best() else {
        return Desired::Nothing;
    };
    let lowered = lower::lower(entry.nlri(), &path.route.actions, id, bindings)
        .and_then(|lowered| capability.check(&lowered.rule).map(|()| lowered));
    match lowered {
        Ok(Lowered { mut rule, notes }) => {
            rule.order = key.1.clone();
            rule.tier = tiers.get(rule.tier, |_| ()).0;
            rule.label = Label::shared(path.route.clone());
            Desired::Rule {
                rule: Arc::new(rule),
                notes: notes.into(),
            }
        }
        Err(unsupported) => Desired::Unsupported(unsupported.0.into()),
    }
}

#[cfg(test)]
mod add_path_tests;
#[cfg(test)]
mod action_tests;
#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod tests;

//! From routes to rules: import policy, desired state, the state and reason of every route. Sans-IO.
//!
//! Every input enters [`Engine::step`]; every change to the data plane leaves as one [`Changes`] from
//! [`Engine::poll_commit`], at most one at a time: what arrives while a commit is in flight is collected for the next.
//! Both are total: no input fails or panics.

pub mod policy;
pub mod lower;
pub mod memo;
pub mod enforcement;
mod adj_rib_in;
mod report;
pub mod orders;
pub mod protection;
pub mod retention;
mod pace;
mod shared;
pub mod explain;
pub mod status;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use dataplane::backend::{BackendError, Capability, Counter};
use dataplane::desired::Changes;
use dataplane::rule::{Label, OrderKey, RuleId};
use ipnetwork::IpNetwork;

use crate::rib::{Entry, Peer, Rib, RouteKey};
use crate::wire::iana::FlowFamily;
use crate::wire::nlri::Nlri;
use crate::wire::update::Update;
use adj_rib_in::AdjRibIn;
use enforcement::{Desired, Enforcement};
use lower::Lowered;
use orders::Orders;
use policy::{ImportPolicy, LocalSpeaker};
use protection::Protection;
use retention::Retention;
use shared::Shared;

/// What the engine is told.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an event is moved a few times and never kept"
)]
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
    },
    /// An UPDATE of a neighbor whose session is up; of any other it is ignored.
    Update {
        /// Who sent it.
        peer: IpAddr,
        /// What it says, after RFC 7606.
        update: Update,
    },
    /// The session with a neighbor is down: all its routes are gone.
    PeerDown {
        /// The neighbor's address.
        peer: IpAddr,
    },
    /// The configuration of a neighbor changed while its session stays up.
    PolicyChanged {
        /// The neighbor's address.
        peer: IpAddr,
        /// What is taken from it from now on.
        policy: ImportPolicy,
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
    tiers: Shared<OrderKey, ()>,
    retention: Retention,
    orders: Orders,
    protection: Protection,
}

impl Engine {
    /// An engine without neighbors, for a data plane that is empty.
    pub fn new(local: LocalSpeaker, capability: Arc<dyn Capability>) -> Self {
        Self {
            local,
            capability,
            peers: HashMap::new(),
            rib: Rib::default(),
            enforcement: Enforcement::default(),
            counters: Vec::new(),
            tiers: Shared::default(),
            retention: Retention::default(),
            orders: Orders::default(),
            protection: Protection::default(),
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
            } => {
                self.await_resending(peer, &families);
                let identity = Peer {
                    address: peer,
                    router_id,
                    ibgp,
                };
                self.peers.insert(peer, AdjRibIn::new(identity, policy));
            }
            Event::Update { peer, update } => self.update(now, peer, update),
            Event::PeerDown { peer } => self.drop_peer(peer),
            Event::PolicyChanged { peer, policy } => self.change_policy(peer, policy),
            Event::NeighborsChanged(neighbors) => self.forget_strangers(&neighbors),
            Event::Ordered { nlri, enabled } => self.order(nlri, enabled),
            Event::Suspended(suspended) => self.suspend(suspended),
            Event::ProtectionChanged(protection) => self.protection = protection,
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
        self.enforcement.next_commit(now)
    }

    /// When to call [`Self::poll_commit`] although nothing happened.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.enforcement.next_deadline(),
            self.retention.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// True when the data plane holds all that it shall and nothing else.
    pub fn is_settled(&self) -> bool {
        self.enforcement.is_settled()
    }

    fn update(&mut self, now: Instant, peer: IpAddr, update: Update) {
        let Some(adj_rib_in) = self.peers.get_mut(&peer) else {
            return;
        };
        let end_of_rib = update.end_of_rib.and_then(FlowFamily::from_afi_safi);
        let changed = adj_rib_in.apply(now, self.local, update, &mut self.rib);
        for key in changed {
            self.route_changed(&key);
        }
        if let Some(family) = end_of_rib {
            self.sweep(peer, |known| known == family);
        }
    }

    fn drop_peer(&mut self, peer: IpAddr) {
        self.peers.remove(&peer);
        self.retention.end(peer);
        for key in self.rib.drop_peer(peer) {
            self.route_changed(&key);
        }
    }

    fn change_policy(&mut self, peer: IpAddr, policy: ImportPolicy) {
        let Some(adj_rib_in) = self.peers.get_mut(&peer) else {
            return;
        };
        for key in adj_rib_in.change_policy(self.local, policy, &mut self.rib) {
            self.route_changed(&key);
        }
    }

    /// Derives anew what is wanted for the NLRI at `key`.
    fn route_changed(&mut self, key: &RouteKey) {
        let id = self.enforcement.rule_id(key);
        let desired = match self.rib.get(key) {
            Some(_) if self.orders.forbid(key) => Desired::Nothing,
            Some(entry) => desired(&*self.capability, &mut self.tiers, key, id, entry),
            None => Desired::Nothing,
        };
        self.enforcement.want(key, id, desired);
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
    key: &RouteKey,
    id: RuleId,
    entry: &Entry,
) -> Desired {
    let Some(path) = entry.best() else {
        return Desired::Nothing;
    };
    let lowered = lower::lower(&entry.nlri, &path.actions, id)
        .and_then(|lowered| capability.check(&lowered.rule).map(|()| lowered));
    match lowered {
        Ok(Lowered { mut rule, notes }) => {
            rule.order = key.1.clone();
            rule.tier = tiers.get(rule.tier, |_| ()).0;
            rule.label = Label::new(memo::Route::new(&entry.nlri, path));
            Desired::Rule {
                rule: Arc::new(rule),
                notes: notes.into(),
            }
        }
        Err(unsupported) => Desired::Unsupported(unsupported.0.into()),
    }
}

#[cfg(test)]
mod tests;

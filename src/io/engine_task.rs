//! The task that owns the engine: everything that happens enters here in one order, and commits leave.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::packet::Packet;
use tokio::sync::{mpsc, oneshot};

use super::dataplane_thread::{self, Reply};
use super::driver::at;
use super::neighbors::Request;
use super::rate_limit::RateLimit;
use crate::engine::explain::Explanation;
use crate::engine::notice::Notice;
use crate::engine::orders::{DisabledRule, FindError};
use crate::engine::status::{RouteCounts, RuleStatus};
use crate::engine::{Engine, Event};
use crate::rib::RefusalKind;

/// Events and questions that may wait. When there are more, neighbors are not read.
pub(super) const INPUTS: usize = 256;

/// How long a question waits for fresh counters while the packet filter is busy. Nobody reads them unasked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Refused routes that are logged in each period.
const REFUSAL_LINES: (u32, Duration) = (20, Duration::from_secs(10));

/// What the task is told and asked.
#[derive(Debug)]
pub(super) enum EngineInput {
    /// Something happened.
    Event(Box<Event>),
    /// All routes in precedence order, with fresh counters.
    Rules(oneshot::Sender<Vec<RuleStatus>>),
    /// Numbers of routes: of all, and of each of these neighbors; and whether nothing is on its way.
    Counts(Vec<IpAddr>, oneshot::Sender<Counts>),
    /// Take the rule that an operator names out of force, or put it back.
    Order {
        /// See [`Engine::find`].
        name: String,
        /// False: out of force.
        enabled: bool,
        /// Tells which it was.
        answer: oneshot::Sender<Result<Ordered, FindError>>,
    },
    /// Answer when all that came before is done.
    Beat(oneshot::Sender<()>),
    /// Which rule decides this packet.
    Explain(Packet, oneshot::Sender<Explanation>),
}

/// Answer to [`EngineInput::Counts`].
#[derive(Debug)]
pub(super) struct Counts {
    /// Of all routes.
    pub(super) total: RouteCounts,
    /// Refused routes by the kind of their refusal.
    pub(super) refusals: BTreeMap<RefusalKind, usize>,
    /// Of each neighbor asked for, in that order.
    pub(super) peers: Vec<RouteCounts>,
    /// For how many seconds stale routes of each stay at most.
    pub(super) stale_secs_left: Vec<Option<u64>>,
    /// The packet filter is what the routes ask for.
    pub(super) settled: bool,
    /// Rules that the operator has taken out of force.
    pub(super) disabled: Vec<DisabledRule>,
    /// All of them are.
    pub(super) suspended: bool,
}

/// Answer to [`EngineInput::Order`].
#[derive(Debug)]
pub(super) struct Ordered {
    /// Which rule.
    pub(super) rule: DisabledRule,
    /// Who announces it at the moment.
    pub(super) neighbors: Vec<IpAddr>,
}

/// The engine and what it talks to.
pub(super) struct EngineTask {
    engine: Engine,
    inputs: mpsc::Receiver<EngineInput>,
    /// What goes before all that waits in `inputs`.
    urgent: mpsc::Receiver<EngineInput>,
    replies: mpsc::Receiver<Reply>,
    dataplane: dataplane_thread::Handle,
    neighbors: mpsc::Sender<Request>,
    /// Sessions to be closed that the neighbors' task has had no room to be told of.
    closing: Vec<Request>,
    /// Questions that wait for counters.
    asking: Vec<oneshot::Sender<Vec<RuleStatus>>>,
    /// When they have waited long enough.
    patience_ends: Option<Instant>,
    /// Counters were asked for and have not come.
    counters_under_way: bool,
    refusal_log: RateLimit,
}

impl EngineTask {
    /// A task for an engine that nobody has told anything yet.
    pub(super) fn new(
        engine: Engine,
        inputs: mpsc::Receiver<EngineInput>,
        urgent: mpsc::Receiver<EngineInput>,
        replies: mpsc::Receiver<Reply>,
        dataplane: dataplane_thread::Handle,
        neighbors: mpsc::Sender<Request>,
    ) -> Self {
        Self {
            engine,
            inputs,
            urgent,
            replies,
            dataplane,
            neighbors,
            closing: Vec::new(),
            asking: Vec::new(),
            patience_ends: None,
            counters_under_way: false,
            refusal_log: RateLimit::new(REFUSAL_LINES.0, REFUSAL_LINES.1),
        }
    }

    /// Runs until nobody can say anything any more, or the thread of the packet filter has ended.
    pub(super) async fn run(mut self) {
        let neighbors = self.neighbors.clone();
        loop {
            if let Some(changes) = self.engine.poll_commit(Instant::now()) {
                self.dataplane.commit(changes);
            }
            self.notices();
            tokio::select! {
                Some(input) = self.urgent.recv() => self.input(input),
                input = self.inputs.recv() => match input {
                    Some(input) => self.inputs(input),
                    None => return,
                },
                reply = self.replies.recv() => match reply {
                    Some(reply) => self.reply(reply),
                    None => return tracing::error!("the thread of the packet filter has ended"),
                },
                // Only to come back to `poll_commit`.
                () = at(self.engine.next_deadline()) => {}
                () = at(self.patience_ends) => self.answer(),
                permit = neighbors.reserve(), if !self.closing.is_empty() => {
                    if let (Ok(permit), Some(request)) = (permit, self.closing.pop()) {
                        permit.send(request);
                    }
                }
            }
        }
    }

    /// Takes one input and those that wait behind it, so that a burst becomes one commit.
    fn inputs(&mut self, first: EngineInput) {
        self.input(first);
        for _ in 1..INPUTS {
            while let Ok(input) = self.urgent.try_recv() {
                self.input(input);
            }
            match self.inputs.try_recv() {
                Ok(input) => self.input(input),
                Err(_) => return,
            }
        }
    }

    /// Takes one input. Whoever asked may have gone: answers are then dropped.
    fn input(&mut self, input: EngineInput) {
        match input {
            EngineInput::Event(event) => self.event(*event),
            EngineInput::Rules(answer) => {
                self.asking.push(answer);
                self.patience_ends
                    .get_or_insert_with(|| Instant::now() + PATIENCE);
                self.ask_for_counters();
            }
            EngineInput::Counts(peers, answer) => {
                let _ = answer.send(Counts {
                    total: self.engine.counts(),
                    refusals: self.engine.refusals(),
                    peers: peers
                        .iter()
                        .map(|peer| self.engine.peer_counts(*peer))
                        .collect(),
                    stale_secs_left: peers
                        .iter()
                        .map(|peer| self.engine.stale_secs_left(Instant::now(), *peer))
                        .collect(),
                    settled: self.engine.is_settled(),
                    disabled: self.engine.disabled(),
                    suspended: self.engine.is_suspended(),
                });
            }
            EngineInput::Beat(answer) => {
                let _ = answer.send(());
            }
            EngineInput::Order {
                name,
                enabled,
                answer,
            } => {
                let ordered = self.engine.find(&name).map(|nlri| {
                    let ordered = Ordered {
                        rule: DisabledRule::new(&nlri),
                        neighbors: self.engine.announced_by(&nlri),
                    };
                    self.step(Event::Ordered { nlri, enabled });
                    ordered
                });
                let _ = answer.send(ordered);
            }
            EngineInput::Explain(packet, answer) => {
                let _ = answer.send(self.engine.explain(&packet));
            }
        }
    }

    /// Gives the engine an event of a neighbor, and logs which of its routes are refused.
    fn event(&mut self, event: Event) {
        let announced = match &event {
            Event::Update { peer, update } => Some((*peer, update.announced.clone())),
            Event::PeerUp { .. }
            | Event::PeerDown { .. }
            | Event::Refresh { .. }
            | Event::PolicyChanged { .. }
            | Event::PoliciesChanged { .. }
            | Event::NeighborsChanged(_)
            | Event::Ordered { .. }
            | Event::Suspended(_)
            | Event::ProtectionChanged(_)
            | Event::BindingsChanged(_)
            | Event::SettingsChanged
            | Event::Committed(_)
            | Event::Impaired(_)
            | Event::Counters(_) => None,
        };
        self.step(event);
        let Some((peer, announced)) = announced else {
            return;
        };
        for path in announced {
            let Some((flow, reason)) = self.engine.refusal(peer, &path) else {
                continue;
            };
            if let Some(left_out) = self.refusal_log.admit(Instant::now()) {
                tracing::info!(neighbor = %peer, flow, left_out, "route refused: {reason}");
            }
        }
    }

    /// Logs what the engine wants to be known, and passes on what it wants done.
    fn notices(&mut self) {
        while let Some(notice) = self.engine.poll_notice() {
            match notice {
                Notice::NearMaxRoutes {
                    peer,
                    accepted,
                    max_routes,
                } => tracing::warn!(neighbor = %peer, accepted, max_routes, "near max_routes"),
                Notice::NearMaxTotalRoutes {
                    accepted,
                    max_routes,
                } => tracing::warn!(accepted, max_routes, "near import.max_total_routes"),
                Notice::CloseSession {
                    peer,
                    restart,
                    reason,
                } => self.closing.push(Request::Close {
                    peer,
                    restart,
                    reason,
                }),
            }
        }
    }

    /// Takes one reply of the packet filter.
    fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::Committed(result) => self.step(Event::Committed(result)),
            Reply::Counters { counters, impaired } => {
                self.counters_under_way = false;
                match counters {
                    Ok(counters) => self.step(Event::Counters(counters)),
                    Err(error) => tracing::warn!("cannot read counters: {error}"),
                }
                self.step(Event::Impaired(impaired));
                self.answer();
            }
        }
    }

    /// Gives the engine one event.
    fn step(&mut self, event: Event) {
        self.engine.step(Instant::now(), event);
    }

    /// Asks for counters, once at a time.
    fn ask_for_counters(&mut self) {
        if !self.counters_under_way {
            self.counters_under_way = true;
            self.dataplane.counters();
        }
    }

    /// Answers all who wait for rules.
    fn answer(&mut self) {
        self.patience_ends = None;
        if self.asking.is_empty() {
            return;
        }
        let rules = self.engine.rules(Instant::now());
        for answer in self.asking.drain(..) {
            let _ = answer.send(rules.clone());
        }
    }
}

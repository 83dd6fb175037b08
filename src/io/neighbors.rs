//! Who may have a session: starts, stops and replaces the tasks of all neighbors, and refuses everybody else.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::desired::Link;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

use super::engine_task::EngineInput;
use super::kernel_drops::KernelDrops;
use super::listener::Accepted;
use super::listeners::Listeners;
use super::peer::{
    CEASE_CONFIGURATION_CHANGE, CEASE_DECONFIGURED, CEASE_SHUTDOWN, Command, Peer, SharedStatus,
};
use super::rate_limit::RateLimit;
use super::report::{DynamicStatus, NeighborStatus};
use super::{DaemonError, socket};
use crate::config::{Config, Neighbor};
use crate::engine::Event;

/// Connections that wait to be told apart. Small: each is an open file that anybody in the world can make us keep.
const ACCEPTED: usize = 8;

/// Connections of one neighbor that wait for its task.
const COMMANDS: usize = 4;

/// Neighbors of prefixes at most. Everybody in such a prefix can make us keep a session.
const MAX_DYNAMIC_NEIGHBORS: usize = 1000;

/// Refused connections that are logged in each period.
const STRANGER_LINES: (u32, Duration) = (5, Duration::from_secs(60));

/// What the task is told and asked.
#[derive(Debug)]
pub(super) enum Request {
    /// Take over another configuration, which differs only in what can change while flowacl runs.
    Reload(Box<Config>, oneshot::Sender<Result<Effects, DaemonError>>),
    /// Say what taking it over would mean.
    Preview(Box<Config>, oneshot::Sender<Effects>),
    /// Close the session with a neighbor that has announced too many routes.
    Close {
        /// Its address.
        peer: IpAddr,
        /// How long the session stays down.
        restart: Duration,
        /// The limit, in words.
        reason: String,
    },
    /// The interfaces of the machine have changed.
    Links(Vec<Link>),
    /// Who is there.
    List(oneshot::Sender<Listing>),
    /// Answer.
    Beat(oneshot::Sender<()>),
    /// Stop all sessions, and then the task.
    Stop(oneshot::Sender<()>),
}

/// What another configuration means for neighbors, by address.
pub(super) type Effects = BTreeMap<IpAddr, Effect>;

/// What another configuration means for one neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It is new.
    Joins,
    /// It is not configured any more.
    Leaves,
    /// Its session ends and begins anew.
    Restarts,
    /// Its session stays, its routes are judged by another policy.
    JudgedAnew,
    /// Only the operator's words change.
    Described,
}

impl Effect {
    /// In an operator's words.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Effect::Joins => "new",
            Effect::Leaves => "no longer configured, its session ends",
            Effect::Restarts => "its session ends and begins anew",
            Effect::JudgedAnew => "keeps its session, its routes are judged anew",
            Effect::Described => "keeps its session",
        }
    }
}

/// Answer to [`Request::List`].
#[derive(Debug)]
pub(super) struct Listing {
    /// Without the numbers of their routes.
    pub(super) neighbors: Vec<NeighborStatus>,
    /// Prefixes from which neighbors may connect.
    pub(super) dynamic: Vec<DynamicStatus>,
    /// Connections that were closed at once.
    pub(super) strangers_refused: u64,
}

/// One neighbor's task, seen from outside.
struct Running {
    neighbor: Neighbor,
    commands: mpsc::Sender<Command>,
    status: SharedStatus,
    /// It was told to stop. Its successor starts when it has ended, so that the engine sees one after the other.
    leaving: bool,
    /// What the kernel had dropped when the task started.
    drops: KernelDrops,
}

/// The task.
pub(super) struct Neighbors {
    config: Config,
    engine: mpsc::Sender<EngineInput>,
    running: HashMap<IpAddr, Running>,
    /// Each returns its address and the commands that it has not taken.
    tasks: JoinSet<(IpAddr, mpsc::Receiver<Command>)>,
    listeners: Listeners,
    accepted: mpsc::Receiver<Accepted>,
    strangers_refused: u64,
    stranger_log: RateLimit,
    /// Until when we say that we have restarted and kept the rules; `None`: we have kept none.
    restarting_until: Option<Instant>,
}

impl Neighbors {
    /// Opens all listening sockets.
    pub(super) fn start(
        config: Config,
        links: Vec<Link>,
        engine: mpsc::Sender<EngineInput>,
    ) -> Result<Self, DaemonError> {
        let (accepted_sender, accepted) = mpsc::channel(ACCEPTED);
        let mut neighbors = Self {
            config,
            engine,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            listeners: Listeners::new(links, accepted_sender),
            accepted,
            strangers_refused: 0,
            stranger_log: RateLimit::new(STRANGER_LINES.0, STRANGER_LINES.1),
            restarting_until: None,
        };
        neighbors.listeners.update(&neighbors.config)?;
        Ok(neighbors)
    }

    /// Starts the sessions of the configured neighbors, and runs until told to stop, or until nobody can tell any
    /// more. `restarted`: the rules of an earlier process are in force.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>, restarted: bool) {
        let restart = self.config.dataplane.restart;
        self.restarting_until = restarted.then(|| Instant::now() + restart);
        self.start_configured();
        let answer = loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Reload(config, answer)) => {
                        // Whoever asked may have gone; here and below.
                        let _ = answer.send(self.reload(*config).await);
                    }
                    Some(Request::Preview(config, answer)) => {
                        let _ = answer.send(self.effects(&config));
                    }
                    Some(Request::Beat(answer)) => {
                        let _ = answer.send(());
                    }
                    Some(Request::Close { peer, restart, reason }) => {
                        if let Some(running) = self.running.get(&peer) {
                            // An error means that the session is about to end.
                            let _ = running.commands.send(Command::Close { restart, reason }).await;
                        }
                    }
                    Some(Request::Links(links)) => {
                        self.listeners.links_changed(links, &self.config);
                    }
                    Some(Request::List(answer)) => {
                        let _ = answer.send(self.list());
                    }
                    Some(Request::Stop(answer)) => break Some(answer),
                    None => break None,
                },
                Some(accepted) = self.accepted.recv() => self.accepted(accepted),
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => match ended {
                    Ok((address, commands)) => self.ended(address, commands),
                    Err(error) => self.failed(&error).await,
                },
            }
        };
        self.stop_all().await;
        if let Some(answer) = answer {
            let _ = answer.send(());
        }
    }

    /// Starts the configured neighbors that have no task.
    fn start_configured(&mut self) {
        let missing: Vec<_> = self
            .config
            .neighbors
            .iter()
            .filter(|neighbor| !neighbor.is_dynamic())
            .filter(|neighbor| !self.running.contains_key(&neighbor.remote.ip()))
            .cloned()
            .collect();
        for neighbor in missing {
            self.spawn(neighbor.remote.ip(), neighbor);
        }
    }

    /// Starts one neighbor's task.
    fn spawn(&mut self, address: IpAddr, neighbor: Neighbor) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let status = SharedStatus::new(address, &neighbor);
        let engine = self.engine.clone();
        let restarting = self
            .restarting_until
            .is_some_and(|until| Instant::now() < until);
        let peer = Peer::new(
            &self.config.bgp,
            restarting,
            address,
            neighbor.clone(),
            engine,
            status.clone(),
        );
        self.tasks
            .spawn(async move { (address, peer.run(receiver).await) });
        self.running.insert(
            address,
            Running {
                neighbor,
                commands,
                status,
                leaving: false,
                drops: KernelDrops::read(),
            },
        );
    }

    /// A neighbor's task has ended. What came too late for it is for its successor.
    fn ended(&mut self, address: IpAddr, mut commands: mpsc::Receiver<Command>) {
        self.running.remove(&address);
        self.start_configured();
        while let Ok(command) = commands.try_recv() {
            match command {
                Command::Accept(stream) => self.hand_over(stream, address),
                Command::Import(_) | Command::Close { .. } | Command::Stop { .. } => {}
            }
        }
    }

    /// A neighbor's task has panicked: its routes go, and it starts again.
    async fn failed(&mut self, error: &JoinError) {
        let dead = self
            .running
            .iter()
            .filter(|(_, running)| running.commands.is_closed());
        let dead: Vec<_> = dead.map(|(address, _)| *address).collect();
        for peer in dead {
            tracing::error!(neighbor = %peer, "the task of the neighbor failed: {error}");
            self.running.remove(&peer);
            let retained = Vec::new();
            let event = Event::PeerDown { peer, retained };
            // An engine that has gone has forgotten all routes.
            let _ = self.engine.send(EngineInput::Event(event.into())).await;
        }
        self.start_configured();
    }

    /// Hands a connection to the neighbor it belongs to, or closes it.
    fn accepted(&mut self, accepted: Accepted) {
        let address = accepted.remote;
        let neighbor = self.config.neighbor_for(address);
        match neighbor.map(|neighbor| self.check_way(&accepted, neighbor)) {
            Some(Err(reason)) => {
                if let Some(running) = self.running.get(&address) {
                    running.status.refused(&reason);
                }
                self.refuse(address, &reason);
            }
            Some(Ok(())) | None => self.hand_over(accepted.stream, address),
        }
    }

    /// Checks that a connection came to the right place, and not from too far. Fails with the reason.
    fn check_way(&self, accepted: &Accepted, neighbor: &Neighbor) -> Result<(), String> {
        let place = &accepted.place;
        if !self.listeners.admits(&self.config, neighbor, place) {
            return Err(format!("the neighbor may not connect to {place}"));
        }
        socket::check_distance(&accepted.stream, neighbor.transport.distance)
    }

    /// Hands a connection that came to the right place to the neighbor it belongs to, or closes it.
    fn hand_over(&mut self, stream: TcpStream, address: IpAddr) {
        let Some(neighbor) = self.config.neighbor_for(address).cloned() else {
            return self.refuse(address, "no such neighbor is configured");
        };
        if let Some(wanted) = neighbor.local_address {
            let local = stream.local_addr().map(|local| local.ip().to_canonical());
            if local.ok() != Some(wanted) {
                return self.refuse(
                    address,
                    "the connection is not to the neighbor's local_address",
                );
            }
        }
        if !self.running.contains_key(&address) {
            let dynamic = self
                .running
                .values()
                .filter(|running| running.neighbor.is_dynamic());
            if neighbor.is_dynamic() && dynamic.count() >= MAX_DYNAMIC_NEIGHBORS {
                return self.refuse(address, "there are too many neighbors of prefixes");
            }
            self.spawn(address, neighbor);
        }
        let running = &self.running[&address];
        if running.commands.try_send(Command::Accept(stream)).is_err() {
            self.refuse(
                address,
                "the neighbor connects faster than it can be answered",
            );
        }
    }

    /// Counts and logs a connection that is being closed.
    fn refuse(&mut self, address: IpAddr, reason: &str) {
        self.strangers_refused += 1;
        if let Some(left_out) = self.stranger_log.admit(Instant::now()) {
            tracing::warn!(%address, left_out, "connection refused: {reason}");
        }
    }

    /// Takes over another configuration. Neighbors that are the same in both keep their sessions.
    async fn reload(&mut self, config: Config) -> Result<Effects, DaemonError> {
        self.listeners.update(&config)?;
        let effects = self.effects(&config);
        self.config = config;
        let judged = effects
            .iter()
            .filter(|(_, effect)| **effect == Effect::JudgedAnew);
        let judged: Vec<IpAddr> = judged.map(|(address, _)| *address).collect();
        self.change_policies(&judged).await;
        for (address, effect) in &effects {
            self.take_effect(*address, *effect).await;
        }
        self.start_configured();
        let remotes = self.config.neighbors.iter().map(|neighbor| neighbor.remote);
        let event = Event::NeighborsChanged(remotes.collect());
        // An engine that has gone waits for nobody.
        let _ = self.engine.send(EngineInput::Event(event.into())).await;
        Ok(effects)
    }

    /// What another configuration would mean for each neighbor for which it means anything, by address.
    fn effects(&self, config: &Config) -> Effects {
        let effect = |(address, running): (&IpAddr, &Running)| {
            let effect = match config.neighbor_for(*address) {
                Some(new) if *new == running.neighbor => return None,
                Some(new) if !new.keeps_session_of(&running.neighbor) => Effect::Restarts,
                Some(new) if new.import != running.neighbor.import => Effect::JudgedAnew,
                Some(_) => Effect::Described,
                None => Effect::Leaves,
            };
            Some((*address, effect))
        };
        let staying = self.running.iter().filter(|(_, running)| !running.leaving);
        let configured = config
            .neighbors
            .iter()
            .filter(|neighbor| !neighbor.is_dynamic());
        let joining = configured
            .map(|neighbor| neighbor.remote.ip())
            .filter(|address| !self.running.contains_key(address))
            .map(|address| (address, Effect::Joins));
        staying.filter_map(effect).chain(joining).collect()
    }

    /// Does to one neighbor what the configuration means for it.
    async fn take_effect(&mut self, address: IpAddr, effect: Effect) {
        match effect {
            Effect::Restarts => self.stop(address, CEASE_CONFIGURATION_CHANGE).await,
            Effect::Leaves => self.stop(address, CEASE_DECONFIGURED).await,
            Effect::JudgedAnew | Effect::Described => {
                let (Some(running), Some(new)) = (
                    self.running.get_mut(&address),
                    self.config.neighbor_for(address),
                ) else {
                    return;
                };
                running.neighbor.clone_from(new);
                running.status.describe(new.description.clone());
                if effect == Effect::JudgedAnew {
                    // An error means that the task is about to end.
                    let import = Command::Import(new.import.clone().into());
                    let _ = running.commands.send(import).await;
                }
            }
            // Like all that have no task yet.
            Effect::Joins => {}
        }
    }

    /// Has the routes of some neighbors judged anew, all at once. Their tasks are told besides, for sessions to come and
    /// for those whose beginning the engine has not been told of yet.
    async fn change_policies(&mut self, addresses: &[IpAddr]) {
        let policy = |address: &IpAddr| {
            let neighbor = self.config.neighbor_for(*address)?;
            Some((*address, neighbor.import.clone()))
        };
        let event = Event::PoliciesChanged {
            policies: addresses.iter().filter_map(policy).collect(),
            total: self.config.total,
        };
        // An engine that has gone has no routes to judge.
        let _ = self.engine.send(EngineInput::Event(event.into())).await;
    }

    /// Tells one neighbor's task to end, which it does in its own time.
    async fn stop(&mut self, address: IpAddr, subcode: u8) {
        let Some(running) = self.running.get_mut(&address) else {
            return;
        };
        running.leaving = true;
        let message = if subcode == CEASE_SHUTDOWN {
            "flowacl stops"
        } else {
            ""
        };
        // An error means that it has ended already.
        let _ = running
            .commands
            .send(Command::Stop { subcode, message })
            .await;
    }

    /// Ends all sessions and waits for them.
    async fn stop_all(&mut self) {
        self.listeners.close();
        let addresses: Vec<_> = self.running.keys().copied().collect();
        for address in addresses {
            self.stop(address, CEASE_SHUTDOWN).await;
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// Who is there.
    fn list(&self) -> Listing {
        let now = Instant::now();
        let drops = KernelDrops::read();
        let place = |address: IpAddr| {
            let neighbors = self.config.neighbors.iter();
            neighbors
                .clone()
                .position(|neighbor| neighbor.remote.ip() == address)
        };
        let mut neighbors: Vec<_> = self
            .running
            .values()
            .map(|running| {
                let mut status = running.status.report(now);
                if !status.is_established() && status.last_error.is_none() {
                    status.last_error = drops.explain(running.drops, &running.neighbor);
                }
                status
            })
            .collect();
        neighbors.sort_by_key(|neighbor| {
            let place = if neighbor.dynamic {
                None
            } else {
                place(neighbor.address)
            };
            (place.unwrap_or(usize::MAX), neighbor.address)
        });
        let dynamic = self
            .config
            .neighbors
            .iter()
            .filter(|neighbor| neighbor.is_dynamic());
        let dynamic = dynamic.map(|neighbor| DynamicStatus {
            prefix: neighbor.remote,
            remote_as: neighbor.remote_as,
            neighbors: self
                .running
                .values()
                .filter(|running| running.neighbor.remote == neighbor.remote)
                .count(),
        });
        let dynamic = dynamic.collect();
        Listing {
            neighbors,
            dynamic,
            strangers_refused: self.strangers_refused,
        }
    }
}

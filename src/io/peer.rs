//! One neighbor's task: drives its session, hands its routes to the engine, and logs what happens.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::connection::Target;
use super::driver::{Driver, Happening, at};
use super::engine_task::EngineInput;
use super::rate_limit::RateLimit;
use super::report::NeighborStatus;
use super::words::describe_down;
use crate::config::{Bgp, Neighbor};
use crate::engine::Event;
use crate::engine::policy::ImportPolicy;
use crate::engine::status::RouteCounts;
use crate::session::{
    DownReason, Input, Negotiated, RefreshMarker, RestartConfig, Retained, SessionConfig,
    SessionEvent, State,
};
use crate::wire::capability::Directions;
use crate::wire::error::Notification;
use crate::wire::iana::{AfiSafi, FlowFamily};
use crate::wire::update::Update;

/// Malformed UPDATEs of one neighbor that are logged in each period.
const MALFORMED_LINES: (u32, Duration) = (10, Duration::from_secs(10));

/// Failed attempts to connect that are logged in each period.
const TROUBLE_LINES: (u32, Duration) = (3, Duration::from_secs(60));

/// What the neighbor's task is told.
#[derive(Debug)]
pub(super) enum Command {
    /// The neighbor connected.
    Accept(TcpStream),
    /// Take other routes from now on; the session stays up.
    Import(Box<ImportPolicy>),
    /// End the session: it has brought too many routes. It may come up again later.
    Close {
        /// How much later.
        restart: Duration,
        /// The limit, in words.
        reason: String,
    },
    /// End the session with this Cease subcode (RFC 4486), and the task.
    Stop {
        /// Cease subcode.
        subcode: u8,
        /// Text for the neighbor's operator.
        message: &'static str,
    },
}

/// What is known of a neighbor at any time; shared between its task and whoever shows it.
#[derive(Clone, Debug)]
pub(super) struct SharedStatus(Arc<Mutex<Live>>);

/// A status, but for what changes by itself.
#[derive(Debug)]
struct Live {
    status: NeighborStatus,
    up_since: Option<Instant>,
}

impl SharedStatus {
    /// The status of a neighbor whose session has not started.
    pub(super) fn new(address: IpAddr, neighbor: &Neighbor) -> Self {
        let status = initial_status(address, neighbor);
        Self(Arc::new(Mutex::new(Live {
            status,
            up_since: None,
        })))
    }

    /// The status as of `now`, without its routes: those the engine knows.
    pub(super) fn report(&self, now: Instant) -> NeighborStatus {
        let live = self.lock();
        let uptime = live
            .up_since
            .map(|since| now.saturating_duration_since(since).as_secs());
        NeighborStatus {
            uptime_secs: uptime,
            ..live.status.clone()
        }
    }

    /// Changes the operator's words.
    pub(super) fn describe(&self, description: Option<String>) {
        self.lock().status.description = description;
    }

    /// Notes that a connection of the neighbor was closed at once.
    pub(super) fn refused(&self, reason: &str) {
        self.lock().status.last_error = Some(format!("connection refused: {reason}"));
    }

    /// Exclusive access.
    fn lock(&self) -> std::sync::MutexGuard<'_, Live> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

/// A session that stays down for a while: it has brought too many routes.
struct Closed {
    until: Instant,
    reason: String,
}

/// One neighbor.
pub(super) struct Peer {
    address: IpAddr,
    neighbor: Neighbor,
    driver: Driver,
    engine: mpsc::Sender<EngineInput>,
    /// What the engine has not taken yet. While there is any, nothing more is read from the neighbor.
    pending: VecDeque<Event>,
    status: SharedStatus,
    /// Why the session stays down.
    closed: Option<Closed>,
    malformed_log: RateLimit,
    trouble_log: RateLimit,
}

/// The status of a neighbor whose session has not started.
fn initial_status(address: IpAddr, neighbor: &Neighbor) -> NeighborStatus {
    NeighborStatus {
        address,
        state: format!("{:?}", State::Idle),
        families: neighbor
            .afi_safis()
            .map(|family| family.to_string())
            .collect(),
        remote_as: neighbor.remote_as,
        description: neighbor.description.clone(),
        passive: neighbor.passive,
        dynamic: neighbor.is_dynamic(),
        router_id: None,
        hold_time_secs: None,
        uptime_secs: None,
        ups: 0,
        messages_received: 0,
        messages_sent: 0,
        malformed_updates: 0,
        capabilities: Vec::new(),
        restart_time_secs: None,
        stale_secs_left: None,
        shutdown_message: None,
        last_error: None,
        routes: RouteCounts::default(),
    }
}

/// What both sides of a session can do, by the names of the RFCs.
fn capabilities(negotiated: &Negotiated) -> Vec<String> {
    let restart = &negotiated.restart;
    let all = [
        (negotiated.four_octet_as, "four-octet-as"),
        (negotiated.extended_messages, "extended-messages"),
        (negotiated.route_refresh, "route-refresh"),
        (negotiated.enhanced_refresh, "enhanced-route-refresh"),
        (!negotiated.add_path.is_empty(), "add-path"),
        (!restart.families.is_empty(), "graceful-restart"),
        (restart.notification, "graceful-restart-notification"),
        (
            !restart.long_lived.is_empty(),
            "long-lived-graceful-restart",
        ),
    ];
    let in_use = all.into_iter().filter(|(in_use, _)| *in_use);
    in_use.map(|(_, name)| name.to_owned()).collect()
}

impl Peer {
    /// A neighbor whose session has not started. `restarting`: we have restarted, and kept its rules.
    pub(super) fn new(
        bgp: &Bgp,
        restarting: bool,
        address: IpAddr,
        neighbor: Neighbor,
        engine: mpsc::Sender<EngineInput>,
        status: SharedStatus,
    ) -> Self {
        let config = SessionConfig {
            local_as: bgp.local_as,
            router_id: bgp.router_id,
            remote_as: neighbor.remote_as,
            remote_address: address,
            unicast: neighbor.unicast.clone(),
            families: neighbor.families.clone(),
            add_path: neighbor.add_path.then_some(Directions::Receive),
            hold_time_secs: neighbor.hold_time_secs,
            passive: neighbor.passive,
            connect_retry: neighbor.connect_retry,
            announces: false,
            restart: RestartConfig {
                graceful: neighbor.graceful_restart,
                stale_max: neighbor.graceful_restart_max,
                long_lived_max: neighbor.long_lived_stale,
                hold: neighbor.hold_rules,
                restarting,
            },
            jitter_seed: rand::random(),
        };
        let target = Target {
            remote: (address, neighbor.port).into(),
            local: neighbor.local_address,
            transport: neighbor.transport.clone(),
        };
        Self {
            address,
            neighbor,
            driver: Driver::new(config, target),
            engine,
            pending: VecDeque::new(),
            status,
            closed: None,
            malformed_log: RateLimit::new(MALFORMED_LINES.0, MALFORMED_LINES.1),
            trouble_log: RateLimit::new(TROUBLE_LINES.0, TROUBLE_LINES.1),
        }
    }

    /// Runs until told to stop, or until nobody can tell any more. A neighbor of a prefix also ends by itself when
    /// its connection is gone. Returns the commands that it has not taken.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
    ) -> mpsc::Receiver<Command> {
        let engine = self.engine.clone();
        self.driver.input(Input::Start);
        let (subcode, message) = loop {
            self.publish();
            let may_read = self.pending.is_empty();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Accept(stream)) => self.driver.accept(stream),
                    Some(Command::Import(import)) => self.change_import(*import),
                    Some(Command::Close { restart, reason }) => self.close(restart, &reason),
                    Some(Command::Stop { subcode, message }) => break (subcode, message),
                    None => break (CEASE_SHUTDOWN, "flowacl ends"),
                },
                permit = engine.reserve(), if !may_read => match (permit, self.pending.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(EngineInput::Event(event.into())),
                    // The engine has gone, and the daemon with it.
                    _ => break (CEASE_SHUTDOWN, "flowacl ends"),
                },
                () = at(self.closed.as_ref().map(|closed| closed.until)) => {
                    self.closed = None;
                    self.driver.input(Input::Start);
                }
                happening = self.driver.next(may_read) => self.happened(happening),
            }
            if self.neighbor.is_dynamic() && self.has_gone(&commands) {
                break (CEASE_SHUTDOWN, "");
            }
        };
        self.driver.stop(subcode, message).await;
        let last: Vec<_> = self.driver.take_happenings().collect();
        for happening in last {
            self.happened(happening);
        }
        self.publish();
        for event in self.pending.drain(..) {
            // An engine that has gone has forgotten all routes.
            let _ = self.engine.send(EngineInput::Event(event.into())).await;
        }
        commands
    }

    /// True when a neighbor of a prefix has no connection any more and nothing is left to do for it.
    fn has_gone(&self, commands: &mpsc::Receiver<Command>) -> bool {
        self.driver.is_unconnected()
            && self.closed.is_none()
            && self.pending.is_empty()
            && commands.is_empty()
            && self.driver.session().statistics().accepted > 0
    }

    /// Closes the session and keeps it down for a while (RFC 4486 §4).
    fn close(&mut self, restart: Duration, reason: &str) {
        let reason = format!("closed for {} s: {reason}", restart.as_secs());
        self.trouble(&reason);
        self.closed = Some(Closed {
            until: Instant::now() + restart,
            reason,
        });
        self.driver.input(Input::Stop {
            subcode: CEASE_MAX_PREFIXES,
            message: String::new(),
        });
    }

    /// Tells the engine of another import policy.
    fn change_import(&mut self, policy: ImportPolicy) {
        if policy.max_routes > self.neighbor.import.max_routes {
            // Of routes far over the limit only the number is known: the neighbor is asked for them again.
            self.ask_for_routes();
        }
        self.neighbor.import = policy.clone();
        self.pending.push_back(Event::PolicyChanged {
            peer: self.address,
            policy,
        });
    }

    /// Asks the neighbor for all its routes again, if it can (RFC 2918).
    fn ask_for_routes(&mut self) {
        for family in self.neighbor.families.clone() {
            self.driver.input(Input::RequestRefresh(family));
        }
    }

    /// Deals with one thing that happened.
    fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Up(negotiated) => self.up(&negotiated),
            Happening::Update(update) => self.update(*update),
            Happening::Down(reason, retained) => self.down(&reason, retained),
            Happening::Refresh(family, marker) => self.refresh(family, marker),
            Happening::Event(event) => self.event(event),
            Happening::Transport(reason) => {
                self.trouble(&reason);
            }
        }
    }

    /// The session is up.
    fn up(&mut self, negotiated: &Negotiated) {
        self.status.lock().up_since = Some(Instant::now());
        let families: Vec<_> = negotiated
            .afi_safis()
            .map(|family| family.to_string())
            .collect();
        tracing::info!(
            neighbor = %self.address,
            router_id = %negotiated.remote_open.router_id,
            families = families.join(","),
            hold_time_secs = negotiated.hold_time_secs,
            "session up"
        );
        self.with_status(|status| {
            status.families = families;
            status.router_id = Some(negotiated.remote_open.router_id);
            status.hold_time_secs = Some(negotiated.hold_time_secs);
            status.capabilities = capabilities(negotiated);
            let is_graceful = !negotiated.restart.families.is_empty();
            status.restart_time_secs = is_graceful.then_some(negotiated.restart.time.as_secs());
            status.last_error = None;
        });
        self.pending.push_back(Event::PeerUp {
            peer: self.address,
            router_id: negotiated.remote_open.router_id,
            ibgp: negotiated.ibgp,
            families: negotiated.families.clone(),
            policy: self.neighbor.import.clone(),
            restart: negotiated.restart.clone(),
        });
    }

    /// An UPDATE arrived.
    fn update(&mut self, update: Update) {
        if !update.errors.is_empty() {
            self.with_status(|status| status.malformed_updates += 1);
        }
        for error in &update.errors {
            if let Some(left_out) = self.malformed_log.admit(Instant::now()) {
                tracing::warn!(
                    neighbor = %self.address,
                    offset = error.offset,
                    consequence = error.consequence.name(),
                    withdrawn = update.withdrawn.len(),
                    left_out,
                    "malformed UPDATE: {}",
                    error.reason
                );
            }
        }
        self.pending.push_back(Event::Update {
            peer: self.address,
            update,
        });
    }

    /// The session, which was up, is down.
    fn down(&mut self, reason: &DownReason, retained: Vec<Retained>) {
        if let DownReason::Received(notification) = reason {
            self.note_shutdown(notification);
        }
        let reason = match &self.closed {
            Some(closed) => closed.reason.clone(),
            None => describe_down(reason),
        };
        let up_since = self.status.lock().up_since.take();
        let up_secs = up_since.map(|since| since.elapsed().as_secs());
        let retained_secs = retained
            .iter()
            .map(|retained| (retained.time + retained.long_lived).as_secs());
        let retained_secs = retained_secs.max();
        tracing::warn!(neighbor = %self.address, up_secs, retained_secs, "session down: {reason}");
        let offered = self
            .neighbor
            .afi_safis()
            .map(|family| family.to_string())
            .collect();
        self.with_status(|status| {
            status.families = offered;
            status.router_id = None;
            status.hold_time_secs = None;
            status.capabilities.clear();
            status.restart_time_secs = None;
            status.last_error = Some(reason);
        });
        self.pending.push_back(Event::PeerDown {
            peer: self.address,
            retained,
        });
    }

    /// The neighbor begins or ends to send its routes again.
    fn refresh(&mut self, family: AfiSafi, marker: RefreshMarker) {
        tracing::debug!(neighbor = %self.address, %family, ?marker, "route refresh");
        if let Some(family) = FlowFamily::from_afi_safi(family) {
            self.pending.push_back(Event::Refresh {
                peer: self.address,
                family,
                marker,
                at_most: self.neighbor.graceful_restart_max,
            });
        }
    }

    /// Remembers what the neighbor's operator wrote.
    fn note_shutdown(&self, notification: &Notification) {
        let message = notification.shutdown_communication();
        self.with_status(|status| status.shutdown_message = message);
    }

    /// Something for the log.
    fn event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::State(from, to) => {
                tracing::debug!(neighbor = %self.address, ?from, ?to, "state");
            }
            SessionEvent::Rejected(_, reason) => self.trouble(&reason),
            SessionEvent::NotificationReceived(notification) => {
                self.note_shutdown(&notification);
                self.trouble(&format!("the neighbor sent NOTIFICATION {notification}"));
            }
            SessionEvent::Malformed(error) => {
                tracing::warn!(
                    neighbor = %self.address,
                    offset = error.offset,
                    consequence = error.consequence.name(),
                    "malformed message: {}",
                    error.reason
                );
                self.with_status(|status| status.last_error = Some(error.to_string()));
            }
            SessionEvent::Collision(_) => {
                tracing::info!(neighbor = %self.address, "closed a second connection (RFC 4271 section 6.8)");
            }
            SessionEvent::RefreshRequested(family) => {
                tracing::debug!(neighbor = %self.address, %family, "route refresh: nothing to send");
            }
            // Only a controller sends routes, and `announce` says itself what did not go out.
            SessionEvent::NotSent(_) => {}
        }
    }

    /// Something keeps the session from coming up, or brings it down.
    fn trouble(&mut self, reason: &str) {
        if let Some(left_out) = self.trouble_log.admit(Instant::now()) {
            tracing::warn!(neighbor = %self.address, left_out, "{reason}");
        }
        self.with_status(|status| status.last_error = Some(reason.to_owned()));
    }

    /// Makes the session's figures visible.
    fn publish(&self) {
        let session = self.driver.session();
        let statistics = session.statistics();
        self.with_status(|status| {
            status.state = format!("{:?}", session.state());
            status.ups = statistics.ups;
            status.messages_received = statistics.received.total();
            status.messages_sent = statistics.sent.total();
        });
    }

    /// Changes what is shown.
    fn with_status(&self, change: impl FnOnce(&mut NeighborStatus)) {
        change(&mut self.status.lock().status);
    }
}

/// Cease subcode for a neighbor with too many routes (RFC 4486).
const CEASE_MAX_PREFIXES: u8 = 1;
/// Cease subcode of an administrative shutdown (RFC 4486).
pub(super) const CEASE_SHUTDOWN: u8 = 2;
/// Cease subcode for a neighbor that is no longer configured (RFC 4486).
pub(super) const CEASE_DECONFIGURED: u8 = 3;
/// Cease subcode for a neighbor whose configuration changed (RFC 4486).
pub(super) const CEASE_CONFIGURATION_CHANGE: u8 = 6;

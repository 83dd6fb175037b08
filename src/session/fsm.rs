//! The session: what each input does in each state.
//!
//! Where it departs from the letter of RFC 4271 §8.2.2: a dial that fails leads to Active, not
//! Idle, so that the neighbor can still connect; only protocol errors lead through Idle with its
//! back-off; and in OpenConfirm without a hold time the large one keeps running, so that no state
//! can last forever.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::connection::{Connection, Direction, Phase};
use super::statistics::MessageCounts;
use super::timers::{self, BackOff, Jitter, is_due};
use super::{
    ConnectionId, DownReason, Effect, Input, Negotiated, SessionConfig, SessionEvent, State,
    Statistics, negotiate, notification, restart,
};
use crate::wire::error::Notification;
use crate::wire::iana::{AfiSafi, FlowFamily};
use crate::wire::message::Message;
use crate::wire::update::Update;

/// Shortest time between dials, whatever is configured.
const SHORTEST_CONNECT_RETRY: Duration = Duration::from_secs(1);

/// What a lost connection says about the neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing: it went away, or there was one too many. Both sides may connect again at once.
    Harmless,
    /// It broke the protocol, or says that we did: wait in Idle before the next try.
    ProtocolError,
}

/// The state machine for one neighbor.
#[derive(Debug)]
pub struct Session {
    /// What the operator wants.
    pub(super) config: SessionConfig,
    /// `Start` came after the last `Stop`.
    started: bool,
    /// At most one of each direction; an established one is alone.
    pub(super) connections: Vec<Connection>,
    /// The dial that has not been answered.
    dialing: Option<ConnectionId>,
    /// ConnectRetryTimer.
    connect_retry: Option<Instant>,
    /// IdleHoldTimer: runs only in Idle.
    idle_hold: Option<Instant>,
    /// How long the next stay in Idle will be.
    back_off: BackOff,
    /// For all timers.
    jitter: Jitter,
    /// Number of the next connection.
    pub(super) next_connection: u64,
    /// State last told to the driver.
    reported: State,
    /// Not yet taken by the driver.
    effects: VecDeque<Effect>,
    /// Counters.
    pub(super) statistics: Statistics,
}

impl Session {
    /// A session in Idle, waiting for [`Input::Start`].
    pub fn new(config: SessionConfig) -> Self {
        Self {
            jitter: Jitter::new(config.jitter_seed),
            config,
            started: false,
            connections: Vec::new(),
            dialing: None,
            connect_retry: None,
            idle_hold: None,
            back_off: BackOff::default(),
            next_connection: 0,
            reported: State::Idle,
            effects: VecDeque::new(),
            statistics: Statistics::default(),
        }
    }

    /// A number that no connection of this session has had: for [`Input::Accepted`].
    pub fn new_connection_id(&mut self) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection = self.next_connection.wrapping_add(1);
        id
    }

    /// Does what `input` asks for. The effects wait in [`Session::poll_effect`]; inputs about
    /// connections that are closed or were never there do nothing.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Start => self.start(now),
            Input::Stop { subcode, message } => self.stop(subcode, &message),
            Input::Connected(id) => self.connected(now, id),
            Input::ConnectFailed(id) => self.connect_failed(now, id),
            Input::Accepted(id) => self.accepted(now, id),
            Input::Received(id, octets) => self.received(now, id, &octets),
            Input::Closed(id) => self.closed(now, id),
            Input::Stalled(id) => self.send_hold_timer_expired(now, id),
            Input::HeldBack => self.held_back(now),
            Input::Tick => self.tick(now),
            Input::SendUpdate(update) => self.send_update(now, &update),
            Input::RequestRefresh(family) => self.request_refresh(now, family),
        }
        self.report_state();
    }

    /// The next thing to do, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to come back with [`Input::Tick`]; `None`: no timer is running.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.connections
            .iter()
            .flat_map(|connection| [connection.hold, connection.keepalive])
            .chain([self.connect_retry, self.idle_hold])
            .flatten()
            .min()
    }

    /// The state of the connection that got furthest.
    pub fn state(&self) -> State {
        let without_connection = if !self.started || self.idle_hold.is_some() {
            State::Idle
        } else if self.dialing.is_some() {
            State::Connect
        } else {
            State::Active
        };
        self.connections
            .iter()
            .map(Connection::state)
            .max()
            .unwrap_or(without_connection)
    }

    /// What both sides agreed on, while the session is up.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.established().and_then(Connection::negotiated)
    }

    /// Counters since the session was made.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Begins, or ends the back-off early.
    fn start(&mut self, now: Instant) {
        if self.state() == State::Idle {
            self.started = true;
            self.idle_hold = None;
            self.back_off.reset();
            self.try_to_connect(now);
        }
    }

    /// Closes everything and stays in Idle.
    fn stop(&mut self, subcode: u8, message: &str) {
        self.started = false;
        self.idle_hold = None;
        self.connect_retry = None;
        self.cancel_dial();
        for connection in std::mem::take(&mut self.connections) {
            let cease = notification::cease(subcode, message);
            let cease = match &connection.phase {
                Phase::Established { negotiated, .. }
                    if negotiated.restart.notification
                        && notification::is_hard_subcode(subcode) =>
                {
                    notification::hard_reset(cease)
                }
                Phase::OpenSent | Phase::OpenConfirm(_) | Phase::Established { .. } => cease,
            };
            self.notify_and_close(connection.id, cease.clone());
            self.down_if_up(&connection, DownReason::Stopped(cease));
        }
    }

    /// Leaves Idle.
    fn try_to_connect(&mut self, now: Instant) {
        if !self.config.passive {
            self.dial(now);
        }
    }

    /// Asks the driver to dial and bounds the wait for it.
    fn dial(&mut self, now: Instant) {
        let id = self.new_connection_id();
        self.dialing = Some(id);
        self.statistics.dialed = self.statistics.dialed.saturating_add(1);
        self.effect(Effect::Connect(id));
        self.restart_connect_retry(now);
    }

    /// Gives up a dial that was not answered.
    fn cancel_dial(&mut self) {
        if let Some(id) = self.dialing.take() {
            self.effect(Effect::CancelConnect(id));
        }
    }

    /// Time between dials.
    fn connect_retry_time(&self) -> Duration {
        self.config.connect_retry.max(SHORTEST_CONNECT_RETRY)
    }

    /// Starts ConnectRetryTimer.
    fn restart_connect_retry(&mut self, now: Instant) {
        let wait = self.jitter.apply(self.connect_retry_time());
        self.connect_retry = timers::after(now, wait);
    }

    /// A dial succeeded.
    fn connected(&mut self, now: Instant, id: ConnectionId) {
        if self.dialing == Some(id) {
            self.dialing = None;
            self.connect_retry = None;
            self.open(now, Connection::new(id, Direction::Dialed, now));
        } else if self.connection_mut(id).is_none() {
            // It was cancelled while the answer was on its way.
            self.effect(Effect::Close(id));
        }
    }

    /// A dial failed.
    fn connect_failed(&mut self, now: Instant, id: ConnectionId) {
        if self.dialing == Some(id) {
            self.dialing = None;
            self.connect_retry = None;
            self.lost(now, Loss::Harmless, None);
        }
    }

    /// The neighbor connected.
    fn accepted(&mut self, now: Instant, id: ConnectionId) {
        if self.dialing == Some(id) || self.connection_mut(id).is_some() {
            return;
        }
        self.statistics.accepted = self.statistics.accepted.saturating_add(1);
        if self.state() == State::Idle {
            self.notify_and_close(id, notification::connection_rejected());
            self.event(SessionEvent::Rejected(
                id,
                "no connection is wanted now".to_owned(),
            ));
        } else if self.established().is_some() && !self.may_have_restarted() {
            self.notify_and_close(id, notification::collision());
            self.event(SessionEvent::Collision(id));
        } else {
            // The neighbor dials one at a time, so it has given up the one before. One that is
            // established stays until the new one is: the neighbor may have restarted, or a
            // stranger knocks.
            let former = self.connections.iter().find(|other| {
                other.direction == Direction::Accepted && other.state() != State::Established
            });
            if let Some(former) = former.map(|former| former.id) {
                self.lose_collision(former);
            }
            if self.dialing.is_none() {
                self.connect_retry = None;
            }
            self.open(now, Connection::new(id, Direction::Accepted, now));
        }
    }

    /// A connection is gone.
    fn closed(&mut self, now: Instant, id: ConnectionId) {
        self.connect_failed(now, id);
        let Some(connection) = self.remove(id) else {
            return;
        };
        let up_for = connection.up_for(now);
        if !self.down_if_up(&connection, DownReason::ConnectionLost) {
            self.event(SessionEvent::Rejected(
                id,
                "connection lost before the session was up".to_owned(),
            ));
        }
        self.lost(now, Loss::Harmless, up_for);
    }

    /// Handles every timer that has expired.
    fn tick(&mut self, now: Instant) {
        if is_due(self.idle_hold, now) {
            self.idle_hold = None;
            self.try_to_connect(now);
        }
        if is_due(self.connect_retry, now) {
            self.connect_retry = None;
            self.cancel_dial();
            if self.connections.is_empty() {
                self.dial(now);
            }
        }
        let ids: Vec<ConnectionId> = self
            .connections
            .iter()
            .map(|connection| connection.id)
            .collect();
        for id in ids {
            let Some(connection) = self.connection_mut(id) else {
                continue;
            };
            if is_due(connection.hold, now) {
                self.hold_timer_expired(now, id);
            } else if is_due(connection.keepalive, now) {
                self.send(now, id, &Message::Keepalive);
            }
        }
    }

    /// The neighbor was silent for too long.
    fn hold_timer_expired(&mut self, now: Instant, id: ConnectionId) {
        let (notification, reason) = (
            notification::hold_timer_expired(),
            DownReason::HoldTimerExpired,
        );
        self.timer_expired(now, id, notification, reason, "hold timer expired");
    }

    /// The neighbor took nothing for too long.
    fn send_hold_timer_expired(&mut self, now: Instant, id: ConnectionId) {
        let (notification, reason) = (
            notification::send_hold_timer_expired(),
            DownReason::SendHoldTimerExpired,
        );
        let what = "send hold timer expired (RFC 9687)";
        self.timer_expired(now, id, notification, reason, what);
    }

    /// Closes a connection on which the neighbor did nothing for too long.
    fn timer_expired(
        &mut self,
        now: Instant,
        id: ConnectionId,
        notification: Notification,
        reason: DownReason,
        what: &str,
    ) {
        let Some(connection) = self.remove(id) else {
            return;
        };
        self.notify_and_close(id, notification);
        let up_for = connection.up_for(now);
        if !self.down_if_up(&connection, reason) {
            let reason = format!("{what} in {:?}", connection.state());
            self.event(SessionEvent::Rejected(id, reason));
        }
        self.lost(now, Loss::Harmless, up_for);
    }

    /// The neighbor would be heard if anybody listened.
    fn held_back(&mut self, now: Instant) {
        let established = |connection: &&mut Connection| connection.state() == State::Established;
        if let Some(connection) = self.connections.iter_mut().find(established) {
            connection.restart_hold(now);
        }
    }

    /// Sends an UPDATE of the driver's.
    fn send_update(&mut self, now: Instant, update: &Update) {
        let Some(negotiated) = self.negotiated() else {
            return;
        };
        let id = negotiated.connection;
        let (messages, left_out) =
            update.encode(&negotiated.encode_context(), negotiated.max_sent_length());
        if !left_out.is_empty() {
            self.event(SessionEvent::NotSent(left_out));
        }
        for octets in messages {
            count(&mut self.statistics.sent.update);
            self.effect(Effect::Send(id, octets));
        }
        self.restart_keepalive(now, id);
    }

    /// Sends ROUTE-REFRESH.
    fn request_refresh(&mut self, now: Instant, family: FlowFamily) {
        let Some(negotiated) = self.negotiated() else {
            return;
        };
        if negotiated.route_refresh && negotiated.families.contains(&family) {
            let id = negotiated.connection;
            self.send(
                now,
                id,
                &Message::RouteRefresh {
                    family: family.afi_safi(),
                    subtype: 0,
                },
            );
        }
    }

    /// Takes up a connection: OPEN goes out first.
    fn open(&mut self, now: Instant, connection: Connection) {
        let id = connection.id;
        self.connections.push(connection);
        let open = negotiate::local_open(&self.config, self.statistics.ups > 0);
        self.send(now, id, &Message::Open(open));
    }

    /// The session is up on this connection; any other one has lost.
    pub(super) fn establish(&mut self, now: Instant, id: ConnectionId) {
        self.connect_retry = None;
        self.cancel_dial();
        let others: Vec<ConnectionId> = self
            .connections
            .iter()
            .map(|other| other.id)
            .filter(|other| *other != id)
            .collect();
        for other in others {
            self.give_way(other);
        }
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let Some(negotiated) = connection.negotiated().cloned() else {
            return;
        };
        connection.phase = Phase::Established {
            negotiated: negotiated.clone(),
            since: now,
        };
        connection.restart_hold(now);
        self.statistics.ups = self.statistics.ups.saturating_add(1);
        let families: Vec<AfiSafi> = negotiated.afi_safis().collect();
        self.effect(Effect::Up(negotiated));
        self.report_state();
        if !self.config.announces {
            for family in families {
                let end_of_rib = Some(family);
                self.send_update(
                    now,
                    &Update {
                        end_of_rib,
                        ..Update::default()
                    },
                );
            }
        }
    }

    /// Closes a connection in favor of one that is up. One that was up itself is dead: nobody there
    /// would read a NOTIFICATION (RFC 4724 §5).
    fn give_way(&mut self, id: ConnectionId) {
        let is_established = self.established().is_some_and(|other| other.id == id);
        if !is_established {
            self.lose_collision(id);
        } else if let Some(connection) = self.remove(id) {
            self.effect(Effect::Close(id));
            self.down_if_up(&connection, DownReason::Replaced);
        }
    }

    /// Closes the connection that lost a collision (RFC 4271 §6.8).
    pub(super) fn lose_collision(&mut self, id: ConnectionId) {
        if self.remove(id).is_some() {
            self.notify_and_close(id, notification::collision());
            self.event(SessionEvent::Collision(id));
        }
    }

    /// Closes a connection for what the neighbor did on it.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        id: ConnectionId,
        notification: Notification,
        reason: String,
    ) {
        let Some(connection) = self.remove(id) else {
            return;
        };
        self.notify_and_close(id, notification.clone());
        let up_for = connection.up_for(now);
        if !self.down_if_up(&connection, DownReason::Sent(notification, reason.clone())) {
            self.event(SessionEvent::Rejected(id, reason));
        }
        self.lost(now, Loss::ProtocolError, up_for);
    }

    /// The neighbor closes a connection with a NOTIFICATION: it gets no answer.
    pub(super) fn notified(&mut self, now: Instant, id: ConnectionId, notification: Notification) {
        let Some(connection) = self.remove(id) else {
            return;
        };
        self.effect(Effect::Close(id));
        let loss = match notification.code {
            notification::CEASE | notification::HOLD_TIMER_EXPIRED => Loss::Harmless,
            _ => Loss::ProtocolError,
        };
        let up_for = connection.up_for(now);
        if !self.down_if_up(&connection, DownReason::Received(notification.clone())) {
            self.event(SessionEvent::NotificationReceived(notification));
        }
        self.lost(now, loss, up_for);
    }

    /// Decides what comes after a lost connection or dial, if it was the last.
    fn lost(&mut self, now: Instant, loss: Loss, up_for: Option<Duration>) {
        if let Some(up_for) = up_for {
            self.back_off.session_ended(up_for);
        }
        if !self.connections.is_empty() || self.dialing.is_some() {
            return;
        }
        match loss {
            Loss::ProtocolError => {
                let wait = self.back_off.next();
                self.connect_retry = None;
                self.idle_hold = Some(timers::after(now, self.jitter.apply(wait)).unwrap_or(now));
            }
            Loss::Harmless if self.config.passive => {}
            // A session that lasted is dialed again at once, one that flaps is not.
            Loss::Harmless if up_for.is_some_and(|up_for| up_for >= self.connect_retry_time()) => {
                self.dial(now);
            }
            Loss::Harmless => self.restart_connect_retry(now),
        }
    }

    /// Tells the driver that the session is down, if it was up on this connection, which is gone.
    fn down_if_up(&mut self, connection: &Connection, reason: DownReason) -> bool {
        let Phase::Established { negotiated, .. } = &connection.phase else {
            return false;
        };
        self.statistics.downs = self.statistics.downs.saturating_add(1);
        let retained = restart::retained(&self.config.restart, negotiated, &reason);
        self.effect(Effect::Down(reason, retained));
        true
    }

    /// True when another connection of the neighbor may mean that it has restarted, and the one that
    /// is established is dead (RFC 4724 §5).
    fn may_have_restarted(&self) -> bool {
        let negotiated = self.negotiated();
        negotiated.is_some_and(|negotiated| !negotiated.restart.families.is_empty())
    }

    /// Sends a message and starts KeepaliveTimer again.
    pub(super) fn send(&mut self, now: Instant, id: ConnectionId, message: &Message) {
        count_message(&mut self.statistics.sent, message);
        self.effect(Effect::Send(id, message.encode()));
        self.restart_keepalive(now, id);
    }

    /// Starts KeepaliveTimer of a connection again.
    fn restart_keepalive(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self
            .connections
            .iter_mut()
            .find(|connection| connection.id == id)
        {
            connection.restart_keepalive(now, &mut self.jitter);
        }
    }

    /// Sends NOTIFICATION and closes.
    fn notify_and_close(&mut self, id: ConnectionId, notification: Notification) {
        let message = Message::Notification(notification);
        count_message(&mut self.statistics.sent, &message);
        self.effect(Effect::Send(id, message.encode()));
        self.effect(Effect::Close(id));
    }

    /// Forgets a connection.
    fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let index = self
            .connections
            .iter()
            .position(|connection| connection.id == id)?;
        Some(self.connections.remove(index))
    }

    /// The connection with this number.
    pub(super) fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections
            .iter_mut()
            .find(|connection| connection.id == id)
    }

    /// The connection that is established.
    fn established(&self) -> Option<&Connection> {
        self.connections
            .iter()
            .find(|connection| connection.state() == State::Established)
    }

    /// Tells the driver when the state is another one than it knows of.
    pub(super) fn report_state(&mut self) {
        let state = self.state();
        if state != self.reported {
            self.event(SessionEvent::State(self.reported, state));
            self.reported = state;
        }
    }

    /// Queues something worth a log line.
    pub(super) fn event(&mut self, event: SessionEvent) {
        self.effect(Effect::Event(event));
    }

    /// Queues an effect.
    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }
}

/// Counts one.
fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// Counts a message by its type.
pub(super) fn count_message(counts: &mut MessageCounts, message: &Message) {
    count(match message {
        Message::Open(_) => &mut counts.open,
        Message::Update(_) => &mut counts.update,
        Message::Notification(_) => &mut counts.notification,
        Message::Keepalive => &mut counts.keepalive,
        Message::RouteRefresh { .. } => &mut counts.route_refresh,
    });
}

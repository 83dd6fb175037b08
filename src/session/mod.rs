//! The BGP finite state machine (RFC 4271 §8), sans-IO: one [`Session`] per neighbor.
//!
//! The driver feeds [`Input`]s with the current time, carries out every [`Effect`] that [`Session::poll_effect`] gives, and
//! calls [`Session::handle`] with [`Input::Tick`] when [`Session::next_deadline`] has passed. Total: no input in any
//! state panics or fails. May not know of FlowSpec's meaning, sockets or clocks.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::wire::error::{Notification, WireError};
use crate::wire::iana::{AfiSafi, FlowFamily};
use crate::wire::open::Open;
use crate::wire::update::Update;

/// What is configured for one neighbor, as far as the state machine cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Our AS.
    pub local_as: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// The AS the neighbor must have.
    pub remote_as: u32,
    /// The neighbor's address: log lines and nothing else.
    pub remote_address: IpAddr,
    /// Families to offer.
    pub families: Vec<FlowFamily>,
    /// Hold time to propose: 0 or at least 3 seconds.
    pub hold_time_secs: u16,
    /// True: wait for the neighbor to connect. False: dial as well.
    pub passive: bool,
    /// Time between connection attempts; each is jittered by the driver's seed.
    pub connect_retry: Duration,
    /// Seed of the jitter (RFC 4271 §10): the state machine itself is deterministic.
    pub jitter_seed: u64,
}

/// One TCP connection of the neighbor. The driver chooses numbers and never uses one twice for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happens to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin: event 1 or 4 of RFC 4271 §8.1.
    Start,
    /// Administrative stop; sends Cease with this subcode (RFC 4486) and message (RFC 9003).
    Stop {
        /// Cease subcode, 2 for administrative shutdown.
        subcode: u8,
        /// Text for the neighbor's operator, up to 255 octets.
        message: String,
    },
    /// The connection asked for by [`Effect::Connect`] is there.
    Connected(ConnectionId),
    /// The connection asked for by [`Effect::Connect`] did not come about.
    ConnectFailed(ConnectionId),
    /// The neighbor connected to us.
    Accepted(ConnectionId),
    /// Octets arrived, in any portions.
    Received(ConnectionId, Vec<u8>),
    /// The connection is gone: closed by the neighbor or broken.
    Closed(ConnectionId),
    /// Time has passed.
    Tick,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Dial the neighbor and answer with `Connected` or `ConnectFailed`.
    Connect(ConnectionId),
    /// Give up dialing.
    CancelConnect(ConnectionId),
    /// Send these octets: one or more whole messages.
    Send(ConnectionId, Vec<u8>),
    /// Close after all that was sent before has gone out.
    Close(ConnectionId),
    /// The session is up.
    Up(Negotiated),
    /// An UPDATE arrived; its recoverable errors stand in it.
    Update(Update),
    /// The session, which was up, is down. Comes before any later `Up`.
    Down(DownReason),
    /// Something for the log and the counters.
    Event(SessionEvent),
}

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The connection in use.
    pub connection: ConnectionId,
    /// The neighbor's OPEN.
    pub remote_open: Open,
    /// FlowSpec families that both offered.
    pub families: Vec<FlowFamily>,
    /// Seconds; 0: no keepalives.
    pub hold_time_secs: u16,
    /// Both sides use four-octet AS numbers.
    pub four_octet_as: bool,
    /// Both sides take messages up to 65,535 octets.
    pub extended_messages: bool,
    /// The neighbor takes ROUTE-REFRESH.
    pub route_refresh: bool,
    /// The neighbor is in our AS.
    pub ibgp: bool,
}

/// Why a session went down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// We sent this NOTIFICATION.
    Sent(Notification, String),
    /// The neighbor sent this NOTIFICATION.
    Received(Notification),
    /// Nothing arrived within the hold time.
    HoldTimerExpired,
    /// The connection closed without a NOTIFICATION.
    ConnectionLost,
    /// We were told to stop.
    Stopped,
}

/// Things worth a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The state changed.
    State(State, State),
    /// A connection was closed before the session was up, and why.
    Rejected(ConnectionId, String),
    /// The neighbor sent a NOTIFICATION before the session was up.
    NotificationReceived(Notification),
    /// A malformed message that resets the session.
    Malformed(WireError),
    /// A second connection was resolved (RFC 4271 §6.8): the connection that was closed.
    Collision(ConnectionId),
    /// The neighbor asked for our routes of a family: we have none to send.
    RefreshRequested(AfiSafi),
}

/// States of RFC 4271 §8.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Refuses connections.
    Idle,
    /// Waits for the connection it dials.
    Connect,
    /// Waits for the neighbor to connect, or for the next attempt.
    Active,
    /// Waits for the neighbor's OPEN.
    OpenSent,
    /// Waits for KEEPALIVE.
    OpenConfirm,
    /// Exchanges routes.
    Established,
}

// To be provided in this folder (fsm.rs, timers.rs, negotiate.rs ...):
//   pub struct Session;
//   impl Session {
//     pub fn new(config: SessionConfig) -> Self;
//     pub fn handle(&mut self, now: Instant, input: Input);       // total
//     pub fn poll_effect(&mut self) -> Option<Effect>;
//     pub fn next_deadline(&self) -> Option<Instant>;
//     pub fn state(&self) -> State;
//     pub fn negotiated(&self) -> Option<&Negotiated>;
//     pub fn statistics(&self) -> &Statistics;                    // messages in/out by type
//   }

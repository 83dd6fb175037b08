//! The BGP finite state machine (RFC 4271 §8), sans-IO: one [`Session`] per neighbor.
//!
//! The driver feeds [`Input`]s with the current time, carries out every [`Effect`] that
//! [`Session::poll_effect`] gives, and calls [`Session::handle`] with [`Input::Tick`] when
//! [`Session::next_deadline`] has passed. Total: no input in any state panics or fails. May not
//! know of FlowSpec's meaning, sockets or clocks.
//!
//! A session holds up to two connections, one dialed and one accepted, until RFC 4271 §6.8 leaves
//! one. The state of the session is that of the connection that got furthest.
//!
//! Left to the driver: the time for which writes may stall ([`Input::Stalled`]), and a time limit for the octets that are still to go out after
//! [`Effect::Close`].

mod connection;
mod fsm;
mod negotiate;
mod notification;
mod receive;
mod restart;
mod statistics;
mod timers;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub use fsm::Session;
pub use restart::{Cause, NegotiatedLongLived, NegotiatedRestart, RestartConfig, Retained};
pub use statistics::{MessageCounts, Statistics};

use crate::wire::capability::Directions;
use crate::wire::error::{Notification, WireError};
use crate::wire::iana::{AfiSafi, FlowFamily, UnicastFamily};
use crate::wire::message::{MAX_EXTENDED_MESSAGE_LENGTH, MAX_MESSAGE_LENGTH};
use crate::wire::nlri::Nlri;
use crate::wire::open::Open;
use crate::wire::path::PathOf;
use crate::wire::update::{DecodeContext, Update};

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
    /// FlowSpec families to offer.
    pub families: Vec<FlowFamily>,
    /// Unicast families to offer besides.
    pub unicast: Vec<UnicastFamily>,
    /// Offer several paths for one NLRI (RFC 7911) in all of these families.
    pub add_path: Option<Directions>,
    /// Hold time to propose: 0 or at least 3 seconds.
    pub hold_time_secs: u16,
    /// True: wait for the neighbor to connect. False: dial as well.
    pub passive: bool,
    /// Time between connection attempts; each is jittered by `jitter_seed`.
    pub connect_retry: Duration,
    /// True: the driver sends routes with [`Input::SendUpdate`], and End-of-RIB after the first of
    /// them. False: there are none, so the session sends End-of-RIB of every family (RFC 4724 §2)
    /// as soon as it is up.
    pub announces: bool,
    /// What becomes of routes without their session.
    pub restart: RestartConfig,
    /// Seed of the jitter (RFC 4271 §10): the state machine itself is deterministic.
    pub jitter_seed: u64,
}

/// One TCP connection of the neighbor. [`Session::new_connection_id`] gives the driver a number for
/// each that it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happens to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin: events 1 and 4 of RFC 4271 §8.1. Cuts the back-off short; ignored when the session is
    /// under way.
    Start,
    /// Administrative stop; sends Cease with this subcode (RFC 4486) and message (RFC 9003).
    Stop {
        /// Cease subcode, 2 for administrative shutdown.
        subcode: u8,
        /// Text for the neighbor's operator: sent with subcodes 2 and 4, cut at 255 octets.
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
    /// The neighbor takes nothing that is sent, and SendHoldTimer has expired (RFC 9687).
    Stalled(ConnectionId),
    /// Octets of the neighbor have arrived, and the driver holds them back for want of room: the neighbor is alive.
    /// Restarts the hold timer of a session that is up.
    HeldBack,
    /// Time has passed.
    Tick,
    /// Send this UPDATE. Ignored unless the session is up.
    SendUpdate(Box<Update>),
    /// Ask the neighbor for its routes of a family again (RFC 2918). Ignored unless the session is
    /// up, the family is in use and the neighbor can.
    RequestRefresh(FlowFamily),
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Dial the neighbor and answer with [`Input::Connected`] or [`Input::ConnectFailed`].
    Connect(ConnectionId),
    /// Give up dialing; no answer is needed.
    CancelConnect(ConnectionId),
    /// Send these octets: one or more whole messages.
    Send(ConnectionId, Vec<u8>),
    /// Close after all that was sent before has gone out; no answer is needed.
    Close(ConnectionId),
    /// The session is up.
    Up(Negotiated),
    /// An UPDATE arrived; its recoverable errors stand in it.
    Update(Box<Update>),
    /// The session, which was up, is down. Comes before any later `Up`. Of its routes only these stay.
    Down(DownReason, Vec<Retained>),
    /// The neighbor begins or ends to send all routes of a family again (RFC 7313).
    Refresh(AfiSafi, RefreshMarker),
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
    /// FlowSpec families that both offered, in our order.
    pub families: Vec<FlowFamily>,
    /// Unicast families that both offered.
    pub unicast: Vec<UnicastFamily>,
    /// Families in which the neighbor sends Path Identifiers (RFC 7911).
    pub add_path: Vec<AfiSafi>,
    /// Families in which we do.
    pub add_path_sent: Vec<AfiSafi>,
    /// Seconds; 0: no keepalives.
    pub hold_time_secs: u16,
    /// Both sides use four-octet AS numbers.
    pub four_octet_as: bool,
    /// The neighbor takes messages up to 65,535 octets (RFC 8654), as we always do.
    pub extended_messages: bool,
    /// The neighbor takes ROUTE-REFRESH.
    pub route_refresh: bool,
    /// The neighbor marks where its answer to ROUTE-REFRESH begins and ends (RFC 7313).
    pub enhanced_refresh: bool,
    /// Graceful restart, long-lived too.
    pub restart: NegotiatedRestart,
    /// The neighbor is in our AS.
    pub ibgp: bool,
}

impl Negotiated {
    /// All families in use.
    pub fn afi_safis(&self) -> impl Iterator<Item = AfiSafi> {
        let flow = self.families.iter().map(|family| family.afi_safi());
        let unicast = self.unicast.iter().map(|family| family.afi_safi());
        flow.chain(unicast)
    }

    /// What decoding UPDATEs of the neighbor depends on.
    pub fn decode_context(&self) -> DecodeContext {
        DecodeContext {
            four_octet_as: self.four_octet_as,
            ibgp: self.ibgp,
            families: self.families.clone(),
            unicast: self.unicast.clone(),
            add_path: self.add_path.clone(),
        }
    }

    /// What encoding UPDATEs for the neighbor depends on.
    pub fn encode_context(&self) -> DecodeContext {
        DecodeContext {
            add_path: self.add_path_sent.clone(),
            ..self.decode_context()
        }
    }

    /// Octets of the longest message that the neighbor takes.
    pub fn max_sent_length(&self) -> usize {
        if self.extended_messages {
            MAX_EXTENDED_MESSAGE_LENGTH
        } else {
            MAX_MESSAGE_LENGTH
        }
    }
}

/// Why a session went down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// We sent this NOTIFICATION, for this reason.
    Sent(Notification, String),
    /// The neighbor sent this NOTIFICATION.
    Received(Notification),
    /// Nothing arrived within the hold time.
    HoldTimerExpired,
    /// The neighbor took nothing for too long (RFC 9687).
    SendHoldTimerExpired,
    /// The connection closed without a NOTIFICATION.
    ConnectionLost,
    /// The neighbor opened another connection, which is up: it has restarted (RFC 4724 §4.2).
    Replaced,
    /// We were told to stop, and sent this NOTIFICATION.
    Stopped(Notification),
}

/// Where an answer to ROUTE-REFRESH begins and ends (RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshMarker {
    /// BoRR: what is not announced again until the end is gone.
    Begin,
    /// EoRR.
    End,
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
    /// The neighbor asked for our routes of a family again (RFC 2918).
    RefreshRequested(AfiSafi),
    /// Routes of an [`Input::SendUpdate`] that no message has room for beside their attributes.
    NotSent(Vec<PathOf<Nlri>>),
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

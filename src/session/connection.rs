//! One connection of a session: how far it got, and its timers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::timers::{self, Jitter};
use super::{ConnectionId, Negotiated, State};
use crate::wire::iana::AfiSafi;
use crate::wire::message::MAX_MESSAGE_LENGTH;

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// We dialed.
    Dialed,
    /// The neighbor dialed.
    Accepted,
}

/// How far a connection got.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Our OPEN is out.
    OpenSent,
    /// The neighbor's OPEN was accepted.
    OpenConfirm(Negotiated),
    /// The neighbor's KEEPALIVE came.
    Established {
        /// What the OPENs agreed on.
        negotiated: Negotiated,
        /// When it came.
        since: Instant,
    },
}

/// A connection on which our OPEN was sent.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Its number.
    pub(super) id: ConnectionId,
    /// Who opened it.
    pub(super) direction: Direction,
    /// How far it got.
    pub(super) phase: Phase,
    /// Octets received that are not a whole message yet.
    pub(super) buffer: Vec<u8>,
    /// Longest message that we take.
    pub(super) max_length: usize,
    /// HoldTimer.
    pub(super) hold: Option<Instant>,
    /// KeepaliveTimer.
    pub(super) keepalive: Option<Instant>,
    /// Families whose End-of-RIB has come.
    pub(super) end_of_rib: BTreeSet<AfiSafi>,
    /// Families whose routes are being sent again (RFC 7313).
    pub(super) refreshing: BTreeSet<AfiSafi>,
}

impl Connection {
    /// A connection that has just come about.
    pub(super) fn new(id: ConnectionId, direction: Direction, now: Instant) -> Self {
        Self {
            id,
            direction,
            phase: Phase::OpenSent,
            buffer: Vec::new(),
            max_length: MAX_MESSAGE_LENGTH,
            hold: timers::after(now, timers::LARGE_HOLD_TIME),
            keepalive: None,
            end_of_rib: BTreeSet::new(),
            refreshing: BTreeSet::new(),
        }
    }

    /// The state of RFC 4271 §8.2.2 that its phase stands for.
    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::OpenSent => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established { .. } => State::Established,
        }
    }

    /// What the OPENs agreed on, once both are there.
    pub(super) fn negotiated(&self) -> Option<&Negotiated> {
        match &self.phase {
            Phase::OpenSent => None,
            Phase::OpenConfirm(negotiated) | Phase::Established { negotiated, .. } => {
                Some(negotiated)
            }
        }
    }

    /// How long it has been established.
    pub(super) fn up_for(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::OpenSent | Phase::OpenConfirm(_) => None,
            Phase::Established { since, .. } => Some(now.saturating_duration_since(since)),
        }
    }

    /// Starts HoldTimer again: the negotiated time; with none, the large one bounds the wait for
    /// the first KEEPALIVE.
    pub(super) fn restart_hold(&mut self, now: Instant) {
        let negotiated_secs = self
            .negotiated()
            .map(|negotiated| negotiated.hold_time_secs);
        self.hold = match (negotiated_secs, self.state()) {
            (Some(0), State::Established) => None,
            (Some(0) | None, _) => timers::after(now, timers::LARGE_HOLD_TIME),
            (Some(secs), _) => timers::after(now, Duration::from_secs(u64::from(secs))),
        };
    }

    /// Starts KeepaliveTimer again, if the hold time wants one.
    pub(super) fn restart_keepalive(&mut self, now: Instant, jitter: &mut Jitter) {
        self.keepalive = self
            .negotiated()
            .and_then(|negotiated| timers::keepalive_interval(negotiated.hold_time_secs))
            .and_then(|interval| timers::after(now, jitter.keepalive(interval)));
    }
}

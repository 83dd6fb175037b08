//! Which of the neighbor's routes outlive the session, and for how long (RFC 4724, RFC 8538, RFC 9494).
//!
//! We announce nothing, so of the two roles of RFC 4724 the receiving speaker's is what matters here. As restarting
//! speaker we only say that we are back, so that the neighbor sends its routes without waiting for ours.

use std::time::Duration;

use super::{DownReason, Negotiated, SessionConfig, notification};
use crate::wire::capability::{Capability, GracefulRestart, LongLived, MAX_STALE_TIME};
use crate::wire::error::Notification;
use crate::wire::iana::AfiSafi;

/// Restart time that we announce: nothing of ours waits for it.
const OUR_RESTART_TIME_SECS: u16 = 120;

/// What is configured about routes of a neighbor that is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartConfig {
    /// Offer graceful restart (RFC 4724) with support for NOTIFICATION (RFC 8538).
    pub graceful: bool,
    /// Longest time from the loss of the session to End-of-RIB, whatever the neighbor asks for.
    pub stale_max: Duration,
    /// Longest Long-lived Stale Time (RFC 9494); zero: not offered.
    pub long_lived_max: Duration,
    /// How long the rules of a neighbor stay that was lost and did not negotiate graceful restart.
    pub hold: Duration,
    /// We have restarted, and what we enforced before is still in force.
    pub restarting: bool,
}

/// What the neighbor's OPEN says about restarts, as far as both sides take part, within the configured bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NegotiatedRestart {
    /// Families that the neighbor can restart in, in our order; empty: none, or graceful restart is not in use.
    pub families: Vec<AfiSafi>,
    /// How long it may take to come back.
    pub time: Duration,
    /// It has restarted (R bit).
    pub restarting: bool,
    /// A NOTIFICATION is no reason to forget routes (N bit of both sides).
    pub notification: bool,
    /// Those of `families` whose forwarding state it has preserved (F bit).
    pub preserved: Vec<AfiSafi>,
    /// Long-lived graceful restart, for families of both capabilities.
    pub long_lived: Vec<NegotiatedLongLived>,
    /// It sends End-of-RIB: the capability was there, be it without families.
    pub sends_end_of_rib: bool,
}

/// Long-lived graceful restart of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegotiatedLongLived {
    /// Which routes.
    pub family: AfiSafi,
    /// Long-lived Stale Time, never zero.
    pub time: Duration,
    /// The neighbor has preserved its forwarding state (F bit).
    pub preserved: bool,
}

/// Routes of one family that stay in force without their session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Which routes.
    pub family: AfiSafi,
    /// Why.
    pub cause: Cause,
    /// How long the neighbor may take to come back.
    pub time: Duration,
    /// How long it may take until it has resent everything; not less than `time`.
    pub at_most: Duration,
    /// How long they stay as long-lived stale routes after `time`; zero: not at all.
    pub long_lived: Duration,
}

/// Why routes outlive their session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Graceful restart was negotiated.
    Restart,
    /// It was not; the operator wants them to be held.
    Hold,
}

/// What we say about restarts. `earlier`: a session of this process has been up before.
pub(super) fn offered(
    config: &SessionConfig,
    families: &[AfiSafi],
    earlier: bool,
) -> Vec<Capability> {
    if !config.restart.graceful {
        // Without families and time it only says that we understand End-of-RIB (RFC 4724 §3).
        return vec![Capability::GracefulRestart(GracefulRestart::default())];
    }
    let restarting = config.restart.restarting && !earlier;
    // RFC 8538 §4.1: after a session that was lost, what we enforce is as it was.
    let forwarding = restarting || earlier;
    let mut offered = vec![Capability::GracefulRestart(GracefulRestart {
        restarting,
        notification: true,
        restart_time_secs: OUR_RESTART_TIME_SECS,
        families: families
            .iter()
            .map(|family| (*family, forwarding))
            .collect(),
    })];
    let stale_time_secs = config.restart.long_lived_max.as_secs();
    if stale_time_secs > 0 {
        let entry = |family: &AfiSafi| LongLived {
            family: *family,
            forwarding,
            stale_time_secs: u32::try_from(stale_time_secs)
                .map_or(MAX_STALE_TIME, |secs| secs.min(MAX_STALE_TIME)),
        };
        let families = families.iter().map(entry).collect();
        offered.push(Capability::LongLivedGracefulRestart(families));
    }
    offered
}

/// Reads the neighbor's capabilities for the families in use. Of a capability that comes twice the last counts
/// (RFC 4724 §3), of a family that stands in it twice the first.
pub(super) fn negotiate(
    config: &RestartConfig,
    capabilities: &[Capability],
    in_use: &[AfiSafi],
) -> NegotiatedRestart {
    let mut latest_first = capabilities.iter().rev();
    let graceful = latest_first.find_map(Capability::graceful_restart);
    let Some(graceful) = graceful else {
        return NegotiatedRestart::default();
    };
    if !config.graceful {
        return NegotiatedRestart {
            sends_end_of_rib: true,
            ..NegotiatedRestart::default()
        };
    }
    let stated = |family: &AfiSafi| {
        graceful
            .families
            .iter()
            .find(|(stated, _)| stated == family)
    };
    let families: Vec<AfiSafi> = in_use
        .iter()
        .copied()
        .filter(|f| stated(f).is_some())
        .collect();
    let preserved = families.iter().copied();
    let preserved = preserved
        .filter(|family| stated(family).is_some_and(|(_, forwarding)| *forwarding))
        .collect();
    let mut latest_first = capabilities.iter().rev();
    let long_lived = latest_first.find_map(Capability::long_lived_graceful_restart);
    // RFC 9494 §4.1: only for families that stand in both capabilities.
    let long_lived = families.iter().filter_map(|family| {
        let entry = long_lived?.iter().find(|entry| entry.family == *family)?;
        let time = Duration::from_secs(entry.stale_time_secs.into());
        Some(NegotiatedLongLived {
            family: *family,
            time: time.min(config.long_lived_max),
            preserved: entry.forwarding,
        })
    });
    NegotiatedRestart {
        long_lived: long_lived.filter(|entry| !entry.time.is_zero()).collect(),
        families,
        time: Duration::from_secs(graceful.restart_time_secs.into()).min(config.stale_max),
        restarting: graceful.restarting,
        notification: graceful.notification,
        preserved,
        sends_end_of_rib: true,
    }
}

impl NegotiatedRestart {
    /// Long-lived graceful restart of a family, where it is in use.
    fn long_lived(&self, family: AfiSafi) -> Option<&NegotiatedLongLived> {
        self.long_lived.iter().find(|entry| entry.family == family)
    }
}

/// The routes that stay when a session ends for `reason`.
pub(super) fn retained(
    config: &RestartConfig,
    negotiated: &Negotiated,
    reason: &DownReason,
) -> Vec<Retained> {
    let restart = &negotiated.restart;
    let graceful = survives(restart, reason);
    let hold = if is_wanted(reason) {
        Duration::ZERO
    } else {
        config.hold
    };
    let retain = |family: AfiSafi| {
        if graceful && restart.families.contains(&family) {
            let time = restart.time.max(hold);
            Some(Retained {
                family,
                cause: Cause::Restart,
                time,
                at_most: config.stale_max.max(time),
                long_lived: restart
                    .long_lived(family)
                    .map_or(Duration::ZERO, |entry| entry.time),
            })
        } else {
            (!hold.is_zero()).then_some(Retained {
                family,
                cause: Cause::Hold,
                time: hold,
                at_most: hold,
                long_lived: Duration::ZERO,
            })
        }
    };
    negotiated.afi_safis().filter_map(retain).collect()
}

/// True when graceful restart covers this end of a session (RFC 4724 §4.2, RFC 8538 §4).
fn survives(restart: &NegotiatedRestart, reason: &DownReason) -> bool {
    match reason {
        // RFC 9687 §3: whoever takes nothing does not learn of a NOTIFICATION either.
        DownReason::ConnectionLost | DownReason::Replaced | DownReason::SendHoldTimerExpired => {
            true
        }
        DownReason::HoldTimerExpired => restart.notification,
        DownReason::Sent(sent, _) | DownReason::Received(sent) | DownReason::Stopped(sent) => {
            restart.notification && !notification::is_hard_reset(sent)
        }
    }
}

/// True when an operator, here or there, wanted the session to end, and not a failure.
fn is_wanted(reason: &DownReason) -> bool {
    match reason {
        DownReason::ConnectionLost
        | DownReason::Replaced
        | DownReason::HoldTimerExpired
        | DownReason::SendHoldTimerExpired
        | DownReason::Sent(..) => false,
        DownReason::Stopped(_) => true,
        DownReason::Received(received) => ends_for_good(received),
    }
}

/// True when the sender does not mean to come back soon: its routes are no longer wanted.
fn ends_for_good(notification: &Notification) -> bool {
    notification::is_hard_reset(notification)
        || notification.code == notification::CEASE
            && notification::is_hard_subcode(notification.subcode)
}

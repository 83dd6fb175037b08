//! The NOTIFICATIONs that the state machine itself sends; those about malformed messages come from
//! `wire`.

use super::State;
use crate::wire::capability::Capability;
use crate::wire::error::{Notification, open_error};
use crate::wire::iana::AfiSafi;
use crate::wire::message::Message;

/// Error code of Cease (RFC 4271 §6.7).
pub(super) const CEASE: u8 = 6;
/// Error code of Hold Timer Expired (RFC 4271 §6.5).
pub(super) const HOLD_TIMER_EXPIRED: u8 = 4;
/// Error code of Send Hold Timer Expired (RFC 9687 §3).
const SEND_HOLD_TIMER_EXPIRED: u8 = 8;
/// Cease subcode: administrative shutdown (RFC 4486).
const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
/// Cease subcode: maximum number of prefixes reached (RFC 4486).
const MAXIMUM_PREFIXES: u8 = 1;
/// Cease subcode: peer de-configured (RFC 4486).
const DECONFIGURED: u8 = 3;
/// Cease subcode: hard reset (RFC 8538 §3).
const HARD_RESET: u8 = 9;
/// Cease subcode: administrative reset (RFC 4486).
const ADMINISTRATIVE_RESET: u8 = 4;
/// Cease subcode: connection rejected (RFC 4486).
const CONNECTION_REJECTED: u8 = 5;
/// Cease subcode: connection collision resolution (RFC 4486).
const COLLISION_RESOLUTION: u8 = 7;
/// OPEN Message Error subcode: Unsupported Capability (RFC 5492 §5).
const UNSUPPORTED_CAPABILITY: u8 = 7;
/// Longest text of RFC 9003 in octets.
const MAX_SHUTDOWN_TEXT: usize = 255;

/// Cease; the text goes along with the subcodes that have room for it (RFC 9003 §2).
pub(super) fn cease(subcode: u8, text: &str) -> Notification {
    let mut data = Vec::new();
    if matches!(subcode, ADMINISTRATIVE_SHUTDOWN | ADMINISTRATIVE_RESET) && !text.is_empty() {
        let end = (0..=text.len().min(MAX_SHUTDOWN_TEXT))
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .expect("0 is always a character boundary");
        data.push(u8::try_from(end).expect("cut at 255 octets"));
        data.extend_from_slice(&text.as_bytes()[..end]);
    }
    Notification {
        code: CEASE,
        subcode,
        data,
    }
}

/// True for the Cease subcodes that end a session for good: with RFC 8538 they travel in a hard reset (§5).
pub(super) fn is_hard_subcode(subcode: u8) -> bool {
    matches!(
        subcode,
        MAXIMUM_PREFIXES | ADMINISTRATIVE_SHUTDOWN | DECONFIGURED
    )
}

/// True when graceful restart must not follow (RFC 8538 §3).
pub(super) fn is_hard_reset(notification: &Notification) -> bool {
    notification.code == CEASE && notification.subcode == HARD_RESET
}

/// The hard reset that says what `inner` says (RFC 8538 §3.1).
pub(super) fn hard_reset(inner: Notification) -> Notification {
    let mut data = vec![inner.code, inner.subcode];
    data.extend(inner.data);
    Notification {
        code: CEASE,
        subcode: HARD_RESET,
        data,
    }
}

/// Cease for the connection that lost a collision.
pub(super) fn collision() -> Notification {
    cease(COLLISION_RESOLUTION, "")
}

/// Cease for a connection that came while we take none.
pub(super) fn connection_rejected() -> Notification {
    cease(CONNECTION_REJECTED, "")
}

/// Nothing arrived within the hold time (RFC 4271 §6.5).
pub(super) fn hold_timer_expired() -> Notification {
    Notification {
        code: HOLD_TIMER_EXPIRED,
        subcode: 0,
        data: Vec::new(),
    }
}

/// The neighbor took nothing for too long (RFC 9687 §3).
pub(super) fn send_hold_timer_expired() -> Notification {
    Notification {
        code: SEND_HOLD_TIMER_EXPIRED,
        ..hold_timer_expired()
    }
}

/// A message that this state has no use for (RFC 6608 §3 and §4). The data is the message's type.
pub(super) fn unexpected_message(state: State, message: &Message) -> Notification {
    let subcode = match state {
        State::Idle | State::Connect | State::Active => 0,
        State::OpenSent => 1,
        State::OpenConfirm => 2,
        State::Established => 3,
    };
    let message_type = match message {
        Message::Open(_) => 1,
        Message::Update(_) => 2,
        Message::Notification(_) => 3,
        Message::Keepalive => 4,
        Message::RouteRefresh { .. } => 5,
    };
    Notification {
        code: 5,
        subcode,
        data: vec![message_type],
    }
}

/// OPEN from another AS than the configured one (RFC 4271 §6.2).
pub(super) fn bad_peer_as() -> Notification {
    open_error(open_error::PEER_AS, Vec::new())
}

/// OPEN with an identifier that cannot be the neighbor's (RFC 6286 §2.1).
pub(super) fn bad_identifier() -> Notification {
    open_error(open_error::IDENTIFIER, Vec::new())
}

/// OPEN without any of our families. The data are the capabilities that we wanted (RFC 5492 §5).
pub(super) fn unsupported_capability(families: &[AfiSafi]) -> Notification {
    let mut data = Vec::new();
    for family in families {
        Capability::MultiProtocol(*family).encode(&mut data);
    }
    open_error(UNSUPPORTED_CAPABILITY, data)
}

/// An OPEN Message Error.
fn open_error(subcode: u8, data: Vec<u8>) -> Notification {
    Notification {
        code: open_error::CODE,
        subcode,
        data,
    }
}

//! Sessions in an operator's words.

use crate::session::DownReason;

/// Why a session went down.
pub(crate) fn describe_down(reason: &DownReason) -> String {
    match reason {
        DownReason::Sent(notification, why) => {
            format!("we sent NOTIFICATION {notification}: {why}")
        }
        DownReason::Received(notification) => {
            format!("the neighbor sent NOTIFICATION {notification}")
        }
        DownReason::HoldTimerExpired => "nothing arrived within the hold time".into(),
        DownReason::SendHoldTimerExpired => {
            "the neighbor took nothing within the hold time (RFC 9687)".into()
        }
        DownReason::ConnectionLost => "the connection was lost".into(),
        DownReason::Replaced => "the neighbor has restarted and opened another connection".into(),
        DownReason::Stopped(notification) => format!("stopped with NOTIFICATION {notification}"),
    }
}

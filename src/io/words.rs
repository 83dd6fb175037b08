//! Sessions and NOTIFICATIONs in an operator's words.

use crate::session::DownReason;
use crate::wire::error::Notification;

/// Error code of Cease.
const CEASE: u8 = 6;

/// Why a session went down.
pub(crate) fn describe_down(reason: &DownReason) -> String {
    match reason {
        DownReason::Sent(notification, why) => {
            format!(
                "we sent NOTIFICATION {}: {why}",
                describe_notification(notification)
            )
        }
        DownReason::Received(notification) => {
            format!(
                "the neighbor sent NOTIFICATION {}",
                describe_notification(notification)
            )
        }
        DownReason::HoldTimerExpired => "nothing arrived within the hold time".into(),
        DownReason::ConnectionLost => "the connection was lost".into(),
        DownReason::Stopped => "stopped".into(),
    }
}

/// A NOTIFICATION: its numbers, their names, and what the neighbor's operator wrote (RFC 9003).
pub(crate) fn describe_notification(notification: &Notification) -> String {
    let Notification {
        code,
        subcode,
        data,
    } = notification;
    let name = match (error_name(*code), subcode_name(*code, *subcode)) {
        (Some(error), Some(subcode)) => format!(" ({error}: {subcode})"),
        (Some(error), None) => format!(" ({error})"),
        (None, _) => String::new(),
    };
    let message = shutdown_communication(notification);
    let message = message
        .map(|message| format!(" {message:?}"))
        .unwrap_or_default();
    let data = match data.is_empty() || !message.is_empty() {
        true => String::new(),
        false => format!(" data {}", hex::encode(&data[..data.len().min(32)])),
    };
    format!("{code}/{subcode}{name}{message}{data}")
}

/// The text of an administrative shutdown or reset, if there is one.
fn shutdown_communication(notification: &Notification) -> Option<&str> {
    let is_administrative = notification.code == CEASE && matches!(notification.subcode, 2 | 4);
    let (length, text) = notification
        .data
        .split_first()
        .filter(|_| is_administrative)?;
    let text = std::str::from_utf8(text.get(..usize::from(*length))?).ok()?;
    (!text.is_empty()).then_some(text)
}

/// Names of error codes (RFC 4271 §4.5, RFC 7313 §5, RFC 9687 §3).
fn error_name(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "message header error",
        2 => "OPEN message error",
        3 => "UPDATE message error",
        4 => "hold timer expired",
        5 => "finite state machine error",
        6 => "cease",
        7 => "ROUTE-REFRESH message error",
        8 => "send hold timer expired",
        _ => return None,
    })
}

/// Names of the subcodes that operators meet (RFC 4271 §4.5, RFC 4486, RFC 5492).
fn subcode_name(code: u8, subcode: u8) -> Option<&'static str> {
    Some(match (code, subcode) {
        (1, 1) => "connection not synchronized",
        (1, 2) => "bad message length",
        (1, 3) => "bad message type",
        (2, 1) => "unsupported version number",
        (2, 2) => "bad peer AS",
        (2, 3) => "bad BGP identifier",
        (2, 4) => "unsupported optional parameter",
        (2, 6) => "unacceptable hold time",
        (2, 7) => "unsupported capability",
        (3, 1) => "malformed attribute list",
        (3, 2) => "unrecognized well-known attribute",
        (3, 3) => "missing well-known attribute",
        (3, 4) => "attribute flags error",
        (3, 5) => "attribute length error",
        (3, 9) => "optional attribute error",
        (3, 10) => "invalid network field",
        (3, 11) => "malformed AS_PATH",
        (6, 1) => "maximum number of prefixes reached",
        (6, 2) => "administrative shutdown",
        (6, 3) => "peer de-configured",
        (6, 4) => "administrative reset",
        (6, 5) => "connection rejected",
        (6, 6) => "other configuration change",
        (6, 7) => "connection collision resolution",
        (6, 8) => "out of resources",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_in_words() {
        let rows: [(&str, u8, u8, &[u8], &str); 6] = [
            ("bare", 4, 0, b"", "4/0 (hold timer expired)"),
            (
                "with subcode",
                2,
                2,
                b"",
                "2/2 (OPEN message error: bad peer AS)",
            ),
            (
                "with data",
                2,
                1,
                b"\x00\x04",
                "2/1 (OPEN message error: unsupported version number) data 0004",
            ),
            (
                "with a message",
                6,
                2,
                b"\x03bye",
                "6/2 (cease: administrative shutdown) \"bye\"",
            ),
            (
                "message cut short",
                6,
                2,
                b"\x09bye",
                "6/2 (cease: administrative shutdown) data 09627965",
            ),
            ("unknown", 99, 1, b"", "99/1"),
        ];
        for (name, code, subcode, data, expected) in rows {
            let notification = Notification {
                code,
                subcode,
                data: data.to_vec(),
            };
            assert_eq!(describe_notification(&notification), expected, "{name}");
        }
    }
}

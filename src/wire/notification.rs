//! NOTIFICATION in an operator's words.

use std::fmt;

use super::error::Notification;

/// Error code of Cease.
const CEASE: u8 = 6;
/// Subcode of Cease that carries another NOTIFICATION (RFC 8538 §3.1).
const HARD_RESET: u8 = 9;
/// Octets of data that are shown.
const MAX_SHOWN_DATA: usize = 32;

impl Notification {
    /// What the neighbor's operator wrote about an administrative shutdown or reset (RFC 9003 §2): non-empty UTF-8,
    /// also in a hard reset.
    pub fn shutdown_communication(&self) -> Option<String> {
        if let Some(reason) = self.hard_reset_for() {
            return reason.shutdown_communication();
        }
        let is_administrative = self.code == CEASE && matches!(self.subcode, 2 | 4);
        let (length, text) = self.data.split_first().filter(|_| is_administrative)?;
        let text = std::str::from_utf8(text.get(..usize::from(*length))?).ok()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The NOTIFICATION that a hard reset stands for (RFC 8538 §3.1); of one that stands for a hard reset, none.
    fn hard_reset_for(&self) -> Option<Self> {
        let is_hard_reset = |code, subcode| code == CEASE && subcode == HARD_RESET;
        match *self.data {
            [code, subcode, ref data @ ..]
                if is_hard_reset(self.code, self.subcode) && !is_hard_reset(code, subcode) =>
            {
                Some(Self {
                    code,
                    subcode,
                    data: data.to_vec(),
                })
            }
            _ => None,
        }
    }
}

/// Code and subcode, their names where they are assigned, and the communication or else the beginning of the data:
/// `6/2 (cease: administrative shutdown) "maintenance"`. One line whatever the neighbor sent.
impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            subcode,
            data,
        } = self;
        write!(f, "{code}/{subcode}")?;
        match (error_name(*code), subcode_name(*code, *subcode)) {
            (Some(error), Some(subcode)) => write!(f, " ({error}: {subcode})")?,
            (Some(error), None) => write!(f, " ({error})")?,
            (None, _) => {}
        }
        if let Some(reason) = self.hard_reset_for() {
            return write!(f, " for {reason}");
        }
        match self.shutdown_communication() {
            Some(text) => write!(f, " {text:?}"),
            None if data.is_empty() => Ok(()),
            None => {
                let shown = &data[..data.len().min(MAX_SHOWN_DATA)];
                let cut = if shown.len() < data.len() { "…" } else { "" };
                write!(f, " data {}{cut}", hex::encode(shown))
            }
        }
    }
}

/// Names of error codes (<https://www.iana.org/assignments/bgp-parameters>).
fn error_name(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "message header error",
        2 => "OPEN message error",
        3 => "UPDATE message error",
        4 => "hold timer expired",
        5 => "finite state machine error",
        CEASE => "cease",
        7 => "ROUTE-REFRESH message error",
        8 => "send hold timer expired",
        _ => return None,
    })
}

/// Names of subcodes: RFC 4271 §4.5, RFC 4486 §3, RFC 5492 §5, RFC 6608 §4, RFC 7313 §5, RFC 8538 §3, RFC 9234 §4.2,
/// RFC 9384 §2. Those that were withdrawn have the names that they had.
fn subcode_name(code: u8, subcode: u8) -> Option<&'static str> {
    Some(match (code, subcode) {
        (1, 1) => "connection not synchronized",
        (1, 2) => "bad message length",
        (1, 3) => "bad message type",
        (2, 1) => "unsupported version number",
        (2, 2) => "bad peer AS",
        (2, 3) => "bad BGP identifier",
        (2, 4) => "unsupported optional parameter",
        (2, 5) => "authentication failure",
        (2, 6) => "unacceptable hold time",
        (2, 7) => "unsupported capability",
        (2, 11) => "role mismatch",
        (3, 1) => "malformed attribute list",
        (3, 2) => "unrecognized well-known attribute",
        (3, 3) => "missing well-known attribute",
        (3, 4) => "attribute flags error",
        (3, 5) => "attribute length error",
        (3, 6) => "invalid ORIGIN attribute",
        (3, 7) => "AS routing loop",
        (3, 8) => "invalid NEXT_HOP attribute",
        (3, 9) => "optional attribute error",
        (3, 10) => "invalid network field",
        (3, 11) => "malformed AS_PATH",
        (5, 1) => "unexpected message in OpenSent",
        (5, 2) => "unexpected message in OpenConfirm",
        (5, 3) => "unexpected message in Established",
        (CEASE, 1) => "maximum number of prefixes reached",
        (CEASE, 2) => "administrative shutdown",
        (CEASE, 3) => "peer de-configured",
        (CEASE, 4) => "administrative reset",
        (CEASE, 5) => "connection rejected",
        (CEASE, 6) => "other configuration change",
        (CEASE, 7) => "connection collision resolution",
        (CEASE, 8) => "out of resources",
        (CEASE, 9) => "hard reset",
        (CEASE, 10) => "BFD down",
        (7, 1) => "invalid message length",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_in_words() {
        let rows: [(&str, u8, u8, &[u8], &str); 13] = [
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
                "a message that would break the line",
                6,
                4,
                b"\x04a\nb\"",
                "6/4 (cease: administrative reset) \"a\\nb\\\"\"",
            ),
            (
                "message cut short",
                6,
                2,
                b"\x09bye",
                "6/2 (cease: administrative shutdown) data 09627965",
            ),
            (
                "message that is not UTF-8",
                6,
                2,
                b"\x02\xc3\x28",
                "6/2 (cease: administrative shutdown) data 02c328",
            ),
            (
                "no message in other subcodes",
                6,
                5,
                b"\x03bye",
                "6/5 (cease: connection rejected) data 03627965",
            ),
            (
                "long data",
                1,
                0,
                &[7; 33],
                "1/0 (message header error) data \
                 0707070707070707070707070707070707070707070707070707070707070707…",
            ),
            (
                "hard reset",
                6,
                9,
                b"\x06\x02\x03bye",
                "6/9 (cease: hard reset) for 6/2 (cease: administrative shutdown) \"bye\"",
            ),
            (
                "hard reset for nothing",
                6,
                9,
                b"\x06",
                "6/9 (cease: hard reset) data 06",
            ),
            (
                "hard reset for a hard reset",
                6,
                9,
                b"\x06\x09\x06\x09",
                "6/9 (cease: hard reset) data 06090609",
            ),
            ("unknown", 99, 1, b"", "99/1"),
        ];
        for (name, code, subcode, data, expected) in rows {
            let data = data.to_vec();
            let notification = Notification {
                code,
                subcode,
                data,
            };
            assert_eq!(notification.to_string(), expected, "{name}");
        }
    }
}

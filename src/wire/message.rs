//! Message header and framing (RFC 4271 §4.1), KEEPALIVE, NOTIFICATION and ROUTE-REFRESH.

use super::cursor::Cursor;
use super::error::{Consequence, Notification, WireError, header_error};
use super::iana::AfiSafi;
use super::open::{self, Open};

/// Octets of the header.
pub const HEADER_LENGTH: usize = 19;
/// Longest message without RFC 8654.
pub const MAX_MESSAGE_LENGTH: usize = 4096;
/// Longest message with RFC 8654; OPEN and KEEPALIVE stay at 4096.
pub const MAX_EXTENDED_MESSAGE_LENGTH: usize = 65535;

/// Octets of the marker, all ones.
const MARKER_LENGTH: usize = 16;

/// Message types (RFC 4271 §4.1, RFC 2918 §3).
const OPEN: u8 = 1;
/// See [`OPEN`].
pub(super) const UPDATE: u8 = 2;
/// See [`OPEN`].
const NOTIFICATION: u8 = 3;
/// See [`OPEN`].
const KEEPALIVE: u8 = 4;
/// See [`OPEN`].
const ROUTE_REFRESH: u8 = 5;

/// A message whose header was checked. UPDATE bodies are decoded later, in the context of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 1.
    Open(Open),
    /// Type 2: the body after the header.
    Update(Vec<u8>),
    /// Type 3.
    Notification(Notification),
    /// Type 4.
    Keepalive,
    /// Type 5 (RFC 2918, RFC 7313). `subtype` is 0 for a plain refresh.
    RouteRefresh {
        /// Which routes.
        family: AfiSafi,
        /// Subtype of RFC 7313.
        subtype: u8,
    },
}

impl Message {
    /// The message with its header.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Message::Open(open) => frame(OPEN, &open.encode()),
            Message::Update(body) => frame(UPDATE, body),
            Message::Notification(notification) => {
                let mut body = vec![notification.code, notification.subcode];
                body.extend_from_slice(&notification.data);
                // RFC 4271 §4.1: a longer one could not be sent.
                body.truncate(MAX_MESSAGE_LENGTH - HEADER_LENGTH);
                frame(NOTIFICATION, &body)
            }
            Message::Keepalive => frame(KEEPALIVE, &[]),
            Message::RouteRefresh { family, subtype } => {
                let [high, low] = family.afi.to_be_bytes();
                frame(ROUTE_REFRESH, &[high, low, *subtype, family.safi])
            }
        }
    }
}

/// Takes one message off the front of what was received.
///
/// `Ok(None)`: it is not complete yet, and its header, as far as it is there, is not wrong. `max_length` is
/// [`MAX_MESSAGE_LENGTH`], or [`MAX_EXTENDED_MESSAGE_LENGTH`] where that was negotiated; `buffer` need never hold more
/// than that. An error always resets the session, and `buffer` is then of no further use.
pub fn split(buffer: &mut Vec<u8>, max_length: usize) -> Result<Option<Message>, WireError> {
    if let Some(at) = buffer
        .iter()
        .take(MARKER_LENGTH)
        .position(|octet| *octet != 0xff)
    {
        let reason = "marker is not all ones";
        return Err(WireError::header_reset(
            at,
            header_error::NOT_SYNCHRONIZED,
            &[],
            reason,
        ));
    }
    let Some(header) = buffer.first_chunk::<HEADER_LENGTH>() else {
        return Ok(None);
    };
    let [.., high, low, message_type] = *header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (least, most) = match message_type {
        OPEN => (29, MAX_MESSAGE_LENGTH),
        UPDATE => (23, max_length),
        NOTIFICATION => (21, max_length),
        KEEPALIVE => (HEADER_LENGTH, HEADER_LENGTH),
        ROUTE_REFRESH => (23, max_length),
        // RFC 4271 §6.1 looks at the length first.
        _ => (HEADER_LENGTH, max_length),
    };
    if !(least..=most).contains(&length) {
        let reason = format!("message of type {message_type} with {length} octets");
        let (at, subcode) = (MARKER_LENGTH, header_error::BAD_LENGTH);
        return Err(WireError::header_reset(at, subcode, &[high, low], reason));
    }
    if !(OPEN..=ROUTE_REFRESH).contains(&message_type) {
        let reason = format!("message of unknown type {message_type}");
        let (at, subcode) = (MARKER_LENGTH + 2, header_error::BAD_TYPE);
        return Err(WireError::header_reset(
            at,
            subcode,
            &[message_type],
            reason,
        ));
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let body: Vec<u8> = buffer.drain(..length).skip(HEADER_LENGTH).collect();
    Ok(Some(match message_type {
        OPEN => Message::Open(open::decode(&body)?),
        UPDATE => Message::Update(body),
        NOTIFICATION => {
            let (code, subcode) = (body[0], body[1]);
            Message::Notification(Notification {
                code,
                subcode,
                data: body[2..].to_vec(),
            })
        }
        KEEPALIVE => Message::Keepalive,
        _ => route_refresh(&body)?,
    }))
}

/// RFC 7313 §5: one of another length is answered with error 7/1 and the whole message.
fn route_refresh(body: &[u8]) -> Result<Message, WireError> {
    let mut cursor = Cursor::new(body, 0);
    let read = |cursor: &mut Cursor<'_>| {
        let afi = cursor.u16()?;
        let subtype = cursor.u8()?;
        let family = AfiSafi {
            afi,
            safi: cursor.u8()?,
        };
        Ok::<_, super::cursor::Truncated>(Message::RouteRefresh { family, subtype })
    };
    match read(&mut cursor) {
        Ok(message) if cursor.is_empty() || body[2] > 2 => Ok(message),
        Ok(_) | Err(_) => {
            let notification = Notification {
                code: 7,
                subcode: 1,
                data: frame(ROUTE_REFRESH, body),
            };
            let consequence = Consequence::SessionReset(notification);
            let reason = format!("ROUTE-REFRESH of {} octets", body.len() + HEADER_LENGTH);
            Err(WireError {
                offset: 0,
                consequence,
                reason,
            })
        }
    }
}

/// Puts a header before a body; the two together have at most 65,535 octets.
pub(super) fn frame(message_type: u8, body: &[u8]) -> Vec<u8> {
    let length = HEADER_LENGTH + body.len();
    let mut octets = Vec::with_capacity(length);
    octets.extend([0xff; MARKER_LENGTH]);
    octets.extend((length as u16).to_be_bytes());
    octets.push(message_type);
    octets.extend_from_slice(body);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: u16, message_type: u8) -> Vec<u8> {
        let mut octets = vec![0xff; 16];
        octets.extend(length.to_be_bytes());
        octets.push(message_type);
        octets
    }

    fn reset(octets: &[u8], max_length: usize) -> (u8, u8, Vec<u8>) {
        match split(&mut octets.to_vec(), max_length)
            .unwrap_err()
            .consequence
        {
            Consequence::SessionReset(n) => (n.code, n.subcode, n.data),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn header_errors_reset_with_their_data() {
        let mut no_marker = header(19, KEEPALIVE);
        no_marker[3] = 0;
        let rows = [
            ("marker", no_marker, 4096, (1, 1, vec![])),
            (
                "one wrong octet is enough",
                vec![0x30],
                4096,
                (1, 1, vec![]),
            ),
            (
                "length below a header",
                header(18, KEEPALIVE),
                4096,
                (1, 2, vec![0, 18]),
            ),
            (
                "KEEPALIVE with a body",
                header(20, KEEPALIVE),
                4096,
                (1, 2, vec![0, 20]),
            ),
            (
                "UPDATE too short",
                header(22, UPDATE),
                4096,
                (1, 2, vec![0, 22]),
            ),
            (
                "UPDATE too long",
                header(4097, UPDATE),
                4096,
                (1, 2, vec![0x10, 1]),
            ),
            (
                "OPEN stays short",
                header(4097, OPEN),
                65535,
                (1, 2, vec![0x10, 1]),
            ),
            ("type 0", header(19, 0), 4096, (1, 3, vec![0])),
            ("type 6", header(40, 6), 4096, (1, 3, vec![6])),
        ];
        for (name, octets, max_length, expected) in rows {
            assert_eq!(reset(&octets, max_length), expected, "{name}");
        }
    }

    #[test]
    fn messages_come_out_whole_whatever_the_portions() {
        let family = AfiSafi { afi: 1, safi: 133 };
        let messages = [
            Message::Keepalive,
            Message::Update(vec![0; 300]),
            Message::RouteRefresh { family, subtype: 0 },
            Message::Notification(Notification {
                code: 6,
                subcode: 2,
                data: b"\x03bye".to_vec(),
            }),
        ];
        let stream: Vec<u8> = messages.iter().flat_map(Message::encode).collect();
        for portion in [1, 2, 7, 19, 100, stream.len()] {
            let (mut buffer, mut received) = (Vec::new(), Vec::new());
            for octets in stream.chunks(portion) {
                buffer.extend_from_slice(octets);
                while let Some(message) = split(&mut buffer, MAX_MESSAGE_LENGTH).unwrap() {
                    received.push(message);
                }
            }
            assert_eq!(received, messages, "portions of {portion}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn extended_messages_pass_where_negotiated() {
        let update = Message::Update(vec![0; 60_000]);
        let mut buffer = update.encode();
        assert_eq!(
            split(&mut buffer, MAX_EXTENDED_MESSAGE_LENGTH),
            Ok(Some(update))
        );
    }

    #[test]
    fn a_long_refresh_is_refused_unless_its_subtype_is_unknown() {
        let mut long = frame(ROUTE_REFRESH, &[0, 1, 0, 133, 9]);
        assert_eq!(reset(&long, 4096), (7, 1, long.clone()));
        long[21] = 3;
        assert!(split(&mut long, 4096).unwrap().is_some());
    }
}

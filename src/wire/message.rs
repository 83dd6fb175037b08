//! Message header and framing (RFC 4271 §4.1), KEEPALIVE, NOTIFICATION and ROUTE-REFRESH.

use super::error::Notification;
use super::iana::AfiSafi;
use super::open::Open;

/// Octets of the header.
pub const HEADER_LENGTH: usize = 19;
/// Longest message without RFC 8654.
pub const MAX_MESSAGE_LENGTH: usize = 4096;
/// Longest message with RFC 8654; OPEN and KEEPALIVE stay at 4096.
pub const MAX_EXTENDED_MESSAGE_LENGTH: usize = 65535;

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

// message.rs provides:
//   /// Takes one message off the front of `buffer`; Ok(None) when it is not complete yet. Never buffers more than max_length.
//   pub fn split(buffer: &mut Vec<u8> / BytesMut-like, max_length: usize) -> Result<Option<Message>, WireError> // Err: SessionReset
//   impl Message { pub fn encode(&self) -> Vec<u8> }

/// The type code of UPDATE.
pub(super) const UPDATE: u8 = 2;

/// Puts a header before a body; the two together have at most 65,535 octets.
pub(super) fn frame(message_type: u8, body: &[u8]) -> Vec<u8> {
    let length = HEADER_LENGTH + body.len();
    let mut octets = Vec::with_capacity(length);
    octets.extend([0xff; 16]);
    octets.extend((length as u16).to_be_bytes());
    octets.push(message_type);
    octets.extend_from_slice(body);
    octets
}

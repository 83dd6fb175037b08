//! What goes wrong on the wire, where, and what follows from it.

use std::fmt;

/// The content of a NOTIFICATION (RFC 4271 §4.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Data.
    pub data: Vec<u8>,
}

/// What RFC 7606 §2 makes of an error in an UPDATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Send this NOTIFICATION and close the session.
    SessionReset(Notification),
    /// Handle every route of the UPDATE as withdrawn.
    TreatAsWithdraw,
    /// Ignore the attribute.
    AttributeDiscard,
    /// Ignore one NLRI: it names no route, so there is none to withdraw.
    NlriIgnored,
}

impl Consequence {
    /// The name used by `decode --json`.
    pub fn name(&self) -> &'static str {
        match self {
            Consequence::SessionReset(_) => "session-reset",
            Consequence::TreatAsWithdraw => "treat-as-withdraw",
            Consequence::AttributeDiscard => "attribute-discard",
            Consequence::NlriIgnored => "nlri-ignored",
        }
    }
}

/// Error code 1 of RFC 4271 §6.1 and its subcodes.
pub mod header_error {
    /// Message Header Error.
    pub const CODE: u8 = 1;
    /// Connection Not Synchronized.
    pub const NOT_SYNCHRONIZED: u8 = 1;
    /// Bad Message Length.
    pub const BAD_LENGTH: u8 = 2;
    /// Bad Message Type.
    pub const BAD_TYPE: u8 = 3;
}

/// Error code 2 of RFC 4271 §6.2 and its subcodes.
pub mod open_error {
    /// OPEN Message Error.
    pub const CODE: u8 = 2;
    /// Unspecific.
    pub const UNSPECIFIC: u8 = 0;
    /// Unsupported Version Number.
    pub const VERSION: u8 = 1;
    /// Bad Peer AS.
    pub const PEER_AS: u8 = 2;
    /// Bad BGP Identifier.
    pub const IDENTIFIER: u8 = 3;
    /// Unsupported Optional Parameter.
    pub const OPTIONAL_PARAMETER: u8 = 4;
    /// Unacceptable Hold Time.
    pub const HOLD_TIME: u8 = 6;
}

/// Error code 3 of RFC 4271 §6.3 and its subcodes.
pub mod update_error {
    /// UPDATE Message Error.
    pub const CODE: u8 = 3;
    /// Malformed Attribute List.
    pub const ATTRIBUTE_LIST: u8 = 1;
    /// Unrecognized Well-known Attribute.
    pub const UNRECOGNIZED_WELL_KNOWN: u8 = 2;
    /// Attribute Flags Error.
    pub const FLAGS: u8 = 4;
    /// Optional Attribute Error.
    pub const OPTIONAL_ATTRIBUTE: u8 = 9;
    /// Invalid Network Field.
    pub const NETWORK_FIELD: u8 = 10;
}

/// One thing wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError {
    /// Octets from the start of the message body (after the 19-octet header), or of the header itself for header errors.
    pub offset: usize,
    /// What follows.
    pub consequence: Consequence,
    /// What is wrong: lower case, no final dot.
    pub reason: String,
}

impl WireError {
    /// An error of the header after which the session cannot go on.
    pub fn header_reset(
        offset: usize,
        subcode: u8,
        data: &[u8],
        reason: impl Into<String>,
    ) -> Self {
        Self::reset(offset, header_error::CODE, subcode, data, reason)
    }

    /// An error of OPEN.
    pub fn open_reset(offset: usize, subcode: u8, data: &[u8], reason: impl Into<String>) -> Self {
        Self::reset(offset, open_error::CODE, subcode, data, reason)
    }

    /// An UPDATE error after which the session cannot go on.
    pub fn update_reset(
        offset: usize,
        subcode: u8,
        data: &[u8],
        reason: impl Into<String>,
    ) -> Self {
        Self::reset(offset, update_error::CODE, subcode, data, reason)
    }

    fn reset(offset: usize, code: u8, subcode: u8, data: &[u8], reason: impl Into<String>) -> Self {
        let notification = Notification {
            code,
            subcode,
            data: data.to_vec(),
        };
        let consequence = Consequence::SessionReset(notification);
        Self {
            offset,
            consequence,
            reason: reason.into(),
        }
    }

    /// An UPDATE error that withdraws the routes of the UPDATE.
    pub fn treat_as_withdraw(offset: usize, reason: impl Into<String>) -> Self {
        Self {
            offset,
            consequence: Consequence::TreatAsWithdraw,
            reason: reason.into(),
        }
    }

    /// A withdrawal of something that no route can be.
    pub fn nlri_ignored(offset: usize, reason: impl Into<String>) -> Self {
        Self {
            offset,
            consequence: Consequence::NlriIgnored,
            reason: reason.into(),
        }
    }

    /// An attribute that is ignored.
    pub fn attribute_discard(offset: usize, reason: impl Into<String>) -> Self {
        Self {
            offset,
            consequence: Consequence::AttributeDiscard,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at offset {} ({})",
            self.reason,
            self.offset,
            self.consequence.name()
        )
    }
}

impl std::error::Error for WireError {}

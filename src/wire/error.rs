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
}

impl Consequence {
    /// The name used by `decode --json`.
    pub fn name(&self) -> &'static str {
        match self {
            Consequence::SessionReset(_) => "session-reset",
            Consequence::TreatAsWithdraw => "treat-as-withdraw",
            Consequence::AttributeDiscard => "attribute-discard",
        }
    }
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

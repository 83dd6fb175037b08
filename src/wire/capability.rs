//! Capabilities (RFC 5492) in OPEN.

use super::iana::AfiSafi;

/// One capability.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Code 1 (RFC 4760).
    MultiProtocol(AfiSafi),
    /// Code 2 (RFC 2918).
    RouteRefresh,
    /// Code 6 (RFC 8654).
    ExtendedMessage,
    /// Code 64 (RFC 4724).
    GracefulRestart(GracefulRestart),
    /// Code 65 (RFC 6793).
    FourOctetAs(u32),
    /// Any other, or a known one with a length that is not its own: carried, ignored.
    Unknown {
        /// Capability code.
        code: u8,
        /// Capability value.
        value: Vec<u8>,
    },
}

/// The graceful restart capability (RFC 4724 §3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct GracefulRestart {
    /// The sender has restarted.
    pub restarting: bool,
    /// The sender supports RFC 8538 (N bit).
    pub notification: bool,
    /// How long its session may take to come back, 0 to 4095.
    pub restart_time_secs: u16,
    /// Family, and whether forwarding state was preserved.
    pub families: Vec<(AfiSafi, bool)>,
}

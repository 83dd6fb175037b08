//! Communities of all kinds (RFC 1997, RFC 4360, RFC 5701, RFC 8092): values as they stand on the wire.

/// An eight-octet extended community (RFC 4360), as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

impl ExtendedCommunity {
    /// The rate a second that a traffic-rate-bytes or traffic-rate-packets carries (RFC 8955 §7.1, §7.2), or one of their
    /// experimental likes for each source; any IEEE 754 number, also none.
    pub fn rate_per_sec(&self) -> Option<f32> {
        match self.0 {
            [0x80 | 0x83, 0x06 | 0x0c, _, _, rate @ ..] => Some(f32::from_be_bytes(rate)),
            _ => None,
        }
    }
}

/// A twenty-octet IPv6-address-specific extended community (RFC 5701), as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6ExtendedCommunity(pub [u8; 20]);

/// A large community (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Autonomous system that gives the other parts their meaning.
    pub global: u32,
    /// First local part.
    pub local1: u32,
    /// Second local part.
    pub local2: u32,
}

/// COMMUNITIES value of a route kept past its time by somebody (RFC 9494 §3).
pub const LLGR_STALE: u32 = 0xffff_0006;
/// COMMUNITIES value of a route that must not be kept so long (RFC 9494 §3).
pub const NO_LLGR: u32 = 0xffff_0007;

//! OPEN (RFC 4271 §4.2).

use std::net::Ipv4Addr;

use super::capability::Capability;

/// An OPEN message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS: from the four-octet AS capability where present.
    pub asn: u32,
    /// Proposed hold time: 0 or at least 3.
    pub hold_time_secs: u16,
    /// BGP identifier: not 0.
    pub router_id: Ipv4Addr,
    /// All capabilities in the order received.
    pub capabilities: Vec<Capability>,
}

//! Traffic Filtering Actions (RFC 8955 §7, RFC 8956 §6): what the extended communities of a route ask for.

use std::net::IpAddr;

/// All that the communities of one route ask for, interference resolved (RFC 8955 §7.7).
///
/// Of several rates of one unit the lowest wins; of several marks, redirects of one kind the first in the attribute.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TrafficFilteringActions {
    /// traffic-rate-bytes, 0x8006: octets a second. 0 discards; infinity is no limit and is not kept.
    pub rate_bytes_per_sec: Option<f32>,
    /// traffic-rate-packets, 0x800c.
    pub rate_packets_per_sec: Option<f32>,
    /// traffic-action, 0x8007, T bit set: later rules are evaluated too. (The RFC's name "terminal" reads backwards.)
    pub continue_evaluation: bool,
    /// traffic-action, 0x8007, S bit.
    pub sample: bool,
    /// traffic-marking, 0x8009: DSCP, 0 to 63.
    pub mark_dscp: Option<u8>,
    /// rt-redirect, 0x8008, 0x8108, 0x8208 and rt-redirect-ipv6, 0x000d.
    pub redirect_route_target: Option<RouteTarget>,
    /// Redirect to IP, 0x010c and 0x000c, with the copy bit.
    pub redirect_next_hop: Option<(IpAddr, bool)>,
    /// Actions that were recognised but have no effect, or lost to another: text for the operator.
    pub notes: Vec<String>,
}

/// A route target in the format that it was sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteTarget {
    /// 0x8008.
    TwoOctetAs(u16, u32),
    /// 0x8108.
    Ipv4(std::net::Ipv4Addr, u16),
    /// 0x8208 (RFC 5668 layout).
    FourOctetAs(u32, u16),
    /// 0x000d of RFC 8956 §6.1.
    Ipv6(std::net::Ipv6Addr, u16),
}

// provides:
//   impl TrafficFilteringActions {
//     /// Err: an action that cannot be decoded (NaN rate): the route is malformed (RFC 8955 section 10): treat-as-withdraw.
//     pub fn from_communities(ext: &[ExtendedCommunity], ipv6: &[Ipv6ExtendedCommunity]) -> Result<Self, ActionError>;
//     pub fn to_communities(&self) -> (Vec<ExtendedCommunity>, Vec<Ipv6ExtendedCommunity>);
//     pub fn describe(&self) -> Vec<String>;   // "discard", "rate-limit 1000 bytes/s", "mark 46", "redirect 65001:100", "sample", "continue", "accept"
//   }

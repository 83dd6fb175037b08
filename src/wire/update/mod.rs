//! UPDATE (RFC 4271 §4.3) with MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760), errors as RFC 7606 wants.

mod decode;
mod encode;
mod unicast;
#[cfg(test)]
mod tests;

use ipnetwork::IpNetwork;

use crate::wire::attribute::Attributes;
use crate::wire::error::WireError;
use crate::wire::iana::{AfiSafi, FlowFamily, UnicastFamily};
use crate::wire::nlri::Nlri;
use crate::wire::path::PathOf;

pub use decode::decode;

/// What the session has agreed on, as far as decoding depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeContext {
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// The peer is in our AS.
    pub ibgp: bool,
    /// FlowSpec families negotiated; routes of any other are ignored.
    pub families: Vec<FlowFamily>,
    /// Unicast families negotiated, likewise.
    pub unicast: Vec<UnicastFamily>,
    /// Families whose NLRI have Path Identifiers before them (RFC 7911 §3).
    pub add_path: Vec<AfiSafi>,
}

impl DecodeContext {
    /// True when a family was negotiated.
    pub fn has(&self, family: AfiSafi) -> bool {
        let flow = FlowFamily::from_afi_safi(family);
        let unicast = UnicastFamily::from_afi_safi(family);
        flow.is_some_and(|family| self.families.contains(&family))
            || unicast.is_some_and(|family| self.unicast.contains(&family))
    }

    /// True when Path Identifiers stand before the NLRI of a family.
    pub fn has_path_ids(&self, family: AfiSafi) -> bool {
        self.add_path.contains(&family)
    }
}

/// A decoded UPDATE, after RFC 7606: routes of an erroneous UPDATE stand in `withdrawn`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Update {
    /// Routes announced, with `attributes`.
    pub announced: Vec<PathOf<Nlri>>,
    /// Routes withdrawn, or treated so. Never contains a route that is announced too.
    pub withdrawn: Vec<PathOf<Nlri>>,
    /// Unicast routes, likewise after RFC 7606.
    pub unicast: UnicastRoutes,
    /// Attributes of the announced routes.
    pub attributes: Attributes,
    /// The family whose End-of-RIB this is (RFC 4724 §2).
    pub end_of_rib: Option<AfiSafi>,
    /// A family that was not negotiated, whose routes were ignored.
    pub not_negotiated: Option<AfiSafi>,
    /// Everything wrong that did not reset the session, in the order found.
    pub errors: Vec<WireError>,
}

/// Unicast routes of an UPDATE: taken for validation (RFC 8955 §6) and never sent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UnicastRoutes {
    /// Routes announced, without bits beyond their length.
    pub announced: Vec<PathOf<IpNetwork>>,
    /// Routes withdrawn, or treated so; none that is announced too.
    pub withdrawn: Vec<PathOf<IpNetwork>>,
}

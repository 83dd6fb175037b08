//! FlowSpec NLRI: framing, components and operators (RFC 8955 §4, RFC 8956 §3).

pub mod component;
mod decode;
mod encode;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

use crate::wire::iana::FlowFamily;
pub use component::{
    BitmaskOp, BitmaskType, Component, NumericOp, NumericType, PrefixPattern, RouteDistinguisher,
};
pub use decode::{FramingError, NlriError, NlriErrorKind};
use value::Value;

/// A Flow Specification's NLRI: checked, normalised bytes.
///
/// The bytes are the identity of the route: must-ignore bits are zero (RFC 8955 §4.2.1), lengths use the one-octet form
/// where they fit. Two NLRI with the same bytes and family are the same route. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nlri {
    /// The normalised value without its length octets; begins with the RD in the VPN families.
    value: Value,
}

impl Nlri {
    /// The family it was announced in.
    pub fn family(&self) -> FlowFamily {
        self.value.family()
    }

    /// The normalised value without its length octets.
    pub fn value(&self) -> &[u8] {
        self.value.octets()
    }
}

impl fmt::Debug for Nlri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nlri({} {})", self.family(), hex::encode(self.value()))
    }
}

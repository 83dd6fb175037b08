//! Which destination and source prefixes are allowed.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::ImportPolicy;
use crate::flowspec::text::format_prefix;
use crate::rib::{Refusal, RefusalKind};
use crate::wire::nlri::{Component, Nlri, PrefixPattern};

/// Least bits of an address that a prefix must name, for each family; 0: any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinLengths {
    /// Of an IPv4 address.
    pub ipv4: u8,
    /// Of an IPv6 address. Bits that an offset leaves out are not named.
    pub ipv6: u8,
}

/// One of the two prefixes that a Flow Specification can have.
struct Side<'a> {
    kind: RefusalKind,
    /// As in "destination prefix".
    name: &'static str,
    pattern: Option<&'a PrefixPattern>,
    allowed: &'a [IpNetwork],
    min_length: MinLengths,
    /// A prefix that is missing is as one of length 0.
    missing_is_short: bool,
}

/// Why a prefix of the route is refused, or `None`.
pub(super) fn refusal(policy: &ImportPolicy, nlri: &Nlri) -> Option<Refusal> {
    let components = nlri.components();
    let (mut destination, mut source) = (None, None);
    for component in &components {
        match component {
            Component::DestinationPrefix(pattern) => destination = Some(pattern),
            Component::SourcePrefix(pattern) => source = Some(pattern),
            Component::Numeric(..) | Component::Bitmask(..) => {}
        }
    }
    if destination.is_none() && policy.destination_required == Some(true) {
        let reason = "no destination prefix, but import.destination_required = true";
        return Some(Refusal::new(RefusalKind::Destination, reason));
    }
    let sides = [
        Side {
            kind: RefusalKind::Destination,
            name: "destination",
            pattern: destination,
            allowed: &policy.destinations,
            min_length: policy.min_destination_length,
            missing_is_short: true,
        },
        Side {
            kind: RefusalKind::Source,
            name: "source",
            pattern: source,
            allowed: &policy.sources,
            min_length: policy.min_source_length,
            missing_is_short: false,
        },
    ];
    let ipv6 = nlri.family().is_ipv6();
    sides.iter().find_map(|side| {
        let reason = side.refusal(ipv6)?;
        Some(Refusal::new(side.kind, reason))
    })
}

impl Side<'_> {
    fn refusal(&self, ipv6: bool) -> Option<String> {
        let name = self.name;
        let (min, key) = match ipv6 {
            false => (self.min_length.ipv4, format!("min_{name}_length")),
            true => (self.min_length.ipv6, format!("min_{name}_length_ipv6")),
        };
        let Some(pattern) = self.pattern else {
            if !self.allowed.is_empty() {
                return Some(format!("no {name} prefix, but import.{name}s asks for one"));
            }
            return (self.missing_is_short && min > 0)
                .then(|| format!("no {name} prefix, but import.{key} = {min}"));
        };
        let mut allowed = self.allowed.iter();
        if !self.allowed.is_empty() && !allowed.any(|network| contains(*network, ipv6, pattern)) {
            let prefix = format_prefix(pattern, ipv6);
            return Some(format!("{name} prefix {prefix} outside import.{name}s"));
        }
        let named = pattern.length.saturating_sub(pattern.offset);
        (named < min).then(|| {
            let prefix = format_prefix(pattern, ipv6);
            format!("{name} prefix {prefix} names {named} bits, but import.{key} = {min}")
        })
    }
}

/// True when every address that the pattern selects lies in `network`.
fn contains(network: IpNetwork, ipv6: bool, pattern: &PrefixPattern) -> bool {
    let (bits, same_family) = match network.network() {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, !ipv6),
        IpAddr::V6(address) => (u128::from(address), ipv6),
    };
    let length = u32::from(network.prefix());
    let mask = if length == 0 {
        0
    } else {
        u128::MAX << (128 - length)
    };
    same_family
        && (length == 0 || pattern.offset == 0)
        && u32::from(pattern.length) >= length
        && pattern.bits & mask == bits & mask
}

//! The order in which Flow Specifications are evaluated (RFC 8955 §5.1, RFC 8956 §4), as a byte
//! string per NLRI.
//!
//! The plain byte order of the keys is the precedence, so that whoever sorts needs to know nothing
//! of components:
//!
//! ```text
//! key       = component* 0xff [route distinguisher]      a component that is missing comes last
//! component = type, prefix or operators
//! prefix    = [offset] last-address (255 - length)       offset: IPv6 only
//! operators = the {operator, value} pairs as they stand in the normalised NLRI
//! ```
//!
//! *Prefixes.* `last-address` has the wanted bits followed by ones. Of two prefixes that do not
//! overlap the one with the lower address has the lower last address. A prefix that covers another
//! ends at the same address or behind it; when at the same, the greater length comes first.
//! *Operators.* RFC 8955 compares the common octets and then prefers the longer list. The
//! end-of-list bit makes lists self-delimiting, none is the beginning of another, so comparing the
//! octets is all there is to it.

use std::cmp::Ordering;

use dataplane::rule::OrderKey;

use crate::wire::nlri::{Component, Nlri, NumericType, PrefixPattern};

/// Stands where one NLRI has ended and another may have a component: greater than every type.
const END_OF_COMPONENTS: u8 = 0xff;
/// Octets of an IPv6 prefix in a key: offset, last address and length.
const PREFIX_LENGTH_IPV6: usize = 18;
/// Octets of a numeric component before the value of its first operator.
const TYPE_AND_OPERATOR: usize = 2;

/// The key of an NLRI: of two in one family the one with the lower key is evaluated first.
/// Different NLRI of one family have different keys.
///
/// VPN families: order is meant among the routes of one VRF (RFC 8955 §8), so the route
/// distinguisher only decides between NLRI that are otherwise equal.
pub fn precedence_key(nlri: &Nlri) -> OrderKey {
    key(nlri, |_| false)
}

/// What is left of the key of an NLRI without the values of addresses, and of protocols and ports
/// that are compared with one number.
///
/// A packet has one destination, one source, one protocol and one port of each kind. Two NLRI of
/// one tier that both match it name the same values there and are therefore one; of two in
/// different tiers the lower tier has the lower key, since the first octet in which the keys differ
/// then stands in the tiers, too. That is why the component *port* keeps its value: a packet has
/// two ports, and may match two of them. And that is why the operator stays, and with it the number of octets of
/// the value: `>80` comes after `=443` in one octet, and before it in two.
pub fn precedence_tier(nlri: &Nlri) -> OrderKey {
    key(nlri, |component| match component {
        Component::DestinationPrefix(_) | Component::SourcePrefix(_) => true,
        Component::Numeric(kind, ops) => {
            let one_value = matches!(
                kind,
                NumericType::Protocol | NumericType::DestinationPort | NumericType::SourcePort
            );
            one_value && matches!(ops.as_slice(), [op] if op.equal && !op.less && !op.greater)
        }
        Component::Bitmask(..) => false,
    })
}

/// The key, in which the values of some components are zeros.
fn key(nlri: &Nlri, is_blank: impl Fn(&Component) -> bool) -> OrderKey {
    let ipv6 = nlri.family().is_ipv6();
    // The longest growth is that of two short prefixes.
    let mut key = Vec::with_capacity(nlri.value().len() + 2 * PREFIX_LENGTH_IPV6);
    let mut octets = nlri.component_octets();
    for component in nlri.components() {
        let (own, rest) = octets.split_at(octets_of(&component, ipv6));
        octets = rest;
        match &component {
            Component::DestinationPrefix(prefix) | Component::SourcePrefix(prefix) => {
                key.push(component.code());
                let blank = PrefixPattern { bits: 0, ..*prefix };
                let shown = if is_blank(&component) { &blank } else { prefix };
                push_prefix(&mut key, shown, ipv6);
            }
            Component::Numeric(..) | Component::Bitmask(..) => {
                let value = key.len() + TYPE_AND_OPERATOR;
                key.extend(own);
                if is_blank(&component) {
                    key[value..].fill(0);
                }
            }
        }
    }
    key.push(END_OF_COMPONENTS);
    if let Some(distinguisher) = nlri.route_distinguisher() {
        key.extend(distinguisher.0);
    }
    key.as_slice().into()
}

/// Compares two NLRI of one family: `Less` is evaluated first.
pub fn precedence(a: &Nlri, b: &Nlri) -> Ordering {
    precedence_key(a).cmp(&precedence_key(b))
}

/// Appends a prefix component.
fn push_prefix(key: &mut Vec<u8>, prefix: &PrefixPattern, ipv6: bool) {
    let after = u128::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
    let last_address = (prefix.bits | after).to_be_bytes();
    if ipv6 {
        key.push(prefix.offset);
        key.extend(last_address);
    } else {
        key.extend(&last_address[..4]);
    }
    key.push(u8::MAX - prefix.length);
}

/// Octets of a component in the NLRI, its type included.
fn octets_of(component: &Component, ipv6: bool) -> usize {
    let operators = |widths: &mut dyn Iterator<Item = u8>| {
        1 + widths.map(|width| 1 + usize::from(width)).sum::<usize>()
    };
    match component {
        Component::DestinationPrefix(prefix) | Component::SourcePrefix(prefix) => {
            let pattern = usize::from(prefix.length - prefix.offset).div_ceil(8);
            (if ipv6 { 3 } else { 2 }) + pattern
        }
        Component::Numeric(_, ops) => operators(&mut ops.iter().map(|op| op.width)),
        Component::Bitmask(_, ops) => operators(&mut ops.iter().map(|op| op.width)),
    }
}

#[cfg(test)]
#[path = "precedence_tests.rs"]
mod tests;

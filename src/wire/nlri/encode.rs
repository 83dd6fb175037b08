//! Components to NLRI, and NLRI to octets.

use super::component::{BitmaskOp, Component, NumericOp, PrefixPattern, RouteDistinguisher};
use super::decode::{AND, END_OF_LIST, EQUAL, GREATER, LESS, MATCH, MAX_LENGTH, NOT};
use super::{Nlri, NlriError, NlriErrorKind};
use crate::wire::iana::FlowFamily;

impl Nlri {
    /// Builds an NLRI from components, which must stand in ascending order of their types.
    ///
    /// `route_distinguisher` is given for the VPN families and only for them.
    pub fn new(
        family: FlowFamily,
        route_distinguisher: Option<RouteDistinguisher>,
        components: &[Component],
    ) -> Result<Self, NlriError> {
        let error = |offset, kind| NlriError { offset, kind };
        if route_distinguisher.is_some() != family.is_vpn() {
            return Err(error(0, NlriErrorKind::RouteDistinguisherMisplaced));
        }
        let mut octets = route_distinguisher.map_or_else(Vec::new, |rd| rd.0.to_vec());
        for component in components {
            let offset = octets.len();
            octets.push(component.code());
            let written = match component {
                Component::DestinationPrefix(prefix) | Component::SourcePrefix(prefix) => {
                    write_prefix(family, prefix, &mut octets)
                }
                Component::Numeric(_, ops) => write_ops(ops, numeric_pair, &mut octets),
                Component::Bitmask(_, ops) => write_ops(ops, bitmask_pair, &mut octets),
            };
            if written.is_none() || octets.len() > MAX_LENGTH {
                return Err(error(offset, NlriErrorKind::NotEncodable));
            }
        }
        Self::decode(family, &octets)
    }

    /// The NLRI as it stands in an UPDATE: length octets in the shortest form, then the value.
    pub fn encoded(&self) -> Vec<u8> {
        let length = self.value().len();
        let mut octets = Vec::with_capacity(length + 2);
        if length < 0xf0 {
            octets.push(length as u8);
        } else {
            octets.extend((0xf000 | length as u16).to_be_bytes());
        }
        octets.extend_from_slice(self.value());
        octets
    }
}

/// `None`: the pattern cannot stand in an NLRI of this family.
fn write_prefix(family: FlowFamily, prefix: &PrefixPattern, octets: &mut Vec<u8>) -> Option<()> {
    let PrefixPattern {
        length,
        offset,
        bits,
    } = *prefix;
    let compared = length.checked_sub(offset)?;
    octets.push(length);
    if family.is_ipv6() {
        octets.push(offset);
    } else if offset != 0 {
        return None;
    }
    let left_aligned = bits.checked_shl(u32::from(offset))?.to_be_bytes();
    octets.extend_from_slice(left_aligned.get(..usize::from(compared).div_ceil(8))?);
    Some(())
}

/// Writes {operator, value} pairs; `pair` gives operator bits, width and value. `None`: not encodable.
fn write_ops<T>(ops: &[T], pair: fn(&T) -> (u8, u8, u64), octets: &mut Vec<u8>) -> Option<()> {
    let last = ops.len().checked_sub(1)?;
    for (index, op) in ops.iter().enumerate() {
        let (mut operator, width, value) = pair(op);
        let length_bits = match width {
            1 => 0x00,
            2 => 0x10,
            4 => 0x20,
            8 => 0x30,
            _ => return None,
        };
        if width < 8 && value >> (8 * width) != 0 {
            return None;
        }
        operator |= length_bits | if index == last { END_OF_LIST } else { 0 };
        octets.push(operator);
        octets.extend_from_slice(&value.to_be_bytes()[8 - usize::from(width)..]);
    }
    Some(())
}

fn numeric_pair(op: &NumericOp) -> (u8, u8, u64) {
    let bits = [
        (op.and, AND),
        (op.less, LESS),
        (op.greater, GREATER),
        (op.equal, EQUAL),
    ];
    (operator_bits(bits), op.width, op.value)
}

fn bitmask_pair(op: &BitmaskOp) -> (u8, u8, u64) {
    let bits = [(op.and, AND), (op.not, NOT), (op.all, MATCH), (false, 0)];
    (operator_bits(bits), op.width, u64::from(op.value))
}

fn operator_bits(bits: [(bool, u8); 4]) -> u8 {
    bits.into_iter()
        .filter(|(set, _)| *set)
        .fold(0, |operator, (_, bit)| operator | bit)
}

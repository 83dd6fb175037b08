//! Octets to checked, normalised NLRI, and back to components.
//!
//! Normalising clears bits that a receiver must ignore and never changes a length, so an NLRI is checked and
//! normalised in place in one pass, with one allocation at most.

use std::fmt;

use super::Nlri;
use super::component::{
    BitmaskOp, BitmaskType, Component, NumericOp, NumericType, PrefixPattern, RouteDistinguisher,
};
use super::value::Value;
use crate::wire::cursor::{Cursor, Truncated};
use crate::wire::iana::FlowFamily;

/// Longest NLRI value: twelve bits of length (RFC 8955 §4.1).
pub(super) const MAX_LENGTH: usize = 0x0fff;
/// Octets of a route distinguisher.
pub(super) const RD_LENGTH: usize = 8;
/// Operator bit: last pair of the list (RFC 8955 §4.2.1).
pub(super) const END_OF_LIST: u8 = 0x80;
/// Operator bit: combined with the previous pair by AND.
pub(super) const AND: u8 = 0x40;
/// Numeric operator bits (RFC 8955 §4.2.1.1).
pub(super) const LESS: u8 = 0x04;
/// See [`LESS`].
pub(super) const GREATER: u8 = 0x02;
/// See [`LESS`].
pub(super) const EQUAL: u8 = 0x01;
/// Bitmask operator bits (RFC 8955 §4.2.1.2).
pub(super) const NOT: u8 = 0x02;
/// See [`NOT`].
pub(super) const MATCH: u8 = 0x01;
/// Operator bits that mean something: end-of-list, AND, the width and the comparison.
const NUMERIC_BITS: u8 = 0xf7;
/// See [`NUMERIC_BITS`].
const BITMASK_BITS: u8 = 0xf3;

/// Why an NLRI is malformed and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at offset {offset} of the NLRI")]
pub struct NlriError {
    /// Octets from the start of the NLRI value (after its length octets).
    pub offset: usize,
    /// What is wrong.
    pub kind: NlriErrorKind,
}

/// What is wrong with an NLRI (RFC 8955 §4.2 and §10: all of these make it malformed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NlriErrorKind {
    /// No component: it would match everything.
    Empty,
    /// More octets, which are given, than an NLRI's length can say.
    TooLong(usize),
    /// The route distinguisher has fewer than eight octets.
    RouteDistinguisherTruncated,
    /// A route distinguisher is missing in a VPN family or present in another.
    RouteDistinguisherMisplaced,
    /// A type code that is not defined for the family.
    UnknownComponent(u8),
    /// A type code that is not greater than the one before it.
    ComponentOutOfOrder {
        /// Type code before.
        previous: u8,
        /// Type code found.
        found: u8,
    },
    /// The same type code twice.
    ComponentRepeated(u8),
    /// The NLRI ends within the component with this type code.
    ComponentTruncated(u8),
    /// The NLRI ends before an operator with the end-of-list bit.
    EndOfListMissing(u8),
    /// A prefix length over 32, or over 128.
    PrefixTooLong(u8),
    /// An offset that is not less than the prefix length.
    OffsetNotLess {
        /// Offset in bits.
        offset: u8,
        /// Prefix length in bits.
        length: u8,
    },
    /// A value width that the component type does not allow.
    WidthNotAllowed {
        /// Type code.
        component: u8,
        /// Octets of the value.
        width: u8,
    },
    /// A component list that cannot be encoded: more than 4095 octets, an empty operator list, or a value wider than
    /// its width.
    NotEncodable,
}

impl fmt::Display for NlriErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no component"),
            Self::TooLong(length) => write!(f, "{length} octets, {MAX_LENGTH} are the most"),
            Self::RouteDistinguisherTruncated => f.write_str("route distinguisher cut short"),
            Self::RouteDistinguisherMisplaced => {
                f.write_str("route distinguisher in the wrong kind of family")
            }
            Self::UnknownComponent(code) => write!(f, "unknown component type {code}"),
            Self::ComponentOutOfOrder { previous, found } => {
                write!(f, "component type {found} after {previous}")
            }
            Self::ComponentRepeated(code) => write!(f, "component type {code} twice"),
            Self::ComponentTruncated(code) => write!(f, "component type {code} cut short"),
            Self::EndOfListMissing(code) => {
                write!(f, "component type {code} ends without its end-of-list bit")
            }
            Self::PrefixTooLong(length) => write!(f, "prefix length {length}"),
            Self::OffsetNotLess { offset, length } => {
                write!(f, "prefix offset {offset} not less than length {length}")
            }
            Self::WidthNotAllowed { component, width } => {
                write!(f, "{width}-octet value in component type {component}")
            }
            Self::NotEncodable => f.write_str("components that no NLRI can carry"),
        }
    }
}

/// The field that holds the NLRI ends before the NLRI does: what follows cannot be found (RFC 7606 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("NLRI length overruns its attribute: {0}")]
pub struct FramingError(pub Truncated);

impl Nlri {
    /// Checks and normalises an NLRI value, given without its length octets.
    pub fn decode(family: FlowFamily, value: &[u8]) -> Result<Self, NlriError> {
        if value.len() > MAX_LENGTH {
            let kind = NlriErrorKind::TooLong(value.len());
            return Err(NlriError {
                offset: MAX_LENGTH,
                kind,
            });
        }
        let mut value = Value::new(family, value);
        normalize(family, value.octets_mut())?;
        Ok(Self { value })
    }

    /// Takes one NLRI with its length octets off the cursor (RFC 8955 §4.1).
    ///
    /// The outer error means that the end of the NLRI is unknown. With the inner one the cursor stands behind the
    /// malformed NLRI.
    pub fn read(
        family: FlowFamily,
        cursor: &mut Cursor<'_>,
    ) -> Result<Result<Self, NlriError>, FramingError> {
        let first = cursor.u8().map_err(FramingError)?;
        let length = if first < 0xf0 {
            usize::from(first)
        } else {
            let second = cursor.u8().map_err(FramingError)?;
            usize::from(first & 0x0f) << 8 | usize::from(second)
        };
        let value = cursor.bytes(length).map_err(FramingError)?;
        Ok(Self::decode(family, value))
    }

    /// The route distinguisher of an NLRI of the VPN families.
    pub fn route_distinguisher(&self) -> Option<RouteDistinguisher> {
        let octets = self.value().first_chunk::<RD_LENGTH>()?;
        self.family()
            .is_vpn()
            .then_some(RouteDistinguisher(*octets))
    }

    /// The normalised components without the route distinguisher.
    pub fn component_octets(&self) -> &[u8] {
        &self.value()[if self.family().is_vpn() { RD_LENGTH } else { 0 }..]
    }

    /// The components, ascending by type.
    pub fn components(&self) -> Vec<Component> {
        let mut cursor = Cursor::new(self.component_octets(), 0);
        let mut components = Vec::with_capacity(4);
        while let Ok(code) = cursor.u8() {
            let component = read_component(self.family().is_ipv6(), code, &mut cursor);
            components.push(component.expect("the octets were checked when the NLRI was decoded"));
        }
        components
    }
}

/// Checks `value` and clears the bits that must be ignored.
fn normalize(family: FlowFamily, value: &mut [u8]) -> Result<(), NlriError> {
    let mut at = 0;
    if family.is_vpn() {
        if value.len() < RD_LENGTH {
            let kind = NlriErrorKind::RouteDistinguisherTruncated;
            return Err(NlriError {
                offset: value.len(),
                kind,
            });
        }
        at = RD_LENGTH;
    }
    if at == value.len() {
        return Err(NlriError {
            offset: at,
            kind: NlriErrorKind::Empty,
        });
    }
    let mut previous = 0;
    while at < value.len() {
        let code = value[at];
        check_order(family, previous, code).map_err(|kind| NlriError { offset: at, kind })?;
        previous = code;
        at += 1;
        at += match code {
            1 | 2 if family.is_ipv6() => normalize_ipv6_prefix(code, at, &mut value[at..])?,
            1 | 2 => normalize_ipv4_prefix(code, at, &mut value[at..])?,
            _ => normalize_operators(family, code, at, &mut value[at..])?,
        };
    }
    Ok(())
}

fn check_order(family: FlowFamily, previous: u8, code: u8) -> Result<(), NlriErrorKind> {
    let last = if family.is_ipv6() { 13 } else { 12 };
    if code == 0 || code > last {
        return Err(NlriErrorKind::UnknownComponent(code));
    }
    match code.cmp(&previous) {
        std::cmp::Ordering::Greater => Ok(()),
        std::cmp::Ordering::Equal => Err(NlriErrorKind::ComponentRepeated(code)),
        std::cmp::Ordering::Less => Err(NlriErrorKind::ComponentOutOfOrder {
            previous,
            found: code,
        }),
    }
}

/// Checks the prefix at the front of `rest`, `at` octets into the NLRI; returns its octets.
fn normalize_ipv4_prefix(code: u8, at: usize, rest: &mut [u8]) -> Result<usize, NlriError> {
    let truncated = NlriErrorKind::ComponentTruncated(code);
    let (length, pattern) = rest.split_first_mut().ok_or(NlriError {
        offset: at,
        kind: truncated.clone(),
    })?;
    if *length > 32 {
        return Err(NlriError {
            offset: at,
            kind: NlriErrorKind::PrefixTooLong(*length),
        });
    }
    let octets = normalize_pattern(*length, pattern).ok_or(NlriError {
        offset: at + 1,
        kind: truncated,
    })?;
    Ok(1 + octets)
}

/// RFC 8956 §3.1: length, offset, and a pattern of only the bits between them.
fn normalize_ipv6_prefix(code: u8, at: usize, rest: &mut [u8]) -> Result<usize, NlriError> {
    let truncated = NlriErrorKind::ComponentTruncated(code);
    let ([length, offset], pattern) = rest.split_first_chunk_mut::<2>().ok_or(NlriError {
        offset: at,
        kind: truncated.clone(),
    })?;
    if *length > 128 {
        return Err(NlriError {
            offset: at,
            kind: NlriErrorKind::PrefixTooLong(*length),
        });
    }
    let (offset, length) = (*offset, *length);
    if offset >= length && (offset, length) != (0, 0) {
        let kind = NlriErrorKind::OffsetNotLess { offset, length };
        return Err(NlriError {
            offset: at + 1,
            kind,
        });
    }
    let octets = normalize_pattern(length - offset, pattern).ok_or(NlriError {
        offset: at + 2,
        kind: truncated,
    })?;
    Ok(2 + octets)
}

/// Clears the padding behind `bits` bits; returns the octets that hold them, `None` when they are not all there.
fn normalize_pattern(bits: u8, pattern: &mut [u8]) -> Option<usize> {
    let octets = usize::from(bits).div_ceil(8);
    let last = pattern.get_mut(..octets)?.last_mut();
    if let (Some(last), used @ 1..) = (last, bits % 8) {
        *last &= 0xff << (8 - used);
    }
    Some(octets)
}

/// Checks the operator list at the front of `rest`, `at` octets into the NLRI; returns its octets.
fn normalize_operators(
    family: FlowFamily,
    code: u8,
    at: usize,
    rest: &mut [u8],
) -> Result<usize, NlriError> {
    let bitmask = code == BitmaskType::TcpFlags as u8 || code == BitmaskType::Fragment as u8;
    let meaningful = if bitmask { BITMASK_BITS } else { NUMERIC_BITS };
    let mut used = 0;
    loop {
        let error = |kind| NlriError {
            offset: at + used,
            kind,
        };
        let Some(operator) = rest.get_mut(used) else {
            return Err(error(NlriErrorKind::EndOfListMissing(code)));
        };
        // RFC 8955 §4.2.1.1: on the first pair AND must be treated as unset.
        *operator &= if used == 0 {
            meaningful & !AND
        } else {
            meaningful
        };
        let (width, end_of_list) = (width(*operator), *operator & END_OF_LIST != 0);
        if width > widest(code) {
            return Err(error(NlriErrorKind::WidthNotAllowed {
                component: code,
                width,
            }));
        }
        let from = used + 1;
        used = from + usize::from(width);
        let Some(value) = rest.get_mut(from..used) else {
            let kind = NlriErrorKind::ComponentTruncated(code);
            return Err(NlriError {
                offset: at + from,
                kind,
            });
        };
        value[0] &= first_octet_mask(family, code, width);
        if end_of_list {
            return Ok(used);
        }
    }
}

/// Octets of the value behind an operator.
fn width(operator: u8) -> u8 {
    1 << (operator >> 4 & 0x03)
}

/// Widths under a MUST (RFC 8955 §4.2.2.9, §4.2.2.11 and §4.2.2.12); all others are a SHOULD.
fn widest(code: u8) -> u8 {
    match code {
        9 => 2,
        11 | 12 => 1,
        _ => 8,
    }
}

/// Bits of a value's first octet that are not to be ignored.
fn first_octet_mask(family: FlowFamily, code: u8, width: u8) -> u8 {
    match (code, width) {
        // The data offset beside the flags (RFC 8955 §4.2.2.9).
        (9, 2) => 0x0f,
        // DSCP is six bits (RFC 8955 §4.2.2.11).
        (11, _) => 0x3f,
        // Four bits; Don't Fragment does not exist in IPv6 (RFC 8956 §3.6).
        (12, _) if family.is_ipv6() => 0x0e,
        (12, _) => 0x0f,
        _ => 0xff,
    }
}

/// Reads the component with type `code` off normalised octets.
fn read_component(ipv6: bool, code: u8, cursor: &mut Cursor<'_>) -> Result<Component, Truncated> {
    let component = match code {
        1 => Component::DestinationPrefix(read_prefix(ipv6, cursor)?),
        2 => Component::SourcePrefix(read_prefix(ipv6, cursor)?),
        9 => Component::Bitmask(BitmaskType::TcpFlags, read_bitmask_ops(cursor)?),
        12 => Component::Bitmask(BitmaskType::Fragment, read_bitmask_ops(cursor)?),
        _ => {
            let kind = NumericType::from_code(code).expect("the type was checked");
            Component::Numeric(kind, read_numeric_ops(cursor)?)
        }
    };
    Ok(component)
}

fn read_prefix(ipv6: bool, cursor: &mut Cursor<'_>) -> Result<PrefixPattern, Truncated> {
    let length = cursor.u8()?;
    let offset = if ipv6 { cursor.u8()? } else { 0 };
    let octets = cursor.bytes(usize::from(length - offset).div_ceil(8))?;
    let mut left_aligned = [0; 16];
    left_aligned[..octets.len()].copy_from_slice(octets);
    let bits = u128::from_be_bytes(left_aligned) >> offset;
    Ok(PrefixPattern {
        length,
        offset,
        bits,
    })
}

fn read_numeric_ops(cursor: &mut Cursor<'_>) -> Result<Vec<NumericOp>, Truncated> {
    read_ops(cursor, |operator, width, value| NumericOp {
        and: operator & AND != 0,
        less: operator & LESS != 0,
        greater: operator & GREATER != 0,
        equal: operator & EQUAL != 0,
        width,
        value,
    })
}

fn read_bitmask_ops(cursor: &mut Cursor<'_>) -> Result<Vec<BitmaskOp>, Truncated> {
    read_ops(cursor, |operator, width, value| BitmaskOp {
        and: operator & AND != 0,
        not: operator & NOT != 0,
        all: operator & MATCH != 0,
        width,
        value: u16::try_from(value).expect("bitmasks have one or two octets"),
    })
}

/// Reads {operator, value} pairs up to the end-of-list bit.
fn read_ops<T>(
    cursor: &mut Cursor<'_>,
    pair: impl Fn(u8, u8, u64) -> T,
) -> Result<Vec<T>, Truncated> {
    let mut ops = Vec::new();
    loop {
        let operator = cursor.u8()?;
        let width = width(operator);
        let octets = cursor.bytes(usize::from(width))?;
        let value = octets
            .iter()
            .fold(0, |value, octet| value << 8 | u64::from(*octet));
        ops.push(pair(operator, width, value));
        if operator & END_OF_LIST != 0 {
            return Ok(ops);
        }
    }
}

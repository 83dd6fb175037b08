//! What stands behind the name of a component: prefixes, and the terms of operator lists.

use std::net::IpAddr;

use crate::flowspec::operator::{FRAGMENT_FF, FRAGMENT_ISF};
use crate::wire::nlri::{BitmaskOp, BitmaskType, NumericOp, NumericType, PrefixPattern};

use super::lexer::{Place, Token};
use super::print::minimal_width;
use super::{TextError, words};

/// One term of an operator list, before it is known what it means.
pub(super) struct Term<'t> {
    /// Joined with the term before by AND.
    pub and: bool,
    /// Operator and value: not empty.
    pub text: &'t str,
    /// Where it begins.
    pub place: Place,
}

/// A prefix and its family.
pub(super) struct Prefix {
    /// True for an IPv6 prefix.
    pub ipv6: bool,
    /// Its bits.
    pub pattern: PrefixPattern,
}

/// Splits a word such as `>=10&<=20` into its terms.
pub(super) fn split_terms<'t>(word: Token<'t>, terms: &mut Vec<Term<'t>>) -> Result<(), TextError> {
    let mut place = word.place;
    for (index, text) in word.text.split('&').enumerate() {
        let characters = text.chars().count();
        if !text.is_empty() {
            // The first term has nothing to be joined with.
            terms.push(Term {
                and: index > 0 && !terms.is_empty(),
                text,
                place,
            });
        }
        // Nothing may be missing on either side of an `&`, but for a word that goes on with the
        // term before it.
        let continues = index == 0 && !terms.is_empty();
        if text.is_empty() && !continues {
            return Err(place.error(format!(
                "expected a term on both sides of '&' in {:?}",
                word.text
            )));
        }
        place = place.right(characters + 1);
    }
    Ok(())
}

/// Reads `192.0.2.0/24`, `2001:db8::/32` or `2001:db8::/64/32`, the last number being the offset.
pub(super) fn parse_prefix(word: Token<'_>) -> Result<Prefix, TextError> {
    let expected =
        "a prefix such as 192.0.2.0/24, 2001:db8::/32 or, with an offset, 2001:db8::/64/32";
    let unexpected = || word.unexpected(expected);
    let mut parts = word.text.split('/');
    let address: IpAddr = parts
        .next()
        .unwrap_or("")
        .parse()
        .map_err(|_| unexpected())?;
    let length: u8 = parts
        .next()
        .unwrap_or("")
        .parse()
        .map_err(|_| unexpected())?;
    let offset: u8 = parts
        .next()
        .map_or(Ok(0), str::parse)
        .map_err(|_| unexpected())?;
    let (ipv6, bits, most) = match address {
        IpAddr::V4(address) => (false, u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (true, u128::from(address), 128),
    };
    if parts.next().is_some() || (offset > 0 && !ipv6) {
        return Err(unexpected());
    }
    if length > most {
        return Err(word.unexpected(format!("a prefix length from 0 to {most}")));
    }
    if offset >= length && (offset, length) != (0, 0) {
        return Err(word.unexpected("an offset that is less than the prefix length"));
    }
    let keep = |bits: u8| {
        u128::MAX
            .checked_shr(u32::from(bits))
            .map_or(u128::MAX, |after| !after)
    };
    let bits = bits & keep(length) & !keep(offset);
    Ok(Prefix {
        ipv6,
        pattern: PrefixPattern {
            length,
            offset,
            bits,
        },
    })
}

/// Reads a numeric term.
pub(super) fn numeric_op(
    kind: NumericType,
    ipv6: bool,
    term: &Term<'_>,
) -> Result<NumericOp, TextError> {
    // Longer operators before those they begin with.
    const OPERATORS: [(&str, u8); 8] = [
        ("<=", 0b101),
        (">=", 0b011),
        ("!=", 0b110),
        ("<", 0b100),
        (">", 0b010),
        ("=", 0b001),
        ("true", 0b111),
        ("false", 0b000),
    ];
    let found = OPERATORS
        .iter()
        .find_map(|(operator, bits)| term.text.strip_prefix(operator).map(|rest| (*bits, rest)));
    let (bits, rest) = found.unwrap_or((0b001, term.text));
    let (value, width) = match (bits, rest) {
        (0b000 | 0b111, "") => (0, 1),
        _ => {
            let number = number(rest);
            let named = || {
                words::numeric_value(kind, ipv6, rest).map(|value| (value, minimal_width(value)))
            };
            number.or_else(named).ok_or_else(|| {
                let place = term
                    .place
                    .right(term.text.chars().count() - rest.chars().count());
                place.error(format!("expected a number or a known name, found {rest:?}"))
            })?
        }
    };
    if kind == NumericType::Dscp && (value > 63 || width > 1) {
        return Err(term.place.error(format!(
            "expected a DSCP from 0 to 63 (ECN bits cannot be matched), found {rest:?}"
        )));
    }
    Ok(NumericOp {
        and: term.and,
        less: bits & 0b100 != 0,
        greater: bits & 0b010 != 0,
        equal: bits & 0b001 != 0,
        width,
        value,
    })
}

/// Reads a bitmask term.
pub(super) fn bitmask_op(
    kind: BitmaskType,
    ipv6: bool,
    term: &Term<'_>,
) -> Result<BitmaskOp, TextError> {
    if kind == BitmaskType::Fragment && term.text.eq_ignore_ascii_case("not-a-fragment") {
        // Neither the first fragment nor a later one.
        return Ok(BitmaskOp {
            and: term.and,
            not: true,
            all: false,
            width: 1,
            value: FRAGMENT_ISF | FRAGMENT_FF,
        });
    }
    let (not, rest) = match term.text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, term.text),
    };
    let (all, rest) = match rest.strip_prefix('=') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let place = term
        .place
        .right(term.text.chars().count() - rest.chars().count());
    let mask = words::bit_mask(kind, ipv6);
    let mut bits = 0;
    let mut widest = 1;
    for part in rest.split('+') {
        let named = || words::bit_value(kind, part).map(|bit| (u64::from(bit), 1));
        let Some((value, width)) = number(part).or_else(named) else {
            return Err(place.error(format!("expected flags joined by '+', found {rest:?}")));
        };
        bits |= value;
        widest = widest.max(width);
    }
    let width = widest.max(minimal_width(bits));
    let widest_possible = minimal_width(u64::from(mask));
    match u16::try_from(bits) {
        Ok(value) if value & !mask == 0 && width <= widest_possible => Ok(BitmaskOp {
            and: term.and,
            not,
            all,
            width,
            value,
        }),
        Ok(_) | Err(_) => Err(place.error(format!(
            "expected flags within {mask:#x} in at most {widest_possible} octets, found {rest:?}"
        ))),
    }
}

/// Reads a number and the octets it takes on the wire: decimal takes the least possible,
/// hexadecimal as many as it has digits for.
fn number(text: &str) -> Option<(u64, u8)> {
    let all_digits =
        |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if all_digits(digits, 16) && digits.len() <= 16 => {
            let value = u64::from_str_radix(digits, 16).ok()?;
            Some((value, digits.len().div_ceil(2).next_power_of_two() as u8))
        }
        Some(_) => None,
        None if all_digits(text, 10) => {
            let value = text.parse().ok()?;
            Some((value, minimal_width(value)))
        }
        None => None,
    }
}

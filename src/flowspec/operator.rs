//! What operator lists say (RFC 8955 §4.2.1): evaluated against one value, and as the exact set of
//! values they hold for.
//!
//! A list is a disjunction of groups; a group is a conjunction of pairs. A group ends where the
//! next pair's AND bit is clear, so AND binds tighter than OR. The AND bit of the first pair is
//! never looked at (RFC 8955 §4.2.1.1).

use dataplane::interval::IntervalSet;
use dataplane::rule::{Family, FragmentKind, FragmentSet, MaskedValues};

use crate::wire::nlri::{BitmaskOp, NumericOp};

/// TCP header octets 12 and 13 without the data offset.
pub const TCP_FLAGS_MASK: u16 = 0x0fff;

/// Fragment bitmask operand, bit DF: Don't Fragment (RFC 8955 §4.2.2.12).
pub const FRAGMENT_DF: u16 = 0x01;
/// Fragment bitmask operand, bit IsF: a fragment other than the first.
pub const FRAGMENT_ISF: u16 = 0x02;
/// Fragment bitmask operand, bit FF: the first fragment.
pub const FRAGMENT_FF: u16 = 0x04;
/// Fragment bitmask operand, bit LF: the last fragment.
pub const FRAGMENT_LF: u16 = 0x08;

/// True when `field` satisfies the numeric operator list. Compares 64 bits whatever the widths on
/// the wire.
pub fn numeric_matches(ops: &[NumericOp], field: u64) -> bool {
    numeric_groups(ops).any(|group| group.iter().all(|op| numeric_holds(op, field)))
}

/// True when `field` satisfies the bitmask operator list.
pub fn bitmask_matches(ops: &[BitmaskOp], field: u16) -> bool {
    ops.chunk_by(|_, next| next.and)
        .any(|group| group.iter().all(|op| bitmask_holds(op, field)))
}

/// The values from 0 to `max` for which [`numeric_matches`] holds.
pub fn numeric_set(ops: &[NumericOp], max: u32) -> IntervalSet {
    let conjunctions = numeric_groups(ops).map(|group| {
        group.iter().fold(IntervalSet::full(max), |common, op| {
            common.intersection(&numeric_op_set(op, max))
        })
    });
    IntervalSet::from_ranges(conjunctions.flat_map(|set| set.ranges().to_vec()))
}

/// The values of the twelve TCP flag bits for which [`bitmask_matches`] holds.
///
/// Tries at most 4096 values: only bits that some operator names can make a difference.
pub fn tcp_flags_set(ops: &[BitmaskOp]) -> MaskedValues {
    let relevant = ops.iter().fold(0, |bits, op| bits | op.value) & TCP_FLAGS_MASK;
    MaskedValues::from_predicate(relevant, |flags| bitmask_matches(ops, flags))
}

/// The kinds of fragments for which [`bitmask_matches`] holds. In IPv6 the Don't Fragment bit is
/// always clear.
pub fn fragment_set(ops: &[BitmaskOp], family: Family) -> FragmentSet {
    FragmentSet::from_predicate(|kind, dont_fragment| {
        let dont_fragment = dont_fragment && family == Family::Ipv4;
        bitmask_matches(ops, fragment_bits(kind, dont_fragment))
    })
}

/// What a packet looks like to the operators of component type 12 (RFC 8955 §4.2.2.12, RFC 8956
/// §3.6).
pub fn fragment_bits(kind: FragmentKind, dont_fragment: bool) -> u16 {
    let position = match kind {
        FragmentKind::Whole => 0,
        FragmentKind::First => FRAGMENT_FF,
        FragmentKind::Middle => FRAGMENT_ISF,
        FragmentKind::Last => FRAGMENT_ISF | FRAGMENT_LF,
    };
    position | if dont_fragment { FRAGMENT_DF } else { 0 }
}

/// The conjunctions of a numeric operator list.
fn numeric_groups(ops: &[NumericOp]) -> impl Iterator<Item = &[NumericOp]> {
    ops.chunk_by(|_, next| next.and)
}

/// One {numeric_op, value} pair (RFC 8955 §4.2.1.1, Table 1).
fn numeric_holds(op: &NumericOp, field: u64) -> bool {
    (op.less && field < op.value)
        || (op.greater && field > op.value)
        || (op.equal && field == op.value)
}

/// One {bitmask_op, bitmask} pair (RFC 8955 §4.2.1.2, Table 2).
fn bitmask_holds(op: &BitmaskOp, field: u16) -> bool {
    let common = field & op.value;
    let holds = if op.all {
        common == op.value
    } else {
        common != 0
    };
    holds != op.not
}

/// The values from 0 to `max` for which one pair holds. A value above `max` is greater than all of
/// them.
fn numeric_op_set(op: &NumericOp, max: u32) -> IntervalSet {
    let Some(value) = u32::try_from(op.value).ok().filter(|value| *value <= max) else {
        return if op.less {
            IntervalSet::full(max)
        } else {
            IntervalSet::empty()
        };
    };
    let below = value
        .checked_sub(1)
        .filter(|_| op.less)
        .map(|last| (0, last));
    let at = op.equal.then_some((value, value));
    let above = (op.greater && value < max).then(|| (value + 1, max));
    IntervalSet::from_ranges([below, at, above].into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numeric(and: bool, code: u8, value: u64) -> NumericOp {
        NumericOp {
            and,
            less: code & 4 != 0,
            greater: code & 2 != 0,
            equal: code & 1 != 0,
            width: 8,
            value,
        }
    }

    fn bitmask(and: bool, code: u8, value: u16) -> BitmaskOp {
        BitmaskOp {
            and,
            not: code & 2 != 0,
            all: code & 1 != 0,
            width: 2,
            value,
        }
    }

    #[test]
    fn table_1_has_all_eight_comparisons() {
        // lt, gt, eq bits; whether 4, 5 and 6 compare with 5.
        let rows = [
            (0, [false, false, false]),
            (1, [false, true, false]),
            (2, [false, false, true]),
            (3, [false, true, true]),
            (4, [true, false, false]),
            (5, [true, true, false]),
            (6, [true, false, true]),
            (7, [true, true, true]),
        ];
        for (code, expected) in rows {
            let got = [4, 5, 6].map(|field| numeric_matches(&[numeric(false, code, 5)], field));
            assert_eq!(got, expected, "operator bits {code:03b}");
        }
    }

    #[test]
    fn and_binds_tighter_than_or_and_is_ignored_on_the_first_pair() {
        let five_or_range = [
            numeric(true, 1, 5),
            numeric(false, 3, 10),
            numeric(true, 5, 20),
            numeric(true, 6, 15),
        ];
        for (field, expected) in [
            (5, true),
            (9, false),
            (10, true),
            (15, false),
            (20, true),
            (21, false),
        ] {
            assert_eq!(numeric_matches(&five_or_range, field), expected, "{field}");
        }
    }

    #[test]
    fn values_beyond_the_field_compare_as_64_bit_numbers() {
        let rows = [
            ("< 2^32", numeric(false, 4, 1 << 32), IntervalSet::full(255)),
            (
                "= 2^32 + 5",
                numeric(false, 1, (1 << 32) + 5),
                IntervalSet::empty(),
            ),
            ("> 256", numeric(false, 2, 256), IntervalSet::empty()),
            ("!= 300", numeric(false, 6, 300), IntervalSet::full(255)),
            ("> 255", numeric(false, 2, 255), IntervalSet::empty()),
            ("< 0", numeric(false, 4, 0), IntervalSet::empty()),
        ];
        for (name, op, expected) in rows {
            assert_eq!(numeric_set(&[op], 255), expected, "{name}");
        }
    }

    #[test]
    fn fragment_kinds_follow_the_bits() {
        // Which of whole, first, middle, last match, without and with DF.
        let rows = [
            ("is-fragment", 0, 0x02, [false, false, true, true], false),
            (
                "first-fragment",
                0,
                0x04,
                [false, true, false, false],
                false,
            ),
            ("last-fragment", 0, 0x08, [false, false, false, true], false),
            (
                "no fragment at all",
                2,
                0x06,
                [true, false, false, false],
                false,
            ),
            (
                "=is-fragment+last-fragment",
                1,
                0x0a,
                [false, false, false, true],
                false,
            ),
            ("!=0: never", 3, 0x00, [false; 4], false),
            ("dont-fragment", 0, 0x01, [false; 4], true),
        ];
        for (name, code, value, expected, with_df) in rows {
            let ops = [bitmask(false, code, value)];
            let set = fragment_set(&ops, Family::Ipv4);
            assert_eq!(
                FragmentKind::ALL.map(|kind| set.contains(kind, false)),
                expected,
                "{name}"
            );
            if with_df {
                assert_eq!(
                    FragmentKind::ALL.map(|kind| set.contains(kind, true)),
                    [true; 4],
                    "{name}"
                );
                assert!(
                    fragment_set(&ops, Family::Ipv6).is_empty(),
                    "{name} in IPv6"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn numeric_set_holds_exactly_what_matches(
            list in proptest::collection::vec((any::<bool>(), 0u8..8, 0u64..70), 1..6),
            max in 0u32..64,
        ) {
            let ops = list.into_iter().map(|(and, code, value)| numeric(and, code, value));
            let ops: Vec<_> = ops.collect();
            let set = numeric_set(&ops, max);
            for field in 0..=max {
                let holds = numeric_matches(&ops, u64::from(field));
                prop_assert_eq!(set.contains(field), holds, "{}", field);
            }
            prop_assert!(!set.contains(max + 1));
        }

        #[test]
        fn tcp_flags_set_holds_exactly_what_matches(
            list in proptest::collection::vec((any::<bool>(), 0u8..4, 0u16..0x1000), 1..5),
        ) {
            let ops = list.into_iter().map(|(and, code, value)| bitmask(and, code, value));
            let ops: Vec<_> = ops.collect();
            let set = tcp_flags_set(&ops);
            for flags in 0..=TCP_FLAGS_MASK {
                prop_assert_eq!(set.contains(flags), bitmask_matches(&ops, flags), "{:#x}", flags);
            }
        }
    }
}

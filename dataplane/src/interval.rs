//! Sets of unsigned integers as sorted, disjoint, non-adjacent, inclusive intervals.

use std::fmt;

/// A set of values of one packet field: sorted, disjoint, non-adjacent inclusive intervals.
///
/// Canonical: two sets with the same members are equal. The empty set never matches. Small, because a rule has room for
/// many and uses few: a set of one interval, which most are, lies in the rule itself.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct IntervalSet(Ranges);

/// The intervals of a set. Never two forms of one set.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
enum Ranges {
    /// No member.
    #[default]
    None,
    /// One interval.
    One((u32, u32)),
    /// Two intervals and more.
    Many(Box<Several>),
}

/// Two intervals and more, behind a pointer of one word.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Several(Box<[(u32, u32)]>);

impl IntervalSet {
    /// The set without members.
    pub fn empty() -> Self {
        Self::default()
    }

    /// All values from 0 to `max` inclusive.
    pub fn full(max: u32) -> Self {
        Self(Ranges::One((0, max)))
    }

    /// The set with one member.
    pub fn single(value: u32) -> Self {
        Self(Ranges::One((value, value)))
    }

    /// The union of arbitrary inclusive ranges; a range whose first value exceeds its last is empty.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut sorted: Vec<_> = ranges
            .into_iter()
            .filter(|(first, last)| first <= last)
            .collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match merged.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => {
                    previous.1 = previous.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Self::from_canonical(merged)
    }

    /// The set of intervals that are sorted, disjoint and not adjacent.
    fn from_canonical(ranges: Vec<(u32, u32)>) -> Self {
        Self(match ranges.as_slice() {
            [] => Ranges::None,
            [range] => Ranges::One(*range),
            [_, _, ..] => Ranges::Many(Box::new(Several(ranges.into()))),
        })
    }

    /// The intervals, ascending.
    pub fn ranges(&self) -> &[(u32, u32)] {
        match &self.0 {
            Ranges::None => &[],
            Ranges::One(range) => std::slice::from_ref(range),
            Ranges::Many(several) => &several.0,
        }
    }

    /// True when no value is a member.
    pub fn is_empty(&self) -> bool {
        self.0 == Ranges::None
    }

    /// True when every value from 0 to `max` is a member.
    pub fn is_full(&self, max: u32) -> bool {
        matches!(self.ranges(), [(0, last)] if *last >= max)
    }

    /// True when `value` is a member. O(log n).
    pub fn contains(&self, value: u32) -> bool {
        let ranges = self.ranges();
        let after = ranges.partition_point(|(first, _)| *first <= value);
        after > 0 && value <= ranges[after - 1].1
    }

    /// The members of either set.
    pub fn union(&self, other: &Self) -> Self {
        Self::from_ranges(self.ranges().iter().chain(other.ranges()).copied())
    }

    /// The members of both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut common = Vec::new();
        let (mut a, mut b) = (
            self.ranges().iter().peekable(),
            other.ranges().iter().peekable(),
        );
        while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
            let (first, last) = (left.0.max(right.0), left.1.min(right.1));
            if first <= last {
                common.push((first, last));
            }
            if left.1 < right.1 {
                a.next();
            } else {
                b.next();
            }
        }
        Self::from_canonical(common)
    }

    /// The values from 0 to `max` that are not members.
    pub fn complement(&self, max: u32) -> Self {
        let mut gaps = Vec::new();
        let mut next = Some(0u32);
        for &(first, last) in self.ranges() {
            match next {
                Some(from) if from < first && from <= max => {
                    gaps.push((from, (first - 1).min(max)))
                }
                _ => {}
            }
            next = last.checked_add(1);
        }
        if let Some(from) = next.filter(|from| *from <= max) {
            gaps.push((from, max));
        }
        Self::from_canonical(gaps)
    }

    /// The members of `self` that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        self.intersection(&other.complement(u32::MAX))
    }
}

impl fmt::Debug for IntervalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// `1-5,9`: comma separated, single values without a dash. The empty set prints nothing.
impl fmt::Display for IntervalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges().iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arbitrary_set() -> impl Strategy<Value = IntervalSet> {
        proptest::collection::vec((0u32..40, 0u32..40), 0..6).prop_map(IntervalSet::from_ranges)
    }

    #[test]
    fn from_ranges_merges_overlapping_and_adjacent() {
        let rows = [
            ("overlap", vec![(1, 5), (3, 9)], vec![(1, 9)]),
            ("adjacent", vec![(1, 2), (3, 4)], vec![(1, 4)]),
            ("contained", vec![(1, 9), (3, 4)], vec![(1, 9)]),
            ("reversed is empty", vec![(9, 1)], vec![]),
            (
                "to the top",
                vec![(5, u32::MAX), (u32::MAX, u32::MAX)],
                vec![(5, u32::MAX)],
            ),
        ];
        for (name, input, expected) in rows {
            assert_eq!(IntervalSet::from_ranges(input).ranges(), expected, "{name}");
        }
    }

    #[test]
    fn absent_or_single_it_costs_two_words() {
        assert!(size_of::<Option<IntervalSet>>() <= 2 * size_of::<usize>());
    }

    proptest! {
        #[test]
        fn algebra_agrees_with_membership(a in arbitrary_set(), b in arbitrary_set(), max in 0u32..45) {
            let (union, both) = (a.union(&b), a.intersection(&b));
            let (not, minus) = (a.complement(max), a.difference(&b));
            for value in 0..50 {
                prop_assert_eq!(union.contains(value), a.contains(value) || b.contains(value));
                prop_assert_eq!(both.contains(value), a.contains(value) && b.contains(value));
                prop_assert_eq!(not.contains(value), value <= max && !a.contains(value));
                prop_assert_eq!(minus.contains(value), a.contains(value) && !b.contains(value));
            }
            prop_assert_eq!(&IntervalSet::from_ranges(union.ranges().to_vec()), &union);
            prop_assert_eq!(&IntervalSet::from_ranges(not.ranges().to_vec()), &not);
        }
    }
}

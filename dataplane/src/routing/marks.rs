//! Which bits of the packet mark stand for which route, or which address that copies go to. Pure.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::action::Route;

/// A value in some bits of the packet mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The bits. Zero in all of them means that nothing has been chosen.
    pub mask: u32,
    /// Their value: not 0, and nothing outside the mask.
    pub value: u32,
}

/// What is in use and its numbers: 1 and up, as many as the bits can tell apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks<T = Arc<Route>> {
    mask: u32,
    numbers: BTreeMap<T, u32>,
}

/// All marks that rules set.
#[derive(Clone, Debug, Default)]
pub struct MarksInUse {
    /// For routes that rules redirect to.
    pub routes: Arc<Marks>,
    /// For addresses that rules copy to.
    pub copies: Arc<Marks<IpAddr>>,
}

/// No bits.
impl<T> Default for Marks<T> {
    fn default() -> Self {
        Self {
            mask: 0,
            numbers: BTreeMap::new(),
        }
    }
}

impl<T: Ord> Marks<T> {
    /// Nothing in use yet. `mask`: contiguous bits.
    pub fn new(mask: u32) -> Self {
        Self {
            mask,
            numbers: BTreeMap::new(),
        }
    }

    /// The bits.
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// All numbers that there are.
    pub fn all_numbers(&self) -> std::ops::RangeInclusive<u32> {
        1..=self
            .mask
            .checked_shr(self.mask.trailing_zeros())
            .unwrap_or(0)
    }

    /// The mark that stands for a number.
    pub fn mark(&self, number: u32) -> Mark {
        Mark {
            mask: self.mask,
            value: number.checked_shl(self.mask.trailing_zeros()).unwrap_or(0) & self.mask,
        }
    }

    /// The number that a mark stands for; `None` for one that is none of ours.
    pub fn number_of(&self, mark: Mark) -> Option<u32> {
        let number = mark.value.checked_shr(self.mask.trailing_zeros())?;
        (number != 0 && self.mark(number) == mark).then_some(number)
    }

    /// The mark of what is in use.
    pub fn get<Q: Ord + ?Sized>(&self, of: &Q) -> Option<Mark>
    where
        T: Borrow<Q>,
    {
        self.numbers.get(of).map(|number| self.mark(*number))
    }

    /// True when something has the number.
    pub fn is_taken(&self, number: u32) -> bool {
        self.numbers.values().any(|taken| *taken == number)
    }

    /// What is in use, and its numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&T, u32)> {
        self.numbers.iter().map(|(what, number)| (what, *number))
    }

    /// Gives something a number that nobody has.
    pub fn insert(&mut self, what: T, number: u32) {
        self.numbers.insert(what, number);
    }

    /// Takes the numbers away of what `keep` does not hold for.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.numbers.retain(|what, _| keep(what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_mark_stand_for_each_other() {
        let rows = [
            (0x00ff_0000, 1, 0x0001_0000, 255),
            (0x00ff_0000, 255, 0x00ff_0000, 255),
            (0x8000_0000, 1, 0x8000_0000, 1),
            (u32::MAX, u32::MAX, u32::MAX, u32::MAX),
        ];
        for (mask, number, value, last) in rows {
            let marks = Marks::<IpAddr>::new(mask);
            let mark = Mark { mask, value };
            assert_eq!(marks.mark(number), mark, "{mask:#x}");
            assert_eq!(marks.number_of(mark), Some(number), "{mask:#x}");
            assert_eq!(*marks.all_numbers().end(), last, "{mask:#x}");
        }
    }

    #[test]
    fn what_is_none_of_ours_has_no_number() {
        let marks = Marks::<IpAddr>::new(0x00ff_0000);
        let rows = [
            ("zero", 0x00ff_0000, 0),
            ("bits outside", 0x00ff_0000, 0x0101_0000),
            ("another mask", 0x0fff_0000, 0x0001_0000),
        ];
        for (name, mask, value) in rows {
            assert_eq!(marks.number_of(Mark { mask, value }), None, "{name}");
        }
    }
}

//! Which bits of the packet mark stand for which route. Pure.

use std::collections::BTreeMap;
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

/// The routes in use and their numbers: 1 and up, as many as the bits can tell apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    mask: u32,
    numbers: BTreeMap<Arc<Route>, u32>,
}

impl Marks {
    /// No route yet. `mask`: contiguous bits.
    pub fn new(mask: u32) -> Self {
        Self {
            mask,
            numbers: BTreeMap::new(),
        }
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

    /// The mark of a route.
    pub fn get(&self, route: &Route) -> Option<Mark> {
        self.numbers.get(route).map(|number| self.mark(*number))
    }

    /// True when some route has the number.
    pub fn is_taken(&self, number: u32) -> bool {
        self.numbers.values().any(|taken| *taken == number)
    }

    /// Routes and their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Route>, u32)> {
        self.numbers.iter().map(|(route, number)| (route, *number))
    }

    /// Gives a route a number that nobody has.
    pub fn insert(&mut self, route: Arc<Route>, number: u32) {
        self.numbers.insert(route, number);
    }

    /// Takes the numbers of routes away for which `keep` does not hold.
    pub fn retain(&mut self, mut keep: impl FnMut(&Route) -> bool) {
        self.numbers.retain(|route, _| keep(route));
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
            let marks = Marks::new(mask);
            let mark = Mark { mask, value };
            assert_eq!(marks.mark(number), mark, "{mask:#x}");
            assert_eq!(marks.number_of(mark), Some(number), "{mask:#x}");
            assert_eq!(*marks.all_numbers().end(), last, "{mask:#x}");
        }
    }

    #[test]
    fn what_is_none_of_ours_has_no_number() {
        let marks = Marks::new(0x00ff_0000);
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

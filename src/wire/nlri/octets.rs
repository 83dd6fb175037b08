//! Storage of NLRI values: most are short, and there are many.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Octets that fit beside their length into three words.
const INLINE: usize = 22;

/// A string of octets, cheap to clone: short ones lie in place, long ones are shared.
#[derive(Clone)]
pub(super) enum Octets {
    /// The first `length` octets; the others are 0.
    Inline { length: u8, octets: [u8; INLINE] },
    /// More than [`INLINE`].
    Shared(Arc<[u8]>),
}

impl From<&[u8]> for Octets {
    fn from(value: &[u8]) -> Self {
        let mut octets = [0; INLINE];
        match octets.get_mut(..value.len()) {
            Some(place) => {
                place.copy_from_slice(value);
                let length = value.len() as u8;
                Self::Inline { length, octets }
            }
            None => Self::Shared(value.into()),
        }
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline { length, octets } => &octets[..usize::from(*length)],
            Self::Shared(octets) => octets,
        }
    }
}

/// Copies octets that others share.
impl DerefMut for Octets {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Inline { length, octets } => &mut octets[..usize::from(*length)],
            Self::Shared(octets) => Arc::make_mut(octets),
        }
    }
}

impl PartialEq for Octets {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Octets {}

impl PartialOrd for Octets {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Octets {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Octets {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_ones_are_what_they_were_made_of() {
        assert_eq!(size_of::<Octets>(), 24);
        let all: Vec<u8> = (0..100).collect();
        for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 100] {
            let mut octets = Octets::from(&all[..length]);
            assert_eq!(*octets, all[..length]);
            let copy = octets.clone();
            octets.reverse();
            assert_eq!(*copy, all[..length], "a copy stays what it is");
            assert_eq!(copy.cmp(&octets), all[..length].cmp(&octets), "{length}");
        }
        let (short, long) = (Octets::from(&[1, 2][..]), Octets::from(&[1; 50][..]));
        assert!(long < short, "in the order of the octets");
    }
}

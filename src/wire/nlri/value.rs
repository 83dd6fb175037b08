//! Storage of NLRI values: most are short, and there are many.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::wire::iana::FlowFamily;

/// Octets that fit beside the family and their length into three words.
const INLINE: usize = 21;

/// A family and a string of octets, cheap to clone: short ones lie in place, long ones are shared.
#[derive(Clone)]
pub(super) struct Value(Storage);

/// Where the octets lie. The family stands in both forms, where it takes no room of its own.
#[derive(Clone)]
enum Storage {
    /// The first `length` octets; the others are 0.
    Inline {
        family: FlowFamily,
        length: u8,
        octets: [u8; INLINE],
    },
    /// More than [`INLINE`].
    Shared {
        family: FlowFamily,
        octets: Arc<[u8]>,
    },
}

impl Value {
    /// These octets in this family.
    pub(super) fn new(family: FlowFamily, value: &[u8]) -> Self {
        let mut octets = [0; INLINE];
        Self(match octets.get_mut(..value.len()) {
            Some(place) => {
                place.copy_from_slice(value);
                Storage::Inline {
                    family,
                    length: value.len() as u8,
                    octets,
                }
            }
            None => Storage::Shared {
                family,
                octets: value.into(),
            },
        })
    }

    /// The family.
    pub(super) fn family(&self) -> FlowFamily {
        match self.0 {
            Storage::Inline { family, .. } | Storage::Shared { family, .. } => family,
        }
    }

    /// The octets.
    pub(super) fn octets(&self) -> &[u8] {
        match &self.0 {
            Storage::Inline { length, octets, .. } => &octets[..usize::from(*length)],
            Storage::Shared { octets, .. } => octets,
        }
    }

    /// The octets, to change them; copies what others share.
    pub(super) fn octets_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Storage::Inline { length, octets, .. } => &mut octets[..usize::from(*length)],
            Storage::Shared { octets, .. } => Arc::make_mut(octets),
        }
    }

    /// All that there is to compare.
    fn parts(&self) -> (FlowFamily, &[u8]) {
        (self.family(), self.octets())
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_ones_are_what_they_were_made_of() {
        assert_eq!(size_of::<Option<Value>>(), 24);
        let value = |octets: &[u8]| Value::new(FlowFamily::Ipv6Flow, octets);
        let all: Vec<u8> = (0..100).collect();
        for length in [0, 1, INLINE - 1, INLINE, INLINE + 1, 100] {
            let mut changed = value(&all[..length]);
            assert_eq!(changed.octets(), &all[..length]);
            let copy = changed.clone();
            changed.octets_mut().reverse();
            assert_eq!(copy.octets(), &all[..length], "a copy stays what it is");
            assert_eq!(copy.family(), FlowFamily::Ipv6Flow);
            let octets = all[..length].cmp(changed.octets());
            assert_eq!(copy.cmp(&changed), octets, "{length}");
        }
        let (short, long) = (value(&[1, 2]), value(&[1; 50]));
        assert!(long < short, "in the order of the octets");
        let other = Value::new(FlowFamily::Ipv4Flow, &[1, 2]);
        assert!(other < long, "and of the families before");
    }
}

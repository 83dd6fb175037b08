//! Keys that say where a rule stands: [`OrderKey`].

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use triomphe::ThinArc;

/// The place of a rule among the rules of its family: rules are evaluated in ascending byte order of their keys.
/// Keys are unique within a family.
///
/// Where one packet matches two rules, the one with the longer destination prefix has the lower key, one without a
/// destination the higher (RFC 8955 §5.1); of two without, the same holds for sources.
///
/// Shared by all that name the rule, and one word long, since several tables do so for every rule.
#[derive(Clone)]
pub struct OrderKey(ThinArc<(), u8>);

impl OrderKey {
    /// True when somebody else holds it, too.
    pub fn is_shared(&self) -> bool {
        ThinArc::strong_count(&self.0) > 1
    }

    /// True when both are one string in memory.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.0.as_ptr() == other.0.as_ptr()
    }
}

impl Deref for OrderKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.slice
    }
}

impl From<&[u8]> for OrderKey {
    fn from(octets: &[u8]) -> Self {
        Self(ThinArc::from_header_and_slice((), octets))
    }
}

impl<const N: usize> From<[u8; N]> for OrderKey {
    fn from(octets: [u8; N]) -> Self {
        octets.as_slice().into()
    }
}

impl Default for OrderKey {
    fn default() -> Self {
        [].into()
    }
}

impl PartialEq for OrderKey {
    fn eq(&self, other: &Self) -> bool {
        self.ptr_eq(other) || **self == **other
    }
}

impl Eq for OrderKey {}

impl PartialOrd for OrderKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderKey {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for OrderKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_compare_as_their_octets_do() {
        assert_eq!(size_of::<Option<OrderKey>>(), size_of::<usize>());
        let strings: [&[u8]; 5] = [&[], &[0], &[1], &[1, 0], &[2]];
        for a in strings {
            for b in strings {
                let (left, right) = (OrderKey::from(a), OrderKey::from(b));
                assert_eq!(left.cmp(&right), a.cmp(b), "{a:?} {b:?}");
                assert_eq!(left == right, a == b, "{a:?} {b:?}");
            }
        }
        let key = OrderKey::from([1, 2]);
        assert!(key.ptr_eq(&key.clone()) && !key.ptr_eq(&OrderKey::from([1, 2])));
    }
}

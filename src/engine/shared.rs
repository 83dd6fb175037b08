//! Values that many routes have in common, kept once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use dataplane::rule::OrderKey;

/// Entries below which forgetting is not worth the walk.
const SMALL: usize = 64;

/// A value that several hold.
pub trait Held: Clone + Eq + Hash {
    /// True when somebody else holds it, too.
    fn is_shared(&self) -> bool;
}

impl<T: ?Sized + Eq + Hash> Held for Arc<T> {
    fn is_shared(&self) -> bool {
        Arc::strong_count(self) > 1
    }
}

impl Held for OrderKey {
    fn is_shared(&self) -> bool {
        self.is_shared()
    }
}

/// Values by what they are derived from, for as long as somebody else holds the key.
///
/// Holds at most twice as many entries as are in use, so that a neighbor that never sends the same twice gains nothing.
#[derive(Debug)]
pub struct Shared<K, V> {
    known: HashMap<K, V>,
    /// Entries at which those that nobody uses are looked for.
    limit: usize,
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            limit: SMALL,
        }
    }
}

impl<K: Held, V> Shared<K, V> {
    /// The key equal to `key` that is shared, and its value, which `derive` makes when it is new.
    pub fn get(&mut self, key: impl Into<K>, derive: impl FnOnce(&K) -> V) -> (K, &V) {
        let key = key.into();
        if self.known.len() >= self.limit && !self.known.contains_key(&key) {
            self.known.retain(|key, _| key.is_shared());
            self.limit = (2 * self.known.len()).max(SMALL);
            self.known.shrink_to(self.limit);
        }
        let entry = self.known.entry(key);
        let key = entry.key().clone();
        (key, entry.or_insert_with_key(derive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_kept_once_and_derived_once() {
        let mut shared: Shared<Arc<str>, usize> = Shared::default();
        let (first, length) = shared.get("flow", |flow| flow.len());
        assert_eq!(*length, 4);
        let (second, _) = shared.get("flow", |_| unreachable!("it is known"));
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let mut shared: Shared<Arc<str>, ()> = Shared::default();
        let kept: Vec<_> = (0..100)
            .map(|n| shared.get(n.to_string(), |_| ()).0)
            .collect();
        for n in 0..10_000 {
            shared.get(format!("passing {n}"), |_| ());
            assert!(shared.known.len() <= 2 * kept.len() + SMALL);
        }
        for (n, kept) in kept.iter().enumerate() {
            let again = shared
                .get(n.to_string(), |_| unreachable!("it is in use"))
                .0;
            assert!(Arc::ptr_eq(kept, &again));
        }
    }
}

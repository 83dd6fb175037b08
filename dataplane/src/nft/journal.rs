//! A map that can go back to what it was before a commit.

use std::collections::BTreeMap;

/// A map that remembers what has changed since [`Journal::accept`].
#[derive(Clone, Debug)]
pub(super) struct Journal<K, V> {
    map: BTreeMap<K, V>,
    /// Keys in the order in which they were changed, each with what it had before.
    changes: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Journal<K, V> {
    fn default() -> Self {
        Self {
            map: BTreeMap::new(),
            changes: Vec::new(),
        }
    }
}

impl<K: Ord + Clone, V: Clone> Journal<K, V> {
    /// The map as it is now.
    pub(super) fn map(&self) -> &BTreeMap<K, V> {
        &self.map
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// Gives a key a value, or none.
    pub(super) fn set(&mut self, key: K, value: Option<V>) {
        let before = match value {
            Some(value) => self.map.insert(key.clone(), value),
            None => self.map.remove(&key),
        };
        self.changes.push((key, before));
    }

    /// Makes all changes final.
    pub(super) fn accept(&mut self) {
        self.changes = Vec::new();
    }

    /// Undoes all changes since they were last accepted.
    pub(super) fn roll_back(&mut self) {
        while let Some((key, before)) = self.changes.pop() {
            match before {
                Some(value) => self.map.insert(key, value),
                None => self.map.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_final_only_when_accepted() {
        let mut journal = Journal::default();
        journal.set("a", Some(1));
        journal.set("b", Some(2));
        journal.accept();
        journal.set("a", Some(3));
        journal.set("a", None);
        journal.set("c", Some(4));
        journal.roll_back();
        assert_eq!(journal.map(), &BTreeMap::from([("a", 1), ("b", 2)]));
        journal.set("a", None);
        journal.accept();
        journal.roll_back();
        assert_eq!(journal.map(), &BTreeMap::from([("b", 2)]));
    }
}

//! How long routes stay in force without being announced anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::rib::RouteKey;

/// The announcements of one neighbor's routes, while its policy limits their lifetime; nothing otherwise.
#[derive(Debug, Default)]
pub(super) struct Lifetimes {
    max: Option<Duration>,
    /// When each route was last announced, whether it was equal to the one before or not.
    announced: BTreeMap<RouteKey, Instant>,
    /// Those whose lifetime has not ended yet, the oldest first.
    running: BTreeSet<(Instant, RouteKey)>,
}

impl Lifetimes {
    /// Limits the lifetime from now on. Routes at `keys` whose announcement was not noted count as announced now.
    pub(super) fn limit(
        &mut self,
        now: Instant,
        max: Option<Duration>,
        keys: impl Iterator<Item = RouteKey>,
    ) {
        if self.max == max {
            return;
        }
        self.max = max;
        self.running.clear();
        if max.is_none() {
            self.announced.clear();
            return;
        }
        for key in keys {
            self.announced.entry(key).or_insert(now);
        }
        let announced = self.announced.iter();
        self.running = announced.map(|(key, at)| (*at, key.clone())).collect();
    }

    /// The route is announced: its lifetime begins.
    pub(super) fn begin(&mut self, now: Instant, key: impl FnOnce() -> RouteKey) {
        if self.max.is_none() {
            return;
        }
        let key = key();
        if let Some(before) = self.announced.insert(key.clone(), now) {
            self.running.remove(&(before, key.clone()));
        }
        self.running.insert((now, key));
    }

    /// The route is gone.
    pub(super) fn forget(&mut self, key: &RouteKey) {
        if let Some(at) = self.announced.remove(key) {
            self.running.remove(&(at, key.clone()));
        }
    }

    /// The lifetime of the route at `key`, if it has ended.
    pub(super) fn ended(&self, now: Instant, key: &RouteKey) -> Option<Duration> {
        let max = self.max?;
        let at = *self.announced.get(key)?;
        (now.saturating_duration_since(at) >= max).then_some(max)
    }

    /// Routes whose lifetime has ended since this was last asked.
    pub(super) fn take_ended(&mut self, now: Instant) -> Vec<RouteKey> {
        let mut ended = Vec::new();
        while self.next_deadline().is_some_and(|deadline| deadline <= now)
            && let Some((_, key)) = self.running.pop_first()
        {
            ended.push(key);
        }
        ended
    }

    /// When the next lifetime ends.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let (at, _) = self.running.first()?;
        at.checked_add(self.max?)
    }
}

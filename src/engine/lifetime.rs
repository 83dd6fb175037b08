//! How long routes stay in force without being announced anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::rib::Place;

/// The announcements of one neighbor's paths, while its policy limits their lifetime; nothing otherwise.
#[derive(Debug, Default)]
pub(super) struct Lifetimes {
    max: Option<Duration>,
    /// When each path was last announced, whether it was equal to the one before or not.
    announced: BTreeMap<Place, Instant>,
    /// Those whose lifetime has not ended yet, the oldest first.
    running: BTreeSet<(Instant, Place)>,
}

impl Lifetimes {
    /// Limits the lifetime from now on. Paths at `places` whose announcement was not noted count as announced now.
    pub(super) fn limit(
        &mut self,
        now: Instant,
        max: Option<Duration>,
        places: impl Iterator<Item = Place>,
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
        for place in places {
            self.announced.entry(place).or_insert(now);
        }
        let announced = self.announced.iter();
        self.running = announced.map(|(place, at)| (*at, place.clone())).collect();
    }

    /// The path is announced: its lifetime begins.
    pub(super) fn begin(&mut self, now: Instant, place: impl FnOnce() -> Place) {
        if self.max.is_none() {
            return;
        }
        let place = place();
        if let Some(before) = self.announced.insert(place.clone(), now) {
            self.running.remove(&(before, place.clone()));
        }
        self.running.insert((now, place));
    }

    /// The path is gone.
    pub(super) fn forget(&mut self, place: &Place) {
        if let Some(at) = self.announced.remove(place) {
            self.running.remove(&(at, place.clone()));
        }
    }

    /// The lifetime of the path at `place`, if it has ended.
    pub(super) fn ended(&self, now: Instant, place: &Place) -> Option<Duration> {
        let max = self.max?;
        let at = *self.announced.get(place)?;
        (now.saturating_duration_since(at) >= max).then_some(max)
    }

    /// Paths whose lifetime has ended since this was last asked.
    pub(super) fn take_ended(&mut self, now: Instant) -> Vec<Place> {
        let mut ended = Vec::new();
        while self.next_deadline().is_some_and(|deadline| deadline <= now)
            && let Some((_, place)) = self.running.pop_first()
        {
            ended.push(place);
        }
        ended
    }

    /// When the next lifetime ends.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let (at, _) = self.running.first()?;
        at.checked_add(self.max?)
    }
}

//! How soon one commit may follow another.
//!
//! A commit costs the packet filter something however small it is, so a neighbor that keeps thousands of routes in motion
//! could keep a processor busy with tiny commits. While that is so, and only then, commits start at some distance
//! from each other and carry what was collected meanwhile. Commits that are few, and those that are small, start at once.

use std::time::{Duration, Instant};

/// Least distance between the starts of two commits in a storm: no more than 15 commits a second.
pub const STORM_DISTANCE: Duration = Duration::from_millis(70);

/// A storm has more commits than these a second, which is less than it is then held to,
const COMMITS_PER_SEC: u64 = 10;
/// and more changes than these.
const CHANGES_PER_SEC: u64 = 2_000;

/// Decides when the next commit may start.
#[derive(Debug, Default)]
pub struct Pace {
    last_start: Option<Instant>,
    commits: Level<COMMITS_PER_SEC>,
    changes: Level<CHANGES_PER_SEC>,
}

impl Pace {
    /// Takes note of a commit with so many changes that starts now.
    pub fn started(&mut self, now: Instant, changes: usize) {
        let since = self
            .last_start
            .map(|last| now.saturating_duration_since(last));
        self.commits.add(since, 1);
        self.changes.add(since, changes as u64);
        self.last_start = Some(now);
    }

    /// When the next commit may start; `None`: at any time.
    pub fn next_start(&self) -> Option<Instant> {
        let storm = self.commits.is_high() && self.changes.is_high();
        self.last_start
            .filter(|_| storm)
            .map(|last| last + STORM_DISTANCE)
    }
}

/// What happened lately, in millionths: drains by `PER_SEC` in each second and is high above one second's worth.
#[derive(Debug, Default)]
struct Level<const PER_SEC: u64>(u64);

impl<const PER_SEC: u64> Level<PER_SEC> {
    /// One second's worth.
    const HIGH: u64 = PER_SEC * 1_000_000;

    /// Drains what the time that has passed takes away, and adds `number`. Never more than two seconds' worth, so that
    /// a storm is forgotten one second after its end.
    fn add(&mut self, since_last: Option<Duration>, number: u64) {
        let micros = since_last.map_or(0, |since| since.as_micros() as u64);
        self.0 = self
            .0
            .saturating_sub(micros.saturating_mul(PER_SEC))
            .saturating_add(number.saturating_mul(1_000_000))
            .min(2 * Self::HIGH);
    }

    fn is_high(&self) -> bool {
        self.0 > Self::HIGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits in `secs` seconds when there is always something to commit, each takes `each`, and brings `changes`.
    fn commits_in(secs: u64, each: Duration, changes: usize) -> usize {
        let start = Instant::now();
        let (mut now, mut pace, mut commits) = (start, Pace::default(), 0);
        while now < start + Duration::from_secs(secs) {
            pace.started(now, changes);
            commits += 1;
            now += each;
            now = pace.next_start().map_or(now, |next| now.max(next));
        }
        commits
    }

    #[test]
    fn only_many_commits_with_many_changes_are_kept_apart() {
        let millis = Duration::from_millis;
        let rows = [
            ("one rule after the other, as fast as it goes", 1, 1, 60_000),
            ("slow commits, many changes", 100, 1_000, 600),
            (
                "few changes in each: some commits wait, so that 2,000 a second remain",
                1,
                10,
                12_600,
            ),
            ("a storm", 1, 1_000, 880),
        ];
        for (name, each, changes, at_most) in rows {
            let commits = commits_in(60, millis(each), changes);
            assert!(commits <= at_most, "{name}: {commits}");
            assert!(commits >= at_most * 3 / 5, "{name}: {commits}");
        }
    }

    #[test]
    fn a_storm_is_forgotten_a_second_after_its_end() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..1_000 {
            pace.started(now, 10_000);
        }
        assert_eq!(pace.next_start(), Some(now + STORM_DISTANCE));
        now += Duration::from_millis(1_100);
        assert!(pace.next_start().is_some_and(|next| next < now));
        pace.started(now, 1);
        assert_eq!(pace.next_start(), None);
    }

    #[test]
    fn one_great_burst_delays_nothing() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..10 {
            pace.started(now, 100_000);
            assert_eq!(pace.next_start(), None);
        }
    }
}

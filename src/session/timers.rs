//! Durations of RFC 4271 §8 and §10: jitter, back-off, hold and keepalive.

use std::time::{Duration, Instant};

/// Hold time before the neighbor's OPEN has set one (RFC 4271 §8.2.2 suggests 4 minutes).
pub(super) const LARGE_HOLD_TIME: Duration = Duration::from_secs(240);

/// First IdleHoldTime; doubles with each further protocol error.
const FIRST_IDLE_HOLD: Duration = Duration::from_secs(1);

/// Longest IdleHoldTime.
const LONGEST_IDLE_HOLD: Duration = Duration::from_secs(60);

/// How long a session must stay up before its protocol errors are forgotten.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// The time `duration` after `now`; `None`, a timer that never fires, when the clock cannot express
/// it.
pub(super) fn after(now: Instant, duration: Duration) -> Option<Instant> {
    now.checked_add(duration)
}

/// True when a timer is running and its time has come.
pub(super) fn is_due(timer: Option<Instant>, now: Instant) -> bool {
    timer.is_some_and(|deadline| deadline <= now)
}

/// Time between KEEPALIVEs: a third of the hold time (RFC 4271 §10), `None` when that is 0.
pub(super) fn keepalive_interval(hold_time_secs: u16) -> Option<Duration> {
    (hold_time_secs > 0).then(|| Duration::from_secs(u64::from(hold_time_secs)) / 3)
}

/// Source of jitter: deterministic, so that a session can be replayed (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    /// A source that depends on the seed alone.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Three quarters to the whole of `duration` (RFC 4271 §10).
    pub(super) fn apply(&mut self, duration: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let thousandths = 750 + u32::try_from(bits % 251).expect("a remainder below 251 fits");
        (duration / 1000).saturating_mul(thousandths)
    }

    /// Jittered time between KEEPALIVEs, never below the second that RFC 4271 §4.4 demands.
    pub(super) fn keepalive(&mut self, interval: Duration) -> Duration {
        self.apply(interval).max(Duration::from_secs(1))
    }
}

/// How long to stay in Idle after protocol errors (RFC 4271 §8.1.1, DampPeerOscillations).
#[derive(Clone, Debug, Default)]
pub(super) struct BackOff {
    /// Protocol errors since the last stable session.
    errors: u32,
}

impl BackOff {
    /// Counts an error and gives the time to wait, not jittered.
    pub(super) fn next(&mut self) -> Duration {
        let wait = FIRST_IDLE_HOLD.saturating_mul(1 << self.errors.min(16));
        self.errors = self.errors.saturating_add(1);
        wait.min(LONGEST_IDLE_HOLD)
    }

    /// A session ended after being up for so long.
    pub(super) fn session_ended(&mut self, up_for: Duration) {
        if up_for >= STABLE_AFTER {
            self.errors = 0;
        }
    }

    /// Forgets all errors.
    pub(super) fn reset(&mut self) {
        self.errors = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_between_three_quarters_and_the_whole() {
        let mut jitter = Jitter::new(7);
        let whole = Duration::from_secs(100);
        let drawn: Vec<Duration> = (0..1000).map(|_| jitter.apply(whole)).collect();
        assert!(
            drawn
                .iter()
                .all(|d| (Duration::from_secs(75)..=whole).contains(d))
        );
        assert!(drawn.iter().any(|d| *d < Duration::from_secs(77)));
        assert!(drawn.iter().any(|d| *d > Duration::from_secs(98)));
    }

    #[test]
    fn keepalive_is_a_third_of_the_hold_time_but_at_least_a_second() {
        let rows: [(u16, Option<(u64, u64)>); 4] = [
            (0, None),
            (3, Some((1000, 1000))),
            (9, Some((2250, 3000))),
            (90, Some((22_500, 30_000))),
        ];
        for (hold_time_secs, expected) in rows {
            let interval = keepalive_interval(hold_time_secs);
            assert_eq!(
                interval.is_some(),
                expected.is_some(),
                "hold {hold_time_secs}"
            );
            if let (Some(interval), Some((low, high))) = (interval, expected) {
                for seed in 0..200 {
                    let drawn = Jitter::new(seed).keepalive(interval);
                    let range = Duration::from_millis(low)..=Duration::from_millis(high);
                    assert!(
                        range.contains(&drawn),
                        "hold {hold_time_secs} seed {seed}: {drawn:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn back_off_doubles_to_its_limit_and_is_forgotten_by_a_stable_session() {
        let mut back_off = BackOff::default();
        let waits: Vec<u64> = (0..8).map(|_| back_off.next().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        back_off.session_ended(STABLE_AFTER - Duration::from_millis(1));
        assert_eq!(back_off.next().as_secs(), 60);
        back_off.session_ended(STABLE_AFTER);
        assert_eq!(back_off.next().as_secs(), 1);
    }

    #[test]
    fn a_deadline_past_the_clock_never_fires() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::MAX), None);
        assert!(!is_due(None, now));
    }
}

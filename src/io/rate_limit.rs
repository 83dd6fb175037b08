//! Keeps a neighbor, or a stranger, from filling the log.

use std::time::{Duration, Instant};

/// Lets a number of lines through in each period, and counts the rest.
#[derive(Debug)]
pub(super) struct RateLimit {
    lines: u32,
    period: Duration,
    /// When the current period began, and the lines let through since.
    current: Option<(Instant, u32)>,
    suppressed: u64,
}

impl RateLimit {
    /// At most `lines` lines in each `period`.
    pub(super) const fn new(lines: u32, period: Duration) -> Self {
        Self {
            lines,
            period,
            current: None,
            suppressed: 0,
        }
    }

    /// Whether to log now: then the number of lines that were left out since the last one.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u64> {
        let used = match self.current {
            Some((start, used)) if now.duration_since(start) < self.period => used,
            _ => {
                self.current = Some((now, 0));
                0
            }
        };
        if used < self.lines {
            self.current = self.current.map(|(start, _)| (start, used + 1));
            Some(std::mem::take(&mut self.suppressed))
        } else {
            self.suppressed += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_it_leaves_out() {
        let mut limit = RateLimit::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let rows = [
            ("first", 0, Some(0)),
            ("second", 1, Some(0)),
            ("third is left out", 2, None),
            ("and so is the fourth", 9, None),
            ("next period tells how many", 10, Some(2)),
            ("and starts to count again", 11, Some(0)),
            ("left out", 12, None),
        ];
        for (name, second, expected) in rows {
            assert_eq!(
                limit.admit(start + Duration::from_secs(second)),
                expected,
                "{name}"
            );
        }
    }
}

//! Counters of rules that move between hardware and software. Pure.

use std::collections::BTreeMap;

use crate::backend::Counter;
use crate::rule::RuleId;

/// What rules had counted when they last moved.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<RuleId, Base>);

/// A move.
#[derive(Clone, Copy, Debug)]
struct Base {
    /// What the rule had counted by then.
    total: Counter,
    /// What the counter read at that moment by which it is counted from then on.
    start: Counter,
}

impl Tally {
    /// What a rule has counted in all, of which the counter of its place reads this.
    pub fn total(&self, rule: RuleId, reading: Counter) -> Counter {
        let Some(Base { total, start }) = self.0.get(&rule) else {
            return reading;
        };
        // A counter that fell has begun anew.
        let since = |reading: u64, start: u64| reading.checked_sub(start).unwrap_or(reading);
        let mut total = *total;
        total.add(Counter {
            packets: since(reading.packets, start.packets),
            bytes: since(reading.bytes, start.bytes),
        });
        total
    }

    /// A rule is counted at another place from now on, where the counter reads `start`.
    pub fn moved(&mut self, rule: RuleId, total: Counter, start: Counter) {
        self.0.insert(rule, Base { total, start });
    }

    /// Forgets all rules but some.
    pub fn retain(&mut self, stays: impl Fn(RuleId) -> bool) {
        self.0.retain(|rule, _| stays(*rule));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_moves_goes_on_counting() {
        let counter = |packets| Counter {
            packets,
            bytes: 100 * packets,
        };
        let mut tally = Tally::default();
        let rule = RuleId(7);
        assert_eq!(tally.total(rule, counter(5)), counter(5));
        // To a place that has seen none of its packets, and back to one that has seen some.
        tally.moved(rule, counter(5), counter(0));
        assert_eq!(tally.total(rule, counter(3)), counter(8));
        tally.moved(rule, counter(8), counter(6));
        assert_eq!(tally.total(rule, counter(6)), counter(8));
        assert_eq!(tally.total(rule, counter(7)), counter(9));
        assert_eq!(tally.total(rule, counter(1)), counter(9), "it began anew");
        tally.retain(|_| false);
        assert_eq!(tally.total(rule, counter(7)), counter(7));
    }
}

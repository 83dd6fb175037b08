//! Token buckets for each source.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bucket::TokenBucket;
use crate::rule::{AddressPattern, SourceLimit};

/// The buckets of the sources that are remembered, and the one of all others.
#[derive(Clone, Debug)]
pub(super) struct SourceBuckets {
    limit: SourceLimit,
    /// Buckets by left-aligned prefix, each with the time of the last packet.
    remembered: BTreeMap<u128, (TokenBucket, Duration)>,
    others: TokenBucket,
}

impl SourceBuckets {
    /// No source is remembered.
    pub(super) fn empty(limit: &SourceLimit) -> Self {
        Self {
            limit: *limit,
            remembered: BTreeMap::new(),
            others: TokenBucket::full(&limit.limit),
        }
    }

    /// True when the packet of this left-aligned source may pass; takes its tokens then.
    pub(super) fn admit(&mut self, now: Duration, source: u128, length_octets: u32) -> bool {
        let prefix = AddressPattern::new(source, 0, self.limit.prefix_length).value();
        if let Some((bucket, last)) = self.remembered.get_mut(&prefix) {
            *last = now;
            return bucket.admit(now, length_octets);
        }
        if !self.has_room(now) {
            return self.others.admit(now, length_octets);
        }
        let mut bucket = TokenBucket::full(&self.limit.limit);
        let admitted = bucket.admit(now, length_octets);
        self.remembered.insert(prefix, (bucket, now));
        admitted
    }

    /// True when one more source can be remembered; for that, those are forgotten whose buckets are full again.
    fn has_room(&mut self, now: Duration) -> bool {
        let is_full =
            |buckets: &BTreeMap<_, _>| buckets.len() as u64 >= self.limit.max_sources.into();
        if is_full(&self.remembered) {
            let refill_time = self.others.refill_time();
            self.remembered
                .retain(|_, (_, last)| now.saturating_sub(*last) < refill_time);
        }
        !is_full(&self.remembered)
    }
}

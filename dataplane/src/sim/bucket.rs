//! Token buckets.

use std::time::Duration;

use crate::rule::{Limit, LimitUnit};

/// The longest packet: a bucket for octets that held less would never let it pass.
const LONGEST_PACKET_OCTETS: f64 = 65_535.0;
/// Packets that may arrive back to back at the lowest rates.
const LEAST_BURST_PACKETS: f64 = 5.0;

/// A limiter: tokens come at a constant rate up to the size of the bucket; a packet takes its tokens or is dropped.
#[derive(Clone, Debug)]
pub(super) struct TokenBucket {
    unit: LimitUnit,
    rate_per_sec: f64,
    size: f64,
    tokens: f64,
    filled_at: Duration,
}

impl TokenBucket {
    /// A full bucket for a limit: one second's worth of octets or the longest packet, 10 ms' worth of packets or 5.
    pub(super) fn full(limit: &Limit) -> Self {
        let rate = limit.rate_per_sec;
        let size = match limit.unit {
            LimitUnit::Bytes => rate.max(LONGEST_PACKET_OCTETS),
            LimitUnit::Packets => (rate / 100.0).max(LEAST_BURST_PACKETS),
        };
        Self {
            unit: limit.unit,
            rate_per_sec: rate,
            size,
            tokens: size,
            filled_at: Duration::ZERO,
        }
    }

    /// How long an empty bucket takes to be full.
    pub(super) fn refill_time(&self) -> Duration {
        Duration::try_from_secs_f64(self.size / self.rate_per_sec).unwrap_or(Duration::MAX)
    }

    /// True when the packet may pass; takes its tokens then.
    pub(super) fn admit(&mut self, now: Duration, length_octets: u32) -> bool {
        let elapsed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.rate_per_sec).min(self.size);
        self.filled_at = self.filled_at.max(now);
        let cost = match self.unit {
            LimitUnit::Bytes => f64::from(length_octets),
            LimitUnit::Packets => 1.0,
        };
        if cost > self.tokens {
            return false;
        }
        self.tokens -= cost;
        true
    }
}

/// The unit of a rate.
pub(super) fn unit_name(unit: LimitUnit) -> &'static str {
    match unit {
        LimitUnit::Bytes => "bytes/s",
        LimitUnit::Packets => "packets/s",
    }
}

//! Rates as the kernel's token buckets.
//!
//! The kernel counts whole units per second, minute, hour, day or week, and its bucket for octets
//! holds one unit's worth plus the burst. A packet longer than the bucket never passes, and receive
//! offloads hand over up to 65,535 octets at once: the bucket for octets therefore holds at least
//! that many.

use super::message::Attributes;
use crate::rule::{Limit, LimitUnit};

/// Parameters of a limit object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// What is counted.
    pub(super) measures: LimitUnit,
    /// Octets or packets in each `unit_secs`.
    pub(super) rate: u64,
    /// Seconds in which `rate` is granted.
    pub(super) unit_secs: u64,
    /// Octets or packets beyond that.
    pub(super) burst: u32,
}

/// How a rate is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enforcement {
    /// By a token bucket.
    Bucket(Bucket),
    /// No packet can be allowed: less than the kernel can count.
    Nothing,
    /// Every packet can be allowed: more than the kernel can count, and than any machine forwards.
    Everything,
}

/// Units of time that the kernel's `limit` is shown in by nft.
const UNITS: [(&str, u64); 5] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 3600),
    ("day", 86_400),
    ("week", 604_800),
];
/// The longest packet, and the least bucket for octets.
const LONGEST_PACKET: u64 = 65_535;
/// The rate at which the kernel's nanosecond arithmetic overflows: 2^64 / 10^9.
const FASTEST: u64 = 18_446_744_073;
/// Accepted error of a rate that is not a whole number in a unit.
const TOLERANCE: f64 = 0.005;

impl Bucket {
    /// Seconds that an empty bucket takes to be full, rounded up.
    pub(super) fn refill_secs(&self) -> u64 {
        let capacity = match self.measures {
            LimitUnit::Bytes => self.rate.saturating_add(self.burst.into()),
            LimitUnit::Packets => self.burst.into(),
        };
        self.unit_secs.saturating_mul(capacity).div_ceil(self.rate)
    }

    /// The kernel's attributes of a limit. `over`: what is over the rate goes on, not what is within.
    pub(super) fn attributes(&self, over: bool) -> Attributes {
        Attributes::new()
            .u64(1, self.rate)
            .u64(2, self.unit_secs)
            .u32(3, self.burst)
            .u32(4, u32::from(self.measures == LimitUnit::Bytes))
            // NFT_LIMIT_F_INV
            .u32(5, u32::from(over))
    }
}

impl Enforcement {
    /// Finds the bucket for a rate that is finite and greater than 0.
    pub(super) fn of(limit: &Limit) -> Self {
        let rate = limit.rate_per_sec;
        let (fastest, units) = match limit.unit {
            // A bucket of 65,535 octets overflows the kernel's arithmetic in units of a week.
            LimitUnit::Bytes => (FASTEST as f64, &UNITS[..4]),
            // One packet costs a whole number of nanoseconds, and none at all above this rate.
            LimitUnit::Packets => (1e9, &UNITS[..]),
        };
        if rate > fastest {
            return Self::Everything;
        }
        let candidates = units
            .iter()
            .filter_map(|&(_, unit_secs)| bucket(limit, unit_secs));
        let mut coarsest = Self::Nothing;
        for (bucket, error) in candidates {
            coarsest = Self::Bucket(bucket);
            if error <= TOLERANCE {
                break;
            }
        }
        coarsest
    }
}

/// The bucket in this unit and its relative error; `None` when the kernel would refuse it.
fn bucket(limit: &Limit, unit_secs: u64) -> Option<(Bucket, f64)> {
    let exact = limit.rate_per_sec * unit_secs as f64;
    let rate = exact.round() as u64;
    if rate == 0 {
        return None;
    }
    let burst = match limit.unit {
        LimitUnit::Bytes => LONGEST_PACKET.saturating_sub(rate),
        LimitUnit::Packets => (limit.rate_per_sec / 100.0).max(5.0) as u64,
    };
    let capacity = rate.checked_add(burst)?;
    if limit.unit == LimitUnit::Bytes && capacity > FASTEST / unit_secs {
        return None;
    }
    let burst = u32::try_from(burst).ok()?;
    let bucket = Bucket {
        measures: limit.unit,
        rate,
        unit_secs,
        burst,
    };
    Some((bucket, (rate as f64 - exact).abs() / exact))
}

/// As nft shows it: `1000 bytes/second burst 64535 bytes`.
impl std::fmt::Display for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = UNITS
            .iter()
            .find(|(_, secs)| *secs == self.unit_secs)
            .map_or("?", |unit| unit.0);
        match self.measures {
            LimitUnit::Bytes => {
                write!(f, "{} bytes/{unit}", self.rate)?;
                match self.burst {
                    0 => Ok(()),
                    burst => write!(f, " burst {burst} bytes"),
                }
            }
            LimitUnit::Packets => write!(f, "{}/{unit} burst {} packets", self.rate, self.burst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn enforcement(unit: LimitUnit, rate_per_sec: f64) -> Enforcement {
        Enforcement::of(&Limit { unit, rate_per_sec })
    }

    #[test]
    fn rates_become_buckets() {
        use LimitUnit::{Bytes, Packets};
        let rows = [
            (
                "bytes",
                Bytes,
                1000.0,
                "1000 bytes/second burst 64535 bytes",
            ),
            ("fast", Bytes, 1e9, "1000000000 bytes/second"),
            (
                "fraction above 1",
                Bytes,
                1.5,
                "90 bytes/minute burst 65445 bytes",
            ),
            (
                "half a byte",
                Bytes,
                0.5,
                "30 bytes/minute burst 65505 bytes",
            ),
            (
                "rounded within tolerance",
                Bytes,
                1000.4,
                "1000 bytes/second burst 64535 bytes",
            ),
            (
                "one a day",
                Bytes,
                1.0 / 86_400.0,
                "1 bytes/day burst 65534 bytes",
            ),
            ("packets", Packets, 100.0, "100/second burst 5 packets"),
            (
                "many packets",
                Packets,
                20_000.0,
                "20000/second burst 200 packets",
            ),
            (
                "packet a week",
                Packets,
                1.0 / 604_800.0,
                "1/week burst 5 packets",
            ),
        ];
        for (name, unit, rate, expected) in rows {
            match enforcement(unit, rate) {
                Enforcement::Bucket(bucket) => assert_eq!(bucket.to_string(), expected, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(enforcement(Bytes, 1e-6), Enforcement::Nothing);
        assert_eq!(enforcement(Packets, 1e-7), Enforcement::Nothing);
        assert_eq!(
            enforcement(Bytes, 18_446_744_074.0),
            Enforcement::Everything
        );
        assert_eq!(
            enforcement(Bytes, f64::from(f32::MAX)),
            Enforcement::Everything
        );
        assert_eq!(enforcement(Packets, 1e10), Enforcement::Everything);
    }

    proptest! {
        #[test]
        fn long_run_error_is_small_and_the_kernel_does_not_overflow(
            exponent in -2.5f64..11.0, packets in any::<bool>(),
        ) {
            let unit = if packets { LimitUnit::Packets } else { LimitUnit::Bytes };
            let rate = 10f64.powf(exponent);
            if let Enforcement::Bucket(bucket) = enforcement(unit, rate) {
                let kept = bucket.rate as f64 / bucket.unit_secs as f64;
                prop_assert!((kept / rate - 1.0).abs() < 0.02, "{} for {}", kept, rate);
                let nanoseconds = bucket.unit_secs.checked_mul(1_000_000_000).unwrap();
                let tokens = if packets {
                    (nanoseconds / bucket.rate).checked_mul(u64::from(bucket.burst))
                } else {
                    nanoseconds.checked_mul(bucket.rate + u64::from(bucket.burst))
                };
                prop_assert!(tokens.is_some());
                if !packets {
                    prop_assert!(bucket.rate + u64::from(bucket.burst) >= LONGEST_PACKET);
                    prop_assert!(nanoseconds.checked_mul(LONGEST_PACKET).is_some());
                }
            } else {
                prop_assert!(rate > 1e9);
            }
        }
    }
}

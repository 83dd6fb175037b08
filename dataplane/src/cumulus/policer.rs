//! Rates in the units of the target `POLICE`.

use std::fmt;

use crate::backend::Unsupported;
use crate::rule::{Limit, LimitUnit};

/// Accepted error of a rate, relative.
const TOLERANCE: f64 = 0.02;
/// The fastest rate in KB or packets a second: 2 Tbit/s, the most that Spectrum counts.
const FASTEST: f64 = 250e6;
/// The least burst in KB: seven of the longest frames.
const LEAST_BURST_KB: u64 = 64;
/// The least burst in packets.
const LEAST_BURST_PACKETS: u64 = 10;

/// Parameters of the target `POLICE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policer {
    /// KB or packets.
    pub unit: LimitUnit,
    /// KB or packets a second.
    pub rate: u64,
    /// KB or packets at once.
    pub burst: u64,
}

impl Policer {
    /// The policer for a rate that is finite and greater than 0; `kilobyte`: octets in what it calls a KB.
    ///
    /// Fails when whole units are off by more than 2%, and beyond what hardware counts.
    pub fn of(limit: &Limit, kilobyte: u32) -> Result<Self, Unsupported> {
        let (octets, unit, least_burst) = match limit.unit {
            LimitUnit::Bytes => (f64::from(kilobyte), "KB", LEAST_BURST_KB),
            LimitUnit::Packets => (1.0, "packets", LEAST_BURST_PACKETS),
        };
        let exact = limit.rate_per_sec / octets;
        let rate = exact.round();
        let error = (rate - exact).abs() / exact;
        // Rounded to nothing the error is 100%.
        if exact > FASTEST || error > TOLERANCE {
            let why = match exact > FASTEST {
                true => format!("more than {FASTEST} {unit} a second"),
                false => format!(
                    "{rate} {unit} a second are off by {:.0}%, and 2% are accepted",
                    error * 100.0
                ),
            };
            return Err(Unsupported(format!(
                "rate-limit: policers count whole {unit}: {why}"
            )));
        }
        // At most FASTEST, as checked above.
        let rate = rate as u64;
        Ok(Self {
            unit: limit.unit,
            rate,
            burst: least_burst.max(rate / 10),
        })
    }
}

/// As options of the target.
impl fmt::Display for Policer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.unit {
            LimitUnit::Bytes => "KB",
            LimitUnit::Packets => "pkt",
        };
        write!(
            f,
            "--set-mode {mode} --set-rate {} --set-burst {}",
            self.rate, self.burst
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_whole_units_or_refused() {
        use LimitUnit::{Bytes, Packets};
        let off = |rate, unit: &str, error| {
            Err(format!(
                "rate-limit: policers count whole {unit}: {rate} {unit} a second are off by {error}%, \
                 and 2% are accepted"
            ))
        };
        let rows = [
            (Bytes, 9_600.0, 1000, off(10, "KB", 4)),
            (
                Bytes,
                9_900.0,
                1000,
                Ok("--set-mode KB --set-rate 10 --set-burst 64"),
            ),
            (Bytes, 100.0, 1000, off(0, "KB", 100)),
            (
                Bytes,
                1_024_000.0,
                1024,
                Ok("--set-mode KB --set-rate 1000 --set-burst 100"),
            ),
            (
                Bytes,
                125e6,
                1000,
                Ok("--set-mode KB --set-rate 125000 --set-burst 12500"),
            ),
            (
                Packets,
                50.4,
                1000,
                Ok("--set-mode pkt --set-rate 50 --set-burst 10"),
            ),
            (Packets, 1.5, 1000, off(2, "packets", 33)),
            (
                Bytes,
                3e38,
                1000,
                Err("rate-limit: policers count whole KB: more than 250000000 KB a second".into()),
            ),
        ];
        for (unit, rate_per_sec, kilobyte, expected) in rows {
            let policer = Policer::of(&Limit { unit, rate_per_sec }, kilobyte);
            let text = policer
                .map(|policer| policer.to_string())
                .map_err(|error| error.0);
            assert_eq!(text, expected.map(str::to_string), "{rate_per_sec}");
        }
    }
}

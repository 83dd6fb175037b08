//! Actions of rules, by kind.

use dataplane::rule::LimitUnit;
use flowacl::flowspec::action::{RatePerSource, TrafficFilteringActions};
use rand::Rng;
use rand::rngs::StdRng;

use crate::specifications::COLLECTORS;

/// What rules do, as far as a layout may tell them apart.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Drops.
    Discard,
    /// Ends the evaluation.
    Accept,
    /// Writes DSCP and ends the evaluation.
    Mark,
    /// Counts only.
    Continue,
    /// Writes DSCP; later rules match what came in.
    MarkAndContinue,
    /// Samples and ends the evaluation.
    Sample,
    /// Samples only.
    SampleAndContinue,
    /// Samples and drops.
    SampleAndDiscard,
    /// A rate in bytes that nothing here exceeds: what is dropped depends on time.
    ByteRate,
    /// The same, and later rules follow.
    ByteRateAndContinue,
    /// Such a rate in packets, and DSCP.
    PacketRateAndMark,
    /// Such a rate for each source.
    SourceRate,
    /// The same beside one for all, and later rules follow.
    SourceRateAndContinue,
    /// Sends a copy elsewhere.
    Copy,
    /// The same, and later rules follow.
    CopyAndContinue,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::Discard,
        Self::Accept,
        Self::Mark,
        Self::Continue,
        Self::MarkAndContinue,
        Self::Sample,
        Self::SampleAndContinue,
        Self::SampleAndDiscard,
        Self::ByteRate,
        Self::ByteRateAndContinue,
        Self::PacketRateAndMark,
        Self::SourceRate,
        Self::SourceRateAndContinue,
        Self::Copy,
        Self::CopyAndContinue,
    ];

    /// Actions of this kind.
    pub fn actions(self, random: &mut StdRng) -> TrafficFilteringActions {
        let mut actions = TrafficFilteringActions::default();
        let dscp = Some(random.random_range(0..64));
        match self {
            Self::Discard => actions.rate_bytes_per_sec = Some(0.0),
            Self::Accept => {}
            Self::Mark => actions.mark_dscp = dscp,
            Self::Continue => actions.continue_evaluation = true,
            Self::MarkAndContinue => {
                actions.mark_dscp = dscp;
                actions.continue_evaluation = true;
            }
            Self::Sample => actions.sample = true,
            Self::SampleAndContinue => {
                actions.sample = true;
                actions.continue_evaluation = true;
            }
            Self::SampleAndDiscard => {
                actions.sample = true;
                actions.rate_bytes_per_sec = Some(0.0);
            }
            Self::ByteRate => actions.rate_bytes_per_sec = Some(1e9),
            Self::ByteRateAndContinue => {
                actions.rate_bytes_per_sec = Some(1e9);
                actions.continue_evaluation = true;
            }
            Self::PacketRateAndMark => {
                actions.rate_packets_per_sec = Some(1e6);
                actions.mark_dscp = dscp;
            }
            Self::SourceRate => actions.rates_per_source = vec![rate_per_source(random)],
            Self::SourceRateAndContinue => {
                actions.rates_per_source = vec![rate_per_source(random)];
                actions.rate_bytes_per_sec = Some(1e9);
                actions.continue_evaluation = true;
            }
            Self::Copy => actions.copy_to = Some(COLLECTORS[0]),
            Self::CopyAndContinue => {
                actions.copy_to = Some(COLLECTORS[0]);
                actions.continue_evaluation = true;
            }
        }
        actions
    }
}

/// A rate for each source that nothing here exceeds.
fn rate_per_source(random: &mut StdRng) -> RatePerSource {
    RatePerSource {
        unit: LimitUnit::Bytes,
        rate_per_sec: 1e9,
        prefix_length: random.random_range(0..=32),
        table: 0,
    }
}

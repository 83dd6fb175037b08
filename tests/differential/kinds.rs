//! Actions of rules, by kind.

use flowacl::flowspec::action::TrafficFilteringActions;
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
    /// Sends a copy elsewhere.
    Copy,
    /// The same, and later rules follow.
    CopyAndContinue,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
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
            Self::Copy => actions.copy_to = Some(COLLECTORS[0]),
            Self::CopyAndContinue => {
                actions.copy_to = Some(COLLECTORS[0]);
                actions.continue_evaluation = true;
            }
        }
        actions
    }
}

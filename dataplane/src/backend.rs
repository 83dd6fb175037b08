//! The contract between the upper half and a packet filter.
//!
//! Ownership: a backend changes only what it created. Atomicity: after [`Backend::commit`] returns an error the packet
//! filter is what it was before. Order: rules of a family take effect in ascending order of their keys. Counters of
//! rules that a commit does not name survive it.

use std::sync::Arc;

use crate::desired::{Changes, Link, Settings};
use crate::rule::{Rule, RuleId};

/// Packets and octets that matched a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Octets of IP packets.
    pub bytes: u64,
}

impl Counter {
    /// Adds what another one has counted.
    pub fn add(&mut self, other: Counter) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A rule that a backend cannot express exactly, and why, in the operator's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// A rule that an earlier process left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its id.
    pub id: RuleId,
    /// Its [`Rule::memo`].
    pub memo: Vec<u8>,
}

/// Whoever changed what is not theirs, as far as that is known: `nft (thread 4711)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit(pub String);

/// A commit or another request failed; nothing of it took effect.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    /// The packet filter refused something; `rule` names the rule at fault where that is known.
    #[error("{reason}")]
    Refused {
        /// The rule whose part of the commit was refused.
        rule: Option<RuleId>,
        /// What the packet filter said.
        reason: String,
    },
    /// There is no room for these rules of the commit, each with the reason; the others would go in. Trying again helps when
    /// other rules have gone.
    #[error("no room for {} rules, {}", .0.len(), first_reason(.0))]
    NoRoom(Vec<(RuleId, String)>),
    /// The packet filter could not be reached or answered nonsense; trying again may help.
    #[error("{0}")]
    Unavailable(String),
}

/// The first of several reasons.
fn first_reason(rules: &[(RuleId, String)]) -> &str {
    rules.first().map_or("none named", |(_, reason)| reason)
}

/// What a packet filter can express.
pub trait Capability: Send + Sync {
    /// Says whether the rule can be expressed exactly; if not, why. Pure.
    fn check(&self, rule: &Rule) -> Result<(), Unsupported>;

    /// The most changes that one commit should have: carrying it out takes time, in which the packet filter does nothing else.
    fn commit_max(&self) -> usize {
        usize::MAX
    }

    /// How many entries of a hardware table the rule takes: for all interfaces of its set, though the settings may leave some of
    /// them out, or for each pattern of the settings. `None` where that is no matter.
    fn entries(&self, _rule: &Rule) -> Option<usize> {
        None
    }
}

/// A packet filter that can be made equal to a set of rules.
pub trait Backend: Send {
    /// The name that the configuration uses: `nftables`, `sim`.
    fn name(&self) -> &'static str;

    /// What this packet filter can express; the same for the life of the backend.
    fn capability(&self) -> Arc<dyn Capability>;

    /// The rules that an earlier process left in force, and that stay so until [`Backend::resume`]. Call it first.
    fn recover(&mut self) -> Result<Vec<Recovered>, BackendError>;

    /// Takes possession in one step: installs the settings and exactly these rules, and removes whatever else an
    /// earlier process left. A rule that has the id of a recovered one keeps its counter, and its limiters where they
    /// are the same.
    fn resume(
        &mut self,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
    ) -> Result<(), BackendError>;

    /// [`Backend::resume`] with no rule.
    fn start(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        self.resume(settings, links, &[])
    }

    /// Applies new settings or a changed set of interfaces; rules and counters stay.
    fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError>;

    /// Carries out all changes, or none. Every rule in `put` has passed [`Capability::check`].
    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError>;

    /// Counters of all installed rules.
    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError>;

    /// Rules in force that cannot do all that they shall at the moment, and why, in the operator's words.
    fn impaired(&mut self) -> Vec<(RuleId, String)> {
        Vec::new()
    }

    /// Looks whether others changed what is owned, restores it, and says by whom it had been changed. Counters that
    /// are still there go on. Cheap while nothing changed: it is called every second.
    fn audit(&mut self) -> Result<Option<Culprit>, BackendError>;

    /// What would be (or is) installed for these rules alone, in the backend's own language, for an operator to read.
    fn render(&self, settings: &Settings, rules: &[Arc<Rule>]) -> String;

    /// Those of these rules that there would be no room for, if there were no others, and why.
    fn without_room(&self, _: &Settings, _: &[Arc<Rule>]) -> Vec<(RuleId, String)> {
        Vec::new()
    }

    /// Facts for `show dataplane`: label and value, in the order in which they are shown.
    fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError>;

    /// Conditions an operator should know of (offloads, flowtables, interfaces that are not covered).
    fn warnings(&mut self) -> Vec<String>;

    /// Removes everything owned.
    fn stop(&mut self) -> Result<(), BackendError>;
}

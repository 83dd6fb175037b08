//! The controllers, each with the flows that it can announce.

pub mod bird;
pub mod exabgp;
pub mod frr;
pub mod gobgp;

use super::program::Program;

/// Characters that the comment of a rule has room for in any case.
const COMMENT_CHARACTERS: usize = 100;

/// A Flow Specification, in the words of one controller and in ours.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// What the controller is told.
    pub words: &'static str,
    /// What it must send: the normalised NLRI with its length octet, in hexadecimal.
    pub nlri: &'static str,
    /// The components that we must read in it.
    pub matches: &'static str,
    /// The action.
    pub then: &'static str,
}

impl Flow {
    /// The text form of `show rules`.
    pub fn text(&self) -> String {
        format!(
            "flow route {{ match {{ {} }} then {{ {} }} }}",
            self.matches, self.then
        )
    }

    /// How its comment in the kernel's listing begins; the rest may not fit in.
    pub fn comment(&self) -> String {
        let matches = self.matches.trim_end_matches(';');
        let action = self.then.trim_end_matches(';');
        let comment = format!("comment \"{matches} then {action}");
        comment.chars().take(COMMENT_CHARACTERS).collect()
    }
}

/// How a controller restarts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restart {
    /// Seconds of graceful restart (RFC 4724), if it is configured.
    pub graceful_secs: Option<u32>,
    /// Seconds of long-lived graceful restart (RFC 9494), if it is configured.
    pub long_lived_secs: Option<u32>,
    /// It knows that it ran before.
    pub again: bool,
}

/// A controller that runs.
pub trait Controller {
    /// Flows in its words. The first discards UDP to 203.0.113.5 port 53.
    fn flows(&self) -> &'static [Flow];

    /// Announces a flow.
    fn announce(&mut self, flow: &Flow);

    /// Withdraws it.
    fn withdraw(&mut self, flow: &Flow);

    /// The process that holds the session.
    fn process(&self) -> &Program;
}

//! Why policy refuses a path.

use std::fmt;

/// A refusal: its kind for counters, and its reason for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which check failed.
    pub kind: RefusalKind,
    /// The limit and the value that offends it, in words.
    pub reason: Box<str>,
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: RefusalKind, reason: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The checks that can refuse a path, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalKind {
    /// Its actions cannot be read.
    Undecodable,
    /// It has been here before (RFC 4271 §9.1.2, RFC 4456 §8).
    Loop,
    /// A community refuses it, or none accepts it.
    Community,
    /// It would match every packet.
    MatchesEverything,
    /// Its destination prefix is missing, not allowed or too short.
    Destination,
    /// Its source prefix is missing, not allowed or too short.
    Source,
    /// An action is not allowed.
    Action,
    /// A rate is too low or too high.
    Rate,
    /// The unicast routes do not bear it out (RFC 8955 §6, RFC 9117 §4).
    Validation,
    /// It has not been announced for too long.
    Expired,
    /// The neighbor has too many in force.
    MaxRoutes,
    /// All neighbors together have too many in force.
    MaxTotalRoutes,
}

impl RefusalKind {
    /// The name used in metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            RefusalKind::Undecodable => "undecodable",
            RefusalKind::Loop => "loop",
            RefusalKind::Community => "community",
            RefusalKind::MatchesEverything => "matches-everything",
            RefusalKind::Destination => "destination",
            RefusalKind::Source => "source",
            RefusalKind::Action => "action",
            RefusalKind::Rate => "rate",
            RefusalKind::Validation => "validation",
            RefusalKind::Expired => "expired",
            RefusalKind::MaxRoutes => "max-routes",
            RefusalKind::MaxTotalRoutes => "max-total-routes",
        }
    }

    /// True when the path is refused only for the number of others.
    pub const fn is_limit(self) -> bool {
        matches!(self, RefusalKind::MaxRoutes | RefusalKind::MaxTotalRoutes)
    }
}

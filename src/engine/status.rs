//! What the operator is shown: the JSON of the control API and of `show --json`.

use serde::{Deserialize, Serialize};

/// State of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteState {
    /// Enforced.
    Installed,
    /// On its way to the packet filter.
    Pending,
    /// Refused by policy, or taken out of force by the operator.
    Rejected,
    /// Cannot be expressed exactly.
    Unsupported,
    /// Another path for the same NLRI is in force.
    Shadowed,
    /// Enforced, but its neighbor is gone.
    Stale,
}

/// One route, as `show rules --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// The name of its rule in the packet filter, as in `r17`, while it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Normalised NLRI with its length octets, in hex.
    pub nlri: String,
    /// `ipv4-flow` and so on.
    pub family: String,
    /// Text form: `flow route { match { … } then { … } }`.
    pub flow: String,
    /// Address of the neighbor that announced it.
    pub neighbor: String,
    /// Which of the neighbor's paths, where it tells them apart (RFC 7911).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_id: Option<u32>,
    /// Traffic Filtering Actions in words.
    pub actions: Vec<String>,
    /// What became of it.
    pub state: RouteState,
    /// Why, for every state but `installed`.
    pub reason: Option<String>,
    /// Packets that matched.
    pub packets: u64,
    /// Octets of IP packets that matched.
    pub bytes: u64,
    /// Seconds since the route was last announced with other attributes, or first.
    pub age_secs: u64,
    /// Entries of a hardware table that it takes, for each pattern of interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<usize>,
    /// Protected traffic that it matches and does not touch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<String>,
    /// Things worth knowing that do not keep the route from being enforced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// `show rules --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RulesReport {
    /// All routes in precedence order, IPv4 first.
    pub rules: Vec<RuleStatus>,
}

/// Numbers of routes by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCounts {
    /// In the Adj-RIB-In.
    pub received: usize,
    /// Not refused by policy.
    pub accepted: usize,
    /// Refused by policy.
    pub rejected: usize,
    /// Enforced.
    pub installed: usize,
    /// On their way.
    pub pending: usize,
    /// Not expressible.
    pub unsupported: usize,
    /// Behind another path.
    pub shadowed: usize,
    /// Enforced without their neighbor.
    pub stale: usize,
    /// Unicast routes held for validation; not part of the other numbers.
    #[serde(default)]
    pub unicast: usize,
    /// Announcements refused for their number and not even kept for show; not part of the other numbers.
    pub not_kept: u64,
}

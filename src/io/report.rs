//! What the control API answers, as far as it is not the engine's: the JSON of `show --json`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::config::KeyChange;
use crate::engine::orders::DisabledRule;
use crate::engine::status::RouteCounts;

/// `GET /v1/neighbors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighborsReport {
    /// Configured neighbors in the order of the configuration, then those of prefixes by address.
    pub neighbors: Vec<NeighborStatus>,
    /// Prefixes from which neighbors may connect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dynamic: Vec<DynamicStatus>,
}

/// One neighbor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighborStatus {
    /// Its address.
    pub address: IpAddr,
    /// State of RFC 4271 §8.2.2, as in `Established`.
    pub state: String,
    /// Families in use; when the session is not up, those that are offered.
    pub families: Vec<String>,
    /// Its AS.
    pub remote_as: u32,
    /// The operator's words.
    pub description: Option<String>,
    /// True when it connects to us, false when we dial as well.
    pub passive: bool,
    /// True when it is one of a prefix.
    pub dynamic: bool,
    /// Its BGP identifier, while the session is up.
    pub router_id: Option<Ipv4Addr>,
    /// Hold time in use, while the session is up.
    pub hold_time_secs: Option<u16>,
    /// How long the session has been up.
    pub uptime_secs: Option<u64>,
    /// Times that the session came up.
    pub ups: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// UPDATEs with errors that did not reset the session.
    pub malformed_updates: u64,
    /// What both sides can do, while the session is up.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// How long its rules stay when the connection is lost, as far as graceful restart was negotiated.
    #[serde(default)]
    pub restart_time_secs: Option<u64>,
    /// For how many seconds its stale routes stay at most.
    #[serde(default)]
    pub stale_secs_left: Option<u64>,
    /// What its operator wrote when it last shut the session down or reset it (RFC 9003).
    #[serde(default)]
    pub shutdown_message: Option<String>,
    /// Why the session last went down or did not come up.
    pub last_error: Option<String>,
    /// What became of its routes.
    #[serde(flatten)]
    pub routes: RouteCounts,
}

impl NeighborStatus {
    /// True when the session is up.
    pub fn is_established(&self) -> bool {
        self.state == "Established"
    }
}

/// A prefix from which neighbors may connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DynamicStatus {
    /// The prefix.
    pub prefix: IpNetwork,
    /// The AS they must have.
    pub remote_as: u32,
    /// How many of them there are now.
    pub neighbors: usize,
}

/// `GET /v1/summary`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SummaryReport {
    /// Version of the daemon.
    pub version: String,
    /// Our AS.
    pub local_as: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Seconds since the daemon started.
    pub uptime_secs: u64,
    /// What enforces the rules.
    pub backend: String,
    /// True when the packet filter is what the routes ask for: nothing is on its way.
    pub settled: bool,
    /// Neighbors, prefixes not counted.
    pub neighbors: usize,
    /// Neighbors whose session is up.
    pub established: usize,
    /// Connections of nobody who is configured, closed at once.
    pub strangers_refused: u64,
    /// True when the operator has suspended all rules (`flowacl panic`).
    #[serde(default)]
    pub suspended: bool,
    /// Rules that the operator has taken out of force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disabled: Vec<DisabledRule>,
    /// Refused routes by the kind of their refusal, as in `max-routes`; without those that are not kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: BTreeMap<String, usize>,
    /// What became of all routes.
    #[serde(flatten)]
    pub routes: RouteCounts,
}

/// `GET /v1/dataplane`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataplaneReport {
    /// What enforces the rules.
    pub backend: String,
    /// Label and value, in the order in which they are shown.
    pub facts: Vec<(String, String)>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
}

/// Body of `POST /v1/disable` and `POST /v1/enable`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderRequest {
    /// The rule, by id, NLRI in hex or text.
    pub rule: String,
    /// Also for the time after a restart. What puts rules back in force always is.
    pub persist: bool,
}

/// Body of `POST /v1/panic` and `POST /v1/resume`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuspendRequest {
    /// See [`OrderRequest::persist`].
    pub persist: bool,
}

/// Body of `POST /v1/diff`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiffRequest {
    /// The text of a configuration file; `None`: the daemon's own file.
    pub text: Option<String>,
}

/// Answer to `POST /v1/diff` and `POST /v1/reload`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DiffReport {
    /// Everything that is wrong with the new configuration: then the old one stays in force as a whole.
    pub errors: Vec<String>,
    /// Keys that are not the same in the configuration in force and the new one.
    pub changes: Vec<KeyChange>,
    /// What becomes of neighbors, in words.
    pub effects: Vec<String>,
}

/// Body of `POST /v1/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// The packet in words, as in `udp 198.51.100.7:123 > 203.0.113.5:4444 len 468`.
    pub packet: String,
}

/// Body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// What went wrong.
    pub error: String,
}

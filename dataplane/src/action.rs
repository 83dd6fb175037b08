//! What a rule does to the packets that match: RFC 8955's Traffic Filtering Actions as a packet filter sees them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::rare::{Rare, RareActions};

/// What happens to a packet that matches, in this order: it is counted, sampled, limited with others of its source, limited
/// with all others, copied, redirected, marked, and then evaluation stops or goes on.
///
/// Matching always sees the packet as it arrived: a mark by an earlier rule does not change what later rules match.
/// When several rules mark one packet the first in order wins, and so it is when several redirect it, or copy it. A packet
/// that a rule drops in the end is neither redirected nor copied.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Action {
    /// Drop the packet. Limits, marks, redirects and `continue_evaluation` are then without effect.
    pub discard: bool,
    /// Limiters; a packet over any of them is dropped. At most one of each unit.
    pub limits: Vec<Limit>,
    /// Write this DSCP (0 to 63) before the packet leaves the filter; ECN bits stay.
    pub mark_dscp: Option<u8>,
    /// Hand a copy to the sampling group of the configuration.
    pub sample: bool,
    /// What few rules ask for.
    pub rare: Rare<RareActions>,
    /// Go on with later rules (RFC 8955 §7.3: the T bit set). False: this rule decides.
    pub continue_evaluation: bool,
}

impl Action {
    /// Where packets go that pass, if not where they are destined to.
    pub fn route(&self) -> Option<&Arc<Route>> {
        self.rare.redirect.as_ref().filter(|_| !self.discard)
    }

    /// Limiters that each source has for itself, for packets that are not discarded anyway.
    pub fn source_limits(&self) -> &[SourceLimit] {
        match self.discard {
            true => &[],
            false => &self.rare.source_limits,
        }
    }

    /// Where copies of packets go that pass.
    pub fn copy_to(&self) -> Option<IpAddr> {
        self.rare.copy_to.filter(|_| !self.discard)
    }
}

/// Where redirected packets go. Those for an address of this machine are delivered all the same. Instances are ordered
/// before next hops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// By the routes of this instance alone. A packet for which it has none is discarded.
    Instance(RoutingInstance),
    /// To these addresses, at least one, of the family of the packets: neighbors, or reached by the routes of the instance, or
    /// where none is named by the machine's own. Several share the packets, each flow stays with one.
    NextHops(BTreeSet<IpAddr>, Option<RoutingInstance>),
}

impl Route {
    /// The instance that the packets stay in, if one is named.
    pub fn instance(&self) -> Option<&RoutingInstance> {
        match self {
            Self::Instance(instance) => Some(instance),
            Self::NextHops(_, instance) => instance.as_ref(),
        }
    }
}

/// Routes that are not those of the machine itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoutingInstance {
    /// The routing table of this number.
    Table(u32),
    /// The table of the VRF of this name.
    Vrf(Box<str>),
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(instance) => write!(f, "{instance}"),
            Self::NextHops(addresses, instance) => {
                let plural = if addresses.len() > 1 { "s" } else { "" };
                let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                write!(f, "next hop{plural} {}", addresses.join(", "))?;
                match instance {
                    Some(instance) => write!(f, " in {instance}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for RoutingInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "table {table}"),
            Self::Vrf(name) => write!(f, "VRF {name}"),
        }
    }
}

/// What a limiter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitUnit {
    /// Octets of IP packets (RFC 8955 §7.1).
    Bytes,
    /// Packets (RFC 8955 §7.2).
    Packets,
}

impl LimitUnit {
    /// Its name, in the plural: `bytes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Packets => "packets",
        }
    }
}

/// A token bucket shared by all packets that match the rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// What is counted.
    pub unit: LimitUnit,
    /// Units a second: finite and greater than 0.
    pub rate_per_sec: f64,
}

/// Token buckets for the sources of packets that match the rule, one for each.
///
/// A source whose bucket is full again need not be remembered. As long as all are remembered that there is room for, packets
/// of further sources share one more bucket: a flood of invented sources passes at the rate of a single one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceLimit {
    /// The rate of each source, and of those that find no room.
    pub limit: Limit,
    /// Leading bits of an address that tell sources apart: no more than an address of the rule's family has.
    pub prefix_length: u8,
    /// Sources that have a bucket at the same time; at least 1.
    pub max_sources: u32,
}

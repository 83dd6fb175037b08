//! Routes of all neighbors, and the best path for each NLRI.
//!
//! The Adj-RIB-In of a neighbor is the set of [`Path`]s that carry its address; the Loc-RIB is the best path of every
//! entry. Entries stand in precedence order within a family, so that walking them is evaluating them.

pub mod best_path;
mod refusal;
mod table;
mod unicast;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use crate::flowspec::action::TrafficFilteringActions;
use crate::wire::attribute::Attributes;
use crate::wire::iana::FlowFamily;
use crate::wire::nlri::Nlri;
use crate::wire::path::PathId;
use dataplane::rule::OrderKey;

pub use refusal::{Refusal, RefusalKind};
pub use table::{Entry, Rib, place_of, route_key};
pub use unicast::{BestChange, Essence, UnicastPath, UnicastRib};

/// The place of an NLRI in the table: family, then precedence. Two NLRI are the same route when their keys are equal.
pub type RouteKey = (FlowFamily, OrderKey);

/// The place of a path among all of one neighbor: its NLRI, and which of several paths for it.
pub type Place = (RouteKey, PathId);

/// What a neighbor is, as far as choosing between paths goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its address: names the Adj-RIB-In.
    pub address: IpAddr,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// It is in our AS.
    pub ibgp: bool,
}

/// Who brought a route into our AS: ORIGINATOR_ID, or the neighbor itself (RFC 9117 §4.1).
pub fn originator_address(peer: &Peer, attributes: &Attributes) -> IpAddr {
    let reflected = attributes.originator_id.map(IpAddr::V4);
    reflected.unwrap_or(peer.address)
}

/// What a neighbor announced: an NLRI with its attributes (RFC 4271 §1.1).
#[derive(Clone, Debug)]
pub struct Route {
    /// The Flow Specification.
    pub nlri: Nlri,
    /// Which of the neighbor's paths for it (RFC 7911).
    pub id: PathId,
    /// Who announced it; shared by all its routes.
    pub peer: Arc<Peer>,
    /// Attributes of the UPDATE that carried it; shared by all its routes.
    pub attributes: Arc<Attributes>,
    /// What its communities ask for; shared likewise.
    pub actions: Arc<TrafficFilteringActions>,
}

/// One neighbor's path for an NLRI; there may be several (RFC 7911).
#[derive(Clone, Debug)]
pub struct Path {
    /// What was announced; shared with the rule that enforces it.
    pub route: Arc<Route>,
    /// Why policy refuses it; such a path is kept for show and is never best.
    pub rejected: Option<Arc<Refusal>>,
    /// Whether its neighbor still stands by it.
    pub freshness: Freshness,
    /// When it was first announced, or last with other attributes.
    pub since: Instant,
}

/// Whether a neighbor still stands by a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// Announced, and not withdrawn.
    #[default]
    Fresh,
    /// Kept until its neighbor has announced its routes anew or a time has passed.
    Stale,
    /// Likewise, for so long that any other path is better (RFC 9494 §4.3).
    LongLivedStale,
}

impl Path {
    /// True when its neighbor has to announce it anew.
    pub fn is_stale(&self) -> bool {
        self.freshness != Freshness::Fresh
    }

    /// True when both are the same path, with whatever attributes.
    pub fn is_same(&self, other: &Self) -> bool {
        self.is_of(other.route.peer.address, other.route.id)
    }

    /// True for this one of a neighbor's paths.
    pub fn is_of(&self, peer: IpAddr, id: PathId) -> bool {
        self.route.peer.address == peer && self.route.id == id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets; of these the table holds one for each NLRI and neighbor.
    #[test]
    fn what_there_are_many_of_is_small() {
        assert!(size_of::<Path>() <= 40, "{}", size_of::<Path>());
        assert!(size_of::<Route>() <= 56, "{}", size_of::<Route>());
    }
}

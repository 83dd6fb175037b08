//! What a later process needs to know of an installed rule: [`Rule::memo`](dataplane::rule::Rule::memo) as octets.
//!
//! A version, who announced the route, and the route as the body of an UPDATE that would announce it: the Flow
//! Specification, the communities that ask for its actions, and what the choice between several neighbors' paths
//! looks at:
//!
//! | octets | content |
//! |---|---|
//! | 1 | [`VERSION`] |
//! | 1 | 0x01: the neighbor has an IPv6 address; 0x02: it is in our AS; 0x04: the UPDATE has Path Identifiers (RFC 7911) |
//! | 4 or 16 | the neighbor's address |
//! | 4 | its BGP identifier |
//! | rest | body of an UPDATE with four-octet AS numbers (RFC 4271 §4.3) |
//!
//! The rule for a host, a protocol and a port takes about 60 octets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::rule::Background;

use super::lower::write_label;
use crate::flowspec::action::{ActionError, TrafficFilteringActions};
use crate::flowspec::text::format_match;
use crate::rib::{Peer, Route};
use crate::wire::attribute::{Attributes, Origin};
use crate::wire::community::{LLGR_STALE, NO_LLGR};
use crate::wire::cursor::{Cursor, Truncated};
use crate::wire::error::WireError;
use crate::wire::iana::FlowFamily;
use crate::wire::message::HEADER_LENGTH;
use crate::wire::nlri::Nlri;
use crate::wire::path::{PathId, PathOf};
use crate::wire::update::{self, DecodeContext, Update};

/// The one form that is written and read.
pub const VERSION: u8 = 1;

/// Flag: the neighbor's address has 16 octets.
const IPV6_ADDRESS: u8 = 0x01;
/// Flag: the neighbor is in our AS.
const IBGP: u8 = 0x02;
/// Flag: the neighbor has several paths for the NLRI, or may have.
const ADD_PATH: u8 = 0x04;

/// The longest UPDATE that is written: its own length field ends there.
const MAX_MESSAGE: usize = u16::MAX as usize;

/// What a memo tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Memo {
    /// Who announced the route.
    pub peer: Peer,
    /// The route.
    pub nlri: Nlri,
    /// Which of the neighbor's paths for it.
    pub id: PathId,
    /// Of its attributes those that actions and the choice between paths depend on.
    pub attributes: Attributes,
    /// What its communities ask for.
    pub actions: TrafficFilteringActions,
}

/// Octets that are no memo of ours: the rule that they belong to cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoError {
    /// The rule was not written by flowacl, or before there were memos.
    #[error("there is no memo")]
    Missing,
    /// Another version of flowacl wrote it.
    #[error("memo of version {0}, but only {VERSION} is known")]
    UnknownVersion(u8),
    /// Flags that no version 1 has.
    #[error("memo with unknown flags {0:#04x}")]
    UnknownFlags(u8),
    /// It ends too early.
    #[error("memo cut short at octet {offset}: {0}", offset = .0.offset)]
    Truncated(#[from] Truncated),
    /// The UPDATE would reset a session.
    #[error("memo with a malformed UPDATE: {0}")]
    Malformed(#[from] WireError),
    /// The UPDATE has errors, or does anything but to announce one route.
    #[error("memo with an UPDATE that does not announce one route")]
    NotOneRoute,
    /// The actions cannot be read.
    #[error("memo with malformed actions: {0}")]
    Actions(#[from] ActionError),
}

/// The UPDATE in a memo is decoded as from a neighbor that negotiated everything.
fn context(ibgp: bool, add_path: bool) -> DecodeContext {
    let families = FlowFamily::ALL.into_iter().filter(|_| add_path);
    DecodeContext {
        add_path: families.map(FlowFamily::afi_safi).collect(),
        four_octet_as: true,
        ibgp,
        unicast: Vec::new(),
        families: FlowFamily::ALL.to_vec(),
    }
}

/// The line that operators read beside the rule that enforces it.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_label(f, &self.nlri, &self.actions)
    }
}

impl Background for Route {
    fn subject(&self) -> String {
        format_match(&self.nlri)
    }

    fn memo(&self) -> Vec<u8> {
        encode(self)
    }
}

/// The memo of a rule; empty, so that it will not be kept, when no UPDATE could carry it.
fn encode(route: &Route) -> Vec<u8> {
    let peer = &*route.peer;
    let (kind, address) = match peer.address {
        IpAddr::V4(address) => (0, address.octets().to_vec()),
        IpAddr::V6(address) => (IPV6_ADDRESS, address.octets().to_vec()),
    };
    let ibgp = if peer.ibgp { IBGP } else { 0 };
    let add_path = if route.id != 0 { ADD_PATH } else { 0 };
    let update = Update {
        announced: vec![PathOf {
            id: route.id,
            route: route.nlri.clone(),
        }],
        attributes: essence(&route.attributes, &route.actions),
        ..Update::default()
    };
    let (messages, _) = update.encode(&context(peer.ibgp, route.id != 0), MAX_MESSAGE);
    let Some(message) = messages.first() else {
        return Vec::new();
    };
    let mut octets = vec![VERSION, kind | ibgp | add_path];
    octets.extend(address);
    octets.extend(peer.router_id.octets());
    octets.extend_from_slice(&message[HEADER_LENGTH..]);
    octets
}

/// What of the attributes outlives the process.
fn essence(attributes: &Attributes, actions: &TrafficFilteringActions) -> Attributes {
    let (extended_communities, ipv6_extended_communities) = actions.to_communities();
    Attributes {
        origin: attributes.origin.or(Some(Origin::Incomplete)),
        as_path: attributes.as_path.clone(),
        med: attributes.med,
        local_pref: attributes.local_pref,
        originator_id: attributes.originator_id,
        cluster_list: attributes.cluster_list.clone(),
        communities: long_lived_communities(attributes),
        extended_communities,
        ipv6_extended_communities,
        ..Attributes::default()
    }
}

/// The communities that say how a route is kept without its neighbor (RFC 9494 §3).
fn long_lived_communities(attributes: &Attributes) -> Vec<u32> {
    let communities = attributes.communities.iter().copied();
    communities
        .filter(|community| matches!(*community, LLGR_STALE | NO_LLGR))
        .collect()
}

/// Reads a memo. Total: any octets give a memo or say why not.
pub fn decode(octets: &[u8]) -> Result<Memo, MemoError> {
    if octets.is_empty() {
        return Err(MemoError::Missing);
    }
    let mut cursor = Cursor::new(octets, 0);
    let version = cursor.u8()?;
    if version != VERSION {
        return Err(MemoError::UnknownVersion(version));
    }
    let flags = cursor.u8()?;
    if flags & !(IPV6_ADDRESS | IBGP | ADD_PATH) != 0 {
        return Err(MemoError::UnknownFlags(flags));
    }
    let address = match flags & IPV6_ADDRESS {
        0 => IpAddr::V4(Ipv4Addr::from(cursor.array()?)),
        _ => IpAddr::V6(Ipv6Addr::from(cursor.array::<16>()?)),
    };
    let peer = Peer {
        address,
        router_id: Ipv4Addr::from(cursor.array()?),
        ibgp: flags & IBGP != 0,
    };
    let context = context(peer.ibgp, flags & ADD_PATH != 0);
    let update = update::decode(cursor.rest(), &context)?;
    let says_more = !update.withdrawn.is_empty()
        || !update.errors.is_empty()
        || update.end_of_rib.is_some()
        || update.not_negotiated.is_some();
    let PathOf { id, route: nlri } = match <[_; 1]>::try_from(update.announced) {
        Ok([path]) if !says_more => path,
        Ok(_) | Err(_) => return Err(MemoError::NotOneRoute),
    };
    let attributes = update.attributes;
    let actions = TrafficFilteringActions::from_communities(
        &attributes.extended_communities,
        &attributes.ipv6_extended_communities,
    )?;
    Ok(Memo {
        peer,
        nlri,
        id,
        attributes,
        actions,
    })
}

#[cfg(test)]
#[path = "memo_tests.rs"]
mod tests;

//! What the operator orders against routes: single rules out of force, or all of them.
//!
//! An order names an NLRI, not a neighbor: it holds whoever announces the route, and while nobody does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dataplane::rule::RuleId;
use serde::{Deserialize, Serialize};

use super::Engine;
use crate::flowspec::text::{format_match, parse_flows};
use crate::rib::{Entry, RouteKey, route_key};
use crate::wire::cursor::Cursor;
use crate::wire::iana::FlowFamily;
use crate::wire::nlri::Nlri;

/// Why a route is out of force because of an order for it.
pub(super) const DISABLED: &str =
    "disabled by the operator (flowacl enable puts it in force again)";
/// Why a route is out of force because of an order for all.
pub(super) const SUSPENDED: &str =
    "panic: the operator has suspended all rules (flowacl resume puts them in force)";

/// The orders in force.
#[derive(Debug, Default)]
pub(super) struct Orders {
    disabled: BTreeMap<RouteKey, Nlri>,
    suspended: bool,
}

impl Orders {
    /// True when the rule at `key` shall not be in the packet filter. Suspended rules stay there, out of reach.
    pub(super) fn forbid(&self, key: &RouteKey) -> bool {
        self.disabled.contains_key(key)
    }
}

/// A rule that is out of force by an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisabledRule {
    /// `ipv4-flow` and so on.
    pub family: String,
    /// Normalised NLRI with its length octets, in hex.
    pub nlri: String,
    /// The Flow Specification's match in text form.
    pub flow: String,
}

impl DisabledRule {
    /// The rule of an NLRI.
    pub fn new(nlri: &Nlri) -> Self {
        Self {
            family: nlri.family().to_string(),
            nlri: hex::encode(nlri.encoded()),
            flow: format_match(nlri),
        }
    }

    /// Its NLRI; fails when family or octets make no sense.
    pub fn parse(&self) -> Result<Nlri, String> {
        let family = self.family.parse()?;
        from_hex(family, &self.nlri).ok_or_else(|| format!("{:?} is no {family} NLRI", self.nlri))
    }
}

/// Why a rule cannot be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Neither an id, nor an NLRI, nor a flow.
    #[error(
        "{0:?} is neither the id of a rule (r17), nor an NLRI in hex, nor a flow as `show rules` prints it"
    )]
    Unreadable(String),
    /// No rule in the packet filter has this id.
    #[error("no route has a rule called {0}")]
    NoSuchId(RuleId),
    /// Nobody announces it, and it is not clear which family it would be of.
    #[error(
        "no route is {0:?}; to name one that is not announced put its family before: ipv4-flow HEX"
    )]
    NotAnnounced(String),
    /// Routes of several families have this form.
    #[error(
        "there are such routes of several families ({0}): put the family before, as in ipv4-flow HEX"
    )]
    Ambiguous(String),
}

impl Engine {
    /// The NLRI that an operator names: by the id of its rule (`r17`), in hex, or as text, the match alone or a whole
    /// flow; a family may stand before the last two, and then it need not be announced.
    pub fn find(&self, name: &str) -> Result<Nlri, FindError> {
        let name = name.trim();
        if let Some(id) = rule_id(name) {
            return self.find_id(id).ok_or(FindError::NoSuchId(id));
        }
        let (family, text) = split_family(name);
        let families = match family {
            Some(family) => vec![family],
            None => FlowFamily::ALL.to_vec(),
        };
        let mut candidates: Vec<Nlri> = families
            .iter()
            .filter_map(|family| from_hex(*family, text).or_else(|| from_match(*family, text)))
            .collect();
        candidates.extend(from_flow(text));
        if candidates.is_empty() {
            return Err(FindError::Unreadable(name.into()));
        }
        let is_known = |nlri: &&Nlri| {
            let key = route_key(nlri);
            self.rib.get(&key).is_some() || self.orders.forbid(&key)
        };
        let mut known: Vec<&Nlri> = candidates.iter().filter(is_known).collect();
        known.dedup();
        match (known.as_slice(), candidates.as_slice()) {
            ([nlri], _) => Ok((*nlri).clone()),
            ([], [nlri]) if family.is_some() => Ok(nlri.clone()),
            ([], _) => Err(FindError::NotAnnounced(name.into())),
            ([_, _, ..], _) => {
                let families: Vec<_> = known.iter().map(|n| n.family().to_string()).collect();
                Err(FindError::Ambiguous(families.join(", ")))
            }
        }
    }

    /// The NLRI of the rule with this id.
    fn find_id(&self, id: RuleId) -> Option<Nlri> {
        let mut entries = self.rib.iter();
        let (_, entry) = entries.find(|(key, _)| self.enforcement.id_at(key) == Some(id))?;
        Some(entry.nlri().clone())
    }

    /// Takes the rule of an NLRI out of force, or puts it back.
    pub(super) fn order(&mut self, nlri: Nlri, enabled: bool) {
        let key = route_key(&nlri);
        match enabled {
            true => self.orders.disabled.remove(&key),
            false => self.orders.disabled.insert(key.clone(), nlri),
        };
        self.route_changed(&key);
        self.enforcement.hurry(key);
    }

    /// All rules are out of force from now on, or not. Nothing here changes for that but what is told of them: the
    /// packet filter does it.
    pub(super) fn suspend(&mut self, suspended: bool) {
        self.orders.suspended = suspended;
    }

    /// The neighbors that announce it.
    pub fn announced_by(&self, nlri: &Nlri) -> Vec<IpAddr> {
        let entry = self.rib.get(&route_key(nlri));
        let paths = entry.map_or(&[][..], Entry::paths);
        let neighbors: BTreeSet<IpAddr> =
            paths.iter().map(|path| path.route.peer.address).collect();
        neighbors.into_iter().collect()
    }

    /// Rules that are out of force by an order of their own.
    pub fn disabled(&self) -> Vec<DisabledRule> {
        self.orders
            .disabled
            .values()
            .map(DisabledRule::new)
            .collect()
    }

    /// True when all rules are out of force.
    pub fn is_suspended(&self) -> bool {
        self.orders.suspended
    }
}

/// An id as the packet filter prints it.
fn rule_id(name: &str) -> Option<RuleId> {
    let digits = name.strip_prefix('r')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(RuleId)).flatten()
}

/// The family that a name begins with, and the rest.
fn split_family(name: &str) -> (Option<FlowFamily>, &str) {
    let split = name.split_once(char::is_whitespace);
    match split.and_then(|(first, rest)| Some((first.parse().ok()?, rest))) {
        Some((family, rest)) => (Some(family), rest.trim_start()),
        None => (None, name),
    }
}

/// One NLRI with its length octets.
fn from_hex(family: FlowFamily, text: &str) -> Option<Nlri> {
    let octets = hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()?;
    let mut cursor = Cursor::new(&octets, 0);
    let nlri = Nlri::read(family, &mut cursor).ok()?.ok()?;
    cursor.is_empty().then_some(nlri)
}

/// The components alone.
fn from_match(family: FlowFamily, text: &str) -> Option<Nlri> {
    if text.contains(['{', '}']) {
        return None;
    }
    from_flow(&format!(
        "flow route {{ family {family}; match {{ {text} }} }}"
    ))
}

/// A flow, whatever it does.
fn from_flow(text: &str) -> Option<Nlri> {
    match parse_flows(text).ok()?.as_slice() {
        [flow] => Some(flow.nlri.clone()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;

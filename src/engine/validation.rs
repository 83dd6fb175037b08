//! Validation of Flow Specifications against unicast routes (RFC 8955 §6, RFC 9117 §4, RFC 8956 §5).
//!
//! Unicast routes change far more often than their changes matter. So Flow Specifications are filed by destination, and a
//! destination knows how many more specific routes come from each AS: a changed route is looked at by the destinations that
//! it covers or lies in, and only those whose answer may be another are judged anew, at once before the next commit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use prefix_trie::joint::JointPrefixMap;

use super::policy::Validation;
use super::shared::Shared;
use crate::rib::best_path::neighbor_as;
use crate::rib::{
    BestChange, Essence, Peer, RouteKey, UnicastPath, UnicastRib, originator_address,
};
use crate::wire::attribute::{AsPathSegmentKind, Attributes};
use crate::wire::nlri::{Component, Nlri};
use crate::wire::path::{PathId, PathOf};

/// More specific routes that are searched for an example to name in a reason.
const EXAMPLES: usize = 1_000;

/// A route that is filed: where it stands, and whose it is.
type Filed = (RouteKey, IpAddr);

/// Flow Specifications with one destination.
#[derive(Default)]
struct Destination {
    routes: BTreeSet<Filed>,
    /// More specific unicast routes by the AS that they come from; `None`: ours.
    more_specific: BTreeMap<Option<u32>, usize>,
}

/// Unicast routes, and the Flow Specifications that they bear out or do not.
#[derive(Default)]
pub(super) struct Validator {
    unicast: UnicastRib,
    essences: Shared<Arc<Essence>, ()>,
    destinations: JointPrefixMap<IpNetwork, Destination>,
    /// Destinations whose Flow Specifications are to be judged anew.
    dirty: BTreeSet<IpNetwork>,
}

/// The destination prefix, if there is one that unicast routes can be compared with: one without offset (RFC 8956 §5).
pub(super) fn destination(nlri: &Nlri) -> Option<IpNetwork> {
    let components = nlri.components();
    let Component::DestinationPrefix(pattern) = components.first()? else {
        return None;
    };
    if pattern.offset != 0 {
        return None;
    }
    let prefix = if nlri.family().is_ipv6() {
        Ipv6Network::new(Ipv6Addr::from(pattern.bits), pattern.length).map(IpNetwork::V6)
    } else {
        let bits = (pattern.bits >> 96) as u32;
        Ipv4Network::new(Ipv4Addr::from(bits), pattern.length).map(IpNetwork::V4)
    };
    prefix.ok()
}

impl Validator {
    /// Why the route is not valid, or `None`. `required`: what the operator says about the destination prefix.
    pub(super) fn refusal(
        &self,
        validation: Validation,
        required: Option<bool>,
        peer: &Peer,
        nlri: &Nlri,
        attributes: &Attributes,
    ) -> Option<String> {
        // Their unicast routes would be those of a VRF, and there is none.
        if validation == Validation::None || nlri.family().is_vpn() {
            return None;
        }
        let Some(destination) = destination(nlri) else {
            // Rules b and c are moot where rule a is relaxed.
            return (required != Some(false)).then(|| {
                "no destination prefix without offset to validate (RFC 8955 §6 a)".into()
            });
        };
        match validation {
            Validation::None | Validation::Destination => None,
            Validation::Rfc9117 => self.rfc9117(destination, peer, attributes, true),
            Validation::Rfc9117Strict => self.rfc9117(destination, peer, attributes, false),
        }
    }

    /// RFC 9117 §4.1 b and c, and §4.2. `exempts_own`: §4.1 b 2 is on.
    fn rfc9117(
        &self,
        destination: IpNetwork,
        peer: &Peer,
        attributes: &Attributes,
        exempts_own: bool,
    ) -> Option<String> {
        let best = self.unicast.best_match(destination);
        let is_internal = attributes
            .as_path
            .iter()
            .all(|segment| segment.kind == AsPathSegmentKind::ConfedSequence);
        // §4.1 b 2: a route of our own AS needs no unicast route.
        let is_exempt = is_internal && exempts_own;
        if !is_exempt || !peer.ibgp {
            let Some((prefix, route)) = best else {
                return Some(format!(
                    "no unicast route covers {destination} (RFC 9117 §4.1 b)"
                ));
            };
            let originator = originator_address(peer, attributes);
            if !is_exempt && originator != route.originator() {
                return Some(format!(
                    "the best unicast route for {destination}, {prefix} from {}, is of {}, not of \
                     {originator} (RFC 9117 §4.1 b)",
                    as_text(route.neighbor_as()),
                    route.originator()
                ));
            }
            if !peer.ibgp && neighbor_as(attributes) != route.neighbor_as() {
                return Some(format!(
                    "AS_PATH begins with {}, but that of the best unicast route for {destination}, \
                     {prefix}, with {} (RFC 9117 §4.2)",
                    as_text(neighbor_as(attributes)),
                    as_text(route.neighbor_as())
                ));
            }
        }
        self.more_specific_refusal(destination, best)
    }

    /// RFC 9117 §4.1 c. Where no unicast route covers the destination it is taken for our own.
    fn more_specific_refusal(
        &self,
        destination: IpNetwork,
        best: Option<(IpNetwork, &UnicastPath)>,
    ) -> Option<String> {
        let own = best.and_then(|(_, route)| route.neighbor_as());
        let other = match self.destinations.get(&destination) {
            Some(filed) => *filed.more_specific.keys().find(|asn| **asn != own)?,
            // Not filed: only while it is being judged for the first time under another policy.
            None => {
                let mut inside = self.unicast.more_specific(destination);
                inside.find_map(|(_, route)| {
                    let asn = route.neighbor_as();
                    (asn != own).then_some(asn)
                })?
            }
        };
        let mut inside = self.unicast.more_specific(destination).take(EXAMPLES);
        let example = inside.find(|(_, route)| route.neighbor_as() == other);
        let example = example.map_or_else(String::new, |(prefix, _)| format!(", as {prefix}"));
        let covering = match best {
            Some((prefix, _)) => {
                format!("the best unicast route, {prefix}, is from {}", as_text(own))
            }
            None => "no unicast route covers it".into(),
        };
        Some(format!(
            "more specific routes than {destination} come from {}{example}, but {covering} \
             (RFC 9117 §4.1 c)",
            as_text(other)
        ))
    }

    /// Files a route under its destination, to be judged anew when unicast routes change.
    pub(super) fn file(&mut self, nlri: &Nlri, key: RouteKey, peer: IpAddr) {
        let Some(prefix) = destination(nlri) else {
            return;
        };
        if !self.destinations.contains_key(&prefix) {
            let mut filed = Destination::default();
            for (_, route) in self.unicast.more_specific(prefix) {
                *filed.more_specific.entry(route.neighbor_as()).or_default() += 1;
            }
            self.destinations.insert(prefix, filed);
        }
        if let Some(filed) = self.destinations.get_mut(&prefix) {
            filed.routes.insert((key, peer));
        }
    }

    /// Forgets a route.
    pub(super) fn forget(&mut self, nlri: &Nlri, key: RouteKey, peer: IpAddr) {
        let Some(prefix) = destination(nlri) else {
            return;
        };
        let Some(filed) = self.destinations.get_mut(&prefix) else {
            return;
        };
        filed.routes.remove(&(key, peer));
        if filed.routes.is_empty() {
            self.destinations.remove(&prefix);
        }
    }

    /// Forgets the routes that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&RouteKey, IpAddr) -> bool) {
        for filed in self.destinations.values_mut() {
            filed.routes.retain(|(key, peer)| is_there(key, *peer));
        }
        self.destinations
            .retain(|_, filed| !filed.routes.is_empty());
    }

    /// Takes a unicast route in, unless the neighbor has as many as it may; then it returns false.
    pub(super) fn announce(
        &mut self,
        prefix: IpNetwork,
        peer: &Arc<Peer>,
        essence: &Arc<Essence>,
        max_routes: usize,
    ) -> bool {
        let route = PathOf {
            id: essence.id,
            route: prefix,
        };
        let is_new = !self.unicast.contains(peer.address, route);
        if is_new && self.unicast.count_of(peer.address) >= max_routes {
            return false;
        }
        let path = UnicastPath {
            peer: peer.clone(),
            essence: essence.clone(),
        };
        let change = self.unicast.announce(prefix, path);
        self.changed(change);
        true
    }

    /// What is kept of unicast paths with these attributes.
    pub(super) fn essence(&mut self, id: PathId, attributes: &Attributes) -> Arc<Essence> {
        let attributes = Attributes {
            origin: attributes.origin,
            as_path: attributes.as_path.clone(),
            med: attributes.med,
            local_pref: attributes.local_pref,
            originator_id: attributes.originator_id,
            cluster_list: attributes.cluster_list.clone(),
            ..Attributes::default()
        };
        self.essences.get(Essence { id, attributes }, |_| ()).0
    }

    /// Takes a unicast route away.
    pub(super) fn withdraw(&mut self, path: PathOf<IpNetwork>, peer: IpAddr) {
        let change = self.unicast.withdraw(peer, path);
        self.changed(change);
    }

    /// Takes all unicast routes of a neighbor away.
    pub(super) fn drop_peer(&mut self, peer: IpAddr) {
        for change in self.unicast.drop_peer(peer) {
            self.changed(Some(change));
        }
    }

    /// Unicast routes held for a neighbor.
    pub(super) fn count_of(&self, peer: IpAddr) -> usize {
        self.unicast.count_of(peer)
    }

    /// Notes which destinations a change of a best path may concern.
    fn changed(&mut self, change: Option<BestChange>) {
        let Some(BestChange {
            prefix,
            before,
            after,
        }) = change
        else {
            return;
        };
        let wider = self.destinations.cover_keys(&prefix);
        let wider: Vec<IpNetwork> = wider.filter(|wider| *wider != prefix).collect();
        let before = before.as_ref().map(UnicastPath::neighbor_as);
        let after = after.as_ref().map(UnicastPath::neighbor_as);
        for wider in wider {
            if let Some(filed) = self.destinations.get_mut(&wider)
                && filed.recount(before, after)
            {
                self.dirty.insert(wider);
            }
        }
        let inside = self.destinations.children(&prefix);
        self.dirty.extend(inside.map(|(inside, _)| inside));
    }

    /// Routes to be judged anew since this was last asked.
    pub(super) fn take_dirty(&mut self) -> Vec<Filed> {
        let mut routes = Vec::new();
        for prefix in std::mem::take(&mut self.dirty) {
            if let Some(filed) = self.destinations.get(&prefix) {
                routes.extend(filed.routes.iter().cloned());
            }
        }
        routes
    }
}

impl Destination {
    /// A more specific route comes from another AS than before; true when now there are other ASes than before.
    fn recount(&mut self, before: Option<Option<u32>>, after: Option<Option<u32>>) -> bool {
        if before == after {
            return false;
        }
        let mut others = false;
        if let Some(asn) = before
            && let Some(number) = self.more_specific.get_mut(&asn)
        {
            *number -= 1;
            if *number == 0 {
                self.more_specific.remove(&asn);
                others = true;
            }
        }
        if let Some(asn) = after {
            let number = self.more_specific.entry(asn).or_default();
            *number += 1;
            others |= *number == 1;
        }
        others
    }
}

/// An AS in words.
fn as_text(asn: Option<u32>) -> String {
    asn.map_or_else(|| "our own AS".into(), |asn| format!("AS {asn}"))
}

#[cfg(test)]
#[path = "validation_tests.rs"]
mod tests;

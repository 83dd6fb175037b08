//! Unicast routes of all neighbors, kept for validation and nothing else (RFC 8955 §6, RFC 9117 §4).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;
use prefix_trie::joint::JointPrefixMap;
use smallvec::SmallVec;

use super::best_path::{self, Candidate, neighbor_as};
use super::{Peer, originator_address};
use crate::wire::attribute::Attributes;

/// One neighbor's unicast path. Whether its next hop can be reached is not looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct UnicastPath {
    /// Who announced it.
    pub peer: Arc<Peer>,
    /// Its attributes, as far as the choice between paths depends on them; shared by all that have the same.
    pub attributes: Arc<Attributes>,
}

impl Candidate for UnicastPath {
    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    fn is_eligible(&self) -> bool {
        true
    }

    /// They do not outlive their session, and what others say of theirs is not kept.
    fn is_long_lived_stale(&self) -> bool {
        false
    }
}

impl UnicastPath {
    /// The AS that it came from; `None`: ours.
    pub fn neighbor_as(&self) -> Option<u32> {
        neighbor_as(&self.attributes)
    }

    /// Who brought it into our AS (RFC 9117 §4.1).
    pub fn originator(&self) -> IpAddr {
        originator_address(&self.peer, &self.attributes)
    }
}

/// Paths for one prefix, at most one for each neighbor, never none.
type Paths = SmallVec<[UnicastPath; 1]>;

/// The best of several paths.
fn best(paths: &Paths) -> Option<&UnicastPath> {
    best_path::best(paths).map(|index| &paths[index])
}

/// The best path for a prefix before a change and after it.
#[derive(Clone, Debug, PartialEq)]
pub struct BestChange {
    /// The prefix.
    pub prefix: IpNetwork,
    /// `None`: there was none.
    pub before: Option<UnicastPath>,
    /// `None`: there is none.
    pub after: Option<UnicastPath>,
}

/// Unicast routes of all neighbors by prefix, and how many each has.
#[derive(Default)]
pub struct UnicastRib {
    routes: JointPrefixMap<IpNetwork, Paths>,
    numbers: HashMap<IpAddr, usize>,
}

impl UnicastRib {
    /// Adds a path, or puts it in the place of the same neighbor's earlier one. `None`: the best path is the same.
    pub fn announce(&mut self, prefix: IpNetwork, path: UnicastPath) -> Option<BestChange> {
        let address = path.peer.address;
        let paths = self.routes.entry(prefix).or_default();
        let before = best(paths).cloned();
        match paths.iter_mut().find(|known| known.peer.address == address) {
            Some(known) => *known = path,
            None => {
                paths.push(path);
                *self.numbers.entry(address).or_default() += 1;
            }
        }
        change(prefix, before, best(paths))
    }

    /// Takes a neighbor's path away. `None`: the best path is the same.
    pub fn withdraw(&mut self, peer: IpAddr, prefix: IpNetwork) -> Option<BestChange> {
        let paths = self.routes.get_mut(&prefix)?;
        let before = best(paths).cloned();
        let index = paths.iter().position(|known| known.peer.address == peer)?;
        paths.swap_remove(index);
        let after = best(paths).cloned();
        if paths.is_empty() {
            self.routes.remove(&prefix);
        }
        self.one_less(peer);
        change(prefix, before, after.as_ref())
    }

    fn one_less(&mut self, peer: IpAddr) {
        if let Some(number) = self.numbers.get_mut(&peer) {
            *number -= 1;
            if *number == 0 {
                self.numbers.remove(&peer);
            }
        }
    }

    /// Takes all paths of a neighbor away; returns what changes. Looks at all routes, once.
    pub fn drop_peer(&mut self, peer: IpAddr) -> Vec<BestChange> {
        if self.numbers.remove(&peer).is_none() {
            return Vec::new();
        }
        let mut changes = Vec::new();
        self.routes.retain(|prefix, paths| {
            let is_of_peer = |path: &UnicastPath| path.peer.address == peer;
            let Some(index) = paths.iter().position(is_of_peer) else {
                return true;
            };
            let before = best(paths).cloned();
            let mut others = paths.clone();
            others.swap_remove(index);
            changes.extend(change(prefix, before, best(&others)));
            // What has other paths, too, cannot be changed here.
            paths.len() > 1
        });
        for paths in self.routes.values_mut() {
            paths.retain(|path| path.peer.address != peer);
        }
        changes
    }

    /// The best path of the longest prefix that covers all of `destination`.
    pub fn best_match(&self, destination: IpNetwork) -> Option<(IpNetwork, &UnicastPath)> {
        let (prefix, paths) = self.routes.get_lpm(&destination)?;
        Some((prefix, best(paths)?))
    }

    /// The best paths of all prefixes that lie inside `destination` and are longer.
    pub fn more_specific(
        &self,
        destination: IpNetwork,
    ) -> impl Iterator<Item = (IpNetwork, &UnicastPath)> {
        let inside = self.routes.children(&destination);
        inside
            .filter(move |(prefix, _)| *prefix != destination)
            .filter_map(|(prefix, paths)| Some((prefix, best(paths)?)))
    }

    /// True when the neighbor has a path for the prefix.
    pub fn contains(&self, peer: IpAddr, prefix: IpNetwork) -> bool {
        let paths = self.routes.get(&prefix);
        paths.is_some_and(|paths| paths.iter().any(|path| path.peer.address == peer))
    }

    /// Routes held for a neighbor.
    pub fn count_of(&self, peer: IpAddr) -> usize {
        self.numbers.get(&peer).copied().unwrap_or_default()
    }
}

/// What changed, if anything did.
fn change(
    prefix: IpNetwork,
    before: Option<UnicastPath>,
    after: Option<&UnicastPath>,
) -> Option<BestChange> {
    (before.as_ref() != after).then(|| BestChange {
        prefix,
        before,
        after: after.cloned(),
    })
}

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
use crate::wire::path::{PathId, PathOf};

/// One neighbor's unicast path. Whether its next hop can be reached is not looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct UnicastPath {
    /// Who announced it.
    pub peer: Arc<Peer>,
    /// What else matters of it; shared by all paths that have the same.
    pub essence: Arc<Essence>,
}

/// What is kept of a unicast path. Where there are several paths for one prefix they share less, so that all others need
/// not keep an identifier each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Essence {
    /// Which of the neighbor's paths for the prefix.
    pub id: PathId,
    /// Attributes, as far as the choice between paths depends on them.
    pub attributes: Attributes,
}

impl Candidate for UnicastPath {
    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn attributes(&self) -> &Attributes {
        &self.essence.attributes
    }

    fn id(&self) -> PathId {
        self.essence.id
    }

    fn is_stale(&self) -> bool {
        false
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
        neighbor_as(&self.essence.attributes)
    }

    /// Who brought it into our AS (RFC 9117 §4.1).
    pub fn originator(&self) -> IpAddr {
        originator_address(&self.peer, &self.essence.attributes)
    }

    /// True for this one of a neighbor's paths.
    fn is_of(&self, peer: IpAddr, id: PathId) -> bool {
        self.peer.address == peer && self.essence.id == id
    }
}

/// Paths for one prefix, no two with the same neighbor and identifier, never none.
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
    /// Adds a path, or puts it in the place of the same one's earlier form. `None`: the best path is the same.
    pub fn announce(&mut self, prefix: IpNetwork, path: UnicastPath) -> Option<BestChange> {
        let address = path.peer.address;
        let paths = self.routes.entry(prefix).or_default();
        let before = best(paths).cloned();
        match paths
            .iter_mut()
            .find(|known| known.is_of(address, path.essence.id))
        {
            Some(known) => *known = path,
            None => {
                paths.push(path);
                *self.numbers.entry(address).or_default() += 1;
            }
        }
        change(prefix, before, best(paths))
    }

    /// Takes one of a neighbor's paths away. `None`: the best path is the same.
    pub fn withdraw(&mut self, peer: IpAddr, path: PathOf<IpNetwork>) -> Option<BestChange> {
        let prefix = path.route;
        let paths = self.routes.get_mut(&prefix)?;
        let before = best(paths).cloned();
        let index = paths.iter().position(|known| known.is_of(peer, path.id))?;
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
            if !paths.iter().any(is_of_peer) {
                return true;
            }
            let before = best(paths).cloned();
            let mut others = paths.clone();
            others.retain(|path| !is_of_peer(path));
            changes.extend(change(prefix, before, best(&others)));
            // What has other paths, too, cannot be changed here.
            !others.is_empty()
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

    /// True when the neighbor has the path.
    pub fn contains(&self, peer: IpAddr, path: PathOf<IpNetwork>) -> bool {
        let paths = self.routes.get(&path.route);
        paths.is_some_and(|paths| paths.iter().any(|known| known.is_of(peer, path.id)))
    }

    /// Paths held for a neighbor.
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

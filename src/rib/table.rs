//! The table of all routes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use smallvec::SmallVec;

use super::{Path, RouteKey, best_path};
use crate::flowspec::precedence::precedence_key;
use crate::wire::nlri::Nlri;

/// All paths for one NLRI.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The route's identity.
    pub nlri: Nlri,
    /// At most one path for each neighbor; never empty.
    paths: SmallVec<[Path; 1]>,
}

impl Entry {
    /// All paths, in no particular order.
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// The path in force, if policy accepts any.
    pub fn best(&self) -> Option<&Path> {
        best_path::best(&self.paths).map(|index| &self.paths[index])
    }
}

/// Routes of all neighbors, ordered by family and precedence.
#[derive(Debug, Default)]
pub struct Rib {
    /// Behind pointers: half of a tree that grows in order is empty.
    entries: BTreeMap<RouteKey, Box<Entry>>,
    by_peer: HashMap<IpAddr, BTreeSet<RouteKey>>,
}

/// The place of `nlri` in the table. O(length of the NLRI).
pub fn route_key(nlri: &Nlri) -> RouteKey {
    (nlri.family(), precedence_key(nlri))
}

impl Rib {
    /// Adds a path, or puts it in the place of the same neighbor's earlier one.
    pub fn announce(&mut self, nlri: &Nlri, path: Path) -> RouteKey {
        let key = route_key(nlri);
        self.by_peer
            .entry(path.peer.address)
            .or_default()
            .insert(key.clone());
        let entry = self.entries.entry(key.clone()).or_insert_with(|| {
            Box::new(Entry {
                nlri: nlri.clone(),
                paths: SmallVec::new(),
            })
        });
        match entry
            .paths
            .iter_mut()
            .find(|known| known.peer.address == path.peer.address)
        {
            Some(known) => *known = path,
            None => entry.paths.push(path),
        }
        key
    }

    /// Takes a neighbor's path away; returns where it stood, or `None` when there was none.
    pub fn withdraw(&mut self, peer: IpAddr, nlri: &Nlri) -> Option<RouteKey> {
        let key = route_key(nlri);
        let known = self.by_peer.get_mut(&peer)?.remove(&key);
        known.then(|| {
            self.remove_path(peer, &key);
            key
        })
    }

    /// Takes away those of a neighbor's paths that are to go; returns where they stood.
    pub fn drop_paths(
        &mut self,
        peer: IpAddr,
        goes: impl Fn(&RouteKey, &Path) -> bool,
    ) -> Vec<RouteKey> {
        let keys = self
            .keys_of(peer)
            .filter(|key| self.path_at(peer, key).is_some_and(|path| goes(key, path)));
        let gone: Vec<RouteKey> = keys.cloned().collect();
        for key in &gone {
            self.remove_path(peer, key);
        }
        if let Some(keys) = self.by_peer.get_mut(&peer) {
            for key in &gone {
                keys.remove(key);
            }
            if keys.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
        gone
    }

    fn remove_path(&mut self, peer: IpAddr, key: &RouteKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.paths.retain(|path| path.peer.address != peer);
            entry.paths.shrink_to_fit();
            if entry.paths.is_empty() {
                self.entries.remove(key);
            }
        }
    }

    /// The entry at `key`.
    pub fn get(&self, key: &RouteKey) -> Option<&Entry> {
        self.entries.get(key).map(Box::as_ref)
    }

    /// A neighbor's path for `nlri`.
    pub fn path(&self, peer: IpAddr, nlri: &Nlri) -> Option<&Path> {
        self.path_at(peer, &route_key(nlri))
    }

    /// A neighbor's path at `key`.
    pub fn path_at(&self, peer: IpAddr, key: &RouteKey) -> Option<&Path> {
        self.entries
            .get(key)?
            .paths
            .iter()
            .find(|path| path.peer.address == peer)
    }

    /// A neighbor's path at `key`, to change what policy thinks of it.
    pub fn path_mut(&mut self, peer: IpAddr, key: &RouteKey) -> Option<&mut Path> {
        self.entries
            .get_mut(key)?
            .paths
            .iter_mut()
            .find(|path| path.peer.address == peer)
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&RouteKey, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key, &**entry))
    }

    /// Where the paths of a neighbor stand.
    pub fn keys_of(&self, peer: IpAddr) -> impl Iterator<Item = &RouteKey> {
        self.by_peer.get(&peer).into_iter().flatten()
    }

    /// Paths held for a neighbor, refused ones included.
    pub fn count_of(&self, peer: IpAddr) -> usize {
        self.by_peer.get(&peer).map_or(0, BTreeSet::len)
    }

    /// NLRI held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

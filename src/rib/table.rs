//! The table of all routes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use smallvec::SmallVec;

use super::{Path, Place, RouteKey, best_path};
use crate::flowspec::precedence::precedence_key;
use crate::wire::iana::FlowFamily;
use crate::wire::nlri::Nlri;
use crate::wire::path::PathOf;

/// All paths for one NLRI.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Not empty, all for the same NLRI; no two with the same neighbor and identifier.
    paths: SmallVec<[Path; 1]>,
}

impl Entry {
    /// The route's identity.
    pub fn nlri(&self) -> &Nlri {
        &self.paths[0].route.nlri
    }

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

/// The place of a path among all of its neighbor's.
pub fn place_of(path: &PathOf<Nlri>) -> Place {
    (route_key(&path.route), path.id)
}

impl Rib {
    /// Adds a path, or puts it in the place of the same one's earlier form.
    pub fn announce(&mut self, path: Path) -> RouteKey {
        let key = route_key(&path.route.nlri);
        self.by_peer
            .entry(path.route.peer.address)
            .or_default()
            .insert(key.clone());
        let entry = self.entries.entry(key.clone()).or_insert_with(|| {
            Box::new(Entry {
                paths: SmallVec::new(),
            })
        });
        match entry.paths.iter_mut().find(|known| known.is_same(&path)) {
            Some(known) => *known = path,
            None => entry.paths.push(path),
        }
        key
    }

    /// Takes one of a neighbor's paths away; false when there was none.
    pub fn withdraw(&mut self, peer: IpAddr, place: &Place) -> bool {
        let is_there = self.path_at(peer, place).is_some();
        if is_there {
            self.remove_path(peer, place);
        }
        is_there
    }

    /// Takes away those of a neighbor's paths that are to go; returns where they stood.
    pub fn drop_paths(
        &mut self,
        peer: IpAddr,
        goes: impl Fn(&RouteKey, &Path) -> bool,
    ) -> Vec<Place> {
        let places = self.paths_of(peer).filter(|(key, path)| goes(key, path));
        let gone: Vec<Place> = places
            .map(|(key, path)| (key.clone(), path.route.id))
            .collect();
        for place in &gone {
            self.remove_path(peer, place);
        }
        gone
    }

    fn remove_path(&mut self, peer: IpAddr, (key, id): &Place) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        entry.paths.retain(|path| !path.is_of(peer, *id));
        entry.paths.shrink_to_fit();
        let has_others = entry
            .paths
            .iter()
            .any(|path| path.route.peer.address == peer);
        if entry.paths.is_empty() {
            self.entries.remove(key);
        }
        if !has_others && let Some(keys) = self.by_peer.get_mut(&peer) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// The entry at `key`.
    pub fn get(&self, key: &RouteKey) -> Option<&Entry> {
        self.entries.get(key).map(Box::as_ref)
    }

    /// One of a neighbor's paths.
    pub fn path_at(&self, peer: IpAddr, (key, id): &Place) -> Option<&Path> {
        let mut paths = self.paths_at(peer, key);
        paths.find(|path| path.route.id == *id)
    }

    /// One of a neighbor's paths, to change what policy thinks of it.
    pub fn path_mut(&mut self, peer: IpAddr, (key, id): &Place) -> Option<&mut Path> {
        let paths = &mut self.entries.get_mut(key)?.paths;
        paths.iter_mut().find(|path| path.is_of(peer, *id))
    }

    /// A neighbor's paths at `key`.
    pub fn paths_at(&self, peer: IpAddr, key: &RouteKey) -> impl Iterator<Item = &Path> {
        let paths = self.entries.get(key).into_iter().flat_map(|e| &e.paths);
        paths.filter(move |path| path.route.peer.address == peer)
    }

    /// All paths of a neighbor, and where they stand.
    pub fn paths_of(&self, peer: IpAddr) -> impl Iterator<Item = (&RouteKey, &Path)> {
        let keys = self.keys_of(peer);
        keys.flat_map(move |key| self.paths_at(peer, key).map(move |path| (key, path)))
    }

    /// The places of all paths of a neighbor in some families.
    pub fn places_of(&self, peer: IpAddr, families: impl Fn(FlowFamily) -> bool) -> Vec<Place> {
        let paths = self.paths_of(peer).filter(|(key, _)| families(key.0));
        paths
            .map(|(key, path)| (key.clone(), path.route.id))
            .collect()
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&RouteKey, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key, &**entry))
    }

    /// The NLRI for which a neighbor has paths.
    pub fn keys_of(&self, peer: IpAddr) -> impl Iterator<Item = &RouteKey> {
        self.by_peer.get(&peer).into_iter().flatten()
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

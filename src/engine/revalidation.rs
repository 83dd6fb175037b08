//! Unicast routes in, Flow Specifications judged anew.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Engine;
use super::adj_rib_in::AdjRibIn;
use super::policy::loop_refusal;
use crate::rib::{Essence, RouteKey, route_key};
use crate::wire::nlri::Nlri;
use crate::wire::path::PathOf;
use crate::wire::update::Update;

impl Engine {
    /// Takes the unicast routes of an UPDATE in, which count for the Flow Specifications that stand beside them.
    pub(super) fn take_unicast(&mut self, peer: IpAddr, update: &Update) {
        let Some(adj_rib_in) = self.peers.get_mut(&peer) else {
            return;
        };
        for path in &update.unicast.withdrawn {
            self.validator.withdraw(*path, peer);
        }
        if update.unicast.announced.is_empty() {
            return;
        }
        // A path that loops takes no part in any choice (RFC 4271 §9.1.2).
        let loops = loop_refusal(self.local, &update.attributes).is_some();
        let max_routes = if loops {
            0
        } else {
            adj_rib_in.max_unicast_routes()
        };
        let mut essence: Option<Arc<Essence>> = None;
        for path in &update.unicast.announced {
            if loops {
                self.validator.withdraw(*path, peer);
                continue;
            }
            let known = essence.take().filter(|essence| essence.id == path.id);
            let shared =
                known.unwrap_or_else(|| self.validator.essence(path.id, &update.attributes));
            let source = adj_rib_in.peer();
            if !self
                .validator
                .announce(path.route, source, &shared, max_routes)
            {
                return adj_rib_in.unicast_overflow();
            }
            essence = Some(shared);
        }
    }

    /// Files the Flow Specifications of an UPDATE, if unicast routes matter to them.
    pub(super) fn file(&mut self, peer: IpAddr, announced: &[PathOf<Nlri>]) {
        for PathOf { route: nlri, .. } in announced {
            self.validator.file(nlri, route_key(nlri), peer);
        }
    }

    /// Forgets those of these Flow Specifications that are not there.
    pub(super) fn forget_absent<'a>(
        &mut self,
        peer: IpAddr,
        routes: impl Iterator<Item = &'a Nlri>,
    ) {
        for nlri in routes {
            let key = route_key(nlri);
            if self.rib.paths_at(peer, &key).next().is_none() {
                self.validator.forget(nlri, key, peer);
            }
        }
    }

    /// Files all Flow Specifications of a neighbor, or forgets them, as its policy wants it.
    pub(super) fn refile(&mut self, peer: IpAddr, depends_on_unicast: bool) {
        if !depends_on_unicast {
            return self.validator.retain(|_, other| other != peer);
        }
        for key in self.rib.keys_of(peer) {
            if let Some(entry) = self.rib.get(key) {
                self.validator.file(entry.nlri(), key.clone(), peer);
            }
        }
    }

    /// Judges anew what unicast routes have changed for.
    pub(super) fn revalidate(&mut self, now: Instant) {
        let mut by_peer: BTreeMap<IpAddr, Vec<RouteKey>> = BTreeMap::new();
        for (key, peer) in self.validator.take_dirty() {
            by_peer.entry(peer).or_default().push(key);
        }
        if by_peer.is_empty() {
            return;
        }
        for (peer, keys) in by_peer {
            self.judge(now, peer, |adj_rib_in: &mut AdjRibIn, around, rib| {
                adj_rib_in.revalidate(around, &keys, rib)
            });
        }
        self.fill_up(now);
    }
}

//! The choice between several neighbors' paths for one NLRI (RFC 4271 §9.1.2.2, RFC 4456 §9).

use std::cmp::Reverse;
use std::net::Ipv4Addr;

use super::{Freshness, Path, Peer};
use crate::wire::attribute::{AsPathSegmentKind, Attributes, Origin};
use crate::wire::community::LLGR_STALE;
use crate::wire::path::PathId;

/// LOCAL_PREF of a path that carries none.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// What the choice looks at.
pub trait Candidate {
    /// Who announced it.
    fn peer(&self) -> &Peer;
    /// Its attributes.
    fn attributes(&self) -> &Attributes;
    /// Which of several paths of the same neighbor.
    fn id(&self) -> PathId;
    /// True when its neighbor has to announce it anew.
    fn is_stale(&self) -> bool;
    /// True when it can be chosen.
    fn is_eligible(&self) -> bool;
    /// RFC 9494 §4.3: the least preferred of all, marked by us or by whoever sent it.
    fn is_long_lived_stale(&self) -> bool;
}

impl Candidate for Path {
    fn peer(&self) -> &Peer {
        &self.route.peer
    }

    fn attributes(&self) -> &Attributes {
        &self.route.attributes
    }

    fn id(&self) -> PathId {
        self.route.id
    }

    fn is_stale(&self) -> bool {
        self.is_stale()
    }

    fn is_eligible(&self) -> bool {
        self.rejected.is_none()
    }

    fn is_long_lived_stale(&self) -> bool {
        self.freshness == Freshness::LongLivedStale
            || self.route.attributes.communities.contains(&LLGR_STALE)
    }
}

/// Index of the best path that is eligible, or `None` when there is none.
///
/// Deterministic: does not depend on the order of `paths`, provided that no two are the same. Of equal ones of one
/// neighbor, one that it stands by precedes a stale one, whose identifier may have changed (RFC 7911 §5).
pub fn best(paths: &[impl Candidate]) -> Option<usize> {
    let mut candidates: Vec<usize> = (0..paths.len())
        .filter(|index| paths[*index].is_eligible())
        .collect();
    if candidates.len() > 1 {
        keep_lowest(&mut candidates, |index| paths[index].is_long_lived_stale());
        keep_lowest(&mut candidates, |index| {
            Reverse(local_pref(paths[index].attributes()))
        });
        keep_lowest(&mut candidates, |index| {
            as_path_length(paths[index].attributes())
        });
        keep_lowest(&mut candidates, |index| origin(paths[index].attributes()));
        drop_higher_med(&mut candidates, paths);
        keep_lowest(&mut candidates, |index| paths[index].peer().ibgp);
        keep_lowest(&mut candidates, |index| originator(&paths[index]));
        keep_lowest(&mut candidates, |index| {
            paths[index].attributes().cluster_list.len()
        });
        keep_lowest(&mut candidates, |index| paths[index].peer().address);
        keep_lowest(&mut candidates, |index| paths[index].is_stale());
        keep_lowest(&mut candidates, |index| paths[index].id());
    }
    candidates.first().copied()
}

/// Why `winner` was chosen over `loser`, in the operator's words.
pub fn reason(winner: &Path, loser: &Path) -> &'static str {
    let (best, other) = (&winner.route.attributes, &loser.route.attributes);
    if winner.is_long_lived_stale() != loser.is_long_lived_stale() {
        "the other is long-lived stale"
    } else if local_pref(best) != local_pref(other) {
        "higher LOCAL_PREF"
    } else if as_path_length(best) != as_path_length(other) {
        "shorter AS_PATH"
    } else if origin(best) != origin(other) {
        "lower ORIGIN"
    } else if neighbor_as(best) == neighbor_as(other) && med(best) != med(other) {
        "lower MULTI_EXIT_DISC"
    } else if winner.route.peer.ibgp != loser.route.peer.ibgp {
        "learned from eBGP"
    } else if originator(winner) != originator(loser) {
        "lower BGP identifier"
    } else if best.cluster_list.len() != other.cluster_list.len() {
        "shorter CLUSTER_LIST"
    } else if winner.route.peer.address != loser.route.peer.address {
        "lower neighbor address"
    } else if winner.is_stale() != loser.is_stale() {
        "the other is stale"
    } else {
        "lower Path Identifier"
    }
}

/// Keeps the candidates whose rank is the lowest.
fn keep_lowest<R: Ord>(candidates: &mut Vec<usize>, rank: impl Fn(usize) -> R) {
    if let Some(lowest) = candidates.iter().map(|index| rank(*index)).min() {
        candidates.retain(|index| rank(*index) == lowest);
    }
}

/// RFC 4271 §9.1.2.2 c): MULTI_EXIT_DISC is comparable only between paths of one neighboring AS.
fn drop_higher_med(candidates: &mut Vec<usize>, paths: &[impl Candidate]) {
    let all = candidates.clone();
    candidates.retain(|index| {
        let own = paths[*index].attributes();
        !all.iter().any(|other| {
            let other = paths[*other].attributes();
            neighbor_as(other) == neighbor_as(own) && med(other) < med(own)
        })
    });
}

fn local_pref(attributes: &Attributes) -> u32 {
    attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF)
}

fn origin(attributes: &Attributes) -> Origin {
    attributes.origin.unwrap_or(Origin::Incomplete)
}

/// A path without MULTI_EXIT_DISC has the lowest (RFC 4271 §9.1.2.2 c).
fn med(attributes: &Attributes) -> u32 {
    attributes.med.unwrap_or(0)
}

/// A set counts as one AS (RFC 4271 §9.1.2.2 a), confederation segments not at all (RFC 5065 §5.3).
fn as_path_length(attributes: &Attributes) -> usize {
    attributes
        .as_path
        .iter()
        .map(|segment| match segment.kind {
            AsPathSegmentKind::Sequence => segment.asns.len(),
            AsPathSegmentKind::Set => 1,
            AsPathSegmentKind::ConfedSequence | AsPathSegmentKind::ConfedSet => 0,
        })
        .sum()
}

/// The AS that the path came from, when it came from another one.
pub fn neighbor_as(attributes: &Attributes) -> Option<u32> {
    attributes
        .as_path
        .iter()
        .find(|segment| segment.kind == AsPathSegmentKind::Sequence)
        .and_then(|segment| segment.asns.first().copied())
}

/// ORIGINATOR_ID stands for the identifier of a reflected path's speaker (RFC 4456 §9).
fn originator(path: &impl Candidate) -> Ipv4Addr {
    path.attributes()
        .originator_id
        .unwrap_or(path.peer().router_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rib::{Refusal, RefusalKind, Route};
    use crate::wire::attribute::AsPathSegment;
    use crate::wire::iana::FlowFamily;
    use crate::wire::nlri::Nlri;
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Instant;

    fn path(last_octet: u8, ibgp: bool, change: impl FnOnce(&mut Attributes)) -> Path {
        let address = Ipv4Addr::new(192, 0, 2, last_octet);
        let mut attributes = Attributes {
            origin: Some(Origin::Igp),
            ..Attributes::default()
        };
        change(&mut attributes);
        Path {
            route: Arc::new(Route {
                nlri: Nlri::decode(FlowFamily::Ipv4Flow, &[3, 0x81, 17]).expect("UDP"),
                id: 0,
                peer: Arc::new(Peer {
                    address: IpAddr::V4(address),
                    router_id: address,
                    ibgp,
                }),
                attributes: Arc::new(attributes),
                actions: Arc::default(),
            }),
            rejected: None,
            freshness: Freshness::Fresh,
            since: Instant::now(),
        }
    }

    fn sequence(asns: &[u32]) -> Vec<AsPathSegment> {
        vec![AsPathSegment {
            kind: AsPathSegmentKind::Sequence,
            asns: asns.to_vec(),
        }]
    }

    #[test]
    fn each_step_decides_when_all_before_it_tie() {
        let mut old = path(1, true, |a| a.local_pref = Some(999));
        old.freshness = Freshness::LongLivedStale;
        let mut kept = path(9, true, |_| {});
        kept.freshness = Freshness::Stale;
        let mut second = path(9, true, |_| {});
        Arc::make_mut(&mut second.route).id = 2;
        let rows: Vec<(&str, Path, Path)> = vec![
            ("the other is stale", second.clone(), kept),
            ("lower Path Identifier", path(9, true, |_| {}), second),
            ("the other is long-lived stale", path(9, true, |_| {}), old),
            (
                "the other is long-lived stale",
                path(9, true, |_| {}),
                path(1, true, |a| {
                    (a.local_pref, a.communities) = (Some(999), vec![LLGR_STALE])
                }),
            ),
            (
                "higher LOCAL_PREF",
                path(9, true, |a| a.local_pref = Some(200)),
                path(1, true, |_| {}),
            ),
            (
                "shorter AS_PATH",
                path(9, false, |a| a.as_path = sequence(&[1])),
                path(1, false, |a| a.as_path = sequence(&[1, 2])),
            ),
            (
                "lower ORIGIN",
                path(9, true, |_| {}),
                path(1, true, |a| a.origin = Some(Origin::Egp)),
            ),
            (
                "lower MULTI_EXIT_DISC",
                path(9, false, |a| a.as_path = sequence(&[7])),
                path(1, false, |a| (a.as_path, a.med) = (sequence(&[7]), Some(5))),
            ),
            (
                "learned from eBGP",
                path(9, false, |_| {}),
                path(1, true, |_| {}),
            ),
            (
                "lower BGP identifier",
                path(9, true, |a| {
                    a.originator_id = Some(Ipv4Addr::new(1, 1, 1, 1))
                }),
                path(1, true, |_| {}),
            ),
            (
                "shorter CLUSTER_LIST",
                path(9, true, |a| {
                    a.originator_id = Some(Ipv4Addr::new(192, 0, 2, 1))
                }),
                path(1, true, |a| a.cluster_list = vec![Ipv4Addr::LOCALHOST]),
            ),
        ];
        for (name, winner, loser) in rows {
            assert_eq!(reason(&winner, &loser), name);
            assert_eq!(best(&[winner.clone(), loser.clone()]), Some(0), "{name}");
            assert_eq!(best(&[loser, winner]), Some(1), "{name}, other order");
        }
    }

    #[test]
    fn med_of_another_neighboring_as_is_not_compared() {
        let far = path(1, false, |a| {
            (a.as_path, a.med) = (sequence(&[7]), Some(50))
        });
        let near = path(2, false, |a| (a.as_path, a.med) = (sequence(&[8]), Some(5)));
        assert_eq!(best(&[near.clone(), far.clone()]), Some(1));
        assert_eq!(reason(&far, &near), "lower BGP identifier");
    }

    #[test]
    fn rejected_paths_are_never_best() {
        let mut refused = path(1, true, |a| a.local_pref = Some(999));
        refused.rejected = Some(Arc::new(Refusal::new(RefusalKind::Source, "policy")));
        assert_eq!(best(&[refused.clone()]), None);
        assert_eq!(best(&[refused, path(2, true, |_| {})]), Some(1));
    }
}

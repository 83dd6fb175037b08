//! Several paths of one neighbor for one NLRI (RFC 7911).

use super::policy::RateBounds;
use super::status::RouteCounts;
use super::status::RouteState::{self, Installed, Rejected, Shadowed, Stale};
use super::tests::{Bench, DISCARD, address, host};
use super::*;
use crate::rib::RefusalKind;
use crate::session::Cause;
use crate::wire::attribute::{Attributes, Origin};
use crate::wire::community::ExtendedCommunity;
use crate::wire::path::{PathId, PathOf};
use dataplane::backend::{Backend, Recovered};
use dataplane::sim::Sim;

/// A rate of 1,000 octets a second.
const RATE: &str = "80060000447a0000";

/// Attributes with one action.
fn attributes(local_pref: u32, action: &str) -> Attributes {
    let community = hex::decode(action).unwrap().try_into().unwrap();
    Attributes {
        origin: Some(Origin::Igp),
        local_pref: Some(local_pref),
        extended_communities: vec![ExtendedCommunity(community)],
        ..Attributes::default()
    }
}

/// Paths for the one NLRI of these tests.
fn paths(ids: &[PathId]) -> Vec<PathOf<Nlri>> {
    let path = |id: &PathId| PathOf {
        id: *id,
        route: host(1),
    };
    ids.iter().map(path).collect()
}

impl Bench {
    fn update_paths(&mut self, update: Update) {
        let peer = address(1);
        self.engine.step(self.now, Event::Update { peer, update });
    }

    fn announce_path(&mut self, id: PathId, local_pref: u32, action: &str) {
        self.update_paths(Update {
            announced: paths(&[id]),
            attributes: attributes(local_pref, action),
            ..Update::default()
        });
    }

    fn withdraw_paths(&mut self, ids: &[PathId]) {
        self.update_paths(Update {
            withdrawn: paths(ids),
            ..Update::default()
        });
    }

    /// Identifier and state of each path, the one in force first.
    fn shown(&self) -> Vec<(Option<PathId>, RouteState)> {
        let rules = self.engine.rules(self.now).into_iter();
        rules.map(|rule| (rule.path_id, rule.state)).collect()
    }

    fn end_of_rib(&mut self) {
        self.update_paths(Update {
            end_of_rib: Some(FlowFamily::Ipv4Flow.afi_safi()),
            ..Update::default()
        });
    }
}

/// A bench whose neighbor has sent path 1, which is the better one, and path 2.
fn two_paths(policy: ImportPolicy) -> Bench {
    let mut bench = Bench::new();
    bench.up(1, policy);
    bench.announce_path(2, 100, RATE);
    bench.announce_path(1, 200, DISCARD);
    assert_eq!(bench.commit(Ok(())), Some((1, 0)));
    bench
}

#[test]
fn a_path_withdrawn_leaves_the_other_in_force() {
    let mut bench = two_paths(ImportPolicy::default());
    assert_eq!(bench.shown(), [(Some(1), Installed), (Some(2), Shadowed)]);
    assert_eq!(
        bench.reason(1),
        "the path of 192.0.2.1 path 1 is preferred: higher LOCAL_PREF"
    );
    let counts = bench.engine.peer_counts(address(1));
    assert_eq!(
        (counts.received, counts.installed, counts.shadowed),
        (2, 1, 1)
    );

    // RFC 7911 §5: a path that was never there is ignored.
    bench.withdraw_paths(&[0, 3]);
    assert_eq!(bench.commit(Ok(())), None);
    bench.withdraw_paths(&[1]);
    assert_eq!(bench.commit(Ok(())), Some((1, 0)));
    assert_eq!(bench.shown(), [(Some(2), Installed)]);
    let actions = bench.engine.rules(bench.now).remove(0).actions;
    assert_eq!(actions, ["rate-limit 1000 bytes/s"]);
    bench.withdraw_paths(&[2]);
    assert_eq!(bench.commit(Ok(())), Some((0, 1)));
    assert_eq!(bench.engine.counts(), RouteCounts::default());
}

#[test]
fn an_announcement_replaces_the_path_with_its_identifier() {
    let mut bench = two_paths(ImportPolicy::default());
    bench.announce_path(1, 50, DISCARD);
    assert_eq!(bench.commit(Ok(())), Some((1, 0)));
    assert_eq!(bench.shown(), [(Some(2), Installed), (Some(1), Shadowed)]);
    bench.announce_path(1, 50, DISCARD);
    assert_eq!(bench.commit(Ok(())), None);
    assert_eq!(bench.engine.counts().received, 2);
}

#[test]
fn equal_paths_are_chosen_by_identifier_and_neighbors_are_named_once() {
    let mut bench = two_paths(ImportPolicy::default());
    bench.announce_path(1, 100, RATE);
    bench.up(2, ImportPolicy::default());
    bench.announce(2, &[host(1)], &[RATE]);
    bench.commit(Ok(()));
    let shown = bench.shown();
    assert_eq!(
        shown,
        [(Some(1), Installed), (Some(2), Shadowed), (None, Shadowed)]
    );
    assert!(bench.reason(1).ends_with("lower Path Identifier"));
    assert_eq!(
        bench.engine.announced_by(&host(1)),
        [address(1), address(2)]
    );
}

#[test]
fn each_path_is_judged_and_counted_for_itself() {
    let mut bench = two_paths(ImportPolicy {
        max_routes: 2,
        rate_bytes: RateBounds {
            max: Some(500),
            ..RateBounds::default()
        },
        ..ImportPolicy::default()
    });
    let states = |bench: &Bench| bench.shown();
    assert_eq!(states(&bench), [(Some(1), Installed), (Some(2), Rejected)]);
    for id in [3, 4] {
        bench.announce_path(id, 10, DISCARD);
    }
    assert_eq!(
        states(&bench)[1..],
        [
            (Some(2), Rejected),
            (Some(3), Shadowed),
            (Some(4), Rejected)
        ]
    );
    assert_eq!(bench.engine.refusals()[&RefusalKind::MaxRoutes], 1);
    bench.withdraw_paths(&[1]);
    bench.commit(Ok(()));
    assert_eq!(
        states(&bench),
        [
            (Some(3), Installed),
            (Some(2), Rejected),
            (Some(4), Shadowed)
        ]
    );
    // Another policy judges all of them anew.
    let policy = ImportPolicy::default();
    let peer = address(1);
    let event = Event::PolicyChanged { peer, policy };
    bench.engine.step(bench.now, event);
    bench.commit(Ok(()));
    assert_eq!(bench.shown()[0], (Some(2), Installed));
    assert_eq!(bench.engine.refusals().len(), 0);
}

#[test]
fn each_path_has_its_own_lifetime() {
    let lifetime = std::time::Duration::from_secs(10);
    let mut bench = two_paths(ImportPolicy {
        max_lifetime: Some(lifetime),
        ..ImportPolicy::default()
    });
    bench.now += lifetime / 2;
    bench.announce_path(2, 100, RATE);
    bench.now += lifetime / 2;
    assert_eq!(bench.commit(Ok(())), Some((1, 0)));
    assert_eq!(bench.shown(), [(Some(2), Installed), (Some(1), Rejected)]);
    assert!(bench.reason(1).starts_with("expired"));
    bench.announce_path(1, 200, DISCARD);
    bench.commit(Ok(()));
    assert_eq!(bench.shown()[0], (Some(1), Installed));
}

/// The session is lost, and both paths stay until End-of-RIB.
fn restarting() -> Bench {
    let mut bench = two_paths(ImportPolicy::default());
    let retained = Retained {
        family: FlowFamily::Ipv4Flow.afi_safi(),
        cause: Cause::Hold,
        time: Duration::from_secs(60),
        at_most: Duration::from_secs(60),
        long_lived: Duration::ZERO,
    };
    let event = Event::PeerDown {
        peer: address(1),
        retained: vec![retained],
    };
    bench.engine.step(bench.now, event);
    assert_eq!(bench.shown(), [(Some(1), Stale), (Some(2), Shadowed)]);
    bench.up(1, ImportPolicy::default());
    bench
}

/// RFC 7911 §5: they need not be the same after a restart.
#[test]
fn other_identifiers_after_a_restart_change_nothing_in_the_packet_filter() {
    let mut bench = restarting();
    bench.announce_path(7, 200, DISCARD);
    bench.announce_path(8, 100, RATE);
    let shown = bench.shown();
    assert_eq!(shown.len(), 4);
    assert_eq!(shown[0], (Some(7), Installed), "the stale one gives way");
    assert_eq!(bench.commit(Ok(())), None);
    bench.end_of_rib();
    assert_eq!(bench.commit(Ok(())), None);
    assert_eq!(bench.shown(), [(Some(7), Installed), (Some(8), Shadowed)]);
}

#[test]
fn end_of_rib_sweeps_the_path_that_was_not_resent() {
    let mut bench = restarting();
    bench.announce_path(2, 100, RATE);
    assert_eq!(bench.shown(), [(Some(1), Stale), (Some(2), Shadowed)]);
    bench.end_of_rib();
    assert_eq!(bench.commit(Ok(())), Some((1, 0)));
    assert_eq!(bench.shown(), [(Some(2), Installed)]);
}

#[test]
fn the_end_of_the_session_takes_all_paths() {
    let mut bench = two_paths(ImportPolicy::default());
    let event = Event::PeerDown {
        peer: address(1),
        retained: Vec::new(),
    };
    bench.engine.step(bench.now, event);
    assert_eq!(bench.commit(Ok(())), Some((0, 1)));
    assert_eq!(bench.engine.rules(bench.now), []);
}

#[test]
fn a_later_process_knows_which_path_is_in_force() {
    let bench = two_paths(ImportPolicy::default());
    let (_, entry) = bench.engine.rib.iter().next().expect("it is there");
    let best = entry.best().expect("it is in force");
    let memo = dataplane::rule::Background::memo(&*best.route);
    let mut later = Bench::new();
    later.engine = Engine::new(bench.engine.local, Sim::new().capability());
    let id = RuleId(7);
    let until = later.now + Duration::from_secs(120);
    let recovery = later
        .engine
        .recover(later.now, until, &[Recovered { id, memo }], |_, _| {
            Some(ImportPolicy::default())
        });
    assert_eq!((recovery.rules.len(), recovery.left_out.len()), (1, 0));
    assert_eq!(later.shown(), [(Some(1), Stale)]);
    later.up(1, ImportPolicy::default());
    later.withdraw_paths(&[1]);
    assert_eq!(later.commit(Ok(())), Some((0, 1)));
}

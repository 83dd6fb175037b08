//! Limits on numbers and lifetimes, and policies that change.

use super::notice::Notice;
use super::policy::{MinLengths, Overflow, TotalLimit};
use super::status::RouteState::{Installed, Rejected};
use super::tests::{Bench, DISCARD, address, host, port};
use super::*;
use crate::rib::RefusalKind;
use crate::wire::nlri::Nlri;
use std::time::Duration;

/// All notices so far.
fn notices(bench: &mut Bench) -> Vec<Notice> {
    std::iter::from_fn(|| bench.engine.poll_notice()).collect()
}

/// Sets the policy of some neighbors and the limit on all.
fn change(bench: &mut Bench, policies: &[(u8, ImportPolicy)], max_total_routes: usize) {
    let policies = policies.iter().cloned();
    let event = Event::PoliciesChanged {
        policies: policies
            .map(|(last, policy)| (address(last), policy))
            .collect(),
        total: TotalLimit {
            max_routes: max_total_routes,
            ..TotalLimit::default()
        },
    };
    bench.engine.step(bench.now, event);
}

fn max_routes(max_routes: usize) -> ImportPolicy {
    ImportPolicy {
        max_routes,
        ..ImportPolicy::default()
    }
}

#[test]
fn a_limit_on_all_neighbors_is_filled_by_whoever_waits() {
    let mut bench = Bench::new();
    change(&mut bench, &[], 3);
    for last in [1, 2] {
        bench.up(last, ImportPolicy::default());
    }
    bench.announce(1, &[host(1), host(2)], &[DISCARD]);
    bench.announce(2, &[host(3), host(4), host(5)], &[DISCARD]);
    bench.commit(Ok(()));
    assert_eq!(bench.states(1), [Installed, Installed]);
    assert_eq!(bench.states(2), [Installed, Rejected, Rejected]);
    assert!(bench.reason(3).contains("import.max_total_routes = 3"));
    assert_eq!(bench.engine.refusals()[&RefusalKind::MaxTotalRoutes], 2);

    bench.withdraw(1, &[host(1)]);
    bench.commit(Ok(()));
    assert_eq!(bench.states(2), [Installed, Installed, Rejected]);
    bench.engine.step(
        bench.now,
        Event::PeerDown {
            peer: address(1),
            retained: Vec::new(),
        },
    );
    bench.commit(Ok(()));
    assert_eq!(bench.states(2), [Installed; 3]);
    assert!(bench.engine.refusals().is_empty());
}

#[test]
fn warnings_come_once_for_each_crossing() {
    let mut bench = Bench::new();
    change(&mut bench, &[], 8);
    bench.up(1, max_routes(5));
    let near = Notice::NearMaxRoutes {
        peer: address(1),
        accepted: 4,
        max_routes: 5,
    };
    bench.announce(1, &[host(1), host(2), host(3)], &[DISCARD]);
    assert_eq!(notices(&mut bench), []);
    bench.announce(1, &[host(4)], &[DISCARD]);
    assert_eq!(notices(&mut bench), std::slice::from_ref(&near));
    bench.announce(1, &[host(5), host(6)], &[DISCARD]);
    assert_eq!(notices(&mut bench), []);
    bench.withdraw(1, &[host(1), host(2), host(6)]);
    bench.announce(1, &[host(1)], &[DISCARD]);
    assert_eq!(notices(&mut bench), [near]);

    bench.up(2, ImportPolicy::default());
    bench.announce(2, &[host(7), host(8), host(9)], &[DISCARD]);
    let near = Notice::NearMaxTotalRoutes {
        accepted: 7,
        max_routes: 8,
    };
    assert_eq!(notices(&mut bench), [near]);
    bench.announce(2, &[host(10)], &[DISCARD]);
    assert_eq!(notices(&mut bench), []);
}

#[test]
fn a_session_over_its_limit_is_closed_where_the_policy_wants_it() {
    let restart = Duration::from_secs(60);
    let policy = ImportPolicy {
        overflow: Overflow::Close { restart },
        warn_percent: 0,
        ..max_routes(2)
    };
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.up(1, policy.clone());
        bench.announce(1, &[host(1), host(2)], &[DISCARD]);
        assert_eq!(notices(&mut bench), []);
        bench.announce(1, &[host(3), host(4)], &[DISCARD]);
        bench.announce(1, &[host(5)], &[DISCARD]);
        let close = Notice::CloseSession {
            peer: address(1),
            restart,
            reason: "over max_routes = 2: the neighbor has that many in force".into(),
        };
        assert_eq!(notices(&mut bench), [close], "once a session");
        assert_eq!(bench.engine.peer_counts(address(1)).accepted, 2);
        bench.engine.step(
            bench.now,
            Event::PeerDown {
                peer: address(1),
                retained: Vec::new(),
            },
        );
        assert_eq!(bench.engine.counts().received, 0);
    }
}

#[test]
fn a_route_expires_until_it_is_announced_anew() {
    let minute = Duration::from_secs(60);
    let policy = ImportPolicy {
        max_lifetime: Some(minute),
        ..ImportPolicy::default()
    };
    let mut bench = Bench::new();
    bench.up(1, policy.clone());
    bench.announce(1, &[host(1), host(2)], &[DISCARD]);
    bench.commit(Ok(()));
    bench.now += minute / 2;
    bench.announce(1, &[host(2)], &[DISCARD]);
    assert_eq!(bench.engine.next_deadline(), Some(bench.now + minute / 2));
    bench.now += minute / 2;
    assert_eq!(bench.commit(Ok(())), Some((0, 1)), "the one not announced");
    assert_eq!(bench.states(1), [Rejected, Installed]);
    let reason = "expired: not announced for import.max_lifetime_secs = 60";
    assert_eq!(bench.reason(0), reason);

    bench.announce(1, &[host(1)], &[DISCARD]);
    assert_eq!(
        bench.commit(Ok(())),
        Some((1, 0)),
        "an equal announcement counts"
    );
    bench.now += minute;
    bench.commit(Ok(()));
    assert_eq!(bench.states(1), [Rejected, Rejected]);
    assert_eq!(bench.engine.next_deadline(), None);

    let longer = ImportPolicy {
        max_lifetime: Some(minute * 5 / 4),
        ..policy.clone()
    };
    change(&mut bench, &[(1, longer)], usize::MAX);
    bench.commit(Ok(()));
    assert_eq!(bench.states(1), [Installed, Rejected], "announced 90 s ago");
    change(&mut bench, &[(1, ImportPolicy::default())], usize::MAX);
    bench.commit(Ok(()));
    assert_eq!(bench.states(1), [Installed, Installed]);
    change(&mut bench, &[(1, policy)], usize::MAX);
    assert_eq!(bench.engine.next_deadline(), Some(bench.now + minute));
    bench.withdraw(1, &[host(1), host(2)]);
    bench.commit(Ok(()));
    assert_eq!(bench.engine.next_deadline(), None);
}

#[test]
fn an_expired_route_makes_room_for_another() {
    let minute = Duration::from_secs(60);
    let policy = ImportPolicy {
        max_lifetime: Some(minute),
        ..max_routes(1)
    };
    let mut bench = Bench::new();
    bench.up(1, policy);
    bench.announce(1, &[host(1)], &[DISCARD]);
    bench.now += minute / 2;
    bench.announce(1, &[host(2)], &[DISCARD]);
    bench.commit(Ok(()));
    assert_eq!(bench.states(1), [Installed, Rejected]);
    bench.now += minute / 2;
    assert_eq!(bench.commit(Ok(())), Some((1, 1)));
    assert_eq!(bench.states(1), [Rejected, Installed]);
}

#[test]
fn many_routes_that_policy_refuses_are_counted_and_not_kept() {
    let policy = ImportPolicy {
        min_destination_length: MinLengths { ipv4: 1, ipv6: 1 },
        ..max_routes(10)
    };
    let mut bench = Bench::new();
    bench.up(1, policy);
    for start in (0u16..5_000).step_by(100) {
        let routes: Vec<Nlri> = (start..start + 100).map(port).collect();
        bench.announce(1, &routes, &[DISCARD]);
    }
    let counts = bench.engine.counts();
    assert_eq!(
        (counts.accepted, counts.rejected, counts.not_kept),
        (0, 1_010, 3_990)
    );
    bench.announce(1, &[host(1)], &[DISCARD]);
    assert_eq!(bench.engine.counts().accepted, 1);
    bench.withdraw(1, &[port(0)]);
    bench.announce(1, &[port(4_999)], &[DISCARD]);
    assert_eq!(
        bench.engine.counts().rejected,
        1_010,
        "there was room again"
    );
}

#[test]
fn ten_thousand_routes_are_judged_anew_at_once() {
    let mut bench = Bench::new();
    let routes = |last: u8| -> Vec<Nlri> {
        let octets = (0..5_000u16).map(|n| n.to_be_bytes());
        octets
            .map(|[high, low]| {
                let value = [1, 32, 10, last, high, low];
                Nlri::decode(crate::wire::iana::FlowFamily::Ipv4Flow, &value).unwrap()
            })
            .collect()
    };
    for last in [1, 2] {
        bench.up(last, ImportPolicy::default());
        bench.announce(last, &routes(last), &[DISCARD]);
    }
    while bench.engine.next_deadline().is_some() || !bench.engine.is_settled() {
        bench.now += Duration::from_millis(100);
        bench.commit(Ok(()));
    }
    bench.now += Duration::from_secs(10);
    let inside = ImportPolicy {
        destinations: vec!["10.1.0.0/20".parse().unwrap()],
        ..ImportPolicy::default()
    };
    let start = Instant::now();
    change(&mut bench, &[(1, inside.clone()), (2, inside)], usize::MAX);
    let removed = bench.commit(Ok(()));
    let took = start.elapsed();
    assert_eq!(removed, Some((0, 904 + 5_000)), "in one commit");
    assert!(bench.engine.is_settled());
    assert!(took < Duration::from_secs(1), "{took:?}");
}

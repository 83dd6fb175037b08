//! The engine against a data plane that is played by the test.

use super::status::{RouteCounts, RouteState};
use super::*;
use crate::wire::attribute::{Attributes, Origin};
use crate::wire::community::ExtendedCommunity;
use crate::wire::iana::FlowFamily;
use crate::wire::nlri::Nlri;
use crate::wire::path::PathOf;
use dataplane::backend::Unsupported;
use dataplane::rule::{Family, Rule};
use std::time::Duration;

pub(super) const DISCARD: &str = "8006000000000000";
const RATE_1000: &str = "80060000447a0000";
const REDIRECT: &str = "8008fde900000064";

/// Refuses rules that match port 666.
struct Picky;

impl Capability for Picky {
    fn check(&self, rule: &Rule) -> Result<(), Unsupported> {
        let evil = rule
            .matches
            .rare
            .port
            .as_ref()
            .is_some_and(|ports| ports.contains(666));
        if evil {
            Err(Unsupported("no port 666 here".into()))
        } else {
            Ok(())
        }
    }
}

pub(super) struct Bench {
    pub(super) engine: Engine,
    pub(super) now: Instant,
}

pub(super) fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// `destination 203.0.113.N/32`.
pub(super) fn host(n: u8) -> Nlri {
    Nlri::decode(FlowFamily::Ipv4Flow, &[1, 32, 203, 0, 113, n]).unwrap()
}

/// `port =N`.
pub(super) fn port(n: u16) -> Nlri {
    let [high, low] = n.to_be_bytes();
    Nlri::decode(FlowFamily::Ipv4Flow, &[4, 0x91, high, low]).unwrap()
}

fn attributes(communities: &[&str]) -> Attributes {
    let decode = |hex: &&str| ExtendedCommunity(hex::decode(hex).unwrap().try_into().unwrap());
    Attributes {
        origin: Some(Origin::Igp),
        extended_communities: communities.iter().map(decode).collect(),
        ..Attributes::default()
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        let local = LocalSpeaker {
            asn: 65140,
            router_id: Ipv4Addr::new(192, 0, 2, 254),
        };
        Self {
            engine: Engine::new(local, Arc::new(Picky)),
            now: Instant::now(),
        }
    }

    pub(super) fn up(&mut self, last: u8, policy: ImportPolicy) {
        let (peer, router_id) = (address(last), Ipv4Addr::new(192, 0, 2, last));
        self.engine.step(
            self.now,
            Event::PeerUp {
                peer,
                router_id,
                ibgp: true,
                families: FlowFamily::ALL.to_vec(),
                policy,
                restart: NegotiatedRestart::default(),
            },
        );
    }

    pub(super) fn announce(&mut self, last: u8, nlri: &[Nlri], communities: &[&str]) {
        let update = Update {
            announced: nlri.iter().cloned().map(PathOf::from).collect(),
            attributes: attributes(communities),
            ..Update::default()
        };
        self.engine.step(
            self.now,
            Event::Update {
                peer: address(last),
                update,
            },
        );
    }

    pub(super) fn withdraw(&mut self, last: u8, nlri: &[Nlri]) {
        let update = Update {
            withdrawn: nlri.iter().cloned().map(PathOf::from).collect(),
            ..Update::default()
        };
        self.engine.step(
            self.now,
            Event::Update {
                peer: address(last),
                update,
            },
        );
    }

    /// The next commit as (rules put, rules removed), answered with `result`.
    pub(super) fn commit(&mut self, result: Result<(), BackendError>) -> Option<(usize, usize)> {
        let changes = self.engine.poll_commit(self.now)?;
        self.engine.step(self.now, Event::Committed(result));
        Some((changes.put.len(), changes.remove.len()))
    }

    /// (state, reason contains) of all routes of a neighbor, in order.
    pub(super) fn states(&self, last: u8) -> Vec<RouteState> {
        let neighbor = address(last).to_string();
        let rules = self.engine.rules(self.now);
        rules
            .iter()
            .filter(|rule| rule.neighbor == neighbor)
            .map(|rule| rule.state)
            .collect()
    }

    pub(super) fn reason(&self, index: usize) -> String {
        self.engine.rules(self.now)[index]
            .reason
            .clone()
            .unwrap_or_default()
    }
}

#[test]
fn announced_installed_withdrawn_gone() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(1), host(2)], &[DISCARD]);
    assert_eq!(bench.states(1), [RouteState::Pending; 2]);
    assert_eq!(bench.commit(Ok(())), Some((2, 0)));
    assert_eq!(bench.states(1), [RouteState::Installed; 2]);
    assert!(bench.engine.is_settled());
    assert_eq!(bench.commit(Ok(())), None);

    bench.withdraw(1, &[host(1)]);
    assert_eq!(bench.commit(Ok(())), Some((0, 1)));
    bench.engine.step(
        bench.now,
        Event::PeerDown {
            peer: address(1),
            retained: Vec::new(),
        },
    );
    assert_eq!(bench.commit(Ok(())), Some((0, 1)));
    assert_eq!(bench.engine.rules(bench.now), []);
    assert_eq!(bench.engine.counts(), RouteCounts::default());
}

#[test]
fn announcing_the_same_again_changes_nothing() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(1)], &[DISCARD]);
    bench.commit(Ok(()));
    bench.now += Duration::from_secs(7);
    bench.announce(1, &[host(1)], &[DISCARD]);
    assert_eq!(bench.commit(Ok(())), None);
    assert_eq!(bench.engine.rules(bench.now)[0].age_secs, 7);

    bench.announce(1, &[host(1)], &[RATE_1000]);
    assert_eq!(
        bench.commit(Ok(())),
        Some((1, 0)),
        "other actions replace the rule"
    );
    assert_eq!(bench.engine.rules(bench.now)[0].age_secs, 0);
}

#[test]
fn what_arrives_during_a_commit_waits_for_the_next() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(1)], &[DISCARD]);
    let first = bench.engine.poll_commit(bench.now).unwrap();
    assert_eq!(first.put.len(), 1);
    bench.announce(1, &[host(2)], &[DISCARD]);
    bench.withdraw(1, &[host(1)]);
    assert!(
        bench.engine.poll_commit(bench.now).is_none(),
        "one at a time"
    );
    bench.engine.step(bench.now, Event::Committed(Ok(())));
    assert_eq!(bench.commit(Ok(())), Some((1, 1)));
    assert!(bench.engine.is_settled());
}

#[test]
fn a_withdraw_by_one_neighbor_leaves_the_other_in_force() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.up(2, ImportPolicy::default());
    bench.announce(2, &[host(1)], &[DISCARD]);
    bench.commit(Ok(()));
    bench.announce(1, &[host(1)], &[RATE_1000]);
    assert_eq!(
        bench.commit(Ok(())),
        Some((1, 0)),
        "the lower identifier wins"
    );
    assert_eq!(bench.states(1), [RouteState::Installed]);
    assert_eq!(bench.states(2), [RouteState::Shadowed]);
    assert_eq!(
        bench.reason(1),
        "the path of 192.0.2.1 is preferred: lower BGP identifier"
    );

    bench.withdraw(1, &[host(1)]);
    assert_eq!(bench.commit(Ok(())), Some((1, 0)), "replaced, never absent");
    assert_eq!(bench.states(2), [RouteState::Installed]);
}

#[test]
fn what_cannot_be_enforced_exactly_is_unsupported_with_its_reason() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(1)], &[REDIRECT]);
    bench.announce(1, &[port(666)], &[DISCARD]);
    assert_eq!(bench.commit(Ok(())), None);
    assert_eq!(bench.states(1), [RouteState::Unsupported; 2]);
    assert!(bench.reason(0).contains("redirect"), "{}", bench.reason(0));
    assert_eq!(bench.reason(1), "no port 666 here");
}

#[test]
fn a_rule_that_becomes_unsupported_leaves_the_packet_filter() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(1)], &[DISCARD]);
    bench.commit(Ok(()));
    bench.announce(1, &[host(1)], &[REDIRECT]);
    assert_eq!(bench.commit(Ok(())), Some((0, 1)));
    assert_eq!(bench.states(1), [RouteState::Unsupported]);
}

#[test]
fn policy_refuses_and_says_why() {
    let mut bench = Bench::new();
    let destinations = vec!["203.0.113.0/31".parse().unwrap()];
    bench.up(
        1,
        ImportPolicy {
            destinations,
            ..Default::default()
        },
    );
    bench.announce(1, &[host(1), host(9)], &[DISCARD]);
    bench.commit(Ok(()));
    assert_eq!(
        bench.states(1),
        [RouteState::Installed, RouteState::Rejected]
    );
    assert!(bench.reason(1).contains("import.destinations"));

    let policy = ImportPolicy::default();
    bench.engine.step(
        bench.now,
        Event::PolicyChanged {
            peer: address(1),
            policy,
        },
    );
    assert_eq!(
        bench.commit(Ok(())),
        Some((1, 0)),
        "only what the policy newly takes"
    );
    assert_eq!(bench.states(1), [RouteState::Installed; 2]);
}

#[test]
fn routes_over_the_limit_are_refused_and_move_up_when_there_is_room() {
    let mut bench = Bench::new();
    bench.up(
        1,
        ImportPolicy {
            max_routes: 2,
            ..Default::default()
        },
    );
    bench.announce(1, &[host(1), host(2), host(3), host(4)], &[DISCARD]);
    bench.commit(Ok(()));
    use RouteState::{Installed, Rejected};
    assert_eq!(bench.states(1), [Installed, Installed, Rejected, Rejected]);
    assert!(bench.reason(2).contains("max_routes = 2"));
    bench.withdraw(1, &[host(1)]);
    assert_eq!(bench.commit(Ok(())), Some((1, 1)));
    assert_eq!(bench.states(1), [Installed, Installed, Rejected]);

    let policy = ImportPolicy {
        max_routes: 1,
        ..Default::default()
    };
    bench.engine.step(
        bench.now,
        Event::PolicyChanged {
            peer: address(1),
            policy,
        },
    );
    bench.commit(Ok(()));
    assert_eq!(bench.engine.peer_counts(address(1)).accepted, 1);
}

#[test]
fn a_flood_over_the_limit_is_counted_and_not_kept() {
    let mut bench = Bench::new();
    bench.up(
        1,
        ImportPolicy {
            max_routes: 10,
            ..Default::default()
        },
    );
    for start in (0u16..5_000).step_by(100) {
        let routes: Vec<Nlri> = (start..start + 100).map(|n| port(n + 1_000)).collect();
        bench.announce(1, &routes, &[DISCARD]);
    }
    let counts = bench.engine.counts();
    assert_eq!(
        (counts.accepted, counts.rejected, counts.not_kept),
        (10, 1_000, 3_990)
    );
}

#[test]
fn a_refusal_that_names_its_rule_costs_only_that_rule() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(1), host(2), host(3)], &[DISCARD]);
    let changes = bench.engine.poll_commit(bench.now).unwrap();
    let rule = Some(changes.put[1].id);
    let refused = BackendError::Refused {
        rule,
        reason: "EINVAL".into(),
    };
    bench.engine.step(bench.now, Event::Committed(Err(refused)));
    assert_eq!(bench.commit(Ok(())), Some((2, 0)));
    use RouteState::{Installed, Unsupported};
    assert_eq!(bench.states(1), [Installed, Unsupported, Installed]);
    assert_eq!(bench.reason(1), "refused by the packet filter: EINVAL");
}

#[test]
fn a_refusal_that_names_nothing_is_narrowed_down() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    let all: Vec<Nlri> = (0..100).map(host).collect();
    bench.announce(1, &all, &[DISCARD]);
    let poison = crate::rib::route_key(&host(37)).1;
    let mut commits = 0;
    while let Some(changes) = bench.engine.poll_commit(bench.now) {
        commits += 1;
        let refused = changes.put.iter().any(|rule| rule.order == poison);
        let error = BackendError::Refused {
            rule: None,
            reason: "no".into(),
        };
        let result = if refused { Err(error) } else { Ok(()) };
        bench.engine.step(bench.now, Event::Committed(result));
    }
    let counts = bench.engine.counts();
    assert_eq!((counts.installed, counts.unsupported), (99, 1));
    assert!(commits < 30, "{commits} commits");
    assert!(bench.engine.is_settled());
}

#[test]
fn rules_without_room_wait_until_others_go() {
    // A table of two rules, which prefers the older ones.
    let mut bench = Bench::new();
    let mut table: Vec<((Family, OrderKey), RuleId)> = Vec::new();
    let mut run = |bench: &mut Bench| {
        let mut commits = 0;
        while let Some(changes) = bench.engine.poll_commit(bench.now) {
            commits += 1;
            let mut next = table.clone();
            let removed = |key: &(Family, OrderKey)| changes.remove.contains(key);
            next.retain(|(key, id)| !removed(key) && !changes.put.iter().any(|r| r.id == *id));
            let mut put = changes.put.clone();
            put.sort_by_key(|rule| rule.id);
            let mut refused = Vec::new();
            for rule in put {
                if next.len() < 2 {
                    next.push(((rule.family, rule.order.clone()), rule.id));
                } else {
                    refused.push((rule.id, "the table has room for 2".to_string()));
                }
            }
            let result = if refused.is_empty() {
                table = next;
                Ok(())
            } else {
                Err(BackendError::NoRoom(refused))
            };
            bench.engine.step(bench.now, Event::Committed(result));
            assert!(commits < 10, "no end");
        }
        commits
    };
    use RouteState::{Installed, Pending};
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(9), host(8)], &[DISCARD]);
    run(&mut bench);
    bench.announce(1, &[host(1), host(2), host(3)], &[DISCARD]);
    assert_eq!(run(&mut bench), 1, "all are refused at once");
    let waiting = [Pending, Pending, Pending, Installed, Installed];
    assert_eq!(bench.states(1), waiting);
    let reason = "no room, waits until other rules go: the table has room for 2";
    assert_eq!(bench.reason(0), reason);
    assert!(
        bench.engine.is_settled(),
        "waiting is no business of the next commit"
    );

    bench.engine.step(bench.now, Event::SettingsChanged);
    assert_eq!(run(&mut bench), 1, "tried again, there might be more room");
    assert_eq!(bench.states(1), waiting);

    bench.withdraw(1, &[host(9)]);
    assert_eq!(run(&mut bench), 3, "removal, three tried, the oldest put");
    assert_eq!(bench.states(1), [Installed, Pending, Pending, Installed]);

    // One that is withdrawn while it waits, and one that changes.
    bench.withdraw(1, &[host(2)]);
    bench.announce(1, &[host(3)], &[RATE_1000]);
    run(&mut bench);
    assert_eq!(bench.states(1), [Installed, Pending, Installed]);
    bench.withdraw(1, &[host(1), host(8)]);
    run(&mut bench);
    assert_eq!(bench.states(1), [Installed]);
    assert_eq!(bench.reason(0), "");
}

#[test]
fn an_unreachable_packet_filter_is_tried_again_after_a_growing_pause() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(1)], &[DISCARD]);
    let mut last_pause = Duration::ZERO;
    for _ in 0..12 {
        let error = BackendError::Unavailable("ENOBUFS".into());
        assert!(bench.commit(Err(error)).is_some());
        assert!(bench.reason(0).contains("ENOBUFS"));
        assert_eq!(bench.commit(Ok(())), None, "not before the deadline");
        let pause = bench.engine.next_deadline().unwrap() - bench.now;
        assert!(pause >= last_pause && pause <= Duration::from_secs(5));
        last_pause = pause;
        bench.now += pause;
    }
    assert_eq!(bench.commit(Ok(())), Some((1, 0)));
    assert_eq!(bench.engine.next_deadline(), None);
}

#[test]
fn counters_belong_to_the_path_in_force() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.up(2, ImportPolicy::default());
    bench.announce(1, &[host(1)], &[DISCARD]);
    bench.announce(2, &[host(1)], &[DISCARD]);
    let id = bench.engine.poll_commit(bench.now).unwrap().put[0].id;
    bench.engine.step(bench.now, Event::Committed(Ok(())));
    let counters = vec![(
        id,
        Counter {
            packets: 3,
            bytes: 180,
        },
    )];
    bench.engine.step(bench.now, Event::Counters(counters));
    let rules = bench.engine.rules(bench.now);
    let packets: Vec<(&str, u64)> = rules
        .iter()
        .map(|rule| (rule.neighbor.as_str(), rule.packets))
        .collect();
    assert_eq!(packets, [("192.0.2.1", 3), ("192.0.2.2", 0)]);
}

#[test]
fn routes_of_unknown_neighbors_are_ignored() {
    let mut bench = Bench::new();
    bench.announce(1, &[host(1)], &[DISCARD]);
    bench.withdraw(1, &[host(1)]);
    assert_eq!(bench.engine.counts(), RouteCounts::default());
}

#[test]
fn a_rule_that_matches_nothing_is_installed_and_says_so() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    let never = Nlri::decode(FlowFamily::Ipv4Flow, &[4, 0x80, 80]).unwrap();
    bench.announce(1, &[never], &[DISCARD]);
    bench.commit(Ok(()));
    let rules = bench.engine.rules(bench.now);
    assert_eq!(rules[0].state, RouteState::Installed);
    assert!(
        rules[0].notes[0].starts_with("matches nothing"),
        "{:?}",
        rules[0].notes
    );
}

#[test]
fn a_refused_route_that_keeps_changing_does_not_fill_the_queue() {
    let mut bench = Bench::new();
    let policy = ImportPolicy {
        max_routes: 1,
        ..Default::default()
    };
    bench.up(1, policy);
    bench.announce(1, &[host(1), host(2)], &[DISCARD]);
    for _ in 0..5_000 {
        bench.announce(1, &[host(2)], &[RATE_1000]);
        bench.announce(1, &[host(2)], &[DISCARD]);
    }
    assert_eq!(bench.engine.peers[&address(1)].waiting(), 1);
    bench.withdraw(1, &[host(1)]);
    bench.commit(Ok(()));
    assert_eq!(bench.states(1), [RouteState::Installed]);
}

#[test]
fn announcing_everything_again_makes_no_second_copy_of_a_rule() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(1)], &[DISCARD]);
    let rule = bench.engine.poll_commit(bench.now).unwrap().put.remove(0);
    // Once while the rule is in flight, and once when it is installed.
    bench.withdraw(1, &[host(1)]);
    bench.announce(1, &[host(1)], &[DISCARD]);
    bench.engine.step(bench.now, Event::Committed(Ok(())));
    assert_eq!(bench.commit(Ok(())), None, "what is installed is wanted");
    let held = "by the test, and as both desired and installed";
    assert_eq!(Arc::strong_count(&rule), 2, "{held}");
    bench.withdraw(1, &[host(1)]);
    bench.announce(1, &[host(1)], &[DISCARD]);
    assert_eq!(bench.commit(Ok(())), None);
    assert_eq!(Arc::strong_count(&rule), 2, "{held}");
}

#[test]
fn what_comes_and_goes_while_a_commit_is_in_flight_is_never_written() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    bench.announce(1, &[host(1)], &[DISCARD]);
    assert!(bench.engine.poll_commit(bench.now).is_some());
    bench.announce(1, &[host(2)], &[DISCARD]);
    bench.withdraw(1, &[host(2)]);
    bench.engine.step(bench.now, Event::Committed(Ok(())));
    assert_eq!(bench.commit(Ok(())), None);
    assert!(bench.engine.is_settled());
}

#[test]
fn a_storm_becomes_few_commits_and_ends_where_the_routes_are() {
    let mut bench = Bench::new();
    bench.up(1, ImportPolicy::default());
    let all: Vec<Nlri> = (1_001..=6_000).map(port).collect();
    bench.announce(1, &[host(1)], &[DISCARD]);
    assert_eq!(
        bench.commit(Ok(())),
        Some((1, 0)),
        "at once while it is calm"
    );

    // 10,000 changes a second for 15 seconds; commits take no time.
    let mut commits = 0;
    for n in 0..15_000 {
        let ten = &all[n * 10 % 5_000..][..10];
        match n % 3 {
            0 => bench.withdraw(1, ten),
            1 => bench.announce(1, ten, &[DISCARD]),
            _ => bench.announce(1, ten, &[RATE_1000]),
        }
        commits += usize::from(bench.commit(Ok(())).is_some());
        bench.now += Duration::from_millis(1);
    }
    // As many at once as it takes to know a storm, then 14 a second.
    assert!(commits <= 300 + 15 * 15, "{commits} commits");
    assert!(commits > 15 * 10, "{commits} commits");
    while let Some(deadline) = bench.engine.next_deadline() {
        bench.now = bench.now.max(deadline);
        bench.commit(Ok(()));
    }
    let counts = bench.engine.counts();
    assert!(bench.engine.is_settled() && counts.received > 100);
    assert_eq!(counts.installed, counts.received);

    bench.now += Duration::from_secs(2);
    for n in 0..100 {
        bench.announce(1, &[host(n)], &[RATE_1000]);
        assert_eq!(bench.commit(Ok(())), Some((1, 0)), "calm again: at once");
    }
}

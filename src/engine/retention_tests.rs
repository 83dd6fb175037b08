//! Restarts in virtual time: one engine fills a `sim` data plane, the next one takes it over.

use super::*;
use crate::engine::Event;
use crate::engine::policy::LocalSpeaker;
use crate::engine::status::RouteState::{self, Installed, Shadowed, Stale};
use crate::session::NegotiatedLongLived;
use crate::wire::attribute::Origin;
use crate::wire::community::ExtendedCommunity;
use crate::wire::nlri::Nlri;
use crate::wire::path::PathOf;
use crate::wire::update::Update;
use dataplane::backend::Backend;
use dataplane::desired::Settings;
use dataplane::packet::Packet;
use dataplane::sim::Sim;
use std::net::Ipv4Addr;
use std::time::Duration;

const DISCARD: &str = "8006000000000000";
const RATE_1000: &str = "80060000447a0000";
const REDIRECT: &str = "8008fde900000064";

/// How long stale paths are kept here.
const KEPT: Duration = Duration::from_secs(120);

const LOCAL: LocalSpeaker = LocalSpeaker {
    asn: 65140,
    router_id: Ipv4Addr::new(192, 0, 2, 254),
};

/// `destination 203.0.113.N/32`.
fn host(n: u8) -> Nlri {
    Nlri::decode(FlowFamily::Ipv4Flow, &[1, 32, 203, 0, 113, n]).unwrap()
}

/// `next-header N`.
fn ipv6(n: u8) -> Nlri {
    Nlri::decode(FlowFamily::Ipv6Flow, &[3, 0x81, n]).unwrap()
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// How long a neighbor that is back may take to resend its routes here.
const AT_MOST: Duration = Duration::from_secs(180);

fn preserved_for_long(family: &FlowFamily) -> NegotiatedLongLived {
    NegotiatedLongLived {
        family: family.afi_safi(),
        time: Duration::from_secs(1),
        preserved: true,
    }
}

/// An engine and its data plane, with a count of what the engine made it do.
struct Bench {
    engine: Engine,
    sim: Sim,
    now: Instant,
    writes: usize,
}

/// One thing that happens after a restart.
#[derive(Clone, Debug)]
enum Step {
    Up(u8),
    Down(u8),
    Announce(u8, Vec<Nlri>, &'static str),
    Withdraw(u8, Vec<Nlri>),
    EndOfRib(u8, FlowFamily),
    Wait(u64),
    Neighbors(&'static str),
    /// The session is lost; rules stay for so many seconds, and long-lived stale for so many more.
    Lost(u8, Cause, u64, u64),
    /// It is back; in which families the restart, and the long-lived restart, preserved forwarding state.
    Back(u8, &'static [FlowFamily], &'static [FlowFamily]),
    /// A route that must not be long-lived stale.
    AnnounceForShort(u8, Vec<Nlri>),
    Refresh(u8, RefreshMarker),
    /// Only routes to this prefix from now on.
    Policy(u8, &'static str),
    /// Another limit on routes.
    Limit(u8, usize),
}

use FlowFamily::{Ipv4Flow, Ipv6Flow};
use Step::*;

impl Bench {
    fn new() -> Self {
        let mut sim = Sim::new();
        sim.start(&Settings::default(), &[]).unwrap();
        Self {
            engine: Engine::new(LOCAL, sim.capability()),
            sim,
            now: Instant::now(),
            writes: 0,
        }
    }

    /// Neighbors 1 and 2 have announced these, all of it installed.
    fn with(first: &[Nlri], second: &[Nlri]) -> Self {
        let mut bench = Self::new();
        bench.play(&[Up(1), Up(2)]);
        bench.play(&[
            Announce(1, first.to_vec(), DISCARD),
            Announce(2, second.to_vec(), DISCARD),
        ]);
        bench.writes = 0;
        bench
    }

    /// Another process takes over; whoever is in `policy` is still configured.
    fn restart_with(
        &mut self,
        policy: impl Fn(IpAddr, FlowFamily) -> Option<ImportPolicy>,
    ) -> Recovery {
        let recovered = self.sim.recover().unwrap();
        self.engine = Engine::new(LOCAL, self.sim.capability());
        let until = self.now + KEPT;
        let recovery = self.engine.recover(self.now, until, &recovered, policy);
        self.sim
            .resume(&Settings::default(), &[], &recovery.rules)
            .unwrap();
        assert!(self.engine.is_settled());
        recovery
    }

    /// As [`Self::restart_with`], with everybody configured.
    fn restart(&mut self) -> Recovery {
        let recovery = self.restart_with(|_, _| Some(ImportPolicy::default()));
        assert_eq!(recovery.left_out, []);
        recovery
    }

    fn play(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step.clone());
            while let Some(changes) = self.engine.poll_commit(self.now) {
                self.writes += changes.put.len() + changes.remove.len();
                let result = self.sim.commit(&changes);
                self.engine.step(self.now, Event::Committed(result));
            }
        }
        let counters = self.sim.counters().unwrap();
        self.engine.step(self.now, Event::Counters(counters));
    }

    fn step(&mut self, step: Step) {
        let update = |peer, update| Event::Update {
            peer: address(peer),
            update,
        };
        let event = match step {
            Up(peer) => Event::PeerUp {
                peer: address(peer),
                router_id: Ipv4Addr::new(192, 0, 2, peer),
                ibgp: true,
                families: vec![Ipv4Flow, Ipv6Flow],
                policy: ImportPolicy::default(),
                restart: NegotiatedRestart::default(),
            },
            Down(peer) => Event::PeerDown {
                peer: address(peer),
                retained: Vec::new(),
            },
            Announce(peer, announced, action) => {
                let community = hex::decode(action).unwrap().try_into().unwrap();
                let attributes = Attributes {
                    origin: Some(Origin::Igp),
                    extended_communities: vec![ExtendedCommunity(community)],
                    ..Attributes::default()
                };
                let announcement = Update {
                    announced: announced.into_iter().map(PathOf::from).collect(),
                    attributes,
                    ..Update::default()
                };
                update(peer, announcement)
            }
            Withdraw(peer, withdrawn) => update(
                peer,
                Update {
                    withdrawn: withdrawn.into_iter().map(PathOf::from).collect(),
                    ..Update::default()
                },
            ),
            EndOfRib(peer, family) => update(
                peer,
                Update {
                    end_of_rib: Some(family.afi_safi()),
                    ..Update::default()
                },
            ),
            Lost(peer, cause, secs, long_lived) => {
                let retained = |family: FlowFamily| Retained {
                    family: family.afi_safi(),
                    cause,
                    time: Duration::from_secs(secs),
                    at_most: AT_MOST,
                    long_lived: Duration::from_secs(long_lived),
                };
                Event::PeerDown {
                    peer: address(peer),
                    retained: vec![retained(Ipv4Flow), retained(Ipv6Flow)],
                }
            }
            Back(peer, preserved, long_lived) => Event::PeerUp {
                peer: address(peer),
                router_id: Ipv4Addr::new(192, 0, 2, peer),
                ibgp: true,
                families: vec![Ipv4Flow, Ipv6Flow],
                policy: ImportPolicy::default(),
                restart: NegotiatedRestart {
                    preserved: preserved.iter().map(|family| family.afi_safi()).collect(),
                    long_lived: long_lived.iter().map(preserved_for_long).collect(),
                    ..NegotiatedRestart::default()
                },
            },
            AnnounceForShort(peer, announced) => {
                let attributes = Attributes {
                    origin: Some(Origin::Igp),
                    communities: vec![NO_LLGR],
                    ..Attributes::default()
                };
                let announcement = Update {
                    announced: announced.into_iter().map(PathOf::from).collect(),
                    attributes,
                    ..Update::default()
                };
                update(peer, announcement)
            }
            Step::Refresh(peer, marker) => Event::Refresh {
                peer: address(peer),
                family: Ipv4Flow,
                marker,
                at_most: AT_MOST,
            },
            Policy(peer, destination) => Event::PolicyChanged {
                peer: address(peer),
                policy: ImportPolicy {
                    destinations: vec![destination.parse().unwrap()],
                    ..ImportPolicy::default()
                },
            },
            Limit(peer, max_routes) => Event::PolicyChanged {
                peer: address(peer),
                policy: ImportPolicy {
                    max_routes,
                    ..ImportPolicy::default()
                },
            },
            Wait(secs) => return self.now += Duration::from_secs(secs),
            Neighbors(network) => Event::NeighborsChanged(vec![network.parse().unwrap()]),
        };
        self.engine.step(self.now, event);
    }

    /// Neighbor and state of every route, in precedence order.
    fn routes(&self) -> Vec<(u8, RouteState)> {
        let rules = self.engine.rules(self.now);
        let last = |neighbor: &str| neighbor.rsplit('.').next().unwrap().parse().unwrap();
        rules
            .iter()
            .map(|rule| (last(&rule.neighbor), rule.state))
            .collect()
    }

    /// Sends one packet to 203.0.113.N.
    fn send(&mut self, n: u8) {
        let packet = format!("udp 198.51.100.7:123 > 203.0.113.{n}:4444 len 100");
        let packet = Packet::from_text(&packet).unwrap();
        self.sim.forward(Duration::ZERO, &packet, 100);
    }

    /// Packets counted, for every route.
    fn packets(&mut self) -> Vec<u64> {
        self.play(&[]);
        let rules = self.engine.rules(self.now);
        rules.iter().map(|rule| rule.packets).collect()
    }
}

/// Name, routes of neighbors 1 and 2 before the restart, what happens after it, routes and writes then.
type Row<'a> = (
    &'a str,
    &'a [Nlri],
    &'a [Nlri],
    &'a [Step],
    &'a [(u8, RouteState)],
    usize,
);

#[test]
fn after_a_restart() {
    let (one, two) = (&[host(1)][..], &[host(1), host(2)][..]);
    let mixed = &[host(1), ipv6(6)][..];
    let resent = |action| Announce(1, two.to_vec(), action);
    let rows: &[Row] = &[
        ("nobody is there yet", two, &[], &[], &[(1, Stale); 2], 0),
        ("session up", two, &[], &[Up(1)], &[(1, Stale); 2], 0),
        (
            "all resent",
            two,
            &[],
            &[Up(1), resent(DISCARD), EndOfRib(1, Ipv4Flow)],
            &[(1, Installed); 2],
            0,
        ),
        (
            "one resent so far",
            two,
            &[],
            &[Up(1), Announce(1, one.to_vec(), DISCARD)],
            &[(1, Installed), (1, Stale)],
            0,
        ),
        (
            "one resent and no more",
            two,
            &[],
            &[
                Up(1),
                Announce(1, one.to_vec(), DISCARD),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "none resent",
            two,
            &[],
            &[Up(1), EndOfRib(1, Ipv4Flow)],
            &[],
            2,
        ),
        (
            "withdrawn before it was resent",
            two,
            &[],
            &[Up(1), Withdraw(1, one.to_vec())],
            &[(1, Stale)],
            1,
        ),
        (
            "other actions",
            one,
            &[],
            &[
                Up(1),
                Announce(1, one.to_vec(), RATE_1000),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "actions that cannot be enforced",
            one,
            &[],
            &[Up(1), Announce(1, one.to_vec(), REDIRECT)],
            &[(1, RouteState::Unsupported)],
            1,
        ),
        (
            "End-of-RIB of the other family",
            mixed,
            &[],
            &[Up(1), EndOfRib(1, Ipv6Flow)],
            &[(1, Stale)],
            1,
        ),
        (
            "End-of-RIB of another neighbor",
            one,
            &[],
            &[Up(1), Up(2), EndOfRib(2, Ipv4Flow)],
            &[(1, Stale)],
            0,
        ),
        (
            "both neighbors resend",
            one,
            one,
            &[
                Up(2),
                Announce(2, one.to_vec(), DISCARD),
                EndOfRib(2, Ipv4Flow),
                Up(1),
                Announce(1, one.to_vec(), DISCARD),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed), (2, Shadowed)],
            0,
        ),
        (
            "the other neighbor announces it: what was preferred stays so",
            one,
            one,
            &[Up(2), Announce(2, one.to_vec(), RATE_1000)],
            &[(1, Stale), (2, Shadowed)],
            0,
        ),
        (
            "only the other neighbor resends it",
            one,
            one,
            &[
                Up(2),
                Announce(2, one.to_vec(), DISCARD),
                Up(1),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(2, Installed)],
            0,
        ),
        (
            "shortly before the time is over",
            one,
            one,
            &[Wait(119)],
            &[(1, Stale)],
            0,
        ),
        ("the time is over", two, &[], &[Wait(120)], &[], 2),
        (
            "the time is over for what was not resent",
            two,
            &[],
            &[Up(1), Announce(1, one.to_vec(), DISCARD), Wait(120)],
            &[(1, Installed)],
            1,
        ),
        (
            "the session goes down again",
            two,
            &[],
            &[Up(1), Announce(1, one.to_vec(), DISCARD), Down(1)],
            &[],
            2,
        ),
        (
            "a second session after the first",
            two,
            &[],
            &[Up(1), Announce(1, one.to_vec(), DISCARD), Up(1)],
            &[(1, Stale)],
            1,
        ),
        (
            "its neighbor is no longer configured",
            one,
            &[host(2)],
            &[Neighbors("192.0.2.2/32")],
            &[(2, Stale)],
            1,
        ),
        (
            "its neighbor is one of a prefix",
            one,
            &[host(2)],
            &[Neighbors("192.0.2.0/24")],
            &[(1, Stale), (2, Stale)],
            0,
        ),
    ];
    for (name, first, second, steps, routes, writes) in rows {
        let mut bench = Bench::with(first, second);
        bench.restart();
        bench.play(steps);
        assert_eq!(bench.routes(), *routes, "{name}");
        assert_eq!(bench.writes, *writes, "{name}");
        let installed = bench.sim.counters().unwrap().len();
        let in_force = |(_, state): &&(u8, RouteState)| matches!(state, Stale | Installed);
        assert_eq!(installed, routes.iter().filter(in_force).count(), "{name}");

        bench.play(&[Wait(120)]);
        let stale = bench.routes().iter().any(|(_, state)| *state == Stale);
        assert!(!stale && bench.engine.next_deadline().is_none(), "{name}");
    }
}

#[test]
fn counters_go_on_through_two_restarts() {
    let mut bench = Bench::with(&[host(1), host(2)], &[]);
    bench.send(1);
    bench.restart();
    bench.send(1);
    bench.send(2);
    assert_eq!(bench.packets(), [2, 1]);
    bench.play(&[Up(1), Announce(1, vec![host(1)], DISCARD)]);
    bench.play(&[EndOfRib(1, Ipv4Flow), Announce(1, vec![host(3)], DISCARD)]);
    bench.restart();
    bench.send(1);
    assert_eq!(
        bench.packets(),
        [3, 0],
        "a new rule has an id of its own, and none of the past"
    );
}

#[test]
fn a_stale_route_says_for_how_long() {
    let mut bench = Bench::with(&[host(1)], &[]);
    bench.restart();
    bench.now += Duration::from_millis(1_200);
    let rules = bench.engine.rules(bench.now);
    assert_eq!(
        rules[0].reason.as_deref(),
        Some(
            "kept from before the restart until 192.0.2.1 has resent its routes, at most 119 s more"
        )
    );
    let counts = bench.engine.peer_counts(address(1));
    assert_eq!((counts.received, counts.stale, counts.installed), (1, 1, 0));
    assert_eq!(
        bench.engine.next_deadline().unwrap() - bench.now,
        KEPT - Duration::from_millis(1_200)
    );
}

#[test]
fn stale_routes_leave_room_for_new_ones() {
    let mut bench = Bench::with(&[host(1), host(2)], &[]);
    bench.restart();
    let policy = ImportPolicy {
        max_routes: 2,
        ..ImportPolicy::default()
    };
    let up = Event::PeerUp {
        peer: address(1),
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        ibgp: true,
        families: vec![Ipv4Flow],
        policy,
        restart: NegotiatedRestart::default(),
    };
    bench.engine.step(bench.now, up);
    let all = vec![host(3), host(4), host(5)];
    bench.play(&[Announce(1, all, DISCARD)]);
    let expected = [Stale, Stale, Installed, Installed, RouteState::Rejected];
    assert_eq!(bench.routes(), expected.map(|state| (1, state)));
    bench.play(&[EndOfRib(1, Ipv4Flow), Withdraw(1, vec![host(3)])]);
    assert_eq!(bench.routes(), [(1, Installed); 2]);
}

#[test]
fn a_family_that_is_not_negotiated_is_not_waited_for() {
    let mut bench = Bench::with(&[host(1), ipv6(6)], &[]);
    bench.restart();
    let up = Event::PeerUp {
        peer: address(1),
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        ibgp: true,
        families: vec![Ipv6Flow],
        policy: ImportPolicy::default(),
        restart: NegotiatedRestart::default(),
    };
    bench.engine.step(bench.now, up);
    bench.play(&[]);
    assert_eq!(bench.engine.rules(bench.now)[0].family, "ipv6-flow");
    assert_eq!(bench.routes(), [(1, Stale)]);
}

#[test]
fn what_the_configuration_does_not_want_any_more_goes_at_once() {
    let inside = |network: &str| ImportPolicy {
        destinations: vec![network.parse().unwrap()],
        ..ImportPolicy::default()
    };
    let mut bench = Bench::with(&[host(1), ipv6(6)], &[host(9)]);
    let recovery = bench.restart_with(|peer, family| {
        (peer == address(1) && family == Ipv4Flow).then(|| inside("203.0.113.1/32"))
    });
    assert_eq!(bench.routes(), [(1, Stale)]);
    assert_eq!(bench.sim.counters().unwrap().len(), 1);
    let reasons: Vec<&str> = recovery.left_out.iter().map(|(_, why)| &**why).collect();
    assert_eq!(
        reasons,
        [
            "neighbor 192.0.2.2 is not configured for ipv4-flow",
            "neighbor 192.0.2.1 is not configured for ipv6-flow",
        ]
    );
    let recovery = bench.restart_with(|_, _| Some(inside("203.0.113.2/32")));
    assert_eq!(
        recovery.left_out[0].1,
        "destination prefix 203.0.113.1/32 outside import.destinations"
    );
    assert_eq!(bench.routes(), []);
}

#[test]
fn what_cannot_be_ours_is_left_out() {
    let mut bench = Bench::with(&[host(1), host(2)], &[]);
    let [first, second] = &bench.sim.recover().unwrap()[..] else {
        panic!("there are two")
    };
    let with_id = |rule: &Recovered, id| Recovered {
        id: RuleId(id),
        memo: rule.memo.clone(),
    };
    let rows = [
        (
            "no memo",
            Recovered {
                id: RuleId(9),
                memo: Vec::new(),
            },
            "there is no memo",
        ),
        (
            "an id twice",
            with_id(second, first.id.0),
            "its id is not its own",
        ),
        (
            "no id left",
            with_id(second, u64::MAX),
            "its id is not its own",
        ),
        (
            "a route twice",
            with_id(first, 9),
            "there is another for the same Flow Specification",
        ),
    ];
    for (name, bad, reason) in rows {
        let mut engine = Engine::new(LOCAL, bench.sim.capability());
        let recovered = [first.clone(), bad.clone()];
        let (now, until) = (bench.now, bench.now + KEPT);
        let recovery = engine.recover(now, until, &recovered, |_, _| Some(Default::default()));
        assert_eq!(recovery.rules.len(), 1, "{name}");
        assert_eq!(recovery.left_out, [(bad.id, reason.into())], "{name}");
        assert!(
            engine.is_settled() && engine.rules(now).len() == 1,
            "{name}"
        );
    }
    assert_eq!(bench.packets(), [0, 0]);
}

#[test]
fn after_the_loss_of_a_session() {
    use RefreshMarker::{Begin, End};
    const BOTH: &[FlowFamily] = &[Ipv4Flow, Ipv6Flow];
    const GR: Cause = Cause::Restart;
    let (one, two) = (&[host(1)][..], &[host(1), host(2)][..]);
    let mixed = &[host(1), ipv6(6)][..];
    let lost = Lost(1, GR, 120, 0);
    let resent = |routes: &[Nlri]| Announce(1, routes.to_vec(), DISCARD);
    let rows: &[Row] = &[
        ("down for good", two, &[], &[Down(1)], &[], 2),
        (
            "lost",
            two,
            &[],
            &[lost.clone(), Wait(119)],
            &[(1, Stale); 2],
            0,
        ),
        (
            "does not come back",
            two,
            &[],
            &[lost.clone(), Wait(120)],
            &[],
            2,
        ),
        (
            "back in time, with all routes",
            two,
            &[],
            &[
                lost.clone(),
                Wait(100),
                Back(1, BOTH, &[]),
                resent(two),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed); 2],
            0,
        ),
        (
            "back in time, with one route less",
            two,
            &[],
            &[
                lost.clone(),
                Back(1, BOTH, &[]),
                resent(one),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "back, with other actions",
            one,
            &[],
            &[
                lost.clone(),
                Back(1, BOTH, &[]),
                Announce(1, one.to_vec(), RATE_1000),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "back, but takes its time: the restart time no longer counts",
            two,
            &[],
            &[lost.clone(), Wait(119), Back(1, BOTH, &[]), Wait(60)],
            &[(1, Stale); 2],
            0,
        ),
        (
            "back, and never done",
            two,
            &[],
            &[
                lost.clone(),
                Wait(119),
                Back(1, BOTH, &[]),
                resent(one),
                Wait(61),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "back without the capability",
            two,
            &[],
            &[lost.clone(), Up(1)],
            &[],
            2,
        ),
        (
            "back, and one family was not preserved",
            mixed,
            &[],
            &[lost.clone(), Back(1, &[Ipv4Flow], &[])],
            &[(1, Stale)],
            1,
        ),
        (
            "lost again before all is resent",
            two,
            &[],
            &[lost.clone(), Back(1, BOTH, &[]), resent(one), lost.clone()],
            &[(1, Stale)],
            1,
        ),
        (
            "lost again, and for good",
            two,
            &[],
            &[lost.clone(), Back(1, BOTH, &[]), resent(two), Down(1)],
            &[],
            2,
        ),
        (
            "announces nothing while it is away",
            one,
            &[],
            &[lost.clone(), resent(&[host(3)]), Withdraw(1, one.to_vec())],
            &[(1, Stale)],
            0,
        ),
        (
            "its neighbor is no longer configured",
            one,
            &[host(2)],
            &[lost.clone(), Neighbors("192.0.2.2/32")],
            &[(2, Installed)],
            1,
        ),
        (
            "the other neighbor takes over what is swept",
            one,
            one,
            &[lost.clone(), Wait(120)],
            &[(2, Installed)],
            0,
        ),
        (
            "policy reaches stale routes",
            one,
            &[],
            &[lost.clone(), Policy(1, "198.51.100.0/24")],
            &[(1, RouteState::Rejected)],
            1,
        ),
        // Held without graceful restart.
        (
            "held, and back without the capability",
            two,
            &[],
            &[Lost(1, Cause::Hold, 60, 0), Wait(59), Up(1), resent(one)],
            &[(1, Installed), (1, Stale)],
            0,
        ),
        (
            "held, and swept by End-of-RIB",
            two,
            &[],
            &[
                Lost(1, Cause::Hold, 60, 0),
                Up(1),
                resent(one),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed)],
            1,
        ),
        (
            "held for so long and no longer, back or not",
            two,
            &[],
            &[
                Lost(1, Cause::Hold, 60, 0),
                Wait(59),
                Up(1),
                resent(one),
                Wait(1),
            ],
            &[(1, Installed)],
            1,
        ),
        // Long-lived.
        (
            "long-lived after the restart time",
            two,
            &[],
            &[Lost(1, GR, 120, 1000), Wait(120), Wait(999)],
            &[(1, Stale); 2],
            0,
        ),
        (
            "long-lived without a restart time",
            two,
            &[],
            &[Lost(1, GR, 0, 1000), Wait(999)],
            &[(1, Stale); 2],
            0,
        ),
        (
            "long-lived comes to its end",
            two,
            &[],
            &[Lost(1, GR, 120, 1000), Wait(120), Wait(1000)],
            &[],
            2,
        ),
        (
            "nobody looked for long",
            two,
            &[],
            &[Lost(1, GR, 120, 1000), Wait(1120)],
            &[],
            2,
        ),
        (
            "long-lived, and back with all",
            two,
            &[],
            &[
                Lost(1, GR, 120, 1000),
                Wait(500),
                Back(1, &[], BOTH),
                resent(two),
                EndOfRib(1, Ipv4Flow),
            ],
            &[(1, Installed); 2],
            0,
        ),
        (
            "long-lived, and not preserved",
            two,
            &[],
            &[Lost(1, GR, 120, 1000), Wait(500), Back(1, BOTH, &[])],
            &[],
            2,
        ),
        (
            "long-lived, and lost once more: its time does not begin again",
            one,
            &[],
            &[
                Lost(1, GR, 120, 1000),
                Wait(120),
                Back(1, &[], BOTH),
                Lost(1, GR, 120, 1000),
                Wait(120),
                Wait(879),
            ],
            &[(1, Stale)],
            0,
        ),
        (
            "long-lived, lost once more, and its time is over",
            one,
            &[],
            &[
                Lost(1, GR, 120, 1000),
                Wait(120),
                Back(1, &[], BOTH),
                Lost(1, GR, 120, 1000),
                Wait(120),
                Wait(880),
            ],
            &[],
            1,
        ),
        (
            "what must not be long-lived goes after the restart time",
            one,
            &[],
            &[
                AnnounceForShort(1, vec![host(7)]),
                Lost(1, GR, 120, 1000),
                Wait(120),
            ],
            &[(1, Stale)],
            2,
        ),
        (
            "long-lived is the last choice",
            one,
            one,
            &[Lost(1, GR, 120, 1000), Wait(120)],
            &[(2, Installed), (1, Shadowed)],
            0,
        ),
        (
            "stale for a short time is preferred as before",
            one,
            one,
            &[Lost(1, GR, 120, 1000), Wait(119)],
            &[(1, Stale), (2, Shadowed)],
            0,
        ),
        // Enhanced refresh.
        (
            "a refresh begins",
            two,
            &[],
            &[Refresh(1, Begin)],
            &[(1, Stale); 2],
            0,
        ),
        (
            "a refresh with one route less",
            two,
            &[],
            &[Refresh(1, Begin), resent(one), Refresh(1, End)],
            &[(1, Installed)],
            1,
        ),
        (
            "End-of-RIB is not the end of a refresh",
            two,
            &[],
            &[Refresh(1, Begin), resent(one), EndOfRib(1, Ipv4Flow)],
            &[(1, Installed), (1, Stale)],
            0,
        ),
        (
            "a refresh without end",
            two,
            &[],
            &[Refresh(1, Begin), resent(one), Wait(180)],
            &[(1, Installed)],
            1,
        ),
        (
            "a refresh of the other family",
            &[ipv6(6)],
            &[],
            &[Refresh(1, Begin), Refresh(1, End)],
            &[(1, Installed)],
            0,
        ),
        (
            "lost in the middle of a refresh: nothing was withdrawn yet",
            two,
            &[],
            &[Refresh(1, Begin), resent(one), lost.clone()],
            &[(1, Stale); 2],
            0,
        ),
        (
            "a refresh brings what there is room for now",
            two,
            &[],
            &[
                Limit(1, 2),
                resent(&[host(3)]),
                Refresh(1, Begin),
                resent(&[host(2), host(3)]),
                Refresh(1, End),
            ],
            &[(1, Installed); 2],
            2,
        ),
    ];
    for (name, first, second, steps, routes, writes) in rows {
        let mut bench = Bench::with(first, second);
        bench.play(steps);
        assert_eq!(bench.routes(), *routes, "{name}");
        assert_eq!(bench.writes, *writes, "{name}");
        let installed = bench.sim.counters().unwrap().len();
        let in_force = |(_, state): &&(u8, RouteState)| matches!(state, Stale | Installed);
        assert_eq!(installed, routes.iter().filter(in_force).count(), "{name}");
        for rule in bench.engine.rules(bench.now) {
            assert_eq!(rule.reason.is_none(), rule.state == Installed, "{name}");
        }

        bench.play(&[Wait(120), Wait(2000)]);
        let stale = bench.routes().iter().any(|(_, state)| *state == Stale);
        assert!(!stale && bench.engine.next_deadline().is_none(), "{name}");
    }
}

/// The controller flaps: the packet filter is never told, and its counters go on.
#[test]
fn a_hundred_flaps_cost_no_write() {
    let routes: Vec<Nlri> = (0..50).map(host).collect();
    let mut bench = Bench::with(&routes, &[]);
    for flap in 1..=100 {
        bench.send(7);
        let families = &[Ipv4Flow, Ipv6Flow];
        bench.play(&[
            Lost(1, Cause::Restart, 120, 0),
            Wait(1 + flap % 119),
            Back(1, families, &[]),
            Announce(1, routes.clone(), DISCARD),
            EndOfRib(1, Ipv4Flow),
            EndOfRib(1, Ipv6Flow),
        ]);
        assert_eq!(bench.writes, 0, "flap {flap}");
        assert!(bench.routes().iter().all(|(_, state)| *state == Installed));
        assert_eq!(bench.packets()[7], flap, "flap {flap}");
    }
    assert!(bench.engine.next_deadline().is_none());
}

#[test]
fn the_reason_of_a_stale_route_follows_its_stages() {
    let mut bench = Bench::with(&[host(1)], &[]);
    let rows: [(&[Step], &str, u64); 6] = [
        (
            &[Lost(1, Cause::Restart, 120, 1000)],
            "192.0.2.1 restarts (RFC 4724)",
            120,
        ),
        (
            &[Wait(20), Back(1, &[Ipv4Flow], &[])],
            "192.0.2.1 is back (RFC 4724)",
            160,
        ),
        (
            &[Lost(1, Cause::Hold, 30, 0)],
            "the session with 192.0.2.1 was lost",
            30,
        ),
        (
            &[
                Up(1),
                Announce(1, vec![host(1)], DISCARD),
                Lost(1, Cause::Restart, 10, 1000),
                Wait(10),
            ],
            "192.0.2.1 is gone for long (RFC 9494)",
            1000,
        ),
        (
            &[
                Up(1),
                Announce(1, vec![host(1)], DISCARD),
                Refresh(1, RefreshMarker::Begin),
                Wait(1),
            ],
            "192.0.2.1 sends its routes again (RFC 7313)",
            179,
        ),
        (
            &[Wait(9)],
            "192.0.2.1 sends its routes again (RFC 7313)",
            170,
        ),
    ];
    for (steps, why, secs) in rows {
        if matches!(steps, [Lost(_, Cause::Hold, ..)]) {
            bench.play(&[Announce(1, vec![host(1)], DISCARD)]);
        }
        bench.play(steps);
        let reason = bench.engine.rules(bench.now)[0].reason.clone();
        let expected =
            format!("{why}: kept until 192.0.2.1 has resent its routes, at most {secs} s more");
        assert_eq!(reason, Some(expected));
        assert_eq!(
            bench.engine.stale_secs_left(bench.now, address(1)),
            Some(secs)
        );
    }
}

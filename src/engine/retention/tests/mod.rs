//! Restarts in virtual time: one engine fills a `sim` data plane, the next one takes it over.

mod losses;
mod restarts;

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

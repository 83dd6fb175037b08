//! Real controllers against the daemon and the kernel: ExaBGP, GoBGP, BIRD and FRR.
//!
//! Each test makes two network namespaces joined by a link. One holds the controller, the other
//! `flowacl run` with the nftables backend. Needs root and the controllers' packages: `tests/run`
//! installs them.

mod controllers;
#[path = "../machine/mod.rs"]
mod machine;
mod network;
#[path = "../program/mod.rs"]
mod program;
mod reflector;
mod restarts;
mod router;
mod several_paths;
mod transport;
mod vrf;
mod validation;
#[path = "../waiting/mod.rs"]
mod waiting;

use std::time::{Duration, Instant};

use controllers::{Controller, Flow, bird, exabgp, frr, gobgp};
use network::Network;
use router::Router;

/// Who opens the BGP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialer {
    /// The controller; the router is passive.
    Controller,
    /// The router; the controller is passive.
    Router,
    /// Both: two connections may come about, and one must go (RFC 4271 §6.8).
    Both,
}

impl Dialer {
    /// True when the controller dials.
    fn controller_dials(self) -> bool {
        matches!(self, Dialer::Controller | Dialer::Both)
    }

    /// True when the router dials.
    fn router_dials(self) -> bool {
        matches!(self, Dialer::Router | Dialer::Both)
    }
}

/// How the controller falls silent without closing its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// Its process is stopped.
    Stopped,
    /// Its link is down.
    LinkDown,
}

/// Hold time of every session.
const HOLD_TIME: Duration = Duration::from_secs(3);

/// What a machine under load may add to a time limit.
const SLACK: Duration = Duration::from_secs(3);

/// Datagrams that are sent to the first flow's victim.
const DATAGRAMS: u64 = 3;

/// Announce, enforce, withdraw, silence, recovery, death: with each, the router holds exactly what
/// the controller last said.
fn follow(network: &Network, controller: &mut dyn Controller, dialer: Dialer, silence: Silence) {
    let router = Router::start(network, dialer);
    router.established();

    let flows = controller.flows();
    for flow in flows {
        controller.announce(flow);
    }
    router.holds_exactly(flows);

    // Every controller's first flow discards UDP to port 53 of one address.
    network.send_datagrams("203.0.113.5", 53, DATAGRAMS);
    router.has_counted(&flows[0], DATAGRAMS);

    let (withdrawn, kept) = flows.split_at(2);
    for flow in withdrawn {
        controller.withdraw(flow);
    }
    router.holds_exactly(kept);
    controller.announce(&withdrawn[0]);
    let announced: Vec<Flow> = [&withdrawn[..1], kept].concat();
    router.holds_exactly(&announced);

    let silent_since = Instant::now();
    match silence {
        Silence::Stopped => controller.process().signal("STOP"),
        Silence::LinkDown => network.set_link("down"),
    }
    router.holds_exactly(&[]);
    let took = silent_since.elapsed();
    assert!(took < HOLD_TIME + SLACK, "the rules stayed for {took:?}");
    match silence {
        Silence::Stopped => controller.process().signal("CONT"),
        Silence::LinkDown => network.set_link("up"),
    }
    router.established();
    router.holds_exactly(&announced);

    let killed = Instant::now();
    controller.process().signal("KILL");
    router.holds_exactly(&[]);
    let took = killed.elapsed();
    assert!(took < SLACK, "the rules stayed for {took:?}");
}

#[test]
fn exabgp_dials() {
    let Some(network) = Network::new(exabgp::PROGRAMS) else {
        return;
    };
    let mut controller = exabgp::ExaBgp::start(&network, Dialer::Controller);
    follow(
        &network,
        &mut controller,
        Dialer::Controller,
        Silence::Stopped,
    );
}

#[test]
fn exabgp_is_dialed() {
    let Some(network) = Network::new(exabgp::PROGRAMS) else {
        return;
    };
    let mut controller = exabgp::ExaBgp::start(&network, Dialer::Router);
    follow(&network, &mut controller, Dialer::Router, Silence::LinkDown);
}

#[test]
fn interfaces_come_and_go() {
    let Some(network) = Network::new(exabgp::PROGRAMS) else {
        return;
    };
    let mut controller = exabgp::ExaBgp::start(&network, Dialer::Controller);
    let router = Router::start(&network, Dialer::Controller);
    router.established();
    let flow = &controller.flows()[..1];
    controller.announce(&flow[0]);
    router.holds_exactly(flow);

    // The configuration says `to-*`. Twice: the second time the name is known already.
    for round in 1..=2 {
        network.add_link("to-late");
        router.filters("to-late", true);
        network.send_datagrams("203.0.113.5", 53, DATAGRAMS);
        router.has_counted(&flow[0], round * DATAGRAMS);
        network.remove_link("to-late");
        router.filters("to-late", false);
    }
    network.add_link("other");
    network.send_datagrams("203.0.113.5", 53, DATAGRAMS);
    network.remove_link("other");
    network.send_datagrams("203.0.113.5", 53, DATAGRAMS);
    router.has_counted(&flow[0], 3 * DATAGRAMS);
}

#[test]
fn gobgp_dials() {
    let Some(network) = Network::new(gobgp::PROGRAMS) else {
        return;
    };
    let mut controller = gobgp::GoBgp::start(&network, Dialer::Controller);
    follow(
        &network,
        &mut controller,
        Dialer::Controller,
        Silence::LinkDown,
    );
}

#[test]
fn gobgp_is_dialed() {
    let Some(network) = Network::new(gobgp::PROGRAMS) else {
        return;
    };
    let mut controller = gobgp::GoBgp::start(&network, Dialer::Router);
    follow(&network, &mut controller, Dialer::Router, Silence::Stopped);
}

#[test]
fn bird_dials() {
    let Some(network) = Network::new(bird::PROGRAMS) else {
        return;
    };
    let mut controller = bird::Bird::start(&network, Dialer::Controller);
    follow(
        &network,
        &mut controller,
        Dialer::Controller,
        Silence::Stopped,
    );
}

#[test]
fn bird_is_dialed() {
    let Some(network) = Network::new(bird::PROGRAMS) else {
        return;
    };
    let mut controller = bird::Bird::start(&network, Dialer::Router);
    follow(&network, &mut controller, Dialer::Router, Silence::LinkDown);
}

#[test]
fn frr_reflects_and_dials() {
    let Some(network) = Network::new(frr::PROGRAMS) else {
        return;
    };
    let mut controller = frr::Frr::start(&network, Dialer::Controller);
    follow(
        &network,
        &mut controller,
        Dialer::Controller,
        Silence::LinkDown,
    );
}

#[test]
fn frr_reflects_and_is_dialed() {
    let Some(network) = Network::new(frr::PROGRAMS) else {
        return;
    };
    let mut controller = frr::Frr::start(&network, Dialer::Router);
    follow(&network, &mut controller, Dialer::Router, Silence::Stopped);
}

#[test]
fn gobgp_and_the_router_dial_each_other() {
    let Some(network) = Network::new(gobgp::PROGRAMS) else {
        return;
    };
    let mut controller = gobgp::GoBgp::start(&network, Dialer::Both);
    follow(&network, &mut controller, Dialer::Both, Silence::Stopped);
}

#[test]
fn bird_and_the_router_dial_each_other() {
    let Some(network) = Network::new(bird::PROGRAMS) else {
        return;
    };
    let mut controller = bird::Bird::start(&network, Dialer::Both);
    follow(&network, &mut controller, Dialer::Both, Silence::LinkDown);
}

#[test]
fn frr_reflects_and_dials_while_dialed() {
    let Some(network) = Network::new(frr::PROGRAMS) else {
        return;
    };
    let mut controller = frr::Frr::start(&network, Dialer::Both);
    follow(&network, &mut controller, Dialer::Both, Silence::Stopped);
}

//! Controllers that are killed and come back, with graceful restart and without.

use std::time::{Duration, Instant};

use super::controllers::{Controller, Flow, Restart, bird, exabgp, frr, gobgp};
use super::network::{CONTROLLER_AS, Network};
use super::program::Program;
use super::router::Router;
use super::{DATAGRAMS, Dialer, SLACK};
use crate::waiting::eventually;

/// Long enough for any of them to come back.
const GRACEFUL: Restart = Restart {
    graceful_secs: Some(60),
    long_lived_secs: None,
    again: false,
};

/// Soon over, and then long-lived for a moment.
const LONG_LIVED: Restart = Restart {
    graceful_secs: Some(1),
    long_lived_secs: Some(3),
    again: false,
};

/// All flows are in force and the first has counted.
fn in_force(network: &Network, router: &Router<'_>, controller: &mut dyn Controller) {
    router.established();
    for flow in controller.flows() {
        controller.announce(flow);
    }
    router.holds_exactly(controller.flows());
    network.send_datagrams("203.0.113.5", 53, DATAGRAMS);
    router.has_counted(&controller.flows()[0], DATAGRAMS);
}

/// The controller is killed: everything stays in force, and goes on counting.
fn killed(network: &Network, router: &Router<'_>, controller: &dyn Controller) {
    controller.process().signal("KILL");
    router.holds_in_state(controller.flows(), "stale");
    network.send_datagrams("203.0.113.5", 53, DATAGRAMS);
    router.has_counted(&controller.flows()[0], 2 * DATAGRAMS);
}

/// The controller is back with some of its flows: they never left, the others are swept.
fn resent(network: &Network, router: &Router<'_>, flows: &[Flow]) {
    router.established();
    router.holds_exactly(flows);
    network.send_datagrams("203.0.113.5", 53, DATAGRAMS);
    router.has_counted(&flows[0], 3 * DATAGRAMS);
}

#[test]
fn bird_restarts_gracefully() {
    let Some(network) = Network::new(bird::PROGRAMS) else {
        return;
    };
    let dialer = Dialer::Controller;
    let mut controller = bird::Bird::start_with(&network, dialer, GRACEFUL, &[]);
    let router = Router::start(&network, dialer);
    in_force(&network, &router, &mut controller);
    assert_eq!(router.neighbor("restart_time_secs"), 60);

    killed(&network, &router, &controller);
    assert!(router.reason(&controller.flows()[0]).contains("RFC 4724"));
    let kept = &controller.flows()[..4];
    drop(controller);
    let again = Restart {
        again: true,
        ..GRACEFUL
    };
    let controller = bird::Bird::start_with(&network, dialer, again, kept);
    resent(&network, &router, kept);

    // A start that knows of none before says that nothing was preserved.
    controller.process().signal("KILL");
    router.holds_in_state(kept, "stale");
    drop(controller);
    let _controller = bird::Bird::start_with(&network, dialer, GRACEFUL, &[]);
    router.established();
    router.holds_exactly(&[]);
}

#[test]
fn gobgp_restarts_gracefully() {
    let Some(network) = Network::new(gobgp::PROGRAMS) else {
        return;
    };
    let dialer = Dialer::Controller;
    let mut controller = gobgp::GoBgp::start_with(&network, dialer, GRACEFUL);
    let router = Router::start(&network, dialer);
    in_force(&network, &router, &mut controller);

    killed(&network, &router, &controller);
    let kept = &controller.flows()[..4];
    drop(controller);
    // It keeps no routes: they must be there before the session is.
    network.set_link("down");
    let again = Restart {
        again: true,
        ..GRACEFUL
    };
    let mut controller = gobgp::GoBgp::start_with(&network, dialer, again);
    for flow in kept {
        controller.announce(flow);
    }
    network.set_link("up");
    resent(&network, &router, kept);
}

/// Starts a controller behind FRR, which is gone when FRR is, and waits until it has announced these flows.
fn feed(network: &Network, flows: &[Flow]) -> Program {
    let asn = CONTROLLER_AS.to_string();
    let mut command = network.on_controller(env!("CARGO_BIN_EXE_flowacl"));
    command
        .args(["announce", "--to", "127.0.0.1:179", "--hold"])
        .args(["--from", frr::FEEDER, "--router-id", frr::FEEDER])
        .args(["--local-as", &asn, "--remote-as", &asn])
        .args(flows.iter().map(Flow::text));
    let log = network.path("feeder.log");
    let feeder = Program::start(&mut command, &log);
    eventually("FRR has the flows", || {
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        match told.contains("announced") {
            true => Ok(()),
            false => Err(told),
        }
    });
    feeder
}

/// FRR offers graceful restart for Flow Specifications, too. It originates none, and sends End-of-RIB seconds after its
/// start, whether those from whom it had its routes are back or not: they must be faster, as here, where its session with the
/// router waits for them.
#[test]
fn frr_restarts_gracefully() {
    const RESTART: &str = " bgp graceful-restart\n bgp graceful-restart restart-time 60\n";
    const PRESERVED: &str = " bgp graceful-restart preserve-fw-state\n";
    let Some(network) = Network::new(frr::PROGRAMS) else {
        return;
    };
    let flows = &exabgp::FLOWS[..3];
    let lines = [RESTART, PRESERVED].concat();
    let bgpd = frr::bgpd(&network, &lines);
    let router = Router::start(&network, Dialer::Controller);
    let feeder = feed(&network, flows);
    router.established();
    router.holds_exactly(flows);
    assert_eq!(router.neighbor("restart_time_secs"), 60);
    network.send_datagrams("203.0.113.5", 53, DATAGRAMS);
    router.has_counted(&flows[0], DATAGRAMS);

    bgpd.signal("KILL");
    router.holds_in_state(flows, "stale");
    assert!(router.reason(&flows[0]).contains("RFC 4724"));
    network.send_datagrams("203.0.113.5", 53, DATAGRAMS);
    router.has_counted(&flows[0], 2 * DATAGRAMS);
    drop((bgpd, feeder));
    network.set_link("down");
    let bgpd = frr::bgpd(&network, &lines);
    let feeder = feed(&network, &flows[..2]);
    network.set_link("up");
    resent(&network, &router, &flows[..2]);

    // Nobody feeds it: what it does not resend goes at its End-of-RIB.
    bgpd.signal("KILL");
    router.holds_in_state(&flows[..2], "stale");
    drop((bgpd, feeder));
    let bgpd = frr::bgpd(&network, &lines);
    router.established();
    router.holds_exactly(&[]);
    let feeder = feed(&network, flows);
    router.holds_exactly(flows);

    // It says that it has preserved nothing.
    bgpd.signal("KILL");
    router.holds_in_state(flows, "stale");
    drop((bgpd, feeder));
    let _bgpd = frr::bgpd(&network, RESTART);
    router.established();
    router.holds_exactly(&[]);
}

/// The controller is killed and does not come back: its flows become long-lived, and go.
fn long_lived(router: &Router<'_>, controller: &dyn Controller) {
    let first = &controller.flows()[..1];
    router.established();
    controller.process().signal("KILL");
    let lost = Instant::now();
    router.holds_in_state(first, "stale");
    while router.reason(&first[0]).contains("RFC 4724") {
        assert!(lost.elapsed() < Duration::from_secs(1) + SLACK);
    }
    let reason = router.reason(&first[0]);
    assert!(reason.contains("RFC 9494"), "{reason}");
    router.holds_exactly(&[]);
    let took = lost.elapsed();
    let range = Duration::from_secs(4)..Duration::from_secs(4) + SLACK;
    assert!(range.contains(&took), "{took:?}");
}

#[test]
fn bird_stays_away_for_long() {
    let Some(network) = Network::new(bird::PROGRAMS) else {
        return;
    };
    let dialer = Dialer::Controller;
    let mut controller = bird::Bird::start_with(&network, dialer, LONG_LIVED, &[]);
    let router = Router::start_with(&network, dialer, "long_lived_stale_secs = 3600");
    controller.announce(&controller.flows()[0]);
    router.holds_exactly(&controller.flows()[..1]);
    long_lived(&router, &controller);
}

#[test]
fn gobgp_stays_away_for_long() {
    let Some(network) = Network::new(gobgp::PROGRAMS) else {
        return;
    };
    let dialer = Dialer::Controller;
    let mut controller = gobgp::GoBgp::start_with(&network, dialer, LONG_LIVED);
    let router = Router::start_with(&network, dialer, "long_lived_stale_secs = 3600");
    controller.announce(&controller.flows()[0]);
    router.holds_exactly(&controller.flows()[..1]);
    long_lived(&router, &controller);
}

/// ExaBGP withdraws nothing when it closes a session; what becomes of its flows is the operator's choice here.
#[test]
fn flows_of_exabgp_are_held() {
    let Some(network) = Network::new(exabgp::PROGRAMS) else {
        return;
    };
    const HELD: Duration = Duration::from_secs(3);
    let mut controller = exabgp::ExaBgp::start(&network, Dialer::Controller);
    let router = Router::start_with(&network, Dialer::Controller, "hold_rules_secs = 3");
    in_force(&network, &router, &mut controller);
    killed(&network, &router, &controller);
    let lost = Instant::now();
    router.holds_exactly(&[]);
    assert!(lost.elapsed() < HELD + SLACK, "{:?}", lost.elapsed());
}

//! Validation (RFC 9117) with unicast routes of a real route server: BIRD passes on what others announced.

use std::fs;

use super::Dialer;
use super::controllers::{Flow, bird};
use super::network::{CONTROLLER, CONTROLLER_AS, Network, ROUTER, ROUTER_AS};
use super::program::{Program, try_run};
use super::router::Router;
use crate::waiting::eventually;

/// A flow from AS 65001.
const FLOW: Flow = Flow {
    words: "route flow4 { dst 203.0.113.0/24; proto = 17; dport = 53; } \
            { bgp_path.prepend(65001); bgp_ext_community.add((generic, 0x80060000, 0)); };",
    nlri: "0b0118cb0071038111058135",
    matches: "destination 203.0.113.0/24; protocol =udp; destination-port =53;",
    then: "discard;",
};

/// Its network, from the same AS.
const COVERING: &str = "route 203.0.113.0/24 blackhole { bgp_path.prepend(65001); };";
/// A part of the network, from another AS.
const MORE_SPECIFIC: &str = "route 203.0.113.128/25 blackhole { bgp_path.prepend(65002); };";

/// Starts BIRD as a route server: it leaves AS_PATH as it is.
fn start(network: &Network) -> Program {
    configure(network, &[]);
    let mut command = network.on_controller("bird");
    command.arg("-f").arg("-c").arg(network.path("bird.conf"));
    command.arg("-s").arg(network.path("bird.ctl"));
    Program::start(&mut command, &network.path("bird.log"))
}

/// Writes a configuration with the flow and these unicast routes.
fn configure(network: &Network, unicast: &[&str]) {
    let text = format!(
        "log stderr all;
        router id {CONTROLLER};
        flow4 table flows4;
        protocol device {{}}
        protocol static {{ ipv4; {unicast} }}
        protocol static {{ flow4 {{ table flows4; }}; {flow} }}
        protocol bgp flowacl {{
            local {CONTROLLER} as {CONTROLLER_AS};
            neighbor {ROUTER} as {ROUTER_AS};
            rs client;
            hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;
            ipv4 {{ import none; export all; }};
            flow4 {{ table flows4; import none; export all; }};
        }}",
        unicast = unicast.join("\n"),
        flow = FLOW.words,
    );
    fs::write(network.path("bird.conf"), text).unwrap();
}

/// Lets BIRD announce these unicast routes and no others.
fn announce(network: &Network, unicast: &[&str]) {
    configure(network, unicast);
    eventually("bird takes its configuration", || {
        let mut command = network.on_controller("birdc");
        command.arg("-s").arg(network.path("bird.ctl"));
        try_run(command.arg("configure"))
    });
}

#[test]
fn a_flow_is_in_force_while_unicast_routes_bear_it_out() {
    let Some(network) = Network::new(bird::PROGRAMS) else {
        return;
    };
    let _bird = start(&network);
    let keys = "validation = \"rfc9117\"";
    let router = Router::start_with(&network, Dialer::Controller, keys);
    router.established();
    let families = router.neighbor("families").to_string();
    assert!(families.contains("ipv4-unicast"), "{families}");

    router.refuses(&FLOW, "no unicast route covers 203.0.113.0/24");
    announce(&network, &[COVERING]);
    router.holds_exactly(&[FLOW]);
    network.send_datagrams("203.0.113.5", 53, 1);
    router.has_counted(&FLOW, 1);
    announce(&network, &[COVERING, MORE_SPECIFIC]);
    router.refuses(&FLOW, "come from AS 65002, as 203.0.113.128/25");
    announce(&network, &[COVERING]);
    router.holds_exactly(&[FLOW]);
    announce(&network, &[]);
    router.refuses(&FLOW, "no unicast route covers 203.0.113.0/24");
}

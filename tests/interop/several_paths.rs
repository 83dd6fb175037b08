//! Several paths of one neighbor for one flow (RFC 7911): BIRD with two sources, and GoBGP as reflector of two controllers.
//! FRR and ExaBGP send one path for a flow.

use std::fs;

use serde_json::Value;

use super::Dialer;
use super::network::{CONTROLLER, CONTROLLER_AS, Network, ROUTER, ROUTER_AS};
use super::program::{Program, run};
use super::router::Router;
use crate::waiting::eventually;

/// The flow that two say different things of.
const MATCH: &str = "destination 203.0.113.5/32; protocol =udp;";

/// Waits until there are just these paths for the flow, the one in force first; what it does is in the kernel.
fn holds_paths(router: &Router<'_>, expected: &[(&str, &str)]) {
    let field = |rule: &Value, name: &str| rule[name].as_str().unwrap_or_default().to_owned();
    eventually("the paths", || {
        let rules = router.rules()?;
        let found: Vec<_> = rules
            .iter()
            .map(|rule| (field(rule, "state"), field(rule, "flow")))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(state, then)| {
                let flow = format!("flow route {{ match {{ {MATCH} }} then {{ {then}; }} }}");
                (state.to_string(), flow)
            })
            .collect();
        let ids: Vec<Option<u64>> = rules.iter().map(|rule| rule["path_id"].as_u64()).collect();
        let apart = ids.iter().all(Option::is_some) && ids.first() != ids.get(1);
        match found == expected && (apart || ids.is_empty()) {
            true => Ok(()),
            false => Err(format!("found {rules:#?}\nexpected {expected:#?}")),
        }
    });
    eventually("the table in the kernel", || {
        let table = router.table()?;
        let in_force = expected.first().map(|(_, then)| then);
        let is_there = |then: &&str| {
            let comment = format!("{} then {then}", MATCH.trim_end_matches(';'));
            table.contains(&comment)
        };
        match in_force.is_none_or(is_there) {
            true => Ok(()),
            false => Err(table),
        }
    });
}

/// Both sides know of it.
fn is_negotiated(router: &Router<'_>) {
    router.established();
    let capabilities = router.neighbor("capabilities");
    let capabilities = capabilities.as_array().expect("a list");
    assert!(
        capabilities.contains(&"add-path".into()),
        "{capabilities:?}"
    );
}

#[test]
fn bird_withdraws_one_of_two_paths() {
    let Some(network) = Network::new(super::bird::PROGRAMS) else {
        return;
    };
    let source = |name: &str, rate: &str| {
        format!(
            "protocol static {name} {{ flow4 {{ table flows4; }};
                route flow4 {{ dst 203.0.113.5/32; proto = 17; }}
                    {{ bgp_ext_community.add((generic, 0x80060000, {rate})); }}; }}"
        )
    };
    let configuration = format!(
        "log stderr all;
        router id {CONTROLLER};
        flow4 table flows4;
        protocol device {{}}
        {} {}
        protocol bgp flowacl {{
            local {CONTROLLER} as {CONTROLLER_AS};
            neighbor {ROUTER} as {ROUTER_AS};
            hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;
            flow4 {{ table flows4; import none; export all; add paths tx; }};
        }}",
        source("one", "0"),
        source("two", "0x46160000"),
    );
    let (path, socket) = (network.path("bird.conf"), network.path("bird.ctl"));
    fs::write(&path, configuration).unwrap();
    let mut command = network.on_controller("bird");
    let command = command
        .arg("-f")
        .arg("-c")
        .arg(&path)
        .arg("-s")
        .arg(&socket);
    let _bird = Program::start(command, &network.path("bird.log"));
    let say = |words: [&str; 2]| {
        let mut command = network.on_controller("birdc");
        run(command.arg("-s").arg(&socket).args(words));
    };
    let router = Router::start(&network, Dialer::Controller);
    is_negotiated(&router);
    holds_paths(
        &router,
        &[("installed", "discard"), ("shadowed", "rate-limit 9600")],
    );
    say(["disable", "one"]);
    holds_paths(&router, &[("installed", "rate-limit 9600")]);
    say(["disable", "two"]);
    holds_paths(&router, &[]);
}

/// Starts a controller that speaks to the reflector at `address`.
fn feeder(network: &Network, address: &str, router_id: &str, then: &str) -> Program {
    let mut command = network.on_controller(env!("CARGO_BIN_EXE_flowacl"));
    let asn = CONTROLLER_AS.to_string();
    command
        .args(["announce", "--to", &format!("{address}:179")])
        .args(["--local-as", &asn, "--remote-as", &asn])
        .args(["--router-id", router_id, "--hold"])
        .arg(format!(
            "flow route {{ match {{ {MATCH} }} then {{ {then}; }} }}"
        ));
    Program::start(&mut command, &network.path(&format!("{router_id}.log")))
}

#[test]
fn gobgp_reflects_what_two_controllers_say_of_one_flow() {
    let Some(network) = Network::new(super::gobgp::PROGRAMS) else {
        return;
    };
    // Whoever dials the loopback address comes from it, and whoever dials the other one from that.
    let client = |address: &str, send_max: u32| {
        format!(
            r#"
            [[neighbors]]
            [neighbors.config]
            neighbor-address = "{address}"
            peer-as = {CONTROLLER_AS}
            [neighbors.route-reflector.config]
            route-reflector-client = true
            route-reflector-cluster-id = "192.0.2.77"
            [neighbors.transport.config]
            passive-mode = true
            [neighbors.timers.config]
            hold-time = 9
            [[neighbors.afi-safis]]
            [neighbors.afi-safis.config]
            afi-safi-name = "ipv4-flowspec"
            [neighbors.afi-safis.add-paths.config]
            send-max = {send_max}
            "#
        )
    };
    let configuration = format!(
        "[global.config]\nas = {CONTROLLER_AS}\nrouter-id = \"{CONTROLLER}\"\nport = 179\n{}{}{}",
        client("127.0.0.1", 0),
        client(CONTROLLER, 0),
        client(ROUTER, 8),
    );
    let _gobgp = super::gobgp::run_daemon(&network, &configuration, &[]);
    let router = Router::dialing(&network, CONTROLLER_AS, ROUTER, CONTROLLER);
    is_negotiated(&router);
    let first = feeder(&network, "127.0.0.1", "10.0.0.1", "discard");
    let second = feeder(&network, CONTROLLER, "10.0.0.2", "rate-limit 9600");
    holds_paths(
        &router,
        &[("installed", "discard"), ("shadowed", "rate-limit 9600")],
    );
    // All else is equal, so the lower ORIGINATOR_ID (RFC 4456 §9) decides: both come from the reflector itself.
    let reason = router.rules().unwrap()[1]["reason"].to_string();
    assert!(reason.contains("lower BGP identifier"), "{reason}");
    first.signal("TERM");
    holds_paths(&router, &[("installed", "rate-limit 9600")]);
    second.signal("TERM");
    holds_paths(&router, &[]);
}

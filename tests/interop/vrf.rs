//! A session in a VRF, in the virtual machine: many kernels of build machines have none.

use std::time::{Duration, Instant};

use super::network::{CONTROLLER, CONTROLLER_AS, Network, ROUTER, ROUTER_AS};
use super::program::{Program, run};
use super::router::Router;
use super::{DATAGRAMS, HOLD_TIME, machine};
use crate::waiting::eventually;

/// A port of the router that is protected.
const PORT: u16 = 7777;

/// Rules that would cut off the session and everything else.
const FLOWS: [&str; 3] = [
    "flow route { match { destination 0.0.0.0/0; } then { discard; } }",
    "flow route { match { protocol tcp; port =179; } then { discard; } }",
    "flow route { match { destination 192.0.2.2/32; fragment [ is-fragment ]; } then { discard; } }",
];

#[test]
fn no_rule_cuts_a_session_in_a_vrf_off() {
    if !machine::inside("vrf::no_rule_cuts_a_session_in_a_vrf_off") {
        return;
    }
    let network = Network::new(&[]).expect("the machine has all that is needed");
    let on_router = |program: &str, words: &str| {
        run(network.on_router(program).args(words.split(' ')));
    };
    on_router("ip", "link add red type vrf table 10");
    on_router("ip", "link set red up");
    on_router("ip", "link set to-controller master red");
    on_router("sysctl", "-q -w net.ipv4.tcp_l3mdev_accept=1");
    let configuration = format!(
        r#"
        [bgp]
        local_as = {ROUTER_AS}
        router_id = "{ROUTER}"
        listen = []
        [[neighbor]]
        address = "{CONTROLLER}"
        remote_as = {CONTROLLER_AS}
        interface = "red"
        listen = ["{ROUTER}:179"]
        hold_time_secs = {hold_time_secs}
        [neighbor.import]
        allow_match_all = true
        [[protect]]
        tcp_ports = [{PORT}]
        [dataplane]
        interfaces = ["to-*"]
        [metrics]
        listen = "0.0.0.0:{PORT}"
        [control]
        socket = {socket:?}
        "#,
        hold_time_secs = HOLD_TIME.as_secs(),
        socket = network.path("flowacl.sock"),
    );
    let router = Router::start_configured(&network, &configuration);
    let mut command = network.on_controller(env!("CARGO_BIN_EXE_flowacl"));
    command
        .args(["announce", "--to", &format!("{ROUTER}:179"), "--hold"])
        .args(["--local-as", &CONTROLLER_AS.to_string()])
        .args(["--remote-as", &ROUTER_AS.to_string()])
        .args(["--router-id", CONTROLLER])
        .args(FLOWS);
    let _controller = Program::start(&mut command, &network.path("announce.log"));
    router.established();
    eventually("all rules are in force", || {
        let rules = router.rules()?;
        match rules
            .iter()
            .filter(|rule| rule["state"] == "installed")
            .count()
        {
            3 => Ok(()),
            _ => Err(format!("{rules:?}")),
        }
    });
    let since = Instant::now();

    let connect = format!("exec 3<>/dev/tcp/{ROUTER}/{PORT}");
    run(network
        .on_controller("timeout")
        .args(["10", "bash", "-c", &connect]));
    network.send_datagrams("203.0.113.5", 53, DATAGRAMS);
    eventually("what is not protected is discarded", || {
        let rules = router.rules()?;
        let packets = rules.iter().filter_map(|rule| rule["packets"].as_u64());
        match packets.sum::<u64>() {
            packets if packets >= DATAGRAMS => Ok(()),
            packets => Err(format!("{packets}: {rules:?}")),
        }
    });
    eventually("three hold times have passed", || {
        match since.elapsed() > 3 * HOLD_TIME + Duration::from_secs(1) {
            true => Ok(()),
            false => Err("not yet".into()),
        }
    });
    assert_eq!(router.neighbor("state"), "Established");
    assert_eq!(router.neighbor("ups"), 1);
}

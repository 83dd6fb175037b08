//! GoBGP as route reflector between ExaBGP, the controller, and two routers.

use crate::controllers::{Flow, exabgp, gobgp};
use crate::network::{
    CONTROLLER, CONTROLLER_AS, Network, ROUTER, SECOND_CONTROLLER, SECOND_ROUTER,
};
use crate::program::Program;
use crate::router::Router;

/// What must be installed.
const PROGRAMS: &[&str] = &["gobgpd", "exabgp", "mkfifo"];

/// Where ExaBGP speaks to GoBGP from.
const FEEDER: &str = "127.0.0.9";

/// ExaBGP's flows that GoBGP passes on as they are.
const FLOWS: usize = 4;

/// GoBGP's side of one session: a client that it reflects routes to, if it is in the same AS.
fn neighbor(address: &str, asn: u32) -> String {
    let reflects = match asn {
        CONTROLLER_AS => {
            "[neighbors.route-reflector.config]\n\
             route-reflector-client = true\n\
             route-reflector-cluster-id = \"192.0.2.1\"\n"
        }
        _ => "",
    };
    format!(
        r#"
[[neighbors]]
[neighbors.config]
neighbor-address = "{address}"
peer-as = {asn}
{reflects}
[neighbors.transport.config]
passive-mode = true
[neighbors.timers.config]
hold-time = 9
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv4-flowspec"
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = "ipv6-flowspec"
"#
    )
}

/// Starts GoBGP.
fn reflector(network: &Network, router_as: u32) -> Program {
    let configuration = format!(
        "[global.config]\nas = {CONTROLLER_AS}\nrouter-id = \"{CONTROLLER}\"\nport = 179\n{}{}{}",
        neighbor(FEEDER, CONTROLLER_AS),
        neighbor(ROUTER, router_as),
        neighbor(SECOND_ROUTER, router_as),
    );
    gobgp::run_daemon(network, &configuration, &[])
}

/// Both routers enforce what the controller says, withdrawals included, and forget it when the controller goes.
fn reflect(router_as: u32) {
    let (Some(network), Some(other)) = (Network::new(PROGRAMS), Network::new(PROGRAMS)) else {
        return;
    };
    network.join_router_of(&other);
    let _reflector = reflector(&network, router_as);
    let session = format!(
        "neighbor 127.0.0.1 {{
            router-id {FEEDER}; local-address {FEEDER};
            local-as {CONTROLLER_AS}; peer-as {CONTROLLER_AS}; hold-time 9;"
    );
    let (controller, mut commands) = exabgp::start(&network, &session, "");
    let routers = [
        Router::dialing(&network, router_as, ROUTER, CONTROLLER),
        Router::dialing(&other, router_as, SECOND_ROUTER, SECOND_CONTROLLER),
    ];
    let both_hold = |flows: &[Flow]| {
        for router in &routers {
            router.established();
            router.holds_exactly(flows);
        }
    };
    both_hold(&[]);
    let flows = &exabgp::FLOWS[..FLOWS];
    for flow in flows {
        commands.give("announce", flow);
    }
    both_hold(flows);
    commands.give("withdraw", &flows[0]);
    both_hold(&flows[1..]);
    commands.give("announce", &flows[0]);
    both_hold(flows);
    controller.signal("KILL");
    both_hold(&[]);
}

#[test]
fn two_routers_behind_a_reflector_of_their_as() {
    reflect(CONTROLLER_AS);
}

#[test]
fn two_routers_of_another_as() {
    reflect(65141);
}

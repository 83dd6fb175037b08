//! FRR 8: its bgpd originates no Flow Specification, so it passes on what ExaBGP gives it.

use std::fs;

use super::exabgp::{self, Commands};
use super::{Controller, Flow};
use crate::Dialer;
use crate::network::{CONTROLLER, CONTROLLER_AS, Network, ROUTER, ROUTER_AS};
use crate::program::Program;

/// What must be installed.
pub const PROGRAMS: &[&str] = &["bgpd", "exabgp", "mkfifo"];

/// Where others speak to FRR from.
pub const FEEDER: &str = "127.0.0.9";

/// Of ExaBGP's flows, those that FRR passes on: no more than five values in a component, no `!=`
/// and no flow label.
const FLOWS: usize = 6;

/// FRR as the router's neighbor, fed by ExaBGP.
pub struct Frr {
    bgpd: Program,
    _feeder: Program,
    commands: Commands,
}

impl Frr {
    /// Starts both.
    pub fn start(network: &Network, dialer: Dialer) -> Self {
        Self::start_with(network, dialer, "")
    }

    /// The same with more words about the router as a neighbor.
    pub fn start_with(network: &Network, dialer: Dialer, more: &str) -> Self {
        let mut lines = String::new();
        if !more.is_empty() {
            lines += &format!(" neighbor {ROUTER} {more}\n");
        }
        if !dialer.controller_dials() {
            lines += &format!(" neighbor {ROUTER} passive\n");
        }
        let bgpd = bgpd(network, &lines);
        let neighbor = format!(
            "neighbor 127.0.0.1 {{
                router-id {FEEDER}; local-address {FEEDER};
                local-as {CONTROLLER_AS}; peer-as {CONTROLLER_AS}; hold-time 90;"
        );
        let (feeder, commands) = exabgp::start(network, &neighbor, "");
        Self {
            bgpd,
            _feeder: feeder,
            commands,
        }
    }
}

/// Starts FRR's bgpd, with more lines in the section of the speaker.
pub fn bgpd(network: &Network, lines: &str) -> Program {
    let configuration = format!(
        "log stdout informational
router bgp {CONTROLLER_AS}
 bgp router-id {CONTROLLER}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor {FEEDER} remote-as {CONTROLLER_AS}
 neighbor {FEEDER} passive
 neighbor {ROUTER} remote-as {ROUTER_AS}
 neighbor {ROUTER} timers 3 9
 neighbor {ROUTER} timers connect 1
 neighbor {ROUTER} advertisement-interval 0
{lines} address-family ipv4 flowspec
  neighbor {FEEDER} activate
  neighbor {ROUTER} activate
 exit-address-family
 address-family ipv6 flowspec
  neighbor {FEEDER} activate
  neighbor {ROUTER} activate
 exit-address-family
"
    );
    let path = network.path("bgpd.conf");
    fs::write(&path, configuration).unwrap();
    let sockets = network.path("frr");
    fs::create_dir_all(&sockets).unwrap();
    let mut command = network.on_controller("bgpd");
    // Without zebra: bgpd only passes routes on.
    command
        .arg("--no_zebra")
        .arg("-f")
        .arg(&path)
        .arg("-i")
        .arg(sockets.join("bgpd.pid"))
        .arg("--vty_socket")
        .arg(&sockets)
        .args(["-u", "root", "-g", "root", "-S"]);
    Program::start(&mut command, &network.path("bgpd.log"))
}

impl Controller for Frr {
    fn flows(&self) -> &'static [Flow] {
        &exabgp::FLOWS[..FLOWS]
    }

    fn announce(&mut self, flow: &Flow) {
        self.commands.give("announce", flow);
    }

    fn withdraw(&mut self, flow: &Flow) {
        self.commands.give("withdraw", flow);
    }

    fn process(&self) -> &Program {
        &self.bgpd
    }
}

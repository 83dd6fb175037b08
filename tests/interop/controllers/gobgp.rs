//! GoBGP 3: commands go through its client.

use std::fs;

use super::{Controller, Flow, Restart};
use crate::Dialer;
use crate::network::{CONTROLLER, CONTROLLER_AS, Network, ROUTER, ROUTER_AS};
use crate::program::{Program, run, try_run};
use crate::waiting::eventually;

/// What must be installed.
pub const PROGRAMS: &[&str] = &["gobgpd", "gobgp"];

/// Address family, then the words after `rib add`.
const FLOWS: &[Flow] = &[
    Flow {
        words: "ipv4-flowspec match destination 203.0.113.5/32 protocol udp destination-port \
                ==53 then discard",
        nlri: "0c0120cb007105038111058135",
        matches: "destination 203.0.113.5/32; protocol =udp; destination-port =53;",
        then: "discard;",
    },
    Flow {
        words: "ipv6-flowspec match destination 2001:db8:113::5/128 protocol tcp \
                destination-port ==80 then rate-limit 9600",
        nlri: "1901800020010db8011300000000000000000005038106058150",
        matches: "destination 2001:db8:113::5/128; next-header =tcp; destination-port =80;",
        then: "rate-limit 9600;",
    },
    Flow {
        words: "ipv4-flowspec match destination 203.0.113.6/32 protocol tcp destination-port \
                >=1024&<=2000 tcp-flags =SA then rate-limit 9600",
        nlri: "130120cb00710603810605130400d507d0098112",
        matches: "destination 203.0.113.6/32; protocol =tcp; \
                  destination-port [ >=1024&<=2000 ]; tcp-flags =syn+ack;",
        then: "rate-limit 9600;",
    },
    Flow {
        words: "ipv4-flowspec match destination 203.0.113.7/32 fragment is-fragment then mark 10",
        nlri: "090120cb0071070c8002",
        matches: "destination 203.0.113.7/32; fragment is-fragment;",
        then: "mark 10;",
    },
    Flow {
        words: "ipv4-flowspec match source 198.51.100.0/24 protocol tcp udp port ==53 ==123 \
                then discard",
        nlri: "0f0218c633640301068111040135817b",
        matches: "source 198.51.100.0/24; protocol [ =tcp =udp ]; port [ =53 =123 ];",
        then: "discard;",
    },
    Flow {
        words: "ipv4-flowspec match destination 203.0.113.0/25 icmp-type ==8 icmp-code ==0 \
                packet-length >=100&<=200 then discard",
        nlri: "110119cb0071000781080881000a0364c5c8",
        matches: "destination 203.0.113.0/25; icmp-type =8; icmp-code =0; \
                  packet-length [ >=100&<=200 ];",
        then: "discard;",
    },
    Flow {
        words: "ipv6-flowspec match destination 2001:db8:113::/48 protocol udp source-port \
                ==19 dscp ==46 then mark 8",
        nlri: "1201300020010db801130381110681130b812e",
        matches: "destination 2001:db8:113::/48; next-header =udp; source-port =19; dscp =46;",
        then: "mark 8;",
    },
];

/// GoBGP as the router's neighbor.
pub struct GoBgp<'network> {
    network: &'network Network,
    program: Program,
}

impl<'network> GoBgp<'network> {
    /// Starts it and waits until it takes commands.
    pub fn start(network: &'network Network, dialer: Dialer) -> Self {
        Self::start_with(network, dialer, Restart::default())
    }

    /// As [`Self::start`].
    pub fn start_with(network: &'network Network, dialer: Dialer, restart: Restart) -> Self {
        let enabled = restart.graceful_secs.is_some();
        let long_lived = restart.long_lived_secs;
        let of_family = format!(
            "[neighbors.afi-safis.mp-graceful-restart.config]
            enabled = {enabled}
            [neighbors.afi-safis.long-lived-graceful-restart.config]
            enabled = {}
            restart-time = {}",
            long_lived.is_some(),
            long_lived.unwrap_or(0),
        );
        let configuration = format!(
            r#"
            [global.config]
            as = {CONTROLLER_AS}
            router-id = "{CONTROLLER}"
            port = 179

            [[neighbors]]
            [neighbors.config]
            neighbor-address = "{ROUTER}"
            peer-as = {ROUTER_AS}
            [neighbors.transport.config]
            passive-mode = {passive}
            [neighbors.timers.config]
            hold-time = 9
            connect-retry = 1
            idle-hold-time-after-reset = 1
            [neighbors.graceful-restart.config]
            enabled = {enabled}
            restart-time = {restart_time}
            notification-enabled = {enabled}
            long-lived-enabled = {long_lived}
            [[neighbors.afi-safis]]
            [neighbors.afi-safis.config]
            afi-safi-name = "ipv4-flowspec"
            {of_family}
            [[neighbors.afi-safis]]
            [neighbors.afi-safis.config]
            afi-safi-name = "ipv6-flowspec"
            {of_family}
            "#,
            restart_time = restart.graceful_secs.unwrap_or(0),
            long_lived = long_lived.is_some(),
            passive = !dialer.controller_dials(),
        );
        let again = if restart.again { &["-r"][..] } else { &[] };
        let program = run_daemon(network, &configuration, again);
        eventually("gobgpd answers", || {
            try_run(network.on_controller("gobgp").arg("global"))
        });
        Self { network, program }
    }

    /// Runs `gobgp global rib VERB`.
    fn rib(&self, verb: &str, flow: &Flow) {
        let mut command = self.network.on_controller("gobgp");
        run(command
            .args(["global", "rib", verb, "-a"])
            .args(flow.words.split(' ')));
    }
}

impl Controller for GoBgp<'_> {
    fn flows(&self) -> &'static [Flow] {
        FLOWS
    }

    fn announce(&mut self, flow: &Flow) {
        self.rib("add", flow);
    }

    fn withdraw(&mut self, flow: &Flow) {
        self.rib("del", flow);
    }

    fn process(&self) -> &Program {
        &self.program
    }
}

/// Runs the daemon beside the controller's address with a configuration, and does not wait for it.
pub fn run_daemon(network: &Network, configuration: &str, arguments: &[&str]) -> Program {
    let path = network.path("gobgpd.toml");
    fs::write(&path, configuration).unwrap();
    let mut command = network.on_controller("gobgpd");
    command
        .arg("-f")
        .arg(&path)
        .args(["--api-hosts", "127.0.0.1:50051"])
        .args(arguments);
    Program::start(&mut command, &network.path("gobgpd.log"))
}

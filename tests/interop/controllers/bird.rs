//! BIRD 2: static flow routes; each change is a new configuration.

use std::fs;

use super::{Controller, Flow, Restart};
use crate::Dialer;
use crate::network::{CONTROLLER, CONTROLLER_AS, Network, ROUTER, ROUTER_AS};
use crate::program::{Program, run, try_run};
use crate::waiting::eventually;

/// What must be installed.
pub const PROGRAMS: &[&str] = &["bird", "birdc"];

/// Family, route and its attributes, as they stand in a static protocol.
const FLOWS: &[Flow] = &[
    Flow {
        words: "flow4 { dst 203.0.113.5/32; proto = 17; dport = 53; } \
                { bgp_ext_community.add((generic, 0x80060000, 0)); }",
        nlri: "0c0120cb007105038111058135",
        matches: "destination 203.0.113.5/32; protocol =udp; destination-port =53;",
        then: "discard;",
    },
    Flow {
        words: "flow6 { dst 2001:db8:113::5/128; next header 6; dport = 80; } \
                { bgp_ext_community.add((generic, 0x80060000, 0x46160000)); }",
        nlri: "1901800020010db8011300000000000000000005038106058150",
        matches: "destination 2001:db8:113::5/128; next-header =tcp; destination-port =80;",
        then: "rate-limit 9600;",
    },
    Flow {
        words: "flow4 { dst 203.0.113.6/32; proto = 6; dport 1024..2000; tcp flags 0x02/0x12; } \
                { bgp_ext_community.add((generic, 0x80060000, 0x46160000)); }",
        nlri: "150120cb00710603810605130400d507d0090102c210",
        matches: "destination 203.0.113.6/32; protocol =tcp; \
                  destination-port [ >=1024&<=2000 ]; tcp-flags [ =syn&!ack ];",
        then: "rate-limit 9600;",
    },
    Flow {
        words: "flow4 { dst 203.0.113.7/32; fragment is_fragment; } \
                { bgp_ext_community.add((generic, 0x80090000, 10)); }",
        nlri: "090120cb0071070c8102",
        matches: "destination 203.0.113.7/32; fragment =is-fragment;",
        then: "mark 10;",
    },
    Flow {
        words: "flow4 { src 198.51.100.0/24; proto = 6 || = 17; \
                port = 53 || = 123 || 8000..8080; } \
                { bgp_ext_community.add((generic, 0x80060000, 0)); }",
        nlri: "150218c633640301068111040135017b131f40d51f90",
        matches: "source 198.51.100.0/24; protocol [ =tcp =udp ]; \
                  port [ =53 =123 >=8000&<=8080 ];",
        then: "discard;",
    },
    Flow {
        words: "flow4 { dst 203.0.113.0/25; icmp type = 8; icmp code = 0; \
                length 100..200, 400; } \
                { bgp_ext_community.add((generic, 0x80060000, 0)); }",
        nlri: "140119cb0071000781080881000a036445c8910190",
        matches: "destination 203.0.113.0/25; icmp-type =8; icmp-code =0; \
                  packet-length [ >=100&<=200 =400 ];",
        then: "discard;",
    },
    Flow {
        words: "flow6 { dst 2001:db8:113::/48; next header = 17; sport = 19; dscp = 46; } \
                { bgp_ext_community.add((generic, 0x80090000, 8)); }",
        nlri: "1201300020010db801130381110681130b812e",
        matches: "destination 2001:db8:113::/48; next-header =udp; source-port =19; dscp =46;",
        then: "mark 8;",
    },
];

/// BIRD as the router's neighbor.
pub struct Bird<'network> {
    network: &'network Network,
    program: Program,
    dialer: Dialer,
    restart: Restart,
    /// Lines of the session's configuration.
    more: &'static str,
    routes: Vec<&'static str>,
}

impl<'network> Bird<'network> {
    /// Starts it and waits until it takes commands.
    pub fn start(network: &'network Network, dialer: Dialer) -> Self {
        Self::start_with(network, dialer, Restart::default(), &[])
    }

    /// As [`Self::start`], with these flows from the beginning.
    pub fn start_with(
        network: &'network Network,
        dialer: Dialer,
        restart: Restart,
        flows: &[Flow],
    ) -> Self {
        Self::begin(network, dialer, restart, "", flows)
    }

    /// As [`Self::start`], with more lines in the session's configuration.
    pub fn start_connecting(
        network: &'network Network,
        dialer: Dialer,
        more: &'static str,
    ) -> Self {
        Self::begin(network, dialer, Restart::default(), more, &[])
    }

    /// Starts it with all of this.
    fn begin(
        network: &'network Network,
        dialer: Dialer,
        restart: Restart,
        more: &'static str,
        flows: &[Flow],
    ) -> Self {
        let (configuration, socket) = (network.path("bird.conf"), network.path("bird.ctl"));
        let routes: Vec<&'static str> = flows.iter().map(|flow| flow.words).collect();
        fs::write(&configuration, configured(dialer, restart, more, &routes)).unwrap();
        let mut command = network.on_controller("bird");
        command
            .arg("-f")
            .arg("-c")
            .arg(&configuration)
            .arg("-s")
            .arg(&socket);
        if restart.again {
            command.arg("-R");
        }
        let program = Program::start(&mut command, &network.path("bird.log"));
        let ask = || {
            try_run(
                network
                    .on_controller("birdc")
                    .arg("-s")
                    .arg(&socket)
                    .args(["show", "status"]),
            )
        };
        eventually("bird answers", ask);
        Self {
            network,
            program,
            dialer,
            restart,
            more,
            routes,
        }
    }

    /// Takes up the routes as they are now.
    fn configure(&self) {
        let path = self.network.path("bird.conf");
        let text = configured(self.dialer, self.restart, self.more, &self.routes);
        fs::write(&path, text).unwrap();
        let mut command = self.network.on_controller("birdc");
        let output = run(command
            .arg("-s")
            .arg(self.network.path("bird.ctl"))
            .arg("configure"));
        assert!(output.contains("Reconfigur"), "{output}");
    }
}

impl Controller for Bird<'_> {
    fn flows(&self) -> &'static [Flow] {
        FLOWS
    }

    fn announce(&mut self, flow: &Flow) {
        self.routes.push(flow.words);
        self.configure();
    }

    fn withdraw(&mut self, flow: &Flow) {
        self.routes.retain(|route| *route != flow.words);
        self.configure();
    }

    fn process(&self) -> &Program {
        &self.program
    }
}

/// The configuration with these routes.
fn configured(dialer: Dialer, restart: Restart, more: &str, routes: &[&str]) -> String {
    let mut restarts = String::new();
    if let Some(secs) = restart.graceful_secs {
        restarts += &format!("graceful restart on; graceful restart time {secs};");
    }
    if let Some(secs) = restart.long_lived_secs {
        restarts += &format!("long lived graceful restart on; long lived stale time {secs};");
    }
    let of_family = |family: &str| {
        let routes = routes.iter().filter(|route| route.starts_with(family));
        routes
            .map(|route| format!("route {route};\n"))
            .collect::<String>()
    };
    format!(
        "log stderr all;
        router id {CONTROLLER};
        flow4 table flows4;
        flow6 table flows6;
        protocol device {{}}
        protocol static {{ flow4 {{ table flows4; }}; {flows4} }}
        protocol static {{ flow6 {{ table flows6; }}; {flows6} }}
        protocol bgp flowacl {{
            local {CONTROLLER} as {CONTROLLER_AS};
            neighbor {ROUTER} as {ROUTER_AS};
            passive {passive};
            {restarts}
            {more}
            hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;
            flow4 {{ table flows4; import none; export all; }};
            flow6 {{ table flows6; import none; export all; }};
        }}",
        flows4 = of_family("flow4"),
        flows6 = of_family("flow6"),
        passive = if dialer == Dialer::Router {
            "on"
        } else {
            "off"
        },
    )
}

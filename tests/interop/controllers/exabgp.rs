//! ExaBGP 4: commands come through a pipe, which a process of its own reads.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::{Controller, Flow};
use crate::Dialer;
use crate::network::{CONTROLLER, CONTROLLER_AS, Network, ROUTER, ROUTER_AS};
use crate::program::{Program, run};

/// What must be installed.
pub const PROGRAMS: &[&str] = &["exabgp", "mkfifo"];

/// `match` and `then` of ExaBGP's grammar.
pub const FLOWS: &[Flow] = &[
    Flow {
        words: "match { destination 203.0.113.5/32; protocol udp; destination-port =53; } \
                then { discard; }",
        nlri: "0c0120cb007105038111058135",
        matches: "destination 203.0.113.5/32; protocol =udp; destination-port =53;",
        then: "discard;",
    },
    Flow {
        words: "match { destination 2001:db8:113::5/128; next-header tcp; destination-port \
                =80; } then { rate-limit 9600; }",
        nlri: "1901800020010db8011300000000000000000005038106058150",
        matches: "destination 2001:db8:113::5/128; next-header =tcp; destination-port =80;",
        then: "rate-limit 9600;",
    },
    Flow {
        words: "match { destination 203.0.113.6/32; destination-port >=1024&<=2000; protocol \
                =tcp; tcp-flags [ syn ]; } then { rate-limit 9600; }",
        nlri: "130120cb00710603810605130400d507d0098002",
        matches: "destination 203.0.113.6/32; protocol =tcp; \
                  destination-port [ >=1024&<=2000 ]; tcp-flags syn;",
        then: "rate-limit 9600;",
    },
    Flow {
        words: "match { destination 203.0.113.7/32; fragment [ is-fragment ]; } then { mark \
                10; }",
        nlri: "090120cb0071070c8002",
        matches: "destination 203.0.113.7/32; fragment is-fragment;",
        then: "mark 10;",
    },
    Flow {
        words: "match { source 198.51.100.0/24; protocol [ tcp udp ]; port [ =53 =123 \
                >=8000&<=8080 ]; } then { discard; }",
        nlri: "150218c633640301068111040135017b131f40d51f90",
        matches: "source 198.51.100.0/24; protocol [ =tcp =udp ]; \
                  port [ =53 =123 >=8000&<=8080 ];",
        then: "discard;",
    },
    Flow {
        words: "match { destination 203.0.113.0/25; icmp-type [ echo-request ]; icmp-code =0; \
                packet-length >=100&<=200; } then { discard; }",
        nlri: "110119cb0071000781080881000a0364c5c8",
        matches: "destination 203.0.113.0/25; icmp-type =8; icmp-code =0; \
                  packet-length [ >=100&<=200 ];",
        then: "discard;",
    },
    Flow {
        words: "match { destination 203.0.113.9/32; dscp =46; source-port !=443; protocol \
                =udp; } then { accept; }",
        nlri: "100120cb007109038111069601bb0b812e",
        matches: "destination 203.0.113.9/32; protocol =udp; source-port !=443; dscp =46;",
        then: "accept;",
    },
    Flow {
        words: "match { destination 2001:db8:113::9/128; next-header =tcp; tcp-flags [ \
                syn+ack ]; flow-label =1000; } then { discard; }",
        nlri: "1d01800020010db80113000000000000000000090381060980120d9103e8",
        matches: "destination 2001:db8:113::9/128; next-header =tcp; tcp-flags syn+ack; \
                  flow-label =1000;",
        then: "discard;",
    },
];

/// ExaBGP as the router's neighbor.
pub struct ExaBgp {
    program: Program,
    commands: Commands,
}

impl ExaBgp {
    /// Starts it.
    pub fn start(network: &Network, dialer: Dialer) -> Self {
        let passive = !dialer.controller_dials();
        let neighbor = format!(
            "neighbor {ROUTER} {{
                router-id {CONTROLLER}; local-address {CONTROLLER};
                local-as {CONTROLLER_AS}; peer-as {ROUTER_AS}; hold-time 9; passive {passive};"
        );
        let bind = if passive { CONTROLLER } else { "" };
        let (program, commands) = start(network, &neighbor, bind);
        Self { program, commands }
    }
}

impl Controller for ExaBgp {
    fn flows(&self) -> &'static [Flow] {
        FLOWS
    }

    fn announce(&mut self, flow: &Flow) {
        self.commands.give("announce", flow);
    }

    fn withdraw(&mut self, flow: &Flow) {
        self.commands.give("withdraw", flow);
    }

    fn process(&self) -> &Program {
        &self.program
    }
}

/// Starts ExaBGP with one neighbor, whose section is still open; listens on `bind` unless that is
/// empty.
pub fn start(network: &Network, neighbor: &str, bind: &str) -> (Program, Commands) {
    let pipe = network.path("exabgp.commands");
    let commands = Commands::new(&pipe);
    let configuration = format!(
        "process commands {{ run /bin/cat {}; encoder text; }}
        {neighbor}
            family {{ ipv4 flow; ipv6 flow; }}
            api {{ processes [ commands ]; }}
        }}",
        pipe.display()
    );
    let path = network.path("exabgp.conf");
    fs::write(&path, configuration).unwrap();
    let mut command = network.on_controller("exabgp");
    command
        .arg(&path)
        .env("exabgp.daemon.user", "root")
        .env("exabgp.api.cli", "false")
        .env("exabgp.api.ack", "false")
        .env("exabgp.tcp.bind", bind)
        .env("exabgp.tcp.port", "179")
        .env("exabgp.log.level", "INFO");
    (
        Program::start(&mut command, &network.path("exabgp.log")),
        commands,
    )
}

/// The pipe that ExaBGP reads. When it is dropped the reader sees the end of it and exits.
pub struct Commands(File);

impl Commands {
    /// Makes the pipe.
    fn new(path: &Path) -> Self {
        run(Command::new("mkfifo").arg(path));
        // Open for reading as well, so that this does not wait for the reader.
        Self(File::options().read(true).write(true).open(path).unwrap())
    }

    /// Gives a command.
    pub fn give(&mut self, verb: &str, flow: &Flow) {
        writeln!(self.0, "{verb} flow route {{ {} }}", flow.words).unwrap();
    }
}

//! Hardware with nftables behind it, as a daemon runs them: the stand-in for `cl-acltool` programs a kernel of its own, through
//! which packets go before they reach the daemon's.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use dataplane::packet::Packet;
use dataplane::rule::left_aligned;
use flowacl::flowspec::text::Flow;
use flowacl::lab::packet::{Header, PacketBuilder};
use flowacl::lab::{Lab, Passed, Tap, UPSTREAM};
use serde_json::Value;

use crate::controller::{CONTROLLER_AS, Controller, flow};
use crate::network::available;
use crate::program::{Program, ask, daemon};
use crate::scene::{Switch, has_iptables};
use crate::waiting::eventually;

/// Where packets come from.
const ATTACKER: &str = "192.0.2.77";

/// The file of the namespace that stands for the hardware.
pub fn hardware(lab: &Lab) -> String {
    let hardware = lab.hardware.as_ref().expect("the lab has some");
    format!("/proc/{}/fd/{}", std::process::id(), hardware.descriptor())
}

/// A switch, whose hardware packets meet first, with a daemon in its kernel.
struct Scene {
    /// Ends before what it lives in.
    daemon: Program,
    lab: Lab,
    /// Sees what the hardware has let through.
    inside: Tap,
    switch: Switch,
    sent: u16,
}

impl Scene {
    fn start() -> Option<Self> {
        if !has_iptables() {
            return None;
        }
        let lab = available(Lab::switched)?;
        let switch = Switch::new("spectrum1", hardware(&lab));
        let path = |name: &str| switch.path(name);
        let configuration = format!(
            "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\nlisten = [\"127.0.0.1:179\"]\n\
             [[neighbor]]\naddress = \"127.0.0.1\"\nremote_as = {CONTROLLER_AS}\n\
             [control]\nsocket = \"{}\"\nstate_directory = \"{}\"\n\
             [dataplane]\nbackend = \"cumulus\"\nfallback = \"nftables\"\ninterfaces = [\"{UPSTREAM}\"]\n\
             [dataplane.cumulus]\nprofile = \"spectrum1\"\npolicy_file = \"{}\"\npolicy_conf = \"{}\"\n\
             tool = \"{}\"\ntimeout_secs = 5\n",
            path("flowacl.sock").display(),
            path("state").display(),
            switch.options.policy_file.display(),
            switch.options.policy_conf.display(),
            switch.options.tool.display(),
        );
        let config = path("flowacl.toml");
        fs::write(&config, configuration).unwrap();
        let (mut daemon, log) = (daemon(&config), path("log"));
        let daemon = lab.router.run(move || Program::start(&mut daemon, &log));
        let inside = Tap::open(&lab.router, UPSTREAM).unwrap();
        let scene = Self {
            daemon,
            lab,
            inside,
            switch,
            sent: 0,
        };
        eventually("the daemon answers", || scene.show("summary"));
        Some(scene)
    }

    fn socket(&self) -> PathBuf {
        self.switch.path("flowacl.sock")
    }

    /// Asks the daemon with `show WHAT --json`.
    fn show(&self, what: &str) -> Result<Value, String> {
        ask(&self.socket(), what).map_err(|error| error + &self.daemon.log())
    }

    /// The rule for a destination: its state, its notes and what it has counted.
    fn rule(&self, destination: &str) -> Option<(String, String, u64)> {
        let report = self.show("rules").unwrap();
        let rules = report["rules"].as_array().unwrap();
        let component = format!("destination {destination};");
        let of = |rule: &&Value| rule["flow"].as_str().unwrap().contains(&component);
        let rule = rules.iter().find(of)?;
        let state = rule["state"].as_str().unwrap().to_owned();
        let notes = rule["notes"].to_string();
        Some((state, notes, rule["packets"].as_u64().unwrap()))
    }

    /// Waits until a rule is in force, and its note says this; nothing: that it is in the hardware.
    fn is_installed(&self, destination: &str, note: &str) {
        eventually(&format!("{destination}: {note:?}"), || {
            let found = self.rule(destination);
            let is_there = found.as_ref().is_some_and(|(state, notes, _)| {
                let says = match note {
                    "" => !notes.contains("software"),
                    note => {
                        notes.contains("only where packets reach the software")
                            && notes.contains(note)
                    }
                };
                state == "installed" && says
            });
            match is_there {
                true => Ok(()),
                false => Err(format!("{found:?}\n{}", self.daemon.log())),
            }
        });
        let is_in_file = self
            .switch
            .hardware()
            .iter()
            .any(|line| line.contains(&format!("-d {destination} ")));
        assert_eq!(is_in_file, note.is_empty(), "{destination}: {note:?}");
    }

    fn is_gone(&self, destination: &str) {
        eventually(&format!("{destination} is gone"), || {
            match self.rule(destination) {
                None => Ok(()),
                Some(rule) => Err(format!("{rule:?}\n{}", self.daemon.log())),
            }
        });
    }

    /// Sends packets of UDP with data of this length, and says how many arrived; and how many the hardware let through.
    fn send(&mut self, destination: &str, port: u16, length: usize, count: u16) -> (usize, usize) {
        let packet = |identification| {
            let header = Header::between(ATTACKER, destination).identification(identification);
            let data = vec![b'x'; length];
            PacketBuilder::new(header).udp(4000, port, &data).build()
        };
        let packets: Vec<_> = (self.sent..self.sent + count).map(packet).collect();
        self.sent += count;
        let passed = self.lab.pass(&packets).unwrap();
        let arrived = passed.iter().filter(|it| matches!(it, Passed::Arrived(_)));
        let attacker = left_aligned(ATTACKER.parse().unwrap()).1;
        let mut let_through = 0;
        while let Some(octets) = self.inside.receive().unwrap() {
            let is_ours = |packet: Packet| packet.source == attacker;
            let_through += usize::from(Packet::parse(octets).is_some_and(is_ours));
        }
        (arrived.count(), let_through)
    }

    /// Runs `nft` where the daemon is.
    fn ruleset(&self) -> String {
        let output = self.lab.router.run(|| {
            Command::new("nft")
                .args(["list", "ruleset"])
                .output()
                .unwrap()
        });
        String::from_utf8(output.stdout).unwrap()
    }

    fn connect(&self) -> Controller {
        let controller = self.lab.router.run(Controller::connect);
        controller.unwrap_or_else(|error| panic!("{error}: {}", self.daemon.log()))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("== hardware\n{:#?}", self.switch.hardware());
        }
    }
}

/// UDP to a host.
fn host(address: Ipv4Addr, then: &str) -> Flow {
    flow(&format!("destination {address}/32; protocol udp;"), then)
}

/// Packets to a host that no entry of the hardware can tell from others, because of their length.
fn long(address: &str, then: &str) -> Flow {
    flow(
        &format!("destination {address}/32; packet-length >=500;"),
        then,
    )
}

#[test]
fn each_half_does_what_it_can_and_both_are_the_whole() {
    let Some(mut scene) = Scene::start() else {
        return;
    };
    let mut controller = scene.connect();
    let at = |last| Ipv4Addr::new(203, 0, 113, last);
    for flow in [
        host(at(1), "discard;"),
        long("203.0.113.2", "discard;"),
        long("203.0.113.3", "accept;"),
        flow(
            "destination 203.0.113.0/24; protocol udp; destination-port =53;",
            "discard;",
        ),
        host(at(4), "rate-limit 10 packets;"),
        flow(
            "destination 198.51.100.0/24; protocol udp; destination-port =53;",
            "discard;",
        ),
    ] {
        controller.announce(&[flow]).unwrap();
    }
    scene.is_installed("198.51.100.0/24", "");
    scene.is_installed("203.0.113.1/32", "");
    scene.is_installed("203.0.113.4/32", "");
    scene.is_installed(
        "203.0.113.2/32",
        "packet-length: the switch does not match it",
    );
    scene.is_installed(
        "203.0.113.3/32",
        "packet-length: the switch does not match it",
    );
    scene.is_installed("203.0.113.0/24", "overlaps it and is not in the hardware");

    // Destination, port, length of the data: how many of ten arrive, and how many the hardware lets through.
    let rows = [
        ("dropped by the hardware", "203.0.113.1", 80, 10, (0, 0)),
        (
            "another rule of the hardware",
            "198.51.100.9",
            53,
            10,
            (0, 0),
        ),
        ("of no rule", "198.51.100.9", 54, 10, (10, 10)),
        (
            "dropped by the software for its length",
            "203.0.113.2",
            80,
            600,
            (0, 10),
        ),
        ("too short for that", "203.0.113.2", 80, 10, (10, 10)),
        (
            "accepted by the software before it would be dropped",
            "203.0.113.3",
            53,
            600,
            (10, 10),
        ),
        (
            "too short for that, and dropped",
            "203.0.113.3",
            53,
            10,
            (0, 10),
        ),
        (
            "dropped by the software, since others come before",
            "203.0.113.9",
            53,
            10,
            (0, 10),
        ),
    ];
    for (name, destination, port, length, expected) in rows {
        assert_eq!(
            scene.send(destination, port, length, 10),
            expected,
            "{name}"
        );
    }
    // Limited once, by the hardware; accepted by it and so by the software, which would drop it for its port.
    let (arrived, let_through) = scene.send("203.0.113.4", 53, 10, 100);
    assert!(
        (10..40).contains(&arrived),
        "{arrived} within the rate and its burst"
    );
    assert_eq!(arrived, let_through);
    for (destination, packets) in [
        ("203.0.113.1/32", 10),
        ("203.0.113.2/32", 10),
        ("203.0.113.3/32", 10),
        ("203.0.113.4/32", 100),
        ("203.0.113.0/24", 20),
        ("198.51.100.0/24", 10),
    ] {
        eventually(
            &format!("{destination} has counted {packets}"),
            || match scene.rule(destination) {
                Some((.., counted)) if counted == packets => Ok(()),
                rule => Err(format!("{rule:?}")),
            },
        );
    }

    // What stood in the way goes: the rule behind it moves into the hardware, and goes on counting.
    for address in ["203.0.113.2", "203.0.113.3"] {
        controller.withdraw(&[long(address, "discard;")]).unwrap();
    }
    scene.is_installed("203.0.113.0/24", "");
    assert_eq!(scene.send("203.0.113.9", 53, 10, 10), (0, 0));
    eventually("it has gone on counting", || {
        match scene.rule("203.0.113.0/24") {
            Some((_, _, 30)) => Ok(()),
            rule => Err(format!("{rule:?}")),
        }
    });

    drop(controller);
    scene.is_gone("203.0.113.1/32");
    eventually("neither half has anything left", || {
        let (lines, ruleset) = (scene.switch.hardware(), scene.ruleset());
        let is_left =
            lines.iter().any(|line| line.contains("203.0.113.")) || ruleset.contains("203.0.113.");
        match is_left {
            false => Ok(()),
            true => Err(format!("{lines:?}\n{ruleset}")),
        }
    });
    assert_eq!(scene.send("203.0.113.1", 80, 10, 10), (10, 10));
    assert_eq!(scene.daemon.stop(), Some(0));
    assert_eq!(
        (scene.switch.file(), scene.switch.hardware()),
        (None, vec![])
    );
    assert_eq!(scene.ruleset(), "");
}

#[test]
fn hardware_that_fails_or_is_full_leaves_rules_to_the_software() {
    let Some(mut scene) = Scene::start() else {
        return;
    };
    let mut controller = scene.connect();
    let at = |last| Ipv4Addr::new(203, 0, 113, last);
    controller.announce(&[host(at(1), "discard;")]).unwrap();
    scene.is_installed("203.0.113.1/32", "");

    // The tool fails whatever it is asked: new rules are in force all the same.
    scene.switch.set_fault("crash");
    controller.announce(&[host(at(2), "discard;")]).unwrap();
    scene.is_installed(
        "203.0.113.2/32",
        "the hardware has failed and is asked again",
    );
    assert_eq!(scene.send("203.0.113.2", 80, 10, 10), (0, 10));
    assert_eq!(scene.send("203.0.113.1", 80, 10, 10), (0, 0));
    // What the hardware has it has to let go itself.
    controller.withdraw(&[host(at(1), "discard;")]).unwrap();
    controller.announce(&[host(at(3), "discard;")]).unwrap();
    eventually("the withdrawal was tried", || match scene.daemon.log() {
        log if log.contains("removed=1") => Ok(()),
        log => Err(log),
    });
    assert_eq!(scene.send("203.0.113.1", 80, 10, 10), (0, 0));
    let facts = scene.show("dataplane").unwrap().to_string();
    assert!(facts.contains("rules wait for the hardware"), "{facts}");

    scene.switch.repair();
    scene.is_gone("203.0.113.1/32");
    scene.is_installed("203.0.113.2/32", "");
    scene.is_installed("203.0.113.3/32", "");
    assert_eq!(scene.send("203.0.113.1", 80, 10, 10), (10, 10));
    assert_eq!(scene.send("203.0.113.2", 80, 10, 10), (0, 0));
    assert_eq!(scene.send("203.0.113.3", 80, 10, 10), (0, 0));

    // No room: the newest rule is in the software, until another goes.
    let used = scene.switch.hardware().len();
    scene.switch.shrink(used, 0);
    controller.announce(&[host(at(4), "discard;")]).unwrap();
    scene.is_installed("203.0.113.4/32", "the switch is full");
    assert_eq!(scene.send("203.0.113.4", 80, 10, 10), (0, 10));
    controller.withdraw(&[host(at(2), "discard;")]).unwrap();
    scene.is_installed("203.0.113.4/32", "");
    assert_eq!(scene.send("203.0.113.4", 80, 10, 10), (0, 0));
    assert_eq!(scene.send("203.0.113.2", 80, 10, 10), (10, 10));
}

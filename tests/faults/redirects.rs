//! Redirects by a daemon: from an announcement to another router, through a SIGKILL, and to nothing.

use std::process::Command;
use std::time::Instant;

use flowacl::flowspec::text::Flow;
use flowacl::lab::packet::{Header, PacketBuilder};
use flowacl::lab::{Namespace, Passed, Tap};

use crate::controller::{Controller, flow};
use crate::machine;
use crate::program::{flowacl, run};
use crate::router::Router;
use crate::waiting::eventually;

/// Runs `ip` in a namespace and returns what it prints.
fn ip(namespace: &Namespace, arguments: &str) -> String {
    let list: Vec<String> = arguments.split_whitespace().map(String::from).collect();
    let output = namespace.run(move || Command::new("ip").args(list).output());
    let output = output.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Announces flows whose actions differ: each in an UPDATE of its own.
fn announce(controller: &mut Controller, flows: &[Flow]) {
    for flow in flows {
        controller.announce(std::slice::from_ref(flow)).unwrap();
    }
}

/// A flow to a host that is to go elsewhere.
fn redirect((host, target): (u8, &str)) -> Flow {
    let matches = format!("destination 203.0.113.{host}/32;");
    flow(&matches, &format!("redirect {target};"))
}

/// A packet to a host; the number tells it from others.
fn packet(host: u8, number: u16) -> Vec<u8> {
    let destination = format!("203.0.113.{host}");
    let header = Header::between("198.51.100.7", &destination).identification(number);
    PacketBuilder::new(header).udp(number, 53, b"probe").build()
}

/// The router, the scrubber, and what is seen of it.
struct Bench {
    router: Router,
    scrubber: Namespace,
    tap: Tap,
    number: u16,
}

impl Bench {
    /// Starts a daemon with more tables in its configuration; `None` where the test is skipped.
    fn start(tables: &str) -> Option<Self> {
        let mut router = Router::start(true)?;
        let scrubber = router.attach("scrub", [10, 9, 1, 1].into(), [10, 9, 1, 2].into(), 24);
        router.configure("[control]", &format!("{tables}[control]"));
        router.stop_daemon();
        router.start_daemon();
        eventually("the daemon answers", || router.show("summary"));
        let tap = Tap::open(&scrubber, "router").unwrap();
        Some(Self {
            router,
            scrubber,
            tap,
            number: 0,
        })
    }

    /// Runs `ip` in the router.
    fn ip(&self, arguments: &str) -> String {
        ip(self.router.namespace(), arguments)
    }

    /// A session with the daemon.
    fn connect(&self) -> Controller {
        self.router.namespace().run(Controller::connect).unwrap()
    }

    /// Where a packet to a host goes: `victim`, `scrubber` or, while a neighbor is looked for, `nowhere`.
    fn goes(&mut self, host: u8) -> &'static str {
        self.number += 1;
        let sent = packet(host, self.number);
        if let [Passed::Arrived(_)] = &self.router.pass(std::slice::from_ref(&sent))[..] {
            return "victim";
        }
        // A link that is down says so once.
        while let Ok(Some(octets)) = self.tap.receive() {
            if octets.get(4..6) == sent.get(4..6) {
                return "scrubber";
            }
        }
        "nowhere"
    }

    /// Waits until packets to these hosts go there.
    fn wait_for(&mut self, when: &str, expected: &[(u8, &str)]) {
        eventually(when, || {
            let wrong = expected
                .iter()
                .find(|(host, place)| self.goes(*host) != *place);
            wrong.map_or(Ok(()), |(host, _)| {
                let log = self.router.log();
                Err(format!("host {host} does not go where it should: {log}"))
            })
        });
    }

    /// Waits until a column of a rule is this, or begins with it: `state`, `reason` or the first of the `notes`.
    fn wait_for_rule(&self, host: u8, column: &str, expected: &str) {
        eventually("the state of a rule", || {
            let report = self.router.show("rules")?;
            let rules = report["rules"].as_array().into_iter().flatten();
            let place = format!("203.0.113.{host}/32");
            let mut rules = rules.filter(|rule| {
                rule["flow"]
                    .as_str()
                    .is_some_and(|flow| flow.contains(&place))
            });
            let rule = rules.next().ok_or("there is no such rule")?;
            let value = match column {
                "notes" => &rule["notes"][0],
                column => &rule[column],
            };
            let told = value.as_str().unwrap_or_default();
            match told.starts_with(expected) {
                true => Ok(()),
                false => Err(format!("{rule}")),
            }
        });
    }
}

#[test]
fn redirects_outlive_a_daemon_and_leave_nothing() {
    let tables = "[[redirect]]\nroute_target = \"65001:1\"\ntable = 100\n";
    let Some(mut bench) = Bench::start(tables) else {
        return;
    };
    bench.ip("route add default via 10.9.1.2 table 100");
    let before = bench.ip("rule show");
    let flows = [(5, "10.9.1.2"), (6, "65001:1"), (7, "65001:9")].map(redirect);
    let mut controller = bench.connect();
    announce(&mut controller, &flows);
    let redirected = [
        (5, "scrubber"),
        (6, "scrubber"),
        (7, "victim"),
        (8, "victim"),
    ];
    bench.wait_for("after the announcement", &redirected);
    bench.wait_for_rule(7, "state", "unsupported");
    bench.wait_for_rule(
        7,
        "reason",
        "redirect 65001:9: no [[redirect]] or [[vrf]] names this route target",
    );

    let packet = "udp 198.51.100.7:9 > 203.0.113.5:53 len 60";
    let explained = run(flowacl(["explain", packet, "--socket"]).arg(bench.router.socket()));
    for words in [
        "redirect-to-ip 10.9.1.2",
        "sends the packet to next hop 10.9.1.2; decides",
    ] {
        assert!(explained.contains(words), "{explained}");
    }

    // Killed: nothing changes, not while the next one starts either.
    bench.router.kill_daemon();
    let start = Instant::now();
    bench.router.start_daemon();
    while start.elapsed().as_millis() < 500 {
        for host in [5, 6] {
            assert_eq!(
                bench.goes(host),
                "scrubber",
                "host {host} during the restart"
            );
        }
    }
    bench.wait_for_rule(5, "state", "stale");
    let mut controller = eventually("a session", || {
        bench
            .router
            .namespace()
            .run(Controller::connect)
            .map_err(|error| error.to_string())
    });
    announce(&mut controller, &flows);
    controller.end_of_rib().unwrap();
    bench.wait_for_rule(5, "state", "installed");
    bench.wait_for("after the restart", &redirected);

    // The scrubber fails and returns.
    ip(&bench.scrubber, "link set router down");
    bench.wait_for("the scrubber is down", &[(5, "victim")]);
    let note = "not redirected: 10.9.1.2 is behind scrub, which is down; packets are routed";
    bench.wait_for_rule(5, "notes", note);
    ip(&bench.scrubber, "link set router up");
    bench.wait_for("the scrubber is up", &[(5, "scrubber")]);

    controller.withdraw(&flows).unwrap();
    let all = [(5, "victim"), (6, "victim"), (7, "victim")];
    bench.wait_for("after the withdraw", &all);
    eventually("nothing remains", || {
        let now = bench.ip("rule show");
        (now == before).then_some(()).ok_or(now)
    });
    announce(&mut controller, &flows);
    bench.wait_for("announced again", &[(5, "scrubber")]);
    bench.router.stop_daemon();
    assert_eq!(bench.ip("rule show"), before);
    assert_eq!(bench.goes(5), "victim");
}

/// RFC 8955 §7.4: without anything said of a route target, it leads to the VRF that imports it, whether that is there yet
/// or not. In the virtual machine: many kernels of build machines have no VRFs.
#[test]
fn route_targets_lead_to_the_vrf_that_imports_them() {
    if !machine::inside("redirects::route_targets_lead_to_the_vrf_that_imports_them") {
        return;
    }
    let tables =
        "[[vrf]]\nname = \"blue\"\nimport_route_targets = [\"65001:1\", \"192.0.2.1:2\"]\n";
    let mut bench = Bench::start(tables).expect("the machine has all that is needed");
    let flows = [(5, "65001:1"), (6, "192.0.2.1:2"), (7, "65001:9")].map(redirect);
    let mut controller = bench.connect();
    announce(&mut controller, &flows);
    let missing = "not redirected: there is no VRF blue; packets are routed";
    let in_main = [(5, "victim"), (6, "victim"), (7, "victim")];
    let in_vrf = [(5, "scrubber"), (6, "scrubber"), (7, "victim")];
    bench.wait_for_rule(7, "state", "unsupported");
    for table in [1001, 1002] {
        for host in [5, 6] {
            bench.wait_for_rule(host, "notes", missing);
        }
        bench.wait_for("there is no VRF", &in_main);
        bench.ip(&format!("link add blue type vrf table {table}"));
        bench.ip("link set blue up");
        bench.ip("link set scrub master blue");
        bench.ip(&format!("route replace default via 10.9.1.2 table {table}"));
        bench.wait_for("there is a VRF", &in_vrf);
        for host in [5, 6] {
            bench.wait_for_rule(host, "notes", "");
        }
        bench.ip("link del blue");
    }
    bench.wait_for_rule(6, "notes", missing);
    controller.withdraw(&flows).unwrap();
    bench.wait_for("after the withdraw", &in_main);
    eventually("nothing remains", || {
        let now = bench.ip("rule show");
        (!now.contains("fwmark")).then_some(()).ok_or(now)
    });
}
